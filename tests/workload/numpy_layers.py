#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Arrays, and blocks of another domain in blocks of libc: what of libc's bytes they claim is told at each gate.

numpy keeps freed blocks of less than 1,024 bytes to itself (numpy/core/src/multiarray/alloc.c, NBUCKETS): arrays are larger here.
"""
import ctypes
import json
import os
import sys

import numpy as np

DOMAIN = 7
libc = ctypes.CDLL("libc.so.6")
libc.malloc.argtypes, libc.malloc.restype = (ctypes.c_size_t,), ctypes.c_void_p
track = ctypes.pythonapi.PyTraceMalloc_Track
track.argtypes, track.restype = (ctypes.c_uint, ctypes.c_size_t, ctypes.c_size_t), ctypes.c_int


def gate(**told):
    os.write(1, (json.dumps(told) + "\n").encode())
    sys.stdin.readline()


def main():
    arrays, inside, outside, claimed = [], 0, 0, 0
    libc.malloc(1), track(DOMAIN, 2, 0)  # what ctypes and the script need once they have by now
    gate(pid=os.getpid())
    for turn in (1, 2):
        arrays += [np.zeros(200 + 50 * turn + i) for i in range(100)] + [np.ones((300, 500 + turn))]
        pool = libc.malloc(100000)
        for i in range(40):  # each overlaps the next one by 10 bytes
            track(DOMAIN, pool + 1000 * i, 1010)
        inside += 40 * 1010
        claimed += 40 * 1000 + 10
        track(DOMAIN, pool + 100000 - 5 * turn, 5 * turn)
        inside += 5 * turn
        claimed += 5 * turn
        track(DOMAIN, arrays[turn].ctypes.data + 8, 100)  # an array's bytes are claimed already
        inside += 100
        track(DOMAIN, turn << 12, 64)  # nobody owns these addresses
        outside += 64
        numpy = sum(array.nbytes for array in arrays)
        gate(numpy=numpy, pools=[inside, outside], claimed=numpy + claimed)


if __name__ == "__main__":
    main()
