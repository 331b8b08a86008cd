"""Frames that are overwritten need not be decoded: counted, not timed, by having the process killed at the N-th that is (shim/fault.h)."""
import signal

import harness

FAULTS = harness.BUILD / "libtidemark_faults.so"
MOST = 1000  # frames decoded: those of the first lap, which were sealed before anybody noted what they hold


ONE_THREAD = (["bench_loop", "tight", 12_000_000], "256K")
TWO_THREADS = (["bench_threads", "handoff", 2_000_000], "1M")


def coverage_after(tmp_path, decoded, of=ONE_THREAD):
    (name, *arguments), size = of
    logs = tmp_path / str(decoded)
    logs.mkdir()
    done = harness.run([harness.PROGRAMS / name, *arguments], logs=logs,
                       env={"TIDEMARK_SIZE": size, "TIDEMARK_CENSUS": "off", "LD_PRELOAD": FAULTS,
                            "TIDEMARK_FAULT": f"evict-decode:{decoded}"})
    log = harness.only_log(logs)
    return done.returncode, harness.answer("report", log, codes=(0, 3))["coverage"]


def test_few_frames_are_decoded(tmp_path):
    """A thousand would hold some 2.2 M events; several times as many are overwritten."""
    status, coverage = coverage_after(tmp_path, MOST)
    assert status == 0, "it decodes frames that it need not"
    assert coverage["lost"] == 0 and coverage["events"] == coverage["in_window"] + coverage["evicted"], coverage
    assert coverage["evicted"] > 10_000_000, coverage


def test_frames_of_two_epochs_are_not(tmp_path):
    """Each thread has one in each epoch. 1,100 others are decoded, most of them of carried blocks; with these it was 1,900 to 2,200."""
    status, coverage = coverage_after(tmp_path, 1600, TWO_THREADS)
    assert status == 0, "it decodes frames of two epochs"
    assert coverage["lost"] == 0 and coverage["evicted"] > 1_000_000, coverage


def test_the_first_ones_are(tmp_path):
    """Or the other test counts nothing."""
    assert coverage_after(tmp_path, 1)[0] == -signal.SIGKILL
