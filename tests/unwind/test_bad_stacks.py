"""Stacks that are not what they should be: capture reads nothing outside of them, ends, and says that it was cut."""
import subprocess

import harness

PROGRAM = harness.PROGRAMS / "stacks_bad"
SMASHED, CLEAN = 4321, 1237  # as in stacks_bad.c
KINDS = 7
CUT = "2"  # TIDE_WORD_CUT_UNKNOWN, outermost


def traced(tmp_path, *arguments, **env):
    done = harness.run([PROGRAM, *arguments], logs=tmp_path, env={"TIDEMARK_CENSUS": "off", **env})
    assert (done.returncode, done.stdout, done.stderr) == (0, b"ok\n", b""), done
    log = harness.only_log(tmp_path)
    harness.tidemark("verify", log)
    return log


def events_of(log):
    """(kind, size, words innermost first) of every event, one at a time: there may be many."""
    dump = subprocess.Popen([harness.TIDEMARK, "dump", log], stdout=subprocess.PIPE, text=True)
    for line in dump.stdout:
        e = line.split()
        yield e[6], e[8], tuple(e[10:])
    assert dump.wait() == 0


def stacks_of(log, size):
    return [words for kind, of, words in events_of(log) if kind == "malloc" and of == str(size)]


def test_overwritten(tmp_path):
    """P16: return addresses that are no code, other code, the stack, or outside of memory, on a stack between unreadable pages. What
    was remembered of the stack does not lead astray what comes after."""
    rounds = 200
    log = traced(tmp_path, "smash", rounds)
    clean, smashed = stacks_of(log, CLEAN), stacks_of(log, SMASHED)
    assert len(clean) == len(smashed) == rounds * KINDS
    assert len(set(clean)) == 1 and clean[0][-1] != CUT and len(clean[0]) == 3  # touch (clean jumped to it), run_smash, where a context begins
    by_kind = [smashed[kind::KINDS] for kind in range(KINDS)]
    for kind in (0, 1, 3, 4, 5):  # nothing that could be code
        assert {s[-1] for s in by_kind[kind]} == {CUT}, kind
    cut = sum(s[-1] == CUT for s in smashed)
    assert harness.answer("report", log)["coverage"]["truncated_stacks"] == cut


def test_tiny_thread_stack(tmp_path):
    """P16: a thread of 16 KiB that allocates until 5 KiB are left."""
    bare = harness.run([PROGRAM, "tiny", 50])
    assert bare.stdout == b"ok\n"
    info = harness.answer("info", traced(tmp_path, "tiny", 50))
    assert info["coverage"]["lost"] == info["coverage"]["lost_by_reason"]["preinit"]
    assert info["coverage"]["events"] >= 2 * 50 * 20


def test_handler_that_interrupts_a_walk(tmp_path):
    """P69: a handler's event is recorded beside the one that it interrupts, or counted as lost; stacks of neither are mixed up."""
    log = traced(tmp_path, "interrupted", 400)
    maps, stacks = 0, {}
    for kind, size, words in events_of(log):
        maps += kind == "mmap" and size == "4096"
        if kind == "malloc":
            stacks.setdefault(size, set()).add(words)
    lost = harness.answer("info", log)["coverage"]["lost_by_reason"]["reentrant"]
    assert maps <= 400 <= maps + lost and lost <= 40, (maps, lost)
    for depth in range(2, 31):  # each size is asked for at two depths
        assert len(stacks[str(depth)]) == 2 and all(s[-1] != CUT for s in stacks[str(depth)]), (depth, stacks[str(depth)])
