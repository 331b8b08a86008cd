"""What malloc_trim and free give back, predicted from the log of a run that stops before, and done in a second run."""
import pytest

import harness

PATTERNS = ["sieve", "small", "pages", "wide", "top", "churn", "growing", "aligned", "sparse", "mapped", "threads", "ended",
            "handoff", "workers"]
SLACK = 256 << 10
BETWEEN_RUNS = 512 << 10  # two runs of one program differ by what they touched of libraries and by alignment of mappings


def resident(done):
    assert done.returncode == 0, done.stderr
    return [int(n) for n in done.stdout.split()]


def act(pattern, action, tmp_path):
    """Resident bytes before and after; in a process under the shim, as the predicted one was."""
    return resident(harness.run([harness.PROGRAMS / "retain", pattern, action], logs=tmp_path / action))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """{pattern: (resident bytes, report)} of the runs that stop at the moment of interest."""
    answers = {}
    for pattern in PATTERNS:
        logs = tmp_path_factory.mktemp(pattern)
        before, _ = resident(harness.run([harness.PROGRAMS / "retain", pattern, "exit"], logs=logs))
        answers[pattern] = before, harness.answer("report", harness.only_log(logs))
    return answers


def near(predicted, happened, error=0):
    slack = max(SLACK, happened // 50)
    return happened - slack <= predicted <= happened + slack + error


@pytest.mark.parametrize("pattern", PATTERNS)
def test_trim(pattern, told, tmp_path):
    """P71: heaps that libc grew by calls nobody can stand before are known from the census, page by page."""
    stopped, report = told[pattern]
    (tmp_path / "trim").mkdir()
    before, after = act(pattern, "trim", tmp_path)
    assert abs(before - stopped) < BETWEEN_RUNS
    trim = report["predictions"]["malloc_trim"]
    # pieces that memalign cuts off may sit in a thread's cache unseen: the prediction says how much that may be
    error = trim["error_bytes"] if pattern == "aligned" else 0
    assert near(trim["releases_bytes"], before - after, error), (trim, before - after)


def keepers(report):
    """The pin of keep(), with its predictions."""
    for pin, told in zip(report["pins"], report["predictions"]["pins"]):
        if "keep" in told["place"]:
            return pin, told
    raise AssertionError([p["place"] for p in report["predictions"]["pins"]])


@pytest.mark.parametrize("pattern", [p for p in PATTERNS if p not in ("aligned", "churn", "mapped")])
def test_drop_and_trim(pattern, told, tmp_path):
    """What keep() made is freed, then malloc_trim."""
    stopped, report = told[pattern]
    (tmp_path / "droptrim").mkdir()
    before, after = act(pattern, "droptrim", tmp_path)
    pin, prediction = keepers(report)
    # blocks so small that caches and fastbins of threads take them: which ones is a guess, and the bar says how good it is
    error = prediction["error_bytes"] if pattern in ("threads", "ended") else 0
    assert near(prediction["with_trim_bytes"], before - after, error), (prediction, before - after)


@pytest.mark.parametrize("pattern", ["pages", "wide", "top", "sparse", "sieve"])
def test_drop(pattern, told, tmp_path):
    """Freed, and nothing else: only the top of the heap goes back, if it does."""
    stopped, report = told[pattern]
    (tmp_path / "drop").mkdir()
    before, after = act(pattern, "drop", tmp_path)
    pin, prediction = keepers(report)
    assert near(prediction["returns_bytes"], before - after), (prediction, before - after)


def test_mapped_blocks_are_returned_when_freed(told, tmp_path):
    stopped, report = told["mapped"]
    (tmp_path / "drop").mkdir()
    before, after = act("mapped", "drop", tmp_path)
    mapped = [a for a in report["arenas"] if a["kind"] == "glibc-mmap"]
    assert len(mapped) == 1
    assert near(mapped[0]["resident_bytes"], before - after), (mapped, before - after)


def test_what_is_never_returned_stays(told, tmp_path):
    """Small blocks that hold their own pages only: without them dying, malloc_trim leaves exactly what is called pinned."""
    stopped, report = told["sieve"]
    rows = {r["kind"]: r["bytes"] for r in report["ledger"]["rows"]}
    heap = rows["live"] + rows["allocator_overhead"] + rows["pinned_waste"] + rows["trimmable"]
    (tmp_path / "trim").mkdir()
    before, after = act("sieve", "trim", tmp_path)
    left = heap - report["predictions"]["malloc_trim"]["releases_bytes"]
    assert rows["pinned_waste"] > 0
    assert near(left, heap - (before - after)), (left, before - after)
