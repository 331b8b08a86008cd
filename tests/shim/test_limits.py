"""A program that closes what is not its own, gives up rights, or lives under limits."""
import os
import resource

import harness
import pytest
from twice import same

PROGRAM = harness.PROGRAMS / "limits_cases"
ROOT = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


def infos(logs):
    return [harness.answer("info", log) for log in logs]


def twice_without_table(case, tmp_path, **options):
    """As `same`, for processes that cannot or must not look at their descriptors at the end."""
    results = []
    logs = tmp_path / "logs"
    logs.mkdir()
    for where in (None, logs):
        work = tmp_path / ("with" if where else "without")
        work.mkdir()
        done = harness.run([PROGRAM, case], where, cwd=work, env={"TIDEMARK_SIZE": "4M", "TIDEMARK_CENSUS": "1ms"}, **options)
        results.append((done.returncode, done.stdout, done.stderr))
    assert results[0] == results[1]
    return results[0], harness.logs_in(logs)


def test_closing_every_descriptor(tmp_path):
    """P39, P41, P42, P27: closes 3 to 1023 and more, opens files, writes and reads them; they are intact, on the same numbers, and the
    program stays traced."""
    log, = same([PROGRAM, "close_all"], tmp_path)
    for kind in ("with", "without"):
        for i in range(10):
            assert (tmp_path / kind / f"file-{i}").read_text() == f"contents of {i}"
    assert harness.answer("info", log)["coverage"]["events"] >= 60 * 2 * 1000


def test_without_standard_descriptors(tmp_path):
    """P40: started with 0, 1 and 2 closed, as some daemons start others: the program gets these numbers, and we say nothing there."""
    for logs in (None, tmp_path):
        done = harness.run(["bash", "-c", f"exec {PROGRAM} no_standard 0<&- 1>&- 2>&-"], logs, cwd=tmp_path, env={"TIDEMARK_EXE": "*_cases"})
        assert done.returncode == 0 and (tmp_path / "found").read_text() == "0 1\n"
    done = harness.run(["bash", "-c", f"exec {PROGRAM} no_standard 0<&- 1>&- 2>&-"], tmp_path, cwd=tmp_path, env={"TIDEMARK_SIZE": "?"})
    assert done.returncode == 0 and (tmp_path / "found").read_text() == "0 1\n"
    assert len(harness.logs_in(tmp_path)) == 1


def test_descriptors_are_not_inherited(tmp_path):
    """P43: a child of a traced program has the descriptors that it would have had."""
    same(["bash", "-c", "ls -l /proc/self/fd | wc -l; exec ls /proc/self/fd"], tmp_path)


@ROOT
def test_chroot(tmp_path):
    """P48, P49: the log stays; a child that forks in the new root finds no place for one, and goes on untraced."""
    (code, out, _), logs = twice_without_table("chroot", tmp_path)
    assert (code, out) == (0, b"7\n")
    assert len(logs) == 1 and infos(logs)[0]["process"]["end"] == "exit"


@ROOT
def test_dropping_rights(tmp_path):
    """P18, P77: setuid works, the log stays; a child may not write into the directory, and goes on untraced."""
    (code, out, _), logs = twice_without_table("setuid", tmp_path)
    assert (code, out) == (0, b"7\n")
    assert len(logs) == 1 and infos(logs)[0]["process"]["end"] == "exit"


@ROOT
def test_namespaces(tmp_path):
    """P18, P38: unshare(CLONE_NEWUSER) fails with a second thread; the child is process 1 of its namespace and has a log."""
    if harness.run(["unshare", "-Upmn", "--fork", "true"]).returncode:
        pytest.skip("needs user namespaces: not in a chroot, nor in every container")
    logs = same([PROGRAM, "unshare"], tmp_path)
    found = infos(logs)
    assert sorted(info["process"]["pid"] == 1 for info in found) == [False, True]
    assert all(info["process"]["end"] == "exit" for info in found)


@pytest.mark.parametrize("case,status", [("filter", 5), ("strict", 6)])
def test_seccomp(tmp_path, case, status):
    """P78, P15: from its filter on, the program is killed for any call of ours; seals, new threads and the end make none."""
    (code, out, err), (log,) = twice_without_table(case, tmp_path)
    assert (code, err) == (status, b"") and out
    info = harness.answer("info", log)
    assert not info["damaged"] and info["coverage"]["events"] > 200_000
    losses = {k: n for k, n in info["coverage"]["lost_by_reason"].items() if n and k not in ("preinit", "truncated_stacks")}
    assert set(losses) <= {"no_space", "census"}
    if case == "filter":
        assert info["process"]["end"] == "exit"


