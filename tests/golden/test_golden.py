"""Logs of earlier versions stay readable for ever, with the same answers; damaged ones give the same losses.

tests/golden/vN/NAME.tide, vN.M/NAME.tide (or NAME.tide.zst) is a log, with NAME.census if `tidemark record` looked at it from outside; NAME.txt beside it is what `tidemark dump` said of it when it was made. damaged/CASE.txt is what `tidemark
verify` says of the log c.tide of v1 after the damage of that name, and its exit code. After a change that is meant to change answers (never
those of a released version): TIDEMARK_BLESS=1 writes the twins anew; look at the difference before it is committed.
"""
import os
import pathlib
import subprocess

import pytest

import harness

HERE = pathlib.Path(__file__).parent
LOGS = sorted([*HERE.glob("v*/*.tide"), *HERE.glob("v*/*.tide.zst")])
needs_logs = pytest.mark.skipif(not LOGS, reason="there is no golden log yet: the format is not settled")
DAMAGED = HERE / "damaged"
LONG = 200_000  # characters
BLESS = os.environ.get("TIDEMARK_BLESS")


def unpacked(path, directory):
    """The log, with the file of censuses that lies beside it if there is one."""
    if path.suffix == ".tide":
        return path
    target = pathlib.Path(directory) / path.name.removesuffix(".zst")
    beside = path.with_name(path.name.replace(".tide.", ".census."))
    for packed in [path] + [beside] * beside.exists():
        subprocess.run(["zstd", "-q", "-d", "-f", packed, "-o", target.with_name(packed.name.removesuffix(".zst"))], check=True)
    return target


def twin_of(path, bless=None):
    """What the file beside a log says; long ones are stored packed, as NAME.txt.zst."""
    packed = path.with_name(path.name + ".zst")
    if bless is not None:
        path.parent.mkdir(exist_ok=True)
        if len(bless) > LONG:
            subprocess.run(["zstd", "-q", "-19", "-f", "-o", packed], input=bless.encode(), check=True)
        else:
            path.write_text(bless)
    if packed.exists():
        return subprocess.run(["zstd", "-q", "-d", "-c", packed], stdout=subprocess.PIPE, check=True).stdout.decode()
    return path.read_text()


def same(text, twin):
    expected = twin_of(twin, text if BLESS else None)
    if text != expected:
        lines = zip(text.splitlines(), expected.splitlines())
        first = next((pair for pair in lines if pair[0] != pair[1]), ("one is longer",))
        raise AssertionError((twin.name, *first))


@pytest.mark.parametrize("path", LOGS, ids=lambda p: p.name)
def test_events_are_the_same(path, tmp_path):
    log = unpacked(path, tmp_path)
    same(harness.tidemark("dump", log, codes=(0, 3)), path.parent / (path.name.split(".tide")[0] + ".txt"))


@pytest.mark.parametrize("path", LOGS, ids=lambda p: p.name)
def test_reports_are_reports(path, tmp_path):
    log = unpacked(path, tmp_path)
    report = harness.answer("report", log, codes=(0, 3))
    ledger = report["ledger"]
    if ledger:
        assert sum(row["bytes"] for row in ledger["rows"]) + ledger["unexplained_bytes"] == ledger["rss_bytes"]
    assert "COVERAGE" in harness.tidemark("report", log, codes=(0, 3))


@pytest.mark.parametrize("path", LOGS, ids=lambda p: p.name)
def test_threads_change_nothing(path, tmp_path):
    """Read by one thread, or by several: the same bytes."""
    log = unpacked(path, tmp_path)
    for command in (["report", "--format", "json", log], ["pins", log], ["top", "--format", "csv", log]):
        runs = [harness.run([harness.TIDEMARK, *command], env={"TIDEMARK_THREADS": n}) for n in (0, 1, 3)]
        assert runs[0].returncode in (0, 3)
        assert all((r.returncode, r.stdout, r.stderr) == (runs[0].returncode, runs[0].stdout, runs[0].stderr) for r in runs)


