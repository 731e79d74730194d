# SPDX-License-Identifier: BSD-2-Clause
"""Markers: a snapshot is of the line where a thread comes to one, whatever the others do, and nothing that happens to domtrace or the program changes that."""
import ctypes
import os
import random
import re
import signal
import time

from harness import PYTHON, expect, scaled, seconds
from tables import FIELDS, domain_rows, fail_if, losses

WAIT = 5.0                              # seconds: MARKER_LIFE_NS (bpf/marker.bpf.h)
MARK = re.compile(r"marker:(\d):(\d{4})")
PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17


def site_rows(snapshot, pid, thread, alone):
    """[blocks, bytes, allocations, allocated bytes] of each site of a thread; `alone`: there is no other row."""
    sums, wrong = [[0] * len(FIELDS) for _ in range(3)], []
    for frames, _, trace in domain_rows(snapshot, pid, "libc")[1]:
        site = re.fullmatch(r"site_(\d)_(\d)", frames[-1]["function"] or "") if frames else None
        if site and int(site[1]) == thread:
            for i, field in enumerate(FIELDS):
                sums[int(site[2])][i] += trace[field]
        elif alone:
            wrong.append(f"{snapshot['label']}: a row too many: {frames[-1]['function'] if frames else None}: {trace}")
    fail_if(wrong)
    return sums


def marked(snapshots):
    return [snapshot for snapshot in snapshots if snapshot["label"].startswith("marker:")]


def compare(snapshots, pid, truth, threads, alone=False):
    """Every round of every thread has its snapshot, in each thread's order, and that is what the thread had booked there."""
    seen, wrong = [[] for _ in range(threads)], []
    for snapshot in marked(snapshots):
        mark = MARK.fullmatch(snapshot["label"])
        expect(mark, f"a snapshot is labelled {snapshot['label']}")
        thread, number = int(mark[1]), int(mark[2])
        seen[thread].append(number)
        found, want = site_rows(snapshot, pid, thread, alone), truth["threads"][thread]["rounds"][number]
        wrong += losses(snapshot)
        if found != want:
            wrong.append(f"{snapshot['label']}: {found}, not {want}")
        if alone and domain_rows(snapshot, pid, "libc")[0]["live_bytes"] != sum(row[1] for row in want):
            wrong.append(f"{snapshot['label']}: live_bytes of the domain is not the sum of its rows")
    for thread, numbers in enumerate(seen):
        want = list(range(len(truth["threads"][thread]["rounds"])))
        if numbers != want:
            told = [f"{name} {counter(snapshots[-1], name)}" for name in ("markers_missed", "markers_late")]
            wrong.append(f"thread {thread} has snapshots of rounds {numbers}, not of {want}; {', '.join(told)}")
    fail_if(wrong)


def run_through(target):
    """Both gates of a workload; what it told."""
    target.go()
    truth = target.told()
    return truth


def results(place, *options):
    """What the program computes when nobody traces it."""
    target = place.start([place.workload("alloc_markers"), *options])
    target.told()
    told = run_through(target)
    target.go()
    expect(target.wait() == 0, f"{target} failed: {target.stderr()}")
    return [thread["result"] for thread in told["threads"]]


def counter(snapshot, name):
    return snapshot["counters"][name]


def exact(place, options, threads, tracing=(), alone=False):
    target = place.start([place.workload("alloc_markers"), *options])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid), *tracing, output=f"snapshots-{len(place.processes)}", target=target)
    truth = run_through(target)
    target.go()
    snapshots = tracer.finish()
    expect(target.wait() == 0, f"{target} failed: {target.stderr()}")
    compare(snapshots, pid, truth, threads, alone)
    expect(counter(snapshots[-1], "markers_missed") == 0, f"markers_missed is {counter(snapshots[-1], 'markers_missed')}")
    expect([thread["result"] for thread in truth["threads"]] == results(place, *options), f"{target} computed something else than without a trace")
    return snapshots


def single(place):
    """The whole table at each marker, and which of its blocks are old, while an interval asks for snapshots of its own."""
    exact(place, ["--rounds", str(scaled(40, 8))], 1, ["-i", str(scaled(0.05, 1))], alone=True)
    snapshots = exact(place, ["--rounds", str(scaled(20, 4))], 1, ["--older-than", "250ms"], alone=True)
    expect(all(snapshot["ages"]["exact"] for snapshot in snapshots), "the ages of a snapshot are not exact")


