#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The two sections of NumPy's page, with tracemalloc's own rows at the end of each: numpy_truth.py [FRAMES]

FRAMES is what tracemalloc.start() gets; 0 or nothing: tracemalloc stays off, and the rows are null. Gates:
  start     the tracer attaches
  section1  the first table is told and compared
  clear     both sides have forgotten everything
  section2  the second table is told and compared
"""
import os
import sys
import tracemalloc

import numpy as np

import gates

NX = 300
NY = 500


def nested(depth, function):
    """Some more frames, and one line that comes up several times in one traceback."""
    if depth:
        return nested(depth - 1, function)
    return function()


class Table:
    def __init__(self, shape):
        self.data = np.empty(shape)
        self.rows = [np.full(NY, float(i)) for i in range(7)]


def section1():
    zeros = np.zeros((NX, NY))
    squares = [i**2 for i in range(NX * NY)]
    table = nested(3, lambda: Table((20, 30)))
    small = [np.arange(n) for n in (0, 1, 2, 3, 50)]
    grown = np.ones(10)
    grown.resize(5000, refcheck=False)
    moved = {name: np.array(values) for name, values in (("a", [1, 2, 3]), ("b", [1.5] * 400))}
    text = np.array(["some", "strings"], dtype=object)
    sorted_copy = np.sort(zeros[0][::-1])
    stacked = np.vstack([zeros[:3], zeros[4:6]])
    return zeros, squares, table, small, grown, moved, text, sorted_copy, stacked


def section2(zeros):
    total = np.sum(zeros * zeros)
    kept = zeros * 2.0
    sums = kept.sum(axis=1)
    joined = np.concatenate([sums, kept[0]])
    view = kept[::2]
    mean = np.mean(kept, axis=0)
    for _ in range(40):
        joined = joined + 1.0
    return total, kept, sums, joined, view, mean


def main():
    frame_limit = int(sys.argv[1]) if len(sys.argv) > 1 else 0

    gates.gate(gate="start", pid=os.getpid())
    if frame_limit:
        tracemalloc.start(frame_limit)
    first = section1()
    gates.gate(gate="section1", rows=gates.python_rows_now())
    if frame_limit:
        tracemalloc.clear_traces()
    gates.gate(gate="clear")
    second = section2(first[0])
    gates.gate(gate="section2", rows=gates.python_rows_now())
    del first, second


if __name__ == "__main__":
    main()
