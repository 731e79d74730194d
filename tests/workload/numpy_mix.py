#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A program that allocates in as many ways as Python and NumPy have, in three threads, until a line comes in.

Prints {"pid": …} once it works, and {"turns": n} at its end. Each way checks its own result.
"""
import bz2
import collections
import ctypes
import functools
import hashlib
import itertools
import json
import os
import random
import re
import sys
import threading
import zlib

import numpy as np

COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_double))
libc = ctypes.CDLL(None)


def arrays():
    a = np.arange(6000.0).reshape(60, 100)
    b = np.concatenate([a, a * 2.0])
    b.sort(axis=1)
    assert np.allclose(np.fft.irfft(np.fft.rfft(a[0])), a[0])
    assert np.einsum("ij,ij->", a, a) == np.sum(a * a)


def linear_algebra():
    a = np.eye(40) * 3.0
    assert np.allclose(np.linalg.inv(a) @ a, np.eye(40))
    assert np.allclose(np.linalg.eigvalsh(a), 3.0)


def objects():
    a = np.array([str(i) for i in range(300)], dtype=object)
    assert len(np.unique(a)) == 300
    assert np.frompyfunc(lambda x: x * 2, 1, 1)(a)[3] == "33"
    assert np.apply_along_axis(lambda row: row.sum() + 1.0, 1, np.ones((9, 50))).sum() == 459


def containers():
    table = {i: [i] * (i % 200) for i in range(700)}
    text = json.dumps(table)
    assert json.loads(text, object_pairs_hook=collections.OrderedDict)["9"] == [9] * 9
    assert len(re.findall(r"(\d+), \1", text)) > 100
    return sorted(table, key=lambda i: -i)


def bytes_and_text():
    text = "".join(chr(0x100 + i % 5000) for i in range(3000)).encode()
    assert zlib.decompress(zlib.compress(text, 1)) == text == bz2.decompress(bz2.compress(text, 1))
    assert len(hashlib.sha256(text * 3).hexdigest()) == 64


def callbacks():
    """Python below C below Python: the C library's sort calls back."""
    values = (ctypes.c_double * 40)(*(random.random() for _ in range(40)))
    libc.qsort(values, 40, 8, COMPARE(lambda a, b: len(bytes(600)) * 0 + (a[0] > b[0]) - (a[0] < b[0])))
    assert list(values) == sorted(values)


def generators():
    def deeper(depth):
        yield np.full(depth + 1, depth)
        if depth < 30:
            yield from deeper(depth + 1)

    assert sum(len(a) for a in deeper(0)) == 496
    assert len(list(itertools.chain.from_iterable(map(list, deeper(10))))) > 100


def classes():
    made = type("Made", (dict,), {"__init__": lambda self, n: dict.__init__(self, (("a%d" % i, i) for i in range(n)))})
    assert len(made(200)) == 200
    space = {}
    exec("def f(n):\n    return [bytearray(n) for _ in range(20)]\nx = f(900)", space)
    assert len(space["x"]) == 20


def recursion(depth=60):
    if depth:
        return functools.reduce(lambda a, b: a + b, [recursion(depth - 1), np.ones(3 * depth)[:1]])
    return np.zeros(1)


def exceptions():
    for _ in range(20):
        try:
            np.zeros(3)[7]
        except IndexError as error:
            assert "out of bounds" in str(error)


WAYS = (arrays, linear_algebra, objects, containers, bytes_and_text, callbacks, generators, classes, recursion, exceptions)


def work(done, turns, seed):
    order = random.Random(seed)
    while not done.is_set():
        order.choice(WAYS)()
        turns[seed] += 1


def main():
    done, turns = threading.Event(), [0, 0, 0]
    threads = [threading.Thread(target=work, args=(done, turns, seed)) for seed in (1, 2)]
    for way in WAYS:  # what is imported or made at first use is there when the trace begins
        way()
    for thread in threads:
        thread.start()
    threading.Thread(target=lambda: (sys.stdin.readline(), done.set()), daemon=True).start()
    print(json.dumps({"pid": os.getpid()}), flush=True)
    work(done, turns, 0)
    for thread in threads:
        thread.join()
    print(json.dumps({"turns": min(turns)}), flush=True)


if __name__ == "__main__":
    main()
