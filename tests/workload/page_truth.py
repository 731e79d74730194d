#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs the example of a page in Markdown as it stands, and stops wherever it takes a snapshot: page_truth.py PAGE [FRAMES]

Only tracemalloc's functions are wrapped, not the example: take_snapshot tells the numpy rows and waits, clear_traces waits
after it. FRAMES, when given, is what tracemalloc.start() gets; the page itself leaves it at 1.
"""
import os
import re
import sys
import tempfile
import tracemalloc

import gates

real_start = tracemalloc.start
real_take_snapshot = tracemalloc.take_snapshot
real_clear_traces = tracemalloc.clear_traces


def take_snapshot():
    snapshot = real_take_snapshot()
    gates.gate(gate="snapshot", rows=gates.python_rows(snapshot))
    return snapshot


def clear_traces():
    real_clear_traces()
    gates.gate(gate="clear")


def main():
    page = open(sys.argv[1], encoding="utf-8").read()
    frames = [int(argument) for argument in sys.argv[2:3]]
    source = re.search(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE).group(1)
    tracemalloc.take_snapshot = take_snapshot
    tracemalloc.clear_traces = clear_traces
    tracemalloc.start = lambda: real_start(*frames)
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "page.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(source)
        import numpy  # noqa: F401  before the trace, as everything that the example does not do itself

        gates.gate(gate="start", pid=os.getpid(), source=path)
        exec(compile(source, path, "exec"), {"__name__": "__main__"})
        gates.gate(gate="end")


if __name__ == "__main__":
    main()
