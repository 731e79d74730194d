#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Random programs of many processes by the hundred, one allocator after the other, system-wide: for the time outside of tools/check.

Usage: seeds.py --build DIRECTORY [--seeds FROM-TO] [--allocator NAME]... [--batch N] [--shrink]
runs in a guest, as every system-wide trace:
	sudo tests/vm/boot --kernel "$(sudo tests/vm/fetch kernel 6.12)" --limit 3600 -- tests/cases/seeds.py --build build --seeds 1-300

Every table of every process is compared as case_processes.py does; one trace is for `batch` seeds of one allocator. --shrink: the first
program that fails is made as small as it gets, and printed.
"""
import argparse
import os
import sys
import time

import random_runs
import shrink
import traced
from harness import IN_VM, Failure, Place, Skip
from random_runs import ALLOCATORS, Run

TOLD_MOST = 5


def one_batch(build, name, numbers, tally):
    """What is wrong with the programs of these seeds, in one trace."""
    with Place(build) as place:
        run = Run(place, name)
        tracer = place.trace("--all")
        run.seeds(numbers)
        return random_runs.compare([run], random_runs.stop(tracer), tally)


def seed_of(fault):
    """The program's line that a fault begins with: "NAME: calm 7: …"."""
    words = fault.split(": ")[1].split() if ": " in fault else []
    return words if len(words) == 2 and words[0] in ("calm", "seed") else None


class Watched:
    """A server under a trace: whether a program fails, at once, by the snapshots that its processes leave when they end."""

    def __init__(self, place, name):
        self.place = place
        self.run = Run(place, name)
        self.tracer = place.trace("--all")
        self.read = 0
        self.last = []

    def snapshots(self, keys):
        """The new ones, when every process of `keys` has left its last."""
        def new():
            taken = self.tracer.snapshots()[self.read:]
            return taken if keys <= {key for key, table in traced.last_tables(taken).items() if table.process["exited"]} else None

        taken = self.tracer.poll(new, "the last snapshot of every process")
        self.read += len(taken)
        return taken

    def fails(self, text):
        script = self.place.path("script")
        with open(script, "w", encoding="ascii") as file:
            file.write(text)
        self.run.books.clear()
        self.run.told.clear()
        for name in os.listdir(self.run.counts):
            os.unlink(os.path.join(self.run.counts, name))
        self.run.one(f"script {script}")
        wrong = random_runs.compare([self.run], self.snapshots(self.run.keys()), traced.Tally())
        self.last = wrong or self.last
        return bool(wrong)


def print_smallest(build, name, words):
    with Place(build) as place:
        watched = Watched(place, name)
        text = shrink.smallest(shrink.program_text(watched.run.program, words), watched.fails)
        print("it does not fail again" if text is None else "\n".join(watched.last[:TOLD_MOST]) + "\n\n" + text, flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help="the directory that cmake built in")
    parser.add_argument("--seeds", default="1-300", metavar="FROM-TO")
    parser.add_argument("--allocator", action="append", choices=ALLOCATORS, help="one after the other; all without")
    parser.add_argument("--batch", type=int, default=50, help="seeds of one start of domtrace")
    parser.add_argument("--shrink", action="store_true", help="print the smallest program that fails as the first one did")
    return parser.parse_args()


def run_allocator(options, name):
    """The number of batches that failed."""
    first, last = map(int, options.seeds.split("-"))
    failed = 0
    for begin in range(first, last + 1, options.batch):
        numbers = range(begin, min(begin + options.batch, last + 1))
        tally, start = traced.Tally(), time.monotonic()
        try:
            wrong = one_batch(options.build, name, numbers, tally) + tally.faults()
        except (Failure, Skip) as failure:
            wrong = [str(failure)]
        print(f"{'FAIL' if wrong else 'PASS'} {name}, seeds {numbers[0]}-{numbers[-1]} ({time.monotonic() - start:.0f} s): {tally.text()}",
              *wrong[:TOLD_MOST], sep="\n    ", flush=True)
        failed += bool(wrong)
        seed = next(filter(None, map(seed_of, (fault for fault in wrong))), None)
        if seed and options.shrink:
            print_smallest(options.build, name, seed)
            options.shrink = False
    return failed


def main():
    options = parse()
    if not IN_VM:
        print("a system-wide trace puts probes into every process: only in a guest (tests/vm/boot)", file=sys.stderr)
        return 2
    failed = [name for name in options.allocator or ALLOCATORS if run_allocator(options, name)]
    print(f"failed: {'; '.join(failed)}" if failed else "every table is equal")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
