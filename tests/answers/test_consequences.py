"""What becomes of an arena's free memory: each of the four answers by a program that does what would bring it back, and sees."""
import pytest

import harness
from test_malloc_trim import act, hold, keepers, resident

PATTERNS = ["fast", "pages", "pinned", "tops"]
HALF = 2


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """{pattern: report} of the runs that stop at the moment of interest."""
    reports = {}
    for pattern in PATTERNS:
        logs = tmp_path_factory.mktemp(pattern)
        resident(harness.run([harness.PROGRAMS / "retain", pattern, "exit"], logs=logs))
        reports[pattern] = harness.answer("report", harness.only_log(logs))
    return reports


def arenas(report, kind):
    """The rows of that kind: each with what is said of its future."""
    future = {a["base"]: a for a in report["predictions"]["arenas"]}
    return [{**a, **future[a["base"]]} for a in report["arenas"] if a["kind"] == kind]


def happened(pattern, action, tmp_path):
    (tmp_path / action).mkdir()
    before, after, _ = act(pattern, action, tmp_path)
    return before - after


def test_by_itself(told, tmp_path):
    """Chunks in fastbins lie on the top until something big is freed: then it is cut down to the pad."""
    main, = arenas(told["fast"], "glibc-main")
    assert main["consequence"] == "returned by itself"
    assert main["by_itself_bytes"] == told["fast"]["predictions"]["by_itself_bytes"] > 16 << 20
    hold("the next free", main["by_itself_bytes"], happened("fast", "next", tmp_path))


def test_by_malloc_trim(told, tmp_path):
    main, = arenas(told["pages"], "glibc-main")
    assert main["consequence"] == "returned by malloc_trim"
    assert main["trim_bytes"] * HALF >= main["stranded_bytes"] > 16 << 20
    # by itself it does not go: a big free leaves it where it is
    hold("the next free", 0, happened("pages", "next", tmp_path))
    hold("malloc_trim", main["trim_bytes"], happened("pages", "trim", tmp_path))


def test_only_when_its_blocks_die(told, tmp_path):
    main, = arenas(told["pinned"], "glibc-main")
    assert main["consequence"] == "only when its blocks die"
    assert main["stranded_bytes"] > 8 << 20
    trimmed, dropped = happened("pinned", "trim", tmp_path), happened("pinned", "droptrim", tmp_path)
    assert trimmed * HALF < main["stranded_bytes"] < dropped, (trimmed, main, dropped)
    hold("malloc_trim", main["trim_bytes"], trimmed)
    hold("freed, malloc_trim", keepers(told["pinned"])["with_trim_bytes"], dropped)


def test_never(told, tmp_path):
    """The top of a thread's heap below the trim threshold, though not a block lives in it: no call of the program's gives it back."""
    report = told["tops"]
    threads = arenas(report, "glibc-thread")
    kept = sum(a["stranded_bytes"] for a in threads)
    assert len(threads) == 4 and {a["consequence"] for a in threads} == {"never"}
    assert kept > 16 << 20 and not any(a["live_blocks"] for a in threads)
    hold("the next free", 0, happened("tops", "next", tmp_path))
    # below the chunks that the threads' caches hold there are holes: those go, and the tops above stay
    trimmed, expected = happened("tops", "trim", tmp_path), report["predictions"]["malloc_trim"]["releases_bytes"]
    hold("malloc_trim", expected, trimmed)
    assert trimmed < kept // 4, (trimmed, kept)
    rows = {r["kind"]: r["bytes"] for r in report["ledger"]["rows"]}
    assert rows["trimmable"] > kept * 0.99 and rows["mmap_direct"] < 1 << 20, rows
    assert rows["file_private"] > 16 << 20, "the program's static arrays"
    assert report["verdict"]["class"] == "retention", report["verdict"]
    assert "4 thread arenas" in report["verdict"]["trigger"], report["verdict"]
    assert "malloc_trim does not" in report["verdict"]["consequence"], report["verdict"]


def test_what_is_advised_of_such_heaps(told):
    """Fewer arenas, of which no bytes are told, release much; a trim threshold that is not raised releases nothing, and is not advised."""
    advice = told["tops"]["verdict"]["advice"][0]
    assert "MALLOC_ARENA_MAX" in advice["action"] and advice["releases_bytes"] is None, advice
    assert "MALLOC_TRIM_THRESHOLD_" not in advice["action"], advice
    kept = sum(a["stranded_bytes"] for a in arenas(told["tops"], "glibc-thread"))

    def after(**env):
        return resident(harness.run([harness.PROGRAMS / "retain", "tops", "exit"], env=env))[1]
    assert after() - after(MALLOC_ARENA_MAX="1") > kept // 2
    assert after() - after(MALLOC_TRIM_THRESHOLD_="131072") < kept // 10


def test_never_in_a_log_that_has_wrapped(tmp_path):
    """The blocks of those heaps, and the big one that raised the threshold, are no longer told of: the heaps' shape is, and that nobody
    cut their tops."""
    resident(harness.run([harness.PROGRAMS / "retain", "tops", "exit"], logs=tmp_path, env={"TIDEMARK_SIZE": "512K"}))
    report = harness.answer("report", harness.only_log(tmp_path))
    assert report["coverage"]["evicted"] > 60000
    threads = arenas(report, "glibc-thread")
    assert len(threads) == 4 and {a["consequence"] for a in threads} == {"never"}, threads
    assert report["verdict"]["class"] == "retention" and "malloc_trim does not" in report["verdict"]["consequence"]


def check_emptied(program, directory):
    """Bytes that are resident of the empty arena."""
    for action in ("exit", "collect"):
        (directory / action).mkdir(parents=True)
        done = harness.run([harness.PYTHON, program, action], logs=directory / action,
                           env={"TIDEMARK_PYTHON": "arenas", "PYTHONHASHSEED": "0"})
        assert done.returncode == 0, done.stderr
    told = arenas(harness.answer("report", harness.only_log(directory / "exit")), "pymalloc")
    empty = [a for a in told if a["live_blocks"] == 0]
    assert [a["consequence"] for a in empty] == ["never"]
    assert empty[0]["reserve_bytes"] == empty[0]["resident_bytes"] > 0 and empty[0]["stranded_bytes"] == 0
    assert {a["consequence"] for a in told if a["live_blocks"] and a["stranded_bytes"] >= 16 << 10} <= {
        "only when its blocks die"}
    assert int(done.stdout) < 256 << 10, "the empty arena went"
    return empty[0]["resident_bytes"]


def test_never_of_pymalloc(tmp_path):
    """One arena without an object in it stays, whatever is collected."""
    (tmp_path / "emptied.py").write_text("""
import gc, os, sys
def rss():
    with open("/proc/self/smaps_rollup") as f:
        return int(f.read().split("Rss:")[1].split()[0]) * 1024
x = [bytes(100) for _ in range(200000)]
y = [bytes(200) for _ in range(100000)]
del y, x
rss()
before = rss()
if sys.argv[1] == "collect":
    gc.collect()
    gc.collect()
os.write(1, b"%d" % (before - rss()))
os._exit(0)
""")
    # which arena stays is chance: one that was hardly carved shows little, so another run is asked then
    assert any(check_emptied(tmp_path / "emptied.py", tmp_path / str(attempt)) > 256 << 10 for attempt in range(6))
