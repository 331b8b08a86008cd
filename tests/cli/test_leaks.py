"""leaks: exact bytes, counts and lines of what a program keeps (issue 2, Shows)."""
import csv
import io

import harness


def recorded(tmp_path):
    done = harness.run([harness.PROGRAMS / "leak_sites"], logs=tmp_path)
    assert done.returncode == 0 and done.stderr == b""
    expected = [tuple(map(int, line.split())) for line in done.stdout.split(b"\n") if line]
    return harness.only_log(tmp_path), sorted(expected, key=lambda e: -e[2])


def own_frame(row):
    return next(f for f in row["stack"] if (f["file"] or "").endswith("leak_sites.c"))


def test_three_leaks_are_exact(tmp_path):
    log, expected = recorded(tmp_path)
    report = harness.answer("leaks", log)
    rows = report["leaks"]
    seen = [(own_frame(r)["line"], r["blocks"], r["bytes"]) for r in rows[:3]]
    assert seen == expected
    assert [own_frame(r)["function"] for r in rows[:3]] == ["grown", "pages", "small"]
    assert all(r["uncertain_bytes"] == 0 for r in rows)
    # nothing but stdio's buffer is left besides
    assert sum(r["bytes"] for r in rows[3:]) <= 8192
    assert report["totals"]["live_bytes"] == sum(r["bytes"] for r in rows)


def test_csv_has_the_same_numbers(tmp_path):
    log, expected = recorded(tmp_path)
    rows = list(csv.DictReader(io.StringIO(harness.tidemark("leaks", "--format", "csv", log))))
    assert [(int(r["blocks"]), int(r["bytes"])) for r in rows[:3]] == [e[1:] for e in expected]
    assert rows[0]["place"] == f"grown leak_sites.c:{expected[0][0]}"
    assert rows[0]["stack"].split(";")[-1].startswith("grown ")


def test_text_names_lines(tmp_path):
    log, expected = recorded(tmp_path)
    text = harness.tidemark("report", log)
    for line, _, _ in expected:
        assert f"leak_sites.c:{line}" in text
    assert [line for line in text.splitlines() if len(line) > 100] == []


def test_fail_on(tmp_path):
    log, expected = recorded(tmp_path)
    biggest = expected[0][2]
    harness.tidemark("leaks", log, "--fail-on", str(biggest), codes=(0,))
    harness.tidemark("leaks", log, "--fail-on", str(biggest - 1), codes=(1,))
    harness.tidemark("leaks", log, "--fail-on", "1G", codes=(0,))


def test_top_counts_what_was_freed(tmp_path):
    log, _ = recorded(tmp_path)
    rows = harness.answer("top", log)["top"]
    balanced = [r for r in rows if own_frame(r)["function"] == "balanced"]
    assert sum(r["allocs"] for r in balanced) == 200000
    assert sum(r["alloc_bytes"] for r in balanced) == 2 * sum(i % 700 + 1 for i in range(100000))
    assert sum(r["bytes"] for r in balanced) == 0
