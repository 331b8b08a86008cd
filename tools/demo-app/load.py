"""The load of the demo: pages that are built one after the other, then an idle time with nothing but health checks.

usage: load.py PORT TIDEMARK LOGS

The idle time ends when the newest log of every worker has told what the worker held after the last page: the logs are read while
they are written. After a minute it ends in any case, and says so.
"""
import json
import pathlib
import subprocess
import sys
import time
import urllib.request

PORT, TIDEMARK, LOGS = sys.argv[1:]
PAGES, IDLE_MOST = 30, 60


def get(path):
    return urllib.request.urlopen(f"http://127.0.0.1:{PORT}/{path}", timeout=60).read()


def wait_for_server():
    for _ in range(300):
        try:
            return get("health")
        except OSError:
            time.sleep(0.1)
    sys.exit("demo: the server does not answer")


def told_at(log):
    """When the last census in a log was, in nanoseconds of the monotonic clock, as everything in a log."""
    done = subprocess.run([TIDEMARK, "ledger", "--format", "json", log], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    ledger = json.loads(done.stdout).get("ledger") if done.stdout else None
    return (ledger or {}).get("at_ns") or 0


def idle(workers, since):
    """Health checks until both workers have told."""
    logs = [log for log in pathlib.Path(LOGS).glob("*.tide") if any(f"-{pid}-" in log.name for pid in workers)]
    end = time.monotonic() + IDLE_MOST
    while time.monotonic() < end:
        for _ in range(20):
            get("health")
            time.sleep(0.05)
        if len(logs) == len(workers) and all(told_at(log) > since for log in logs):
            return
    print("demo: a worker has told nothing since its last page: what follows is as of before", file=sys.stderr)


wait_for_server()
pids = {get(f"page/{number}").split()[-1].decode() for number in range(PAGES)}
idle(pids, time.monotonic_ns())
