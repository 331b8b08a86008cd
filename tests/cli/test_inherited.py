"""A forked child's report names what it inherited with its parent's stacks, exactly, or says why it cannot."""
import re

import pytest

import harness

WHOLE = {"known": "whole", "reason": None}


def generations(logs, count, before=0, after=0, **env):
    """Runs fork_generations: by generation, the log and the set of blocks held at the end."""
    done = harness.run([harness.PROGRAMS / "fork_generations", count, before, after], logs=logs, env=env)
    assert done.returncode == 0, done.stderr
    held, of = [], {}
    for line in done.stdout.decode().splitlines():
        words = line.split()
        if words[0] == "pid":
            blocks = set()
            of[int(words[2])] = (int(words[1]), blocks)
        else:
            blocks.add((int(words[0], 16), int(words[1])))
    for generation in range(1, count + 1):
        pid, blocks = of[generation]
        held.append((next(log for log in harness.logs_in(logs) if f"-{pid}-" in log.name), blocks))
    return held


def own(blocks):
    """Those of the program, which are known by their sizes."""
    return {block for block in blocks if harness.Oracle.is_own(block[1])}


def inheritance(log, codes=(0,)):
    return harness.answer("report", log, codes=codes)["coverage"]["inheritance"]


def known(log):
    told = inheritance(log)
    return {"known": told["known"], "reason": told["reason"]}


def test_generations(tmp_path):
    """Children, and children of children, hold what was there at the fork and they have not freed, whatever their parents did since."""
    held = generations(tmp_path, 4)
    assert inheritance(held[0][0]) is None
    for log, blocks in held:
        assert own(harness.live_blocks(log, codes=(0,), inherited=True)) == blocks, log
    for (log, _), generation in zip(held[1:], (1, 2, 3)):
        assert known(log) == WHOLE
        report = harness.answer("report", log)
        kept = own(harness.live_blocks(log, inherited=True)) - own(harness.live_blocks(log))
        assert report["totals"]["inherited_blocks"] >= len(kept) >= 200
        assert report["coverage"]["inheritance"]["blocks"] > len(kept)
        assert report["coverage"]["unmatched_frees"] == report["coverage"]["double_allocations"] == 0
        assert report["coverage"]["inherited_frees"] >= 200 and report["coverage"]["uncertain_bytes"] == 0
        rows = [row for row in report["leaks"] if row["inherited_bytes"]]
        assert {"take", "main"} <= {f["function"] for row in rows for f in row["stack"]}
        assert sum(row["inherited_bytes"] for row in rows) <= report["totals"]["inherited_bytes"]
        assert "inherited" in harness.tidemark("leaks", log) and "at the fork" in harness.tidemark("report", log)
    assert "inherited" not in harness.tidemark("leaks", held[0][0])


def test_rows_of_the_ledger_add_up(tmp_path):
    """P29: what was inherited is live memory of the child's, shared with the parent or not, and not unexplained."""
    held = generations(tmp_path, 2)
    live = []
    for path in (held[1][0], tmp_path / "alone" / held[1][0].name):
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_bytes(held[1][0].read_bytes())
        ledger = harness.answer("report", path)["ledger"]
        assert sum(row["bytes"] for row in ledger["rows"]) + ledger["unexplained_bytes"] == ledger["rss_bytes"]
        live.append(next(row["bytes"] for row in ledger["rows"] if row["kind"] == "live"))
    inherited = harness.answer("report", held[1][0])["totals"]["inherited_bytes"]
    assert 0 < live[0] - live[1] <= inherited


def test_log_given_elsewhere(tmp_path):
    """The parent's log is found among those that are given, or beside the child's; else that is said."""
    held = generations(tmp_path, 2)
    child = tmp_path / "elsewhere" / held[1][0].name
    child.parent.mkdir()
    held[1][0].rename(child)
    assert known(child) == {"known": "no", "reason": "the parent's log is not here"}
    alone = harness.answer("report", child)
    assert alone["totals"]["inherited_blocks"] == 0 and alone["coverage"]["unmatched_frees"] == 0
    assert alone["coverage"]["inherited_frees"] >= 200
    assert "not known" in harness.tidemark("report", child)
    both = harness.answer("report", child, held[0][0])["processes"]
    assert [p["coverage"]["inheritance"] and p["coverage"]["inheritance"]["known"] for p in both] == ["whole", None]


def test_a_link_of_the_chain_is_missing(tmp_path):
    """Of three generations the first log is gone: the last one's inheritance is what the second had made itself, and perhaps more."""
    held = generations(tmp_path, 3)
    held[0][0].unlink()
    assert known(held[1][0])["known"] == "no"
    assert known(held[2][0]) == {"known": "unsure", "reason": "an ancestor's log is missing, or lacks events from before the fork"}
    live = own(harness.live_blocks(held[2][0], inherited=True))
    assert live < held[2][1] and len(live - own(harness.live_blocks(held[2][0]))) > 200
    assert harness.answer("report", held[2][0])["coverage"]["uncertain_bytes"] > 0


