"""How processes begin, multiply and end under the shim: the same to see, and a true log of each that deserves one."""
import os
import signal

import harness
import pytest
from twice import same

PROGRAM = harness.PROGRAMS / "lifecycle"
FORKS = os.environ.get("TIDEMARK_TEST_FORKS", "60")  # the long tier has 1,000
STORM = os.environ.get("TIDEMARK_TEST_STORM", "150")  # and 10,000


def lifecycle(tmp_path, *arguments, status=0, timeout=120, **env):
    """What info says of every log."""
    logs = same([PROGRAM, *arguments], tmp_path, status=status, env=env, timeout=timeout)
    return [harness.answer("info", log) for log in logs]


def ends(logs):
    return sorted(info["process"]["end"] for info in logs)


def no_loss(logs, but=()):
    """Nothing is lost, but for reasons that a test names."""
    fine = ("preinit", "truncated_stacks", *but)
    for info in logs:
        losses = {k: n for k, n in info["coverage"]["lost_by_reason"].items() if n and k not in fine}
        assert not info["damaged"] and info["coverage"]["lost"] == 0 and not losses, info


def parents(logs):
    """The logs of forked children, and the others."""
    children = [info for info in logs if info["process"]["parent_pid"] is not None]
    return children, [info for info in logs if info not in children]


@pytest.mark.parametrize("case", ["raw_clone", "raw_fork", "quiet_fork"])
def test_children_without_handlers_of_fork(tmp_path, case):
    """P22, P24, P25, P27: a child made behind libc's back leaves the parent's log alone and has its own, with lineage."""
    logs = lifecycle(tmp_path, case)
    assert len(logs) == 2 and ends(logs) == ["exit", "exit"]
    (child,), (parent,) = parents(logs)
    assert child["process"]["parent_pid"] == parent["process"]["pid"]
    no_loss(logs)
    assert parent["coverage"]["events"] >= 2000 and child["coverage"]["events"] >= 8000


def test_vfork(tmp_path):
    """P26: the child's events are the parent's; it neither ends nor renews the log."""
    logs = lifecycle(tmp_path, "vfork", "100", TIDEMARK_EXE="*lifecycle")
    assert len(logs) == 1 and ends(logs) == ["exit"]
    no_loss(logs)
    assert logs[0]["coverage"]["events"] >= 100 * 98


def test_clone_with_shared_memory(tmp_path):
    """P26: a process that is a thread."""
    logs = lifecycle(tmp_path, "clone_vm")
    assert len(logs) == 1 and ends(logs) == ["exit"]
    no_loss(logs)
    assert logs[0]["coverage"]["events"] >= 20 * 6000


def test_posix_spawn(tmp_path):
    """P25."""
    logs = lifecycle(tmp_path, "spawn")
    assert sorted(info["process"]["name"] for info in logs) == ["echo", "lifecycle"]
    assert ends(logs) == ["exit", "exit"]


def test_system_and_popen(tmp_path):
    """P25, P33."""
    logs = lifecycle(tmp_path, "shell")
    assert ends(logs).count("exit") == 3


def test_exec_of_self(tmp_path):
    """P30: one process number, four images, four logs."""
    logs = lifecycle(tmp_path, "exec_self", "3", status=9)
    assert len({info["process"]["pid"] for info in logs}) == 1
    assert ends(logs) == ["exec", "exec", "exec", "exit"]
    no_loss(logs)


def test_exec_that_fails(tmp_path):
    """P30: the process goes on, and its end is the real one."""
    logs = lifecycle(tmp_path, "exec_fails", status=6)
    assert ends(logs) == ["exit"]
    no_loss(logs)


def test_fork_and_exec_leave_no_files(tmp_path):
    """P28: only the parent has a log; the children exec into what TIDEMARK_EXE leaves out."""
    logs = lifecycle(tmp_path, "storm", STORM, TIDEMARK_EXE="*lifecycle", timeout=60 + int(STORM))
    assert len(logs) == 1
    no_loss(logs)


def test_fork_among_allocating_threads(tmp_path):
    """P22, P23: locks of threads that the child does not have never hold it up: none takes 30 seconds, which the program watches."""
    logs = lifecycle(tmp_path, "fork_among_threads", FORKS, TIDEMARK_SIZE="2M", timeout=60 + 2 * int(FORKS))
    assert len(logs) == int(FORKS) + 1
    assert ends(logs) == ["exit"] * len(logs)
    no_loss(logs, but=["no_space"])  # the parent's: its threads wait 30 ms for one that compresses, and fork can take longer
    assert sum(info["coverage"]["lost_by_reason"]["no_space"] for info in logs) < logs[0]["coverage"]["events"] // 1000


def test_daemon(tmp_path):
    """P39: forks twice, closes every descriptor, goes on allocating; the first number it opens is the one it would have been."""
    logs = lifecycle(tmp_path, "daemon")
    assert len(logs) == 2  # the child in between has done nothing worth a log
    assert len(parents(logs)[0]) == 1
    no_loss(logs)


@pytest.mark.parametrize("case,status,end", [
    ("quick_exit", 21, "exit"), ("exit_group", 22, "exit"), ("_Exit", 23, "exit"), ("atexit", 25, "exit"), ("destructors", 26, "exit"),
    ("main_leaves", 0, "exit"), ("abort", -signal.SIGABRT, "killed"), ("overflow", -signal.SIGSEGV, "killed")])
def test_ends(tmp_path, case, status, end):
    """P34, P36, P37: every way out leaves a whole log; what runs after our own destructor is still traced."""
    # an exit that skips destructors tells no table of descriptors
    logs = lifecycle_without_table(tmp_path, case, status)
    assert ends(logs) == [end]
    no_loss(logs)
    assert logs[0]["coverage"]["events"] >= 2000


def lifecycle_without_table(tmp_path, case, status):
    plain = harness.run([PROGRAM, case])
    done = harness.run([PROGRAM, case], tmp_path)
    assert plain.returncode == status
    assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    return [harness.answer("info", log) for log in harness.logs_in(tmp_path)]


def test_events_after_the_end_of_main(tmp_path):
    """P08, P37: handlers and destructors allocate after exit() began: recorded, behind the mark that says so."""
    lifecycle_without_table(tmp_path, "destructors", 26)
    rows = [line.split()[6] for line in harness.tidemark("dump", harness.only_log(tmp_path)).splitlines()]
    assert rows.count("malloc") >= 1000 and rows.count("free") >= 1000


def test_exit_among_threads(tmp_path):
    """P36: threads allocate until the last moment."""
    done = harness.run([PROGRAM, "exit_among_threads"], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (24, b"", b"")
    info = harness.answer("info", harness.only_log(tmp_path))
    assert info["process"]["end"] == "exit" and not info["damaged"]


def test_stopped(tmp_path):
    """P35: SIGSTOP in the middle of anything: the log can be read as it stands, and goes on afterwards."""
    logs = tmp_path / "logs"
    logs.mkdir()
    oracle = tmp_path / "oracle"
    program = harness.Oracle.started(logs, oracle, 4, 256, 60000)
    for _ in range(5):
        os.kill(program.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, program.pid, os.WSTOPPED | os.WNOWAIT)
        assert harness.Oracle(oracle).differences(harness.only_log(logs)) == []
        os.kill(program.pid, signal.SIGCONT)
    assert program.wait(60) == 0
    assert harness.Oracle(oracle).differences(harness.only_log(logs)) == []
