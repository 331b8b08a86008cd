"""Rings so small that they wrap hundreds of times: nothing that lives is forgotten, no total is wrong, whenever the process dies."""
import os
import random
import signal
import time

import harness

RUNS = int(os.environ.get("TIDEMARK_TEST_WRAPPED_KILLS", "60"))


def wrapped(log):
    coverage = harness.answer("report", log, codes=(0, 3))["coverage"]
    assert coverage["lost"] == 0, coverage
    assert coverage["events"] == coverage["in_window"] + coverage["evicted"]
    return coverage


def kill_once(tmp_path, i, delay, **env):
    logs, oracle = tmp_path / f"logs-{i}", tmp_path / f"oracle-{i}"
    logs.mkdir()
    program = harness.Oracle.started(logs, oracle, 4, **env)
    time.sleep(delay)
    program.send_signal(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    return harness.only_log(logs), harness.Oracle(oracle)


def test_kill_while_it_wraps(tmp_path):
    """P35: 4 threads that free each other's blocks; the live set is the oracle's up to the calls in flight."""
    generator = random.Random(4)
    laps = 0
    for i in range(RUNS):
        log, oracle = kill_once(tmp_path, i, 0.02 + generator.random() * 0.3, TIDEMARK_SIZE="256K")
        coverage = wrapped(log)
        assert oracle.differences(log) == [], (i, log)
        assert coverage["uncertain_bytes"] <= 4 * 64 * 4096  # of reallocs in flight
        laps += coverage["evicted"] > 0
        log.unlink()
    assert laps >= RUNS // 2