def test_parent_wrapped_before_the_fork(tmp_path):
    """What was carried over by then is told of like all else. They all wrapped, and freed some of their inheritance in what was overwritten."""
    held = generations(tmp_path, 4, before=120000, TIDEMARK_SIZE="256K")
    for log, blocks in held:
        assert own(harness.live_blocks(log, inherited=True)) == blocks
        report = harness.answer("report", log)
        assert report["coverage"]["evicted"] > 0 and report["coverage"]["uncertain_bytes"] == 0
    for log, _ in held[1:]:
        assert known(log) == {"known": "whole", "reason": None}


def test_parent_wrapped_after_the_fork(tmp_path):
    """What is told of are those blocks that the parent has kept. That they were there before the fork it must be able to tell by time, which is known to
    some milliseconds for what was carried over."""
    held = generations(tmp_path, 2, before=1000000, after=1000000, TIDEMARK_SIZE="256K")
    told = inheritance(held[1][0])
    assert told["known"] == "some" and "past the fork" in told["reason"]
    mine, theirs = own(harness.live_blocks(held[1][0])), own(harness.live_blocks(held[1][0], inherited=True)) - own(harness.live_blocks(held[1][0]))
    assert mine < held[1][1] and theirs == held[0][1] & held[1][1] and len(theirs) > 100
    coverage = harness.answer("report", held[1][0])["coverage"]
    assert coverage["double_allocations"] == coverage["unmatched_frees"] == coverage["uncertain_bytes"] == 0
    assert "perhaps not all" in harness.tidemark("report", held[1][0])


def test_what_the_parent_took_after_the_fork_is_not_inherited(tmp_path):
    """Nor is what it took just before, when its log no longer tells which it was."""
    held = generations(tmp_path, 2, after=1000000, TIDEMARK_SIZE="256K")
    assert own(harness.live_blocks(held[1][0], inherited=True)) <= held[1][1]


def test_damaged_parent(tmp_path):
    """Bytes of the parent's events are gone: the child's report says that it is unsure, and is whole itself."""
    held = generations(tmp_path, 2, before=40000, TIDEMARK_SIZE="4M")
    log = bytearray(held[0][0].read_bytes())
    for frame in [m.start() for m in re.finditer(re.escape(b"\xf3]FRAME1"), log)][1:2]:
        log[frame + 200] ^= 1
    held[0][0].write_bytes(log)
    assert harness.answer("report", held[0][0], codes=(3,))["coverage"]["lost"] > 0
    assert known(held[1][0])["known"] == "unsure"
    assert harness.answer("report", held[1][0])["coverage"]["uncertain_bytes"] > 0


@pytest.mark.parametrize("size", (0, 100, 4096, 70000))
def test_cut_parent(tmp_path, size):
    """Cut anywhere, also to nothing: an answer, and never the claim that it is whole."""
    held = generations(tmp_path, 2)
    held[0][0].write_bytes(held[0][0].read_bytes()[:size])
    assert inheritance(held[1][0])["known"] in ("no", "unsure")


PRELOADED = """
import os, sys
class Session: pass
def load():
    return [bytes(5000 + i) for i in range(100)]
def serve():
    return [bytes(7000 + i) for i in range(1000)][::10]
kept = load()
for worker in range(2):
    if os.fork() == 0:
        del kept[:40:2]
        for request in range(int(sys.argv[1])):
            bytearray(700 + request % 50 * 16)
        del kept[20::2]
        mine = serve()
        os._exit(0)
    os.wait()
"""


@pytest.mark.parametrize("requests", (0, 1_000_000))
def test_preloaded_python(tmp_path, requests):
    """As gunicorn --preload: two workers, each with what the master loaded, by the lines of the master's code; also when their logs have wrapped."""
    script = tmp_path / "app.py"
    script.write_text(PRELOADED)
    done = harness.run([harness.PYTHON, script, requests], logs=tmp_path, env={"TIDEMARK_SIZE": "1M" if requests else "64M"})
    assert done.returncode == 0, done.stderr
    reports = {r["process"]["log"]: r for r in harness.answer("report", tmp_path)["processes"]}
    workers = [r for r in reports.values() if r["process"]["parent_pid"]]
    assert len(workers) == 2
    for report in workers:
        assert report["coverage"]["inheritance"]["known"] == "whole" and report["coverage"]["inheritance"]["reason"] is None
        assert (report["coverage"]["evicted"] > 100_000) == (requests > 0) and report["coverage"]["uncertain_bytes"] == 0
        rows = harness.answer("leaks", report["process"]["log"], "--top", "100000")["leaks"]
        for row in rows:
            row["python"] = [(f["function"], f["line"], f["file"]) for f in row["stack"] if f["language"] == "python"]
        loaded = [r for r in rows if r["python"][:2] == [("load.<locals>.<listcomp>", 5, str(script)), ("load", 5, str(script))]]
        served = [r for r in rows if any(f[0] == "serve" for f in r["python"])]
        assert sum(r["bytes"] for r in loaded if r["inherited_bytes"] == r["bytes"]) == sum(5000 + i + 33 for i in range(1, 100, 2))
        assert sum(r["bytes"] for r in served if r["bytes"] > 7000) >= sum(7000 + i + 33 for i in range(0, 1000, 10))
        assert not any(r["inherited_bytes"] for r in served)