def limited(**limits):
    def apply():
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))
    return apply


def test_no_descriptors(tmp_path):
    """P48: RLIMIT_NOFILE 3."""
    done = harness.run([PROGRAM, "works"], tmp_path, preexec_fn=limited(NOFILE=3))
    if done.returncode == 127:  # the dynamic linker itself needs one
        plain = harness.run([PROGRAM, "works"], preexec_fn=limited(NOFILE=3))
        assert plain.returncode == 127
        return
    assert (done.returncode, done.stdout) == (5, b"works\n") and done.stderr.count(b"\n") <= 1


def test_few_descriptors(tmp_path):
    """P48, P42: RLIMIT_NOFILE 5: the log is made, censuses find a number or do without."""
    done = harness.run([PROGRAM, "works"], tmp_path, preexec_fn=limited(NOFILE=5), env={"TIDEMARK_CENSUS": "1ms"})
    assert (done.returncode, done.stdout, done.stderr) == (5, b"works\n", b"")
    assert harness.answer("info", harness.only_log(tmp_path))["coverage"]["events"] > 200_000


def test_file_size(tmp_path):
    """P46: RLIMIT_FSIZE would be a signal to the program: the log is made smaller, or not at all."""
    for i, (limit, size) in enumerate([(1 << 20, 1 << 20), (300_000, 299_008), (100_000, None)]):
        where = tmp_path / str(i)
        where.mkdir()
        done = harness.run([PROGRAM, "works"], where, preexec_fn=limited(FSIZE=limit))
        assert (done.returncode, done.stdout) == (5, b"works\n")
        if size:
            assert done.stderr == b"" and harness.only_log(where).stat().st_size == size
        else:
            assert done.stderr.count(b"\n") == 1 and harness.logs_in(where) == []


def test_address_space(tmp_path):
    """P47: RLIMIT_AS from far too little to plenty: tracing starts or says why not; the program gets what it would have got."""
    for i, megabytes in enumerate([8, 16, 24, 40, 70, 80, 90, 100, 120, 200, 600]):
        where = tmp_path / str(i)
        where.mkdir()
        limit = limited(AS=megabytes << 20)
        plain = harness.run([PROGRAM, "out_of_memory"], preexec_fn=limit)
        done = harness.run([PROGRAM, "out_of_memory"], where, preexec_fn=limit)
        assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout), megabytes
        assert done.stderr.count(b"\n") <= 1
        logs = harness.logs_in(where)
        assert len(logs) <= 1
        if megabytes >= 200:
            assert len(logs) == 1 and done.stderr == b""
        for log in logs:
            harness.answer("info", log)


def test_without_proc(tmp_path):
    """P48: no /proc at all: what is read there is unknown, the rest is recorded."""
    if os.getuid():
        pytest.skip("needs root")
    if harness.run(["unshare", "-m", "true"]).returncode:
        pytest.skip("needs a mount namespace: not in a chroot, nor in every container")
    done = harness.run(["unshare", "-m", "bash", "-c", f"mount -t tmpfs none /proc && exec {PROGRAM} works"], tmp_path,
                       env={"TIDEMARK_EXE": "*", "TIDEMARK_SIZE": "4M"})
    assert (done.returncode, done.stdout, done.stderr) == (5, b"works\n", b"")
    events = [info["coverage"]["events"] for info in infos(harness.logs_in(tmp_path))]
    assert max(events) > 200_000


def test_removed_log(tmp_path):
    """P45: the log is removed while it is written (rm -rf of the directory): nothing happens to the program."""
    logs = tmp_path / "logs"
    logs.mkdir()
    program = harness.Oracle.started(logs, tmp_path / "oracle", 4, 256, 30000)
    harness.only_log(logs).unlink()
    logs.rmdir()
    assert program.wait(60) == 0


def test_no_room_for_definitions(tmp_path):
    """More code than the log has room to define: what cannot be is tried once, and not again for each frame of each event."""
    program = ("made = {}\n"
               "exec('\\n'.join(f'def f{i}(): return bytes(1000 + {i})' for i in range(1000)), made)\n"
               "work = [made[f'f{i}'] for i in range(1000)]\n"
               "for _ in range(100):\n    for f in work: f()\n")
    done = harness.run([harness.PYTHON, "-c", program], tmp_path, env={"TIDEMARK_SIZE": "256K"})
    assert done.returncode == 0, done.stderr
    coverage = harness.answer("info", harness.only_log(tmp_path))["coverage"]
    assert coverage["events"] > 200_000
    assert 100 < coverage["lost_by_reason"]["definitions"] < 50_000, coverage
