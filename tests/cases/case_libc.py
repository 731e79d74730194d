# SPDX-License-Identifier: BSD-2-Clause
"""The libc domain: the whole table equals what the workload tells of itself, also with each fallback forced."""
import guests
from harness import Failure, Tracer, expect, scaled
from tables import compare_libc

RANDOM_OPS = "1000000"
FALLBACK_OPS = str(scaled(100000, 10000))
THREAD_OPS = "20000"
FALLBACK_THREAD_OPS = str(scaled(2000, 500))

# argv: the workload and its arguments. launch: started by domtrace instead of attached to. exact_peak: one thread only.
# ends: the target's exit ends the trace, else Ctrl-C (where the end of a thread changes counters).
# one_thread: what was live at the peak and what was temporary is compared, too. foreign: modules whose rows are their own business. facts: what the workload must tell. behind: who called each row's caller,
# outwards (tables.compare_libc). loads: it stops when its library is loaded.
FROM_MAIN = {None: ("main",)}
IN_THREADS = {"thread_step": ("thread_early",), "thread_receive": ("thread_early",), "thread_late": ()}

WORKLOADS = {
    "family": {"argv": ["alloc_family"], "one_thread": True, "ends": True, "facts": {"moved": 1, "stayed": 1}, "behind": FROM_MAIN},
    "family from its start": {"argv": ["alloc_family", "--from-start"], "one_thread": True, "launch": True, "ends": True, "behind": FROM_MAIN},
    "random": {"argv": ["alloc_random", "--seed", "7", "--ops", RANDOM_OPS], "one_thread": True, "ends": True, "behind": FROM_MAIN},
    "random from its start": {"argv": ["alloc_random", "--seed", "8", "--ops", FALLBACK_OPS], "one_thread": True, "launch": True, "ends": True,
                              "behind": FROM_MAIN},
    "threads": {"argv": ["alloc_threads", "--ops", THREAD_OPS], "exact_peak": False, "behind": IN_THREADS},
    "threads that start later": {"argv": ["alloc_threads", "--late", "--threads", "4"], "exact_peak": False, "ends": True,
                                 "behind": IN_THREADS},
    "library loaded later": {"argv": ["alloc_dlopen", "liballoc_late.so"], "loads": True,
                             "foreign": {"ld-linux-x86-64.so.2", "libc.so.6"},
                             "behind": {"use_library": ("main",), "use_library_in_thread": ()}},
}

# Each is run again with every feature forced off.
FALLBACK_WORKLOADS = {
    "family": WORKLOADS["family"],
    "random": {"argv": ["alloc_random", "--seed", "9", "--ops", FALLBACK_OPS], "one_thread": True, "ends": True, "behind": FROM_MAIN},
    "threads": {"argv": ["alloc_threads", "--ops", FALLBACK_THREAD_OPS], "exact_peak": False, "behind": IN_THREADS},
    # attaches to libc after most privileges were given up
    "random from its start": WORKLOADS["random from its start"],
}

# What --without knows of ways to attach; the case libc/features compares it with `domtrace --help`.
FEATURES = ("session", "multi", "cheap-sites")
COMBINATIONS = tuple((name,) for name in FEATURES) + (FEATURES,)


def argv_of(place, spec):
    program, *arguments = spec["argv"]
    return [place.workload(program)] + [
        place.workload(word) if word.endswith(".so") else word for word in arguments]


def begin(place, spec, options):
    """(process that runs the workload's protocol, tracer, pid of the target)"""
    if spec.get("launch"):
        tracer = place.trace(*options, "--", *argv_of(place, spec))
        return tracer, tracer, tracer.told()["pid"]
    target = place.start(argv_of(place, spec))
    pid = target.told()["pid"]
    return target, place.trace("-p", str(pid), *options), pid


def compare(snapshot, pid, truth, spec):
    compare_libc(snapshot, pid, truth, spec.get("exact_peak", True), spec.get("foreign", ()), spec["behind"],
                 spec.get("one_thread", False))


def end(target, tracer, spec):
    """Ends the trace in the way of the spec and returns the last snapshot."""
    if spec.get("ends"):
        target.go()
        last = tracer.finish()[-1]
    else:
        last = tracer.stop()[-1]
        target.go()
    expect(last["label"] == "final", f"the last snapshot is labelled {last['label']}")
    expect(target.wait() == 0, f"{target} exited with {target.wait()}: {target.stderr()}")
    return last


def run(place, spec, options=()):
    target, tracer, pid = begin(place, spec, options)
    target.go()
    if spec.get("loads"):
        expect(target.told()["loaded"], "the workload has not loaded its library")
        tracer.snapshot()       # by then domtrace has looked at what the loader told before
        target.go()
    truth = target.told(limit=600)
    for name, fact in spec.get("facts", {}).items():
        expect(truth["facts"][name] == fact, f"the workload did not come to it: {name} is {truth['facts'][name]}")
    compare(tracer.snapshot(), pid, truth, spec)
    try:
        compare(end(target, tracer, spec), pid, truth, spec)
    except Failure as failure:
        raise Failure(f"in the last snapshot: {failure}") from failure


def features(place):
    _, text, _ = place.run("--help")
    lines = text.split("Features that --without knows:\n", 1)[-1].split("\n\n", 1)[0].splitlines()
    listed = tuple(line.split()[0] for line in lines if line.startswith("  ") and line[2] != " ")
    known = {*FEATURES, "markers"}      # without which the cases of markers are
    expect(set(listed) == known, f"--help lists the features {listed}, the cases know {known}")


