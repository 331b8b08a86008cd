"""A forked child whose own log has wrapped, many times, still tells which of the blocks it inherited live: by the frees of such that were overwritten."""
import os
import random
import re
import signal
import struct
import subprocess
import time

import pytest

import harness

FAULTS = harness.BUILD / "libtidemark_faults.so"
CARRY = 3  # a frame's kind
PLACES = ("take_a", "take_b", "take_c", "change")


class Account:
    """What fork_heirs keeps; the layout is told there."""

    def __init__(self, path):
        words = memoryview(path.read_bytes()).cast("Q")
        self.blocks, self.slots, self.generations = words[:3]
        self.of = []
        for generation in range(self.generations):
            at = 3 + generation * (1 + 4 * self.slots)
            own = words[at + 1:at + 1 + 4 * self.slots]
            self.of.append((words[at], [tuple(own[4 * i:4 * i + 4]) for i in range(self.slots)]))

    def pid(self, generation):
        return self.of[generation][0]

    def live(self, generation):
        """{(address, size)} that lived, and those of which a call was running."""
        slots = self.of[generation][1]
        return {s[:2] for s in slots if s[2] == 1}, [s for s in slots if s[2] == 2]

    def inherited(self, generation):
        """Bytes that lived, and were there at the fork, by the place that had made them."""
        sums = dict.fromkeys(PLACES, 0)
        for _, size, state, origin in self.of[generation][1]:
            if state == 1 and origin // 4 < generation:
                sums[PLACES[origin % 4]] += size
        return sums


def log_of(logs, account, generation):
    return next(log for log in harness.logs_in(logs) if f"-{account.pid(generation)}-" in log.name)


def own(blocks):
    return {block for block in blocks if harness.Oracle.is_own(block[1])}


def by_place(log):
    """Inherited bytes by the function that made them."""
    sums = dict.fromkeys(PLACES, 0)
    for row in harness.answer("leaks", log, "--top", "1000000", codes=(0, 3))["leaks"]:
        names = [f["function"] for f in row["stack"]]
        place = "take_c" if "take_c" in names else next((n for n in names if n in PLACES), None)
        if place:
            sums[place] += row["inherited_bytes"]
    return sums


def check(log, account, generation, threads=1):
    live, running = account.live(generation)
    found = own(harness.live_blocks(log, inherited=True))
    odd = found ^ live
    report = harness.answer("report", log, codes=(0, 3))
    coverage = report["coverage"]
    # a realloc that fails while another thread carries its block's epoch over may forget the block, and that is told
    forgotten = coverage["forgotten_blocks"] if threads > 1 else 0
    assert len(odd) <= 2 * len(running) + forgotten and len(running) <= threads, (len(found - live), len(live - found), running, coverage)
    assert coverage["forgotten_blocks"] == forgotten <= 20
    assert coverage["inheritance"]["known"] == "whole" and coverage["inheritance"]["reason"] is None
    assert coverage["unmatched_frees"] == coverage["double_allocations"] == 0
    assert coverage["lost"] == 0, coverage
    if not running and not forgotten:
        assert coverage["uncertain_bytes"] == 0
    return report


@pytest.mark.parametrize("seed", range(4))
def test_three_generations(tmp_path, seed):
    """Each to the block, of those that still live when the process forked the next or ended; with the bytes by place."""
    done = harness.run([harness.PROGRAMS / "fork_heirs", tmp_path / "account", 3000, 4, 20000, seed], logs=tmp_path,
                       env={"TIDEMARK_SIZE": "256K"})
    assert done.returncode == 0, done.stderr
    account = Account(tmp_path / "account")
    for generation in (1, 2, 3):
        log = log_of(tmp_path, account, generation)
        assert check(log, account, generation)["coverage"]["evicted"] > 1_000_000
        expected = account.inherited(generation)
        assert sum(expected.values()) > 1_000_000 and by_place(log) == expected, generation


def killed(tmp_path, seed, generations, size, blocks=2000, left=None, threads=1):
    """The log and the account of the last generation's process, killed at some time; or when fewer blocks than `left` live."""
    logs = tmp_path / str(seed)
    logs.mkdir()
    chance = random.Random(seed)
    program = subprocess.Popen([str(harness.PROGRAMS / "fork_heirs"), str(logs / "account"), str(blocks), str(generations), "3000", str(seed),
                                str(threads)], env=harness.environment(logs, TIDEMARK_SIZE=size))
    last = 0
    while not last:
        time.sleep(0.01)
        assert program.poll() is None
        path = logs / "account"
        last = Account(path).pid(generations - 1) if path.exists() and path.stat().st_size and any(path.read_bytes()[:8]) else 0
    while left and len(Account(path).live(generations - 1)[0]) >= left:
        time.sleep(0.2)
    time.sleep(chance.uniform(0, 1.5))
    os.kill(last, signal.SIGKILL)
    assert program.wait(60) == 0
    account = Account(logs / "account")
    return log_of(logs, account, generations - 1), account


