# SPDX-License-Identifier: BSD-2-Clause
"""With many live blocks: how long a snapshot takes, and what an event costs while snapshots are taken."""
import threading
import time

from lanes import document, rounds, spread

INTERVAL = 0.2  # seconds between snapshots
PAIRS = "pairs 1 8"


def pairs_during_snapshots(child, tracer, milliseconds):
    """The cost of an event while every INTERVAL a snapshot is asked for, and waited for."""
    done = threading.Event()
    taken = []

    def take():
        while not done.is_set():
            begin = time.monotonic()
            taken.append(tracer.snapshot()[0])
            done.wait(max(0, begin + INTERVAL - time.monotonic()))

    thread = threading.Thread(target=take)
    thread.start()
    try:
        return child.ask(f"{PAIRS} {milliseconds}")["ns"]
    finally:
        done.set()
        thread.join()


def measure_one(bench, blocks, tracebacks, count, milliseconds):
    place = bench.place()
    child = bench.churn(place)
    tracer = bench.trace(place, child, "-d", "libc")
    growth = child.ask(f"grow {blocks} {tracebacks}")["ns"]
    first, snapshot = tracer.snapshot()
    idle = [tracer.snapshot()[0] for _ in range(count)]
    name = f"{blocks} blocks, {tracebacks} tracebacks"
    taken = rounds(count, {
        f"no snapshots, {name}": lambda: child.ask(f"{PAIRS} {milliseconds}")["ns"],
        f"snapshots, {name}": lambda: pairs_during_snapshots(child, tracer, milliseconds),
    })
    live = snapshot["domains"][0]
    about = {
        "name": name, "live_blocks": live["live_blocks"], "traces": len(snapshot["traces"]), "complete": snapshot["complete"],
        "first_ms": round(first, 1), "later_ms": spread(idle), "growth_ns_per_block": growth,
    }
    return taken, about


def run(bench, quick):
    blocks = 20000 if quick else 1000000
    taken, about, ratios = {}, [], []
    for tracebacks in (100, 1000) if quick else (1000, 50000):
        some, what = measure_one(bench, blocks, tracebacks, 2 if quick else 7, 200 if quick else 1000)
        taken.update(some)
        about.append(what)
        ratios.append((f"snapshots, {what['name']}", f"no snapshots, {what['name']}"))
    return document("snapshot", "nanoseconds per malloc and free", taken, ratios, snapshots=about)
