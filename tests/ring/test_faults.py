"""SIGKILL at every named place of sealing, carrying over, beginning a segment, and forking (shim/fault.h): nothing is lost."""
import os
import re
import signal

import harness
import pytest

FAULTS = harness.BUILD / "libtidemark_faults.so"
TIMES = [int(n) for n in os.environ.get("TIDEMARK_TEST_FAULTS", "1 2 9 40 150").split()]


def places():
    names = set()
    for source in sorted((harness.ROOT / "shim").glob("*.c")):
        names |= set(re.findall(r'TIDE_FAULT\("([a-z-]+)"\)', source.read_text()))
    return sorted(names)


@pytest.mark.parametrize("place", [p for p in places() if not p.startswith(("fork-", "deaths-"))])  # the latter: test_heirs.py
def test_killed_at(tmp_path, place):
    for times in TIMES:
        logs, oracle = tmp_path / f"logs-{times}", tmp_path / f"oracle-{times}"
        logs.mkdir()
        done = harness.run([harness.PROGRAMS / "oracle_loop", oracle, 4, 256, 60000], logs=logs,
                           env={"TIDEMARK_SIZE": "256K", "LD_PRELOAD": FAULTS, "TIDEMARK_FAULT": f"{place}:{times}"})
        assert done.returncode in (-signal.SIGKILL, 0), done.stderr
        if times == TIMES[0]:
            assert done.returncode == -signal.SIGKILL, "it never came there"
        log = harness.only_log(logs)
        coverage = harness.answer("report", log, codes=(0, 3))["coverage"]
        assert coverage["lost"] == 0 and coverage["events"] == coverage["in_window"] + coverage["evicted"], coverage
        if oracle.exists() and any(oracle.read_bytes()[:8]):  # else it was killed before it had begun
            assert harness.Oracle(oracle).differences(log) == [], (place, times)


@pytest.mark.parametrize("place", [p for p in places() if p.startswith("fork-")])
def test_forked_child_killed_at(tmp_path, place):
    """The parent's log is whole, whatever becomes of the child's."""
    done = harness.run([harness.PROGRAMS / "fork_wraps", 200000, 2000], logs=tmp_path,
                       env={"TIDEMARK_SIZE": "256K", "LD_PRELOAD": FAULTS, "TIDEMARK_FAULT": f"{place}:1"})
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert [line for line in lines if line[0] == "child" and line[1] == "signal"], "it never came there"
    parent = next(int(line[1]) for line in lines if line[0] == "parent")
    blocks = {(int(line[1], 16), int(line[2])) for line in lines if line[0] == "block" and int(line[3]) == parent}
    for log in harness.logs_in(tmp_path):
        if place == "fork-created" and f"-{parent}-" not in log.name:
            continue  # a file is there and nothing is in it yet: not a log
        coverage = harness.answer("report", log, codes=(0, 3))["coverage"]
        assert coverage["lost"] == 0, (log, coverage)
        if f"-{parent}-" in log.name:
            assert not blocks - set(harness.live_blocks(log))
