# SPDX-License-Identifier: BSD-2-Clause
"""Many processes at once, system-wide: each one's last table equals the books that it kept itself, or what libcount wrote in it.

Only in a guest: a system-wide trace puts probes into every process of the machine.
"""
import os
import signal
import subprocess

import counted
import processes
import scenarios
import snapshot_check
import traced
from harness import IN_VM, Skip, expect, scaled, seconds
from tables import fail_if

# What a program allocates before domtrace knows its mappings has no whole traceback, so no call site.
BY_SITE = "needs whole tracebacks in the first milliseconds of a program (truncated_unknown_mapping), which there are not yet"
SEEDS = scaled(500, 40)                 # of each way to allocate
CHECKED_MOST = 50                       # snapshots held against the schema
TOLD_MOST = 12                          # sentences about what is wrong

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
# word: what kind of programs (processes.py); in those of "seed" calls are left by siglongjmp, which not every allocator bears, and
# which loses a block that nobody has been told of. preload: an allocator; count: also libcount, before it. without: what it has not.
ALLOCATORS = {
    "glibc": {"program": "processes", "word": "calm"},
    "glibc, counted": {"program": "processes", "word": "calm", "count": "libcount.so"},
    "glibc, static": {"program": "processes_static", "word": "calm"},
    "musl": {"program": "processes_musl", "word": "calm"},
    "musl, counted": {"program": "processes_musl", "word": "calm", "count": "libcount_musl.so"},
    "musl, static": {"program": "processes_musl_static", "word": "calm"},
    "jemalloc": {"program": "processes", "word": "calm", "preload": "libjemalloc.so.2", "without": ("pvalloc",)},
    "jemalloc, counted": {"program": "processes", "word": "calm", "preload": "libjemalloc.so.2", "without": ("pvalloc",),
                          "count": "libcount.so"},
    "tcmalloc": {"program": "processes", "word": "calm", "preload": "libtcmalloc_minimal.so.4"},
    "glibc, faults": {"program": "processes", "word": "seed"},
    "mimalloc": {"program": "processes", "word": "calm", "preload": "libmimalloc.so.2"},
}


def system_wide():
    if not IN_VM:
        raise Skip("a system-wide trace puts probes into every process: only in a guest (tests/vm/boot)")


def fail_if_any(wrong):
    more = len(wrong) - TOLD_MOST
    fail_if(wrong[:TOLD_MOST] + ([f"and {more} more"] if more > 0 else []))


