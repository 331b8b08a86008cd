"""Servers under load: gunicorn with Flask, and redis-server; requests a second, p99, CPU a request, RSS."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import measure
import peers
import workloads

TICKS = os.sysconf("SC_CLK_TCK")
HELPERS = {"heaptrack_inter", "gzip", "zstd"}  # of peers: not the server


class Server:
    """load: a function of (port) that gives (requests, requests a second, p99 in ms)."""

    def __init__(self, key, title, argv, load, needs, sorts=(), without=None, env=None):
        self.key, self.title, self.argv_of, self.load, self.needs = key, title, argv, load, needs
        self.sorts, self.without, self.env, self.argv = sorts, without or {}, env or {}, None

    def missing(self):
        absent = [n for n in self.needs if not shutil.which(n)]
        return f"not installed: {', '.join(absent)}" if absent else None


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, child):
    for _ in range(600):
        if child.poll() is not None:
            raise measure.Failed("the server ended before it listened")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise measure.Failed("the server does not listen after 30 s")


def tree(pid):
    found = [pid]
    for at in found:
        for listing in pathlib.Path(f"/proc/{at}/task").glob("*/children"):
            try:
                found += [int(c) for c in listing.read_text().split()]
            except OSError:
                pass
    return found[1:]  # without the launcher


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return total / TICKS


def biggest_kib(pids):
    most = 0
    for pid in pids:
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        if re.search(r"^Name:\s+(\S+)", status, re.M).group(1) in HELPERS:
            continue
        rss = re.search(r"^VmRSS:\s+(\d+)", status, re.M)
        most = max(most, int(rss.group(1)) if rss else 0)
    return most


def stop(child, read):
    for pid in tree(child.pid)[:1]:
        os.kill(pid, signal.SIGTERM)
    try:
        child.wait(timeout=20)
    except subprocess.TimeoutExpired:
        for pid in [*tree(child.pid), child.pid]:
            os.kill(pid, signal.SIGKILL)
    measure.finish(child, read, may_fail=True)


def once(server, variant, directory):
    """A dict of figures of one run of the server under the variant (None: bare)."""
    port = free_port()
    server.argv = [str(a) for a in server.argv_of(port)]
    argv, env = variant.command(server, directory) if variant else (server.argv, server.env)
    child, read = measure.start(argv, env, directory)
    try:
        wait_for(port, child)
        server.load(port, True)
        pids = tree(child.pid)
        before = cpu_seconds(pids)
        requests, rate, p99 = server.load(port, False)
        pids = tree(child.pid)
        return {"rate": rate, "p99_ms": p99, "cpu_us": (cpu_seconds(pids) - before) * 1e6 / requests, "rss": biggest_kib(pids)}
    finally:
        stop(child, read)


# A gunicorn worker makes its first whole collection of garbage at some 1,800 requests after the fork, and copies all pages that it
# shares with its parent: tens of ms, with or without us. It has to be over before measuring, however slow the server is.
WARM_REQUESTS = 4000


def wrk(seconds):
    def load(port, warm):
        served = 0
        while warm and served < WARM_REQUESTS:
            served += wrk_once(port, 1)[0]
        return None if warm else wrk_once(port, seconds)

    def wrk_once(port, seconds):
        out = subprocess.run(["wrk", "-t1", "-c4", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}/orders/7"],
                             capture_output=True, text=True).stdout
        total, rate = re.search(r"(\d+) requests in", out), re.search(r"Requests/sec:\s+([\d.]+)", out)
        p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
        if not (total and rate and p99) or "Non-2xx" in out:
            raise measure.Failed("wrk got no answers")
        return int(total.group(1)), float(rate.group(1)), float(p99.group(1)) * {"us": 1e-3, "ms": 1, "s": 1e3}[p99.group(2)]
    return load


def redis_benchmark(requests):
    tests = ["set", "lpush", "hset", "zadd"]

    def load(port, warm):
        n = requests // 10 if warm else requests
        begin = time.monotonic()
        out = subprocess.run(["redis-benchmark", "-p", str(port), "-n", str(n), "-r", "100000", "-P", "4", "-t", ",".join(tests),
                              "--csv"], capture_output=True, text=True).stdout
        seconds = time.monotonic() - begin
        rows = [line.replace('"', "").split(",") for line in out.splitlines()[1:]]
        if len(rows) != len(tests):
            raise measure.Failed("redis-benchmark got no answers")
        return n * len(rows), n * len(rows) / seconds, max(float(r[6]) for r in rows)
    return load


def all_of(scale):
    forks = "records nothing of the workers: it stops at fork without exec"
    def gunicorn(port):
        return ["gunicorn", "-w", "1", "-b", f"127.0.0.1:{port}", "--chdir", workloads.PROGRAMS, "bench_app:app"]

    def redis(port):
        return ["redis-server", "--port", port, "--save", "", "--appendonly", "no", "--daemonize", "no"]
    return [
        Server("gunicorn", "gunicorn + Flask under wrk", gunicorn, wrk(2 * scale), ["gunicorn", "wrk"], sorts=("python", "pymalloc"),
               without={n: forks for n in ("heaptrack", "heaptrack_preload", "gperftools")}),
        Server("redis", "redis-server under redis-benchmark", redis, redis_benchmark(60_000 * scale), ["redis-server", "redis-benchmark"]),
    ]


def too_slow():
    """Variants that serve so little that a run takes most of a minute; with --quick they are left out, and this is said."""
    return dict.fromkeys(("gperftools", "jemalloc_all", "tracemalloc", "heaptrack", "tidemark_objects"), "takes long: not with --quick")


def compare(server, rounds, budget, picked, directory):
    variants, skipped = picked
    skipped = dict(skipped)
    runs, spent, failed = {v.name: [] for v in variants}, {}, {}
    for _ in range(rounds):
        base = once(server, None, directory)
        measure.clean(directory)
        for v in variants:
            ours = v.name.startswith("tidemark")
            if v.name in failed or runs[v.name] and not ours and spent[v.name] * (1 + 1 / len(runs[v.name])) > budget:
                continue
            begin = time.monotonic()
            try:
                runs[v.name].append((base, once(server, v, directory)))
            except measure.Failed as e:
                failed[v.name] = str(e)
            spent[v.name] = spent.get(v.name, 0) + time.monotonic() - begin
            measure.clean(directory)
    tools = {}
    for name, pairs in runs.items():
        if name in failed or not pairs:
            skipped[name] = failed.get(name, "did not run")
            continue
        tools[name] = {key: measure.spread([t[field] / b[field] for b, t in pairs])
                       for key, field in [("rate_kept", "rate"), ("p99_ratio", "p99_ms"), ("cpu_ratio", "cpu_us")]}
        tools[name]["rss_added_kib"] = measure.spread([t["rss"] - b["rss"] for b, t in pairs])
    return {"title": server.title, "tools": tools, "skipped": skipped}