def threads_beside(place):
    """One thread comes to markers, others allocate and free without pause."""
    exact(place, ["--churn", "3", "--rounds", str(scaled(40, 6))], 1)


def two_at_once(place):
    exact(place, ["--at", "2", "--rounds", str(scaled(30, 5))], 2)
    exact(place, ["--at", "2", "--churn", "1", "--rounds", str(scaled(30, 4))], 2)


def each_way(place):
    """However the program is attached to."""
    for feature in ("session", "multi"):
        exact(place, ["--rounds", "5"], 1, ["--without", feature], alone=True)
    target = place.start([place.workload("alloc_markers"), "--rounds", "3"])
    tracer = place.trace("--without", "markers", "-p", str(target.told()["pid"]), target=target)
    run_through(target)
    target.go()
    expect([snapshot["label"] for snapshot in tracer.finish()] == ["final"], "--without markers has snapshots of markers")
    status, _, said = place.run("--without", "markers", "--snapshot-at", "libc.so.6:malloc", "-p", str(os.getpid()))
    expect(status == 1 and "--without leaves out" in said, f"--snapshot-at without markers: {status}: {said}")


def command(place):
    """Two processes in one trace, each at its markers in its turn; and a command, from its start on."""
    targets = [place.start([place.workload("alloc_markers"), "--rounds", "5"]) for _ in range(2)]
    pids = [target.told()["pid"] for target in targets]
    tracer = place.trace("-p", f"{pids[0]},{pids[1]}", output="both")
    told = [run_through(target) for target in targets]
    for target in targets:
        target.go()
    snapshots = marked(tracer.finish())
    compare(snapshots[:5], pids[0], told[0], 1, alone=True)
    compare(snapshots[5:], pids[1], told[1], 1, alone=True)
    tracer = place.trace("--", place.workload("alloc_markers"), "--at", "2", "--rounds", "5", output="command")
    pid = tracer.told()["pid"]
    told = run_through(tracer)
    tracer.go()
    compare(tracer.finish(), pid, told, 2)


def snapshot_at(place):
    """At functions of programs that know nothing of it: by path, by name, in a library, and ones that are not there."""
    program = place.workload("alloc_markers")
    target = place.start([program, "--call", "--rounds", "6"])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid), "--snapshot-at", f"{program}:line_reached", "--snapshot-at", "nowhere!malloc", target=target)
    truth = run_through(target)
    target.go()
    snapshots = tracer.finish()
    labels = [snapshot["label"] for snapshot in snapshots]
    expect(labels == ["marker:line_reached"] * 6 + ["final"], f"the snapshots are labelled {labels}")
    wrong = [f"round {i}: {rows}, not {want}" for i, want in enumerate(truth["threads"][0]["rounds"])
             if (rows := site_rows(snapshots[i], pid, 0, True)) != want]
    fail_if(wrong + losses(snapshots[-1]))
    expect("no process mapped a file that 'nowhere' stands for" in tracer.stderr(), f"domtrace said: {tracer.stderr()}")
    # A stripped program from its start on, at a function of a library that is mapped then.
    tracer = place.trace("--snapshot-at", "libc.so.6!getppid", "--", PYTHON, "-c", "import os; [os.getppid() for _ in range(3)]", output="python")
    snapshots = tracer.finish()
    labels, missed = [snapshot["label"] for snapshot in snapshots], counter(snapshots[-1], "markers_missed")
    expect(labels == ["marker:getppid"] * 3 + ["final"], f"the snapshots are labelled {labels}; {missed} markers were missed")
    for text, status, said in ((f"{program}:gone", 1, "has no function 'gone'"), ("malloc", 2, "names no function of a file")):
        done = place.run("-p", str(os.getpid()), "--snapshot-at", text)
        expect(done[0] == status and said in done[2], f"--snapshot-at {text} ended with {done[0]}: {done[2]}")


