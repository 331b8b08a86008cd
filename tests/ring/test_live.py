"""Reading the log of a process that goes on, while its ring wraps: each answer is one that was right at some instant, and the writer
notices nothing."""
import os
import pathlib

import harness

READS = int(os.environ.get("TIDEMARK_TEST_LIVE_READS", "20"))


def long_lived(path):
    """The blocks that oracle_loop allocated first and leaves alone: {(address, size)}."""
    words = memoryview(pathlib.Path(path).read_bytes()).cast("Q")
    threads, slots, lasting = words[1:4]
    first = 8 + 8 * threads
    at = [first + 4 * (t * slots + i) for t in range(threads) for i in range(lasting)]
    return {(words[i + 1], words[i + 2]) for i in at}


def test_reading_while_it_wraps(tmp_path):
    """What never died is live in every answer; sums add up and only grow; nothing is taken for damage."""
    logs, oracle = tmp_path / "logs", tmp_path / "oracle"
    logs.mkdir()
    program = harness.Oracle.started(logs, oracle, 4, 256, 0, 100, TIDEMARK_SIZE="256K")
    try:
        lasting, log, before = long_lived(oracle), harness.only_log(logs), None
        assert len(lasting) == 400
        for i in range(READS):
            report = harness.answer("report", log, codes=(0,))
            now, totals = report["coverage"], report["totals"]
            assert report["process"]["end"] == "running"
            assert now["events"] == now["in_window"] + now["evicted"] and now["lost"] == 0, now
            assert totals["live_blocks"] >= 400 and now["unmatched_frees"] == 0 and not now["damaged"], (totals, now)
            if before:
                assert now["events"] >= before[0] and totals["allocs"] >= before[1] and now["window_start_ns"] >= before[2]
            before = now["events"], totals["allocs"], now["window_start_ns"]
            live = harness.live_blocks(log, codes=(0,))
            assert not lasting - set(live), (i, lasting - set(live))
            assert len(live) == len(set(live)) and len([b for b in live if harness.Oracle.is_own(b[1])]) <= 4 * 256 + 4
            assert program.poll() is None
        assert before[0] > 300000, "it hardly ran"
    finally:
        program.kill()
        program.wait()
    assert not any(now["lost_by_reason"].values()), now
