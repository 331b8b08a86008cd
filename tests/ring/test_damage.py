"""A 256 KiB log cut at every byte, and with every single bit of its headers and definitions flipped: the same answer, or damage is told of,
and the sums still add up (tools/bend reads each in its own process' memory)."""
import os

import harness
import pytest

STEP = int(os.environ.get("TIDEMARK_TEST_BEND_STEP", "61"))  # 1: every byte and bit
LOGS = {"whole": ("wrap_sites", 100, 3000), "wrapped": ("wrap_sites", 300, 200000), "heir": ("fork_heirs", "account", 1000, 2, 4000, 1)}


def bend(tmp_path, name, *how):
    program, *arguments = LOGS[name]
    done = harness.run([harness.PROGRAMS / program, *arguments], logs=tmp_path, env={"TIDEMARK_SIZE": "256K"}, cwd=tmp_path)
    assert done.returncode == 0
    log = max(harness.logs_in(tmp_path), key=lambda path: harness.answer("info", path)["coverage"]["events"])  # an heir's: the child's
    coverage = harness.answer("report", log)["coverage"]
    assert (coverage["evicted"] > 0) == (name != "whole") and coverage["lost"] == 0, coverage
    bent = harness.run([harness.BUILD / "tools" / "bend", log, *how], timeout=7200)
    assert bent.returncode == 0, bent.stdout.decode() + bent.stderr.decode()
    assert b"out of scope 0, silent 0, wrong sums 0" in bent.stdout  # it exited: every event is under a checksum
    return {key: int(value) for key, value in (p.rsplit(" ", 1) for p in bent.stdout.decode().strip().split(", "))}


@pytest.mark.parametrize("name", LOGS)
def test_cut_at_every_byte_and_every_bit_of_headers(tmp_path, name):
    counts = bend(tmp_path, name, "every", STEP)
    assert counts["told"] > (256 << 10) // STEP, counts
