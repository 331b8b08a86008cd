"""The long tier of test_damage.py (ctest label soak): every byte, every bit, and random damage anywhere."""
import os

import pytest
import test_damage


@pytest.mark.parametrize("name", test_damage.LOGS)
def test_everywhere(tmp_path, name):
    counts = test_damage.bend(tmp_path, name, "every", 1)
    assert counts["told"] > 256 << 10, counts


@pytest.mark.parametrize("name", test_damage.LOGS)
def test_anywhere(tmp_path, name):
    test_damage.bend(tmp_path, name, os.environ.get("TIDEMARK_SOAK_BENDS", "20000"))
