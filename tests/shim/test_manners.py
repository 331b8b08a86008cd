"""What the shim leaves of a program untouched, and what it does with what it is told. Each test names the pitfalls it is about."""
import os
import re
import stat

import contract
import harness
import pytest
from twice import same

JSON_LINE = 'import json; x=[{"a":i} for i in range(300000)]; del x[::2]'


def test_plain_preload_leaves_one_whole_log(tmp_path):
    """P33, P34: no other setting; the log is where the program was started, and its report has every field."""
    done = harness.run([harness.PYTHON, "-c", JSON_LINE], env={"LD_PRELOAD": harness.SHIM}, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    log = harness.only_log(tmp_path)
    assert os.listdir(tmp_path) == [log.name]
    assert re.fullmatch(r"python3\.11-\d+-[0-9a-f]+\.tide", log.name)
    state = log.stat()
    assert stat.S_IMODE(state.st_mode) == 0o600 and state.st_size == 64 << 20 and state.st_blocks * 512 >= state.st_size
    report = harness.answer("report", log)
    contract.check_report(report)
    assert report["coverage"]["events"] > 2000 and report["coverage"]["lost"] == 0
    assert report["process"]["end"] == "exit" and report["process"]["python"].startswith("3.11")
    assert report["process"]["allocator"].startswith("glibc 2.")


def test_events_are_recorded_at_all(tmp_path):
    """P73, P74: a shim that exports nothing loads, and every test that only compares passes: so count, and look for every kind."""
    log, = same([harness.PROGRAMS / "alloc_edges"], tmp_path)
    report = harness.answer("report", log)
    assert report["totals"]["allocs"] > 400 and report["totals"]["frees"] > 400
    assert report["coverage"]["lost"] == 0
    kinds = {line.split(" tid ")[1].split()[1] for line in harness.tidemark("dump", log).splitlines()}
    assert kinds >= {"malloc", "calloc", "aligned", "free", "realloc-free", "realloc-alloc", "realloc-failed", "mmap", "munmap", "mremap",
                     "madvise", "brk", "mark"}, kinds


def test_allocator_semantics_are_untouched(tmp_path):
    """P53, P54, P55, P56, P57, P58, P60, P61, P62, P63, P67, P73, P76: results, errno, usable sizes, alignment, contents of the whole
    family and its mapping calls at their corners, with glibc."""
    same([harness.PROGRAMS / "alloc_edges"], tmp_path)


@pytest.mark.parametrize("library", ["libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2"])
def test_allocator_semantics_of_others(tmp_path, library):
    """P64, P57, P86: the same in front of another allocator, which the log names; both orders of preloading."""
    path = f"/usr/lib/x86_64-linux-gnu/{library}"
    quiet = {"MIMALLOC_SHOW_ERRORS": "0", "MIMALLOC_VERBOSE": "0", "TCMALLOC_LARGE_ALLOC_REPORT_THRESHOLD": "0"}
    outputs = []
    for i, preload in enumerate([path, f"{harness.SHIM} {path}", f"{path} {harness.SHIM}"]):
        logs = tmp_path / str(i)
        logs.mkdir()
        done = harness.run([harness.PROGRAMS / "alloc_edges", "portable"], logs, env={**quiet, "LD_PRELOAD": preload})
        outputs.append((done.returncode, done.stdout, re.sub(rb"0x[0-9a-f]+", b"", done.stderr)))
        if i == 0:
            continue
        report = harness.answer("report", harness.only_log(logs))
        name = report["process"]["allocator"]
        assert name == re.match(r"lib([a-z]+)", library)[1] + (" (not traced)" if i == 2 else "")
        assert (report["totals"]["allocs"] > 300) == (i == 1)
    assert outputs[1] == outputs[0] and outputs[2] == outputs[0]


def processes_of(text):
    """{pid: (name, {(address, size)})} of what fork_four tells."""
    found = {}
    for line in text.splitlines():
        if line.startswith("pid "):
            _, pid, name = line.split()
            blocks = set()
            found[int(pid)] = (name, blocks)
        else:
            address, size = line.split()
            blocks.add((int(address, 16), int(size)))
    return found


def test_fork_without_exec(tmp_path):
    """P22, P30, P34, P35: children that end by _exit, SIGKILL, exec and exit have logs of their own, with lineage, exact to the block."""
    done = harness.run([harness.PROGRAMS / "fork_four"], tmp_path)
    assert (done.returncode, done.stderr) == (0, b"11 9 0 14\n")
    told = processes_of(done.stdout.decode())
    parent = next(pid for pid, (name, _) in told.items() if name == "parent")
    logs = {(harness.answer("info", log)["process"]["pid"], log.name.split("-")[0]): log for log in harness.logs_in(tmp_path)}
    assert len(logs) == 6, logs  # the parent, four children, and /bin/true in the place of one of them
    ends = {"_exit": "exit", "killed": "killed", "exec": "exec", "exit": "exit", "parent": "exit"}
    for pid, (name, blocks) in told.items():
        log = logs[pid, "fork_four"]
        process = harness.answer("info", log)["process"]
        assert process["parent_pid"] == (None if pid == parent else parent)
        assert process["end"] == ends[name], name
        live = {block for block in harness.live_blocks(log, codes=(0,)) if harness.Oracle.is_own(block[1])}
        inherited = {block for block in blocks if block not in live}
        assert live - blocks == set(), name
        assert inherited <= told[parent][1] | all_of_parent(logs[parent, "fork_four"]), name


def all_of_parent(log):
    """Blocks that the parent ever had."""
    rows = (line.split() for line in harness.tidemark("dump", log).splitlines())
    return {(int(r[7], 16), int(r[8])) for r in rows if r[6] == "malloc"}


STATUS = "print([l for l in open('/proc/self/status') if l.split(':')[0] in ('Threads', 'SigQ', 'SigPnd', 'SigBlk', 'SigIgn', 'SigCgt')])"


def test_no_thread_and_no_handler(tmp_path):
    """P17, P36: as many threads as before, no signal blocked, ignored or caught that was not."""
    same([harness.PYTHON, "-c", STATUS], tmp_path, scrub=[(rb"SigQ:\\t\d+", b"")])


def test_more_threads_than_processors(tmp_path):
    """P20: 32 threads on what processors there are: nobody spins for a lock that another needs its time slice to give back."""
    logs = tmp_path / "logs"
    logs.mkdir()
    program = harness.Oracle.started(logs, tmp_path / "oracle", 32, 64, 3000)
    assert program.wait(60) == 0
    log = harness.only_log(logs)
    assert harness.Oracle(tmp_path / "oracle").differences(log) == []
    assert harness.answer("info", log)["coverage"]["lost_by_reason"]["no_space"] == 0


def test_time_namespace(tmp_path):
    """P85: where the steady clock has an offset: times are in order, and the end is after the begin."""
    argv = ["unshare", "--time", "--monotonic", "100000", "--boottime", "100000", "--fork", harness.PROGRAMS / "alloc_edges"]
    if harness.run(argv).returncode:
        pytest.skip("no time namespaces here")
    done = harness.run(argv, tmp_path, env={"TIDEMARK_EXE": "*alloc_edges"})
    assert (done.returncode, done.stderr) == (0, b"")
    process = harness.answer("info", harness.only_log(tmp_path))["process"]
    assert 0 < process["start_ns"] < process["end_ns"] < process["start_ns"] + 60_000_000_000
