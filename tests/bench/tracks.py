# SPDX-License-Identifier: BSD-2-Clause
"""tracks.py LIBTRACK: NumPy's domain from Python tracebacks of a known number of frames.

It prints {"pid": …}, then answers lines with processor time per block made and freed in {"ns": …}:
  track FRAMES MILLISECONDS    PyTraceMalloc_Track and _Untrack alone (libtrack.c), called from FRAMES Python frames
  nothing MILLISECONDS         the same, from a thread without Python and without any other frame
  numpy FRAMES MILLISECONDS    np.empty() of 800 bytes
FRAMES is 4 or more: <module>, main, nested and, for numpy, arrays.
"""
import ctypes
import json
import os
import sys
import time

import numpy as np

BATCH = range(50)


def arrays(milliseconds):
    turns, empty = 0, np.empty
    end = time.monotonic() + milliseconds / 1e3
    begin = time.thread_time_ns()
    while time.monotonic() < end:
        for _ in BATCH:
            empty(100)
        turns += len(BATCH)
    return (time.thread_time_ns() - begin) / turns


def nested(levels, function, milliseconds):
    """`levels` frames, this one included."""
    if levels > 1:
        return nested(levels - 1, function, milliseconds)
    return function(milliseconds)


def main():
    library = ctypes.PyDLL(sys.argv[1])  # the GIL stays: NumPy has it, too
    for function in (library.track_pairs, library.track_pairs_outermost):
        function.argtypes, function.restype = (ctypes.c_uint,), ctypes.c_double
    np.empty(100)
    print(json.dumps({"pid": os.getpid()}), flush=True)
    for line in sys.stdin:
        name, *numbers, milliseconds = line.split()
        if name == "nothing":
            ns = library.track_pairs_outermost(int(milliseconds))
        elif name == "track":
            ns = nested(int(numbers[0]) - 2, library.track_pairs, int(milliseconds))
        else:
            ns = nested(int(numbers[0]) - 3, arrays, int(milliseconds))
        print(json.dumps({"ns": round(ns, 1)}), flush=True)


if __name__ == "__main__":
    main()
