"""What every pytest file needs: where the build is, a program under the shim, the decoder's answers.

A test imports it with `import harness`; conftest.py beside it puts this folder on the path.
"""
import json
import os
import pathlib
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("TIDEMARK_BUILD", ROOT / "build" / "release")).resolve()
SHIM = BUILD / "libtidemark.so"
TIDEMARK = BUILD / "tidemark"
PROGRAMS = BUILD / "programs"
PYTHON = "/usr/bin/python3"  # Debian's; others are found by tests that want them


def environment(logs=None, **more):
    """The environment for a program; under the shim, logging to `logs`, if given. None removes a variable."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMARK_") and k != "LD_PRELOAD"}
    if logs is not None:
        env.update(LD_PRELOAD=str(SHIM), TIDEMARK_DIR=str(logs))
    for name, value in more.items():
        env.pop(name, None)
        if value is not None:
            env[name] = str(value)
    return env


def run(argv, logs=None, env=None, timeout=120, **options):
    """subprocess.run with output captured as bytes; `env` holds additions to the environment."""
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([str(a) for a in argv], env=environment(logs, **(env or {})), timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def logs_in(directory):
    return sorted(pathlib.Path(directory).glob("*.tide"))


def only_log(directory):
    found = logs_in(directory)
    assert len(found) == 1, found
    return found[0]


def tidemark(*args, codes=(0,), timeout=120):
    """The decoder's standard output as text; its exit code must be one of `codes`."""
    done = run([TIDEMARK, *args], timeout=timeout)
    assert done.returncode in codes, (args, done.returncode, done.stderr.decode(errors="replace"))
    return done.stdout.decode()


def answer(command, *paths, codes=(0,)):
    """`tidemark COMMAND --format json PATHS`, parsed."""
    return json.loads(tidemark(command, "--format", "json", *paths, codes=codes))


def live_blocks(log, codes=(0, 3), inherited=False):
    """Every block that the log says is live: a list of (address, size); of a forked child, what it inherited only if asked for."""
    done = run([BUILD / "tools" / "liveset", *(["--heir"] if inherited else []), log])
    assert done.returncode in codes, (log, done.returncode, done.stderr.decode())
    pairs = (line.split() for line in done.stdout.decode().splitlines())
    return [(int(address, 16), int(size)) for address, size in pairs]


class Oracle:
    """The account that tests/programs/oracle_loop keeps; the layout is told there."""

    def __init__(self, path):
        words = memoryview(pathlib.Path(path).read_bytes()).cast("Q")
        assert words[0] == 0x314C4341524F, "oracle_loop has not begun"
        self.threads, self.slots, self.long_lived, self.ready, self.done = words[1:6]
        accounts = words[8:8 + 8 * self.threads]
        self.allocs, self.frees, self.alloc_bytes = (sum(accounts[i::8]) for i in range(3))
        self.live, self.in_flight = set(), []
        slots = words[8 + 8 * self.threads:]
        for i in range(self.threads * self.slots):
            busy, block, size, next_size = slots[4 * i:4 * i + 4]
            if busy:
                self.in_flight.append((block, size, next_size))
            elif block:
                self.live.add((block, size))

    @classmethod
    def started(cls, logs, path, *arguments, **more):
        """oracle_loop under the shim, once all its threads have their long-lived blocks; `more` goes to its environment."""
        threads = int(arguments[0]) if arguments else 4
        program = subprocess.Popen([str(a) for a in (PROGRAMS / "oracle_loop", path, *arguments)],
                                   env=environment(logs, **more))
        path = pathlib.Path(path)
        for _ in range(60000):
            if path.exists() and any(path.read_bytes()[:8]) and cls(path).ready == threads:
                return program
            assert program.poll() is None, "oracle_loop has ended"
            time.sleep(0.001)
        raise AssertionError("oracle_loop does not begin")

    @staticmethod
    def is_own(size):
        return size % 64 == 39

    def differences(self, log):
        """What the log's live set has wrong, as text; empty: equal up to one call in flight a thread."""
        seen = [b for b in live_blocks(log) if self.is_own(b[1])]
        found = set(seen)
        wrong = [f"listed twice: {len(seen) - len(found)}"] if len(seen) != len(found) else []
        wrong += [f"not in the log: {address:x} {size}" for address, size in self.live - found]
        extra = found - self.live
        addresses = {block for block, _, _ in self.in_flight}
        sizes = {next_size for _, _, next_size in self.in_flight}
        strange = [(a, s) for a, s in extra if a not in addresses and s not in sizes]
        wrong += [f"not live: {a:x} {s}" for a, s in strange]
        if len(extra) > len(self.in_flight) or len(self.in_flight) > self.threads:
            wrong.append(f"{len(extra)} blocks too many, {len(self.in_flight)} calls in flight")
        return wrong
