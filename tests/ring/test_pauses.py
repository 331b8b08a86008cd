"""A thread that loses its processor at the worst of places, for longer than the ring takes to go round: nothing that lives is
forgotten, and nothing dead is listed, when the process is killed then."""
import os
import random
import signal
import time

import harness
import pytest

FAULTS = harness.BUILD / "libtidemark_faults.so"
RUNS = int(os.environ.get("TIDEMARK_TEST_PAUSES", "4"))
# every N-th time, for so many microseconds
PAUSES = {"free-entered": (10000, 30000), "free-taken": (10000, 30000), "free-begun": (10000, 30000),
          "alloc-begun": (10000, 30000), "alloc-marked": (10000, 30000), "carry-tagged": (20, 1000),
          "carry-published": (20, 1000)}


@pytest.mark.parametrize("place", sorted(PAUSES))
def test_paused_at(tmp_path, place):
    """Many blocks, so that their times are close, and addresses that are used again and again."""
    generator = random.Random(place)
    every, pause = PAUSES[place]
    evicted = 0
    for i in range(RUNS):
        logs, oracle = tmp_path / f"logs-{i}", tmp_path / f"oracle-{i}"
        logs.mkdir()
        program = harness.Oracle.started(logs, oracle, 6, 2000, TIDEMARK_SIZE="256K", LD_PRELOAD=FAULTS,
                                         TIDEMARK_FAULT_PAUSE=f"{place}:{every}:{pause}")
        time.sleep(0.2 + generator.random() * 0.4)
        program.send_signal(signal.SIGKILL)
        assert program.wait() == -signal.SIGKILL
        log = harness.only_log(logs)
        coverage = harness.answer("report", log, codes=(0, 3))["coverage"]
        assert coverage["lost"] == 0 and coverage["events"] == coverage["in_window"] + coverage["evicted"], coverage
        assert not any(coverage["lost_by_reason"].values()), coverage
        if not coverage["carried_sample_bytes"]:
            assert harness.Oracle(oracle).differences(log) == [], (i, log)
        evicted += coverage["evicted"]
    assert evicted > 0
