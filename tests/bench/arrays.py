# SPDX-License-Identifier: BSD-2-Clause
"""arrays.py [NFRAME]: the NumPy program whose loops are timed; with NFRAME under tracemalloc in its own process.

It prints {"pid": …}, then answers lines: "arrays MILLISECONDS" and "squares MILLISECONDS", with processor time per turn
of the loop in {"ns": …}. The loops are those of NumPy's page on memory allocation, made small, so that the cost of
memory events shows: arrays of 64 … 319 doubles; a list of 1000 squares.
"""
import json
import os
import sys
import time
import tracemalloc

import numpy as np

BATCH = 50


def arrays():
    for size in range(64, 320, 256 // BATCH):
        a = np.zeros(size)
        np.sum(a * a)
    return len(range(64, 320, 256 // BATCH))


def squares():
    [i**2 for i in range(1000)]
    return 1


def measure(loop, milliseconds):
    turns = 0
    loop()
    end = time.monotonic() + milliseconds / 1e3
    begin = time.thread_time_ns()
    while time.monotonic() < end:
        turns += loop()
    return (time.thread_time_ns() - begin) / turns


def main():
    if len(sys.argv) > 1:
        tracemalloc.start(int(sys.argv[1]))
    print(json.dumps({"pid": os.getpid()}), flush=True)
    for line in sys.stdin:
        name, milliseconds = line.split()
        loop = {"arrays": arrays, "squares": squares}[name]
        print(json.dumps({"ns": round(measure(loop, int(milliseconds)), 1)}), flush=True)


if __name__ == "__main__":
    main()
