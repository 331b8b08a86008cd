"""What a forked child frees of its parent's is neither lost nor an error."""
import harness

BLOCKS = 3000


def test_frees_of_inherited_blocks(tmp_path):
    done = harness.run([harness.PROGRAMS / "fork_inherits", BLOCKS], logs=tmp_path)
    assert done.returncode == 0, done.stderr
    reports = [harness.answer("report", log) for log in harness.logs_in(tmp_path)]
    child = [r for r in reports if r["process"]["parent_pid"]]
    parent = [r for r in reports if not r["process"]["parent_pid"]]
    assert len(child) == 1 and len(parent) == 1
    assert child[0]["coverage"]["inherited_frees"] == BLOCKS
    assert child[0]["coverage"]["unmatched_frees"] == 0
    assert parent[0]["coverage"]["inherited_frees"] == 0
    assert parent[0]["coverage"]["unmatched_frees"] == 0
