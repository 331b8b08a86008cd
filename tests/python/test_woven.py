"""One stack of both languages: Python frames stand where the interpreter's evaluation loop ran them, on every CPython."""
import pytest

import harness
from pythons import every, python

LOOP = "_PyEval_EvalFrameDefault"
VICTIM = """
import ctypes
kept = []
def key(x):
    kept.append(bytes(5000 + x))
    return x
def in_order():
    return sorted(range(50), key=key)
def each():
    for i in range(10):
        kept.append(bytes(6000))
        yield i
def at_all():
    return list(map(lambda x: in_order(), each()))
COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
def compare(a, b):
    kept.append(bytes(9000))
    return a[0] - b[0]
def from_c():
    numbers = (ctypes.c_int * 20)(*range(20, 0, -1))
    ctypes.CDLL(None).qsort(numbers, 20, 4, COMPARE(compare))
def deeper(n):
    return sorted([n], key=deeper_still) if n else kept.append(bytes(7000))
def deeper_still(n):
    return deeper(n - 1) or 0
at_all()
from_c()
deeper(100)
"""


def rows_of(interpreter, tmp_path, **env):
    script = tmp_path / "woven.py"
    script.write_text(VICTIM)
    done = harness.run([interpreter, "-I", "-S", script], logs=tmp_path, env=env)
    assert done.returncode == 0 and not done.stderr, done.stderr
    rows = harness.answer("leaks", harness.only_log(tmp_path), "--top", "100000")["leaks"]
    return [r for r in rows if any(f["language"] == "python" for f in r["stack"])]


def names(row):
    """Innermost first: a Python frame's function, without what it is nested in; a native one's as (function,)."""
    return [f["function"].split(".")[-1] if f["language"] == "python" else (f["function"] or "?",) for f in row["stack"]]


def between(row, inner, outer):
    """The frames between the first two Python frames with these names that come in this order."""
    stack = names(row)
    first = stack.index(inner)
    return stack[first + 1:stack.index(outer, first)]


def with_line_of(rows, function, size):
    """The row of the blocks of at least that size that were made by the function itself."""
    found = [r for r in rows if r["bytes"] >= size * r["blocks"] and next(n for n in names(r) if isinstance(n, str)) == function]
    assert found, function
    return max(found, key=lambda r: r["bytes"])


@every
def test_frames_stand_where_they_ran(name, tmp_path):
    rows = rows_of(python(name), tmp_path)
    assert rows and not [r for r in rows if any((f["function"] or "").startswith(LOOP) for f in r["stack"])]
    row = with_line_of(rows, "key", 5000)
    between_native = between(row, "key", "in_order")  # the sort
    assert between_native and all(isinstance(n, tuple) for n in between_native)
    assert names(row).index("key") > 0, "what Python called to get the memory comes first"
    row = with_line_of(rows, "compare", 9000)
    assert ("qsort_r",) in between(row, "compare", "from_c")
    row = with_line_of(rows, "each", 6000)
    assert all(isinstance(n, tuple) for n in between(row, "each", "at_all")) and between(row, "each", "at_all")
    both = [r for r in rows if any(f["language"] == "native" for f in r["stack"]) and "[stack cut here]" not in names(r)
            and ("[stack cut here]",) not in names(r)]
    assert both and all(r["stack"][-1]["language"] == "native" for r in both)


@pytest.mark.parametrize("name", ("debian", "3.8", "3.13"))
def test_cut_stacks(name, tmp_path):
    """Deeper than what is kept: the innermost frames are in their places, each stack in its own order, and both say that they are cut."""
    rows = rows_of(python(name), tmp_path, TIDEMARK_STACK=24)
    row = with_line_of(rows, "deeper", 7000)
    stack = names(row)
    frames = [n for n in stack if isinstance(n, str) and n.startswith("deeper")]
    assert frames[:8] == ["deeper", "deeper_still"] * 4
    assert sum(f["function"] == "[stack cut here]" for f in row["stack"]) == 2
    sort = between(row, "deeper_still", "deeper")
    assert sort and all(isinstance(n, tuple) for n in sort)
    call = between(row, "deeper", "deeper_still")  # from 3.11 on without a C function between them
    assert (call == []) == (name not in ("3.8", "3.9", "3.10")), call


@pytest.mark.parametrize("limit", (0, 1, 2, 3, 7))
def test_short_stacks(limit, tmp_path):
    """However little is kept, no frame is lost or made up."""
    script = tmp_path / "short.py"
    script.write_text(VICTIM)
    done = harness.run([harness.PYTHON, "-I", "-S", script], logs=tmp_path, env={"TIDEMARK_STACK": limit})
    assert done.returncode == 0 and not done.stderr
    for row in harness.answer("leaks", harness.only_log(tmp_path), "--top", "100000")["leaks"]:
        languages = [f["language"] for f in row["stack"] if f["function"] != "[stack cut here]"]
        assert languages.count("python") <= max(limit, 1) + 1
