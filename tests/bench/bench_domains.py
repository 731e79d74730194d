# SPDX-License-Identifier: BSD-2-Clause
"""What DT_DOMAIN_TRACK costs a program that nobody traces: a turn of a loop with it, and one without."""
from lanes import document, rounds


def run(bench, quick):
    child = bench.start(bench.place(), [bench.program("bench_domains")])
    told = {}

    def measure(name):
        if name == "with":
            told.update(child.ask("turn"))
        return 1000 * told[name + "_ns"]

    names = {"a turn with DT_DOMAIN_TRACK": "with", "a turn without": "without"}
    taken = rounds(2 if quick else 15, {name: lambda which=which: measure(which) for name, which in names.items()})
    return document("domains", "picoseconds a turn", taken, [tuple(names)])
