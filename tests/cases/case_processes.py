# SPDX-License-Identifier: BSD-2-Clause
"""Many processes at once, system-wide: each one's last table equals the books that it kept itself, or what libcount wrote in it.

Only in a guest: a system-wide trace puts probes into every process of the machine. Each start of domtrace costs seconds there, so
what one trace can show is one case.
"""
import contextlib
import os
import re
import signal
import time

import counted
import random_runs
import scenarios
import traced
from case_ages import time_ns
from harness import IN_VM, PYTHON, Skip, expect
from random_runs import ALLOCATORS, Run
from tables import domain_rows, fail_if

SEEDS = 3                               # of each way to allocate; hundreds: seeds.py
DEEP_SEED = 1066                        # forks of forks, more than eight of them
TOLD_MOST = 12                          # sentences about what is wrong
NOBODY = 65534
ENDED_BYTES = 100000                    # alloc_ended.c
SHOWN = 2                               # processes in a report
FEATURES = ("session", "multi", "cheap-sites")


def system_wide():
    if not IN_VM:
        raise Skip("a system-wide trace puts probes into every process: only in a guest (tests/vm/boot)")


def fail_if_any(wrong):
    more = len(wrong) - TOLD_MOST
    fail_if(wrong[:TOLD_MOST] + ([f"and {more} more"] if more > 0 else []))


def finish(runs, snapshots, more=()):
    """The whole comparison of random programs."""
    tally = traced.Tally()
    wrong = random_runs.compare(runs, snapshots, tally)
    print(f"     {sum(len(run.books) for run in runs)} programs, {len(snapshots)} snapshots: {tally.text()}", flush=True)
    fail_if_any(list(more) + wrong + tally.faults())


# ---- random programs ---------------------------------------------------------------------------------------------


def random_programs(place, options, allocators, follow=False):
    """One trace, many programs under it, one allocator after the other. `follow`: -p SERVER --children instead of all processes."""
    system_wide()
    runs = [Run(place, name) for name in allocators]
    where = ["-p", ",".join(str(run.pid) for run in runs), "--children"] if follow else ["--all"]
    tracer = place.trace(*where, "--processes", str(SHOWN), *options)
    for number, run in enumerate(runs):
        run.seeds(range(1 + number * SEEDS, 1 + (number + 1) * SEEDS))
    runs[0].seeds([DEEP_SEED])
    snapshots = random_runs.stop(tracer)
    finish(runs, snapshots, report_faults(tracer.output(), snapshots[-1]))


class CommandRun(Run):
    """The server is started by domtrace itself, so that it is seen from its start, too."""

    def start(self):
        variables = [f"{name}={self.environment()[name]}" for name in ("DT_COUNT", "LD_PRELOAD")]
        return self.place.trace("--children", "--", "/usr/bin/env", *variables, *self.words())


def random_command(place):
    system_wide()
    run = CommandRun(place, "glibc, counted")
    run.seeds(range(1, 1 + 2 * SEEDS))
    run.server.child.stdin.close()
    finish([run], random_runs.last_snapshots(run.server))


def live_bytes(snapshot, index):
    return sum(domain["live_bytes"] for domain in snapshot["domains"] if domain["process"] == index)


def report_faults(text, snapshot):
    """What is wrong with the last report: the processes that hold most (--processes), and the sum of the others."""
    number = f"Snapshot {snapshot['sequence']} "
    report = text[text.rfind(number):] if number in text else ""
    shown = [int(pid) for pid in re.findall(r"^Process (\d+) \(", report, re.MULTILINE)]
    pids = [process["pid"] for process in snapshot["processes"]]
    sizes = sorted((live_bytes(snapshot, index) for index in range(len(pids))), reverse=True)
    found = [live_bytes(snapshot, pids.index(pid)) for pid in shown if pid in pids]
    wrong = [] if found == sizes[:SHOWN] else [f"the report shows processes of {found} bytes, not of {sizes[:SHOWN]}"]
    others = re.search(r"^(\d+) other process(?:es)?: .*\(([\d,]+) bytes\)", report, re.MULTILINE)
    told = (int(others[1]), int(others[2].replace(",", ""))) if others else (0, 0)
    if told != (len(sizes[SHOWN:]), sum(sizes[SHOWN:])):
        wrong.append(f"the report's others are {told}, not {len(sizes[SHOWN:])} processes of {sum(sizes[SHOWN:])} bytes")
    return wrong