@pytest.mark.parametrize("seed", range(int(os.environ.get("TIDEMARK_TEST_HEIRS", "6"))))
def test_killed(tmp_path, seed):
    """At any instant: what the last pass that counts has told, and what is in the log."""
    generations, threads = 2 + seed % 2, 1 + seed % 3
    log, account = killed(tmp_path, seed, generations, "256K", threads=threads)
    check(log, account, generations - 1, threads)


@pytest.mark.parametrize("place, times", [("deaths-published", 1), ("deaths-published", 7), ("deaths-published", 90), ("frame-payload", 300),
                                          ("carry-tagged", 60), ("carry-commit", 40), ("carry-committed", 40), ("pass-read", 77),
                                          ("segment-cleared", 99), ("segment-begun", 100), ("seal-put", 200), ("free-taken", 300_000)])
def test_killed_at(tmp_path, place, times):
    """Before a pass counts, when it has just come to count, and amid a free."""
    done = harness.run([harness.PROGRAMS / "fork_heirs", tmp_path / "account", 2000, 2, 6000, times], logs=tmp_path,
                       env={"TIDEMARK_SIZE": "256K", "LD_PRELOAD": FAULTS, "TIDEMARK_FAULT": f"{place}:{times}"})
    assert done.returncode == 0, done.stderr  # the parent
    account = Account(tmp_path / "account")
    log = log_of(tmp_path, account, 1)
    assert harness.answer("report", log, codes=(0, 3))["process"]["end"] == "killed", "it never came there"
    check(log, account, 1)


def test_sampled(tmp_path):
    """Of the parent's sample at the fork, those that still live and no others."""
    done = harness.run([harness.PROGRAMS / "fork_heirs", tmp_path / "account", 3000, 2, 60000, 5], logs=tmp_path,
                       env={"TIDEMARK_SIZE": "256K", "TIDEMARK_SAMPLE": "4K"})
    assert done.returncode == 0, done.stderr
    account = Account(tmp_path / "account")
    log = log_of(tmp_path, account, 1)
    assert harness.answer("report", log)["coverage"]["inheritance"]["known"] == "whole"
    assert harness.answer("report", log)["coverage"]["evicted"] > 100_000
    sample = own(harness.live_blocks(log_of(tmp_path, account, 0)))
    inherited = own(harness.live_blocks(log, inherited=True)) - own(harness.live_blocks(log))
    expected = {s[:2] for s in account.of[1][1] if s[2] == 1 and s[3] // 4 == 0} & sample
    assert len(sample) > 500 and len(expected) > 100 and inherited == expected


def test_more_deaths_than_there_is_room_for(tmp_path):
    """Is said; and no block that lives is missing."""
    log, account = killed(tmp_path, 0, 2, "256K", blocks=40000, left=5000)
    live, running = account.live(1)
    assert len(live) < 5000
    coverage = harness.answer("report", log, codes=(0, 3))["coverage"]
    told = coverage["inheritance"]
    assert (told["known"], told["reason"]) == ("unsure", "this log no longer tells what of it was freed")
    assert coverage["uncertain_bytes"] > 0 and coverage["double_allocations"] == coverage["lost"] == 0
    assert len(live - own(harness.live_blocks(log, inherited=True))) <= len(running)
    assert "no longer tells" in harness.tidemark("report", log, codes=(0, 3))


def test_damaged_where_deaths_are_told(tmp_path):
    """A frame of what was carried over is gone: nobody says that it is known what was inherited."""
    log, account = killed(tmp_path, 1, 2, "256K")
    whole, unsure, frames = log.read_bytes(), 0, []
    for at in (m.start() for m in re.finditer(re.escape(b"\xf3]FRAME1"), whole)):
        header, kind = struct.unpack_from("<IH", whole, at + 16)
        of_pass, blocks, last = struct.unpack_from("<QQI", whole, at + 56)
        if kind == CARRY and not blocks and not last:
            frames.append((of_pass, at, header))
    for _, at, header in sorted(frames, reverse=True):
        if unsure < 3:
            log.write_bytes(whole[:at + header] + bytes([whole[at + header] ^ 1]) + whole[at + header + 1:])
            report = harness.answer("report", log, codes=(0, 3))
            if report["coverage"]["damaged"]:  # else it was carried on since
                assert report["coverage"]["inheritance"]["known"] == "unsure" and report["coverage"]["uncertain_bytes"] > 0
                unsure += 1
    assert unsure == 3
