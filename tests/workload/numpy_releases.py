#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Array memory as each NumPy release handles it, call by call, and the books of it: numpy_releases.py LIBRARY [FRAMES]

Releases up to 2.4 are replayed through ctypes: libc's malloc, calloc, realloc and free, PyTraceMalloc_Track and _Untrack. For 2.5
and later LIBRARY (libnumpy_calls.so) makes the calls. Three threads do all of it and free each other's arrays; a lock stands for the
GIL, which NumPy holds from a block's allocation until it has told of it. FRAMES: tracemalloc is on.
"""
import ctypes
import os
import random
import sys
import threading
import tracemalloc

import gates
from tracemalloc_domains import Books

NUMPY = 389047
HUGE = 2**62                            # refused by every allocator
TURNS = 250

libc = ctypes.PyDLL(None)
for name, arguments, result in (("malloc", 1, ctypes.c_size_t), ("calloc", 2, ctypes.c_size_t), ("realloc", 2, ctypes.c_size_t),
                                ("free", 1, None)):
    getattr(libc, name).argtypes, getattr(libc, name).restype = (ctypes.c_size_t,) * arguments, result
tell_track = ctypes.pythonapi.PyTraceMalloc_Track
tell_track.argtypes = (ctypes.c_uint, ctypes.c_size_t, ctypes.c_size_t)
tell_untrack = ctypes.pythonapi.PyTraceMalloc_Untrack
tell_untrack.argtypes = (ctypes.c_uint, ctypes.c_size_t)

lib = ctypes.PyDLL(sys.argv[1])
for name, arguments, result in (("user_new", 2, ctypes.c_size_t), ("user_zeroed", 3, ctypes.c_size_t), ("user_renew", 3, ctypes.c_size_t),
                                ("user_free", 3, None), ("plain_new", 1, ctypes.c_size_t), ("plain_zeroed", 2, ctypes.c_size_t),
                                ("plain_renew", 2, ctypes.c_size_t), ("plain_free", 1, None)):
    getattr(lib, name).argtypes, getattr(lib, name).restype = (ctypes.c_size_t,) * arguments, result
HANDLERS = [ctypes.addressof(ctypes.c_char.in_dll(lib, name)) for name in ("own_handler", "aligned_handler")]

books = Books()
gil = threading.RLock()


def frames():
    """Of the caller's caller; the caller is on its first line."""
    frame, found = sys._getframe(1), []
    line = frame.f_code.co_firstlineno + 1
    while frame:
        found.append((frame.f_code.co_filename, line, getattr(frame.f_code, "co_qualname", frame.f_code.co_name)))
        frame = frame.f_back
        line = frame.f_lineno if frame else 0
    return tuple(reversed(found))


def untold(address):
    """The books' side of an Untrack."""
    if (NUMPY, address) in books.live:
        books.take(NUMPY, address)
    elif address:
        books.unmatched_frees += 1


def told(address, size, where):
    if not address:
        return
    if (NUMPY, address) in books.live:
        books.take(NUMPY, address)
    books.put(NUMPY, address, size, where)


def track(address, size):
    tell_track(NUMPY, address, size)
    told(address, size, frames())


def untrack(address):
    tell_untrack(NUMPY, address)
    untold(address)


# ---- releases up to 2.4: what they have in common ----------------------------------------------------------------


class Old:
    """Blocks are (address, size)."""

    def __init__(self):
        self.cache = {}                 # of small blocks that were freed: libc has not got them back

    def new(self, size, zeroed=False):
        cached = self.cache.get(size)
        address = cached.pop() if cached else libc.calloc(size, 1) if zeroed else libc.malloc(size)
        track(address, size)
        return (address, size) if address else None

    def free(self, block):
        address, size = block
        untrack(address)
        if size < 1024 and len(self.cache.setdefault(size, [])) < 7:
            self.cache[size].append(address)
        else:
            libc.free(address)


class UpTo212(Old):
    def resize(self, block, size):
        address = libc.realloc(block[0], size)
        if address != block[0]:
            untrack(block[0])
        track(address, size)
        return (address, size) if address else block


class UpTo24(Old):
    def resize(self, block, size):
        untrack(block[0])
        address = libc.realloc(block[0], size)
        track(address, size)
        return (address, size) if address else block


# ---- 2.5 and later: nothing is said of a failed allocation, of a resized block and of a buffer --------------------


def user_new(handler, size):
    address = lib.user_new(handler, size)
    told(address, size, frames())
    return address


def user_zeroed(handler, count, size):
    address = lib.user_zeroed(handler, count, size)
    told(address, count * size, frames())
    return address


def user_renew(handler, old, size):
    address = lib.user_renew(handler, old, size)
    if address:
        untold(old)
    told(address, size, frames())
    return address


def plain_new(size):
    address = lib.plain_new(size)
    told(address, size, frames())
    return address


def plain_zeroed(count, size):
    address = lib.plain_zeroed(count, size)
    told(address, count * size, frames())
    return address


def plain_renew(old, size):
    address = lib.plain_renew(old, size)
    if address:
        untold(old)
    told(address, size, frames())
    return address


class From25User:
    def __init__(self, handler):
        self.handler = handler

    def new(self, size, zeroed=False):
        address = user_zeroed(self.handler, size // 8, 8) if zeroed else user_new(self.handler, size)
        return (address, size) if address else None

    def resize(self, block, size):
        address = user_renew(self.handler, block[0], size)
        return (address, size) if address else block

    def free(self, block):
        lib.user_free(self.handler, *block)
        untold(block[0])


class From25Plain:
    def new(self, size, zeroed=False):
        address = plain_zeroed(8, size // 8) if zeroed else plain_new(size)
        return (address, size) if address else None

    def resize(self, block, size):
        address = plain_renew(block[0], size)
        return (address, size) if address else block

    def free(self, block):
        lib.plain_free(block[0])
        untold(block[0])


# ---- what the threads do -----------------------------------------------------------------------------------------

RELEASES = [UpTo212(), UpTo24(), *map(From25User, HANDLERS), From25Plain()]
arrays = []                             # (release, block), of all threads


def turn(order):
    release, size = order.choice(RELEASES), 8 * order.choice((1, 2, 15, 127, 128, 700, 5000, 40000, 100000))
    what = order.choice(("new", "zeroed", "resize", "resize", "resize", "free", "fail", "fail to resize"))
    if what in ("new", "zeroed"):
        arrays.append((release, release.new(size, what == "zeroed")))
    elif what == "fail":
        assert release.new(HUGE, order.random() < 0.5) is None
    elif arrays:
        release, block = arrays.pop(order.randrange(len(arrays)))
        if what == "free":
            release.free(block)
        else:
            arrays.append((release, release.resize(block, size if what == "resize" else HUGE)))


def work(seed):
    order = random.Random(seed)
    for _ in range(TURNS):
        with gil:
            turn(order)


def in_place():
    """A block that shrinks, or grows into free memory behind it, stays where it is."""
    for release in RELEASES[:3] + RELEASES[4:]:
        block = release.new(200000)
        arrays.append((release, release.resize(block, 199000)))
        assert arrays[-1][1][0] == block[0]


def main():
    if len(sys.argv) > 2:
        tracemalloc.start(int(sys.argv[2]))
    gates.gate(gate="start", pid=os.getpid())
    in_place()
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gates.gate(gate="middle", **books.told())
    while arrays:
        release, block = arrays.pop()
        release.free(block)
    gates.gate(gate="end", **books.told())


if __name__ == "__main__":
    main()
