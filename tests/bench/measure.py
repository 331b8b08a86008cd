"""One run of a program, and many in turn: what they took, and the ratios within each round."""
import collections
import os
import pathlib
import shutil
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TIDEMARK_BUILD", ROOT / "build/release")).resolve()
TIDEMARK = BUILD / "tidemark"
LAUNCHER = BUILD / "programs/bench_run"

# cpu: user + sys seconds of the program and all it waited for; wall seconds; rss: peak KiB of the biggest of them
Run = collections.namedtuple("Run", "cpu wall rss")


class Failed(Exception):
    pass


def environment():
    """Ours, without what would change the program, and with what makes Python do the same work every time."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TIDEMARK_", "LD_PRELOAD", "PYTHON", "MALLOC_CONF"))}
    return {**env, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "1"}


def start(argv, env, cwd, stdin=None):
    """argv under the launcher; the launcher's process, and the pipe that its line will come from."""
    read, write = os.pipe()
    settings = [f"{k}={v}" for k, v in env.items()]
    with open(stdin or os.devnull, "rb") as source:
        child = subprocess.Popen([LAUNCHER, str(write), *settings, "--", *[str(a) for a in argv]], env=environment(), cwd=cwd,
                                 stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(write,))
    os.close(write)
    return child, read


def finish(child, read, may_fail=False):
    with os.fdopen(read) as pipe:
        line = pipe.read().split()
    child.wait()
    if len(line) != 4 or (line[3] != "0" and not may_fail):
        raise Failed(f"ended with status {line[3] if len(line) == 4 else 'unknown'}")
    return Run(int(line[0]) / 1e6, int(line[2]) / 1e9, int(line[1]))


def run(argv, env, cwd, stdin=None):
    return finish(*start(argv, env, cwd, stdin))


def spread(values):
    """Median and quartiles; None of nothing."""
    if not values:
        return None
    if len(values) == 1:
        return {"median": values[0], "q1": values[0], "q3": values[0], "n": 1}
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "q1": q1, "q3": q3, "n": len(values)}


class Turn:
    """Runs of several variants in turn: every round has a bare run, then ours, then each peer that its time budget still allows."""

    def __init__(self, rounds, budget):
        self.rounds, self.budget = rounds, budget
        self.pairs, self.spent, self.failed = {}, {}, {}

    def affordable(self, name):
        if name in self.failed:
            return False
        done = self.pairs.get(name, [])
        return not done or name.startswith("tidemark") or self.spent[name] + self.spent[name] / len(done) <= self.budget

    def one(self, name, bare, action):
        try:
            took = action()
        except Failed as e:
            self.failed[name] = str(e)
            return
        self.pairs.setdefault(name, []).append((bare, took))
        self.spent[name] = self.spent.get(name, 0) + took.wall

    def go(self, bare, variants):
        """bare: a function that gives a Run; variants: name -> such a function."""
        for _ in range(self.rounds):
            base = bare()
            for name, action in variants.items():
                if self.affordable(name):
                    self.one(name, base, action)


def clean(directory):
    """Everything a run left in its directory."""
    for path in pathlib.Path(directory).iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