# ---- some of all processes ---------------------------------------------------------------------------------------


def narrowed(place, options, inside, outside):
    """Of servers that differ from `inside` in what one option tells apart, each in another, no process is in the tables."""
    tracer = place.trace("--all", *options)
    for run in (inside, *outside):
        run.seeds(range(1, 1 + SEEDS))
    snapshots = random_runs.stop(tracer)
    there = traced.last_tables(snapshots).keys()
    wrong = [f"process {pid} of {run.server} is in the tables" for run in outside for pid, _ in sorted(run.keys() & there)]
    finish([inside], snapshots, wrong)


def narrowed_by_exe_and_uid(place):
    system_wide()
    nobody = {"user": NOBODY}
    narrowed(place, ["--exe", place.workload("processes"), "--uid", str(NOBODY)], Run(place, "glibc, counted", **nobody),
             [Run(place, "musl, counted", **nobody), Run(place, "glibc, counted")])


@contextlib.contextmanager
def cgroup():
    """A directory for processes; when it is done with, they must have ended."""
    group = f"/sys/fs/cgroup/domtrace-{os.getpid()}"
    try:
        os.mkdir(group)
    except OSError as error:
        raise Skip(f"no cgroup can be made: {error}") from error
    yield group
    os.rmdir(group)


def narrowed_by_comm_and_cgroup(place):
    system_wide()
    runs = [Run(place, name) for name in ("musl, counted", "musl, counted", "musl, static")]
    with cgroup() as group:
        try:
            for run in (runs[0], runs[2]):
                with open(f"{group}/cgroup.procs", "w", encoding="ascii") as file:
                    file.write(str(run.pid))
            narrowed(place, ["--comm", "processes_musl", "--cgroup", group], runs[0], runs[1:])
        finally:
            for run in runs:
                run.server.close()


# ---- threads -----------------------------------------------------------------------------------------------------


def ended_in_calls(place):
    """Threads that end in an allocator's call are named, and what realloc was to replace lives on; those that an exec or the end of their
    process ends are not."""
    system_wide()
    target = place.start([place.workload("alloc_ended")])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid), "--children", "--stack", "native")
    target.go()
    expected = {"calls_abandoned": target.told()["ended"]}
    snapshot = tracer.snapshot()
    _, rows = domain_rows(snapshot, pid, "libc")
    kept = {name: row for frames, _, row in rows for name in [frame["function"] for frame in frames] if name.startswith("keep_")}
    found = {name: (row["allocations"], row["blocks"], row["bytes"]) for name, row in kept.items()}
    wrong = [] if found == {"keep_block": (1, 1, ENDED_BYTES), "keep_behind": (1, 1, 10)} else [f"what lives is {found}"]
    target.go()
    target.told()
    target.go()
    expect(target.wait() == 0, target.stderr())
    for taken in (snapshot, tracer.finish()[-1]):
        losses = {name: number for name, number in taken["losses"].items() if number}
        wrong += [] if losses == expected else [f"losses are {losses}, not {expected}"]
    fail_if(wrong)


def tables_by_site(snapshot):
    """{pid: [[function, blocks, bytes]]} of the libc domain of each process."""
    shown = {}
    for process in snapshot["processes"]:
        _, rows = domain_rows(snapshot, process["pid"], "libc")
        shown[process["pid"]] = [[frames[-1]["function"], row["blocks"], row["bytes"]] for frames, _, row in rows]
    return shown


