"""What it costs to begin and to end: page faults more than without the shim, which other work on the machine does not change."""
import os
import statistics
import subprocess

import pytest

import harness


def faults(argv, logs, env):
    child = subprocess.Popen(argv, env=harness.environment(logs, **env), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return usage.ru_minflt


# measured: 22, 73 and 260 to 290 (each page of the log, and of our tables, that is touched, and those of the library)
@pytest.mark.parametrize("argv,most", [(["/bin/true"], 32), (["/bin/ls", "/"], 100), ([harness.PYTHON, "-c", "pass"], 340)])
def test_faults(argv, most, tmp_path):
    env = {"LANG": "C", "PYTHONHASHSEED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    rounds = [faults(argv, tmp_path, env) - faults(argv, None, env) for _ in range(7)]
    assert statistics.median(rounds) <= most, rounds