def kill_domtrace(place, options, want, stop, pause):
    """`stop`: it does nothing any more, so that threads wait at their markers when it is killed."""
    target = place.start([place.workload("alloc_markers"), *options])
    tracer = place.trace("-p", str(target.told()["pid"]), output=f"snapshots-{len(place.processes)}")
    if stop:
        tracer.signal(signal.SIGSTOP)
    target.go()
    time.sleep(pause)
    tracer.signal(signal.SIGKILL)
    told = target.told()
    tracer.wait()
    expect([thread["result"] for thread in told["threads"]] == want, f"{target} computed something else")
    longest = max(thread["longest_ns"] for thread in told["threads"]) / 1e9
    expect(longest < 2 * WAIT + seconds(1), f"a marker took {longest} s")
    expect(longest > pause or not stop, f"no thread was at a marker: the longest took {longest} s")
    target.go()
    expect(target.wait() == 0, f"{target} failed: {target.stderr()}")


def domtrace_is_killed(place):
    """While it holds threads at their markers, and at any moment: the program goes on, and computes the same."""
    chance = random.Random(1)
    options = ["--at", "2", "--churn", "2", "--rounds", str(scaled(60, 12))]
    want = results(place, *options)
    kill_domtrace(place, options, want, True, WAIT / 2)
    for _ in range(scaled(5, 2)):
        kill_domtrace(place, options, want, False, chance.uniform(0, scaled(1, 8)))


def domtrace_is_stopped(place):
    """A marker waits for one that does nothing as long as it is said to, and no longer; then that is counted."""
    target = place.start([place.workload("alloc_markers"), "--rounds", "2"])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid), target=target)
    tracer.signal(signal.SIGSTOP)
    truth = run_through(target)             # it comes through both, the second without a turn
    tracer.signal(signal.SIGCONT)
    target.go()
    snapshots = tracer.finish()
    longest = truth["threads"][0]["longest_ns"] / 1e9
    expect(WAIT <= longest < WAIT + seconds(1), f"a marker took {longest} s")
    labels = [snapshot["label"] for snapshot in snapshots]
    expect(labels == ["marker:0:0000", "final"], f"the snapshots are labelled {labels}")
    expect(site_rows(snapshots[0], pid, 0, True) == truth["threads"][0]["rounds"][0], "the late snapshot is not of its line")
    expect((counter(snapshots[-1], "markers_late"), counter(snapshots[-1], "markers_missed")) == (1, 1),
           f"{counter(snapshots[-1], 'markers_late')} late and {counter(snapshots[-1], 'markers_missed')} missed, not 1 and 1")


def target_is_killed(place):
    """At a marker: it dies at once, and its snapshots are there."""
    target = place.start([place.workload("alloc_markers"), "--rounds", "2"])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid), target=target)
    tracer.signal(signal.SIGSTOP)
    target.go()
    time.sleep(scaled(0.5, 1))
    begin = time.monotonic()
    target.signal(signal.SIGKILL)
    expect(target.wait() == -signal.SIGKILL, "the program was not killed")
    took = time.monotonic() - begin
    tracer.signal(signal.SIGCONT)
    snapshots = tracer.finish()
    expect(took < WAIT / 2, f"the program took {took} s to die at its marker")
    labels = [snapshot["label"] for snapshot in snapshots]
    expect(labels == ["marker:0:0000", "final"], f"the snapshots are labelled {labels}")
    fail_if(losses(snapshots[-1]))
    first, last = (site_rows(snapshot, pid, 0, True) for snapshot in snapshots)
    expect(first == last and sum(row[0] for row in first) > 0, f"{first} at the marker, {last} in the end")


def target_of_a_debugger(place):
    """Another tracer has it: markers need none."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    target = place.start([place.workload("alloc_markers"), "--rounds", "5"])
    pid = target.told()["pid"]
    expect(libc.ptrace(PTRACE_SEIZE, pid, None, None) == 0, f"ptrace: {os.strerror(ctypes.get_errno())}")
    tracer = place.trace("-p", str(pid), target=target)
    truth = run_through(target)
    snapshots = tracer.stop()
    compare(snapshots, pid, truth, 1, alone=True)
    target.go()
    expect(target.wait() == 0, f"{target} failed: {target.stderr()}")


def cases():
    yield "markers/one thread, whole tables", single
    yield "markers/beside threads that allocate", threads_beside
    yield "markers/two threads at once", two_at_once
    yield "markers/each way to attach", each_way
    yield "markers/two processes, a command", command
    yield "markers/--snapshot-at", snapshot_at
    yield "markers/domtrace is killed", domtrace_is_killed
    yield "markers/domtrace is stopped", domtrace_is_stopped
    yield "markers/the program is killed", target_is_killed
    yield "markers/the program is another tracer's", target_of_a_debugger
