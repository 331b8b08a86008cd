"""diff of two logs of one Python program: what one line keeps more is the first row, and a program is like itself (issue 2)."""
import pathlib

import pytest

import harness

PROGRAM = """\
import json, sys
class Session:
    __slots__ = ("number", "name")
    def __init__(self, number):
        self.number = number
        self.name = None
kept = []
def remember(i):
    kept.append(Session(0))  # the line
def work():
    rows = [{"id": i, "text": str(i)} for i in range(2000)]
    return len(json.dumps(rows))
work()
for i in range(int(sys.argv[1])):
    remember(i)
work()
"""
LINE = 1 + PROGRAM[:PROGRAM.index("# the line")].count("\n")
SIZE = 16 + 16 + 2 * 8  # sys.getsizeof: collector's header, object's header, two slots


def record(directory, mode, program, *arguments):
    directory.mkdir()
    done = harness.run([harness.TIDEMARK, "record", "--dir", directory, "--python", mode, "--", harness.PYTHON, program,
                        *arguments])
    assert done.returncode == 0, done.stderr
    return harness.only_log(directory)


@pytest.fixture(scope="module", params=["sites", "objects"])
def logs(request, tmp_path_factory):
    base = tmp_path_factory.mktemp("diff")
    program = base / "program.py"
    program.write_text(PROGRAM)
    return {name: record(base / name, request.param, program, count)
            for name, count in [("a", "1000"), ("b", "1000"), ("more", "2000"), ("most", "3000")]}


def test_the_line_is_the_first_row_exactly(logs):
    first = harness.answer("diff", logs["a"], logs["more"])["sites"][0]
    assert first["live_bytes"] == 1000 * SIZE
    assert first["live_blocks"] == 1000
    assert first["place"] == f"remember program.py:{LINE}"
    innermost = next(f for f in first["stack"] if f["language"] == "python")
    assert (innermost["function"], innermost["line"]) == ("remember", LINE)
    assert first["new_live_bytes"] - first["base_live_bytes"] == first["live_bytes"]


def test_the_other_way_round_it_is_less(logs):
    first = harness.answer("diff", logs["more"], logs["a"])["sites"][0]
    assert (first["live_bytes"], first["live_blocks"]) == (-1000 * SIZE, -1000)


def test_a_program_is_like_itself(logs):
    rows = harness.answer("diff", logs["a"], logs["b"], "--top", "1000")["sites"]
    big = [(r["place"], r["live_bytes"]) for r in rows if abs(r["live_bytes"]) > 1024]
    assert big == []


def test_fail_on(logs):
    harness.tidemark("diff", logs["a"], logs["more"], "--fail-on", "16K", codes=(1,))
    harness.tidemark("diff", logs["a"], logs["more"], "--fail-on", "64K", codes=(0,))
    harness.tidemark("diff", logs["a"], logs["most"], "--fail-on", "64K", codes=(1,))
    harness.tidemark("diff", logs["a"], logs["b"], "--fail-on", "1K", codes=(0,))
    harness.tidemark("diff", logs["a"], logs["a"], "--fail-on", "0", codes=(0,))


def test_a_log_and_itself(logs):
    answer = harness.answer("diff", logs["a"], logs["a"])
    assert answer["sites"] == [] and set(answer["totals"].values()) == {0}


def test_directories_are_sides(logs, tmp_path):
    base, new = tmp_path / "base", tmp_path / "new"
    for side, names in [(base, ["a", "b"]), (new, ["more", "more"])]:
        side.mkdir()
        for i, name in enumerate(names):
            (side / f"{i}.tide").symlink_to(logs[name])
    answer = harness.answer("diff", base, new)
    assert answer["base"]["logs"] == answer["new"]["logs"] == 2
    assert answer["sites"][0]["live_bytes"] == 2 * 1000 * SIZE


def test_code_that_moved_is_the_same_code(tmp_path):
    """Lines count from the first one of their function. (What a module's own body makes is matched by line.)"""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    before = record(tmp_path / "before", "objects", program, "1000")
    program.write_text("# one\n# two\n# three\n" + PROGRAM)
    after = record(tmp_path / "after", "objects", program, "2000")
    rows = [r for r in harness.answer("diff", before, after)["sites"] if r["place"].startswith("remember ")
            and r["live_blocks"]]  # the list that they are in is a row of its own
    assert [(r["place"], r["live_bytes"], r["live_blocks"]) for r in rows] == [
        (f"remember program.py:{LINE + 3}", 1000 * SIZE, 1000)]


def test_text(logs):
    text = harness.tidemark("diff", logs["a"], logs["more"], "--top", "3")
    assert f"remember program.py:{LINE}" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    assert pathlib.Path(str(logs["a"])).name not in text
