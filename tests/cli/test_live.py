"""live: the report of a running process: rows that add up to its RSS as the kernel has it, with a log and without, and the process goes
on as if nobody had looked."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

import contract
import harness

NEAR = 1 << 20  # libraries' pages come and go by some


def rss(pid):
    """What smaps_rollup says, in bytes."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Rss: +(\d+) kB", text, re.M).group(1)) << 10


class Sleeper:
    """A Python program that runs `code`, says so, and sleeps; under the shim if `logs` is given."""

    def __init__(self, code, logs=None, **env):
        self.argv = [harness.PYTHON, "-c", code + "\nimport time; print('ready', flush=True); time.sleep(600)"]
        self.logs, self.env = logs, env

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, env=harness.environment(self.logs, **self.env), stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"
        self.pid = self.process.pid
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.communicate()


def live(what, codes=(0,)):
    return harness.answer("live", what, codes=codes)


def rows(report):
    return {row["kind"]: row["bytes"] for row in report["ledger"]["rows"]}


def adds_up(report, pid):
    ledger = report["ledger"]
    assert sum(rows(report).values()) + ledger["unexplained_bytes"] == ledger["rss_bytes"]
    assert abs(ledger["unexplained_bytes"]) <= 512 << 10, ledger
    assert abs(ledger["rss_bytes"] - rss(pid)) <= NEAR, (ledger, rss(pid))


FILL = "kept = [str(i) for i in range(100000)]\ndel kept[::2]\nbig = bytearray(20 << 20)"


@pytest.mark.parametrize("mode, census", [("off", "off"), ("arenas", "off"), ("sites", "off"), ("sites", "20ms"), ("objects", "off")])
def test_python_with_a_log(tmp_path, mode, census):
    with Sleeper(FILL, tmp_path, TIDEMARK_PYTHON=mode, TIDEMARK_CENSUS=census) as p:
        report = live(p.pid)
        contract.check_report(report)
        adds_up(report, p.pid)
        log = harness.only_log(tmp_path)
        assert report["live"]["pid"] == report["process"]["pid"] == p.pid and report["process"]["end"] == "running"
        assert report["live"]["log"] == str(log)
        assert report["ledger"]["at_ns"] == report["live"]["at_ns"] >= report["process"]["start_ns"]
        assert abs(rows(report)["live"] - report["totals"]["live_bytes"]) < 25 << 20 and rows(report)["live"] > 20 << 20
        assert rows(report)["tidemark"] > 256 << 10
        python = rows(report)["pymalloc_live"] + rows(report)["pymalloc_free_in_pools"]
        assert python > 2 << 20 if mode != "off" else python == 0
        again = live(log)
        assert again["process"]["pid"] == p.pid and rows(again)["live"] == rows(report)["live"]


def test_how_old_the_lines_of_pythons_blocks_are(tmp_path):
    """They are the last own census', and it is said how far from now that is; without one, that they are unknown."""
    (tmp_path / "off").mkdir()
    with Sleeper(FILL, tmp_path / "off", TIDEMARK_PYTHON="sites", TIDEMARK_CENSUS="off") as p:
        report = live(p.pid)
        note, = [n for n in report["live"]["notes"] if "which lines" in n]
        assert "is unknown" in note and report["coverage"]["python_sites_ns"] is None, note
    # long enough for a census, however fast the machine
    busy = "\nimport time\nend = time.monotonic() + 0.5\nwhile time.monotonic() < end:\n    more = [str(i) for i in range(1000)]"
    with Sleeper(FILL + busy, tmp_path, TIDEMARK_PYTHON="sites", TIDEMARK_CENSUS="20ms") as p:
        report = live(p.pid)
        note, = [n for n in report["live"]["notes"] if "which lines" in n]
        age, then, now = (float(n) for n in re.search(r"of ([\d.]+) s ago, when they were ([\d.]+) MiB; now they are ([\d.]+)",
                                                       note).groups())
        assert abs(age - (report["live"]["at_ns"] - report["coverage"]["python_sites_ns"]) / 1e9) < 0.06, note
        assert abs(then - report["totals"]["counted_bytes"] / 2**20) < 0.06, note
        assert abs(now - report["predictions"]["pymalloc"]["live_bytes"] / 2**20) < 0.06, note


