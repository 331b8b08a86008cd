"""How fast a log is read: events a second of a whole report, on one core and on two, and what memory that takes."""
import os
import shutil

import measure
import peers
import workloads


def record(directory, events, env=None):
    variant = peers.VARIANTS[0]
    work = workloads.Workload("decode", "", [workloads.BUILT / "bench_loop", "mixed", events])
    argv, settings = variant.command(work, directory)
    measure.run(argv, {**settings, "TIDEMARK_SIZE": "1G", **(env or {})}, directory)
    return next(measure.pathlib.Path(directory).glob("*.tide"))


def rate(events, argv, directory, rounds):
    """Million events a second of wall time and of CPU time, and peak MiB."""
    runs = [measure.run(argv, {}, directory) for _ in range(rounds)]
    return {"mevents_per_second": measure.spread([events / r.wall / 1e6 for r in runs]),
            "mevents_per_cpu_second": measure.spread([events / r.cpu / 1e6 for r in runs]),
            "peak_rss_mib": max(r.rss for r in runs) / 1024}


def pinned(cores, *argv):
    return ["taskset", "-c", ",".join(str(c) for c in sorted(os.sched_getaffinity(0))[:cores]), *argv]


def measure_decode(directory, events, rounds):
    log = record(directory, events)
    facts = peers.log_facts(directory)
    result = {"events": facts["events"], "log_mib": facts["bytes_per_event"] * facts["events"] / 2**20,
              "one_core": rate(facts["events"], pinned(1, measure.TIDEMARK, "report", log), directory, rounds),
              "two_cores": rate(facts["events"], pinned(2, measure.TIDEMARK, "report", log), directory, rounds)}
    measure.clean(directory)
    if shutil.which("heaptrack_print"):
        argv = ["heaptrack", "-o", f"{directory}/heaptrack", workloads.BUILT / "bench_loop", "mixed", events]
        measure.run(argv, {}, directory)
        found = next(measure.pathlib.Path(directory).glob("heaptrack*"))
        result["heaptrack_print"] = rate(facts["events"], pinned(1, "heaptrack_print", found), directory, max(1, rounds // 2))
    measure.clean(directory)
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
