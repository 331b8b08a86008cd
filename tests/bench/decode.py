"""How fast logs are read: events a second of a whole report, on one core and on two, and what memory that takes; and start-up."""
import os
import shutil

import measure
import peers
import workloads


# key, title, arguments for a million events, environment: logs that compress well, as usual, and hardly
LOGS = [("bignum", "bignum factoriser", ["bench_factor"], 2.5, {}),
        ("cubes", "C, recursive, depth 14", ["bench_cubes"], 12, {}),
        ("mixed", "mixed sizes, 4096 slots", ["bench_loop", "mixed"], 1_000_000, {}),
        ("json_malloc", "Python, JSON, PYTHONMALLOC=malloc", [workloads.PYTHON, workloads.PROGRAMS / "json_loop.py"], 8, {"PYTHONMALLOC": "malloc"})]


def job(key, argv, amount, env):
    return workloads.Workload(key, key, [workloads.BUILT / argv[0], *argv[1:], max(1, round(amount))], env=env)


def record(work, directory):
    argv, settings = peers.VARIANTS[0].command(work, directory)
    measure.run(argv, {**settings, "TIDEMARK_SIZE": "1G"}, directory)
    return next(measure.pathlib.Path(directory).glob("*.tide"))


def rate(events, argv, directory, rounds):
    """Million events a second of wall time and of CPU time, and peak MiB."""
    runs = [measure.run(argv, {}, directory) for _ in range(rounds)]
    return {"mevents_per_second": measure.spread([events / r.wall / 1e6 for r in runs]),
            "mevents_per_cpu_second": measure.spread([events / r.cpu / 1e6 for r in runs]),
            "peak_rss_mib": max(r.rss for r in runs) / 1024}


def pinned(cores, *argv):
    return ["taskset", "-c", ",".join(str(c) for c in sorted(os.sched_getaffinity(0))[:cores]), *argv]


def measure_log(work, directory, rounds):
    log = record(work, directory)
    facts = peers.log_facts(directory)
    one, two = (rate(facts["events"], pinned(n, measure.TIDEMARK, "report", log), directory, rounds) for n in (1, 2))
    measure.clean(directory)
    return {"events": facts["events"], "log_mib": facts["bytes_per_event"] * facts["events"] / 2**20, "one_core": one, "two_cores": two}


def measure_heaptrack(work, events, directory, rounds):
    """The same events by heaptrack's reader, from what heaptrack has summed up while it recorded."""
    measure.run(["heaptrack", "-o", f"{directory}/heaptrack", *work.argv], work.env, directory)
    found = next(measure.pathlib.Path(directory).glob("heaptrack*"))
    took = rate(events, pinned(1, "heaptrack_print", found), directory, rounds)
    measure.clean(directory)
    return took


def measure_decode(directory, millions, rounds):
    """An entry for each log; millions: of events, about."""
    result = {}
    for key, title, argv, amount, env in LOGS:
        work = job(key, argv, amount * millions, env)
        result[key] = {"title": title, **measure_log(work, directory, rounds)}
        if key == "bignum" and shutil.which("heaptrack_print"):
            result[key]["heaptrack_print"] = measure_heaptrack(work, result[key]["events"], directory, max(1, rounds // 2))
    return result


def measure_startup(directory, rounds, budget):
    """Wall milliseconds and KiB of RSS added from start to end of programs that do nothing, as differences within a round."""
    rows = {}
    for key, argv in [("true", ["/bin/true"]), ("python3 -c pass", [workloads.PYTHON, "-c", "pass"])]:
        work = workloads.Workload(key, key, argv, sorts=("python", "pymalloc"))
        variants, skipped = peers.chosen(work, ["tidemark", "tidemark_arenas", "tidemark_objects", "heaptrack", "gperftools", "jemalloc_all"], True)
        turn = measure.Turn(rounds, budget)

        def action(argv, env):
            def go():
                took = measure.run(argv, env, directory)
                measure.clean(directory)
                return took
            return go
        turn.go(action(argv, {}), {v.name: action(*v.command(work, directory)) for v in variants})
        rows[key] = {"tools": {name: {"added_ms": measure.spread([(t.wall - b.wall) * 1e3 for b, t in pairs]),
                                      "rss_added_kib": measure.spread([t.rss - b.rss for b, t in pairs])}
                               for name, pairs in turn.pairs.items()},
                     "skipped": {**skipped, **turn.failed}}
    return rows