def test_text_says_that_it_is_of_now(tmp_path):
    with Sleeper(FILL, tmp_path) as p:
        text = harness.tidemark("live", p.pid)
        for word in ("LIVE  as it is now", "1 thread went on", "VERDICT", "LEDGER", "= resident (RSS)", "COVERAGE"):
            assert word in text, word
        assert all(len(line) <= 100 for line in text.splitlines())


def test_pools_are_what_the_interpreter_says(tmp_path):
    code = "x = [bytes(i % 480) for i in range(60000)]\ndel x[100::3]\nimport sys; sys._debugmallocstats(); sys.stderr.flush()"
    with Sleeper(code, tmp_path, TIDEMARK_PYTHON="arenas", TIDEMARK_CENSUS="off") as p:
        said = live(p.pid)["predictions"]["pymalloc"]
        p.process.kill()
        told = p.process.communicate()[1].decode()
    arenas, blocks = (int(re.search(pattern, told).group(1).replace(",", ""))
                      for pattern in (r"# arenas allocated current += +([\d,]+)", r"# bytes in allocated blocks += +([\d,]+)"))
    assert said["arenas"] == arenas
    assert abs(said["live_bytes"] - blocks) <= 4096, (said["live_bytes"], blocks)  # `import time` and the calls after the statistics


def test_without_a_log():
    with Sleeper(FILL) as p:
        report = live(p.pid)
        adds_up(report, p.pid)
        assert report["live"]["log"] is None and report["coverage"] is None and report["totals"] is None
        assert "does not run under tidemark" in report["live"]["notes"][0]
        assert report["verdict"]["class"] == "unknown" and report["process"]["allocator"] == "glibc"
        assert rows(report)["anonymous_mappings"] > 20 << 20 and rows(report)["malloc_main_heap"] > 100 << 10
        assert rows(report)["tidemark"] == 0 and any("Python's arenas" in line for line in report["unknown"])
        text = harness.tidemark("live", p.pid)
        assert "UNKNOWN  what only a log can tell" in text and all(len(line) <= 100 for line in text.splitlines())


def test_heaps_of_threads_without_a_log():
    code = ("import ctypes, threading\nlibc = ctypes.CDLL(None)\nlibc.malloc.restype = ctypes.c_void_p\nend = threading.Event()\n"
            "full = threading.Barrier(5)\n"
            "def work():\n"
            "    for i in range(1000): ctypes.memset(libc.malloc(4000), 1, 4000)\n"
            "    full.wait(); end.wait()\n"
            "for i in range(4): threading.Thread(target=work, daemon=True).start()\n"
            "full.wait()")
    with Sleeper(code) as p:
        report = live(p.pid)
        adds_up(report, p.pid)
        threads = [a for a in report["arenas"] if a["kind"] == "glibc-thread"]
        assert 1 <= len(threads) <= 8 and report["live"]["threads"] == 5
        assert all(a["base"] % (64 << 20) == 0 and a["live_bytes"] is None for a in threads)
        assert sum(a["resident_bytes"] for a in threads) == rows(report)["malloc_thread_heaps"] > 3 * 4000 * 1000
        assert rows(report)["thread_stacks"] > 5 * 8192


def test_nobody_notices(tmp_path):
    """No page becomes resident, nothing is stopped, and the log is not written to."""
    with Sleeper("import mmap\nheld = mmap.mmap(-1, 64 << 20)\n" + FILL, tmp_path) as p:
        log = harness.only_log(tmp_path)
        before, bytes_before = rss(p.pid), log.read_bytes()
        faults = pathlib.Path(f"/proc/{p.pid}/stat").read_text().rsplit(")", 1)[1].split()[7:11]
        for _ in range(3):
            live(p.pid)
        assert pathlib.Path(f"/proc/{p.pid}/stat").read_text().rsplit(")", 1)[1].split()[7:11] == faults
        assert abs(rss(p.pid) - before) <= 64 << 10 and log.read_bytes() == bytes_before
        assert "sleeping" in pathlib.Path(f"/proc/{p.pid}/status").read_text()


