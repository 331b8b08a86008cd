"""Blocks that hardly shrink are packed in another way (shim/ring.c); what is packed so is read like all else."""
import harness
import pytest

PROGRAMS = harness.BUILD / "programs"


@pytest.mark.parametrize("argv", [["bench_loop", "mixed", "300000"], ["bench_threads", "server", "300000"]], ids=lambda a: a[0])
def test_blocks_that_hardly_shrink_are_read(tmp_path, argv):
    done = harness.run([PROGRAMS / argv[0], *argv[1:]], logs=tmp_path, env={"TIDEMARK_SIZE": "64M"})
    assert done.returncode == 0, done.stderr
    log = harness.only_log(tmp_path)
    assert harness.tidemark("verify", log).startswith("whole:")
    info = harness.answer("info", log)
    assert info["frames"] > 16 and info["coverage"]["events"] >= 290_000
