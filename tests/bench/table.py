"""Results as tables in Markdown: all of them for the terminal, and the short ones between two marks in README.md."""
import pathlib

import peers
import targets

BEGIN, END = "<!-- figures: written by tools/bench --readme, not by hand -->", "<!-- end of figures -->"
FEW = 100_000  # events of a program, below which its start and end outweigh them
TITLES = {v.name: v.title for v in peers.VARIANTS}


def number(x, digits=2):
    if x is None:
        return ""
    return f"{x:.0f}" if abs(x) >= 100 else f"{x:.{1 if abs(x) >= 10 else digits}f}"


def with_spread(s, digits=2):
    """Median (lower quartile-upper quartile)."""
    if s is None:
        return ""
    if s["n"] < 2:
        return f"{number(s['median'], digits)} (1 run)"
    return f"{number(s['median'], digits)} ({number(s['q1'], digits)}-{number(s['q3'], digits)})"


def median(row, key, digits=2):
    return number(row[key]["median"], digits) if row.get(key) else ""


def lines_of(header, rows):
    return ["| " + " | ".join(header) + " |", "|" + " - |" * len(header)] + ["| " + " | ".join(r) + " |" for r in rows] + [""]


def program_table(entry):
    rows = []
    for name, t in entry["tools"].items():
        rows.append([TITLES[name] + ("*" if t["small_input"] else ""), with_spread(t["cpu_ratio"]), median(t, "ns_per_event", 1), number(t.get("ns_per_event_later"), 1), number(t.get("bytes_per_event")),
                     number(t["rss_added_kib"]["median"] / 1024, 1), with_spread(t.get("throughput_kept"))])
    wide = any(r[-1] for r in rows)
    header = ["under", "CPU, times bare", "ns/event", "without start", "log B/event", "RSS added, MiB"] + (["throughput kept"] if wide else [])
    return lines_of(header, [r if wide else r[:-1] for r in rows])


def server_table(entry):
    rows = [[TITLES[n], with_spread(t["rate_kept"]), with_spread(t["p99_ratio"]), with_spread(t["cpu_ratio"]),
             number(t["rss_added_kib"]["median"] / 1024, 1)] for n, t in entry["tools"].items()]
    return lines_of(["under", "requests/s kept", "p99, times bare", "CPU a request, times bare", "RSS added, MiB"], rows)


def startup_table(startup):
    rows = []
    for program, entry in startup.items():
        for name, t in entry["tools"].items():
            rows.append([f"`{program}`", TITLES[name], with_spread(t["added_ms"]), number(t["rss_added_kib"]["median"] / 1024, 1)])
    return lines_of(["start-up of", "under", "ms added", "RSS added, MiB"], rows)


def decode_table(decode):
    rows = []
    for entry in decode.values():
        log = f"{entry['title']}, {entry['events'] / 1e6:.0f} M events"
        for key, by in [("one_core", "`tidemark report`, 1 core"), ("two_cores", "`tidemark report`, 2 cores"),
                        ("heaptrack_print", "`heaptrack_print`, 1 core")]:
            if key in entry:
                rows.append([log, by, with_spread(entry[key]["mevents_per_second"], 1), f"{entry[key]['peak_rss_mib']:.0f}"])
    return lines_of(["log of", "read by", "M events/s", "peak MiB"], rows)


def instructions_table(programs):
    parts = list(next(iter(programs.values()))["parts"])
    rows = [[p["title"], f"{p['events'] / 1e3:.0f}", number(p["all"], 0), *(number(p["parts"][part], 0) for part in parts)] for p in programs.values()]
    return lines_of(["instructions of the shim an event", "1000 events", "all", *parts], rows)


