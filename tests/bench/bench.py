#!/usr/bin/env python3
"""Paired benchmark of the shim and the decoder (tools/bench calls this).

Every workload runs bare, under tidemark and, where it is installed, under heaptrack, in turn (A B C A B C ...). What is
compared is user + sys CPU time of the whole process tree; results are medians of ratios within a round, with their spread.
No absolute time leaves this program except ns per event, which is a difference within one round.
"""
import argparse
import glob
import json
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TIDEMARK_BUILD", ROOT / "build/release")).resolve()
SHIM = BUILD / "libtidemark.so"
TIDEMARK = BUILD / "tidemark"
PYTHON = "/usr/bin/python3"
PROGRAMS = ROOT / "tests/bench/programs"


class Workload:
    def __init__(self, name, argv, env=None, unit="program"):
        self.name, self.argv, self.env, self.unit = name, [str(a) for a in argv], env or {}, unit


def big_c_file(path, functions):
    """A C file that makes the compiler allocate: many functions with arithmetic, arrays and switches."""
    rng = random.Random(7)
    with open(path, "w") as f:
        f.write("#include <stdint.h>\n")
        for n in range(functions):
            f.write(f"uint64_t f{n}(uint64_t a, uint64_t b, uint64_t *v) {{\n\tuint64_t r = a;\n")
            for k in range(12):
                op = rng.choice(["+", "-", "^", "*", "|", "&"])
                f.write(f"\tr = (r {op} (b << {rng.randrange(1, 30)})) + v[{rng.randrange(16)}] * {rng.randrange(1, 999)}u;\n")
            f.write("\tswitch (r % 5) {\n")
            for k in range(5):
                f.write(f"\tcase {k}: for (int i = 0; i < {k + 3}; i++) v[i] ^= r >> i; break;\n")
            f.write(f"\t}}\n\treturn r{' + f%d(b, r, v)' % (n - 1) if n and n % 3 else ''};\n}}\n")


def cc1():
    out = subprocess.run(["gcc", "-print-prog-name=cc1"], capture_output=True, text=True)
    return out.stdout.strip()


def workloads(tmp, quick):
    scale = 1 if quick else 4
    loop = BUILD / "programs/bench_loop"
    source = tmp / "big.c"
    big_c_file(source, 600 * scale)
    found = [
        Workload("C, malloc/free, depth 5", [loop, "tight", 4_000_000 * scale]),
        Workload("C, malloc/free, depth 40", [loop, "deep", 4_000_000 * scale]),
        Workload("C, mixed sizes and lives", [loop, "mixed", 4_000_000 * scale]),
        Workload("cc1 -O0, large C file", [cc1(), "-quiet", "-O0", source, "-o", tmp / "big.s"]),
        Workload("cc1 -O2, large C file", [cc1(), "-quiet", "-O2", source, "-o", tmp / "big.s"]),
        Workload("Python JSON, PYTHONMALLOC=malloc", [PYTHON, PROGRAMS / "json_loop.py", 500 * scale],
                 {"PYTHONMALLOC": "malloc"}),
        Workload("Python JSON, arenas", [PYTHON, PROGRAMS / "json_loop.py", 1000 * scale], {"TIDEMARK_PYTHON": "arenas"}),
        Workload("Python JSON, objects", [PYTHON, PROGRAMS / "json_loop.py", 1000 * scale], {"TIDEMARK_PYTHON": "objects"}),
    ]
    return [w for w in found if shutil.which(w.argv[0])]


