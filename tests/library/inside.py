#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Section 2 of NumPy's example as tracemalloc sees it in the process, where nothing but the sections runs there: tracemalloc's functions in C are
called alone, and its Python code, which computes and prints, comes last. With an argument, what lies in the interpreter's free lists is
taken first, as other Python code would.
"""
import sys
import _tracemalloc
import tracemalloc

import numpy as np

nx = 300
ny = 500
_tracemalloc.start(1)

# Section 1
# ---------

# NumPy related call
a = np.zeros((nx,ny))

# non-NumPy related call
b = [i**2 for i in range(nx*ny)]

if len(sys.argv) > 1:
    taken = [{"a": 1} for _ in range(200)], [(i,) for i in range(5000)], [(i, i) for i in range(5000)]

_tracemalloc.clear_traces()

# Section 2
#----------

# We are only using NumPy
c = np.sum(a*a)

traces = _tracemalloc._get_traces()  # pylint: disable=protected-access
_tracemalloc.stop()
for stat in tracemalloc.Snapshot(traces, 1).statistics('traceback'):
    print(f"{stat.count} memory blocks: {stat.size / 1024:.1f} KiB")
    print(stat.traceback.format()[-1])
