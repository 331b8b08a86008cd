"""Names of frames: inlined functions, stripped files, files that are not the recorded ones, debug information read once."""
import shutil
import subprocess

import pytest

import harness

SOURCE = """\
#include <stdlib.h>
void *volatile sink;
static inline __attribute__((always_inline)) void *inner(int n)
{
	return malloc(n); /* inner */
}
__attribute__((noinline, visibility("default"))) void exported(int n)
{
	sink = inner(n); /* call */
	sink = (char *)sink + 1;
}
int main(void)
{
	exported(4321);
	return 0;
}
"""
INNER = 1 + SOURCE[:SOURCE.index("/* inner")].count("\n")
CALL = 1 + SOURCE[:SOURCE.index("/* call")].count("\n")


def build(place, *flags, source=SOURCE):
    place.mkdir(exist_ok=True)
    (place / "victim.c").write_text(source)
    subprocess.run(["gcc", "-O2", "-g", "-rdynamic", "-Wl,--build-id", *flags, "-o", place / "victim", place / "victim.c"], check=True)
    return place / "victim"


def frames(log):
    rows = harness.answer("leaks", log)["leaks"]
    return next(r["stack"] for r in rows if r["bytes"] == 4321)


def recorded(program, logs):
    assert harness.run([program], logs=logs).returncode == 0
    return harness.only_log(logs)


def test_inlined_functions_have_frames(tmp_path):
    stack = frames(recorded(build(tmp_path), tmp_path))
    seen = [(f["function"], f["line"], f["inlined"]) for f in stack[:3]]
    assert seen[0] == ("inner", INNER, True)
    assert seen[1] == ("exported", CALL, False)
    assert seen[2][0] == "main"
    assert all(f["file"].endswith("victim.c") for f in stack[:3])


def test_cplusplus_names_are_demangled(tmp_path):
    place = tmp_path / "cpp"
    place.mkdir()
    (place / "v.cpp").write_text("#include <cstdlib>\nnamespace shop { struct Cart { __attribute__((noinline)) void add(int n)"
                                 " { p = std::malloc(n); } void *volatile p; }; }\n"
                                 "int main() { shop::Cart c; c.add(4321); return 0; }\n")
    subprocess.run(["g++", "-O1", "-g", "-Wl,--build-id", "-o", place / "v", place / "v.cpp"], check=True)
    assert frames(recorded(place / "v", place))[0]["function"].endswith("shop::Cart::add(int)")


def test_a_stripped_file_gives_offsets_and_dynamic_names(tmp_path):
    program = build(tmp_path)
    subprocess.run(["strip", program], check=True)
    stack = frames(recorded(program, tmp_path))
    assert stack[0]["function"] == "exported" and stack[0]["line"] is None  # in .dynsym, thanks to -rdynamic
    assert all(f["module"].endswith("/victim") and f["offset"] > 0 for f in stack[:2])


def test_a_file_that_was_replaced_gives_no_names(tmp_path):
    log = recorded(build(tmp_path), tmp_path)
    build(tmp_path, source=SOURCE.replace("4321", "1234"))
    stack = frames(log)
    own = [f for f in stack if f["module"].endswith("/victim")]
    assert own and all(f["function"] is None and f["line"] is None and f["offset"] > 0 for f in own)
    text = harness.tidemark("leaks", log)
    assert "victim+0x" in text


def test_a_file_that_is_gone_gives_no_names(tmp_path):
    program = build(tmp_path)
    log = recorded(program, tmp_path)
    program.unlink()
    assert frames(log)[0]["function"] is None
    program.mkdir()  # a directory, a FIFO: looked at, not opened
    assert frames(log)[0]["function"] is None


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_a_file_is_opened_once_for_all_logs(tmp_path):
    program = build(tmp_path / "build")
    logs = tmp_path / "logs"
    logs.mkdir()
    for _ in range(5):
        assert harness.run([program], logs=logs).returncode == 0
    done = harness.run(["strace", "-f", "-e", "trace=openat", harness.TIDEMARK, "leaks", logs],
                       env={"ASAN_OPTIONS": "detect_leaks=0"})  # which cannot look while somebody traces
    opened = [l for l in done.stderr.decode().splitlines() if f'"{program}"' in l]
    assert done.returncode == 0 and len(opened) == 1, opened
