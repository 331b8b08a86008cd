"""Debian's programs show the same with and without the shim: output, exit status, descriptors at exit (of every process)."""
import filecmp

import harness
from twice import same

C_SOURCE = b"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }
int main(int argc, char **argv) { qsort(argv, argc, sizeof *argv, compare); return printf("%s\\n", argv[0]) < 0; }
"""


def test_python_unittest_of_json(tmp_path):
    for mode in ("arenas", "objects"):
        (tmp_path / mode).mkdir()
        same([harness.PYTHON, "-B", "-m", "unittest", "test.test_json"], tmp_path / mode, env={"TIDEMARK_PYTHON": mode},
             scrub=[(rb"in \d+\.\d+s", b"in Ns")])


def test_python_with_system_malloc(tmp_path):
    same([harness.PYTHON, "-c", "import json; print(len(json.dumps([{'a': [i]} for i in range(20000)])))"], tmp_path,
         env={"PYTHONMALLOC": "malloc"})


def test_sqlite3(tmp_path):
    script = """
        create table t(a integer primary key, b text); create index i on t(b);
        with recursive n(x) as (select 1 union all select x + 1 from n where x < 20000) insert into t select x, hex(x * 7919) from n;
        select count(*), sum(a), max(b) from t where b like '3%'; delete from t where a % 3 = 0; vacuum;
        select group_concat(b) from (select b from t order by b limit 50); select no_such_column from t;"""
    same(["sqlite3", "file.db", script], tmp_path, status=1)


def test_git_log(tmp_path):
    same(["git", "-C", harness.ROOT, "log", "--stat", "-n", "20", "--no-color"], tmp_path)


def test_gcc(tmp_path):
    """P25: gcc starts cc1, as and ld with vfork."""
    def before(work):
        (work / "file.c").write_bytes(C_SOURCE)
    logs = same(["gcc", "-O2", "-o", "file", "file.c"], tmp_path, before=before)
    assert {log.name.split("-")[0] for log in logs} >= {"cc1", "collect2"}
    assert filecmp.cmp(tmp_path / "with/file", tmp_path / "without/file", shallow=False)


def test_node(tmp_path):
    """Its own heap is not seen; what libuv and V8 take from malloc and mmap is."""
    same(["node", "-e", "const m = new Map(); for (let i = 0; i < 1e5; i++) m.set(i, 'x' + i);"
          "console.log(m.size, Buffer.alloc(1e7).length); setTimeout(() => process.exit(7), 10)"], tmp_path, status=7)


def test_perl(tmp_path):
    same(["perl", "-e", "my %h; $h{$_ % 977} .= $_ for 1..200000; print join(',', map { length $h{$_} } sort keys %h), qq{\\n};"
          "print `echo from a child`; exit 5"], tmp_path, status=5)


def test_throwing(tmp_path):
    """P66, P70: exceptions through traced frames, out of operator new, out of threads."""
    same([harness.PROGRAMS / "throwing"], tmp_path, status=3)


def test_200_threads(tmp_path):
    """P15."""
    log, = same([harness.PROGRAMS / "threads_200"], tmp_path)
    assert harness.answer("report", log)["coverage"]["lost"] == 0


def test_shell_pipeline(tmp_path):
    """P42: a shell that counts on the lowest free numbers."""
    same(["bash", "-c", "exec 3>three 4>&3; echo a >&4; seq 1 2000 | sort -rn | tee copy | tail -n 3; ls /proc/self/fd; cat three; exit 9"],
         tmp_path, status=9)
