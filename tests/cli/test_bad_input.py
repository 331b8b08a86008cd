"""What is no log, or a damaged one: a line that says so and an exit code, or an answer with what was lost above it."""
import os
import pathlib
import subprocess

import pytest

import harness

READING = ["report", "ledger", "pins", "arenas", "leaks", "peak", "top", "timeline", "info", "verify", "dump"]


def mklog(path, seed, *events):
    done = harness.run([harness.BUILD / "tools" / "mklog", path, seed, *events])
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return mklog(tmp_path_factory.mktemp("good") / "good.tide", 5)


def refused(path, word, commands=READING):
    for command in commands:
        done = harness.run([harness.TIDEMARK, command, path], timeout=20)
        lines = done.stderr.decode().splitlines()
        assert done.returncode == 4, (command, done)
        assert len(lines) == 1 and lines[0].startswith("tidemark: ") and word in lines[0], (command, lines)
        assert done.stdout == b"", command


def test_not_there(tmp_path):
    refused(tmp_path / "none.tide", "No such file")


def test_empty(tmp_path):
    (tmp_path / "empty.tide").touch()
    refused(tmp_path / "empty.tide", "empty.tide")


def test_foreign(tmp_path):
    for name, content in [("text", b"hello\n" * 1000), ("elf", pathlib.Path("/bin/true").read_bytes()),
                          ("zeros", bytes(1 << 20)), ("short", b"TIDE")]:
        path = tmp_path / f"{name}.tide"
        path.write_bytes(content)
        refused(path, name, ["report", "info", "dump"])


def test_special_files(tmp_path):
    os.mkfifo(tmp_path / "fifo.tide")
    refused(tmp_path / "fifo.tide", "fifo")
    for path in ("/dev/zero", "/dev/null", "/dev/tty"):
        refused(path, path, ["report", "dump"])


