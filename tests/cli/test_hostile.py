"""Names in a log are its maker's: nothing in them acts on a terminal, breaks JSON, or runs in a spreadsheet."""
import csv
import io
import json
import re
import subprocess

import pytest

import harness

NAMES = {
    "escape": b"\x1b[31mred\x1b]0;title\x07\x1b[2J",
    "newline": b"one\ntwo\rthree\tfour\x0bfive",
    "c1": "\u009b31m\u0090".encode(),
    "bidi": "app\u202egnp.exe\u2066\u2069\u200f\u061c".encode(),
    "invisible": "a\u200bb\ufeffc\u2028d\U000e0041".encode(),
    "not-utf8": b"\xff\xfe\xc0\xaf\xed\xa0\x80\xf8\x88",
    "long": b"/x" * 2048 + b"/end.py",
    "html": b"<script>alert(1)</script>&amp;\"'",
    "formula": b"=cmd|' /C calc'!A0",
    "plus": b"+1+1",
    "at": b"@SUM(1)",
    "minus": b"-2+3",
    "quotes": b'a"b,c\\d\'e',
    "percent": b"%s%n%d%100000d",
    "empty": b"",
    "del": b"\x7f\x00".rstrip(b"\0") + b"x",
}
HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]")
COMMANDS = ["report", "pins", "arenas", "leaks", "peak", "top", "timeline", "ledger", "info", "verify", "dump"]


@pytest.fixture(scope="module", params=sorted(NAMES))
def log(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "log.tide"
    done = subprocess.run([harness.BUILD / "tools" / "mklog", path, "7", "400", NAMES[request.param]],
                          stdout=subprocess.DEVNULL)
    assert done.returncode == 0
    return path


def output(*arguments):
    done = harness.run([harness.TIDEMARK, *arguments])
    assert done.returncode in (0, 3), (arguments, done)
    return done.stdout + done.stderr


def test_text_is_harmless(log):
    for command in COMMANDS:
        text = output(command, log).decode("utf-8")  # it is UTF-8, whatever the log said
        found = HARMFUL.search(text)
        assert not found, (command, text[max(0, found.start() - 20):found.end() + 20])
    for command in ("report", "leaks", "top", "peak"):
        assert max(len(line) for line in output(command, log).decode().splitlines()) <= 110, command
    assert not HARMFUL.search(output("diff", log, log).decode())


def test_json_is_json(log):
    for command in COMMANDS[:-1]:
        raw = output(command, "--format", "json", log)
        assert not re.search(rb"[^\x20-\x7f\n]", raw), command
        json.loads(raw)


def test_csv_is_csv_and_runs_nothing(log):
    for command in ("leaks", "top", "peak", "pins", "arenas", "timeline", "ledger"):
        text = output(command, "--format", "csv", log).decode("utf-8")
        assert not HARMFUL.search(text), command
        rows = list(csv.reader(io.StringIO(text), strict=True))
        assert len({len(row) for row in rows}) == 1, command
        for row in rows[1:]:
            for cell in row:
                number = re.fullmatch(r"-?[\d.]*", cell)
                assert number or cell[:1] not in ("=", "+", "-", "@", "\t", "\r"), (command, cell)


def test_names_of_paths_are_hostile_too(tmp_path):
    path = tmp_path / "\x1b[31m\nno.tide"
    done = harness.run([harness.TIDEMARK, "report", path])
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1 and b"\x1b" not in done.stderr
    done = harness.run([harness.TIDEMARK, "\x1b[31m"])
    assert done.returncode == 2 and b"\x1b" not in done.stderr
    done = harness.run([harness.TIDEMARK, "report", "--\x1b[31m", "x"])
    assert done.returncode == 2 and b"\x1b" not in done.stderr
