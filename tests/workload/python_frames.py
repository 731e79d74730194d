#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""PyTraceMalloc_Track from everywhere that CPython code can be, and the stack at each of those moments: python_frames.py [REPEATS [DEPTH]]

Runs on CPython 3.7 and later. What the interpreter says of its own stack (traceback.extract_stack, and the code objects' qualified
names where there are any) is the truth. Addresses are numbers that nobody owns: a tracer does not look behind them.
"""
import asyncio
import ctypes
import functools
import itertools
import os
import signal
import sys
import threading
import traceback

import gates

DOMAIN = 777001
NATIVE_BYTES = 7654321
REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
DEPTH = int(sys.argv[2]) if len(sys.argv) > 2 else 180


def function_of(library):
    function = library.PyTraceMalloc_Track
    function.argtypes = (ctypes.c_uint, ctypes.c_size_t, ctypes.c_size_t)
    function.restype = ctypes.c_int
    return function


track_with_lock = function_of(ctypes.pythonapi)
track_without_lock = function_of(ctypes.CDLL(None))  # gives the interpreter's lock back for the call
numbers = itertools.count(1)
rows = {}


def stack():
    """The caller's stack, oldest first."""
    caller = sys._getframe(1)
    frames = []
    for frame, line in traceback.walk_stack(caller):
        code = frame.f_code
        frames.append((code.co_filename, line or 0, getattr(code, "co_qualname", code.co_name), code.co_name))
    frames.reverse()
    told = [(frame.filename, frame.lineno or 0, frame.name) for frame in traceback.extract_stack(caller)]
    assert told == [(file, line, name) for file, line, _, name in frames], (told, frames)
    return tuple(frame[:3] for frame in frames)


def book(frames, number, _, label):
    row = rows.setdefault((frames, label), [0, 0])
    row[0] += 1
    row[1] += number


def t(label=None):
    n = next(numbers)
    book(stack(), n, track_with_lock(DOMAIN, 16 * n, n), label)


def t_unlocked(label=None):
    n = next(numbers)
    book(stack(), n, track_without_lock(DOMAIN, 16 * n, n), label)


# ---- calls -----------------------------------------------------------------------------------------------------------


def plain_outer():
    plain_middle()


def plain_middle():
    plain_inner()


def plain_inner():
    t("plain")


def recursion(depth):
    if depth:
        recursion(depth - 1)
    else:
        t()
        t_unlocked()


class Outer:
    t("class body")

    class Inner:
        attribute = t("class body")

        def method(self):
            def closure():
                t()

            closure()
            (lambda: t())()

    @staticmethod
    def static():
        t()

    @classmethod
    def of_class(cls):
        t()

    @property
    def value(self):
        t()
        return 1

    def __getattr__(self, name):
        t()
        return name

    def __add__(self, other):
        t()
        return other

    def __enter__(self):
        t()

    def __exit__(self, *_):
        t()

    def __call__(self, *_):
        t()

    def __iter__(self):
        t()
        return iter((1, 2))

    def __len__(self):
        t()
        return 3

    def __del__(self):
        t()


class Meta(type):
    def __new__(mcs, name, bases, members):
        t()
        return super().__new__(mcs, name, bases, members)

    def __call__(cls):
        t()
        return super().__call__()


def methods():
    outer = Outer()
    Outer.Inner().method()
    Outer.static()
    Outer.of_class()
    outer.value
    outer.missing
    outer + 1
    with outer:
        t()
    outer(1)
    list(outer)
    len(outer)
    functools.partial(outer, 2)()

    class Made(metaclass=Meta):
        t()

        class Inner:
            t("class body")
            [t() for _ in range(2)]

        def __init__(self):
            t()

    Made()
    del outer


def decorated(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)

    return wrapper


@decorated
@decorated
def wrapped():
    t()


