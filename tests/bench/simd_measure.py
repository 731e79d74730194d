#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measures for bench_simd: one process with NumPy, OpenBLAS and ours, on the same arrays, in turn.

Usage: simd_measure.py LIBRARY BLAS SET ROUNDS LARGEST. BLAS and SET may be empty. Prints "taken", {name: [nanoseconds of a call, for each round]},
and "paired", {name of a peer: [our time to its, for each round]}: a call or some of ours and of the peer's in turn, which of them is first
changing each time, and of these ratios the median; on arrays that are new each round, and the same for both.
"""
import ctypes
import json
import statistics
import sys
import time

import numpy

TYPES = {"f32": numpy.float32, "f64": numpy.float64}
SIZES = (1000, 150_000, 20_000_000)
PAGE = 4096
PAIRED_ROUNDS = 9
PAIRS = 9


def load(path, blas, chosen):
    library = ctypes.CDLL(path)
    library.bench_begin.restype = library.bench_name.restype = ctypes.c_char_p
    library.bench_begin.argtypes = [ctypes.c_char_p] * 2
    library.bench_name.argtypes = [ctypes.c_size_t]
    library.bench_time.restype = ctypes.c_double
    library.bench_time.argtypes = [ctypes.c_char_p] + [ctypes.c_void_p] * 3 + [ctypes.c_size_t] * 2 + [ctypes.c_void_p]
    error = library.bench_begin(chosen.encode() or None, blas.encode() or None)
    if error:
        sys.exit(error.decode())
    return library


def array(count, dtype, values):
    """At the beginning of a page, with whole pages, as large allocations are; of numpy.empty(), which asks for huge pages as we do."""
    size = (count * dtype().itemsize + PAGE - 1) // PAGE * PAGE
    memory = numpy.empty(size + PAGE, numpy.uint8)
    memory[:] = 0
    begin = -memory.ctypes.data % PAGE
    whole = memory[begin:begin + size]
    made = whole[:count * dtype().itemsize].view(dtype)
    made[:] = values.random(count, dtype)
    return made


def of_numpy(function):
    def measure(repeats):
        function()
        begin = time.thread_time_ns()
        for _ in range(repeats):
            function()
        return (time.thread_time_ns() - begin) / repeats
    return measure


def measures(library, blas, kind, count):
    """{name: function of the number of repeats}"""
    values = numpy.random.default_rng(1)
    x, y, out = (array(count, TYPES[kind], values) for _ in range(3))
    value = ctypes.c_double()

    def of_c(peer, number):
        return lambda repeats: library.bench_time(peer.encode(), x.ctypes.data, y.ctypes.data, out.ctypes.data, number, repeats,
                                                  ctypes.byref(value))

    made = {}
    for verb in ("sum", "squares", "products", "multiply", "multiply_new"):
        made[f"{verb}: dt"] = of_c(f"dt {verb}_{kind}", count)
        if verb != "multiply_new":
            made[f"{verb}: C loop"] = of_c(f"loop {verb}_{kind}", count)
        if blas and verb in ("sum", "squares", "products"):
            made[f"{verb}: OpenBLAS"] = of_c(f"blas {verb}_{kind}", count)
    made["sum: np.sum"] = of_numpy(lambda: numpy.sum(x))
    made["squares: np.sum(a*a)"] = of_numpy(lambda: numpy.sum(x * x))
    made["squares: np.dot"] = of_numpy(lambda: numpy.dot(x, x))
    made["products: np.dot"] = of_numpy(lambda: numpy.dot(x, y))
    made["multiply: np.multiply"] = of_numpy(lambda: numpy.multiply(x, y, out=out))
    made["multiply_new: np.multiply"] = of_numpy(lambda: numpy.multiply(x, y))
    size = (x.nbytes + PAGE - 1) // PAGE * PAGE
    for index in range(100):
        name = library.bench_name(index)
        if not name:
            break
        made[f"limit: {name.decode()}"] = of_c("limit " + name.decode(), size)
    return made, size / x.nbytes


def pair(ours, theirs, repeats, times):
    """The median of our time to theirs."""
    ratios = []
    for number in range(times):
        if number % 2:
            ours_took, theirs_took = ours(repeats[0]), theirs(repeats[1])
        else:
            theirs_took, ours_took = theirs(repeats[1]), ours(repeats[0])
        ratios.append(ours_took / theirs_took)
    return statistics.median(ratios)


def paired(made, count, times):
    """{name of a peer: one round's ratio}"""
    repeats = max(1, 800_000 // count)
    ratios = {}
    for name, theirs in made.items():
        verb, peer = name.split(": ")
        if verb != "limit" and peer != "dt":
            calls_from_python = peer.startswith("np.") and count == 1000
            ratios[name] = pair(made[f"{verb}: dt"], theirs, (repeats, repeats // 10 if calls_from_python else repeats), times)
    return ratios


def main():
    path, blas, chosen, rounds, largest = sys.argv[1:]
    library = load(path, blas, chosen)
    taken, ratios = {}, {}
    for count in (size for size in SIZES if size <= int(largest)):
        for kind in TYPES:
            made, whole = measures(library, blas, kind, count)
            repeats = max(1, 4_000_000 // count)
            for number in range(int(rounds) + 1):
                for name, measure in made.items():
                    slow = 10 if "np." in name and count == 1000 else 1
                    nanoseconds = measure(max(1, repeats // slow))
                    if name.startswith("limit: "):
                        nanoseconds /= whole        # it read whole pages
                    if number:
                        taken.setdefault(f"{kind} {count} {name}", []).append(nanoseconds)
            made = None                                     # their arrays go before others come
            for _ in range(3 if int(rounds) < PAIRED_ROUNDS else PAIRED_ROUNDS):
                made = measures(library, blas, kind, count)[0]
                for name, ratio in paired(made, count, PAIRS).items():
                    ratios.setdefault(f"{kind} {count} {name}", []).append(ratio)
                made = None
    print(json.dumps({"taken": taken, "paired": ratios}))


if __name__ == "__main__":
    main()
