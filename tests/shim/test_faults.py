"""Every system call of ours fails, one after the other, alone and with all that follow: the program shows the same."""
import errno

import harness
import pytest

FAULTY = harness.PROGRAMS / "tidemark_fault.so"
ERRORS = [errno.ENOMEM, errno.EMFILE, errno.ENOSPC]
CASES = {
    "one process": [harness.PROGRAMS / "alloc_edges"],
    "a forked child": [harness.PROGRAMS / "lifecycle", "raw_clone"],
    "threads": [harness.PROGRAMS / "threads_cases", "churn", "64"],
    "python": [harness.PYTHON, "-c", "print(len([{} for i in range(9000)]))"],
}
STRIDE = {"one process": 1, "a forked child": 3, "threads": 5, "python": 9}  # of the calls: each run costs as much as the program


@pytest.mark.parametrize("name", CASES)
def test_failing_calls(tmp_path, name):
    """P44, P46, P47, P48, P50, P53: mmap, open, read, fallocate and the rest."""
    argv = CASES[name]
    plain = harness.run(argv)
    reached = tmp_path / "reached"
    for after in ("", "+"):
        for n in range(1, 2000, STRIDE[name]):
            reached.unlink(missing_ok=True)
            env = {"LD_PRELOAD": FAULTY, "TIDEMARK_FAULT_CALL": f"{n}{after}:{ERRORS[n % 3]}", "TIDEMARK_FAULT_REACHED": reached,
                   "TIDEMARK_SIZE": "1M", "TIDEMARK_PYTHON": "objects"}
            done = harness.run(argv, tmp_path, env=env)
            assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout), (n, after)
            said = done.stderr[:len(done.stderr) - len(plain.stderr)]
            assert said.count(b"\n") <= 1 and (not said or said.startswith(b"tidemark: ")), (n, after, done.stderr)
            for log in harness.logs_in(tmp_path):
                harness.tidemark("info", log, codes=(0, 3, 4))
                log.unlink()
            if not reached.exists():
                break
        assert n > 20, "hardly any call was made to fail"
