# SPDX-License-Identifier: BSD-2-Clause
"""What it costs to say which blocks lie in which, and how much memory is resident: time of a snapshot, and how long the target waits."""
import threading

from bench_memory import state
from lanes import document, rounds

BATCH = 1000000
ROW_BYTES = 96  # of kernel memory for a live block (include/domtrace/tables.def)


def measure_blocks(bench, blocks, every, count, taken):
    place = bench.place()
    child = bench.start(place, [bench.program("bench_layers")])
    tracer = bench.trace(place, child, "--table", f"live={3 * blocks * ROW_BYTES}")
    for begin in range(0, blocks, BATCH):  # no answer may take long
        child.ask(f"grow {min(BATCH, blocks - begin)} {every}")
    before = state(tracer.pid)["rss_bytes"]
    _, snapshot = tracer.snapshot()
    name = f"{blocks} blocks, " + (f"one in {every} tracked" if every else "none tracked")
    taken.update(rounds(count, {name: lambda: tracer.snapshot()[0]}))
    layers = snapshot["processes"][0]["layers"]
    return {"name": name, "complete": snapshot["complete"], "layers": layers, "rss_growth_bytes": state(tracer.pid)["rss_bytes"] - before}


def stalls(child, tracer, milliseconds):
    """The longest waits of a target while one snapshot is taken, and how long that took."""
    took = []
    thread = threading.Timer(milliseconds / 4000, lambda: took.append(tracer.snapshot()[0]))
    thread.start()
    told = child.ask(f"stall {milliseconds}")
    thread.join()
    return {"snapshot_ms": round(took[0], 1), "mmap_ms": round(told["mmap_ns"] / 1e6, 2), "fault_ms": round(told["fault_ns"] / 1e6, 2)}


def measure_resident(bench, mib, count, milliseconds):
    place = bench.place()
    child = bench.start(place, [bench.program("bench_layers")])
    tracer = bench.trace(place, child)
    child.ask(f"resident {mib}")
    alone = child.ask(f"stall {milliseconds}")
    return {"mib": mib, "no_snapshot": {name.replace("_ns", "_ms"): round(ns / 1e6, 2) for name, ns in alone.items()},
            "snapshots": [stalls(child, tracer, milliseconds) for _ in range(count)]}


def run(bench, quick):
    taken, layers = {}, []
    for blocks in (20000,) if quick else (1000000, 10000000):
        for every in (0, 1000, 1):
            layers.append(measure_blocks(bench, blocks, every, 2 if quick else 5, taken))
    names = [row["name"] for row in layers]
    ratios = [(name, names[i - i % 3]) for i, name in enumerate(names) if i % 3]
    resident = [measure_resident(bench, mib, 2 if quick else 5, 400 if quick else 1000) for mib in ((64,) if quick else (64, 1024, 8192))]
    return document("layers", "milliseconds from SIGUSR1 to the snapshot being in the file", taken, ratios, layers=layers, resident=resident)
