# SPDX-License-Identifier: BSD-2-Clause
"""What `--sizes` and `--older-than` cost, which read all live blocks: time of a snapshot, and of events with and without snapshots."""
from bench_snapshot import pairs_during_snapshots
from lanes import document, rounds

LANES = {"plain": [], "--sizes": ["--sizes"], "--older-than": ["--older-than", "1s"], "both": ["--sizes", "--older-than", "1s"]}
BATCH = 500000  # no answer may take long
TRACEBACKS = 1000


def lane(bench, blocks, options):
    """(workload, tracer), with live blocks; symbols have been looked up"""
    place = bench.place()
    child = bench.churn(place)
    tracer = bench.trace(place, child, "-d", "libc", *options)
    for begin in range(0, blocks, BATCH):
        child.ask(f"grow {min(BATCH, blocks - begin)} {TRACEBACKS}")
    _, snapshot = tracer.snapshot()
    live = snapshot["domains"][0]
    return child, tracer, {"live_blocks": live["live_blocks"], "sizes_exact": live.get("sizes_exact"), "complete": snapshot["complete"]}


def run(bench, quick):
    blocks, milliseconds = (20000, 100) if quick else (1000000, 600)
    measures, about = {}, {}
    for name, options in LANES.items():
        child, tracer, about[name] = lane(bench, blocks, options)
        measures[f"snapshot, {name}"] = lambda tracer=tracer: tracer.snapshot()[0] * 1e6
        measures[f"event, {name}"] = lambda child=child: child.ask(f"pairs 1 8 {milliseconds}")["ns"]
        measures[f"event during snapshots, {name}"] = \
            lambda child=child, tracer=tracer: pairs_during_snapshots(child, tracer, milliseconds)
    ratios = [(f"{measure}, {name}", f"{measure}, plain") for measure in ("snapshot", "event", "event during snapshots")
              for name in LANES if name != "plain"]
    return document("sizes", "nanoseconds: of a snapshot, from SIGUSR1 to its line being in the file; of a malloc and free",
                    rounds(2 if quick else 7, measures), ratios, lanes=about)
