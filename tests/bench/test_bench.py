"""The benchmark itself: its figures come from where they say, and README's tables are those of results.json."""
import json
import pathlib
import sys

import pytest

import harness

BENCH = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(BENCH))

import measure  # noqa: E402
import table  # noqa: E402


def bench(*args):
    done = harness.run([sys.executable, BENCH / "bench.py", *args])
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_a_small_run_has_every_figure(tmp_path):
    out = tmp_path / "out.json"
    printed = bench("--quick", "--rounds", "2", "--only", "^loop5$", "--tools", "tidemark", "--json", out)
    entry = json.loads(out.read_text())["workloads"]["loop5"]
    ours = entry["tools"]["tidemark"]
    assert 8_000_000 <= entry["events"] < 8_010_000  # 4 million pairs, and what starts and ends a process
    assert ours["cpu_ratio"]["n"] == 2 and ours["cpu_ratio"]["median"] > 1
    assert ours["ns_per_event"]["median"] > 0 and 0 < ours["bytes_per_event"] < 16
    assert "malloc/free loop, depth 5" in printed


def test_results_of_other_programs_are_kept(tmp_path):
    out = tmp_path / "out.json"
    out.write_text(json.dumps({"workloads": {"other": {"title": "kept"}}}))
    bench("--quick", "--rounds", "1", "--only", "^loop5$", "--tools", "tidemark", "--json", out)
    assert set(json.loads(out.read_text())["workloads"]) == {"other", "loop5"}


def test_peak_memory_is_the_programs_own(tmp_path):
    ballast = bytearray(200 << 20)  # resident in this process
    for at in range(0, len(ballast), 4096):
        ballast[at] = 1
    assert measure.run(["/bin/true"], {}, tmp_path).rss < 20 << 10


def test_a_failing_program_is_no_figure(tmp_path):
    with pytest.raises(measure.Failed):
        measure.run(["/bin/false"], {}, tmp_path)


@pytest.mark.parametrize("page, write", [("README.md", table.readme), ("tests/bench/README.md", table.against_targets)])
def test_pages_have_the_figures_of_the_last_run(page, write):
    text = (harness.ROOT / page).read_text()
    assert text.count(table.BEGIN) == 1 and text.count(table.END) == 1
    between = text.split(table.BEGIN)[1].split(table.END)[0].strip("\n")
    assert between == write(json.loads((BENCH / "results.json").read_text()))
