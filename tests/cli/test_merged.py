"""A directory of a worker tree is one report: sums, a row a process, then the page of the one that matters most."""
import csv
import io
import signal

import pytest

import harness

PROGRAM = """\
import os
class Session:
    __slots__ = ("number",)
    def __init__(self, number):
        self.number = number
kept = []
def serve(n):
    for i in range(n):
        kept.append(Session(0))  # the line
    os._exit(0)
children = []
for n in (3000, 4000):
    pid = os.fork()
    if pid == 0:
        serve(n)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
"""
LINE = 1 + PROGRAM[:PROGRAM.index("# the line")].count("\n")
SIZE = 16 + 16 + 8


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    base = tmp_path_factory.mktemp("merged")
    (base / "workers.py").write_text(PROGRAM)
    done = harness.run([harness.TIDEMARK, "record", "--dir", base / "logs", "--python", "objects", "--", harness.PYTHON,
                        base / "workers.py"])
    assert done.returncode == 0 and len(harness.logs_in(base / "logs")) == 3, done.stderr
    return base / "logs"


def test_sums_and_a_row_a_process(logs):
    doc = harness.answer("report", logs)
    reports = doc["processes"]
    assert len(reports) == len(doc["overview"]) == 3
    for sums in ("totals",):
        for key in ("allocs", "frees", "alloc_bytes", "live_bytes", "live_blocks"):
            assert doc[sums][key] == sum(r[sums][key] for r in reports), key
    for key in ("events", "in_window", "evicted", "lost", "unmatched_frees"):
        assert doc["coverage"][key] == sum(r["coverage"][key] for r in reports), key
    assert doc["ledger"]["rss_bytes"] == sum(r["ledger"]["rss_bytes"] for r in reports)
    assert sum(r["bytes"] for r in doc["ledger"]["rows"]) + doc["ledger"]["unexplained_bytes"] == doc["ledger"]["rss_bytes"]
    assert 0 <= doc["worst"] < 3


def test_each_process_is_as_by_itself(logs):
    doc = harness.answer("report", logs)
    for log, inside in zip(harness.logs_in(logs), doc["processes"]):
        assert harness.answer("report", log) == inside


def test_the_tree(logs):
    rows = harness.answer("report", logs)["overview"]
    assert [r["depth"] for r in rows] == [0, 1, 1]
    assert rows[1]["ppid"] == rows[2]["ppid"] == rows[0]["pid"]
    for row in rows:
        assert {"pid", "ppid", "name", "end", "rss_bytes", "live_bytes", "verdict", "log"} <= set(row)


def test_stacks_of_all_processes_are_one_row(logs):
    doc = harness.answer("leaks", logs)
    row = next(r for r in doc["leaks"] if r["place"] == f"serve workers.py:{LINE}" and r["blocks"] == 7000)
    assert row["bytes"] == 7000 * SIZE
    line = next(r for r in harness.answer("report", logs)["places"] if r["place"] == f"serve workers.py:{LINE}")
    assert line["blocks"] >= 7000 and line["bytes"] >= 7000 * SIZE


def test_text(logs):
    text = harness.tidemark("report", logs)
    assert text.startswith("PROCESSES  3")
    assert text.count("`- python") == 2 and text.count("VERDICT  ") == 1
    for word in ("LEDGER", "PINS", "ARENAS", "LIVE", "COVERAGE", f"serve workers.py:{LINE}"):
        assert word in text
    assert [line for line in text.splitlines() if len(line) > 100] == []


def test_sections(logs):
    for command, part in [("pins", "PINS"), ("ledger", "LEDGER"), ("arenas", "ARENAS"), ("timeline", "TIMELINE"),
                          ("top", "TOP"), ("peak", "AT THE PEAK")]:
        text = harness.tidemark(command, logs)
        assert text.startswith("PROCESSES  3") and part in text
    rows = list(csv.DictReader(io.StringIO(harness.tidemark("ledger", "--format", "csv", logs))))
    assert len({r["pid"] for r in rows}) == 3 and {"kind", "bytes"} <= set(rows[0])


def test_files_by_name_are_the_same_as_their_directory(logs):
    by_name = harness.tidemark("report", "--format", "json", *harness.logs_in(logs))
    assert by_name == harness.tidemark("report", "--format", "json", logs)


def test_a_copied_log_is_counted_once(tmp_path):
    """A log that was copied while its process ran: the newer one is read, whatever they are called, and the other is named."""
    oracle, logs = tmp_path / "oracle", tmp_path / "logs"
    logs.mkdir()
    program = harness.Oracle.started(logs, oracle, 2, 256, 300000, TIDEMARK_SIZE="4M")
    program.send_signal(signal.SIGSTOP)
    log = harness.only_log(logs)
    (logs / "older.tide").write_bytes(log.read_bytes())
    program.send_signal(signal.SIGCONT)
    assert program.wait(60) == 0
    alone = harness.answer("report", log)
    for name in ("a-copy.tide", "z-copy.tide"):
        (logs / "older.tide").rename(logs / name)
        doc = harness.answer("report", logs)
        assert [p["process"]["log"] for p in doc["processes"]] == [str(log)]
        assert doc["processes"][0]["totals"] == alone["totals"] and doc["coverage"]["events"] == alone["coverage"]["events"]
        assert [c["log"] for c in doc["copies"]] == [str(logs / name)]
        assert f"'{logs / name}' is a copy of '{log}'" in harness.tidemark("report", logs)
        (logs / name).rename(logs / "older.tide")
