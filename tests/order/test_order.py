"""Events of all threads in one order that could have been: an address is never allocated twice, nor freed when it is not live."""
from hammering import assert_in_order, hammer

import harness


def test_hammer(tmp_path):
    """P59: no address is allocated while it is live, in the order that the log tells."""
    assert_in_order(*hammer(tmp_path, 5_000_000, "256M"))


def test_it_would_be_noticed(tmp_path):
    coverage, _ = hammer(tmp_path, 5_000_000, "256M", shim=harness.PROGRAMS / "tidemark_wrong.so")
    dropped = sum(coverage["lost_by_reason"][reason] for reason in ("no_space", "reentrant"))
    assert coverage["lost"] == 0
    assert coverage["double_allocations"] + coverage["unmatched_frees"] > dropped
