# SPDX-License-Identifier: BSD-2-Clause
"""
All kinds of Python's own allocations, while tracemalloc keeps their books. Usage: python_truth.py FRAMES ROUNDS

Stands still in os.read() before tracemalloc starts and when all is done: what is allocated in between is in tracemalloc's table and in
that of who looks on. Then tells tracemalloc's, a row a traceback; and a result, which does not depend on who looks on.
"""
import _csv  # what is in libraries is loaded before anything is compared
import ctypes
import decimal
import gc
import heapq
import json
import math
import os
import sys
import threading
import tracemalloc

import _tracemalloc

HERE = os.path.abspath(__file__)
kept = []


def pause(**told):
    os.write(1, (json.dumps(told) + "\n").encode())
    os.read(0, 3)


def switch(on):
    """
    Since 3.8 tracemalloc moves the block of an object that comes from a free list, and was not allocated, to the line that got
    the object, while its switch is on (Objects/object.c: _Py_NewReference). What it traces is not up to that switch.
    """
    config.tracing = on


class Config(ctypes.Structure):
    """Include/internal/pycore_tracemalloc.h: struct _PyTraceMalloc_Config."""
    _fields_ = [("initialized", ctypes.c_int), ("tracing", ctypes.c_int), ("frames", ctypes.c_int)]


def find_config(frames):
    if sys.version_info < (3, 8):
        return Config()  # there is no such switch
    if sys.version_info < (3, 12):
        return Config.in_dll(ctypes.pythonapi, "_Py_tracemalloc_config")
    start = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    words = (ctypes.c_int * 16384).from_address(start)[:]
    found = [i for i in range(len(words) - 2) if words[i:i + 3] == [1, 1, frames]]
    assert len(found) == 1, found
    return Config.from_address(start + 4 * found[0])


class Point:
    def __init__(self, x):
        self.x = x
        self.more = {str(x): [x] * (x % 9)}

    def __del__(self):
        self.x = None


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, a):
        self.a = a
        self.b = (a, float(a) * 1.5)


def generate(n):
    for i in range(n):
        yield [i, "g%d" % i]


def small(n):
    kept.append([object() for _ in range(n)])
    kept.append([Point(i) for i in range(n)])
    kept.append([Slots(i) for i in range(n)])
    kept.append({i: str(i) * 3 for i in range(n)})
    kept.append({(i, i + 1) for i in range(n)})
    kept.append(list(generate(n)))
    kept.append([lambda i=i: i for i in range(n)])
    kept.append([2 ** (i + 70) for i in range(n)])


def large(n):
    kept.append([bytes(600 + i * 7) for i in range(n)])
    kept.append([bytearray(2000 + i) for i in range(n)])
    kept.append(["x" * (513 + i) for i in range(n)])
    kept.append([[None] * (100 + i) for i in range(n)])
    kept.append(bytes(3000000))


def resized(n):
    buffer = bytearray()
    for i in range(n * 20):
        buffer += b"0123456789" * (i % 5)
    kept.append(buffer)
    del buffer[100:]
    text = ""
    for i in range(n * 5):
        text += chr(64 + i % 40)
    kept.append(text)
    growing = []
    for i in range(n * 50):
        growing.append(i)
    del growing[5:]
    kept.append(growing)


def gone(n):
    """Nothing of this stays, but for what free lists keep."""
    for i in range(n):
        Point(i)
        bytes(1000 + i)
        sorted([str(k) for k in range(20)], key=len)
        try:
            raise ValueError("%d" % i)
        except ValueError as error:
            repr(error)


def refused():
    for make in (bytes, bytearray):
        try:
            make(1 << 62)
        except (MemoryError, OverflowError):
            pass


def compiled(n):
    for i in range(n):
        scope = {}
        exec(compile("def f(a, b=%d):\n    return [a, b, 'text %d']\nx = f(1)\n" % (i, i), "<made %d>" % i, "exec"), scope)
        kept.append(scope)


def imported():
    import csv
    import difflib
    import fractions
    kept.append([csv, difflib, fractions.Fraction(1, 3), math.pi, _csv.QUOTE_ALL, decimal, heapq])


def parsed(n):
    text = json.dumps([{"name": "n%d" % i, "values": [i, i * 0.5, None, "é%d" % i]} for i in range(n)])
    kept.append(json.loads(text))


def threads(n):
    def work(k):
        kept.append([str(i + k) for i in range(n)])

    for k in range(4):
        thread = threading.Thread(target=work, args=(k,))
        thread.start()
        thread.join()


def deep(n):
    kept.append([n, "deep %d" % n])
    if n:
        deep(n - 1)


def run(rounds):
    for i in range(rounds):
        small(30)
        large(12)
        resized(20)
        gone(20)
        refused()
        compiled(5)
        parsed(20)
        threads(10)
        deep(20)
        if i % 2:
            del kept[: len(kept) // 2]
    imported()


def rows_of(traces):
    rows = {}
    for trace in traces:
        frames = tuple(trace[2])
        row = rows.setdefault(frames, [0, 0])
        row[0] += 1
        row[1] += trace[1]
    return [[frames[::-1], *numbers] for frames, numbers in rows.items()]


def main():
    global config
    frames, rounds = int(sys.argv[1]), int(sys.argv[2])
    with open(HERE, encoding="utf-8") as file:
        lines = [number for number, text in enumerate(file, 1) if text.endswith("# own\n")]
    tracemalloc.start(frames)
    config = find_config(frames)
    tracemalloc.stop()
    get = _tracemalloc._get_traces
    pause(gate="start", pid=os.getpid())
    # What tracemalloc makes for itself, the bytes that are read, the list of the traces are made in lines that nobody compares.
    tracemalloc.start(frames)  # own
    switch(0)
    run(rounds)
    gc.collect()  # this empties the free lists: nothing comes from there once the switch is on
    os.write(1, b'{"gate": "end"}\n')
    os.read(0, 3)  # own
    config.tracing = 1  # own
    traces = get()  # own
    tracemalloc.stop()
    pause(gate="told", rows=rows_of([trace for trace in traces if trace[0] == 0]), lines=lines, script=HERE,
          version=sys.version_info[:2], result=sum(len(k) if hasattr(k, "__len__") else 1 for k in kept))


config = None
main()
