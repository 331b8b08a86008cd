"""Every allocation of a program is charged to the function and line that the program itself names: on every CPython."""
import collections
import json
import pathlib

import pytest

import harness
from pythons import every, python

VICTIM = pathlib.Path(__file__).with_name("known_lines.py")
LIMIT = 64  # TIDEMARK_STACK's default
CUT = "[stack cut here]"


def told_by(interpreter, tmp_path, mode, *flags, **env):
    done = harness.run([interpreter, *flags, VICTIM], logs=tmp_path, env=dict(env, TIDEMARK_PYTHON=mode), timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    return json.loads(done.stdout.decode())


def python_stack(row):
    """Innermost first; a cut stack is told by its innermost half alone, as how much is kept depends on the depth."""
    frames = [f for f in row["stack"] if f["language"] == "python"]
    stack = tuple((f["function"], f["line"]) for f in frames)
    return stack[:LIMIT // 2] if stack and stack[-1][0] == CUT else stack


def live_rows(log):
    rows = collections.defaultdict(lambda: [0, 0])
    for row in harness.answer("leaks", log, "--top", "1000000")["leaks"]:
        total = rows[python_stack(row)]
        total[0] += row["blocks"]
        total[1] += row["bytes"]
    return rows


SPARE = 2  # blocks of a line that the interpreter keeps for itself in its free lists: tuples, frames


def is_right(got, blocks, size):
    return blocks <= got[0] <= blocks + SPARE and blocks * size <= got[1] <= blocks * size + 512 * (got[0] - blocks)


def compare(told, rows, size):
    """`size`: bytes of one block as the report counts them."""
    wanted = collections.Counter()
    for case in told["cases"].values():
        stack = tuple((f, n) for f, n in case["stack"])
        wanted[stack if len(stack) <= LIMIT else stack[:LIMIT // 2]] += case["blocks"]
    wrong = [(stack[:3], len(stack), blocks, rows.get(stack)) for stack, blocks in wanted.items()
             if not is_right(rows.get(stack, (0, 0)), blocks, size)]
    assert not wrong, wrong[:5]


def class_bytes(size):
    return (size + 15) // 16 * 16


@every
def test_sites(name, tmp_path):
    told = told_by(python(name), tmp_path, "sites")
    compare(told, live_rows(harness.only_log(tmp_path)), class_bytes(told["size"]))


@every
def test_objects(name, tmp_path):
    told = told_by(python(name), tmp_path, "objects")
    compare(told, live_rows(harness.only_log(tmp_path)), told["size"])
