"""What a workload is run under: nothing, tidemark in its modes, and the peers that Debian has. Each says when it cannot."""
import json
import shutil
import subprocess

import measure

SHIM = measure.BUILD / "libtidemark.so"
LIBRARIES = "/usr/lib/x86_64-linux-gnu"


class Variant:
    """name: key in the results. full: every event with its stack. sees_python: pymalloc's blocks, not only its arenas.
    slow: microseconds an event, so it gets a workload's small input. fixed: takes seconds to start, so it gets both inputs, and
    what an event costs without the start is told too."""

    def __init__(self, name, title, env=None, prefix=None, needs=None, package=None, full=True, sees_python=False,
                 only=None, slow=False, fixed=False, note=None):
        self.name, self.title, self.env, self.prefix = name, title, env or {}, prefix or []
        self.needs, self.package, self.full, self.sees_python = needs, package, full, sees_python
        self.only, self.slow, self.fixed, self.note = only, slow, fixed, note

    def missing(self):
        """None, or why it cannot run here."""
        if self.needs and not shutil.which(self.needs) and not measure.pathlib.Path(self.needs).exists():
            return f"Debian package {self.package} is not installed"
        return None

    def command(self, workload, directory):
        fill = {"dir": str(directory)}
        prefix = [p.format(**fill) for p in self.prefix]
        return [*prefix, *workload.argv], {**workload.env, **{k: v.format(**fill) for k, v in self.env.items()}}


def ours(name, title, **more):
    env = {"LD_PRELOAD": str(SHIM), "TIDEMARK_DIR": "{dir}", **more.pop("env", {})}
    return Variant(name, title, env=env, needs=str(SHIM), package="(tidemark itself: build it)", **more)


VARIANTS = [
    ours("tidemark", "tidemark", env={"TIDEMARK_PYTHON": "sites"}, sees_python=True, fixed=True),
    ours("tidemark_arenas", "tidemark, Python arenas", env={"TIDEMARK_PYTHON": "arenas"}, only="pymalloc"),
    ours("tidemark_objects", "tidemark, Python objects", env={"TIDEMARK_PYTHON": "objects"}, sees_python=True,
         only="pymalloc"),
    ours("tidemark_512k", "tidemark, sampling 512 KiB", env={"TIDEMARK_PYTHON": "arenas", "TIDEMARK_SAMPLE": "512K"},
         full=False),
    Variant("heaptrack", "heaptrack", prefix=["heaptrack", "-o", "{dir}/heaptrack"], needs="heaptrack",
            package="heaptrack", fixed=True, note="both of its processes, as its log is compressed in the second"),
    Variant("heaptrack_preload", "heaptrack's preload alone",
            env={"LD_PRELOAD": "/usr/lib/heaptrack/libheaptrack_preload.so", "DUMP_HEAPTRACK_OUTPUT": "{dir}/raw"},
            needs="/usr/lib/heaptrack/libheaptrack_preload.so", package="libheaptrack",
            note="its traced process only: a raw stream to a file, nothing compressed"),
    Variant("gperftools", "gperftools' heap profiler",
            env={"LD_PRELOAD": f"{LIBRARIES}/libtcmalloc.so.4", "HEAPPROFILE": "{dir}/gperf"},
            needs=f"{LIBRARIES}/libtcmalloc.so.4", package="libgoogle-perftools4", slow=True,
            note="with its own allocator; keeps sums per stack, no log of events"),
    Variant("jemalloc_all", "jemalloc's profiler, every allocation",
            env={"LD_PRELOAD": f"{LIBRARIES}/libjemalloc.so.2",
                 "MALLOC_CONF": "prof:true,lg_prof_sample:0,prof_final:true,prof_prefix:{dir}/jeprof"},
            needs=f"{LIBRARIES}/libjemalloc.so.2", package="libjemalloc2", slow=True,
            note="with its own allocator; keeps sums per stack, no log of events"),
    Variant("jemalloc_512k", "jemalloc's profiler, sampling 512 KiB",
            env={"LD_PRELOAD": f"{LIBRARIES}/libjemalloc.so.2",
                 "MALLOC_CONF": "prof:true,lg_prof_sample:19,prof_final:true,prof_prefix:{dir}/jeprof"},
            needs=f"{LIBRARIES}/libjemalloc.so.2", package="libjemalloc2", full=False,
            note="with its own allocator"),
    Variant("tracemalloc", "tracemalloc, 25 frames", env={"PYTHONTRACEMALLOC": "25"}, sees_python=True, only="python",
            note="Python frames only, sums, no log of events"),
]


def chosen(workload, names, samples):
    """The variants for this workload, and a reason for each that is left out. samples: as shim_samples said."""
    use, skipped = [], {}
    for v in VARIANTS:
        if names and v.name not in names:
            continue
        if v.only and v.only not in workload.sorts:
            continue
        if v.name == "tidemark_512k" and not samples:
            skipped[v.name] = "this build of the shim does not sample"
        elif v.name in workload.without:
            skipped[v.name] = workload.without[v.name]
        elif v.missing():
            skipped[v.name] = v.missing()
        else:
            use.append(v)
    return use, skipped


def shim_samples(directory):
    """Whether this build of the shim samples when told to."""
    v = next(v for v in VARIANTS if v.name == "tidemark_512k")
    if v.missing():
        return False
    env = {k: t.format(dir=directory) for k, t in v.env.items()}
    subprocess.run(["env", *[f"{k}={t}" for k, t in env.items()], "/bin/ls", "/"], capture_output=True)
    facts = log_facts(directory)
    measure.clean(directory)
    return bool(facts and facts["sampled"])


def jemalloc_profiles():
    """Whether Debian's jemalloc was built with its profiler."""
    library = f"{LIBRARIES}/libjemalloc.so.2"
    if not measure.pathlib.Path(library).exists():
        return False
    done = subprocess.run(["env", f"LD_PRELOAD={library}", "MALLOC_CONF=prof:true", "/bin/true"], capture_output=True, text=True)
    return "prof" not in done.stderr


def log_facts(directory):
    """Of the biggest log there: events recorded, log bytes an event, and whether it was sampled. None without a log."""
    logs = sorted(measure.pathlib.Path(directory).glob("*.tide"))
    facts = []
    for log in logs:
        out = subprocess.run([measure.TIDEMARK, "info", "--format", "json", log], capture_output=True, text=True)
        if out.returncode not in (0, 3):
            continue
        info = json.loads(out.stdout)
        sealed = info.get("frame_events") or 0
        facts.append({"events": info["coverage"]["events"],
                      "bytes_per_event": info["frame_bytes"] / sealed if sealed else None,
                      "sampled": bool(info["coverage"].get("sample_bytes"))})
    return max(facts, key=lambda f: f["events"]) if facts else None
