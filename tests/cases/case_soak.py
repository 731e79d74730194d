# SPDX-License-Identifier: BSD-2-Clause
"""Short-lived processes by the hundred, system-wide: what domtrace holds after one round of them it holds after the next ones.

The short form of tests/bench/soak. Each round is the same: a process every so many milliseconds, by fork, fork and exec, and
posix_spawn, every fourth of them of a file of its own, which is static every other time. A round is over when all have ended and domtrace
has forgotten them.

What may remain is what is kept for the next time: DT_MODULES_IDLE_MAX files that nobody maps (user/session/module.h) with their
descriptors, links and tables, and KEPT_LEAST rows and places (user/session/tracebacks.c). Not every short-lived file is seen in time,
so how many are kept after a round differs; never more than so many. Everything else is as it was, but for the rows of the images that
live: of the program that starts all others, above all. Chunks of unwind tables are as many as were ever needed at a time: the tables of
all files of one round would be six. Of domtrace's own memory a round may leave those rows and what malloc keeps.
"""
import time

import footprint
import random_runs
from harness import IN_VM, Skip, expect, seconds

ROUNDS = 3
PROCESSES = 192                         # of them 48 with files of their own; 24 of these have an allocator in them, and are what is kept
COPIES_MAX = 64                         # DT_MODULES_IDLE_MAX
LINKS_OF_A_FILE = 64                    # at most: one for each site and one for its return, where a kernel has no better way
EVERY_MS = 10
LINGER_MS = 3000                        # so that domtrace comes to look at files of their own while they are mapped
SLACK_BYTES = 2 << 20                   # KEPT_LEAST rows and places of some hundred bytes, and their hash tables
CHUNKS_SLACK = 4
OF_IMAGES = ("live", "live_more", "past", "traces", "totals", "threads")
CHUNKS = "unwind_chunk"


def settled(tracer, directory):
    """What it holds once it does not change any more."""
    deadline = time.monotonic() + seconds(60)
    before, held = None, footprint.measure(tracer.pid, directory)
    while before is None or any(before[key] != held[key] for key in ("rows", "descriptors", "copies", "links", "maps")):
        expect(time.monotonic() < deadline, f"{tracer} does not come to rest: {held} after {before}")
        time.sleep(5)                   # longer than SWEEP_SECONDS (user/session/sweep.c)
        before, held = held, footprint.measure(tracer.pid, directory)
    return held


def run_round(churn):
    churn.child.stdin.write(f"{PROCESSES} {EVERY_MS} {LINGER_MS}\n".encode())
    churn.child.stdin.flush()
    told = churn.told()
    expect(told["started"] == PROCESSES and not told["failed"], f"the workload itself failed: {told}")
    return told


def constant(held):
    """What must be after each round what it was before."""
    left_out = (*OF_IMAGES, CHUNKS)
    told = {key: {name: count for name, count in held[key].items() if name not in left_out} for key in ("rows", "maps", "locked")}
    told["rows"]["files"] -= held["copies"]     # each that is kept has its row, whose memory is counted from 6.12 on
    del told["locked"]["files"]
    return {"descriptors": held["descriptors"], **told}


def soak(place):
    if not IN_VM:
        raise Skip("every process of the machine would be traced: only in a guest")
    files = [place.workload(name) for name in ("soak", "soak_static")]
    churn = place.start([files[0], place.directory, *files])
    tracer = place.trace("--all", "-i", "1", target=churn)
    first = settled(tracer, place.directory)
    held, took = [], []
    for _ in range(ROUNDS):
        took.append(run_round(churn)["seconds"])
        held.append(settled(tracer, place.directory))
    last = random_runs.stop(tracer)[-1]  # not all against the schema: each process has left one
    expect(last["complete"], f"losses: {last['losses']}")
    for before, after in zip(held[1:], held[2:]):
        expect(constant(before) == constant(after), f"a round of {PROCESSES} processes has left something: {constant(before)}, then {constant(after)}; all of it: {held}")
    for after in held:
        expect(after["copies"] <= COPIES_MAX, f"{after['copies']} files are kept that nobody maps, more than {COPIES_MAX}")
        expect(after["links"] <= first["links"] + LINKS_OF_A_FILE * after["copies"], f"links remain: {first['links']}, then {after}")
    chunks = [after["maps"].get(CHUNKS, 0) for after in held]
    expect(chunks[-1] <= chunks[1] + CHUNKS_SLACK, f"chunks of unwind tables grow: {chunks}")
    grown = held[-1]["resident_bytes"] - held[1]["resident_bytes"]
    expect(grown <= SLACK_BYTES, f"{grown} bytes more are resident after round {ROUNDS} than after round 2: {held}")
    most = {name: max(after["rows"].get(name, 0) for after in held) for name in OF_IMAGES}
    print(f"     {ROUNDS} rounds of {PROCESSES} processes, {', '.join(str(t) for t in took)} s: resident "
          f"{', '.join(str(after['resident_bytes'] >> 10) for after in held)} KiB, kernel {held[-1]['kernel_bytes'] >> 10} KiB, "
          f"{held[-1]['descriptors']} descriptors, {[after['copies'] for after in held]} files kept, {held[-1]['links']} links, {chunks} chunks, at most {most}", flush=True)


def cases():
    return [("soak/short-lived processes leave nothing", soak)]
