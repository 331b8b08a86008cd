"""Frames that are overwritten need not be decoded: counted, not timed, by having the process killed at the N-th that is (shim/fault.h)."""
import signal

import harness

FAULTS = harness.BUILD / "libtidemark_faults.so"
MOST = 1000  # frames decoded: those of the first lap, which were sealed before anybody noted what they hold


def coverage_after(tmp_path, decoded):
    logs = tmp_path / str(decoded)
    logs.mkdir()
    done = harness.run([harness.PROGRAMS / "bench_loop", "tight", 12_000_000], logs=logs,
                       env={"TIDEMARK_SIZE": "256K", "TIDEMARK_CENSUS": "off", "LD_PRELOAD": FAULTS,
                            "TIDEMARK_FAULT": f"evict-decode:{decoded}"})
    log = harness.only_log(logs)
    return done.returncode, harness.answer("report", log, codes=(0, 3))["coverage"]


def test_few_frames_are_decoded(tmp_path):
    """A thousand would hold some 2.2 M events; several times as many are overwritten."""
    status, coverage = coverage_after(tmp_path, MOST)
    assert status == 0, "it decodes frames that it need not"
    assert coverage["lost"] == 0 and coverage["events"] == coverage["in_window"] + coverage["evicted"], coverage
    assert coverage["evicted"] > 10_000_000, coverage


def test_the_first_ones_are(tmp_path):
    """Or the other test counts nothing."""
    assert coverage_after(tmp_path, 1)[0] == -signal.SIGKILL
