# SPDX-License-Identifier: BSD-2-Clause
"""Ten million live blocks in one process: kernel memory of each, the time of a snapshot, and what an event costs then."""
import os
import re

from lanes import descriptors, document, rounds, spread

FEW, MANY = 10000, 10000000
ROOM = 11000000  # rows, those that are spare included
BATCH = 1000000  # blocks: no answer may take long
TRACEBACKS = 1000
ROW_BYTES = 96  # include/domtrace/tables.def
BUCKET_BYTES = 16  # kernel/bpf/hashtab.c: struct bucket; a power of two of them
LIVE = {"map_type": "1", "key_size": "16", "value_size": "24"}  # include/domtrace/wire.h: a hash map of struct dt_block_key and dt_block
WORKS = {"the same few blocks": "pairs 1 8 {}", "any of the blocks": "swap {}"}


def kernel_bytes(pid):
    """What the kernel says of the maps that domtrace holds: the buckets and rows of live blocks, and all others."""
    buckets, rows, others = 0, 0, 0
    for fields in descriptors(pid):
        if "map_id" not in fields:
            continue
        memory = int(fields["memlock"])
        if any(fields[name] != value for name, value in LIVE.items()):
            others += memory
            continue
        bucket_bytes = BUCKET_BYTES << (int(fields["max_entries"]) - 1).bit_length()
        buckets += bucket_bytes
        rows += memory - bucket_bytes
    return {"buckets": buckets, "rows": rows, "others": others}


def slab_bytes():
    """What the kernel's allocator has taken for objects of the size of a row, of the whole machine."""
    with open("/proc/slabinfo", encoding="ascii") as file:
        rows = [line.split() for line in file if re.match(rf"kmalloc(-cg)?-{ROW_BYTES}\s", line)]
    return sum(int(row[14]) * int(row[5]) for row in rows) * os.sysconf("SC_PAGE_SIZE")


def grow(child, blocks):
    """Nanoseconds of each allocation."""
    begins = range(0, blocks, BATCH)
    return [child.ask(f"grow {min(BATCH, blocks - begin)} {TRACEBACKS}")["ns"] for begin in begins]


def lane(bench, blocks, is_traced):
    """(workload, tracer or None, what growing took)"""
    place = bench.place()
    child = bench.churn(place)
    tracer = bench.trace(place, child, "-d", "libc", "--table", f"live={ROOM * ROW_BYTES}") if is_traced else None
    before, slab = (kernel_bytes(tracer.pid), slab_bytes()) if tracer else (None, 0)
    growth = grow(child, blocks)
    about = {"live_blocks": blocks, "growth_ns_per_block": spread(growth)}
    if tracer:
        after = kernel_bytes(tracer.pid)
        about["kernel_bytes_before"], about["kernel_bytes_after"] = before, after
        about["bytes_per_block"] = {name: round((after[name] - before[name]) / blocks, 2) for name in after}
        about["slab_bytes_per_block"] = round((slab_bytes() - slab) / blocks, 1)
    return child, tracer, about


def run(bench, quick):
    many = 300000 if quick else MANY  # more than the first map holds
    milliseconds = 50 if quick else 400
    measures, ratios, about = {}, [], []
    for blocks in (FEW, many):
        for name in ("untraced", "domtrace"):
            child, tracer, what = lane(bench, blocks, name == "domtrace")
            if tracer:
                _, snapshot = tracer.snapshot()  # symbols are looked up for the first time
                what["snapshot_ms"] = spread([tracer.snapshot()[0] for _ in range(2 if quick else 7)])
                what["complete"] = snapshot["complete"]
                about.append(what)
            for work, command in WORKS.items():
                measures[f"{name}, {blocks} blocks, {work}"] = \
                    lambda child=child, command=command.format(milliseconds): child.ask(command)["ns"]
    taken = rounds(3 if quick else 11, measures)
    for work in WORKS:
        for blocks in (FEW, many):
            pairs = zip(taken[f"domtrace, {blocks} blocks, {work}"], taken[f"untraced, {blocks} blocks, {work}"])
            taken[f"added, {blocks} blocks, {work}"] = [traced - untraced for traced, untraced in pairs]
        for name in ("untraced", "domtrace", "added"):
            ratios.append((f"{name}, {many} blocks, {work}", f"{name}, {FEW} blocks, {work}"))
    return document("blocks", "nanoseconds per malloc and free", taken, ratios, live=about)
