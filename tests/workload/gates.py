# SPDX-License-Identifier: BSD-2-Clause
"""How a Python workload and its driver take turns, and the rows of tracemalloc as the driver compares them."""
import json
import os
import sys
import tracemalloc

NUMPY_DOMAIN = 389047


def gate(**told):
    """Prints one line of JSON and waits for a line. The end of the input is as good as a line."""
    os.write(1, (json.dumps(told) + "\n").encode())
    sys.stdin.readline()


def python_rows(snapshot, domain=NUMPY_DOMAIN):
    """The live blocks of one domain: one row a traceback, frames oldest first, as (file, line)."""
    rows = {}
    for trace in snapshot.traces:
        if trace.domain != domain:
            continue
        frames = tuple((frame.filename, frame.lineno) for frame in trace.traceback)
        row = rows.setdefault((frames, trace.traceback.total_nframe), [0, 0])
        row[0] += 1
        row[1] += trace.size
    return [
        {"frames": frames, "total_frames": total, "blocks": blocks, "bytes": size}
        for (frames, total), (blocks, size) in sorted(rows.items())
    ]


def python_rows_now():
    return python_rows(tracemalloc.take_snapshot()) if tracemalloc.is_tracing() else None
