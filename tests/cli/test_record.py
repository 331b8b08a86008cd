"""record: exit codes, signals, paths, and programs that cannot be traced (P31, P32)."""
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

import harness


def record(*arguments, cwd=None, env=None, tool=harness.TIDEMARK):
    return harness.run([tool, "record", *arguments], cwd=cwd, env=env or {})


@pytest.mark.parametrize("code", [0, 1, 2, 7, 125, 255])
def test_exit_code_is_the_programs(tmp_path, code):
    assert record("--dir", tmp_path, "--", "/bin/sh", "-c", f"exit {code}").returncode == code


def test_a_signal_is_told_as_a_shell_does(tmp_path):
    assert record("--dir", tmp_path, "--", "/bin/sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_own_failures(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\nexit 0\n")
    for arguments, code, word in [
        (["--dir", tmp_path / "d", "--", "/no/such/program"], 127, "No such file"),
        (["--dir", tmp_path / "d", "--", "no-such-program-in-path"], 127, "No such file"),
        (["--dir", tmp_path / "d", "--", plain], 126, "Permission denied"),
        (["--dir", tmp_path / "no" / "such", "--", "true"], 125, "cannot use directory"),
        (["--dir", plain, "--", "true"], 125, "cannot use directory"),
        (["--bogus", "true"], 125, "unknown option"),
        (["--python", "everything", "--", "true"], 125, "off|arenas|sites|objects"),
        (["--size", "12", "--", "true"], 125, "256K"),
        ([], 125, "usage: tidemark record"),
    ]:
        done = record(*arguments)
        assert done.returncode == code, (arguments, done)
        lines = done.stderr.decode().splitlines()
        assert word in lines[0] and lines[0].startswith("tidemark: "), lines
        assert len([l for l in lines if "no log was written" not in l]) == 1, lines


def test_output_is_the_programs_and_logs_are_listed(tmp_path):
    done = record("--dir", tmp_path / "logs", "--", "/bin/sh", "-c", "echo out; exit 3")
    assert (done.returncode, done.stdout) == (3, b"out\n")
    logs = harness.logs_in(tmp_path / "logs")
    lines = done.stderr.decode().splitlines()
    assert len(lines) == len(logs) == 1
    assert str(logs[0]) in lines[0] and "pid" in lines[0]


def test_fork_and_exec_are_followed(tmp_path):
    script = "import os, subprocess; subprocess.run(['/usr/bin/perl', '-e', '1']); " \
             "os.fork() == 0 and ([bytearray(100) for _ in range(3000)], os._exit(0)); os.wait()"
    done = record("--dir", tmp_path, "--", harness.PYTHON, "-c", script)
    assert done.returncode == 0
    processes = [harness.answer("info", log)["process"] for log in harness.logs_in(tmp_path)]
    names = sorted(p["name"] for p in processes)
    assert len(names) == 3 and names[0].startswith("perl") and names[1] == names[2]
    root = next(p for p in processes if p["ppid"] not in {q["pid"] for q in processes})
    assert all(p["ppid"] == root["pid"] for p in processes if p is not root)
    assert len(done.stderr.splitlines()) == 3


def test_options_end_at_the_program(tmp_path):
    done = record("--dir", tmp_path, "/bin/echo", "--dir", "x", "--", "y")
    assert done.stdout == b"--dir x -- y\n"
    done = record("--dir=" + str(tmp_path), "--", "/bin/echo", "--help")
    assert b"Usage: /bin/echo" in done.stdout


def test_directory_is_relative_to_where_record_began(tmp_path):
    done = record("--dir", "logs", "--", "/bin/sh", "-c", "cd /; /usr/bin/perl -e 1", cwd=tmp_path)
    assert done.returncode == 0
    assert len(harness.logs_in(tmp_path / "logs")) == 2


