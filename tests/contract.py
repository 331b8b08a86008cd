"""The JSON of `tidemark report`, as promised to scripts: every field, its type, and what must add up. More fields may come."""

Int, Text, Flag = int, str, bool


class Maybe:
    """The type, or null."""

    def __init__(self, kind):
        self.kind = kind


class OneOf:
    def __init__(self, *values):
        self.values = values


FRAME = {"function": Maybe(Text), "file": Maybe(Text), "line": Maybe(Int), "module": Maybe(Text), "offset": Maybe(Int),
         "language": OneOf("native", "python"), "inlined": Flag}
ROWS = ["live", "allocator_overhead", "pinned_waste", "trimmable", "pymalloc_live", "pymalloc_free_in_pools", "pymalloc_free_pools",
        "mmap_direct", "thread_stacks", "file_private", "file_shared", "tidemark"]
REPORT = {
    "tidemark": {"version": Text, "format": Text},
    "process": {"pid": Int, "ppid": Int, "name": Text, "build_id": Maybe(Text), "boot_id": Text, "start_ns": Int, "end_ns": Int,
                "end": OneOf("exit", "exec", "killed", "running"), "allocator": Text, "python": Maybe(Text)},
    "coverage": {"events": Int, "in_window": Int, "evicted": Int, "lost": Int, "lost_by_reason": dict, "unmatched_frees": Int,
                 "truncated_stacks": Int, "sample_bytes": Int, "window_start_ns": Maybe(Int), "uncertain_bytes": Int},
    "verdict": {"class": OneOf("leak", "retention", "growth_outside_heap", "cache_or_steady", "unknown"), "bytes": Maybe(Int),
                "state": Maybe(Text), "trigger": Maybe(Text), "consequence": Maybe(Text),
                "advice": [{"action": Text, "releases_bytes": Maybe(Int), "evidence": Maybe(Text)}]},
    "ledger": Maybe({"at_ns": Int, "rss_bytes": Int, "rows": [{"kind": OneOf(*ROWS), "bytes": Int}], "unexplained_bytes": Int}),
    "peak": {"at_ns": Int, "live_bytes": Int, "rss_bytes": Maybe(Int)},
    "totals": {"allocs": Int, "frees": Int, "alloc_bytes": Int, "live_bytes": Int, "live_blocks": Int, "counted_bytes": Int,
               "counted_blocks": Int, "inherited_bytes": Int, "inherited_blocks": Int},
    "leaks": [{"bytes": Int, "blocks": Int, "score": Maybe((Int, float)), "uncertain_bytes": Int, "first_ns": Int, "last_ns": Int,
               "stack": [FRAME]}],
    "pins": [{"releases_bytes": Int, "pins_bytes": Int, "blocks": Int, "bytes": Int, "types": [{"name": Text, "blocks": Int}],
              "arenas": Int, "stack": [FRAME]}],
    "arenas": [{"kind": OneOf("pymalloc", "glibc-main", "glibc-thread", "glibc-mmap", "mmap", "other"), "base": Int,
                "reserved_bytes": Int, "resident_bytes": Int, "live_bytes": Int, "live_blocks": Int, "stranded_bytes": Int}],
    "timeline": [{"at_ns": Int, "rss_bytes": Maybe(Int), "live_bytes": Maybe(Int), "reserved_bytes": Maybe(Int)}],
}


def wrong_with(value, kind, path="$"):
    """What does not fit, a list of texts."""
    if isinstance(kind, Maybe):
        return [] if value is None else wrong_with(value, kind.kind, path)
    if isinstance(kind, OneOf):
        return [] if value in kind.values else [f"{path}: {value!r} is none of {kind.values}"]
    if isinstance(kind, list):
        if not isinstance(value, list):
            return [f"{path}: not a list"]
        return [w for i, v in enumerate(value) for w in wrong_with(v, kind[0], f"{path}[{i}]")]
    if isinstance(kind, dict):
        if not isinstance(value, dict):
            return [f"{path}: not an object"]
        missing = [f"{path}.{key}: missing" for key in kind if key not in value]
        return missing + [w for key in kind if key in value for w in wrong_with(value[key], kind[key], f"{path}.{key}")]
    is_flag = isinstance(value, bool)
    return [] if isinstance(value, kind) and is_flag == (kind is bool) else [f"{path}: {value!r} is not {kind}"]


def check_report(doc):
    """Asserts shape and sums of one process' report."""
    assert wrong_with(doc, REPORT) == []
    coverage, ledger = doc["coverage"], doc["ledger"]
    assert coverage["events"] == coverage["in_window"] + coverage["evicted"] + coverage["lost"]
    assert all(isinstance(n, int) for n in coverage["lost_by_reason"].values())
    if ledger:
        kinds = [row["kind"] for row in ledger["rows"]]
        assert len(set(kinds)) == len(kinds)
        assert sum(row["bytes"] for row in ledger["rows"]) + ledger["unexplained_bytes"] == ledger["rss_bytes"]
    totals = doc["totals"]  # blocks that a census counted have no event
    assert totals["live_blocks"] - totals["counted_blocks"] <= totals["allocs"] + totals["inherited_blocks"]
    assert totals["counted_blocks"] == 0 or coverage["python_sites_ns"] is not None
