"""A victim: keeps blocks made on lines that it tells itself. Prints {case: {"stack": [[function, line], ...], "blocks": n}}.

Every block is a bytes object, one block of a pool, that is stored into a list made before; nothing else that lives on is
made on those lines.
"""
import functools
import json
import re
import sys
import threading

N = 40
SIZE = 60  # of a bytes object's contents
kept = {}
told = {}


def here(case):
    """Notes the stack of the calling line, innermost first, at the first call of a case."""
    if case not in told:
        frame, stack = sys._getframe(1), []
        while frame:
            code = frame.f_code
            stack.append((getattr(code, "co_qualname", code.co_name), frame.f_lineno))
            frame = frame.f_back
        told[case] = stack


def slots(case, n=N):
    return kept.setdefault(case, [None] * n)


def plain():
    s = slots("plain")
    for i in range(N):
        s[i] = bytes(SIZE); here("plain")


def outer():
    def inner(s, i):
        s[i] = bytes(SIZE); here("nested")

    s = slots("nested")
    for i in range(N):
        inner(
            s,
            i)


def put(s, i):
    s[i] = bytes(SIZE); here("listcomp")


def put_gen(s, i):
    s[i] = bytes(SIZE); here("genexpr")


def comprehensions():
    s, g = slots("listcomp"), slots("genexpr")
    [
        put(s, i)
        for i in range(N)
    ]
    all(
        put_gen(g, i) is None
        for i in range(N)
    )


def generator(s):
    for i in range(0, N, 2):
        s[i] = bytes(SIZE); here("generator")
        yield i
        s[i + 1] = bytes(SIZE); here("generator, second line")
        yield i + 1


def delegating(s):
    yield from generator(s)


def generators():
    s = slots("generator")
    for _ in delegating(s):
        pass
    kept["generator, second line"], kept["generator"] = s[1::2], s[::2]


class Maker:
    def method(self, s, i):
        s[i] = bytes(SIZE); here("method")

    @property
    def prop(self):
        s = slots("property", 1)
        s[0] = bytes(SIZE); here("property")
        return 1

    @staticmethod
    def static(s, i):
        s[i] = bytes(SIZE); here("static")


def methods():
    maker, m, s = Maker(), slots("method"), slots("static")
    for i in range(N):
        maker.method(m, i)
        Maker.static(s, i)
    maker.prop


def store(s, i, block, _):
    s[i] = block


def lambdas():
    s = slots("lambda")
    f = lambda i: store(s, i, bytes(SIZE), here("lambda"))
    for i in range(N):
        f(i)


def twice(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper


@twice
@twice
def decorated(s, *, at):
    s[at] = bytes(SIZE); here("decorated")


def decorators():
    s = slots("decorated")
    for i in range(N):
        decorated(s, at=i)


def recurse(depth, case):
    if depth:
        return recurse(depth - 1, case)
    s = slots(case)
    for i in range(N):
        s[i] = bytes(SIZE); here(case)


def executed():
    """Code objects that come and go at the same addresses, alike but for where in them the line is."""
    for n in range(60):
        case = "exec %d" % n
        source = "def f(s):\n" + "\n" * (n % 17) + "  if s:\n" + "\n" * n + "    s[0] = bytes(SIZE); here(case)\n"
        space = {"SIZE": SIZE, "here": here, "case": case}
        exec(compile(source, "<made up>", "exec"), space)
        space["f"](slots(case, 1))
        space.clear()


def in_thread(case):
    recurse(5, case)


def threads():
    all_threads = [threading.Thread(target=in_thread, args=("thread %d" % n,)) for n in range(6)]
    for t in all_threads:
        t.start()
    for t in all_threads:
        t.join()


def key(i):
    slots("sorted")[i] = bytes(SIZE); here("sorted")
    return -i


def add(i, j):
    slots("reduce")[j - 1] = bytes(SIZE); here("reduce")
    return i + j


def replaced(match):
    slots("re")[int(match.group())] = bytes(SIZE); here("re")
    return ""


class Odd:
    def __init__(self, i):
        self.i = i


def default(odd):
    slots("json")[odd.i] = bytes(SIZE); here("json")
    return odd.i


def from_c():
    for case in ("sorted", "reduce", "re", "json"):
        slots(case)
    sorted(range(N), key=key)
    functools.reduce(add, range(1, N + 1), 0)
    re.sub("[0-9]+", replaced, " ".join(str(i) for i in range(N)))
    json.dumps([Odd(i) for i in range(N)], default=default)


async def leaf(s, i):
    s[i] = bytes(SIZE); here("coroutine")


async def branch(s):
    for i in range(N):
        await leaf(s, i)


def coroutines():
    try:
        branch(slots("coroutine")).send(None)
    except StopIteration:
        pass


class Body:
    s = slots("class body", 1)
    s[0] = bytes(SIZE); here("class body")


def no_gc():
    try:
        raise ValueError
    except ValueError:
        s = slots("handler", 1)
        s[0] = bytes(SIZE); here("handler")
    finally:
        s = slots("finally", 1)
        s[0] = bytes(SIZE); here("finally")


def main():
    here("warm-up"), store([None], 0, None, None)  # up to 3.10 a function keeps the frame of its first call
    told.clear()
    for test in (plain, outer, comprehensions, generators, methods, lambdas, decorators, executed, threads, from_c,
                 coroutines, no_gc):
        test()
    recurse(30, "recursion")
    sys.setrecursionlimit(3000)
    recurse(500, "deep recursion")
    size = sys.getsizeof(bytes(SIZE))
    cases = {c: {"stack": told[c], "blocks": len(kept[c])} for c in told}
    print(json.dumps({"size": size, "cases": cases}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
