"""The targets that tidemark set itself, each with what results.json has for it; the table of tests/bench/README.md is made of this."""


def tool(results, section, key, name):
    return results.get(section, {}).get(key, {}).get("tools", {}).get(name, {})


def median(row, field):
    value = row.get(field)
    return value["median"] if isinstance(value, dict) else value


def program(key, field, name="tidemark"):
    return lambda r: median(tool(r, "workloads", key, name), field)


def server(key, field, name="tidemark"):
    return lambda r: median(tool(r, "servers", key, name), field)


def startup(key, field, scale=1.0):
    def get(r):
        value = median(tool(r, "startup", key, "tidemark"), field)
        return None if value is None else value * scale
    return get


def against_heaptrack(key):
    def get(r):
        ours, theirs = (median(tool(r, "workloads", key, n), "cpu_ratio") for n in ("tidemark", "heaptrack"))
        return ours / theirs if ours and theirs else None
    return get


def decode(key, cores="one_core"):
    return lambda r: r.get("decode", {}).get(key, {}).get(cores, {}).get("mevents_per_second", {}).get("median")


def two_cores(key):
    def get(r):
        one, two = decode(key)(r), decode(key, "two_cores")(r)
        return two / one if one and two else None
    return get


# (what, unit, limit, True when less is better, how to get it)
TARGETS = [
    *[(f"{title}: slow-down, as a share of heaptrack's", "", 0.5, True, against_heaptrack(key))
      for key, title in [("bignum", "bignum"), ("cubes", "depth-14 C"), ("cc1", "cc1 -O0"), ("json_malloc", "Python JSON, malloc"),
                         ("json", "Python JSON, pymalloc")]],
    ("bignum: added an event", "ns", 22, True, program("bignum", "ns_per_event")),
    ("depth-14 C: added an event", "ns", 42, True, program("cubes", "ns_per_event")),
    ("Python JSON, malloc: added an event", "ns", 32, True, program("json_malloc", "ns_per_event")),
    ("cc1 -O0: added an event", "ns", 60, True, program("cc1", "ns_per_event")),
    ("bignum: slow-down", "x", 2.4, True, program("bignum", "cpu_ratio")),
    ("depth-14 C: slow-down", "x", 1.7, True, program("cubes", "cpu_ratio")),
    ("Python JSON, malloc: slow-down", "x", 1.5, True, program("json_malloc", "cpu_ratio")),
    ("cc1 -O0: slow-down", "x", 1.08, True, program("cc1", "cpu_ratio")),
    ("sqlite3: slow-down", "x", 1.03, True, program("sqlite", "cpu_ratio")),
    ("2 threads, independent, a server's: throughput kept", "", 0.5, False, program("threads", "throughput_kept")),
    ("2 threads, producer/consumer: throughput kept", "", 0.4, False, program("handoff", "throughput_kept")),
    ("gunicorn + Flask, sites: requests/s kept", "", 0.9, False, server("gunicorn", "rate_kept")),
    ("sampling 512 KiB, bignum: slow-down", "x", 1.02, True, program("bignum", "cpu_ratio", "tidemark_512k")),
    ("sampling 512 KiB, bignum: added an event", "ns", 1, True, program("bignum", "ns_per_event", "tidemark_512k")),
    ("bignum: log", "B/event", 0.40, True, program("bignum", "bytes_per_event")),
    ("depth-14 C: log", "B/event", 1.4, True, program("cubes", "bytes_per_event")),
    ("Python JSON, malloc: log", "B/event", 0.45, True, program("json_malloc", "bytes_per_event")),
    ("cc1 -O0: log", "B/event", 2.1, True, program("cc1", "bytes_per_event")),
    ("start-up of true", "ms", 0.2, True, startup("true", "added_ms")),
    ("start-up of python3 -c pass", "ms", 5, True, startup("python3 -c pass", "added_ms")),
    ("RSS added to python3 -c pass", "MiB", 8, True, startup("python3 -c pass", "rss_added_kib", 1 / 1024)),
    ("bignum: decode and full report, 1 core", "M events/s", 25, False, decode("bignum")),
    ("bignum: decode, 2 cores over 1", "x", 1.7, False, two_cores("bignum")),
]


def rows(results):
    for what, unit, limit, less, get in TARGETS:
        value = get(results)
        bound = f"{'at most' if less else 'at least'} {limit:g} {unit}".strip()
        if value is None:
            yield what, bound, "not measured", ""
        else:
            yield what, bound, f"{value:.3g}", "yes" if (value <= limit if less else value >= limit) else "no"
