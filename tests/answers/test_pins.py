"""Which places pins are named after, and which rows are worth showing: a server's worker, killed in the middle of a request."""
import pytest

import harness

# As installed: its path says that it is nobody's application.
FRAMEWORK = """
def dispatch(view):
    body = view()
    parts = [str(n) * 3 for n in range(4000)]
    return body, parts

def serve(view, requests, at_end):
    for n in range(requests):
        dispatch(view)
    in_flight = dispatch(view), [object() for _ in range(9000)]
    at_end(in_flight)
"""
APP = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
import framework

class Row:
    def __init__(self, n):
        self.text = "row %d" % n

kept = []

def page():
    rows = [Row(n) for n in range(60000)]  # ROWS
    kept.extend(rows[::5900])
    return len(rows)

def at_end(in_flight):
    end = time.time() + 1.5
    while time.time() < end:
        [bytes(1000) for _ in range(1000)]
    os._exit(0)

framework.serve(page, 8, at_end)
"""
LINE = 1 + next(i for i, line in enumerate(APP.splitlines()) if "ROWS" in line)

# Keeps all that it makes: nothing is stranded, so nobody pins.
LEAK = """
import os
kept = []
for i in range(1500):
    kept.append([{"request": n, "user": str(n)} for n in range(60)])
os._exit(0)
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    home = tmp_path_factory.mktemp("worker")
    packages = home / "site-packages"
    packages.mkdir()
    (packages / "framework.py").write_text(FRAMEWORK)
    (home / "app.py").write_text(APP)
    logs = home / "logs"
    logs.mkdir()
    done = harness.run([harness.PYTHON, home / "app.py", packages], logs=logs, env={"TIDEMARK_PYTHON": "sites"})
    assert done.returncode == 0, done.stderr
    return harness.only_log(logs)


@pytest.fixture(scope="module")
def report(log):
    return harness.answer("report", log)


def test_the_applications_line_is_named_first(report):
    assert report["pins"][0]["place"].endswith(f"app.py:{LINE}"), report["pins"][0]
    assert f"app.py:{LINE}" in report["verdict"]["trigger"], report["verdict"]
    assert f"app.py:{LINE}" in report["verdict"]["advice"][0]["action"], report["verdict"]


def test_no_row_repeats_a_better_one(report):
    """Callers of a pin hold what it holds: they are rows only for what they release beside it."""
    held = report["predictions"]["pinned_bytes"]
    assert sum(p["releases_bytes"] - p["bytes"] for p in report["pins"]) <= held * 1.1, report["predictions"]["pins"]


def test_a_row_holds_no_more_than_its_arenas_have(report):
    stranded = sorted((a["stranded_bytes"] for a in report["arenas"]), reverse=True)
    for p in report["pins"]:
        assert p["pins_bytes"] <= sum(stranded[:p["arenas"]]), p


def test_every_row_holds_and_frees_something(report):
    least = max(64 << 10, report["predictions"]["pinned_bytes"] // 100)
    assert report["pins"]
    for p in report["pins"]:
        assert p["pins_bytes"] >= least and p["releases_bytes"] >= least, p


def test_types_and_smallest_sets_are_told(log, report):
    """In JSON, and by the same numbers in text: in the page and in the section."""
    types = report["pins"][0]["types"]
    assert any(t["name"] == "Row" and t["blocks"] > 50 for t in types), types
    sets = report["predictions"]["sets"]
    assert [s["percent"] for s in sets] == [50, 80, 95] and sets[0]["reached"]
    for s in sets:
        assert s["at_least"] <= s["pins"] or not s["reached"], s
        assert s["releases_bytes"] * 100 >= report["predictions"]["pinned_bytes"] * s["percent"] * 0.999 or not s["reached"]
    assert harness.answer("pins", log)["predictions"] == report["predictions"]
    for command in ("report", "pins"):
        text = " ".join(harness.tidemark(command, log).split())
        assert "of these: " + ", ".join(f"{t['blocks']:,} {t['name']}" for t in types) in text, text
        for s in sets:
            rows = "row 1" if s["pins"] == 1 else f"rows 1 to {s['pins']}" if s["reached"] else "no set that was tried"
            assert f"{s['percent']} %: {rows}" in text, text
        assert "is free and held by no block" in text
    assert f"{types[0]['blocks']} {types[0]['name']}" in report["verdict"]["trigger"], report["verdict"]


def test_arenas_say_what_becomes_of_them(log):
    arenas = harness.answer("arenas", log)["arenas"]
    assert {a["consequence"] for a in arenas} <= {"by_itself", "malloc_trim", "when_dead", "never", "nothing"}
    held = [a for a in arenas if a["kind"] == "pymalloc" and a["stranded_bytes"] > 512 << 10 and a["live_blocks"]]
    assert held and all(a["consequence"] == "when_dead" for a in held)
    lines = harness.tidemark("arenas", log, "--top", "1000").splitlines()
    assert sum(line.endswith("when_dead") for line in lines) == sum(a["consequence"] == "when_dead" for a in arenas)


def test_what_strands_nothing_is_no_pin(tmp_path):
    (tmp_path / "leak.py").write_text(LEAK)
    logs = tmp_path / "logs"
    logs.mkdir()
    assert harness.run([harness.PYTHON, tmp_path / "leak.py"], logs=logs).returncode == 0
    for p in harness.answer("report", harness.only_log(logs))["pins"]:
        assert p["pins_bytes"] >= 64 << 10, p
