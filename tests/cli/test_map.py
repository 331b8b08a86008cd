"""arenas: the map of each arena says what its numbers say."""
import fcntl
import os
import pty
import struct
import subprocess
import termios

import harness

CELLS = set("#+- ")


def folded(map, columns):
    """The map in a line of so many columns, of which 32 are the arena's name: equal parts as one."""
    each = -(-len(map) // (columns - 32))
    out = ""
    for i in range(0, len(map), each):
        part = map[i:i + each]
        live, thin, resident = part.count("#"), part.count("+"), len(part) - part.count(" ")
        out += " " if not resident else "-" if not live + thin else "#" if 4 * live + thin >= 2 * resident else "+"
    return out


def on_terminal(columns, *args):
    """Lines as they are written to a terminal of that width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    with subprocess.Popen([harness.TIDEMARK, *map(str, args), "--color", "never"], stdout=slave, stderr=subprocess.PIPE,
                          env=harness.environment()) as p:
        os.close(slave)
        text = b""
        while True:
            try:
                some = os.read(master, 65536)
            except OSError:  # the terminal's other end is closed
                break
            if not some:
                break
            text += some
    os.close(master)
    assert p.returncode == 0
    return text.decode().replace("\r", "").splitlines()


def test_map_of_a_sieve(tmp_path):
    """Blocks that were freed between blocks that stay: nothing of the heap is all dead but where whole stretches went."""
    assert harness.run([harness.PROGRAMS / "retain", "sieve", "exit"], logs=tmp_path).returncode == 0
    log = harness.only_log(tmp_path)
    arenas = harness.answer("arenas", log)["arenas"]
    main = next(a for a in arenas if a["kind"] == "glibc-main")
    assert 1 <= len(main["map"]) <= 256 and set(main["map"]) <= CELLS
    assert main["live_bytes"] < main["stranded_bytes"] and main["map"].count("+") > main["map"].count("#")
    text = harness.tidemark("arenas", log)
    assert f"|{folded(main['map'], 100)}|" in text and "MAP  by address" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    for columns in (60, 80, 132, 300):
        lines = on_terminal(columns, "arenas", log)
        assert any(line.endswith(f"|{folded(main['map'], columns)}|") for line in lines), (columns, lines)
        assert all(len(line) <= columns for line in lines if "|" in line), (columns, lines)


def test_maps_of_pools(tmp_path):
    code = "x = [object() for i in range(300000)]; y = x[::5000]; del x; import os; os._exit(0)"
    assert harness.run([harness.PYTHON, "-c", code], logs=tmp_path).returncode == 0
    arenas = [a for a in harness.answer("arenas", harness.only_log(tmp_path))["arenas"] if a["kind"] == "pymalloc"]
    for a in arenas:
        assert set(a["map"]) <= CELLS and ("#" in a["map"] or "+" in a["map"]) == (a["live_bytes"] > 0), a
        assert a["map"].strip() == "" if a["resident_bytes"] == 0 else a["map"].strip() != "", a


def test_many_arenas_are_folded(tmp_path):
    """Text shows the most stranded and the sum of the rest; JSON all."""
    code = "x = [object() for i in range(2400000)]; y = x[::5000]; del x; import os; os._exit(0)"
    assert harness.run([harness.PYTHON, "-c", code], logs=tmp_path, env={"TIDEMARK_PYTHON": "arenas"}).returncode == 0
    log = harness.only_log(tmp_path)
    arenas = harness.answer("arenas", log)["arenas"]
    assert len(arenas) > 30
    stranded = sorted((a["stranded_bytes"] for a in arenas), reverse=True)
    text = harness.tidemark("arenas", log).splitlines()
    rest = next(line for line in text if line.startswith("  ... and "))
    assert f"and {len(arenas) - 20} more" in rest and in_words(sum(stranded[20:])) + " stranded" in rest, rest
    assert sum(line.endswith("|") for line in text) == 20
    text = harness.tidemark("arenas", log, "--top", "1000").splitlines()
    assert not any(line.startswith("  ... ") for line in text)
    assert sum(f"{a['base']:x}" in line for a in arenas for line in text) >= len(arenas)


def in_words(n):
    """As text has it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1023.95:
            return f"{n:.{0 if unit == 'B' else 1}f} {unit}"
        n /= 1024
    raise AssertionError
