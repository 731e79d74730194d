#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Random programs of many processes by the hundred, one allocator after the other, system-wide: for the time outside of tools/check.

Usage: seeds.py --build DIRECTORY [--seeds FROM-TO] [--allocator NAME]... [--batch N] [--shrink] [--break NAME]
runs in a guest, as every system-wide trace:
	sudo tests/vm/boot --kernel "$(sudo tests/vm/fetch kernel 6.12)" --limit 3600 -- tests/cases/seeds.py --build build --seeds 1-300

Every table of every process is compared as case_processes.py does; one trace is for `batch` seeds of one allocator. --shrink: the first
program that fails is made as small as it gets, and printed.
"""
import argparse
import json
import os
import sys
import time

import random_runs
import shrink
import traced
from harness import IN_VM, Failure, Place, Skip, seconds
from random_runs import ALLOCATORS, Run

TOLD_MOST = 5
WAIT_SECONDS = 3


def one_batch(options, name, numbers, tally):
    """What is wrong with the programs of these seeds, in one trace."""
    with Place(options.build) as place:
        run = Run(place, name, options.broken)
        tracer = place.trace("--all")
        run.seeds(numbers)
        return random_runs.compare([run], random_runs.stop(tracer), tally)


def seed_of(fault):
    """The words of the program's line that a fault begins with, "NAME: calm 7: …"; None: it is not of one program."""
    words = fault.split(": ")[1].split() if ": " in fault else []
    return words if len(words) == 2 and words[0] in ("calm", "seed") else None


class Watched:
    """A server under a trace: whether a program fails, at once, by the snapshots that its processes leave when they end."""

    def __init__(self, place, name, broken):
        self.place = place
        self.run = Run(place, name, broken)
        self.tracer = place.trace("--all")
        self.read = 0                   # bytes of its file
        self.abandoned = 0
        self.last = []

    def new_snapshots(self):
        """Those that are whole in the file since it was asked before."""
        with open(self.tracer.path, "rb") as file:
            file.seek(self.read)
            text = file.read()
        text = text[:text.rfind(b"\n") + 1]
        self.read += len(text)
        return [json.loads(line) for line in text.splitlines()]

    def snapshots(self, keys):
        """Until every process of `keys` has left its last, or a while: one that never called for anything may leave none."""
        deadline, taken, missing = time.monotonic() + seconds(WAIT_SECONDS), [], set(keys)
        while missing and time.monotonic() < deadline:
            time.sleep(0.1)
            fresh = self.new_snapshots()
            missing -= {key for key, table in traced.last_tables(fresh).items() if table.process["exited"]}
            taken += fresh
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
        wrong = random_runs.compare([self.run], self.snapshots(self.run.keys()), traced.Tally(), self.abandoned)
        self.abandoned += self.run.abandoned()
        self.last = wrong or self.last
        return bool(wrong)


def print_smallest(options, name, words):
    with Place(options.build) as place:
        watched = Watched(place, name, options.broken)
        text = shrink.smallest(shrink.program_text(watched.run.program, words), watched.fails)
        print("it does not fail again" if text is None else "\n".join(watched.last[:TOLD_MOST]) + "\n\n" + text, flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help="the directory that cmake built in")
    parser.add_argument("--seeds", default="1-300", metavar="FROM-TO")
    parser.add_argument("--allocator", action="append", choices=ALLOCATORS, help="one after the other; all without")
    parser.add_argument("--batch", type=int, default=50, help="seeds of one start of domtrace")
    parser.add_argument("--shrink", action="store_true", help="print the smallest program that fails as the first one did")
    parser.add_argument("--break", dest="broken", default="nothing", metavar="NAME", help="keep the books wrong on purpose, to try this")
    return parser.parse_args()


def run_allocator(options, name):
    """The number of batches that failed."""
    first, last = map(int, options.seeds.split("-"))
    failed = 0
    for begin in range(first, last + 1, options.batch):
        numbers = range(begin, min(begin + options.batch, last + 1))
        tally, start = traced.Tally(), time.monotonic()
        try:
            wrong = one_batch(options, name, numbers, tally) + tally.faults()
        except (Failure, Skip) as failure:
            wrong = [str(failure)]
        print(f"{'FAIL' if wrong else 'PASS'} {name}, seeds {numbers[0]}-{numbers[-1]} ({time.monotonic() - start:.0f} s): {tally.text()}",
              *wrong[:TOLD_MOST], sep="\n    ", flush=True)
        failed += bool(wrong)
        seed = next(filter(None, map(seed_of, wrong)), None)
        if seed and options.shrink:
            print_smallest(options, name, seed)
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
