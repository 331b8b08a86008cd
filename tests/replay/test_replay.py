"""tidemark replay: as-is meets what was recorded; other settings do what they are known to do; nonsense harms nobody."""
import json
import pathlib
import random
import shutil

import pytest

import harness

SHAPES = harness.PROGRAMS / "replay_shapes"
JSON = """
import json
kept = []
for i in range(400):
    doc = json.loads(json.dumps([{"id": n, "name": "item %d" % n, "price": n * 1.5} for n in range(200)]))
    kept.append(doc[::20])
bulk = [{"a": i} for i in range(200000)]
del bulk[::2]
"""


def record(directory, argv, stdin=None, **env):
    done = harness.run(argv, directory, env, **({"stdin": stdin} if stdin else {}))
    assert done.returncode == 0, done.stderr.decode()
    return max(harness.logs_in(directory), key=lambda p: p.stat().st_mtime)


def replay(log, *options, codes=(0,)):
    return json.loads(harness.tidemark("replay", "--format", "json", *options, log, codes=codes))


def setting(doc, name):
    return next(s for s in doc["settings"] if s["name"] == name)


def sql(directory):
    script = directory / "insert.sql"
    with open(script, "w") as f:
        f.write("CREATE TABLE t(id INTEGER PRIMARY KEY, note TEXT);\nBEGIN;\n")
        for n in range(60000):
            f.write(f"INSERT INTO t VALUES({n}, '{'x' * (n * 7919 % 300)}');\n")
        f.write("COMMIT; SELECT count(*) FROM t;\n")
    return script


def c_file(directory):
    source = directory / "big.c"
    rng = random.Random(5)
    lines = "".join(f"r = (r ^ b) * {rng.randrange(99)} + v[{rng.randrange(9)}];\n" for _ in range(40))
    source.write_text("".join(f"unsigned f{n}(unsigned a, unsigned b, unsigned *v) {{ unsigned r = a;\n{lines}return r; }}\n"
                              for n in range(150)))
    return source


def programs(directory):
    compiler = harness.run(["gcc", "-print-prog-name=cc1"]).stdout.decode().strip()
    yield "C, mixed sizes and lives", [harness.PROGRAMS / "bench_loop", "lives", 1500000], None
    yield "C, eight threads", [SHAPES, "arenas"], None
    yield "C, big blocks partly written", [SHAPES, "partial"], None
    yield "C, mappings of its own", [SHAPES, "mapped"], None
    yield "C, realloc", [SHAPES, "growing"], None
    yield "Python", [harness.PYTHON, "-c", JSON], None
    yield "cc1", [compiler, "-quiet", "-O1", c_file(directory), "-o", "/dev/null"], None
    if shutil.which("sqlite3"):
        yield "sqlite3", ["sqlite3", ":memory:"], sql(directory)


@pytest.mark.parametrize("number", range(8))
def test_as_is_meets_the_recorded_curve(tmp_path, number):
    found = list(programs(tmp_path))
    if number >= len(found):
        pytest.skip("sqlite3 is not installed")
    name, argv, stdin = found[number]
    (tmp_path / "logs").mkdir()
    log = record(tmp_path / "logs", argv, stdin=open(stdin, "rb") if stdin else None)
    doc = replay(log, "--allocator", "as-is")
    as_is, recorded = setting(doc, "as-is"), doc["recorded"]
    assert recorded["censuses"], name
    assert abs(as_is["end_rss_bytes"] - recorded["end_rss_bytes"]) <= recorded["end_rss_bytes"] / 20, name
    assert abs(as_is["peak_rss_bytes"] - recorded["peak_rss_bytes"]) <= recorded["peak_rss_bytes"] / 20, name
    assert as_is["failed_allocations"] == 0
    assert doc["error"]["at_end_bytes"] == abs(as_is["end_rss_bytes"] - recorded["end_rss_bytes"])


def test_one_arena_cures_arenas_by_thread(tmp_path):
    doc = replay(record(tmp_path, [SHAPES, "arenas"]), "--allocator", "arena-max-1", "--arena-max", "2")
    as_is, one, two = (setting(doc, n) for n in ("as-is", "arena-max-1", "arena-max"))
    assert as_is["end_rss_bytes"] > 120 << 20  # eight times 16 MiB
    assert one["end_rss_bytes"] < as_is["end_rss_bytes"] / 3
    assert one["end_rss_bytes"] < two["end_rss_bytes"] < as_is["end_rss_bytes"]
    assert one["certain"] == "yes" and one["end_change_bytes"] == one["end_rss_bytes"] - as_is["end_rss_bytes"]


