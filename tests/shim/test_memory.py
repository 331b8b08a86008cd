"""What the shim adds to a program's resident memory."""
import re
import statistics

import harness

LOOK = "print(open('/proc/self/smaps_rollup').read())"
RUNS = 7


def rollup(logs, field, **env):
    text = harness.run([harness.PYTHON, "-c", LOOK], logs, env=env).stdout.decode()
    return int(re.search(rf"^{field}:\s+(\d+) kB$", text, re.M)[1])


def added(tmp_path, field, **env):
    pairs = [(rollup(None, field), rollup(tmp_path, field, **env)) for _ in range(RUNS)]
    return statistics.median(b - a for a, b in pairs)


def test_python(tmp_path):
    """P47: at most 8 MB, in the default mode, sites, and in the others; the log's own pages included."""
    for mode in ("arenas", "sites", "objects"):
        assert added(tmp_path, "Rss", TIDEMARK_PYTHON=mode) <= 8192
    for log in harness.logs_in(tmp_path):
        log.unlink()


def test_private_dirty(tmp_path):
    """What a tree of workers pays for each: pages that are shared with nobody."""
    assert added(tmp_path, "Private_Dirty", TIDEMARK_PYTHON="objects") <= 8192


GROWS = """
import random, re
kept, seen = [], []
for _ in range(300):
    kept.append([bytearray(random.randrange(1, 400)) for _ in range(10000)])
    log = re.search(r'[.]tide\\n.*?Rss:\\s+(\\d+)', open('/proc/self/smaps').read(), re.S)
    seen.append(int(log[1]))
    if len(kept) > 3:
        kept.pop(0)
    if len(seen) > 60 and min(seen[30:]) < max(seen) / 3:
        break
print(max(seen), min(seen[30:]))
"""


def test_the_log_leaves(tmp_path):
    """The ring's pages go when there is time for a census, so that RSS does not grow by the whole log."""
    done = harness.run([harness.PYTHON, "-c", GROWS], tmp_path, env={"PYTHONMALLOC": "malloc", "TIDEMARK_CENSUS": "10ms"})
    most, least = map(int, done.stdout.split())
    assert most > 1024 and least < most / 3, done.stdout
