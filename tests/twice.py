"""A program twice, without the shim and with it: everything that it shows must be the same."""
import dataclasses
import re

import harness

FD_TABLE = harness.PROGRAMS / "fd_table_lib.so"


@dataclasses.dataclass
class Seen:
    """What one run showed."""
    status: int
    stdout: bytes
    stderr: bytes
    table: list  # "NAME: numbers of descriptors" of every process at its exit, sorted


def once(argv, work, logs, env, scrub, **options):
    table = work / "fd-table"
    table.unlink(missing_ok=True)
    preload = f"{harness.SHIM} {FD_TABLE}" if logs else str(FD_TABLE)
    done = harness.run(argv, logs, env={"FD_TABLE": table, "TIDEMARK_SIZE": "16M", **env, "LD_PRELOAD": preload}, cwd=work, **options)
    seen = Seen(done.returncode, done.stdout, done.stderr, sorted(table.read_text().splitlines()) if table.exists() else [])
    for pattern, instead in scrub:
        seen.stdout = re.sub(pattern, instead, seen.stdout)
        seen.stderr = re.sub(pattern, instead, seen.stderr)
    return seen


def same(argv, tmp_path, env=None, scrub=(), status=0, before=None, **options):
    """Runs argv plainly and under the shim in fresh directories of the same name; asserts equality and that the logs are
    whole and have events. `scrub`: (pattern, replacement) of what differs by itself, such as times. Returns the logs."""
    logs, work = tmp_path / "logs", tmp_path / "work"
    logs.mkdir()
    results = []
    for where in (None, logs):
        work.mkdir()
        if before:
            before(work)
        results.append(once(argv, work, where, env or {}, scrub, **options))
        work.rename(tmp_path / ("with" if where else "without"))
    plain, shimmed = results
    assert plain.status == status, plain
    for field in dataclasses.asdict(plain):
        assert getattr(shimmed, field) == getattr(plain, field), field
    assert plain.table, "nobody told of descriptors"
    found = harness.logs_in(logs)
    assert found, "no log"
    for log in found:
        coverage = harness.answer("info", log)["coverage"]
        assert coverage["events"] > 0 and coverage["lost"] == 0, log
    return found
