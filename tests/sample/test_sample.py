"""TIDEMARK_SAMPLE: sums of a sampled log are unbiased, and marked as estimates.

Each recorded allocation of s bytes stands for w = 1 / (1 - exp(-s / N)) of them, so a sum over n allocations of that size has the
standard deviation sqrt(n * (w - 1)) allocations. Five of those, fixed: a right program fails once in more than a million runs.
"""
import math

import pytest

import harness

MEAN = 16384


def deviation(count, size):
    return math.sqrt(count * (1 / -math.expm1(-size / MEAN) - 1)) + 1


# site: (size, blocks, of them live) of each group of blocks of one size
def groups():
    return {
        "small": [(48, 400000, 100000)],
        "middling": [(1000 + k * 500, len([i for i in range(20000) if i % 7 == k]),
                      len([i for i in range(0, 20000, 5) if i % 7 == k])) for k in range(7)],
        "large": [(40000, 3000, 300)],
        "growing": [(500, 20000, 0), (3000, 20000, 2500)],
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    done = harness.run([harness.PROGRAMS / "sampled_loop"], logs, {"TIDEMARK_SAMPLE": "16K"})
    assert done.returncode == 0
    truth = {line.split()[0]: [int(n) for n in line.split()[1:]] for line in done.stdout.decode().splitlines()}
    return harness.only_log(logs), truth


def by_site(rows, truth):
    """Bytes and blocks of each of the program's sites."""
    sums = {name: [0, 0] for name in truth}
    for row in rows:
        names = [f.get("function") or "" for f in row["stack"]]
        for name in truth:
            if any(n.split(".")[0] == name for n in names):
                sums[name][0] += row["bytes"]
                sums[name][1] += row["blocks"]
                break
    return sums


def test_model_of_the_program(run):
    """The groups above are what the program says it does."""
    for name, (total, count, live, live_count) in run[1].items():
        parts = groups()[name]
        assert total == sum(s * n for s, n, _ in parts) and count == sum(n for _, n, _ in parts)
        assert live == sum(s * n for s, _, n in parts) and live_count == sum(n for _, _, n in parts)


def test_live_by_site(run):
    log, truth = run
    got = by_site(harness.answer("leaks", log)["leaks"], truth)
    for name in truth:
        wanted_bytes, wanted_blocks = truth[name][2:]
        allowed = 5 * sum(s * deviation(n, s) for s, _, n in groups()[name])
        allowed_blocks = 5 * sum(deviation(n, s) for s, _, n in groups()[name])
        assert abs(got[name][0] - wanted_bytes) <= allowed, (name, got, truth)
        assert abs(got[name][1] - wanted_blocks) <= allowed_blocks, (name, got, truth)


def test_totals_and_marks(run):
    log, truth = run
    answer = harness.answer("report", log)
    assert answer["coverage"]["sample_bytes"] == MEAN
    assert "estimates" in harness.tidemark("report", log)
    parts = [p for name in truth for p in groups()[name]]
    allowed = 5 * math.sqrt(sum((s * deviation(n, s)) ** 2 for s, n, _ in parts))
    wanted = sum(t[0] for t in truth.values())
    assert abs(answer["totals"]["alloc_bytes"] - wanted) <= allowed + 100000, (answer["totals"], wanted, allowed)
    # far fewer events than the 883,000 that there were: some wanted / MEAN, and as many frees
    assert answer["coverage"]["events"] < 4 * wanted / MEAN + 1000
    assert answer["coverage"]["unmatched_frees"] == answer["coverage"]["double_allocations"] == 0


def test_everything_without_it(tmp_path):
    harness.run([harness.PROGRAMS / "sampled_loop"], tmp_path, {"TIDEMARK_SAMPLE": "0"})
    answer = harness.answer("report", harness.only_log(tmp_path))
    assert answer["coverage"]["sample_bytes"] == 0
    assert answer["totals"]["allocs"] >= 463000


def test_python(tmp_path):
    """Objects in pools are sampled like all others, and their reallocs complete."""
    code = "import json\nkept = [list(range(i % 50)) for i in range(30000)]\njson.dumps(kept)"
    done = harness.run([harness.PYTHON, "-c", code], tmp_path, {"TIDEMARK_SAMPLE": "4K", "TIDEMARK_PYTHON": "objects"})
    assert done.returncode == 0
    answer = harness.answer("report", harness.only_log(tmp_path))
    assert answer["coverage"]["sample_bytes"] == 4096
    assert answer["coverage"]["unmatched_frees"] == answer["coverage"]["double_allocations"] == 0
