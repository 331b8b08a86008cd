"""TIDEMARK_*: each does what it says; a wrong value, or a place where no log can be, costs one line and nothing else."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import harness
import pytest

ECHO = ["bash", "-c", "echo out; echo err >&2; exit 7"]
SMALL = harness.PROGRAMS / "alloc_edges"


def one_line(tmp_path, env, text, logs=None, argv=(SMALL,)):
    """The program runs on untouched, and exactly one line that begins with our name says `text`."""
    plain = harness.run(argv)
    done = harness.run(argv, logs or tmp_path, env=env)
    assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout)
    said = done.stderr[:len(done.stderr) - len(plain.stderr)].decode()
    assert done.stderr.endswith(plain.stderr)
    assert said.startswith("tidemark: ") and said.count("\n") == 1 and said.endswith("\n"), said
    assert text in said, said


@pytest.mark.parametrize("name,values", [
    ("TIDEMARK_SIZE", ["", "x", "64Q", "-1", "255K", "2000G", "99999999999999999999", "64M ", "0x100000"]),
    ("TIDEMARK_STACK", ["", "-1", "257", "many", "1.5", "18446744073709551616"]),
    ("TIDEMARK_SAMPLE", ["", "some", "-5", "99999999999999999999G"]),
    ("TIDEMARK_PYTHON", ["", "on", "OBJECTS", "objects,arenas"]),
    ("TIDEMARK_DIR_FILES", ["", "many", "-1", "5K"]),
    ("TIDEMARK_DIR_SIZE", ["", "64Q", "-1"]),
    ("TIDEMARK_CENSUS", ["", "never", "1h", "-1s", "99999999999999999999"]),
])
def test_wrong_values(tmp_path, name, values):
    for value in values:
        one_line(tmp_path, {name: value}, name)
        assert harness.logs_in(tmp_path) == []


def test_every_process_of_a_tree_says_it_once(tmp_path):
    done = harness.run(ECHO, tmp_path, env={"TIDEMARK_SIZE": "?"})
    assert (done.returncode, done.stdout) == (7, b"out\n")
    lines = done.stderr.splitlines()
    assert lines[-1] == b"err" and len(lines) == 2


@contextlib.contextmanager
def mounted(where, options):
    """A small tmpfs; needs root, as a container or virtual machine of tests has it."""
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", where], check=False).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def test_places_where_no_log_can_be(tmp_path):
    """P44, P48, P77: no directory, a file in its place, one that must not be written, and a path that is too long."""
    one_line(tmp_path, {}, "No such directory", logs=tmp_path / "absent")
    (tmp_path / "file").write_text("")
    one_line(tmp_path, {}, "Not a directory", logs=tmp_path / "file")
    one_line(tmp_path, {"TIDEMARK_DIR": "/proc"}, "/proc")
    one_line(tmp_path, {"TIDEMARK_DIR": "x" * 2000}, "TIDEMARK_DIR")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.getuid():
        one_line(tmp_path, {}, "Permission denied", logs=closed)


def test_unwritable_for_others(tmp_path):
    """P77: another user may not write there."""
    if os.getuid() or not os.path.exists("/usr/bin/setpriv"):
        pytest.skip("needs root and setpriv")
    as_nobody = ["setpriv", "--reuid=65534", "--clear-groups", "/bin/echo", "out"]
    with tempfile.TemporaryDirectory() as where:  # neither a build below /root nor tmp_path is for others to read
        where = pathlib.Path(where)
        where.chmod(0o755)
        shim = where / harness.SHIM.name
        shutil.copy(harness.SHIM, shim)
        shim.chmod(0o755)
        done = harness.run(as_nobody, where, env={"TIDEMARK_EXE": "*echo", "LD_PRELOAD": shim})
    assert (done.returncode, done.stdout) == (0, b"out\n")
    assert done.stderr.count(b"\n") == 1 and b"Permission denied" in done.stderr


def test_full_disk(tmp_path):
    """P44: the whole size is reserved when the file is made, so a full disk refuses then and faults never."""
    for size in ("60M", "65532K"):  # one page too small
        with mounted(tmp_path / size, f"size={size}") as where:
            one_line(tmp_path, {}, "No space left on device", logs=where)
            assert list(where.iterdir()) == []
    with mounted(tmp_path / "fits", "size=65M") as where:
        assert harness.run([SMALL], where).stderr == b""
        assert harness.answer("report", harness.only_log(where))["totals"]["allocs"] > 400
        one_line(tmp_path, {}, "No space left on device", logs=where)


def test_read_only(tmp_path):
    """P48."""
    with mounted(tmp_path / "ro", "ro,size=65M") as where:
        one_line(tmp_path, {}, "Read-only file system", logs=where)


def test_quota_of_files(tmp_path):
    """P44, P48: no inode left."""
    with mounted(tmp_path / "few", "size=65M,nr_inodes=1") as where:
        one_line(tmp_path, {}, "No space left on device", logs=where)


@pytest.mark.parametrize("limit", [{"TIDEMARK_DIR_FILES": "3"}, {"TIDEMARK_DIR_SIZE": "3M"}, {"TIDEMARK_DIR_SIZE": "4095K"}])
def test_as_many_logs_as_allowed(tmp_path, limit):
    """Then no further one, of a process or of a forked child; other files do not count, and there is room again after a prune."""
    env = {"TIDEMARK_SIZE": "1M", **limit}
    (tmp_path / "other").write_bytes(b"x" * (2 << 20))
    (tmp_path / "folder.tide").mkdir()
    for _ in range(2):
        assert harness.run([SMALL], tmp_path, env=env).stderr == b""
    work = "import os; os.fork() and os.wait() or [bytearray(i) for i in range(1000, 20000)]; print('done')"
    done = harness.run([harness.PYTHON, "-c", work], tmp_path, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"done\ndone\n", b"")
    assert len([p for p in harness.logs_in(tmp_path) if p.is_file()]) == 3
    one_line(tmp_path, env, "TIDEMARK_DIR_FILES")
    harness.tidemark("prune", "--keep", "1", tmp_path)
    assert harness.run([SMALL], tmp_path, env=env).stderr == b""
    assert len([p for p in harness.logs_in(tmp_path) if p.is_file()]) == 2


def test_the_first_log_has_room(tmp_path):
    for name in ("TIDEMARK_DIR_FILES", "TIDEMARK_DIR_SIZE"):
        (tmp_path / name).mkdir()
        assert harness.run([SMALL], tmp_path / name, env={name: "1"}).stderr == b""
        one_line(tmp_path, {name: "1"}, name, logs=tmp_path / name)
        assert harness.run([SMALL], tmp_path / name, env={name: "0"}).stderr == b""


def test_a_link_or_file_in_the_way(tmp_path):
    """P77: names cannot be foreseen, so only the directory can be a link, and that is followed."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert harness.run([SMALL], tmp_path / "link").stderr == b""
    harness.only_log(tmp_path / "real")


