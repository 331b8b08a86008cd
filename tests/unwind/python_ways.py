"""Ways in and out of Python's evaluation loop, at random depths, for test_unwind.py: argument = rounds. Whatever passes the loop's C frames is here:
generators, coroutines, exceptions, callbacks from C, finalizers, re-entrance, tracing, threads, contexts; with a second argument,
greenlets that are begun at one depth and resumed from another, with no allocation between.
"""
import asyncio
import contextvars
import functools
import itertools
import json
import random
import re
import sys
import threading

if len(sys.argv) > 2:
    import greenlet

chance = random.Random(4)
context = contextvars.copy_context()


def allocate(n=0):
    return [bytearray(700 + n), str(n) * 300]


def generator(n):
    for i in range(n):
        allocate(i)
        got = yield i
        if got:
            yield from generator(n - 1)


class Closes:
    def __del__(self):
        allocate(3)


class Compares:
    def __init__(self, n):
        self.n = n

    def __lt__(self, other):
        allocate(self.n)
        return self.n < other.n

    def __repr__(self):
        return "x" * len(str(allocate(self.n)))


def raises(n):
    try:
        allocate(n)
        if n:
            raises(n - 1)
        raise ValueError(n)
    except ValueError:
        if n % 2:
            raise
        allocate(n)
        raise KeyError(n) from None


def fails(n):
    try:
        raises(n)
    except (ValueError, KeyError):
        allocate(n)


async def waits(n):
    allocate(n)
    await asyncio.sleep(0)
    if n:
        await asyncio.gather(waits(n - 1), waits(n - 2 if n > 1 else 0))
    allocate(n)


def resumes_elsewhere(n):
    """A generator is begun by one call of the loop and goes on in others, C's and Python's."""
    g = generator(max(n, 0) + 5)
    next(g)
    allocate()
    list(map(lambda i: (allocate(i), next(g, None)), range(2)))
    sorted(range(3), key=lambda i: len(allocate(i)) + (g.send(0) if i == 0 else i))
    for _ in g:
        allocate()


def traced(n):
    def trace(frame, event, arg):
        allocate(1)
        return trace
    sys.settrace(trace)
    try:
        down(n)
    finally:
        sys.settrace(None)


def down(n):
    """Some ways further in."""
    allocate(n)
    if n > 0:
        chance.choice(WAYS)(n - 1)
        allocate(n)


def in_thread(n):
    t = threading.Thread(target=down, args=(n,))
    t.start()
    allocate(n)
    t.join()


WAYS = [
    down, down, fails, resumes_elsewhere, traced,
    lambda n: sorted([Compares(i) for i in range(4)], key=lambda c: (down(n - 1), c.n)[1]),
    lambda n: sorted([Compares(4 - i) for i in range(4)]),
    lambda n: [x for x in generator(4)],
    lambda n: list(itertools.chain.from_iterable(generator(i) for i in range(4))),
    lambda n: functools.reduce(lambda a, b: (down(n - 1), a)[1], range(3)),
    lambda n: eval("down(n - 1)", {"down": down, "n": n}),
    lambda n: exec("for i in range(2): down(n - 1)", {"down": down, "n": n}),
    lambda n: re.sub("a", lambda m: (down(n - 1), "b" * 600)[1], "cacac"),
    lambda n: json.dumps([{"k": 1}, Compares(n)], default=lambda o: (down(n - 1), repr(o))[1]),
    lambda n: contextvars.copy_context().run(down, n - 1),
    lambda n: (Closes(), down(n - 1)),
    lambda n: asyncio.run(waits(min(n, 3))) if threading.current_thread() is threading.main_thread() and not asyncio_runs() else down(n),
    lambda n: in_thread(n - 2) if n > 4 else None,
    lambda n: max([Compares(i) for i in range(3)], key=lambda c: (allocate(), c.n)[1]),
    lambda n: [repr(Compares(n)) for _ in range(2)],
    lambda n: type("T", (), {"__init_subclass__": classmethod(lambda cls: down(n - 1))}) and None,
]


def asyncio_runs():
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


# Between a switch and the next allocation nothing here allocates with malloc, under pymalloc: what lies above a greenlet's own part of the stack
# changes, and no walk sees how.
def through_c(n, act, others):
    if n:
        return max((n,), key=lambda _: through_c(n - 1, act, others))
    return act(others)


def switch_to_all(others):
    for g in others:
        if not g.dead:
            g.switch()


def sleeper(n):
    main = greenlet.getcurrent().parent
    if n:
        return max((n,), key=lambda _: sleeper(n - 1))
    for i in range(8):
        block = bytearray(900 + i)
        main.switch()
        block = bytearray(800 + i)
    del block
    down(3)


def greenlets(n):
    others = [greenlet.greenlet(functools.partial(sleeper, i)) for i in range(n)]
    for depth in (5, 2, 1, 0, 3, 0, 4, 1, 0):
        through_c(depth, switch_to_all, others)


def main():
    sys.setrecursionlimit(5000)
    for _ in range(int(sys.argv[1])):
        if len(sys.argv) > 2:
            greenlets(1)
            greenlets(4)
        else:
            down(7)
            resumes_elsewhere(2)


main()
