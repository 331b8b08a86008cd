"""The rows of the ledger add up to RSS, as the kernel has it, for programs of many kinds."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest

import harness

SMALL = 50 << 20


def pythons():
    """Debian's, and every CPython 3.8 to 3.13 that pyenv has."""
    found = [harness.PYTHON]
    if shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
        for minor in range(8, 14):
            found += sorted(str(p) for p in pathlib.Path(root).glob(f"versions/3.{minor}.*/bin/python3.{minor}"))
    return found


def check(report):
    ledger = report["ledger"]
    assert ledger["rss_bytes"] > 0
    assert sum(r["bytes"] for r in ledger["rows"]) + ledger["unexplained_bytes"] == ledger["rss_bytes"]
    off = abs(ledger["unexplained_bytes"])
    assert off <= ledger["rss_bytes"] // 100 or (ledger["rss_bytes"] < SMALL and off <= 512 << 10), ledger
    assert off <= 512 << 10 or ledger["rss_bytes"] >= SMALL
    return ledger


def check_logs(logs, name):
    """Every log of that program in the folder; there is one at least."""
    checked = 0
    for log in harness.logs_in(logs):
        report = harness.answer("report", log)
        if report["process"]["name"].startswith(name) and report["ledger"]:
            check(report)
            checked += 1
    assert checked
    return checked


def needs(program):
    path = shutil.which(program)
    if not path:
        pytest.skip(f"{program} is not installed")
    return path


@pytest.mark.parametrize("pattern", ["wide", "sieve", "mapped", "threads"])
def test_c(pattern, tmp_path):
    done = harness.run([harness.PROGRAMS / "retain", pattern, "exit"], logs=tmp_path)
    _, after, _ = [int(n) for n in done.stdout.split()]
    ledger = check(harness.answer("report", harness.only_log(tmp_path)))
    # the program read its own smaps_rollup just before: between that and the census lies the census' own memory
    assert abs(ledger["rss_bytes"] - after) < 1 << 20, (ledger["rss_bytes"], after)


def test_cpp_of_many_sizes(tmp_path):
    done = harness.run([harness.PROGRAMS / "sizes"], logs=tmp_path)
    assert done.stdout == b"15000\n", done
    report = harness.answer("report", harness.only_log(tmp_path))
    rows = {r["kind"]: r["bytes"] for r in check(report)["rows"]}
    assert abs(rows["live"] - report["totals"]["live_bytes"]) < report["totals"]["live_bytes"] // 100 > 64 << 10
    assert rows["pinned_waste"] > 0


def test_eight_threads(tmp_path):
    harness.run([harness.PROGRAMS / "retain", "eight", "exit"], logs=tmp_path)
    ledger = check(harness.answer("report", harness.only_log(tmp_path)))
    rows = {r["kind"]: r["bytes"] for r in ledger["rows"]}
    assert rows["thread_stacks"] >= 8 * 8192


@pytest.mark.parametrize("python", pythons())
def test_python(python, tmp_path):
    code = "x = [{'a': i} for i in range(200000)]; del x[::2]; import json; json.dumps(x[:100])"
    assert harness.run([python, "-c", code], logs=tmp_path).returncode == 0
    ledger = check(harness.answer("report", harness.only_log(tmp_path)))
    rows = {r["kind"]: r["bytes"] for r in ledger["rows"]}
    assert rows["pymalloc_live"] > 10 << 20 and rows["pymalloc_free_in_pools"] > 10 << 20


def test_sqlite(tmp_path):
    sql = ("create table t(a, b); with recursive c(x) as (select 1 union all select x + 1 from c limit 100000) "
           "insert into t select x, hex(randomblob(20)) from c; select count(*) from t;")
    assert harness.run([needs("sqlite3"), ":memory:", sql], logs=tmp_path).returncode == 0
    check(harness.answer("report", harness.only_log(tmp_path)))


def test_node(tmp_path):
    code = "let a = []; for (let i = 0; i < 1e5; i++) a.push({i: '' + i}); console.log(a.length)"
    assert harness.run([needs("node"), "-e", code], logs=tmp_path).returncode == 0
    check_logs(tmp_path, "node")


def test_git_repack(tmp_path):
    repository = tmp_path / "r"
    logs = tmp_path / "logs"
    logs.mkdir()
    needs("git")
    for argv in (["init", "-q", str(repository)], ["-C", str(repository), "config", "user.email", "a@b"],
                 ["-C", str(repository), "config", "user.name", "a"]):
        subprocess.run(["git"] + argv, check=True)
    for i in range(400):
        (repository / f"f{i}").write_text(f"{i}\n" * 200)
    subprocess.run(["git", "-C", str(repository), "add", "."], check=True)
    subprocess.run(["git", "-C", str(repository), "commit", "-qm", "x"], check=True)
    assert harness.run(["git", "-C", repository, "repack", "-adq"], logs=logs).returncode == 0
    check_logs(logs, "git")


def test_redis(tmp_path):
    server = subprocess.Popen([needs("redis-server"), "--port", "0", "--unixsocket", str(tmp_path / "s"), "--save", ""],
                              env=harness.environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              cwd=tmp_path)
    try:
        deadline = time.time() + 20
        while not (tmp_path / "s").exists() and time.time() < deadline:
            time.sleep(0.1)
        commands = "".join(f"set k{i} {'v' * (i % 500)}\n" for i in range(20000))
        subprocess.run([needs("redis-cli"), "-s", str(tmp_path / "s")], input=commands.encode(), stdout=subprocess.DEVNULL,
                       check=True, timeout=60)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)
    check_logs(tmp_path, "redis")


def ask(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.") and b" 200 " in answer, answer


def test_gunicorn_worker(tmp_path):
    """A forked worker: pages shared with its parent are its own RSS all the same."""
    needs("gunicorn")
    (tmp_path / "app.py").write_text(
        "def app(environ, start):\n"
        "    data = [str(i) * 3 for i in range(20000)]\n"
        "    start('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [str(len(data)).encode()]\n")
    logs = tmp_path / "logs"
    logs.mkdir()
    server = subprocess.Popen(["gunicorn", "-w", "1", "-b", f"unix:{tmp_path}/g", "app:app"], cwd=tmp_path,
                              env=harness.environment(logs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.time() + 30
        while not (tmp_path / "g").exists() and time.time() < deadline:
            time.sleep(0.1)
        for _ in range(20):
            ask(tmp_path / "g")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    assert check_logs(logs, "python") >= 2