def test_dir(tmp_path):
    """P32: the log goes where the directory was at start, wherever the program changes to."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "elsewhere").mkdir()
    work = "import os; os.chdir('elsewhere'); os.fork() or [bytearray(i) for i in range(1000, 20000)]"
    done = harness.run([harness.PYTHON, "-c", work], env={"LD_PRELOAD": harness.SHIM, "TIDEMARK_DIR": "logs", "TIDEMARK_SIZE": "1M"},
                       cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert harness.logs_in(tmp_path / "elsewhere") == [] and len(harness.logs_in(tmp_path / "logs")) == 2


def test_size(tmp_path):
    for text, size in [("256K", 256 << 10), ("1M", 1 << 20), ("5000k", 5000 << 10), ("262147", 262144)]:
        where = tmp_path / text
        where.mkdir()
        assert harness.run([SMALL], where, env={"TIDEMARK_SIZE": text}).stderr == b""
        assert harness.only_log(where).stat().st_size == size


def stacks(log):
    """Words of every stack of a malloc."""
    rows = (line.split() for line in harness.tidemark("dump", log).splitlines())
    return [r[10:] for r in rows if r[6] == "malloc"]


def test_stack(tmp_path):
    for limit in (0, 1, 3, 256):
        where = tmp_path / str(limit)
        where.mkdir()
        assert harness.run([harness.PYTHON, "-c", "import json"], where, env={"TIDEMARK_STACK": limit, "TIDEMARK_PYTHON": "off"}).stderr == b""
        depths = [len(s) for s in stacks(harness.only_log(where))]
        cut = 1 if limit else 0  # the word that says so
        assert max(depths) <= limit + cut
        assert max(depths) == limit + cut if limit < 256 else max(depths) > 20


def test_python(tmp_path):
    """P72, P02: pymalloc's arenas come from mmap and are told as arenas; its blocks only if asked for."""
    kinds = {}
    for mode in ("off", "arenas", "objects"):
        where = tmp_path / mode
        where.mkdir()
        assert harness.run([harness.PYTHON, "-c", "x = [{} for i in range(20000)]"], where, env={"TIDEMARK_PYTHON": mode}).stderr == b""
        rows = (line.split() for line in harness.tidemark("dump", harness.only_log(where)).splitlines())
        kinds[mode] = [r[6] for r in rows]
    assert not [k for k in kinds["off"] if k.startswith("py")]
    assert "pyarena" in kinds["arenas"] and "pyalloc" not in kinds["arenas"]
    assert kinds["objects"].count("pyalloc") > 20000