def text(results):
    """Every table, for the terminal."""
    m, lines = results["machine"], []
    lines.append(f"{m['command']}: {m['cpu']}, {m['cores']} cores, commit {m['commit']}, {m['date']}; medians (quartiles) of ratios within a round")
    if not m["jemalloc_has_profiler"]:
        lines.append("jemalloc: absent, or built without its profiler")
    for section, draw in [("workloads", program_table), ("servers", server_table)]:
        for entry in results.get(section, {}).values():
            events = f", {entry['events'] / 1e6:.1f} M events" if entry.get("events") else ""
            lines += ["", f"## {entry['title']}{events}", ""]
            if "missing" in entry:
                lines.append(f"not measured: {entry['missing']}")
                continue
            lines += draw(entry)
            if any(t.get("small_input") for t in entry["tools"].values()):
                lines.append("\\* on a fortieth of the work, against bare runs of its own")
            lines += [f"- {TITLES[n]}: {why}" for n, why in entry["skipped"].items()]
    for section, draw in [("instructions", instructions_table), ("startup", startup_table), ("decode", decode_table)]:
        if section in results:
            lines += ["", *draw(results[section])]
    return "\n".join(lines)


def an_event(ns, events):
    """What an event costs, as far as it can be told: of few events it is what a process costs; below 0 there is noise only."""
    if ns is None or ns < 0:
        return "-"
    return number(ns, 1) if events and events >= FEW else "(few events)"


def short_rows(results):
    for entry in results.get("workloads", {}).values():
        if "missing" in entry or "tidemark" not in entry["tools"]:
            continue
        tools = entry["tools"]
        ours = tools["tidemark"]
        peers_ = [median(tools[n], "cpu_ratio") if n in tools else "-" for n in ("heaptrack", "gperftools", "jemalloc_all", "tracemalloc")]
        ns, theirs = ours.get("ns_per_event", {}).get("median"), tools.get("heaptrack", {}).get("ns_per_event_later")
        yield [entry["title"], with_spread(ours["cpu_ratio"]), an_event(ns, entry["events"]), number(ours.get("bytes_per_event")), peers_[0],
               an_event(theirs, entry["events"]), *peers_[1:]]


def readme(results):
    """What stands between the marks."""
    m = results["machine"]
    lines = [f"CPU time of the traced program (user + sys, log writing and compression included), as a multiple of the same program alone,"
             f" measured in turn; medians, quartiles in brackets. {m['cpu']}, {m['cores']} cores, Debian 12. Peers: Debian's packages, in the"
             " same runs; only heaptrack, like tidemark, keeps the order of events. All of them were"
             f" printed by `{m['command']}` at commit {m['commit']}; method and all figures: [tests/bench](tests/bench/README.md).", ""]
    lines += lines_of(["program", "tidemark", "ns/event", "log B/event", "heaptrack", "its ns/event*", "gperftools", "jemalloc, every event", "tracemalloc"],
                      list(short_rows(results)))
    lines[-1:] = ["", "\\* without its start and end, which take most of a second and weigh on short programs' ratios", ""]
    rows = []
    for entry in results.get("servers", {}).values():
        for name, t in entry.get("tools", {}).items():
            rows.append([entry["title"], TITLES[name], with_spread(t["rate_kept"]), with_spread(t["p99_ratio"])])
    if rows:
        lines += lines_of(["server", "under", "requests/s kept", "p99, times bare"], rows)
    if "startup" in results:
        lines += startup_table({k: {"tools": {n: t for n, t in e["tools"].items() if n in ("tidemark", "heaptrack")}}
                                for k, e in results["startup"].items()})
    if "decode" in results:
        lines += decode_table(results["decode"])
    return "\n".join(lines).rstrip("\n")


def against_targets(results):
    m = results["machine"]
    return "\n".join([f"`{m['command']}`, {m['cpu']}, {m['cores']} cores, commit {m['commit']}, {m['date']}.", "",
                      *lines_of(["what", "target", "measured", "met"], targets.rows(results)),
                      *(instructions_table(results["instructions"]) if "instructions" in results else [])]).rstrip("\n")


def put_between(path, text):
    path = pathlib.Path(path)
    page = path.read_text()
    if BEGIN not in page or END not in page:
        raise SystemExit(f"bench: {path} has no marks for the figures")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def write_readme(root, results):
    put_between(root / "README.md", readme(results))
    put_between(root / "tests/bench/README.md", against_targets(results))