def two_processes(place):
    """Two processes at once: one table each, under one pair of programs."""
    specs = [FALLBACK_WORKLOADS["random"], WORKLOADS["family"]]
    targets = [place.start(argv_of(place, spec)) for spec in specs]
    pids = [target.told()["pid"] for target in targets]
    tracer = place.trace("-p", ",".join(map(str, pids)))
    truths = []
    for target in targets:
        target.go()
        truths.append(target.told())
    snapshot = tracer.snapshot()
    together = {name: sum(truth["counters"][name] for truth in truths) for name in truths[0]["counters"]}
    for pid, truth, spec in zip(pids, truths, specs):
        compare(snapshot, pid, {**truth, "counters": together}, spec)
    targets[0].go()
    targets[0].wait()
    compare(tracer.snapshot(), pids[1], {**truths[1], "counters": together}, specs[1])
    targets[1].go()
    last = tracer.finish()[-1]
    compare(last, pids[0], {**truths[0], "counters": together}, specs[0])
    compare(last, pids[1], {**truths[1], "counters": together}, specs[1])


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def trace_inside(place, pid, numbers):
    """domtrace in the pid namespace of a process. Signals would go to nsenter, so it ends with its targets."""
    enter = ["nsenter", f"--pid=/proc/{pid}/ns/pid", f"--mount=/proc/{pid}/ns/mnt", f"--wd={place.directory}"]
    tracer = Tracer([*enter, place.domtrace, "-o", place.path("inside"), "-p", numbers], place.path("stderr-inside"), place.path("inside"))
    place.processes.append(tracer)
    tracer.wait_ready()
    return tracer


NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "sh", "-c")


def pid_namespace(place):
    """One tracer in the target's pid namespace, whose first process is a shell, and one outside: each table has its reader's number for it."""
    spec = FALLBACK_WORKLOADS["random"]
    target = place.start([*NAMESPACE, '"$0" "$@"; status=$?; read line; exit $status', *argv_of(place, spec)])
    expect(target.told()["pid"] == 2, "the target is not the second of its namespace")
    [shell] = children_of(target.pid)
    [pid] = children_of(shell)
    inside, outside = trace_inside(place, pid, "2"), place.trace("-p", str(pid))
    target.go()
    truth = target.told(limit=600)
    target.go()
    lasts = inside.finish()[-1], outside.finish()[-1]
    target.go()                     # the shell's end is that of all in its namespace
    expect(target.wait() == 0, target.stderr())
    for last, number in zip(lasts, (2, pid)):
        expect([process["pid"] for process in last["processes"]] == [number], f"the processes are {last['processes']}, not {number}")
        compare(last, number, truth, spec)


def pid_reused(place):
    """A process that has the number of one that was traced, while others are traced still, is another one: nothing of it is booked."""
    spec = FALLBACK_WORKLOADS["random"]
    script = 'tail -f /dev/null & "$0" "$@" && echo 2 >/proc/sys/kernel/ns_last_pid && "$0" "$@"; status=$?; kill $!; read line; exit $status'
    target = place.start([*NAMESPACE, script, *argv_of(place, spec)])
    expect(target.told()["pid"] == 3, "the target is not the third of its namespace")
    [shell] = children_of(target.pid)
    tracer = trace_inside(place, shell, "2,3")
    truths = []
    for again in False, True:
        expect(not again or target.told()["pid"] == 3, "the second target has another number than the first")
        target.go()
        truths.append(target.told(limit=600))
        target.go()
    last = tracer.finish()[-1]
    target.go()
    expect(target.wait() == 0, target.stderr())
    expect(sorted(process["pid"] for process in last["processes"]) == [2, 3], f"the processes are {last['processes']}")
    expect(truths[0]["total"] == truths[1]["total"], "the targets did not do the same")
    compare(last, 3, truths[0], spec)


def vforks(place, options=()):
    """Children of vfork(), which work in their parent's memory: with single probes they are booked there, else their number is told."""
    seen = "multi" in (*options, *guests.missing_features())
    target = place.start([place.workload("alloc_vfork"), *([] if seen else ["--parent"])])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid), *options)
    target.go()
    truth = target.told()
    truth["counters"]["vforks_unseen"] = 0 if seen else truth["facts"]["vforks"]
    for snapshot in tracer.snapshot(), tracer.stop()[-1]:
        compare_libc(snapshot, pid, truth)
    target.go()
    expect(target.wait() == 0, f"{target} exited with {target.wait()}: {target.stderr()}")


def cases():
    for name, spec in WORKLOADS.items():
        yield f"libc/{name}", lambda place, spec=spec: run(place, spec)
    yield "libc/two processes", two_processes
    yield "libc/pid namespace", pid_namespace
    yield "libc/pid reused", pid_reused
    yield "libc/features", features
    yield "libc/children of vfork", vforks
    yield "libc/children of vfork without multi", lambda place: vforks(place, ("--without", "multi"))
    for names in COMBINATIONS:
        options = [word for name in names for word in ("--without", name)]
        for name, spec in FALLBACK_WORKLOADS.items():
            yield (f"libc/{name} without {' and '.join(names)}",
                   lambda place, spec=spec, options=options: run(place, spec, options))
