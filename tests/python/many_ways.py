"""A victim that uses an interpreter in unusual ways; what it prints depends on nothing but its arguments. The first names the way."""
import os
import subprocess
import sys
import threading

way = sys.argv[1]


class Thing:
    def __init__(self, n):
        self.n = n
        self.text = "thing %d" % n


def work(n=4000):
    things = [Thing(i) for i in range(n)]
    total = sum(t.n for t in things)
    return total + len({t.text: t for t in things})


def tracemalloc():
    import tracemalloc
    tracemalloc.start(5)
    kept = [Thing(i) for i in range(1000)]
    result = work() + len(kept)
    found = tracemalloc.take_snapshot().statistics("lineno")
    assert found and max(s.size for s in found) > 1000
    tracemalloc.stop()
    return result + work()


def fork():
    keep = [Thing(i) for i in range(1000)]
    for status in range(3):
        pid = os.fork()
        if pid == 0:
            more = [Thing(i) for i in range(20000)]
            os._exit(status if len(keep) + len(more) == 21000 else 99)
        assert os.waitpid(pid, 0)[1] >> 8 == status
    return work()


def fork_twice():
    keep = [Thing(i) for i in range(1000)]
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0:
            more = [Thing(i) for i in range(20000)]
            os._exit(0 if len(more) == 20000 else 1)
        os._exit(os.wait()[1] >> 8)
    assert os.waitpid(pid, 0)[1] == 0
    return len(keep)


def subinterpreters():
    try:
        import _xxsubinterpreters as interpreters
    except ImportError:
        try:
            import _interpreters as interpreters
        except ImportError:
            return work()
    for _ in range(3):
        one = interpreters.create()
        interpreters.run_string(one, "x = [str(i) * 3 for i in range(5000)]\ndel x[::2]\n")
        interpreters.destroy(one)
    return work()


def own_gils():
    """Subinterpreters that run at the same time (3.12 and later)."""
    try:
        import _xxsubinterpreters as interpreters
    except ImportError:
        try:
            import _interpreters as interpreters
        except ImportError:
            return work()
    source = "x = []\nfor k in range(60):\n  x.append([str(i) * 3 for i in range(1000)])\n  del x[0][::2]\n"

    def run():
        one = interpreters.create()
        interpreters.run_string(one, source)
        interpreters.destroy(one)

    all_threads = [threading.Thread(target=run) for _ in range(3)]
    for t in all_threads:
        t.start()
    work()
    for t in all_threads:
        t.join()
    return work()


def daemons():
    """Threads that allocate while the interpreter finalizes."""
    def run():
        while True:
            work(100)
    for _ in range(4):
        threading.Thread(target=run, daemon=True).start()
    return work()


def threads():
    results = []
    all_threads = [threading.Thread(target=lambda: results.append(work(2000))) for _ in range(16)]
    for t in all_threads:
        t.start()
    for t in all_threads:
        t.join()
    return sum(results)


def code_churn():
    """Code objects by the thousand, made and dropped, some kept."""
    kept = []
    for i in range(4000):
        space = {}
        exec(compile("def f(x):\n" + "\n" * (i % 7) + "    return [x, str(x)]\n", "<%d>" % (i % 50), "exec"), space)
        space["f"](i)
        if i % 100 == 0:
            kept.append(space["f"])
    return sum(f(1)[0] for f in kept)


def deep():
    sys.setrecursionlimit(20000)

    def down(n):
        return 1 + down(n - 1) if n else len([str(i) for i in range(10)])
    return sum(down(n) for n in (10, 62, 63, 64, 65, 66, 95, 96, 97, 98, 900, 64, 10))


def generators():
    def count(n):
        for i in range(n):
            got = yield [i, str(i)]
            if got:
                yield got
    all_of_them = [count(300) for _ in range(50)]
    total = 0
    for i in range(300):
        for g in all_of_them:
            total += next(g)[0]
    return total


def greenlets():
    try:
        import greenlet
    except ImportError:
        return work()

    def run(n):
        kept = []
        for i in range(200):
            kept.append(Thing(i))
            main.switch()
        return len(kept)
    main = greenlet.getcurrent()
    all_of_them = [greenlet.greenlet(run) for _ in range(20)]
    for _ in range(100):
        for g in all_of_them:
            g.switch(1)
    return len(all_of_them)


def children():
    out = subprocess.check_output([sys.executable, "-c", "print(sum(len(str(i)) for i in range(5000)))"])
    return int(out) + work()


def exception():
    class Odd(Exception):
        pass

    def fail(n):
        if n == 0:
            raise Odd([str(i) for i in range(100)])
        fail(n - 1)
    caught = 0
    for i in range(300):
        try:
            fail(i % 90)
        except Odd as e:
            caught += len(e.args[0])
    return caught


def plain():
    return work(40000)


print(way, globals()[way]())
