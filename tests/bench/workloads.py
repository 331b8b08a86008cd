"""The programs that are measured, and what they read."""
import random
import shutil
import subprocess

import measure

PYTHON = "/usr/bin/python3"
PROGRAMS = measure.ROOT / "tests/bench/programs"
BUILT = measure.BUILD / "programs"


SMALL = 40  # peers that take microseconds an event get a fortieth of the work, with bare runs of their own


class Workload:
    """argv: run once a round; small: the same with a fortieth of the work. sorts: "pymalloc" and "python"
    choose variants. threads: 2 compares wall time too. extra: no figure that has a target comes of it, so --quick leaves it out."""

    def __init__(self, key, title, argv, small=None, env=None, stdin=None, small_stdin=None, sorts=(), threads=1, without=None, extra=False):
        self.key, self.title, self.argv = key, title, [str(a) for a in argv]
        self.small = [str(a) for a in small] if small else None
        self.env, self.stdin, self.small_stdin = env or {}, stdin, small_stdin
        self.sorts, self.threads, self.without, self.extra = sorts, threads, without or {}, extra

    def missing(self):
        return None if shutil.which(self.argv[0]) else f"{self.argv[0]} is not there"

    def shrunk(self):
        return Workload(self.key, self.title, self.small, env=self.env, stdin=self.small_stdin, sorts=self.sorts, threads=self.threads)


def counted(key, title, argv, count, **more):
    """A program whose last argument is how much it does."""
    return Workload(key, title, [*argv, count], [*argv, max(1, count // SMALL)], **more)


def big_c_file(path, functions):
    """A C file that makes the compiler allocate: many functions with arithmetic, arrays and switches."""
    rng = random.Random(7)
    with open(path, "w") as f:
        f.write("typedef unsigned long uint64_t;\n")  # cc1 alone does not find headers
        for n in range(functions):
            f.write(f"uint64_t f{n}(uint64_t a, uint64_t b, uint64_t *v) {{\n\tuint64_t r = a;\n")
            for _ in range(12):
                op = rng.choice(["+", "-", "^", "*", "|", "&"])
                f.write(f"\tr = (r {op} (b << {rng.randrange(1, 30)})) + v[{rng.randrange(16)}] * {rng.randrange(1, 999)}u;\n")
            f.write("\tswitch (r % 5) {\n")
            for k in range(5):
                f.write(f"\tcase {k}: for (int i = 0; i < {k + 3}; i++) v[i] ^= r >> i; break;\n")
            f.write(f"\t}}\n\treturn r{' + f%d(b, r, v)' % (n - 1) if n and n % 3 else ''};\n}}\n")


def sql_bulk(path, rows):
    """Inserts by one statement, which is prepared once: the work of a program that knows its database."""
    with open(path, "w") as f:
        f.write("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, price REAL, note TEXT);\nBEGIN;\n"
                f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})\n"
                f"INSERT INTO t SELECT n, 'a name', n * 0.37, '{'x' * 80}' FROM c;\n"
                "COMMIT;\nSELECT count(*), sum(length(note)) FROM t;\n")


def sql_statements(path, rows):
    """Inserts, one statement each, in one transaction, with an index, and a few queries over them."""
    rng = random.Random(7)
    with open(path, "w") as f:
        f.write("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, price REAL, note TEXT);\nCREATE INDEX i ON t(name);\nBEGIN;\n")
        for n in range(rows):
            note = "x" * rng.randrange(10, 200)
            f.write(f"INSERT INTO t VALUES({n}, 'name{rng.randrange(rows)}', {rng.random():.6f}, '{note}');\n")
        f.write("COMMIT;\nSELECT count(*), sum(length(note)) FROM t;\nSELECT name, count(*) FROM t GROUP BY name ORDER BY 2 DESC LIMIT 5;\n")


def cc1():
    return subprocess.run(["gcc", "-print-prog-name=cc1"], capture_output=True, text=True).stdout.strip()


def python(key, title, program, rounds, extra=False):
    """One Python program twice: with every object a malloc, and as it is."""
    argv = [PYTHON, PROGRAMS / program]
    return [counted(f"{key}_malloc", f"{title}, PYTHONMALLOC=malloc", argv, rounds // 2, env={"PYTHONMALLOC": "malloc"},
                    sorts=("python",), extra=extra),
            counted(key, f"{title}, pymalloc", argv, rounds, sorts=("python", "pymalloc"), extra=extra)]


def all_of(directory, scale):
    """Every workload; what they read is written to `directory`. scale 1 is about a tenth of a second each."""
    sources = [directory / "big.c", directory / "medium.c", directory / "few.c"]
    for path, functions in zip(sources, (300 * scale, 60 * scale, 4)):
        big_c_file(path, functions)
    bulk, statements = ([directory / f"{name}{n}.sql" for n in (0, 1)] for name in ("bulk", "statements"))
    for n, share in ((0, 1), (1, SMALL)):
        sql_bulk(bulk[n], 300_000 * scale // share)
        sql_statements(statements[n], 40_000 * scale // share)
    loop, threads = BUILT / "bench_loop", BUILT / "bench_threads"
    compiler = {(level, s.name): [cc1(), "-quiet", level, s, "-o", "/dev/null"] for level in ("-O0", "-O2") for s in sources}
    return [
        counted("bignum", "bignum factoriser", [BUILT / "bench_factor"], 12 * scale),
        counted("cubes", "C, recursive, depth 14", [BUILT / "bench_cubes"], 40 * scale),
        counted("loop5", "malloc/free loop, depth 5", [loop, "tight"], 8_000_000 * scale),
        counted("loop14", "malloc/free loop, depth 14", [loop, "middle"], 8_000_000 * scale, extra=True),
        counted("loop40", "malloc/free loop, depth 40", [loop, "deep"], 8_000_000 * scale),
        counted("mixed", "mixed sizes, 4096 slots", [loop, "mixed"], 4_000_000 * scale, extra=True),
        counted("lives", "mixed sizes, long lives", [loop, "lives"], 3_000_000 * scale),
        counted("threads", "2 threads, independent, a server's", [threads, "server"], 4_000_000 * scale, threads=2),
        counted("threads_bare", "2 threads, independent, no work", [threads, "bare"], 8_000_000 * scale, threads=2, extra=True),
        counted("handoff", "2 threads, producer/consumer", [threads, "handoff"], 4_000_000 * scale, threads=2),
        Workload("cc1", "cc1 -O0, large C file", compiler["-O0", "big.c"], compiler["-O0", "few.c"]),
        Workload("cc1_O2", "cc1 -O2, C file", compiler["-O2", "medium.c"], compiler["-O2", "few.c"], extra=True),
        *(Workload(key, title, ["sqlite3", ":memory:"], ["sqlite3", ":memory:"], stdin=script[0], small_stdin=script[1], extra=extra)
          for key, title, script, extra in [("sqlite", "sqlite3, in-memory inserts", bulk, False),
                                            ("sqlite_text", "sqlite3, a statement a row", statements, True)]),
        *python("json", "Python, JSON", "json_loop.py", 60 * scale),
        python("json_new", "Python, new JSON each time", "json_new.py", 500 * scale, extra=True)[0],
        *python("dict", "Python, dicts", "dict_loop.py", 60 * scale),
    ]
