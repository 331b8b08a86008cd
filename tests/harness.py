"""What every pytest file needs: where the build is, a program under the shim, the decoder's answers.

A test imports it with `import harness`; conftest.py beside it puts this folder on the path.
"""
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("TIDEMARK_BUILD", ROOT / "build" / "release"))
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
