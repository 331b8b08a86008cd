"""What a program holds is told as of when it began to end, not as of what its static destructors left."""
import pytest

import harness


@pytest.mark.parametrize("how", ["return", "exit", "thread"])
def test_static_objects_are_still_there(how, tmp_path):
    done = harness.run([harness.PROGRAMS / "static_owner", how], logs=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"", b"")
    log = harness.only_log(tmp_path)
    rows = harness.answer("leaks", log, "--top", "1000")["leaks"]
    kept = [r for r in rows if any(f["function"] and f["function"].startswith("keep") for f in r["stack"]) and r["bytes"] >= 1_000_000]
    assert [(r["blocks"], r["bytes"]) for r in kept] == [(1000, 1_000_000)]
    report = harness.answer("report", log)
    assert report["ledger"]["unexplained_bytes"] == 0
    live = next(r for r in report["ledger"]["rows"] if r["kind"] == "live")
    assert live["bytes"] >= 1_000_000


def test_what_destructors_free_is_counted(tmp_path):
    harness.run([harness.PROGRAMS / "static_owner", "return"], logs=tmp_path)
    coverage = harness.answer("report", harness.only_log(tmp_path))["totals"]
    assert coverage["frees"] >= 1000


def test_no_frame_stands_before_main(tmp_path):
    harness.run([harness.PROGRAMS / "static_owner", "return"], logs=tmp_path)
    rows = harness.answer("leaks", harness.only_log(tmp_path), "--top", "1000")["leaks"]
    stack = next(r for r in rows if r["bytes"] >= 1_000_000)["stack"]
    assert not any(f["module"] and "libtidemark" in f["module"] for f in stack)
    main = [f["function"] for f in stack].index("main")
    assert stack[main + 1]["function"].startswith("__libc_start_call_main")


def test_what_recorded_nothing_takes_no_census(tmp_path):
    assert harness.run(["/bin/true"], logs=tmp_path).returncode == 0
    log = harness.only_log(tmp_path)
    report = harness.answer("report", log)
    assert (report["process"]["end"], report["totals"]["allocs"], report["ledger"]) == ("exit", 0, None)
    assert harness.run([harness.TIDEMARK, "verify", log]).returncode == 0
