"""SIGKILL at random times: the log decodes, and its live set is the program's own, up to one call in flight a thread."""
import os
import random
import signal
import time

import harness

RUNS = int(os.environ.get("TIDEMARK_TEST_KILLS", "200"))
LONGEST = 0.06  # seconds after the threads have begun


def kill_once(tmp_path, i, delay):
    logs, oracle = tmp_path / f"logs-{i}", tmp_path / f"oracle-{i}"
    logs.mkdir()
    program = harness.Oracle.started(logs, oracle, 4)
    time.sleep(delay)
    program.send_signal(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    return harness.only_log(logs), harness.Oracle(oracle)


def test_kill_at_random_times(tmp_path):
    """P35, P34: nothing is flushed at the end, so nothing is missing when there is none."""
    generator = random.Random(20261124)
    recorded = 0
    for i in range(RUNS):
        log, oracle = kill_once(tmp_path, i, generator.random() * LONGEST)
        totals = harness.answer("report", log, codes=(0, 3))
        coverage = totals["coverage"]
        assert totals["process"]["end"] == "killed"
        assert coverage["evicted"] == 0, "the ring wrapped: this test is about a whole log"
        assert oracle.differences(log) == [], (i, log)
        assert totals["totals"]["allocs"] >= oracle.allocs
        assert coverage["lost"] == 0, coverage
        recorded += coverage["events"]
        log.unlink()
    assert recorded > RUNS * 100
