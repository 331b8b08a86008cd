"""order_hammer under a shim, and what the decoder makes of its log."""
import json

import harness


def hammer(logs, events, size, shim=harness.SHIM, timeout=600):
    """The coverage of the log, and how many events the program caused at least."""
    done = harness.run([harness.PROGRAMS / "order_hammer", 4, events], logs=logs, timeout=timeout,
                       env={"LD_PRELOAD": shim, "TIDEMARK_SIZE": size, "TIDEMARK_STACK": 2,
                            "TIDEMARK_CENSUS": "off"})
    assert done.returncode == 0, done.stderr
    report = harness.tidemark("report", "--format", "json", harness.only_log(logs), timeout=timeout)
    return json.loads(report)["coverage"], int(done.stdout)


def assert_in_order(coverage, caused):
    """Nothing out of order; an event that the shim dropped, and told of, may leave one free or allocation without its other half."""
    dropped = sum(coverage["lost_by_reason"][reason] for reason in ("no_space", "reentrant"))
    assert coverage["evicted"] == 0 and coverage["lost"] == 0
    assert coverage["events"] >= caused * 0.8  # some steps meet an empty slot
    assert coverage["double_allocations"] + coverage["unmatched_frees"] <= dropped < caused / 10_000
    assert coverage["order_anomalies"] == 0
