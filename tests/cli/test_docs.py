"""The examples of the man pages and of README run; the pages are pages; completion completes."""
import os
import re
import shutil
import subprocess

import pytest

import harness

MAN = harness.ROOT / "decoder" / "man"
PAGES = sorted(MAN.glob("*.scd"))


def examples(page):
    text = page.read_text()
    part = re.search(r"# EXAMPLES\n(.*?)(?=\n# |\Z)", text, re.S)
    return re.findall(r"^\t?(tidemark .*)$", part.group(1), re.M) if part else []


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where an example runs: tidemark in PATH, and a directory `logs` with a log of the examples' name."""
    base = tmp_path_factory.mktemp("examples")
    made = harness.run(["/usr/bin/perl", "-e", "1"], logs=base)
    assert made.returncode == 0
    (base / "logs").mkdir()
    shutil.move(harness.only_log(base), base / "logs" / "app-4242-1f.tide")
    return base


def shell(line, place):
    line = re.sub(r"logs/[\w-]+\.tide", "logs/app-4242-1f.tide", line)
    return harness.run(["/bin/sh", "-ec", line], cwd=place, env={"PATH": f"{harness.BUILD}:{os.environ['PATH']}"})


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_examples_run(page, place):
    found = examples(page)
    if page.name.startswith("tidemark-") and page.name.endswith(".1.scd"):
        assert found, f"{page.name} has no example"
    for line in found:
        done = shell(line, place)
        allowed = (0, 1) if "--fail-on" in line else (0,)
        assert done.returncode in allowed, (line, done.stderr)
        assert done.stdout or done.stderr, line


def test_commands_of_readme_run(place):
    text = (harness.ROOT / "README.md").read_text()
    lines = re.findall(r"`(tidemark [a-z]+ [^`]*)`", text)
    assert len(lines) >= 5
    for line in lines:
        command = line.replace("PATH...", "logs").replace("PATH", "logs").replace("BASE NEW", "logs logs")
        command = command.replace(" LOG", " logs/app-4242-1f.tide")
        if re.search(r"\b[A-Z]{2,}\b", command.replace("64K", "")) or "record" in line:
            continue  # has a word that stands for something
        done = shell(command, place)
        assert done.returncode in (0, 1), (command, done.stderr)


def test_pages_are_pages(tmp_path):
    if not shutil.which("scdoc"):
        pytest.skip("scdoc is not installed")
    for page in PAGES:
        with open(page) as source:
            done = subprocess.run(["scdoc"], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0 and done.stdout.startswith(b".\\\""), (page, done.stderr)


def complete(*words):
    return harness.tidemark("__complete", *words).split()


def test_completion():
    assert {"record", "report", "diff"} <= set(complete(""))
    assert complete("rep") == ["report"] or "report" in complete("rep")
    assert complete("report", "--fo") == ["--format"]
    assert complete("leaks", "--format", "") == ["text", "json", "csv"]
    assert complete("leaks", "--format", "j") == ["json"]
    assert complete("record", "--python", "o") == ["off", "objects"]
    assert complete("report", "") == []  # files: the shell's own
    script = "source decoder/completion/tidemark.bash; COMP_WORDS=(tidemark leaks --fo); COMP_CWORD=2; _tidemark; echo ${COMPREPLY[@]}"
    done = harness.run(["/bin/bash", "-ec", script], cwd=harness.ROOT, env={"PATH": f"{harness.BUILD}:{os.environ['PATH']}"})
    assert done.stdout == b"--format\n", done.stderr


def test_help_of_every_command():
    for command in complete(""):
        done = harness.run([harness.TIDEMARK, command, "--help"])
        assert done.returncode == 0 and done.stderr == b"", command
        lines = done.stdout.decode().splitlines()
        assert lines[0].startswith(f"usage: tidemark {command} ")
        assert all(len(line) <= 120 for line in lines), command