@pytest.mark.parametrize("name", ["with space", "with:colon", "both of: them"])
def test_paths_with_blanks_and_colons(tmp_path, name):
    """ld.so splits LD_PRELOAD at both (P32)."""
    place = tmp_path / name
    place.mkdir()
    for file in (harness.TIDEMARK, harness.SHIM):
        shutil.copy2(file, place / pathlib.Path(file).name)
    done = record("--dir", place / "logs", "--", harness.PYTHON, "-c", "print(1)", tool=place / "tidemark", cwd="/")
    assert (done.returncode, done.stdout) == (0, b"1\n"), done.stderr
    assert len(harness.logs_in(place / "logs")) == 1
    assert b"cannot be preloaded" not in done.stderr


def test_other_preloads_stay(tmp_path):
    done = record("--dir", tmp_path, "--", "/bin/sh", "-c", "echo $LD_PRELOAD", env={"LD_PRELOAD": "libm.so.6", "ASAN_OPTIONS": "verify_asan_link_order=0"})
    shim, other = done.stdout.decode().strip().split(":")
    assert shim == str(harness.SHIM) and other == "libm.so.6"


def test_static_program_is_reported(tmp_path):
    source = tmp_path / "static.c"
    source.write_text('#include <stdio.h>\nint main(void) { puts("static"); return 4; }\n')
    subprocess.run(["gcc", "-static", "-o", tmp_path / "static", source], check=True)
    done = record("--dir", tmp_path, "--", tmp_path / "static")
    assert (done.returncode, done.stdout) == (4, b"static\n")
    assert b"is not traced: it is a static executable" in done.stderr
    assert harness.logs_in(tmp_path) == []
    script = tmp_path / "script"
    script.write_text(f"#!{tmp_path}/static\n")
    script.chmod(0o755)
    assert b"static executable" in record("--dir", tmp_path, "--", script).stderr


def test_foreign_program_is_reported(tmp_path):
    """An ELF file for another machine: the header is enough to know."""
    elf = bytearray(pathlib.Path("/bin/true").read_bytes())
    elf[18:20] = (183).to_bytes(2, "little")  # EM_AARCH64
    (tmp_path / "foreign").write_bytes(elf)
    (tmp_path / "foreign").chmod(0o755)
    done = record("--dir", tmp_path, "--", tmp_path / "foreign")
    assert done.returncode != 0  # execvp(3) gives what the kernel refuses to /bin/sh
    assert b"is not traced: it is a program for another kind of processor" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file another user's")
def test_set_user_id_program_is_reported(tmp_path):
    shutil.copy2("/bin/true", tmp_path / "suid")
    os.chown(tmp_path / "suid", 65534, 65534)
    (tmp_path / "suid").chmod(0o4755)
    done = record("--dir", tmp_path, "--", tmp_path / "suid")
    assert done.returncode == 0
    assert b"is not traced: it runs with another user's rights" in done.stderr


def wait_for(path):
    for _ in range(2000):
        if path.exists():
            return
        time.sleep(0.005)
    raise AssertionError(f"{path} does not come")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_program(tmp_path, number):
    program = "import pathlib, signal, sys, time\n" \
              f"signal.signal({int(number)}, lambda n, f: sys.exit(40))\n" \
              f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n" \
              "while True:\n    time.sleep(0.1)\n"  # a handler that is due before a sleep begins does not end it
    with subprocess.Popen([harness.TIDEMARK, "record", "--dir", tmp_path, "--", harness.PYTHON, "-c", program],
                          env=harness.environment(), stderr=subprocess.PIPE) as recorder:
        wait_for(tmp_path / "ready")
        recorder.send_signal(number)
        assert recorder.wait(timeout=30) == 40
        assert b"tidemark: " in recorder.stderr.read()


def test_ignored_signals_stay_ignored(tmp_path):
    script = "trap '' HUP PIPE; exec \"$@\""
    show = "import signal; print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    done = harness.run(["/bin/sh", "-c", script, "sh", harness.TIDEMARK, "record", "--dir", tmp_path, "--", harness.PYTHON,
                        "-c", show])
    assert done.stdout == b"True\n"