def last_snapshots(tracer):
    """
    All that was written, after Ctrl-C or the end of COMMAND. One for each process that ended are thousands, too many to hold every
    one against the schema under emulation: that is done with some, evenly spread, and the last.
    """
    expect(tracer.wait() == 0, f"domtrace exited with {tracer.wait()}: {tracer.stderr()}")
    snapshots = snapshot_check.load(tracer.path)
    expect(snapshots, "no snapshot was written")
    numbers = [snapshot["sequence"] for snapshot in snapshots]
    expect(numbers == list(range(1, len(snapshots) + 1)), "the snapshots are not numbered from 1 on")
    for snapshot in snapshots[::1 + len(snapshots) // CHECKED_MOST] + snapshots[-1:]:
        fail_if(snapshot_check.check_snapshot(snapshot))
    return snapshots


def stop(tracer):
    tracer.signal(signal.SIGINT)
    return last_snapshots(tracer)


# ---- random programs ---------------------------------------------------------------------------------------------


class Random:
    """Random programs with one allocator: what they booked, and what libcount saw."""

    def __init__(self, place, spec):
        self.spec = spec
        self.program = place.workload(spec["program"])
        preload = [place.workload(spec["count"])] if spec.get("count") else []
        if spec.get("preload"):
            path = os.path.join(LIBRARIES, spec["preload"])
            if not os.path.exists(path):
                raise Skip(f"{path} is not installed")
            preload.append(path)
        self.directory = place.path(f"random-{len(place.processes)}")
        self.counts = os.path.join(self.directory, "counts")
        os.makedirs(self.counts)
        words = processes.serve_words(self.program, self.directory, seconds(60), without=spec.get("without", ()))
        self.server = place.start(words, env={**os.environ, "DT_COUNT": self.counts, "LD_PRELOAD": " ".join(preload)})
        self.pid = self.server.told()["pid"]
        self.books = []                 # [(line, books)]

    def run(self, seeds, wrong):
        for seed in seeds:
            line = f"{self.spec['word']} {seed}"
            self.server.child.stdin.write(f"{line}\n".encode())
            self.server.child.stdin.flush()
            books, faults = processes.answered(self.program, self.server.told())
            wrong += [f"{line}: {fault}" for fault in faults]
            self.books.append((line, books))

    def keys(self):
        """The processes that there were: (pid, start)."""
        return {(image["pid"], image["start_ticks"]) for _, books in self.books for image in processes.images(books)}

    def abandoned(self):
        """How many calls were left: domtrace notices one when its thread makes another call."""
        return sum(image["abandoned"] for _, books in self.books for image in processes.images(books))

    def compare(self, found, wrong, by_site=True):
        """libcount tells the program's own calls by their return addresses, which the probes hide: only its totals of all count here."""
        counts = counted.read_directory(self.counts)
        for line, books in self.books:
            wrong += [f"{line}: {fault}" for fault in traced.compare_books(books, found)] if by_site else []
        if counts:
            ours = {key: image for key, image in counts.items() if key[0] != self.pid}
            wrong += traced.compare_counts(ours, found)


def raise_by_site():
    raise Skip(BY_SITE)


def random_programs(place, options, allocators, seeds=SEEDS, follow=False, by_site=True):
    """
    One trace, many programs under it, one after the other. `follow`: -p SERVER --children instead of all processes. `by_site`: the
    books' tables, one row a call site; else libcount's totals of each process.
    """
    system_wide()
    if by_site:
        raise_by_site()
    runs = [(name, Random(place, ALLOCATORS[name])) for name in allocators]
    where = ["-p", ",".join(str(run.pid) for _, run in runs), "--children"] if follow else ["--all"]
    tracer = place.trace(*where, *options)
    wrong = []
    for number, (_, run) in enumerate(runs):
        run.run(range(1 + number * seeds, 1 + (number + 1) * seeds), wrong)
    snapshots = stop(tracer)
    found = traced.last_tables(snapshots, {key for _, run in runs for key in run.keys()})
    wrong += traced.loss_faults(snapshots, sum(run.abandoned() for _, run in runs))
    for name, run in runs:
        faults = []
        run.compare(found, faults, by_site)
        wrong += [f"{name}: {fault}" for fault in faults]
    fail_if_any(wrong)


def random_command(place):
    """The server is started by domtrace itself, so that it is seen from its start, too."""
    system_wide()
    raise_by_site()
    program = place.workload("processes")
    tracer = place.trace("--children", "--", *processes.serve_words(program, place.directory, seconds(60)))
    tracer.told()
    wrong, every = [], []
    for seed in range(1, SEEDS // 4):
        tracer.child.stdin.write(f"calm {seed}\n".encode())
        tracer.child.stdin.flush()
        books, faults = processes.answered(program, tracer.told())
        every.append((seed, books))
        wrong += [f"calm {seed}: {fault}" for fault in faults]
    tracer.child.stdin.close()
    snapshots = last_snapshots(tracer)
    found = traced.last_tables(snapshots)
    wrong += traced.loss_faults(snapshots)
    wrong += [f"calm {seed}: {fault}" for seed, books in every for fault in traced.compare_books(books, found)]
    fail_if_any(wrong)


def narrowed(place, options, traced_run, other_run):
    """Of two servers, alike but in what `options` tell apart, only the processes of one are in the tables."""
    tracer = place.trace("--all", *options)
    wrong = []
    for run in (traced_run, other_run):
        run.run(range(1, 1 + SEEDS // 10), wrong)
    snapshots = stop(tracer)
    found = traced.last_tables(snapshots)
    wrong += traced.loss_faults(snapshots)
    traced_run.compare(found, wrong)
    wrong += [f"process {pid} should not be in the tables" for pid, start in other_run.keys() if (pid, start) in found]
    fail_if_any(wrong)


def narrowed_by_exe(place):
    system_wide()
    raise_by_site()
    narrowed(place, ["--exe", place.workload("processes")], Random(place, ALLOCATORS["glibc"]), Random(place, ALLOCATORS["musl"]))


def narrowed_by_comm(place):
    """Linux cuts names after 15 bytes (proc(5), comm)."""
    system_wide()
    raise_by_site()
    narrowed(place, ["--comm", "processes_musl"], Random(place, ALLOCATORS["musl"]), Random(place, ALLOCATORS["glibc"]))


def narrowed_by_cgroup(place):
    system_wide()
    raise_by_site()
    group = f"/sys/fs/cgroup/domtrace-{os.getpid()}"
    try:
        os.mkdir(group)
    except OSError as error:
        raise Skip(f"no cgroup can be made: {error}") from error
    inside, outside = Random(place, ALLOCATORS["glibc"]), Random(place, ALLOCATORS["glibc"])
    try:
        with open(f"{group}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(inside.pid))
        narrowed(place, ["--cgroup", group], inside, outside)
    finally:
        inside.server.close()
        os.rmdir(group)


def make_known(place):
    """The first process of a file is not seen from its start: this is the first one of libcount and of redis's allocator."""
    counts = place.path("first")
    os.mkdir(counts)
    subprocess.run(["/bin/sleep", str(seconds(2))], check=True,
                   env={**os.environ, "DT_COUNT": counts, "LD_PRELOAD": f"{place.workload('libcount.so')} libjemalloc.so.2"})


def scenario_traced(place, scenario):
    system_wide()
    tracer = place.trace("--all", output="trace")
    make_known(place)
    images = scenarios.run(place, scenario)
    snapshots = stop(tracer)
    found = traced.last_tables(snapshots, {key[:2] for key in images})
    fail_if_any(traced.loss_faults(snapshots) + traced.compare_counts(images, found))


LEFT_OUT = {
    "make -j2": "takes seven minutes under emulation",
    "a container with musl": "compares books with libcount, which tells the program's own calls by return addresses, and the probes hide those",
}


def left_out(why):
    system_wide()
    raise Skip(why)


def cases():
    yield "processes/random totals, system-wide", lambda place: random_programs(place, [], ["glibc, counted"], SEEDS // 2, by_site=False)
    yield "processes/random totals, -p --children", lambda place: random_programs(
        place, [], ["glibc, counted"], SEEDS // 4, follow=True, by_site=False)
    yield "processes/random, system-wide, every allocator", lambda place: random_programs(
        place, [], [name for name, spec in ALLOCATORS.items() if spec["word"] == "calm"])
    yield "processes/random, calls left by siglongjmp", lambda place: random_programs(place, [], ["glibc, faults"])
    yield "processes/random, system-wide, without any feature", lambda place: random_programs(
        place, ["--without", "session", "--without", "multi", "--without", "cheap-sites"], ("glibc", "musl"), SEEDS // 10)
    yield "processes/random, -p --children", lambda place: random_programs(place, [], ("glibc", "glibc, counted"), SEEDS // 4, True)
    yield "processes/random, COMMAND --children", random_command
    yield "processes/narrowed by --exe", narrowed_by_exe
    yield "processes/narrowed by --comm", narrowed_by_comm
    yield "processes/narrowed by --cgroup", narrowed_by_cgroup
    for name, scenario in scenarios.SCENARIOS.items():
        if name in LEFT_OUT:
            yield f"processes/{name}", lambda place, name=name: left_out(LEFT_OUT[name])
        else:
            yield f"processes/{name}", lambda place, scenario=scenario: scenario_traced(place, scenario)
