#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every way in which NumPy takes memory for data and gives it back: numpy_paths.py LIBRARY [FRAMES]

tracemalloc tells what there is, if FRAMES is not 0. Gates:
  start    the tracer attaches
  kept     arrays of each path are there
  freed    most of them have gone
  clear    the tracer has forgotten everything
  handler  a memory handler of LIBRARY (libnumpy_calls.so, NEP 49) made the arrays since, and tells what it counted
At its end the process tells what the handler has counted until then: after Python freed what is left.
"""
import ctypes
import io
import os
import pickle
import sys
import tempfile
import tracemalloc

import numpy as np

import gates


def fresh():
    empty, zeros, large = np.empty(5000), np.zeros((70, 70)), np.zeros(2**20)
    return empty, zeros, large, np.ones(3), np.full((3, 4), 2.0), np.array([[1, 2], [3, 4]]), np.arange(0), np.array(7.0)


def resized():
    """In place, moved, to nothing, from nothing."""
    shrunk, grown, emptied, filled = np.ones(30000), np.ones(10), np.ones(500), np.ones(0)
    shrunk.resize(29000, refcheck=False)
    grown.resize(400000, refcheck=False)
    emptied.resize(0, refcheck=False)
    filled.resize(900, refcheck=False)
    return shrunk, grown, emptied, filled


def not_resized():
    """Refused by the allocator: NumPy up to 2.4 has told that the old block has gone, although it is there still."""
    array = np.ones(600)
    try:
        array.resize(2**58, refcheck=False)
    except MemoryError:
        return array
    raise AssertionError("resized")


def refused():
    for make in (np.empty, np.zeros):
        try:
            make(2**58)
        except MemoryError:
            continue
        raise AssertionError("not refused")


def read():
    generated = np.fromiter((i * 0.5 for i in range(5000)), dtype=float)
    text = np.loadtxt(io.StringIO("\n".join("%d %d" % (i, i * i) for i in range(3000))))
    with tempfile.TemporaryFile("w+b") as file:
        np.arange(4000.0).tofile(file)
        file.seek(0)
        binary = np.fromfile(file)
    with tempfile.TemporaryFile("w+") as file:
        file.write(" ".join(map(str, range(6000))))
        file.seek(0)
        words = np.fromfile(file, sep=" ")
    return generated, text, binary, words, np.fromstring("1 2 3", sep=" "), np.genfromtxt(io.StringIO("1,2\n3,4"), delimiter=",")


def small():
    """Blocks below 1024 bytes come from buckets of NumPy's own, which hold seven each."""
    for _ in range(3):
        many = [np.empty(n % 120, dtype=np.uint64) for n in range(600)]
        del many[::2]
    return many


def objects():
    array = np.array(["a", [1], None, 2.5] * 100, dtype=object)
    return array, array.copy(), np.empty(50, dtype=object), np.array(["text", "more"]), np.array([b"abc"], dtype="S40")


def records():
    """Scalars of void type have blocks of their own: PyDataMem_NEW."""
    array = np.zeros(40, dtype=[("a", "i4"), ("b", "f8", 30)])
    return array, array[3].copy(), np.void(b"x" * 2000), array["b"][::3].copy()


def computed():
    a = np.arange(9000.0).reshape(90, 100)[:, ::-1]
    order = np.argsort(a, axis=0)
    least = np.partition(a, 5, axis=0)
    kept = [np.sort(a, axis=0, kind=kind) for kind in ("quicksort", "heapsort", "stable")]
    picked = np.choose(order % 2, [a, -a])
    where = np.where(a > 50, a, 0)
    found = np.nonzero(a > 700)
    joined = np.concatenate([a, a])
    mean, variance = a.mean(axis=1), a.var(axis=0)
    unique = np.unique(a.astype(int) % 77, return_inverse=True)
    iterated = [x.copy() for x in np.nditer(a, flags=["external_loop", "buffered"], buffersize=512)]
    searched = np.searchsorted(mean, variance)
    permuted = np.lexsort((a[0], a[1]))
    return least, kept, picked, where, found, joined, mean, variance, unique, iterated, searched, permuted, np.einsum("ij,kj->ik", a, a)


def restored():
    """__setstate__ and byteswap take new blocks for arrays that are there."""
    array = pickle.loads(pickle.dumps(np.arange(3000.0)))
    swapped = pickle.loads(pickle.dumps(np.arange(700).astype(">i8")))
    copied = array.copy()
    copied.shape = 30, 100
    return array, swapped, copied, np.asfortranarray(copied), np.frombuffer(b"12345678" * 50).copy()


PATHS = (fresh, resized, not_resized, refused, read, small, objects, records, computed, restored)

# ---- a memory handler --------------------------------------------------------------------------------------------

SET_HANDLER = 304                       # its place in NumPy's table of functions (numpy/core/code_generators/numpy_api.py)

BOOKS = ("allocations", "allocated_bytes", "frees", "freed_bytes")


def set_handler(lib):
    api = ctypes.pythonapi
    api.PyCapsule_GetPointer.restype, api.PyCapsule_GetPointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    api.PyCapsule_New.restype, api.PyCapsule_New.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    table = ctypes.cast(api.PyCapsule_GetPointer(np.core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    set_function = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[SET_HANDLER])
    capsule = api.PyCapsule_New(ctypes.addressof(ctypes.c_char.in_dll(lib, "aligned_handler")), b"mem_handler", None)
    set_function(capsule)
    assert np.core.multiarray.get_handler_name() == "aligned"


def handler_books(lib):
    counts = (ctypes.c_uint64 * 4)()
    lib.aligned_books(counts)
    return dict(zip(BOOKS, counts))


left = []                               # to the end of the process


def with_handler():
    kept = [path() for path in (fresh, resized, refused, small, objects, read)]
    left.extend(kept[::2])
    del kept


def main():
    lib = ctypes.PyDLL(sys.argv[1])
    frames = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if frames:
        tracemalloc.start(frames)
    for path in PATHS:                  # what is imported or kept from the first time on is there when the trace begins
        path()
    if frames:
        tracemalloc.clear_traces()
    gates.gate(gate="start", pid=os.getpid(), rows=None)
    kept = [path() for path in PATHS]
    gates.gate(gate="kept", rows=gates.python_rows_now())
    del kept[1:]
    gates.gate(gate="freed", rows=gates.python_rows_now())
    tracemalloc.stop()
    set_handler(lib)
    lib.aligned_tell_at_exit()
    gates.gate(gate="clear")
    with_handler()
    gates.gate(gate="handler", **handler_books(lib))


if __name__ == "__main__":
    main()
