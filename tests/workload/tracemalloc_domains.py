#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""PyTraceMalloc_Track and _Untrack with any domain and every special case, and the books of it.

Addresses are numbers that nobody owns: neither tracemalloc nor a tracer looks behind them.
"""
import ctypes
import os
import sys
import traceback

import gates

NUMPY, PANDAS, SEVEN, LARGEST = 389047, 424242, 7, 2**32 - 1

track_function = ctypes.pythonapi.PyTraceMalloc_Track
track_function.argtypes = (ctypes.c_uint, ctypes.c_size_t, ctypes.c_size_t)
track_function.restype = ctypes.c_int
untrack_function = ctypes.pythonapi.PyTraceMalloc_Untrack
untrack_function.argtypes = (ctypes.c_uint, ctypes.c_size_t)
untrack_function.restype = ctypes.c_int


class Books:
    """What a tracer must hold: rows of (domain, traceback), totals of each domain."""

    def __init__(self):
        self.live = {}
        self.rows = {}
        self.totals = {}
        self.unmatched_frees = 0

    def take(self, domain, address):
        row, size = self.live.pop((domain, address))
        total = self.totals[domain]
        self.rows[row]["blocks"] -= 1
        self.rows[row]["bytes"] -= size
        total["frees"] += 1
        total["freed_bytes"] += size
        total["live_blocks"] -= 1
        total["live_bytes"] -= size

    def put(self, domain, address, size, frames):
        row, total = (domain, frames), self.totals.setdefault(domain, dict.fromkeys(TOTALS, 0))
        books = self.rows.setdefault(row, dict.fromkeys(ROW, 0))
        for name, amount in (("blocks", 1), ("bytes", size), ("allocations", 1), ("allocated_bytes", size)):
            books[name] += amount
        for name, amount in (("allocations", 1), ("allocated_bytes", size), ("live_blocks", 1), ("live_bytes", size)):
            total[name] += amount
        total["peak_bytes"] = max(total["peak_bytes"], total["live_bytes"])
        self.live[domain, address] = row, size

    def told(self):
        rows = [{"domain": domain, "frames": frames, **row} for (domain, frames), row in self.rows.items()]
        return {"rows": rows, "totals": self.totals, "unmatched_frees": self.unmatched_frees}


TOTALS = ("live_blocks", "live_bytes", "peak_bytes", "allocations", "allocated_bytes", "frees", "freed_bytes")
ROW = ("blocks", "bytes", "allocations", "allocated_bytes")
books = Books()


def track(domain, address, size):
    track_function(domain, address, size)
    frames = tuple((frame.filename, frame.lineno, frame.name) for frame in traceback.extract_stack())
    # this frame is on the line below the call now
    frames = frames[:-1] + ((frames[-1][0], track.__code__.co_firstlineno + 1, "track"),)
    if domain == 0 or address == 0:
        return
    if (domain, address) in books.live:
        books.take(domain, address)
    books.put(domain, address, size, frames)


def untrack(domain, address):
    untrack_function(domain, address)
    if domain == 0 or address == 0:
        return
    if (domain, address) in books.live:
        books.take(domain, address)
    else:
        books.unmatched_frees += 1


def each_domain():
    for domain in (NUMPY, PANDAS, SEVEN, LARGEST, 1):
        for i in range(10):
            track(domain, 0x1000 + 64 * i, 100 + i)
        for i in range(0, 10, 3):
            untrack(domain, 0x1000 + 64 * i)


def replaced():
    track(SEVEN, 0x900000, 1000)
    track(SEVEN, 0x900000, 50)
    track(SEVEN, 0x900000, 3000)
    track(LARGEST, 0x900000, 10)


def large_and_odd():
    track(SEVEN, 2**64 - 1, 0)
    track(SEVEN, 2**63, 2**40)
    track(SEVEN, 1, 1)
    untrack(SEVEN, 2**63)


def ignored():
    track(SEVEN, 0, 500)
    untrack(SEVEN, 0)
    track(0, 0x5000, 500)
    untrack(0, 0x5000)
    untrack(0, 0x6000)


def unknown():
    untrack(SEVEN, 0xDEAD000)
    untrack(LARGEST, 0xDEAD000)
    untrack(SEVEN, 0x900000)
    untrack(SEVEN, 0x900000)


def main():
    track_function(SEVEN, 0x77000, 1)  # older than the trace
    gates.gate(gate="start", pid=os.getpid())
    each_domain()
    replaced()
    large_and_odd()
    ignored()
    unknown()
    untrack(SEVEN, 0x77000)
    gates.gate(gate="end", **books.told())


if __name__ == "__main__":
    sys.exit(main())
