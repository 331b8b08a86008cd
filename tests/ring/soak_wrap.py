"""The long tiers of test_wrap.py (ctest label soak)."""
import os

import harness
import test_wrap


def test_kills(tmp_path):
    test_wrap.kill_often(tmp_path, int(os.environ.get("TIDEMARK_SOAK_KILLS", "20000")))


def test_a_gibibyte_of_events_through_a_mebibyte(tmp_path):
    """2^30 bytes of items (about 2.6 bytes an event, unpacked) through a 1 MiB log, with 100,000 blocks that stay."""
    events = int(os.environ.get("TIDEMARK_SOAK_EVENTS", "420000000"))
    done = harness.run([harness.PROGRAMS / "wrap_sites", 100000, events], logs=tmp_path, env={"TIDEMARK_SIZE": "1M"},
                       timeout=3600)
    assert done.returncode == 0
    log = harness.only_log(tmp_path)
    coverage = test_wrap.wrapped(log)
    assert coverage["uncertain_bytes"] == 0
    blocks, order = test_wrap.check_sites(log, done.stdout)
    assert len(blocks) == 100000 and order == sorted(order)