def test_censuses_beside_a_log_are_the_same(tmp_path):
    """FORMAT.md 11: what was resident, as `tidemark record` saw it; the program, killed in the end, took no census of its own."""
    log = unpacked(HERE / "v1" / "beside.tide.zst", tmp_path)
    same(harness.tidemark("timeline", "--format", "csv", log), HERE / "v1" / "beside.resident.txt")
    assert harness.answer("ledger", log)["ledger"]["rss_bytes"] == 9650176  # of the last one
    log.with_suffix(".census").unlink()
    assert harness.answer("ledger", log)["ledger"] is None


@pytest.mark.parametrize("name, known", [("heir", "whole"), ("stayed", "some")])
def test_what_a_child_inherited_is_the_same(tmp_path, name, known):
    """FORMAT.md 10: its log has wrapped, and its parent's lies beside it, which has wrapped since the fork or not."""
    log = unpacked(HERE / "v1.3" / f"{name}.tide.zst", tmp_path)
    assert harness.answer("report", log)["coverage"]["inheritance"]["known"] == "no"
    unpacked(HERE / "v1.3" / f"{name}-parent.tide.zst", tmp_path)
    assert harness.answer("report", log)["coverage"]["inheritance"]["known"] == known
    live = sorted(harness.live_blocks(log, inherited=True))
    assert len(live) > len(harness.live_blocks(log)) > 0
    same("".join(f"{address:x} {size}\n" for address, size in live), HERE / "v1.3" / f"{name}.live.txt")


def test_a_census_that_was_written_anew_counts_once(tmp_path):
    """FORMAT.md 8: it is there twice, 17 segments apart, in a log that has wrapped hundreds of times since; nothing is damaged."""
    log = unpacked(HERE / "v1.3" / "kept-census.tide.zst", tmp_path)
    assert harness.answer("info", log)["censuses"] == 1
    same(harness.tidemark("timeline", "--format", "csv", log), HERE / "v1.3" / "kept-census.resident.txt")


def flipped(log, at, bit=0):
    return log[:at] + bytes([log[at] ^ 1 << bit]) + log[at + 1:]


CASES = {
    "cut-a-byte": lambda log: log[:-1],
    "cut-half": lambda log: log[:len(log) // 2],
    "cut-a-quarter": lambda log: log[:len(log) * 3 // 4],
    "cut-to-a-page": lambda log: log[:4096],
    "first-superblock-gone": lambda log: bytes(4096) + log[4096:],
    "last-superblock-gone": lambda log: log[:-4096] + bytes(4096),
    "both-superblocks-gone": lambda log: bytes(4096) + log[4096:-4096] + bytes(4096),
    "counters-gone": lambda log: log[:4096] + bytes(4096) + log[8192:],
    "a-bit-in-the-superblock": lambda log: flipped(log, 40),
    "a-bit-in-the-definitions": lambda log: flipped(log, 8192 + 40, 3),
    "a-bit-in-the-middle": lambda log: flipped(log, len(log) // 2 + 77, 6),
    "a-page-of-zeros": lambda log: log[:len(log) // 2] + bytes(4096) + log[len(log) // 2 + 4096:],
    "a-page-of-ones": lambda log: log[:len(log) // 2] + b"\xff" * 4096 + log[len(log) // 2 + 4096:],
    "grown": lambda log: log + bytes(8192),
    "nothing": lambda log: b"",
}


@needs_logs
@pytest.mark.parametrize("case", sorted(CASES))
def test_damage_gives_the_same_loss(case, tmp_path):
    whole = unpacked(HERE / "v1" / "c.tide.zst", tmp_path).read_bytes()
    path = tmp_path / "damaged.tide"
    path.write_bytes(CASES[case](whole))
    done = harness.run([harness.TIDEMARK, "verify", path], cwd=tmp_path)
    assert done.returncode in (0, 3, 4)
    text = (done.stdout + done.stderr).decode().replace(str(tmp_path) + "/", "")
    same(f"{text}exit {done.returncode}\n", DAMAGED / f"{case}.txt")
    if done.returncode != 4:  # what is left has an answer, too
        harness.tidemark("report", path, codes=(done.returncode,))
