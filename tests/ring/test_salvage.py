"""One kind of damage each: what is left is told, and what is gone is counted and named. Cuts and superblocks are in golden/damaged; every
bit, and damage anywhere, in test_damage.py; a block that is in the ring already (killed at seal-put) in test_faults.py; a log and
its copy in cli/test_merged.py; other formats in cli/test_bad_input.py."""
import harness
import pytest
import sizes

DEFS, DEF_MAGIC = 8192, b"TDEF"
EVENTS = 1


@pytest.fixture(name="good", scope="module")
def good_log(tmp_path_factory):
    """A log that holds everything: eight lives among many short ones, some kilobytes of frames."""
    logs = tmp_path_factory.mktemp("good")
    done = harness.run([harness.PROGRAMS / "wrap_sites", 500, 40000], logs=logs, env={"TIDEMARK_SIZE": "1M"})
    assert done.returncode == 0
    return harness.only_log(logs)


def answers(tmp_path, data, command="report"):
    path = tmp_path / "damaged.tide"
    path.write_bytes(data)
    return harness.answer(command, path, codes=(3,)), harness.tidemark("verify", path, codes=(3,))


def flipped(data, at):
    data = bytearray(data)
    data[at] ^= 4
    return bytes(data)


def some_frame(data):
    """One from the middle, with others behind it."""
    found = [f for f in sizes.frames(data)[0] if f.kind == EVENTS]
    assert len(found) > 6
    return found[len(found) // 2]


def same_but(good, report, lost):
    """Of the events so many are lost, and no other."""
    whole = harness.answer("report", good)["coverage"]
    coverage = report["coverage"]
    assert whole["lost"] == 0 and whole["events"] == coverage["events"], coverage
    assert coverage["lost"] == lost and coverage["in_window"] == whole["in_window"] - lost, coverage
    assert coverage["damaged"]


def test_payload_of_a_frame(good, tmp_path):
    """The header still says what was in it."""
    data = good.read_bytes()
    frame = some_frame(data)
    report, text = answers(tmp_path, flipped(data, frame.at + frame.header_len + frame.stored // 2))
    same_but(good, report, frame.events)
    assert f"frame {frame.seq}: {frame.events} of {frame.events} events of lane {frame.lane}" in text
    assert f"damage at {frame.at}, " in text and f"+ {frame.events} lost" in text


@pytest.mark.parametrize("field", [0, 8, 24, 40, 64, 112, 120])
def test_header_of_a_frame(good, tmp_path, field):
    """It is passed over; what it held is known from the next one of its lane."""
    data = good.read_bytes()
    frame = some_frame(data)
    report, text = answers(tmp_path, flipped(data, frame.at + field))
    same_but(good, report, frame.events)
    assert "1 frames are missing from the ring" in text
    assert f"lane {frame.lane}: {frame.events} events from its event {frame.events_before}" in text


def test_a_hole_is_lost_and_the_beginning_is_evicted(good, tmp_path):
    """Zeros where a frame was are a loss; frames that the ring has gone over are none."""
    data = bytearray(good.read_bytes())
    frame = some_frame(data)
    data[frame.at:frame.at + frame.header_len + frame.stored] = bytes(frame.header_len + frame.stored)
    same_but(good, answers(tmp_path, bytes(data))[0], frame.events)
    wrapped = tmp_path / "wrapped"
    wrapped.mkdir()
    harness.run([harness.PROGRAMS / "wrap_sites", 500, 400000], logs=wrapped, env={"TIDEMARK_SIZE": "256K"})
    coverage = harness.answer("report", harness.only_log(wrapped))["coverage"]
    assert coverage["evicted"] > 0 == coverage["lost"] and not coverage["damaged"]


def test_no_leak_across_a_gap(good, tmp_path):
    """What was allocated before the end of a gap may have been freed in it: uncertain, by row and in sum, and no leak is claimed of it."""
    data = good.read_bytes()
    frame = some_frame(data)
    report, _ = answers(tmp_path, flipped(data, frame.at + frame.header_len + 8))
    whole = harness.answer("report", good)
    assert whole["coverage"]["uncertain_bytes"] == 0 < report["coverage"]["uncertain_bytes"]
    assert sum(row["uncertain_bytes"] for row in report["leaks"]) > 0
    assert report["verdict"]["class"] != "leak"
    gone = {row["uncertain_bytes"] <= row["bytes"] for row in report["leaks"]}
    assert gone == {True}


def definitions(data):
    at, found = DEFS, []
    while data[at:at + 4] == DEF_MAGIC:
        length = int.from_bytes(data[at + 4:at + 8], "little")
        found.append((at, length, int.from_bytes(data[at + 12:at + 14], "little")))
        at += (length + 15) // 16 * 16
    return found


def test_a_torn_definition(good, tmp_path):
    """Half of a module's record is zeros: that module has no name, the next ones do, and no event is lost."""
    data = bytearray(good.read_bytes())
    modules = [d for d in definitions(data) if d[2] == 2]
    assert len(modules) >= 2
    at, length, _ = modules[0]
    data[at + length // 2:at + length] = bytes(length - length // 2)
    report, text = answers(tmp_path, bytes(data))
    same_but(good, report, 0)
    assert "definition" in text
    named = {frame["module"] for row in report["leaks"] for frame in row["stack"]}
    assert None in named and any(name and "libc" in name for name in named), named


def test_a_code_object_without_a_name(tmp_path):
    """An event whose stack names what is not there any more is kept, with its frames; they have no name."""
    script = "def f():\n    return [bytes(5000) for i in range(300)]\nkept = f()\nimport os\nos._exit(0)\n"
    done = harness.run([harness.PYTHON, "-c", script], logs=tmp_path, env={"TIDEMARK_PYTHON": "objects", "TIDEMARK_SIZE": "16M"})
    assert done.returncode == 0
    log = harness.only_log(tmp_path)
    whole = harness.answer("leaks", log, "--top", "100000")
    data = bytearray(log.read_bytes())
    at = next(at for at, length, kind in definitions(data) if kind == 6 and b"<string>" in data[at:at + length])
    data[at + 30] ^= 4
    report, text = answers(tmp_path, bytes(data), "leaks")
    assert "definition" in text
    assert report["coverage"]["events"] == whole["coverage"]["events"] and report["coverage"]["lost"] == 0
    assert report["totals"]["live_bytes"] == whole["totals"]["live_bytes"]
    named = [frame["function"] for row in report["leaks"] for frame in row["stack"] if frame["language"] == "python"]
    assert None in named


def test_a_block_of_the_raw_tail(good, tmp_path):
    """Items that were not in a frame yet: all or nothing of a block, by its sum."""
    data = good.read_bytes()
    head = sizes.SUPER.unpack_from(data)
    staging, lanes, block_len = head[14], head[15], head[17]
    found = [staging + i * block_len for i in range(lanes)]
    block = next(at for at in found if int.from_bytes(data[at + 80:at + 84], "little") > 0)
    events = int.from_bytes(data[block + 80:block + 84], "little")
    report, text = answers(tmp_path, flipped(data, block + 128 + 5))
    same_but(good, report, events)
    assert "staging block of lane" in text and "checksum" in text
    zeros = bytearray(data)
    zeros[block:block + block_len] = bytes(block_len)
    _, text = answers(tmp_path, bytes(zeros))
    assert "staging block" in text or "lanes are missing" in text
