"""Every captured stack against libunwind's, in the same process, frame by frame: 0 differences.

unwind_compare_lib.so stands in front of malloc and compares at every call. TIDEMARK_STACKS=N multiplies the work: the default, 5, makes
some 1.6 million comparisons.

Where libunwind is wrong, and what is done about it:
- none of these cases needs an exception on Debian 12 (libunwind 1.6.2).
"""
import os
import pathlib
import subprocess

import pytest

import harness
import pythons

TIMES = int(os.environ.get("TIDEMARK_STACKS", "5"))
LIB = harness.BUILD / "programs" / "unwind_compare_lib.so"

JSON = """
import json, sys
for i in range(%d):
    doc = {"user": i, "tags": [str(n) for n in range(40)], "items": [{"id": n, "name": "item %%d" %% n} for n in range(60)]}
    json.loads(json.dumps(doc, indent=2))
"""

GREENLET = """
import greenlet
def deep(n):
    block = bytearray(2000 + n)
    if n:
        deep(n - 1)
    else:
        main.switch(block)
    return sorted(str(i) * 200 for i in range(5))
main = greenlet.getcurrent()
for i in range(%d):
    some = [greenlet.greenlet(deep) for _ in range(5)]
    for g in some:
        g.switch(i %% 13)
    for g in some:
        g.switch()
"""


def captured(argv, tmp_path, codes=(0,), **env):
    tmp_path.mkdir(exist_ok=True)
    out = tmp_path / "compare.txt"
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, timeout=600,
                          env=harness.environment(LD_PRELOAD=LIB, COMPARE_OUT=out, **env))
    assert done.returncode in codes, done.stderr.decode(errors="replace")
    lines = out.read_text().splitlines()
    numbers = [int(n) for n in lines[0].split()]
    result = dict(zip(("captures", "compared", "equal", "cut", "different", "wrongly_shared", "ours_ns", "theirs_ns", "spared",
                       "wrongly_spared"), numbers))
    print(argv[0], result)
    return result, "\n".join(lines)


def compare(argv, tmp_path, **more):
    result, lines = captured(argv, tmp_path, **more)
    assert result["different"] == result["wrongly_shared"] == result["wrongly_spared"] == 0, (result, lines)
    return result, lines


CASES = {
    "c": ([harness.PROGRAMS / "stacks_c", 400 * TIMES], {}),
    "frame-pointers": ([harness.PROGRAMS / "stacks_c_fp", 400 * TIMES], {}),
    "deep": ([harness.PROGRAMS / "stacks_deep", 60 * TIMES], {"COMPARE_MAX": 64, "COMPARE_EVERY": 2}),
    "deep-few": ([harness.PROGRAMS / "stacks_deep", 20 * TIMES], {"COMPARE_MAX": 5, "COMPARE_EVERY": 2}),
    "python-cut": ([harness.PYTHON, "-c", JSON % (10 * TIMES)], {"COMPARE_MAX": 12, "COMPARE_EVERY": 1}),
    "cpp": ([harness.PROGRAMS / "stacks_cpp", 500 * TIMES], {}),
    "signal": ([harness.PROGRAMS / "stacks_signal", 1500 * TIMES], {}),
    "coroutines": ([harness.PROGRAMS / "stacks_coro", 3000 * TIMES], {}),
    "dlopen": ([harness.PROGRAMS / "stacks_dlopen", 300 * TIMES, harness.PROGRAMS], {}),
    "threads": ([harness.PROGRAMS / "stacks_threads", 20 * TIMES], {}),
    "python": ([harness.PYTHON, "-c", JSON % (30 * TIMES)], {"PYTHONMALLOC": "malloc", "COMPARE_EVERY": 5}),
    "unittest": ([harness.PYTHON, "-m", "unittest", "-q", "unittest.test.test_case"], {"PYTHONMALLOC": "malloc", "COMPARE_EVERY": 40}),
    "greenlet": ([harness.PYTHON, "-c", GREENLET % (60 * TIMES)], {"PYTHONMALLOC": "malloc", "COMPARE_EVERY": 5}),
    "perl": (["perl", "-e", "my %%h; for my $i (1..%d) { $h{\"k$i\"} = [1..20]; $_ = join ',', sort keys %%h if $i %% 500 == 0 }" %
              (3000 * TIMES)], {"COMPARE_EVERY": 3}),
    "sqlite": (["sqlite3", ":memory:", "create table t(a,b); with recursive c(x) as (values(1) union all select x+1 from c where "
                "x<%d) insert into t select x, 'row '||x from c; create index i on t(b); select count(*) from t group by a%%10;" %
                (5000 * TIMES)], {}),
    "git": (["git", "-C", harness.ROOT, "log", "--stat", "-n", str(20 * TIMES)], {"COMPARE_EVERY": 3}),
    "cc1": (["gcc", "-O1", "-S", "-o", "/dev/null", "-x", "c", harness.ROOT / "tests/programs/stacks_c.c"], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_same_stacks(case, tmp_path):
    """P83, P84: frames without frame pointers, through libc, the vDSO and signal frames, are libunwind's to the byte."""
    argv, env = CASES[case]
    result, lines = compare(argv, tmp_path, **env)
    assert result["compared"] > 1000, result
    assert result["cut"] == 0, (result, lines)


WAYS = pathlib.Path(__file__).parent / "python_ways.py"
MARKED = ("debian", "3.11", "3.12", "3.13")


@pytest.mark.parametrize("malloc", ["malloc", "pymalloc"])
@pythons.every
def test_python_ways(name, malloc, tmp_path):
    """What a Python frame's mark spares (shim/python/native.h) is what a whole walk finds, at each capture; and libunwind, at some."""
    result, _ = compare([pythons.python(name), WAYS, 4 * TIMES], tmp_path, PYTHONMALLOC=malloc, COMPARE_MAX=120, COMPARE_EVERY=10)
    share = result["spared"] / result["captures"]
    assert share > 0.5 if name in MARKED else share == 0, result


def test_greenlet_ways(tmp_path):
    """The same where greenlets are resumed from other depths. What is above their own part of the stack then is nobody's stack, and
    libunwind and we end differently in it; so only our own walks are compared."""
    argv = [harness.PYTHON, WAYS, 40 * TIMES, "greenlets"]
    for malloc in ("malloc", "pymalloc"):
        result, lines = captured(argv, tmp_path / malloc, PYTHONMALLOC=malloc, COMPARE_EVERY=1000000)
        assert result["spared"] > 1000 and result["wrongly_spared"] == 0, (result, lines)


@pytest.mark.parametrize("wrong", ["mark", "switch"])
def test_wrong_ways_are_seen(wrong, tmp_path):
    """The test above can fail: with marks that are not looked at, and with switches of greenlets that are not noticed."""
    result, _ = captured([harness.PYTHON, WAYS, 40 * TIMES, "greenlets"], tmp_path, COMPARE_WRONG=wrong, COMPARE_EVERY=1000000)
    assert result["wrongly_spared"] > 100, result
