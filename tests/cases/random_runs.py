# SPDX-License-Identifier: BSD-2-Clause
"""Random programs (tests/workload/processes), one allocator after the other, under one trace: used by case_processes.py and seeds.py."""
import json
import os
import signal

import counted
import processes
import snapshot_check
import traced
from harness import Skip, expect, scaled, seconds
from tables import fail_if

CHECKED_TRACES = scaled(20000, 200)     # rows of snapshots that are held against the schema

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
JEMALLOC = {"program": "processes", "preload": "libjemalloc.so.2", "without": ("pvalloc",)}
MIMALLOC = {"program": "processes", "preload": "libmimalloc.so.2"}
# preload: an allocator; count: also libcount, before it; without: what the allocator has not. word: what kind of programs
# (processes.py); in those of "seed" calls are left by siglongjmp, which not every allocator bears, and which loses a block that nobody
# has been told of.
ALLOCATORS = {
    "glibc": {"program": "processes"},
    "glibc, counted": {"program": "processes", "count": "libcount.so"},
    "glibc, static": {"program": "processes_static"},
    "musl": {"program": "processes_musl"},
    "musl, counted": {"program": "processes_musl", "count": "libcount_musl.so"},
    "musl, static": {"program": "processes_musl_static"},
    "jemalloc": JEMALLOC,
    "jemalloc, counted": {**JEMALLOC, "count": "libcount.so"},
    "tcmalloc": {"program": "processes", "preload": "libtcmalloc_minimal.so.4"},       # not counted: it calls its own functions when it begins, past libcount
    "mimalloc": MIMALLOC,
    "mimalloc, counted": {**MIMALLOC, "count": "libcount.so"},
    "glibc, faults": {"program": "processes", "word": "seed"},
}


def hold_against_schema(snapshots):
    """
    All of them are too many and too large under emulation (a minute for a thousand tracebacks): from the smallest on, while they are few
    altogether, and one in any case.
    """
    rows = 0
    for snapshot in sorted(snapshots, key=lambda snapshot: len(snapshot["traces"])):
        if rows and rows + len(snapshot["traces"]) > CHECKED_TRACES:
            break
        rows += len(snapshot["traces"])
        fail_if(snapshot_check.check_snapshot(snapshot))


def last_snapshots(tracer):
    """All that was written, after Ctrl-C or the end of COMMAND: one for each time that processes had ended, and the last."""
    expect(tracer.wait() == 0, f"domtrace exited with {tracer.wait()}: {tracer.stderr()}")
    with open(tracer.path, "rb") as file:
        snapshots = [json.loads(line) for line in file]
    expect(snapshots, "no snapshot was written")
    numbers = [snapshot["sequence"] for snapshot in snapshots]
    expect(numbers == list(range(1, len(snapshots) + 1)), "the snapshots are not numbered from 1 on")
    hold_against_schema(snapshots)
    return snapshots


def stop(tracer):
    tracer.signal(signal.SIGINT)
    return last_snapshots(tracer)


class Run:
    """Random programs with one allocator: what they booked, and what libcount saw of them."""

    def __init__(self, place, name, broken="nothing", **start):
        self.place, self.name, self.spec, self.broken = place, name, ALLOCATORS[name], broken
        self.program = place.workload(self.spec["program"])
        self.directory = place.path(f"random-{len(place.processes)}")
        self.counts = os.path.join(self.directory, "counts")
        os.makedirs(self.counts)
        for directory in (place.directory, self.directory, self.counts):
            os.chmod(directory, 0o777)  # also for servers of another user
        self.books = []                 # [(line, books)]
        self.told = set()               # lines whose run itself went wrong, with what
        self.server = self.start(**start)
        self.pid = self.server.told()["pid"]

    def words(self):
        return processes.serve_words(self.program, self.directory, seconds(60), self.broken, self.spec.get("without", ()))

    def environment(self):
        preload = [self.place.workload(self.spec["count"])] if "count" in self.spec else []
        if "preload" in self.spec:
            path = os.path.join(LIBRARIES, self.spec["preload"])
            if not os.path.exists(path):
                raise Skip(f"{path} is not installed")
            preload.append(path)
        return {**os.environ, "DT_COUNT": self.counts, "LD_PRELOAD": " ".join(preload)}

    def start(self, **options):
        return self.place.start(self.words(), env=self.environment(), **options)

    def say(self, line):
        self.server.child.stdin.write(f"{line}\n".encode())
        self.server.child.stdin.flush()

    def one(self, line):
        """The books of one program, run to its end."""
        self.say(line)
        books, faults = processes.answered(self.program, self.server.told())
        self.told |= {f"{line}: {fault}" for fault in faults}
        self.books.append((line, books))
        return books

    def seeds(self, numbers):
        for number in numbers:
            self.one(f"{self.spec.get('word', 'calm')} {number}")

    def images(self):
        return [image for _, books in self.books for image in processes.images(books)]

    def keys(self):
        """The processes that there were: (pid, start)."""
        return {(image["pid"], image["start_ticks"]) for image in self.images()}

    def abandoned(self):
        """How many calls were left: domtrace notices one when its thread makes another call."""
        return sum(image["abandoned"] for image in self.images())

    def counted(self):
        """libcount's last image of each process but the server: {(pid, start): image}."""
        return {key: image for key, image in counted.last_images(counted.read_directory(self.counts)).items() if key[0] != self.pid}

    def compare(self, found, tally):
        """
        Every process by call site, and in all where libcount was in it. (Which calls are the program's own libcount tells by return
        addresses, and those a probe hides: only its totals of all count.)
        """
        wrong = sorted(self.told)
        counts = self.counted()
        for line, books in self.books:
            keys = {(image["pid"], image["start_ticks"]) for image in processes.images(books)}
            ours = {key: counts.pop(key) for key in keys & counts.keys()}
            faults = traced.compare_books(books, found, tally) + traced.compare_counts(ours, found, tally)
            if "count" in self.spec:
                faults += [f"libcount was not in process {pid}" for pid, _ in sorted(keys - ours.keys())]
            wrong += [f"{line}: {fault}" for fault in faults]
        return [f"{self.name}: {fault}" for fault in wrong + traced.compare_counts(counts, found, tally)]


def compare(runs, snapshots, tally, abandoned=0):
    """Everything that ran against everything that was seen. `abandoned`: calls that were left before, under the same trace."""
    found = traced.last_tables(snapshots, {key for run in runs for key in run.keys()})
    wrong = traced.loss_faults(snapshots, abandoned + sum(run.abandoned() for run in runs))
    for run in runs:
        wrong += run.compare(found, tally)
    return wrong
