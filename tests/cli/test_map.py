"""arenas: the map of each arena says what its numbers say."""
import harness

CELLS = set("#+- ")


def test_map_of_a_sieve(tmp_path):
    """Blocks that were freed between blocks that stay: nothing of the heap is all dead but where whole stretches went."""
    assert harness.run([harness.PROGRAMS / "retain", "sieve", "exit"], logs=tmp_path).returncode == 0
    log = harness.only_log(tmp_path)
    arenas = harness.answer("arenas", log)["arenas"]
    main = next(a for a in arenas if a["kind"] == "glibc-main")
    assert 1 <= len(main["map"]) <= 64 and set(main["map"]) <= CELLS
    assert main["live_bytes"] < main["stranded_bytes"] and main["map"].count("+") > main["map"].count("#")
    text = harness.tidemark("arenas", log)
    assert f"|{main['map']}|" in text and "MAP  by address" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_maps_of_pools(tmp_path):
    code = "x = [object() for i in range(300000)]; y = x[::5000]; del x; import os; os._exit(0)"
    assert harness.run([harness.PYTHON, "-c", code], logs=tmp_path).returncode == 0
    arenas = [a for a in harness.answer("arenas", harness.only_log(tmp_path))["arenas"] if a["kind"] == "pymalloc"]
    for a in arenas:
        assert set(a["map"]) <= CELLS and ("#" in a["map"] or "+" in a["map"]) == (a["live_bytes"] > 0), a
        assert a["map"].strip() == "" if a["resident_bytes"] == 0 else a["map"].strip() != "", a