def called_from_c():
    sorted([1, 2], key=lambda _: t("callback") or 0)
    max([1, 2], key=lambda _: t("callback") or 0)
    list(map(lambda _: t("callback"), [1]))
    list(filter(lambda _: t("callback"), [1]))
    functools.reduce(lambda a, b: t("callback"), [1, 2, 3])
    sorted([3, 1, 2], key=functools.cmp_to_key(lambda a, b: t() or 0))
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda a, b: t("callback") or 0)
    array = (ctypes.c_int * 2)(2, 1)
    ctypes.CDLL(None).qsort(array, ctypes.c_size_t(2), ctypes.c_size_t(4), compare)


# ---- expressions and statements ------------------------------------------------------------------------------------


def comprehensions():
    [t() for _ in range(2)]
    {t() for _ in range(2)}
    {i: t() for i in range(2)}
    sum(t() or 1 for _ in range(2))
    [[t() for _ in range(2)] for _ in range(2)]
    [*(t() for _ in range(1)), [(lambda: t())() for _ in range(1)]]


def lines():
    t(
        "plain"
    )
    x = (1,
         t(),
         2) + (
             t(),
         )
    for _ in range(2): t()
    while x:
        t(); x = t()
    try:
        t()
        raise KeyError
    except ValueError:
        pass
    except (KeyError,
            IndexError):
        t()
    finally:
        t()
    return t()


def generators():
    def inner():
        t()
        yield 1
        t_unlocked()
        yield 2

    def middle():
        got = yield from inner()
        t()
        return got

    def outer():
        yield from middle()
        t()

    list(outer())
    by_hand = outer()
    next(by_hand)
    by_hand.close()

    def sent():
        while True:
            got = yield
            t(got)

    receiver = sent()
    next(receiver)
    receiver.send(None)
    try:
        receiver.throw(KeyError)
    except KeyError:
        t()


async def coroutine_leaf():
    t()
    await asyncio.sleep(0)
    t()


async def async_generator():
    t()
    yield 1
    await coroutine_leaf()
    yield 2


class AsyncContext:
    async def __aenter__(self):
        t()

    async def __aexit__(self, *_):
        t()


async def coroutines():
    await coroutine_leaf()
    async for _ in async_generator():
        t()
    [t() async for _ in async_generator()]
    async with AsyncContext():
        t()
    await asyncio.gather(coroutine_leaf(), coroutine_leaf())


# ---- code that is made, and gone -----------------------------------------------------------------------------------


def made():
    exec("t()")
    eval("t()")
    exec("def f():\n  t()\n\nf()\nclass K:\n  t()\n  def g(self): t()\nK().g()\n", dict(globals()))


def short_lived():
    """Code objects that have the address of the one before, and another name, file or table of lines, or the same ones."""
    for i in range(REPEATS):
        exec(compile("def f_%04d():\n  t()\nf_%04d()" % (i, i), "<short lived>", "exec"), {"t": t})
        exec(compile("t()", "<short lived %04d>" % i, "exec"), {"t": t})
        exec(compile("\n" * (i % 50) + "t()", "<short lived>", "exec"), {"t": t})
        exec(compile("x = 1\n" + "\n" * (i % 50) + "t()", "<short lived>", "exec"), {"t": t})
        exec(compile("class K%04d:\n  def method(self): t()\nK%04d().method()" % (i, i), "<short lived>", "exec"), {"t": t})
        eval("t()")


