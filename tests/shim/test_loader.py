"""What the dynamic linker, other preloads, other allocators, sanitizers and other architectures make of us."""
import subprocess

import harness
import pytest
from twice import same

PROGRAM = harness.PROGRAMS / "loader_cases"
PLUGIN = harness.PROGRAMS / "plugin_lib.so"
EARLY = harness.PROGRAMS / "early_lib.so"


def report_of(tmp_path, *arguments, **env):
    log, = same([PROGRAM, *arguments], tmp_path, env=env)
    report = harness.answer("report", log)
    assert report["coverage"]["lost"] == 0 and report["process"]["end"] == "exit"
    return report


def test_deep_binding(tmp_path):
    """P68: a plugin that binds to libc first: its calls are not seen, and the report says how many frees it knows nothing of."""
    report = report_of(tmp_path, "deepbind", PLUGIN)
    assert report["coverage"]["unmatched_frees"] >= 1  # most addresses come back from the other side


def test_other_namespace(tmp_path):
    """P68: dlmopen has a libc of its own, that nobody traces; nothing breaks."""
    report_of(tmp_path, "dlmopen", PLUGIN)


def test_thread_local_storage(tmp_path):
    """P09, P12, P21: the first touch of dynamic TLS calls malloc; our own does not."""
    report = report_of(tmp_path, "tls", PLUGIN)
    assert report["totals"]["allocs"] >= 20 * 8 and report["coverage"]["unmatched_frees"] == 0


def test_libraries_that_come_and_go(tmp_path):
    """P05, P21, P81, P82: dlopen and dlclose while allocating, addresses used again."""
    report = report_of(tmp_path, "again", PLUGIN)
    assert report["totals"]["allocs"] >= 200 * 1500 and report["coverage"]["unmatched_frees"] == 0


def test_pointers_taken_early(tmp_path):
    """P68: through function pointers in static data."""
    assert report_of(tmp_path, "pointers")["totals"]["allocs"] >= 500


def test_bind_now(tmp_path):
    """P04, P68: every symbol of ours is found at load."""
    assert report_of(tmp_path, "pointers", LD_BIND_NOW="1")["totals"]["allocs"] >= 500


def test_freeres(tmp_path):
    """P03, P37: libc frees everything of its own at the end."""
    done = harness.run([PROGRAM, "freeres"], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"done\n", b"")
    report = harness.answer("report", harness.only_log(tmp_path))
    assert report["coverage"]["unmatched_frees"] == 0 and report["totals"]["live_blocks"] < 5


def test_sized_frees(tmp_path):
    """P65, P67: C23's, and one that libc has dropped, are there whatever libc has, and are frees."""
    done = harness.run([PROGRAM, "sized"], tmp_path)
    assert (done.returncode, done.stdout) == (0, b"done\n")
    report = harness.answer("report", harness.only_log(tmp_path))
    assert report["totals"]["frees"] >= 297 and report["totals"]["live_blocks"] < 10


def test_loaded_late(tmp_path):
    """P10, P81: by dlopen: one line, passive; what it exports works, and it can be closed."""
    done = harness.run([PROGRAM, "late", harness.SHIM], env={"TIDEMARK_DIR": tmp_path})
    assert (done.returncode, done.stdout) == (0, b"1 0\n")
    assert done.stderr.startswith(b"tidemark: ") and done.stderr.count(b"\n") == 1 and harness.logs_in(tmp_path) == []


@pytest.mark.parametrize("order", ["before", "after"])
def test_another_preload(tmp_path, order):
    """P01, P02, P05, P08, P86: a neighbour that allocates in its constructor and stands in front of what we might call."""
    preload = f"{EARLY} {harness.SHIM}" if order == "before" else f"{harness.SHIM} {EARLY}"
    plain = harness.run([harness.PROGRAMS / "alloc_edges"], env={"LD_PRELOAD": EARLY})
    done = harness.run([harness.PROGRAMS / "alloc_edges"], tmp_path, env={"LD_PRELOAD": preload})
    assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    report = harness.answer("report", harness.only_log(tmp_path))
    assert report["totals"]["allocs"] > 400 and report["process"]["allocator"].startswith("glibc")
    # its constructor may run before ours: then its events are counted, not lost from sight
    assert report["coverage"]["lost_by_reason"]["preinit"] + report["totals"]["allocs"] > 500