def test_directory_without_logs(tmp_path):
    refused(tmp_path, "no log", ["report", "leaks", "timeline"])
    refused(tmp_path, str(tmp_path), ["info", "dump", "verify"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable(good, tmp_path):
    path = tmp_path / "unreadable.tide"
    path.write_bytes(good.read_bytes())
    path.chmod(0)
    refused(path, "Permission denied")


def test_a_dangling_link(tmp_path):
    (tmp_path / "link.tide").symlink_to("nowhere")
    refused(tmp_path / "link.tide", "No such file", ["report", "info"])


def test_huge_and_sparse(tmp_path):
    path = tmp_path / "huge.tide"
    with open(path, "wb") as file:
        file.truncate(1 << 42)
    refused(path, "huge", ["report", "info"])


def test_a_version_from_the_future(good, tmp_path):
    """The checksum is right, only the version is beyond us: refused by name, not taken for damage."""
    source = tmp_path / "future.c"
    source.write_text("""
#include <stdio.h>
#include "format/layout.h"
#include "format/wire.h"
int main(int argc, char **argv)
{
	struct tide_superblock s;
	FILE *f = fopen(argv[1], "r+");
	if (argc != 2 || !f || fread(&s, sizeof s, 1, f) != 1)
		return 1;
	long last = (long)s.file_size - TIDE_PAGE;
	s.version_major = 9;
	s.checksum = 0;
	s.checksum = tide_checksum(&s, TIDE_SUPERBLOCK_LEN, 0);
	fseek(f, 0, SEEK_SET);
	fwrite(&s, sizeof s, 1, f);
	fseek(f, last, SEEK_SET);
	fwrite(&s, sizeof s, 1, f);
	return fclose(f);
}
""")
    tool = tmp_path / "future"
    subprocess.run(["gcc", "-I", harness.ROOT / "shim", "-o", tool, source, harness.ROOT / "shim/format/checksum.c"], check=True)
    path = tmp_path / "future.tide"
    path.write_bytes(good.read_bytes())
    subprocess.run([tool, path], check=True)
    refused(path, "format 9.", ["report", "info", "dump", "verify"])


def losses(path):
    coverage = harness.answer("info", path, codes=(3,))["coverage"]
    return coverage["lost"], coverage["events"], coverage


def test_truncated_logs_are_salvaged(good, tmp_path):
    whole = good.read_bytes()
    events = harness.answer("info", good, codes=(0, 3))["coverage"]["in_window"]
    for cut in (len(whole) - 1, len(whole) * 3 // 4, len(whole) // 2):
        path = tmp_path / f"cut{cut}.tide"
        path.write_bytes(whole[:cut])
        lost, recorded, coverage = losses(path)
        assert coverage["damaged"] and coverage["in_window"] <= events
        assert coverage["in_window"] + coverage["evicted"] + lost == recorded
        text = harness.tidemark("report", path, codes=(3,))
        assert text.splitlines()[1].startswith("DAMAGED  ")
        assert "damaged" in harness.tidemark("verify", path, codes=(3,))


def test_flipped_bits_are_salvaged(good, tmp_path):
    """A byte in the middle of the log's content: the loss is exact and printed, other events are still there."""
    whole = bytearray(good.read_bytes())
    frames = [i for i in range(0, len(whole), 64) if whole[i:i + 4] == b"TFRM"]
    at = (frames[len(frames) // 2] if frames else len(whole) // 2) + 200
    whole[at] ^= 0xff
    path = tmp_path / "flipped.tide"
    path.write_bytes(whole)
    done = harness.run([harness.TIDEMARK, "verify", path])
    assert done.returncode in (0, 3)
    coverage = harness.answer("info", path, codes=(0, 3))["coverage"]
    assert coverage["in_window"] + coverage["evicted"] + coverage["lost"] == coverage["events"]
    assert (done.returncode == 3) == coverage["damaged"]


def test_one_bad_log_among_good_ones(good, tmp_path):
    (tmp_path / "good.tide").write_bytes(good.read_bytes())
    (tmp_path / "alien.tide").write_bytes(b"no log at all")
    answer = harness.answer("report", tmp_path, codes=(3,))
    assert len(answer["processes"]) == 1
    assert [u["log"] for u in answer["unreadable"]] == [str(tmp_path / "alien.tide")]
    text = harness.tidemark("report", tmp_path, codes=(3,))
    assert text.startswith("NOT READ  ") and "alien.tide" in text.splitlines()[0]


def test_usage():
    for arguments, word in [(["bogus"], "no such command"), (["report"], "needs more"), (["info", "a", "b"], "takes less"),
                            (["report", "--bogus", "x"], "unknown option"), (["report", "--top"], "needs a value"),
                            (["report", "--top", "0", "x"], "bad value"), (["report", "--format", "xml", "x"], "text|json"),
                            (["leaks", "--fail-on", "12Q", "x"], "64K"), (["diff", "a"], "needs more")]:
        done = harness.run([harness.TIDEMARK, *arguments])
        lines = done.stderr.decode().splitlines()
        assert done.returncode == 2 and len(lines) == 1 and word in lines[0], (arguments, lines)
        assert done.stdout == b""


def test_alone_it_helps():
    done = harness.run([harness.TIDEMARK])
    assert done.returncode == 2 and done.stdout == b""
    assert len(done.stderr.splitlines()) <= 12
    assert harness.run([harness.TIDEMARK, "--help"]).stdout == done.stderr


def test_full_disk_is_an_error(good, tmp_path):
    with open("/dev/full", "w") as full:
        for command in READING:
            done = subprocess.run([harness.TIDEMARK, command, good], stdout=full, stderr=subprocess.PIPE)
            assert done.returncode == 4 and b"No space left" in done.stderr, (command, done)


def test_a_reader_that_goes_away_is_none(good):
    script = f"{harness.TIDEMARK} dump {good} | head -n 1"
    done = harness.run(["/bin/bash", "-c", f"set -o pipefail; {script}"])
    assert done.stderr == b"" and done.returncode in (0, 3)


def test_output_file_is_there_whole_or_not_at_all(good, tmp_path):
    target = tmp_path / "out.json"
    target.write_text("before")
    harness.run([harness.TIDEMARK, "report", tmp_path / "none", "-o", target])
    assert target.read_text() == "before"
    done = harness.run([harness.TIDEMARK, "report", "--format", "json", good, "-o", target])
    assert done.returncode in (0, 3) and done.stdout == b""
    assert target.read_text() == harness.tidemark("report", "--format", "json", good, codes=(0, 3))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json"]
    done = harness.run([harness.TIDEMARK, "report", good, "-o", tmp_path / "no" / "such"])
    assert done.returncode == 4 and b"cannot write" in done.stderr


def test_same_input_same_output(good):
    for command in READING:
        arguments = [command, good] if command == "dump" else [command, "--format", "json", good]
        assert harness.tidemark(*arguments, codes=(0, 3)) == harness.tidemark(*arguments, codes=(0, 3))


def test_color(good):
    plain = harness.tidemark("report", good, codes=(0, 3))
    assert "\033" not in plain
    colored = harness.tidemark("report", "--color", "always", good, codes=(0, 3))
    assert "\033[1m" in colored
    assert harness.run([harness.TIDEMARK, "report", "--color", "never", good]).stdout.decode() == plain
