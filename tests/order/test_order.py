"""Events of all threads in one order that could have been: an address is never allocated twice, nor freed when it is not live."""
from hammering import assert_in_order, hammer

import harness


def test_hammer(tmp_path):
    """P59: no address is allocated while it is live, in the order that the log tells."""
    assert_in_order(*hammer(tmp_path, 5_000_000, "256M"))


def mistakes(logs):
    logs.mkdir()
    coverage, _ = hammer(logs, 5_000_000, "256M", shim=harness.PROGRAMS / "tidemark_wrong.so")
    dropped = sum(coverage["lost_by_reason"][reason] for reason in ("no_space", "reentrant"))
    assert coverage["lost"] == 0
    return coverage["double_allocations"] + coverage["unmatched_frees"] - dropped


def test_it_would_be_noticed(tmp_path):
    """Where others take the processors, threads run one after the other, and the wrong order is not always provoked."""
    assert any(mistakes(tmp_path / str(attempt)) > 0 for attempt in range(3))