def cpu_of(argv, env, cwd):
    """User + sys seconds of argv and everything it waited for, wall seconds, peak RSS in KiB of the biggest of them."""
    begin = time.monotonic()
    with open(os.devnull, "wb") as null:
        child = subprocess.Popen(argv, env={**os.environ, **env}, cwd=cwd, stdout=null, stderr=null)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = status
    if status != 0:
        raise SystemExit(f"bench: {argv[0]} ended with status {status}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - begin, usage.ru_maxrss


def variants(with_heaptrack):
    yield "bare", lambda w, tmp: (w.argv, w.env)
    yield "tidemark", lambda w, tmp: (w.argv, {"LD_PRELOAD": str(SHIM), "TIDEMARK_DIR": str(tmp), **w.env})
    if with_heaptrack:
        yield "heaptrack", lambda w, tmp: (["heaptrack", "-o", str(tmp / "ht"), *w.argv], w.env)


def events_and_bytes(log):
    """Events recorded, and bytes of the sealed frames that are in the window with the events they hold."""
    out = subprocess.run([TIDEMARK, "info", "--format", "json", log], capture_output=True, text=True)
    info = json.loads(out.stdout)
    return info


def clean(tmp):
    for path in glob.glob(str(tmp / "*.tide")) + glob.glob(str(tmp / "ht*")):
        os.unlink(path)


def measure(workload, rounds, with_heaptrack, tmp):
    runs = {}
    info = None
    for _ in range(rounds):
        for name, command in variants(with_heaptrack):
            argv, env = command(workload, tmp)
            runs.setdefault(name, []).append(cpu_of(argv, env, tmp))
            if name == "tidemark":
                log = max(glob.glob(str(tmp / "*.tide")), key=os.path.getmtime)
                info = info or events_and_bytes(log)
            clean(tmp)
    events = info["events"]["recorded"]
    result = {"workload": workload.name, "events": events, "rounds": rounds,
              "bytes_per_event": info["events"].get("bytes_per_event")}
    for name in runs:
        if name == "bare":
            continue
        ratios = [t[0] / b[0] for t, b in zip(runs[name], runs["bare"])]
        added = [(t[0] - b[0]) * 1e9 / events for t, b in zip(runs[name], runs["bare"])]
        rss = [t[2] - b[2] for t, b in zip(runs[name], runs["bare"])]
        result[name] = {"ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios),
                        "ns_per_event": statistics.median(added), "rss_added_kib": statistics.median(rss)}
    return result


def startup(rounds, tmp):
    """Added wall milliseconds from start to end of tiny programs, as medians of differences within a round."""
    rows = []
    for name, argv in [("true", ["/bin/true"]), ("python3 -c pass", [PYTHON, "-c", "pass"])]:
        added, rss = [], []
        for _ in range(rounds):
            bare = cpu_of(argv, {}, tmp)
            ours = cpu_of(argv, {"LD_PRELOAD": str(SHIM), "TIDEMARK_DIR": str(tmp)}, tmp)
            clean(tmp)
            added.append((ours[1] - bare[1]) * 1e3)
            rss.append(ours[2] - bare[2])
        rows.append({"program": name, "added_ms": statistics.median(added), "rss_added_kib": statistics.median(rss)})
    return rows


def decode(tmp, events):
    """Events a second of a full report on a log of the mixed loop."""
    argv = [str(BUILD / "programs/bench_loop"), "mixed", str(events)]
    cpu_of(argv, {"LD_PRELOAD": str(SHIM), "TIDEMARK_DIR": str(tmp), "TIDEMARK_SIZE": "512M"}, tmp)
    log = glob.glob(str(tmp / "*.tide"))[0]
    seconds, _, rss = cpu_of([str(TIDEMARK), "report", log], {}, tmp)
    clean(tmp)
    return {"events": events, "million_events_per_cpu_second": events / seconds / 1e6, "peak_rss_kib": rss}


def table(results):
    lines = ["| workload | events | tidemark: ratio (spread) | ns/event | bytes/event | heaptrack: ratio | ns/event |",
             "| - | - | - | - | - | - | - |"]
    for r in results:
        t, h = r["tidemark"], r.get("heaptrack")
        size = "" if r["bytes_per_event"] is None else f"{r['bytes_per_event']:.2f}"
        peer = f"{h['ratio']:.2f} | {h['ns_per_event']:.0f}" if h else "not installed |"
        lines.append(f"| {r['workload']} | {r['events'] / 1e6:.1f} M | {t['ratio']:.2f} ({t['ratio_min']:.2f}-{t['ratio_max']:.2f})"
                     f" | {t['ns_per_event']:.0f} | {size} | {peer} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small workloads, few rounds")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", help="regular expression on workload names")
    parser.add_argument("--no-peers", action="store_true", help="without heaptrack")
    parser.add_argument("--json", help="write results to this file")
    args = parser.parse_args()
    rounds = args.rounds or (3 if args.quick else 7)
    peers = not args.no_peers and shutil.which("heaptrack") is not None
    with tempfile.TemporaryDirectory() as name:
        tmp = pathlib.Path(name)
        chosen = [w for w in workloads(tmp, args.quick) if not args.only or re.search(args.only, w.name)]
        results = []
        for w in chosen:
            print(f"bench: {w.name} ...", file=sys.stderr)
            results.append(measure(w, rounds, peers, tmp))
        begin = startup(4 * rounds, tmp)
        speed = decode(tmp, 4_000_000 if args.quick else 20_000_000)
    print(table(results))
    for row in begin:
        print(f"\nstart-up of {row['program']}: {row['added_ms']:+.2f} ms, RSS {row['rss_added_kib']:+.0f} KiB")
    print(f"\ndecode + full report: {speed['million_events_per_cpu_second']:.1f} M events per CPU second,"
          f" {speed['peak_rss_kib'] / 1024:.0f} MiB for {speed['events'] / 1e6:.0f} M events")
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"workloads": results, "startup": begin, "decode": speed}, f, indent=1)


if __name__ == "__main__":
    main()
