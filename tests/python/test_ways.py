"""Programs in Python print, under the shim and in every mode, what they print without; and their logs are whole."""
import pathlib
import re

import pytest

import harness
from pythons import ALL, python

VICTIM = pathlib.Path(__file__).with_name("many_ways.py")
WAYS = re.findall(r"^def (\w+)\(\):", VICTIM.read_text(), re.M)
MODES = ("sites", "objects", "arenas", "off")
ALLOCATORS = ("malloc", "pymalloc", "pymalloc_debug", "debug", "malloc_debug")


def same_as_bare(argv, logs, mode, timeout=120, **env):
    env.setdefault("TIDEMARK_SIZE", "8M")
    bare = harness.run(argv, env=env, timeout=timeout)
    done = harness.run(argv, logs=logs, env=dict(env, TIDEMARK_PYTHON=mode), timeout=timeout)
    assert (done.returncode, done.stdout, done.stderr) == (bare.returncode, bare.stdout, bare.stderr)
    assert bare.returncode == 0
    return bare


def whole_logs(logs):
    found = harness.logs_in(logs)
    for log in found:
        harness.tidemark("verify", log)
        log.unlink()
    return len(found)


def ways_of(name):
    """Every way on one interpreter of each shape (static, oldest, newest); elsewhere those that versions differ in."""
    if name in ("debian", "3.8", "3.13"):
        return [w for w in WAYS if w != "work"]
    return ["code_churn", "deep", "own_gils" if name == "3.12" else "generators"]


@pytest.mark.parametrize("name, way", [(name, way) for name in ALL for way in ways_of(name)])
def test_ways(name, way, tmp_path):
    same_as_bare([python(name), VICTIM, way], tmp_path, "sites")
    assert whole_logs(tmp_path) >= 1


@pytest.mark.parametrize("way", ("code_churn", "deep", "fork", "daemons", "subinterpreters"))
def test_ways_in_objects_mode(way, tmp_path):
    same_as_bare([python("debian"), VICTIM, way], tmp_path, "objects")
    assert whole_logs(tmp_path) >= 1


@pytest.mark.parametrize("name", ("debian", "3.8", "3.10", "3.13"))
def test_allocators(name, tmp_path):
    interpreter = python(name)
    for allocator in ALLOCATORS:
        same_as_bare([interpreter, VICTIM, "plain"], tmp_path, "sites", PYTHONMALLOC=allocator)
        whole_logs(tmp_path)
    same_as_bare([interpreter, "-X", "dev", VICTIM, "plain"], tmp_path, "sites")
    same_as_bare([interpreter, "-X", "dev", VICTIM, "plain"], tmp_path, "objects")
    same_as_bare([interpreter, "-X", "tracemalloc=10", VICTIM, "plain"], tmp_path, "sites")
    assert whole_logs(tmp_path) == 3


@pytest.mark.parametrize("mode", MODES)
def test_modes(mode, tmp_path):
    same_as_bare([python("debian"), VICTIM, "plain"], tmp_path, mode)
    log = harness.only_log(tmp_path)
    kinds = {line.split()[6] for line in harness.tidemark("dump", log).splitlines()}
    assert ("pyarena" in kinds) == (mode != "off")
    assert ("pyalloc" in kinds) == (mode == "objects")
    harness.tidemark("report", log)


@pytest.mark.parametrize("name", ("2.7", "3.6", "3.7"))
def test_unsupported_versions_are_native_only_and_the_report_says_so(name, tmp_path):
    interpreter = python(name)
    same_as_bare([interpreter, "-c", "print(sum(len(str(i)) for i in range(20000)))"], tmp_path, "sites")
    log = harness.only_log(tmp_path)
    assert all(" pyarena " not in line for line in harness.tidemark("dump", log).splitlines())
    report = harness.answer("report", log)
    if name != "2.7":  # not a Python that tidemark looks at
        assert report["process"]["python"].startswith(name)
    assert report["coverage"]["python_frames"] is False
    assert "native stacks only" in harness.tidemark("report", log)


def test_pypy_is_left_alone(tmp_path):
    pypy = pathlib.Path("/usr/bin/pypy3")
    if not pypy.exists():
        pytest.skip("pypy3 is not installed")
    same_as_bare([pypy, "-c", "print(sum(len(str(i)) for i in range(20000)))"], tmp_path, "sites")
    assert harness.answer("report", harness.only_log(tmp_path))["process"]["python"] is None