def ended_before_the_last(place):
    """No child that ended before the moment of the last snapshot is missing, whenever it ended: most do so in every step of the way there."""
    system_wide()
    target = place.start([place.workload("alloc_brief")])
    told = target.told()
    tracer = place.trace("-p", str(told["pid"]), "--children", "--stack", "native")
    target.go()
    tracer.poll(tracer.snapshots, "a snapshot of children that have ended")
    tracer.signal(signal.SIGINT)
    snapshots = tracer.finish()
    target.go()
    children = target.told()["children"]
    target.go()
    expect(target.wait() == 0, target.stderr())
    expected = ["keep_block", told["blocks"], told["bytes"]]
    shown = {pid: rows for snapshot in snapshots for pid, rows in tables_by_site(snapshot).items() if pid != told["pid"]}
    ended = [pid for pid, end_ns in children if end_ns < time_ns(snapshots[-1])]
    missing = [pid for pid in ended if pid not in shown]
    print(f"     {len(ended)} of {len(children)} children ended before the last of {len(snapshots)} snapshots, which shows "
          f"{len(snapshots[-1]['processes']) - 1} of them", flush=True)
    expect(ended, "no child ended in time")
    fail_if_any([f"{len(missing)} of {len(ended)} children are in no snapshot"] * bool(missing)
                + [f"child {pid} has {shown[pid]}, not {[expected]}" for pid in ended if pid in shown and shown[pid] != [expected]]
                + traced.loss_faults(snapshots))


# ---- real programs -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def files_known(place):
    """The first process of a file is not seen from its start: this is the first one of libcount, Python and redis's allocator."""
    counts = place.path("first")
    os.mkdir(counts)
    holder = place.start([PYTHON, "-c", "import json, os; print(json.dumps({'pid': os.getpid()}), flush=True); input()"],
                         env={**os.environ, "DT_COUNT": counts, "LD_PRELOAD": f"{place.workload('libcount.so')} libjemalloc.so.2"})
    holder.told()
    yield
    holder.go()
    holder.wait()


def prepared(place, missing):
    """[Scenario]; those that cannot be run here are sentences in `missing`."""
    for name in scenarios.SCENARIOS:
        try:
            yield scenarios.Scenario(place, name)
        except Skip as skip:
            missing.append(f"{name}: {skip}")


def run_all(ready, missing):
    """[(name, Seen)]"""
    for scenario in ready:
        begin = time.monotonic()
        try:
            yield scenario.name, scenario.run()
        except Skip as skip:
            missing.append(f"{scenario.name}: {skip}")
        print(f"     {scenario.name} took {time.monotonic() - begin:.1f} s", flush=True)


def real_programs(place):
    """One trace of all of them, one after the other."""
    system_wide()
    missing = []
    ready = list(prepared(place, missing))
    with files_known(place):
        tracer = place.trace("--all")
        shown = list(run_all(ready, missing))
        snapshots = random_runs.stop(tracer)
    wrong = traced.loss_faults(snapshots)
    found = traced.last_tables(snapshots, {key[:2] for _, seen in shown for key in seen.images})
    for name, seen in shown:
        tally = traced.Tally()
        faults = traced.compare_counts(counted.last_images(seen.images), found, tally)
        faults += [f"excused: {counted.text(image)}" for image in tally.excused if not seen.is_first(image)]
        print(f"     {name}: {tally.text()}", flush=True)
        wrong += [f"{name}: {fault}" for fault in faults]
    fail_if_any(wrong)
    if missing:
        raise Skip(f"the others pass, but {'; '.join(missing)}")


def cases():
    yield "processes/random, system-wide, every allocator", lambda place: random_programs(place, [], ALLOCATORS)
    yield "processes/random, system-wide, without any feature", lambda place: random_programs(
        place, [word for feature in FEATURES for word in ("--without", feature)], ("glibc, counted", "musl, counted"))
    yield "processes/random, -p --children", lambda place: random_programs(place, [], ("glibc, counted", "musl, counted"), follow=True)
    yield "processes/random, COMMAND --children", random_command
    yield "processes/narrowed by --exe and --uid", narrowed_by_exe_and_uid
    yield "processes/narrowed by --comm and --cgroup", narrowed_by_comm_and_cgroup
    yield "processes/threads that end in a call", ended_in_calls
    yield "processes/ended before the last snapshot", ended_before_the_last
    yield "processes/real programs, system-wide", real_programs
