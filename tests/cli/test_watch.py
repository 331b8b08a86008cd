"""record's looks from outside: resident bytes over time where the program tells none itself, in a file beside the log that is as hostile as
the log; and the program runs as without them."""
import os
import pathlib
import signal
import subprocess
import time

import pytest

import contract
import harness

KILLED = """
import os, sys
kept = []
def mapped():  # a child that was just forked has no log before it has recorded something
    import time
    for i in range(3000):
        junk = [bytearray(600) for k in range(2000)]
        names = [line.split()[-1] for line in open("/proc/self/maps") if line.endswith(".tide\\n")]
        if names:
            return names[0].replace(".tide", ".census")
    sys.exit("no log")
def settle():  # until somebody has looked: the file of censuses beside the log grows
    import time
    name = mapped()
    size = os.path.getsize(name) if os.path.exists(name) else 0
    for i in range(3000):
        if os.path.exists(name) and os.path.getsize(name) > size:
            return
        time.sleep(0.01)
    sys.exit("nobody looks")
for i in range(3):
    kept.append(bytearray(10 << 20))
    settle()
del kept[:2]
settle()
"""


def record(tmp_path, *options, program):
    logs = tmp_path / "logs"
    return harness.run([harness.TIDEMARK, "record", "--dir", logs, *options, "--", *program]), logs


def beside(log):
    return log.with_suffix(".census")


def looks(log, codes=(0,)):
    return [row["rss_bytes"] for row in harness.answer("timeline", log, codes=codes)["timeline"] if row["rss_bytes"] is not None]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The log of a program that took no census and was killed, and was looked at four times at least."""
    program = [harness.PYTHON, "-c", KILLED + "os.kill(os.getpid(), 9)"]
    done, logs = record(tmp_path_factory.mktemp("killed"), "--census", "off", "--watch", "20ms", program=program)
    assert done.returncode == 128 + signal.SIGKILL, done.stderr
    return harness.only_log(logs)


def test_what_was_resident_is_known(killed):
    rss = looks(killed)
    assert len(rss) >= 4 and max(rss) - rss[0] > 15 << 20 and max(rss) - rss[-1] > 15 << 20, rss
    report = harness.answer("report", killed)
    contract.check_report(report)
    assert report["process"]["end"] == "killed" and report["coverage"]["damaged"] is False
    rows = {row["kind"]: row["bytes"] for row in report["ledger"]["rows"]}
    assert 10 << 20 < rows["live"] < 12 << 20 and rows["pymalloc_live"] > 256 << 10 and rows["tidemark"] > 256 << 10
    assert abs(report["ledger"]["unexplained_bytes"]) <= 512 << 10
    assert beside(killed).stat().st_mode & 0o777 == 0o600


def test_without_that_file_nothing_is_known(killed, tmp_path):
    copy = tmp_path / "alone.tide"
    copy.write_bytes(killed.read_bytes())
    assert looks(copy) == [] and harness.answer("report", copy)["ledger"] is None


def test_damage_of_that_file(killed, tmp_path):
    copy = tmp_path / killed.name
    copy.write_bytes(killed.read_bytes())
    whole, all_of_them = beside(killed).read_bytes(), looks(killed)

    def read(content, codes):
        beside(copy).write_bytes(content)
        harness.tidemark("verify", copy, codes=codes)
        return looks(copy, codes=codes)

    torn = read(whole[:-100], (0,))  # its writer was ended in the act
    assert torn == all_of_them[:-1]
    assert read(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:], (3,)) == all_of_them[1:]  # a header
    assert read(whole[:140] + bytes([whole[140] ^ 1]) + whole[141:], (3,)) == all_of_them[1:]  # a payload
    assert read(whole[:8] + bytes(8) + whole[16:], (3,)) == all_of_them[1:]  # of another log
    assert read(b"", (0,)) == [] and read(os.urandom(5000), (0,)) == []
    beside(copy).unlink()
    beside(copy).mkdir()
    assert looks(copy) == []


def test_under_seccomp(tmp_path):
    """The program forbids itself, and so us, every system call beyond what it may need; it is looked at all the same."""
    filter_all = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
prog = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(code)))
assert libc.prctl(22, 2, ctypes.byref(prog), 0, 0) == 0
"""
    done, logs = record(tmp_path, "--watch", "20ms", program=[harness.PYTHON, "-c", filter_all + KILLED])
    assert done.returncode == 0, done.stderr
    assert len(looks(harness.only_log(logs))) >= 4


def test_workers_and_what_they_execute(tmp_path):
    """A forked worker and an executed program have a log each, and censuses beside each."""
    fork = "import os\nchild = os.fork()\n" + KILLED + \
           "if child: os.waitpid(child, 0)\nelse: os.execv(sys.executable, [sys.executable, '-c', os.environ['AGAIN']])\n"
    os.environ["AGAIN"] = KILLED
    try:
        done, logs = record(tmp_path, "--watch", "20ms", "--python", "off", program=[harness.PYTHON, "-c", fork])
    finally:
        del os.environ["AGAIN"]
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == len(harness.logs_in(logs)) == 3, done.stderr
    for log in harness.logs_in(logs):
        assert beside(log).exists() and len(looks(log)) >= 4, log


def test_off(tmp_path):
    done, logs = record(tmp_path, "--watch", "off", program=[harness.PYTHON, "-c", "import time; time.sleep(0.2)"])
    assert done.returncode == 0 and list(logs.glob("*.census")) == []
    for value in ("", "soon", "1ms", "-1s", "1h"):
        done, _ = record(tmp_path, "--watch", value, program=["/bin/true"])
        assert done.returncode == 125 and len(done.stderr.splitlines()) == 1 and b"--watch" in done.stderr, done


@pytest.mark.parametrize("code", [0, 3])
def test_exit_code_and_family_are_as_without(tmp_path, code):
    """The program is the one child, and waits for nobody."""
    script = ("import os, sys, time; time.sleep(0.2); parent = os.getppid(); "
              "print(open(f'/proc/{parent}/task/{parent}/children').read().split() == [str(os.getpid())]); "
              f"print(os.getpgid(0) == os.getpgid(parent), os.getsid(0) == os.getsid(parent)); sys.exit({code})")
    done, _ = record(tmp_path, "--watch", "10ms", program=[harness.PYTHON, "-c", script])
    assert (done.returncode, done.stdout) == (code, b"True\nTrue True\n"), done


def test_signals_are_passed_on_meanwhile(tmp_path):
    program = ("import pathlib, signal, sys, time\nsignal.signal(15, lambda n, f: sys.exit(41))\n"
               f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\nwhile True: bytearray(1 << 21); time.sleep(0.001)\n")
    with subprocess.Popen([harness.TIDEMARK, "record", "--dir", tmp_path / "logs", "--watch", "10ms", "--", harness.PYTHON, "-c",
                           program], env=harness.environment(), stderr=subprocess.PIPE) as recorder:
        while not (tmp_path / "ready").exists():
            assert recorder.poll() is None
            time.sleep(0.005)
        recorder.send_signal(signal.SIGTERM)
        assert recorder.wait(timeout=60) == 41


def test_prune_takes_it_along(killed, tmp_path):
    for path in (killed, beside(killed)):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert "1 logs" in harness.tidemark("prune", "--keep", "1", tmp_path).replace("0 logs", "1 logs")
    assert len(list(pathlib.Path(tmp_path).iterdir())) == 2
    harness.tidemark("prune", "--older-than", "0s", tmp_path)
    assert list(pathlib.Path(tmp_path).iterdir()) == []
