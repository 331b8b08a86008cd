"""Where the cost of an event goes: instructions of the shim, by what they do, counted by valgrind. Unlike time they are the same on a busy machine."""
import re
import shutil
import subprocess

import measure
import peers
import workloads

# what, and the files or functions that are it; the first that matches
PARTS = [("unwinding, native", r"shim/unwind/"),
         ("Python frames", r"shim/python/"),
         ("compression", r"^\?\?\?:|xxhash|checksum"),
         ("census", r"shim/(census|residency)\.c"),
         ("hooks", r"shim/(hooks_|sample|real)"),
         ("recording, encoding", r"shim/|format/"),
         ("other", r"")]
KEYS = ["bignum", "cubes", "loop5", "threads", "handoff", "cc1", "sqlite", "json_malloc"]


def missing():
    return None if shutil.which("valgrind") else "valgrind is not there"


def part_of(name):
    return next(part for part, pattern in PARTS if re.search(pattern, name))


def costs(profile):
    """(object, file, function, instructions) of each line of a callgrind file that is no call: what callgrind_annotate prints leaves out the
    object of whatever is inlined from another file. Names are written once, then go by number (Callgrind Format Specification)."""
    names, now, calls = {}, {}, False
    for line in open(profile, encoding="utf-8", errors="replace"):
        named = re.match(r"(c?)(ob|fl|fi|fe|fn)=\((\d+)\)(?: (.*))?", line)
        if named:
            called, what, number, name = named.groups()
            space = what if what in ("ob", "fn") else "file"
            if name:
                names[space, number] = name
            if not called:
                now[space] = names[space, number]
        elif line.startswith("calls="):
            calls = True  # the next line is the cost of the call, which is counted where it arises
        elif line[0] in "0123456789+-*":
            fields = line.split()
            if not calls and len(fields) > 1:
                yield now["ob"], now["file"], now["fn"], int(fields[1])
            calls = False


def counts(profile):
    """Instructions by part, of the functions in the shim."""
    total = dict.fromkeys((part for part, _ in PARTS), 0)
    for of, file, function, n in costs(profile):
        if of.endswith("/libtidemark.so"):
            total[part_of(f"{file}:{function}")] += n
    return total


def of_program(work, directory):
    """Instructions an event by part, and events, of a small input, start and end included."""
    profile = directory / "callgrind.out"
    env = {**measure.environment(), **work.env, "LD_PRELOAD": str(peers.SHIM), "TIDEMARK_DIR": str(directory)}
    with open(work.small_stdin or "/dev/null", "rb") as source:
        subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", *work.small], env=env, cwd=directory, stdin=source,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    events = peers.log_facts(directory)["events"]
    by_part = {part: n / events for part, n in counts(profile).items()}
    measure.clean(directory)
    return {"title": work.title, "events": events, "parts": by_part, "all": sum(by_part.values())}


def measure_all(directory, scratch):
    """An entry for each program. The compiler's smallest input is all start-up: it gets the next one."""
    all_of = {w.key: w for w in workloads.all_of(directory, 3)}
    all_of["cc1"].small = [a.replace("few.c", "medium.c") for a in all_of["cc1"].small]
    return {key: of_program(all_of[key], scratch) for key in KEYS}
