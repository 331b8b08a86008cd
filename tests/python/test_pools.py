"""The census of pymalloc's pools equals what the interpreter says of itself: sys._debugmallocstats(). With an allocator hook of
anybody's, tracemalloc's or ours in the modes `sites` and `objects`, that call prints no pools."""
import pathlib
import re

import harness
from pythons import every, python

VICTIM = pathlib.Path(__file__).with_name("census.py")
OWN_BLOCKS = 2  # the statistics' call's own argument, and a number it prints


def told(stderr):
    """(arenas, live bytes) of sys._debugmallocstats()'s text."""
    text = stderr.decode()
    arenas = int(re.search(r"# arenas allocated current += +([\d,]+)", text).group(1).replace(",", ""))
    live = int(re.search(r"# bytes in allocated blocks += +([\d,]+)", text).group(1).replace(",", ""))
    return arenas, live


@every
def test_exit_census_equals_the_interpreters(name, tmp_path):
    done = harness.run([python(name), VICTIM], logs=tmp_path, env={"TIDEMARK_PYTHON": "arenas"})
    assert done.returncode == 0, done.stderr.decode()[:500]
    arenas, live = told(done.stderr)
    report = harness.answer("arenas", "--top", "100000", harness.only_log(tmp_path))
    pools = [a for a in report["arenas"] if a["kind"] == "pymalloc"]
    assert len(pools) == arenas
    assert abs(sum(a["live_bytes"] for a in pools) - live) <= OWN_BLOCKS * 64

