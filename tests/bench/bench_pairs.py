# SPDX-License-Identifier: BSD-2-Clause
"""Nanoseconds per malloc and free: untraced, with empty programs at the same places, and under domtrace."""
from lanes import document, rounds

METHODS = {
    "session": [],
    "multi": ["--without", "session"],
    "single": ["--without", "multi"],
    "entry": ["--without", "cheap-sites"],
}
WORKS = {"1 thread, 1 frame": (1, 1), "1 thread, 8 frames": (1, 8), "2 threads, 8 frames": (2, 8)}


def lanes(bench, methods):
    """{name: workload}"""
    made = {"untraced": bench.churn(bench.place())}
    for method in methods:
        place = bench.place()
        made[f"bare, {method}"] = bench.churn(place)
        bench.bare(place, made[f"bare, {method}"], "libc.so.6", "libc", *METHODS[method])
        place = bench.place()
        made[f"domtrace, {method}"] = bench.churn(place)
        bench.trace(place, made[f"domtrace, {method}"], "-d", "libc", *METHODS[method])
    return made


def run(bench, quick):
    methods = ["session"] if quick else list(METHODS)
    milliseconds = 20 if quick else 100
    measures, ratios = {}, []
    made = lanes(bench, methods)
    for work, (threads, frames) in WORKS.items():
        for name, child in made.items():
            command = f"pairs {threads} {frames} {milliseconds}"
            measures[f"{name}, {work}"] = lambda child=child, command=command: child.ask(command)["ns"]
        ratios += [(f"domtrace, {method}, {work}", f"bare, {method}, {work}") for method in methods]
    return document("pairs", "nanoseconds per malloc and free, of each thread", rounds(3 if quick else 15, measures), ratios)
