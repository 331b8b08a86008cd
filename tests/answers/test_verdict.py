"""Twenty-two programs that are big for a known reason: what the report calls it."""
import concurrent.futures
import re
import subprocess
import time

import pytest

import harness

C = {
    "leak_small": "leak", "leak_rare": "leak", "leak_list": "leak", "leak_vector": "leak",
    "cache_small": "cache_or_steady", "cache_slow": "cache_or_steady", "load_once": "cache_or_steady",
    "steady": "cache_or_steady",
    "fragments": "retention", "peak": "retention", "thread_arenas": "retention",
    "thread_tops": "retention",
    "map_more": "growth_outside_heap", "deep_stacks": "growth_outside_heap", "map_file": "growth_outside_heap",
}

# Requests come spread over five seconds: censuses, which tell of pool blocks, come by time.
SERVE = """
import mmap, os, time
def serve():
    return sum(len(x) for x in [[str(i) * 2, {"a": i, "b": [i]}] for i in range(300)])
def requests(count):
    start = time.monotonic()
    for i in range(count):
        serve()
        yield i
        if i % (count // 15) == 0:
            time.sleep(max(0, start + 5 * i / count - time.monotonic()))
"""
PYTHON = {
    "objects_kept": ("leak", """
kept = []
for i in requests(1500):
    kept.append([{"request": n, "user": str(n)} for n in range(60)])
"""),
    "buffers_kept": ("leak", """
kept = []
for i in requests(1500):
    kept.append(bytes(20000))
"""),
    "bounded_cache": ("cache_or_steady", """
cache = {}
for i in requests(2500):
    cache[i % 200] = [{"request": n, "user": str(n)} for n in range(100)]
"""),
    "nothing_kept": ("cache_or_steady", """
for i in requests(2500):
    pass
"""),
    "few_kept": ("retention", """
class Session:
    def __init__(self, n):
        self.name = "session %d" % n
many = [Session(i) for i in range(250000)]
kept = many[::5000]
del many
for i in requests(300):
    pass
"""),
    "strings_kept": ("retention", """
many = [bytes(600 + n % 1000) for n in range(40000)]
kept = many[::200]
del many
for i in requests(300):
    pass
"""),
    "maps_kept": ("growth_outside_heap", """
kept = []
for i in requests(60):
    m = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    m.write(b"x" * (1 << 20))
    kept.append(m)
"""),
}
ENV = {"TIDEMARK_CENSUS": "50ms"}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """{case: (expected, verdict)}"""
    data = tmp_path_factory.mktemp("data") / "data"
    data.write_bytes(b"x" * (48 << 20))
    logs = {name: tmp_path_factory.mktemp(name) for name in [*C, *PYTHON]}

    def verdict(name):
        if name in C:
            argv, expected = [harness.PROGRAMS / "cases", name] + ([data] if name == "map_file" else []), C[name]
        else:
            expected, body = PYTHON[name]
            argv = [harness.PYTHON, logs[name] / "case.py"]
            argv[1].write_text(SERVE + body + "os._exit(0)\n")
        done = harness.run(argv, logs=logs[name], env=ENV)
        assert done.returncode == 0, done.stderr
        return expected, harness.answer("report", harness.only_log(logs[name]))["verdict"]

    with concurrent.futures.ThreadPoolExecutor(len(PYTHON)) as pool:
        return dict(zip(logs, pool.map(verdict, logs)))


def test_all_but_one_are_right(verdicts):
    assert len(verdicts) >= 20
    wrong = {name: (expected, v["class"], v["state"]) for name, (expected, v) in verdicts.items() if v["class"] != expected}
    assert len(wrong) <= 1, wrong


def test_retention_is_never_called_a_leak(verdicts):
    for name, (expected, verdict) in verdicts.items():
        assert expected != "retention" or verdict["class"] != "leak", (name, verdict)


def test_retention_comes_with_advice_that_releases(verdicts):
    for name in ("fragments", "peak", "few_kept"):
        advice = verdicts[name][1]["advice"]
        assert advice and max(a["releases_bytes"] for a in advice) > verdicts[name][1]["bytes"] // 3, (name, verdicts[name])


def test_states_add_up(verdicts):
    for name, (_, v) in verdicts.items():
        rss, *parts = [float(n) for n in re.findall(r"([0-9.]+) MiB", v["state"])]
        assert len(parts) == 5 and abs(rss - sum(parts)) < 0.6, (name, v["state"])


def test_every_verdict_says_all_three(verdicts):
    for name, (_, v) in verdicts.items():
        assert v["state"] and v["trigger"] and v["consequence"], name


LEAK = """\
import time
def serve():
    return sum(len(str(i) * 2) for i in range(300))
kept = []
def remember():
    kept.append(["kept %d" % n for n in range(100)])  # the line
while True:
    serve()
    remember()
    time.sleep(0.001)
"""
CENSUSES = 8


def test_a_leak_of_small_objects_names_its_line(tmp_path):
    """In the default mode no event tells of them: that they grow is seen from one census to the next."""
    (tmp_path / "leak.py").write_text(LEAK)
    logs = tmp_path / "logs"
    logs.mkdir()
    program = subprocess.Popen([harness.PYTHON, tmp_path / "leak.py"], env=harness.environment(logs, TIDEMARK_CENSUS="1ms"))
    try:
        end = time.monotonic() + 60
        taken = 0
        while taken < CENSUSES and time.monotonic() < end:
            time.sleep(0.5)
            taken = sum(row["rss_bytes"] is not None for log in harness.logs_in(logs)
                        for row in harness.answer("timeline", log)["timeline"])
        assert taken >= CENSUSES
    finally:
        program.kill()
        program.wait()
    report = harness.answer("report", harness.only_log(logs))
    line = 1 + LEAK[:LEAK.index("# the line")].count("\n")
    assert report["verdict"]["class"] == "leak", report["verdict"]
    assert f"leak.py:{line}" in report["verdict"]["trigger"], report["verdict"]
    assert report["suspects"][0]["place"].endswith(f"leak.py:{line}"), report["suspects"][:3]
    assert report["places"][0]["place"].endswith(f"leak.py:{line}"), report["places"][:3]