def test_while_it_allocates(tmp_path):
    """Each answer adds up, whatever four threads do meanwhile; the program's own account stays equal to its log."""
    logs, oracle = tmp_path / "logs", tmp_path / "oracle"
    logs.mkdir()
    program = harness.Oracle.started(logs, oracle, 4, 256, 0, 100, TIDEMARK_SIZE="1M")
    try:
        for _ in range(4):
            report = live(program.pid)
            contract.check_report(report)
            assert report["coverage"]["unmatched_frees"] == 0 and not report["coverage"]["damaged"]
            assert report["ledger"]["at_ns"] == report["live"]["at_ns"]
            assert program.poll() is None
    finally:
        program.kill()
        program.wait()
    assert harness.Oracle(oracle).differences(harness.only_log(logs)) == []


def test_a_forked_child_without_a_log_of_its_own(tmp_path):
    code = "import os, signal\nchild = os.fork()\nif child == 0:\n    signal.pause()\nopen(r'%s', 'w').write(str(child))" % (tmp_path / "pid")
    with Sleeper(code, tmp_path) as p:
        child = int((tmp_path / "pid").read_text())
        try:
            report = live(child)
            assert report["process"]["pid"] == child and report["live"]["log"] is None
            assert report["live"]["notes"] and "does not run under" not in report["live"]["notes"][0]
            adds_up(report, child)
            assert live(p.pid)["live"]["log"] == str(harness.only_log(tmp_path))
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_log_that_was_removed(tmp_path):
    with Sleeper(FILL, tmp_path) as p:
        harness.only_log(tmp_path).unlink()
        if os.geteuid() != 0:
            pytest.skip("only root opens a removed file through /proc/PID/map_files")
        report = live(p.pid)
        adds_up(report, p.pid)
        assert report["live"]["log"].startswith(f"/proc/{p.pid}/map_files/") and rows(report)["live"] > 20 << 20


def fails(what, code, *words):
    done = harness.run([harness.TIDEMARK, "live", what])
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (code, b"", 1), (what, done)
    assert all(word in lines[0] for word in words) and lines[0].startswith("tidemark: "), lines


def test_who_is_not_there(tmp_path):
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    fails(gone.pid, 4, "no process")
    dead = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    fails(dead.pid, 4, "has ended")
    dead.wait()
    for what in ("0", "-1", "99999999999999999999", "12x", "bash", ""):
        fails(what, 2)
    fails(tmp_path / "no.tide", 4, "cannot open")
    fails("/bin/true", 4)
    assert harness.run([harness.TIDEMARK, "live"]).returncode == 2
    if pathlib.Path("/proc/2/comm").exists() and "kthreadd" in pathlib.Path("/proc/2/comm").read_text():
        fails("2", 4, "no memory")


def test_a_log_whose_process_has_ended(tmp_path):
    assert harness.run(["/usr/bin/perl", "-e", "1"], logs=tmp_path).returncode == 0
    fails(harness.only_log(tmp_path), 4, "tidemark report")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be looked at by somebody else here")
def test_who_is_not_ours(tmp_path):
    with Sleeper("pass") as p, tempfile.TemporaryDirectory() as place:  # the build may lie where only root can go
        os.chmod(place, 0o755)
        tidemark = shutil.copy(harness.TIDEMARK, place)
        done = subprocess.run([tidemark, "live", str(p.pid)], user=65534, group=65534, extra_groups=[], cwd="/",
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=harness.environment())
        lines = done.stderr.decode().splitlines()
        assert (done.returncode, done.stdout) == (4, b"") and len(lines) == 1 and "not ours" in lines[0], done


def test_a_hostile_name(tmp_path):
    """A program calls itself what it likes; a terminal and a JSON reader get text."""
    copy = tmp_path / "sleep\x1b[31m"
    copy.write_bytes(pathlib.Path("/bin/sleep").read_bytes())
    copy.chmod(0o755)
    program = subprocess.Popen([copy, "600"])
    try:
        time.sleep(0.1)
        text = harness.tidemark("live", program.pid)
        assert "\x1b" not in text and "sleep" in text.splitlines()[0]
        assert live(program.pid)["process"]["name"] == "sleep\x1b[31m"
    finally:
        program.kill()
        program.wait()
