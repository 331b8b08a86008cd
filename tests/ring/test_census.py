"""The last census outlives the ring: while RSS stands still the next one is far, and Python's blocks, and what is resident, are told by it alone."""
import contextlib
import random
import signal
import subprocess
import time

import harness
import pytest
import sizes

CENSUS = 2  # kind of a frame

LIVE = 20000
PROGRAM = f"""
class Kept:
    __slots__ = ("n",)
kept = []
for i in range({LIVE}):
    kept.append(Kept())
print("ready", flush=True)
while True:
    [bytes(2000 + j % 700) for j in range(300)]
"""
MADE_AT = 6  # the line


@contextlib.contextmanager
def running(logs, argv, **env):
    """It has said its first line; it is killed in the end."""
    logs.mkdir()
    with subprocess.Popen([str(a) for a in argv], env=harness.environment(logs, **env), stdout=subprocess.PIPE) as program:
        assert program.stdout.readline()
        yield
        program.send_signal(signal.SIGKILL)
        assert program.wait() == -signal.SIGKILL


@pytest.mark.parametrize("mode", ["sites", "arenas"])
def test_python(tmp_path, mode):
    (tmp_path / "kept.py").write_text(PROGRAM)
    generator = random.Random(mode)
    laps, longest = [], 1.5
    while sum(lap > 1 for lap in laps) < 3 and longest < 30:  # seconds: a busy machine takes long for a lap
        logs = tmp_path / f"logs-{len(laps)}"
        with running(logs, [harness.PYTHON, tmp_path / "kept.py"], TIDEMARK_SIZE="2M", TIDEMARK_PYTHON=mode, TIDEMARK_CENSUS="200ms"):
            time.sleep(longest * (0.5 + generator.random() / 2))
        report = harness.answer("report", harness.only_log(logs))
        coverage = report["coverage"]
        assert not coverage["damaged"] and coverage["lost"] == 0
        laps.append(coverage["evicted"] / coverage["in_window"])
        longest *= 1 if laps[-1] > 1 else 1.5
        assert report["ledger"]["rss_bytes"] > 5 << 20
        if mode == "sites":
            kept = [p["blocks"] for p in report["places"] if p["place"] == f"<module> kept.py:{MADE_AT}"]
            assert len(kept) == 1 and LIVE <= kept[0] <= LIVE + 10, kept
    assert max(laps) > 1, laps


def test_one_that_is_too_large_is_taken_anew(tmp_path):
    """It would take more than an eighth of the ring, so it goes with its segment: the next one is due though RSS stands still, when else
    they would be 8, 16, 32 intervals apart, the eighth after 25 seconds."""
    fill = "    kept.append(bytes(random.randrange(480)))\nkept = [k for k in kept if random.random() < 0.5]"
    program = "import random" + PROGRAM.replace("    kept.append(Kept())", fill).replace(f"range({LIVE})", f"range({15 * LIVE})")
    (tmp_path / "many.py").write_text(program)
    last = 0
    with running(tmp_path / "logs", [harness.PYTHON, tmp_path / "many.py"], TIDEMARK_SIZE="256K", TIDEMARK_CENSUS="50ms"):
        end = time.monotonic() + 25
        while last < 8 and time.monotonic() < end:
            found, _ = sizes.frames(harness.only_log(tmp_path / "logs").read_bytes())
            last = max([last, *(f.number for f in found if f.kind == CENSUS)])
            time.sleep(0.005)
    assert last >= 8