def built(tmp_path, *flags, source="int main(void) { for (int i = 0; i < 1000; i++) free(malloc(i)); return puts(\"done\") < 0; }"):
    text = tmp_path / "program.c"
    text.write_text("#include <stdio.h>\n#include <stdlib.h>\n" + source)
    program = tmp_path / "program"
    done = subprocess.run([flags[0], "-O0", *flags[1:], "-o", program, text], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot build with {' '.join(flags)}: {done.stderr.decode()[-200:]}")
    return program


@pytest.mark.parametrize("flags", [("gcc", "-fsanitize=address", "-static-libasan"), ("clang", "-fsanitize=address"),
                                   ("clang", "-fsanitize=thread")])
def test_sanitizers(tmp_path, flags):
    """P79: one line, passive."""
    program = built(tmp_path, *flags)
    done = harness.run([program], tmp_path, env={"ASAN_OPTIONS": "detect_leaks=0"})
    assert (done.returncode, done.stdout) == (0, b"done\n"), done.stderr
    assert done.stderr.startswith(b"tidemark: this program has a sanitizer's") and done.stderr.count(b"\n") == 1
    assert harness.logs_in(tmp_path) == []


def test_valgrind(tmp_path):
    """P79: valgrind takes the place of malloc itself; the program runs and nothing is reported against us."""
    try:
        done = harness.run(["valgrind", "--error-exitcode=9", "-q", PROGRAM, "pointers"], tmp_path, timeout=300)
    except FileNotFoundError:
        pytest.skip("valgrind is not installed")
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_static_allocator(tmp_path):
    """P64: an allocator inside the executable keeps its calls to itself, and the log says so."""
    program = built(tmp_path, "gcc", "-rdynamic", "-Wl,--whole-archive", "/usr/lib/x86_64-linux-gnu/libjemalloc_pic.a",
                    "-Wl,--no-whole-archive", "-lm", "-lpthread", "-ldl", "-lstdc++")
    (tmp_path / "logs").mkdir()
    done = harness.run([program], tmp_path / "logs")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"done\n", b"")
    report = harness.answer("report", harness.only_log(tmp_path / "logs"))
    assert report["process"]["allocator"] == "jemalloc (not traced)" and report["totals"]["allocs"] == 0


def test_static_child(tmp_path):
    """P31: a static program is run untraced by a traced one."""
    program = built(tmp_path, "gcc", "-static")
    done = harness.run(["bash", "-c", f"{program}; echo $?"], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"done\n0\n", b"")
    assert [log.name.split("-")[0] for log in harness.logs_in(tmp_path)] == ["bash"]


def test_child_of_another_architecture(tmp_path):
    """P31: the 32-bit dynamic linker says that it ignores us, and the program runs."""
    source = "int main(void) { free(malloc(10)); return puts(\"done\") < 0; }\nvoid _start(void) { exit(main()); }"
    text = tmp_path / "program.c"
    text.write_text("extern void exit(int); extern void *malloc(unsigned); extern void free(void *); extern int puts(const char *);\n" + source)
    program = tmp_path / "program"
    done = subprocess.run(["gcc", "-m32", "-nostdlib", "-fno-pie", "-no-pie", "-fno-builtin", "-fno-stack-protector", "-mstackrealign",
                           "-o", program, text, "/lib32/libc.so.6", "-Wl,-dynamic-linker,/lib/ld-linux.so.2"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    try:
        harness.run([program])
    except OSError:
        pytest.skip("this kernel runs no 32-bit programs")
    done = harness.run(["bash", "-c", f"{program}; echo $?"], tmp_path)
    assert (done.returncode, done.stdout) == (0, b"done\n0\n")
    assert done.stderr.count(b"\n") == 1 and b"ld.so" in done.stderr


def test_path_with_a_space(tmp_path):
    """P32: the dynamic linker splits the list at spaces: the program runs untraced, and ld.so says so."""
    odd = tmp_path / "with space"
    odd.mkdir()
    (odd / "libtidemark.so").write_bytes(harness.SHIM.read_bytes())
    done = harness.run(["/bin/echo", "out"], tmp_path, env={"LD_PRELOAD": odd / "libtidemark.so"})
    assert (done.returncode, done.stdout) == (0, b"out\n") and harness.logs_in(tmp_path) == []