def test_every_setting_runs_or_says_why(tmp_path):
    doc = replay(record(tmp_path, [SHAPES, "growing"]))
    names = [s["name"] for s in doc["settings"]]
    assert names[0] == "as-is" and {"arena-max-1", "arena-max-2", "mmap-64k", "trim-64k", "trim", "no-tcache", "jemalloc",
                                    "tcmalloc", "mimalloc"} <= set(names)
    for s in doc["settings"]:
        if s["why_not"] is None:
            assert s["peak_rss_bytes"] >= s["end_rss_bytes"] > 0 and s["timeline"], s["name"]
        else:
            assert "is not installed" in s["why_not"]
    text = harness.tidemark("replay", "--allocator", "trim", harness.only_log(tmp_path))
    assert "as-is" in text and "error bar" in text and "OVER TIME" in text


def test_trimming_gives_back_what_arenas_keep(tmp_path):
    doc = replay(record(tmp_path, [SHAPES, "arenas"]), "--allocator", "trim", "--trim-every", "1")
    assert setting(doc, "trim")["peak_rss_bytes"] < setting(doc, "as-is")["peak_rss_bytes"] / 2


def test_python_objects_as_blocks(tmp_path):
    log = record(tmp_path, [harness.PYTHON, "-c", JSON], TIDEMARK_PYTHON="objects")
    doc = replay(log, "--allocator", "python-malloc")
    python = setting(doc, "python-malloc")
    assert python["why_not"] is None and python["failed_allocations"] == 0
    bare = harness.run([harness.PYTHON, "-c", JSON + "\nprint(open('/proc/self/smaps_rollup').read())"],
                       env={"PYTHONMALLOC": "malloc"}).stdout.decode()
    real = int(next(line for line in bare.splitlines() if line.startswith("Rss:")).split()[1]) << 10
    assert abs(python["end_rss_bytes"] - real) < real / 8


def test_a_window_that_begins_late_starts_from_what_lived_then(tmp_path):
    log = record(tmp_path, [harness.PROGRAMS / "bench_loop", "lives", 1500000], TIDEMARK_SIZE="4M")
    doc = replay(log, "--allocator", "as-is")
    assert doc["coverage"]["evicted"] > 100000
    assert any("blocks that lived then" in note for note in doc["notes"])
    end, real = setting(doc, "as-is")["end_rss_bytes"], doc["recorded"]["end_rss_bytes"]
    assert abs(end - real) < real / 10


def test_bad_usage(tmp_path):
    log = record(tmp_path, ["/bin/true"])
    for options in (["--allocator", "nonsense"], ["--arena-max", "0"], ["--timeout", "x"], []):
        argv = ["replay", *options] + ([log] if options else [])
        done = harness.run([harness.TIDEMARK, *argv])
        assert done.returncode == 2 and done.stderr.count(b"\n") == 1, options
    assert harness.run([harness.TIDEMARK, "replay", "/nonexistent.tide"]).returncode == 4


def test_a_run_that_takes_too_long_is_stopped(tmp_path):
    log = record(tmp_path, [harness.PROGRAMS / "bench_threads", "bare", 4000000])
    done = harness.run([harness.TIDEMARK, "replay", "--timeout", "1", "--allocator", "as-is", log], timeout=60)
    assert done.returncode in (0, 4)
    assert done.returncode == 0 or b"took more than 1 s" in done.stderr


def test_damaged_logs_harm_nobody(tmp_path):
    log = record(tmp_path, [SHAPES, "growing"], TIDEMARK_SIZE="512K")
    whole = bytearray(log.read_bytes())
    rng = random.Random(3)
    for n in range(12):
        damaged = bytearray(whole)
        for _ in range(1 + n * 4):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path = pathlib.Path(tmp_path) / "damaged.tide"
        path.write_bytes(damaged)
        done = harness.run([harness.TIDEMARK, "replay", "--format", "json", "--allocator", "trim", path])
        assert done.returncode in (0, 3, 4), done.stderr.decode()
