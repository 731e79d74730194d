#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Arrays of every size class, kept and given back, with tracemalloc's own books of NumPy's blocks by line and size class at each gate."""
import json
import os
import sys
import tracemalloc

import numpy as np

import gates


def classes(snapshot):
    """[[line, upper bytes, blocks, bytes], …] of the lines that allocated, and the frames of other files left out."""
    rows = {}
    for trace in snapshot.traces:
        if trace.domain != gates.NUMPY_DOMAIN:
            continue
        line = [frame.lineno for frame in trace.traceback if frame.filename == __file__][-1]
        upper = 1 << max(trace.size - 1, 0).bit_length()
        row = rows.setdefault((line, upper), [0, 0])
        row[0] += 1
        row[1] += trace.size
    return [[*key, *row] for key, row in sorted(rows.items())]


def main():
    gates.gate(pid=os.getpid())
    tracemalloc.start(64)
    powers = [np.empty(1 << exponent, np.uint8) for exponent in range(27)]
    above = [np.empty((1 << exponent) + 1, np.uint8) for exponent in range(22)]
    small = [np.zeros(number % 60, np.uint8) for number in range(500)]
    grown = np.ones(10)
    grown.resize(70000, refcheck=False)
    gates.gate(sizes=classes(tracemalloc.take_snapshot()))
    del powers[::2], above[::3], small[::7]
    grown.resize(300, refcheck=False)
    gates.gate(sizes=classes(tracemalloc.take_snapshot()))
    os.write(1, (json.dumps({"kept": len(powers) + len(above) + len(small) + grown.size}) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