def names():
    for name in ("\xe9t\xe9", "\u0142\xf3d\u017a", "\u4e2d\u6587", "\U00010400x", "n" * 1023, "n" * 1024, "n" * 1025,
                 "n" * 3000, "\xe9" * 1100, "\u4e2d" * 600, "\U00010400" * 300):
        exec("def %s():\n  t()\n%s()" % (name, name), {"t": t})
    for file in ("/\xe9t\xe9.py", "/\u0142\u4e2d.py", "<\U0001f40d>", "", "/" + "long/" * 409 + "e.py", "/" + "long/" * 2000,
                 "\u4e2d" * 1024, "\u4e2d" * 1025, "\U0001f40d" * 700):
        exec(compile("t()", file, "exec"), {"t": t})
    # tables of lines that do not fit into a record
    big = "def big():\n" + "  x = 1\n" * 5000 + "  t()\n" + "  x = 2\n" * 70000 + "  t()\nbig()"
    exec(compile(big, "<big>", "exec"), {"t": t})
    exec(compile("x = 1" + "\n" * 70000 + "t()", "<far>", "exec"), {"t": t})


# ---- threads, signals, interpreters --------------------------------------------------------------------------------


def in_threads():
    def work(depth):
        if depth:
            return work(depth - 1)
        for _ in range(20):
            t()
            t_unlocked()
            barrier.wait()
        return None

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def native_thread():
    """A thread that never runs Python: it calls malloc()."""
    libc = ctypes.CDLL(None)
    thread, block = ctypes.c_ulong(), ctypes.c_void_p()
    libc.pthread_create(ctypes.byref(thread), None, ctypes.cast(libc.malloc, ctypes.c_void_p), ctypes.c_void_p(NATIVE_BYTES))
    libc.pthread_join(thread, ctypes.byref(block))
    assert block.value


def in_signal_handler():
    def handler(*_):
        t()

    signal.signal(signal.SIGUSR1, handler)
    os.kill(os.getpid(), signal.SIGUSR1)
    for _ in range(1000):
        pass


IN_INTERPRETER = """
import ctypes, json, os, sys
track = ctypes.pythonapi.PyTraceMalloc_Track
track.argtypes = ctypes.c_uint, ctypes.c_size_t, ctypes.c_size_t
def stack():
    frame, frames = sys._getframe(1), []
    while frame:
        frames.insert(0, (frame.f_code.co_filename, frame.f_lineno, getattr(frame.f_code, "co_qualname", frame.f_code.co_name)))
        frame = frame.f_back
    return frames
def f(depth):
    if depth:
        return f(depth - 1)
    os.write({fd}, (json.dumps((stack(), track({domain}, {address}, {number}))[0]) + "\\n").encode())
f({depth})
"""


def in_interpreters():
    """Other interpreters of the process. Returns why not, if so."""
    try:
        import _interpreters as interpreters
        create = functools.partial(interpreters.create, "legacy")
    except ImportError:
        try:
            import _xxsubinterpreters as interpreters
            create = functools.partial(interpreters.create, **({"isolated": False} if sys.version_info >= (3, 9) else {}))
        except ImportError:
            return "no module for other interpreters"
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as told:
        for depth in range(3):
            n = next(numbers)
            interpreter = create()
            source = IN_INTERPRETER.format(fd=write_end, domain=DOMAIN, address=16 * n, number=n, depth=depth)
            failed = interpreters.run_string(interpreter, source)
            assert not failed, failed
            frames = tuple(map(tuple, gates.json.loads(told.readline())))
            book(frames, n, 0, "interpreter")
            t()
            interpreters.destroy(interpreter)
    os.close(write_end)
    return None


def main():
    gates.gate(gate="start", pid=os.getpid())
    rows.clear()
    plain_outer()
    recursion(0)
    recursion(60)
    recursion(DEPTH)
    methods()
    wrapped()
    called_from_c()
    comprehensions()
    lines()
    generators()
    asyncio.run(coroutines())
    made()
    short_lived()
    names()
    in_threads()
    native_thread()
    in_signal_handler()
    without = in_interpreters()
    gates.gate(gate="end", version=sys.version_info[:3], without=without, domain=DOMAIN, native_bytes=NATIVE_BYTES, rows=[
        {"frames": frames, "label": label, "blocks": count, "bytes": size} for (frames, label), (count, size) in rows.items()])


if __name__ == "__main__":
    main()
