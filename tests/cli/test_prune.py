"""`tidemark prune`: logs of the dead go, by age and number; one of the living never does."""
import os
import signal
import subprocess
import time

import harness


def dead_log(directory, age):
    before = set(harness.logs_in(directory))
    assert harness.run(["/bin/true"], logs=directory, env={"TIDEMARK_SIZE": "256K"}).returncode == 0
    log, = set(harness.logs_in(directory)) - before
    os.utime(log, (time.time() - age, time.time() - age))
    return log


def prune(*arguments, codes=(0,)):
    return harness.tidemark("prune", *arguments, codes=codes)


def test_by_age_and_number(tmp_path):
    old, older, young = dead_log(tmp_path, 5000), dead_log(tmp_path, 9000), dead_log(tmp_path, 10)
    prune("--older-than", "1h", "--dry-run", tmp_path)
    assert harness.logs_in(tmp_path) == sorted([old, older, young])
    said = prune("--older-than", "2h", tmp_path)
    assert older.name in said and harness.logs_in(tmp_path) == sorted([old, young])
    prune("--keep", 1, tmp_path)
    assert harness.logs_in(tmp_path) == [young]
    prune("--older-than", "5s", tmp_path)
    assert harness.logs_in(tmp_path) == []


def test_never_a_live_one(tmp_path):
    program = subprocess.Popen(["/bin/sleep", "60"], env=harness.environment(tmp_path, TIDEMARK_SIZE="256K"))
    try:
        for _ in range(1000):
            if harness.logs_in(tmp_path):
                break
            time.sleep(0.01)
        time.sleep(0.2)
        log = harness.only_log(tmp_path)
        os.utime(log, (0, 0))
        assert "1 that may be alive" in prune("--older-than", "1s", tmp_path)
        assert log.exists()
    finally:
        program.send_signal(signal.SIGKILL)
        program.wait()
    prune("--older-than", "1s", tmp_path)
    assert not log.exists()


def test_only_logs(tmp_path):
    log = dead_log(tmp_path, 5000)
    (tmp_path / "notes.tide").write_text("not a log")
    (tmp_path / "link.tide").symlink_to(log)
    os.utime(tmp_path / "notes.tide", (0, 0))
    assert "2 files that are no logs" in prune("--older-than", "1s", tmp_path)
    assert not log.exists() and (tmp_path / "notes.tide").exists() and (tmp_path / "link.tide").is_symlink()


def test_usage(tmp_path):
    prune(tmp_path, codes=(2,))
    prune("--older-than", "soon", tmp_path, codes=(2,))
    prune("--keep", "1", tmp_path / "nowhere", codes=(4,))
