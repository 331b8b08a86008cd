"""Servers whose workers are forked: the same answers, exit status and descriptors with and without the shim, a log a worker."""
import contextlib
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request

import harness

APP = """
import json
def app(environ, start_response):
    body = json.dumps([{"n": i, "path": environ["PATH_INFO"]} for i in range(200)]).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
application = app
"""
TASKS = """
import os
from celery import Celery
app = Celery("tasks", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)
@app.task
def work(n):
    return sum(len(str({"a": i})) for i in range(n))
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(check, seconds=60):
    for _ in range(int(seconds / 0.05)):
        with contextlib.suppress(OSError):
            value = check()
            if value:
                return value
        time.sleep(0.05)
    raise AssertionError("it does not come")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return sorted(int(p) for p in f.read().split())


def descriptors_now(pid):
    names = os.listdir(f"/proc/{pid}/fd")
    return sorted((int(n), re.sub(r"[0-9a-z_]{8,}|\d+", "", os.readlink(f"/proc/{pid}/fd/{n}").rsplit("/", 1)[-1])) for n in names)


def descriptors(pid):
    """Numbers and what is behind them, without what differs from run to run; once they stay as they are."""
    seen = [descriptors_now(pid)]

    def settled():
        time.sleep(0.3)
        seen.append(descriptors_now(pid))
        return seen[-1] == seen[-2] and seen[-1]
    return until(settled)


def fetch(port, path="/"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return answer.status, answer.read()


class Server:
    """A server in the foreground and its processes; killed when the block is left."""

    def __init__(self, argv, work, logs, **env):
        self.process = subprocess.Popen([str(a) for a in argv], cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=harness.environment(logs, TIDEMARK_SIZE="16M", **env))
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            for pid in children(self.pid):
                os.kill(pid, signal.SIGKILL)
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def workers(self, count):
        return until(lambda: len(children(self.pid)) >= count and children(self.pid))

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(60)


def http_run(argv, work, logs, port, workers):
    with Server(argv, work, logs) as server:
        until(lambda: fetch(port)[0] == 200)
        seen = {"answers": [fetch(port, f"/{i}") for i in range(30)]}
        pids = server.workers(workers)
        seen["descriptors"] = [descriptors(server.pid)] + [descriptors(p) for p in pids[:workers]]
        seen["status"] = server.end()
    return seen


def both(run, tmp_path):
    """run(logs) without and with the shim; equal. Returns the logs."""
    logs = tmp_path / "logs"
    logs.mkdir()
    plain = run(None)
    shimmed = run(logs)
    for key, value in plain.items():
        assert shimmed[key] == value, key
    found = harness.logs_in(logs)
    for log in found:
        assert harness.answer("info", log)["coverage"]["events"] > 0
    return found


def forked(logs):
    """How many of the logs are those of forked children."""
    return sum(harness.answer("info", log)["process"]["parent_pid"] is not None for log in logs)


def test_gunicorn(tmp_path):
    """P22: prefork workers have logs of their own."""
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    argv = ["gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", "app:app"]
    logs = both(lambda logs: http_run(argv, tmp_path, logs, port, 2), tmp_path)
    assert forked(logs) >= 2


def test_uwsgi(tmp_path):
    """P22, P39: a C server that embeds Python and forks after it has initialized it."""
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    argv = ["uwsgi", "--plugin", "python3", "--http-socket", f"127.0.0.1:{port}", "--wsgi-file", "app.py", "--master", "--processes",
            "2", "--die-on-term"]
    logs = both(lambda logs: http_run(argv, tmp_path, logs, port, 2), tmp_path)
    assert forked(logs) >= 2


@contextlib.contextmanager
def redis(work, port):
    argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(work)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=harness.environment()) as server:
        until(lambda: socket.create_connection(("127.0.0.1", port)).close() is None)
        yield f"redis://127.0.0.1:{port}/0"
        server.terminate()


def celery_run(work, logs, broker):
    argv = [harness.PYTHON, "-m", "celery", "-A", "tasks", "worker", "-c", "2", "--pool", "prefork", "--loglevel", "ERROR",
            "--without-gossip", "--without-mingle", "--without-heartbeat"]
    ask = ("import tasks; r = [tasks.work.delay(n) for n in range(0, 3000, 100)]; print([x.get(timeout=60) for x in r])")
    with Server(argv, work, logs, BROKER=broker) as server:
        pids = server.workers(2)
        done = harness.run([harness.PYTHON, "-c", ask], cwd=work, env={"BROKER": broker})
        assert done.returncode == 0, done.stderr.decode()
        seen = {"answers": done.stdout, "descriptors": [descriptors(server.pid)] + [descriptors(p) for p in pids]}
        seen["status"] = server.end()
    return seen


def test_celery(tmp_path):
    """P22, P34, P39: billiard's children close all descriptors they do not know, and end by os._exit."""
    (tmp_path / "tasks.py").write_text(TASKS)
    with redis(tmp_path, free_port()) as broker:
        logs = both(lambda logs: celery_run(tmp_path, logs, broker), tmp_path)
    assert forked(logs) >= 2


def test_redis(tmp_path):
    """P64: Debian's redis is linked with jemalloc, which the log names; its answers are the same."""
    def run(logs):
        port = free_port()
        argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
        with Server(argv, tmp_path, logs) as server:
            until(lambda: socket.create_connection(("127.0.0.1", port)).close() is None)
            commands = "".join(f"SET key:{i} {'v' * (i % 300)}\\n" for i in range(3000)) + "DBSIZE\\nGET key:299\\n"
            done = harness.run(["redis-cli", "-p", str(port)], input=commands.encode(), stdin=None)
            return {"answers": done.stdout, "descriptors": descriptors(server.pid), "status": server.end()}
    logs = both(run, tmp_path)
    allocators = {harness.answer("report", log)["process"]["allocator"] for log in logs}
    assert allocators == {"jemalloc"}