def test_exe(tmp_path):
    """P28, P33: only executables whose path fits leave a log, through wrappers and shells."""
    for pattern, expected in [("*", {"bash", "env", "sort"}), ("*/sort", {"sort"}), ("*/s?rt", {"sort"}), ("/nowhere/*", set()), ("", set())]:
        where = tmp_path / f"logs {pattern.replace('/', ':')}"
        where.mkdir()
        done = harness.run(["env", "bash", "-c", "env sort /etc/passwd > /dev/null; exit 3"], where, env={"TIDEMARK_EXE": pattern,
                                                                                                      "TIDEMARK_SIZE": "1M"})
        assert (done.returncode, done.stderr) == (3, b"")
        assert {log.name.split("-")[0] for log in harness.logs_in(where)} == expected, pattern


def test_census(tmp_path):
    """Off: none. An interval: as many as it allows, and one at the end."""
    work = "import time\nfor i in range(150):\n x = [bytearray(2000) for i in range(200)]; time.sleep(0.01)"
    found = {}
    for setting in ("off", "100ms", "100s"):
        where = tmp_path / setting
        where.mkdir()
        assert harness.run([harness.PYTHON, "-c", work], where, env={"TIDEMARK_CENSUS": setting}).stderr == b""
        found[setting] = harness.answer("info", harness.only_log(where))["censuses"]
    assert found["off"] == 0
    assert 1 <= found["100s"] <= 2  # the interpreter's end and the process'
    assert found["100ms"] >= found["100s"] + 1  # and no more than 2 % of the time, which decides on a busy machine


def test_environment_without_anything(tmp_path):
    """P06: no environment at all but the preload."""
    done = harness.run(["env", "-i", f"LD_PRELOAD={harness.SHIM}", SMALL], cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == b""
    harness.only_log(tmp_path)


def test_at_secure(tmp_path):
    """P77: a set-user-id program loads us from nowhere, or, from a trusted folder, stays off: no log, no word."""
    if os.getuid():
        pytest.skip("needs root")
    tmp_path.chmod(0o777)
    program = tmp_path / "setuid"
    program.write_bytes(SMALL.read_bytes())
    program.chmod(0o4755)
    where = tmp_path / "logs"
    where.mkdir(mode=0o777)
    where.chmod(0o777)
    done = harness.run(["setpriv", "--reuid=65534", "--clear-groups", program], where, env={"TIDEMARK_EXE": "*setuid"})
    assert done.returncode == 0
    assert harness.logs_in(where) == []
