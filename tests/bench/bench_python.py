# SPDX-License-Identifier: BSD-2-Clause
"""A turn of the loops of arrays.py: untraced, under domtrace, and under tracemalloc in the process itself."""
import os

from lanes import HERE, PYTHON, document, rounds

SCRIPT = os.path.join(HERE, "arrays.py")


def lanes(bench):
    """{name: workload}"""
    made = {}
    for name, nframe in (("untraced", []), ("tracemalloc(1)", ["1"]), ("tracemalloc(16)", ["16"])):
        made[name] = bench.python(bench.place(), SCRIPT, *nframe)
    place = bench.place()
    made["bare at Track and Untrack"] = bench.python(place, SCRIPT)
    bench.bare(place, made["bare at Track and Untrack"], os.path.basename(PYTHON), "tracemalloc")
    for name, domain in (("domtrace -d numpy", "numpy"), ("domtrace -d libc", "libc")):
        place = bench.place()
        made[name] = bench.python(place, SCRIPT)
        bench.trace(place, made[name], "-d", domain)
    return made


def run(bench, quick):
    measures, ratios = {}, []
    made = lanes(bench)
    for loop in ("arrays", "squares"):
        for name, child in made.items():
            command = f"{loop} {20 if quick else 200}"
            measures[f"{name}, {loop}"] = lambda child=child, command=command: child.ask(command)["ns"]
            if name != "untraced":
                ratios.append((f"{name}, {loop}", f"untraced, {loop}"))
        ratios += [(f"domtrace -d numpy, {loop}", f"{other}, {loop}")
                   for other in ("tracemalloc(1)", "tracemalloc(16)", "bare at Track and Untrack")]
    return document("python", "nanoseconds per turn of a loop", rounds(3 if quick else 11, measures), ratios)
