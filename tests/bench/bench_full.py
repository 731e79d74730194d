# SPDX-License-Identifier: BSD-2-Clause
"""What an event costs while a table of the kernel is full, against the same with room in it."""
import os
import signal
import sys

from lanes import document, rounds

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cases"))
from row_bytes import ROW_BYTES  # noqa: E402

BLOCKS, TRACEBACKS = 20000, 2000  # more than the tables below hold
ROOM = "with room"
SIZES = {ROOM: None, "live full": f"live={1000 * ROW_BYTES['live']}", "traces full": f"traces={50 * ROW_BYTES['traces']}",
         "totals full": f"totals={ROW_BYTES['totals']}",
         "events full": "events=64K"}
LOSSES = {ROOM: set(), "live full": {"live_full"}, "traces full": {"traces_full"}, "totals full": {"domains_full"},
          "events full": {"tracebacks_lost"}}


def lane(bench, name):
    """The pairs that are measured come from a place of their own: it has no row in a full table."""
    place = bench.place()
    child = bench.churn(place)
    tracer = bench.trace(place, child, "-d", "libc", *(["--table", SIZES[name]] if SIZES[name] else []))
    if name == "events full":
        tracer.process.send_signal(signal.SIGSTOP)  # what is sent to it waits
    child.ask(f"grow {BLOCKS} {TRACEBACKS}")
    return child, tracer


def run(bench, quick):
    milliseconds = 50 if quick else 300
    lanes, losses = {}, {}
    try:
        for name in SIZES:
            lanes[name] = lane(bench, name)
        measures = {name: lambda child=child: child.ask(f"pairs 1 8 {milliseconds}")["ns"] for name, (child, _) in lanes.items()}
        taken = rounds(3 if quick else 11, measures)
    finally:
        for _, tracer in lanes.values():
            tracer.process.send_signal(signal.SIGCONT)
    for name, (_, tracer) in lanes.items():
        found = {reason: number for reason, number in tracer.snapshot()[1]["losses"].items() if number}
        losses[name] = {"lost": found, "as_expected": set(found) == LOSSES[name]}
    return document("full", "nanoseconds per malloc and free", taken, [(name, ROOM) for name in SIZES if name != ROOM], losses=losses)
