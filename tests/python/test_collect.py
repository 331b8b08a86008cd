"""A long life with ever new stacks in the mode `sites`: what nobody needs any more of the tree of stacks is collected, and what lives keeps its whole
stack. Without that the tree is full after some 460,000 frames that were different once, and stacks are told by their innermost frame."""
import collections
import re

import pytest

import harness
from pythons import python

VICTIM = """
import random, sys
chance = random.Random(1)
kept = []
ways = []
def leaf():
    return bytes(300)
def left(n):
    return down(n + 1)
def right(n):
    return down(n + 1)
def down(n):  # whose numbers are small: it allocates nothing
    return leaf() if n == len(ways) else left(n) if ways[n] else right(n)
def keep(path, blocks):
    ways[:] = path
    for _ in range(blocks):
        kept.append(down(0))
def churn(rounds):
    ways[:] = [False] * 20
    for _ in range(rounds):
        for i in range(20):
            ways[i] = chance.random() < 0.5
        down(0)
def rss():
    with open("/proc/self/status") as f:
        return f.read().split("VmRSS:")[1].split()[0]
for i, path in enumerate(PATHS):
    keep(path, i + 1)
    churn(4000)
print(rss())
"""
PATHS = [[i * 37 >> bit & 1 for bit in range(10)] for i in range(20)]


def lived(interpreter, tmp_path, mode):
    script = tmp_path / "churn.py"
    (tmp_path / mode).mkdir()
    script.write_text(VICTIM.replace("PATHS", repr(PATHS)))
    done = harness.run([interpreter, "-I", "-S", script], logs=tmp_path / mode, env={"TIDEMARK_PYTHON": mode, "TIDEMARK_STACK": "128"})
    assert done.returncode == 0 and not done.stderr, done.stderr
    return int(done.stdout)


def stack_of(path):
    return tuple(["leaf", "down"] + [name for way in path[::-1] for name in ("right left".split()[way], "down")] + ["keep", "<module>"])


SPARE = 1  # blocks of a line that die as the program ends


@pytest.mark.parametrize("name", ["debian", "3.12", "3.13"])
def test_whole_stacks_after_a_long_life(name, tmp_path):
    bare = lived(python(name), tmp_path, "arenas")
    added = lived(python(name), tmp_path, "sites") - bare
    blocks = collections.Counter()
    for row in harness.answer("leaks", harness.only_log(tmp_path / "sites"), "--top", "1000000")["leaks"]:
        frames = [re.sub(r".*\.", "", f["function"]) for f in row["stack"] if f["language"] == "python"]
        if frames and frames[0] == "leaf":
            blocks[tuple(frames)] += row["blocks"]
    wanted = {stack_of(path): i + 1 for i, path in enumerate(PATHS)}
    assert {s: n for s, n in wanted.items() if not n <= blocks[s] <= n + SPARE} == {}, blocks.most_common(5)
    assert added < 8 << 10, f"{added} KiB of RSS more"  # full, the tree alone is 12 MiB
