"""The same as test_order.py, ten times as long."""
from hammering import assert_in_order, hammer


def test_hammer(tmp_path):
    assert_in_order(*hammer(tmp_path, 60_000_000, "4G", timeout=3600))
