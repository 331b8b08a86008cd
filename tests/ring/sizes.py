"""What carrying over takes, in bytes and in time: `python3 tests/ring/sizes.py [--time [WORKLOAD...]]` prints it. What is in bytes is the same
everywhere, and soak_sizes.py holds it; times are for a quiet machine, and are in shim/README.md."""
import collections
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import harness  # noqa: E402

SUPER = struct.Struct("<QIHHQQQQIHHQQQQIIIIQQ")  # up to ring_len
FRAME = struct.Struct("<QQIHHIIQIIIIQQII")  # up to epoch
FRAME_MAGIC = 0x31454D4152465DF3
CARRY, ALIGN = 3, 64


def used(argv, logs=None, **env):
    """CPU seconds, and peak RSS in bytes."""
    read, write = os.pipe()
    with subprocess.Popen([str(a) for a in argv], env=harness.environment(logs, **env), stdout=write, stderr=subprocess.DEVNULL) as child:
        os.close(write)
        with os.fdopen(read) as pipe:
            output = pipe.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, argv
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10, output


def coverage(log):
    return harness.answer("report", log)["coverage"]


def shadow_share():
    """Bytes of memory that each further byte of heap brings with it."""
    points = []
    for blocks in (100_000, 500_000):
        argv = [harness.PROGRAMS / "wrap_sites", blocks, 2 * blocks]
        with tempfile.TemporaryDirectory() as logs:
            plain, shimmed = used(argv)[1], used(argv, logs, TIDEMARK_SIZE="1M")[1]
        points.append((plain, shimmed - plain))
    (heap, extra), (more_heap, more_extra) = points
    return (more_extra - extra) / (more_heap - heap)


Frame = collections.namedtuple("Frame", "at kind segment lap seq header_len stored lane number events_before events")


def frames(data):
    """What looks like a frame of this log; and how many segments its ring has."""
    head = SUPER.unpack_from(data)
    uid, segment_len, ring, ring_len = head[6], head[18], head[19], head[20]
    found = []
    for at in range(ring, ring + ring_len - FRAME.size, ALIGN):
        f = FRAME.unpack_from(data, at)
        if f[0] == FRAME_MAGIC and f[1] == uid:
            found.append(Frame(at, f[3], f[5], f[6], f[7], f[2], f[8], f[10], f[12], f[13], f[14]))
    return found, ring_len // segment_len


def carry_frames(log):
    """(pass, epoch, bytes, is the pass' last) of each CARRY frame."""
    found, segments = frames(pathlib.Path(log).read_bytes())
    for f in found:
        if f.kind == CARRY:
            size = (f.header_len + f.stored + ALIGN - 1) // ALIGN * ALIGN
            yield f.number, (f.lap - 1) * segments + f.segment + 1, size, f.events == 1


def carried(blocks, events, size):
    """Of a log with so many long-lived blocks: its coverage, and bytes on disk for each block that is carried."""
    with tempfile.TemporaryDirectory() as logs:
        used([harness.PROGRAMS / "wrap_sites", blocks, events], logs, TIDEMARK_SIZE=size)
        log = harness.only_log(logs)
        carry = list(carry_frames(log))
        done = max(number for number, _, _, last in carry if last)
        told = coverage(log)
    size = sum(size for number, epoch, size, _ in carry if number <= done < epoch)
    return told, size / told["carried_blocks"]


def longest_pieces():
    """The ten longest calls, in microseconds, of a log that wraps and of one that does not."""
    argv = [harness.PROGRAMS / "longest_call", 100_000, 4_000_000]
    for size in ("4M", "64M"):
        with tempfile.TemporaryDirectory() as logs:
            output = used(argv, logs, TIDEMARK_SIZE=size, TIDEMARK_CENSUS="off")[2]
            yield size, coverage(harness.only_log(logs))["evicted"], [float(line) for line in output.split()]


LOOP = harness.PROGRAMS / "bench_loop"
WORKLOADS = {  # and a size of the log in which it wraps, and one in which it does not
    "malloc/free loop, depth 5": ([LOOP, "tight", 40_000_000], "256K", "64M"),
    "mixed sizes, 4096 slots": ([LOOP, "mixed", 30_000_000], "64M", "1G"),
    "mixed sizes, small log": ([LOOP, "mixed", 30_000_000], "1M", "1G"),
    "mixed sizes, long lives": ([LOOP, "lives", 20_000_000], "64M", "1G"),
    "long lives, small log": ([LOOP, "lives", 20_000_000], "4M", "1G"),
    "bignum factoriser": ([harness.PROGRAMS / "bench_factor", 60], "256K", "64M"),
    "C, recursive, depth 14": ([harness.PROGRAMS / "bench_cubes", 300], "4M", "256M"),
}
ROUNDS = 3


def cpu_and_evicted(argv, size):
    with tempfile.TemporaryDirectory() as logs:
        cpu = used(argv, logs, TIDEMARK_SIZE=size, TIDEMARK_CENSUS="off")[0]
        return cpu, harness.answer("info", harness.only_log(logs))["coverage"]["evicted"]


def eviction(argv, small, large):
    """(CPU of a log that wraps over one that holds all, ns each evicted event costs, events evicted), medians of runs in turn."""
    ratios, costs = [], []
    for _ in range(ROUNDS):
        (wrapped, evicted), (whole, none) = cpu_and_evicted(argv, small), cpu_and_evicted(argv, large)
        assert evicted > 0 == none, argv
        ratios.append(wrapped / whole)
        costs.append((wrapped - whole) * 1e9 / evicted)
    return statistics.median(ratios), statistics.median(costs), evicted


def main():
    if sys.argv[1:2] == ["--time"]:
        only = sys.argv[2:]
        for size, evicted, longest in longest_pieces() if not only else ():
            print(f"longest calls, {size}, {evicted} events evicted: {', '.join(f'{us:.0f}' for us in longest)} us of CPU")
        for name, (argv, small, large) in WORKLOADS.items():
            if only and name not in only:
                continue
            ratio, cost, evicted = eviction(argv, small, large)
            print(f"{name}: {small} over {large} {ratio:.3f} x CPU, {cost:.1f} ns an evicted event ({evicted} of them)", flush=True)
        return
    print(f"shadow: {shadow_share():.4f} of touched heap (1/16 is 0.0625)")
    told, each = carried(100_000, 20_000_000, "4M")
    print(f"survivors: {each:.2f} B a live block ({told['carried_blocks']} carried)")
    told, each = carried(1_000_000, 60_000_000, "64M")
    print(f"1,000,000 live blocks in 64 MiB: {each:.2f} B each; {json.dumps(told)}")


if __name__ == "__main__":
    main()
