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
