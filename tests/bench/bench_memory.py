# SPDX-License-Identifier: BSD-2-Clause
"""Memory of the tables in the kernel, and of domtrace itself, before and after many blocks live."""
import re

from lanes import descriptors, document


def tables(pid):
    """{what a map is: bytes the kernel says it takes}, from the descriptors that domtrace holds."""
    found = {}
    for fields in descriptors(pid):
        if "map_id" in fields:
            name = "map {map_id}: type {map_type}, key {key_size}, value {value_size}, {max_entries} rows".format(**fields)
            found[name] = int(fields["memlock"])
    return found


def state(pid):
    maps = tables(pid)
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        resident = int(re.search(r"VmRSS:\s*(\d+)", file.read()).group(1)) * 1024
    return {"kernel_bytes": sum(maps.values()), "rss_bytes": resident, "maps": maps}


def run(bench, quick):
    blocks = 20000 if quick else 1000000
    tracebacks = 1000
    place = bench.place()
    child = bench.churn(place)
    tracer = bench.trace(place, child, "-d", "libc")
    before = state(tracer.pid)
    child.ask(f"grow {blocks} {tracebacks}")
    after = state(tracer.pid)
    tracer.snapshot()
    read = state(tracer.pid)
    child.ask("shrink")
    freed = state(tracer.pid)
    growth = max(size - before["maps"][name] for name, size in after["maps"].items())
    return document(
        "memory", "bytes", {}, [], blocks=blocks, tracebacks=tracebacks, before=before, after=after, after_snapshot=read,
        after_free=freed, live_table_bytes_per_block=round(growth / blocks, 1))
