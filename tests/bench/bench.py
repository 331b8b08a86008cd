#!/usr/bin/env python3
"""Paired benchmark of the shim and the decoder; tools/bench calls this. tests/bench/README.md says how it measures.

Every program runs bare, under tidemark and under each peer that is installed, in turn. Results are medians and quartiles of
ratios (or differences) within a round; an absolute time never leaves this program.
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import decode
import instructions
import measure
import peers
import servers
import table
import workloads


def in_turn(work, rounds, budget, variants, directory):
    """The workload bare and under each variant; the Turn, and what their logs say by variant."""
    facts = {}

    def action(variant):
        argv, env = variant.command(work, directory) if variant else (work.argv, work.env)

        def go():
            took = measure.run(argv, env, directory, work.stdin)
            if variant and variant.name.startswith("tidemark") and variant.name not in facts:
                facts[variant.name] = peers.log_facts(directory)
            measure.clean(directory)
            return took
        return go
    turn = measure.Turn(rounds, budget)
    turn.go(action(None), {v.name: action(v) for v in variants})
    return turn, facts


def compare(work, rounds, budget, picked, directory):
    """The workload under every variant picked; the entry of the results."""
    variants, skipped = picked
    whole, facts = in_turn(work, rounds, budget, [v for v in variants if not v.slow], directory)
    small_job = work.shrunk()
    small, small_facts = in_turn(small_job, min(rounds, 5), budget, [v for v in variants if v.slow or v.fixed], directory)
    skipped = {**skipped, **whole.failed, **small.failed}
    events = (facts.get("tidemark") or {}).get("events")
    few = (small_facts.get("tidemark") or {}).get("events")
    entry = {"title": work.title, "events": events, "small_events": few, "tools": {}, "skipped": skipped}
    for v in variants:
        pairs = (small if v.slow else whole).pairs.get(v.name)
        if not pairs or v.name in skipped:
            continue
        row = figures(pairs, work, v, facts.get(v.name), few if v.slow else events)
        row["small_input"] = v.slow
        if v.fixed and events and few and same_events(work, v):
            row["ns_per_event_later"] = later(pairs, small.pairs.get(v.name), events - few)
        entry["tools"][v.name] = row
    return entry


def same_events(work, variant):
    return variant.sees_python or "pymalloc" not in work.sorts


def later(whole, small, events):
    """Added ns an event between the small and the whole input: what it costs once it has started. None when not known."""
    if not small:
        return None
    added = [measure.spread([t.cpu - b.cpu for b, t in pairs])["median"] for pairs in (whole, small)]
    return (added[0] - added[1]) * 1e9 / events


def figures(pairs, work, variant, facts, events):
    row = {"cpu_ratio": measure.spread([t.cpu / b.cpu for b, t in pairs]),
           "rss_added_kib": measure.spread([t.rss - b.rss for b, t in pairs])}
    if work.threads > 1:
        row["throughput_kept"] = measure.spread([b.wall / t.wall for b, t in pairs])
    if events and same_events(work, variant):
        row["ns_per_event"] = measure.spread([(t.cpu - b.cpu) * 1e9 / events for b, t in pairs])
    if facts:
        row["events"] = facts["events"]
        row["bytes_per_event"] = facts["bytes_per_event"]
    return row


def machine(args):
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "-C", measure.ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {"cpu": model.group(1) if model else "unknown", "cores": len(os.sched_getaffinity(0)),
            "commit": commit.stdout.strip() or "unknown", "date": datetime.date.today().isoformat(),
            "command": "tools/bench --quick" if args.quick else "tools/bench",
            "jemalloc_has_profiler": peers.jemalloc_profiles()}


def both(kept, now):
    """Figures of two runs in one file bear the names of both."""
    return now if not kept or now in kept.split(", ") else f"{kept}, {now}"


def together(kept, ran):
    """What a file of results held, and what was run now in its place."""
    results = {**kept, **ran}
    for section in ("workloads", "servers"):
        if section in kept or section in ran:
            results[section] = {**kept.get(section, {}), **ran.get(section, {})}
    before = kept.get("machine", {})
    results["machine"] = dict(ran["machine"], **{name: both(before.get(name), ran["machine"][name]) for name in ("commit", "command")})
    return results


def jobs(args, directory, scratch):
    """(section, key, title, reason it cannot run or None, function that gives the entry), in the order they run."""
    scale, budget, rounds = args.scale, args.budget, args.rounds
    names = args.tools.split(",") if args.tools else None
    samples = peers.shim_samples(scratch)

    def picked(work):
        return peers.chosen(work, names, samples)
    for w in workloads.all_of(directory, scale):
        if w.extra and args.quick and not args.only:
            continue
        yield "workloads", w.key, w.title, w.missing(), lambda w=w: compare(w, rounds, budget, picked(w), scratch)
    for s in servers.all_of(scale):
        if args.quick and not names:
            s.without = {**servers.too_slow(), **s.without}
        yield "servers", s.key, s.title, s.missing(), lambda s=s: servers.compare(s, 2 if args.quick else 5, 4 * budget, picked(s), scratch)
    if not args.quick or args.only:
        yield "instructions", "instructions", "instructions an event", instructions.missing(), lambda: instructions.measure_all(directory, scratch)
    yield "startup", "startup", "start-up of true and python3 -c pass", None, lambda: decode.measure_startup(scratch, 3 * rounds, 2 * budget)
    yield "decode", "decode", "reading a log", None, lambda: decode.measure_decode(scratch, args.decode_millions, 2 if args.quick else 3)


def go(args, results, save):
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as name:
        directory, scratch = pathlib.Path(name), pathlib.Path(name) / "run"
        scratch.mkdir()
        for section, key, title, missing, action in jobs(args, directory, scratch):
            if args.only and not re.search(args.only, key):
                continue
            print(f"bench: {title} ...", file=sys.stderr, flush=True)
            began = time.monotonic()
            try:
                entry = {"title": title, "missing": missing} if missing else action()
            except measure.Failed as e:
                entry = {"title": title, "missing": f"it {e}"}
            if section in ("workloads", "servers"):
                results.setdefault(section, {})[key] = entry
            elif "missing" not in entry:
                results[section] = entry
            save()
            measure.clean(scratch)
            print(f"bench: {title}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="tools/bench")
    parser.add_argument("--quick", action="store_true", help="small programs, 3 rounds; not those that no target is of, nor servers under slow peers")
    parser.add_argument("--only", metavar="REGEX", help="only what has a matching key; --list shows the keys")
    parser.add_argument("--tools", metavar="NAMES", help="only these variants, with commas (tidemark,heaptrack)")
    parser.add_argument("--list", action="store_true", help="keys of programs and variants, and which are missing here")
    parser.add_argument("--rounds", type=int, help="rounds (3, or 9 without --quick); a peer that is slow gets as many as fit in 0.5 s (8 s), at least one")
    parser.add_argument("--json", metavar="FILE", help="results; what FILE holds already of other keys is kept")
    parser.add_argument("--readme", metavar="FILE", help="run nothing: write the tables of README.md and tests/bench/README.md from these results")
    args = parser.parse_args()
    args.rounds = args.rounds or (3 if args.quick else 9)
    args.scale = 1 if args.quick else 3
    args.budget = 0.5 if args.quick else 8.0
    args.decode_millions = 8 if args.quick else 25
    return args


def show_list():
    with tempfile.TemporaryDirectory() as name:
        for item in [*workloads.all_of(pathlib.Path(name), 1), *servers.all_of(1)]:
            print(f"{item.key:12} {item.title}{' (missing: ' + item.missing() + ')' if item.missing() else ''}")
    print("instructions instructions of the shim an event, by what they do\nstartup      start-up of true and python3 -c pass\ndecode       reading a log\n")
    for v in peers.VARIANTS:
        print(f"{v.name:18} {v.title}{' (missing: ' + v.missing() + ')' if v.missing() else ''}")


def main():
    args = options()
    if args.list:
        show_list()
        return
    if args.readme:
        table.write_readme(measure.ROOT, json.loads(pathlib.Path(args.readme).read_text()))
        return
    kept = json.loads(pathlib.Path(args.json).read_text()) if args.json and pathlib.Path(args.json).exists() else {}
    ran = {"machine": machine(args)}
    go(args, ran, lambda: args.json and pathlib.Path(args.json).write_text(json.dumps(together(kept, ran), indent=1) + "\n"))
    print(table.text(ran))


if __name__ == "__main__":
    main()
