"""What carrying over takes in bytes (ctest label soak): the limits that shim/README.md states. sizes.py measures, and prints times too."""
import sizes


def test_shadow_is_a_sixteenth_of_the_heap():
    assert 0 < sizes.shadow_share() <= 1 / 16


def test_survivors_take_few_bytes():
    told, each = sizes.carried(100_000, 20_000_000, "4M")
    assert told["carried_blocks"] > 50_000 and told["carried_sample_bytes"] == told["forgotten_blocks"] == 0
    assert each <= 12


def test_a_million_live_blocks_fit_the_usual_log():
    told, each = sizes.carried(1_000_000, 60_000_000, "64M")
    assert told["carried_blocks"] > 500_000 and told["evicted"] > 20_000_000
    assert told["carried_sample_bytes"] == told["forgotten_blocks"] == told["lost"] == 0
    assert each <= 12
