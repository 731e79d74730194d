# SPDX-License-Identifier: BSD-2-Clause
"""Signals, ends and exit statuses: the target comes to no harm, and domtrace says truly how it ended."""
import os
import random
import signal
import subprocess
import time

from harness import Failure, checked, expect, scaled, seconds
from tables import compare_libc, domain_rows

KILLS = scaled(20, 4)
LOADING_KILLS = scaled(7, 1)
LOADS = str(scaled(100, 20))
KILLED_OPS = str(scaled(300000, 20000))

# What COMMAND does, and what becomes of domtrace's own exit status.
STATUSES = [
    (["/bin/sh", "-c", "exit 0"], 0),
    (["/bin/sh", "-c", "exit 3"], 3),
    (["/bin/sh", "-c", "kill -SEGV $$"], 128 + signal.SIGSEGV),
    (["/bin/sh", "-c", "kill -KILL $$"], 128 + signal.SIGKILL),
    (["domtrace-there-is-no-such-command"], 127),
    (["/etc/passwd"], 126),
]


def random_target(place, ops=KILLED_OPS):
    target = place.start([place.workload("alloc_random"), "--seed", "11", "--ops", ops])
    return target, target.told()["pid"]


def killed(place):
    """SIGKILL to domtrace at random moments: the target goes on and ends with the right result."""
    target, _ = random_target(place)
    target.go()
    right = target.told(limit=600)
    target.go()
    moments = random.Random(4)
    for number in range(KILLS):
        target, pid = random_target(place)
        tracer = place.start([place.domtrace, "-p", str(pid), "-o", place.path(f"killed-{number}")])
        target.go()
        time.sleep(moments.uniform(0, seconds(1)))
        tracer.signal(signal.SIGKILL)
        tracer.wait()
        told = target.told(limit=600)
        expect(told == right, f"after {number} kills the target's result differs: {told}")
        target.go()
        expect(target.wait() == 0, f"after {number} kills the target exited with {target.wait()}")


def loading(place):
    """
    A command is held whenever it has loaded a library. It goes on when domtrace is killed then, and never comes to notice how it is
    held, whatever it does about that signal itself. While domtrace lives, no traceback through the library is cut off.
    """
    library = place.workload("liballoc_late.so")
    moments = random.Random(5)
    for mode in ("plain", "handled", "blocked"):
        for number in range(LOADING_KILLS + 1):
            argv = ["--", place.workload("dlopen_loop"), library, mode, LOADS]
            tracer = place.start([place.domtrace, "--stack", "native", "-o", place.path(f"{mode}-{number}"), *argv])
            expect(tracer.told()["pid"], "the command does not tell its pid")
            tracer.go()
            if number:
                time.sleep(moments.uniform(0, seconds(0.5)))
                tracer.signal(signal.SIGKILL)
                tracer.wait()
            told = tracer.told(limit=600)
            expect(told == {"loaded": int(LOADS), "noticed": 0}, f"{mode}, kill {number}: {told}")
            if number:
                continue
            expect(tracer.wait() == 0, tracer.stderr())
            last = checked(place.path(f"{mode}-{number}"))[-1]
            cut = {name: count for name, count in last["counters"].items() if name.startswith("truncated_") and count}
            expect(mode != "plain" or not cut, f"{mode}: {cut}")


def clear(place):
    """SIGUSR2: counts begin at zero, blocks from before are older blocks."""
    target = place.start([place.workload("alloc_family")])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid))
    target.go()
    truth = target.told()
    compare_libc(tracer.snapshot(), pid, truth)
    begin = time.monotonic_ns()
    tracer.clear()
    after = tracer.snapshot()
    since = time.monotonic_ns() - begin
    expect(after["elapsed_ns"] <= since, f"elapsed_ns is {after['elapsed_ns']}, SIGUSR2 was {since} ns ago")
    domain, rows = domain_rows(after, pid, "libc")
    expect(not rows, f"{len(rows)} rows are left after SIGUSR2")
    left = {name: number for name, number in (domain or {}).items()
            if name.endswith(("s", "blocks")) and isinstance(number, int) and number and name != "process"}
    expect(not left, f"totals are left after SIGUSR2: {left}")
    expect(not after["counters"]["unmatched_frees"], "unmatched_frees is left after SIGUSR2")
    tracer.stop()
    target.go()


def terminated(place):
    """SIGTERM ends like Ctrl-C: a final snapshot, exit 0, and the target runs on."""
    target, pid = random_target(place, "1000")
    tracer = place.trace("-p", str(pid))
    tracer.signal(signal.SIGTERM)
    snapshots = tracer.finish()
    expect(snapshots[-1]["label"] == "final", f"the last snapshot is labelled {snapshots[-1]['label']}")
    target.go()
    target.told()
    target.go()
    expect(target.wait() == 0, "the target did not end well")


def statuses(place):
    wrong = []
    for command, status in STATUSES:
        ended, _, stderr = place.run("-q", "--", *command)
        if ended != status:
            wrong.append(f"{' '.join(command)}: domtrace exited with {ended}, not {status}: {stderr}")
        if status in (126, 127) and len(stderr.splitlines()) != 1:
            wrong.append(f"{' '.join(command)}: not one sentence: {stderr!r}")
    expect(not wrong, "\n".join(wrong))


def files(place):
    """-i, -c and %n: one whole file a snapshot, none skipped, none more than asked for."""
    target, pid = random_target(place, "1000")
    status, _, stderr = place.run("-p", str(pid), "-i", "0.2", "-c", "3", "-o", place.path("snapshot-%n.json"))
    expect(status == 0, f"exit status {status}: {stderr}")
    names = sorted(name for name in os.listdir(place.directory) if name.startswith("snapshot-"))
    taken = checked(*map(place.path, names), one_run=True)
    expect(len(taken) == len(names), f"{len(taken)} snapshots in {len(names)} files")
    labels = [snapshot["label"] for snapshot in taken]
    expect(labels == ["interval"] * 3, f"the snapshots are {labels}")
    expect(target.child.poll() is None, "the target has ended")


def duration(place):
    """-t: ends by itself with a final snapshot."""
    target, pid = random_target(place, "1000")
    begin = time.monotonic()
    tracer = place.trace("-p", str(pid), "-t", "1.5")
    snapshots = tracer.finish()
    expect(time.monotonic() - begin >= 1.5, "-t 1.5 ended early")
    expect([snapshot["label"] for snapshot in snapshots] == ["final"],
           f"-t alone gives the snapshots {[snapshot['label'] for snapshot in snapshots]}")
    expect(target.child.poll() is None, "the target has ended")


def few_privileges(place):
    """With the three capabilities and no other it traces; where the kernel asks for one more, it names that."""
    few = ["setpriv", "--bounding-set=-all,+bpf,+perfmon,+sys_ptrace", "--inh-caps=-all", place.domtrace]
    alone = "attach        single" in place.run("doctor")[1]  # no uprobe_multi on this kernel
    for arguments, needs_more in ((["--without", "multi"], True), ([], alone)):
        target, pid = random_target(place, "1000")
        if needs_more:
            done = subprocess.run([*few, *arguments, "-p", str(pid)], capture_output=True, text=True, timeout=seconds(60), check=False)
            expect(done.returncode == 1 and done.stderr.count("\n") == 1 and "cap_sys_admin" in done.stderr,
                   f"{' '.join(arguments)}: {done.returncode}, {done.stderr}")
            continue
        path = place.path("few")
        tracer = place.start([*few, *arguments, "-q", "-t", "0.5", "-o", path, "-p", str(pid)])
        target.go()
        target.told()
        expect(tracer.wait() == 0, f"with few capabilities: {tracer.stderr()}")
        expect(checked(path)[-1]["label"] == "final", "no final snapshot")


def appended(place):
    """A second run appends to the first one's file."""
    target, pid = random_target(place, "1000")
    for _ in range(2):
        tracer = place.trace("-p", str(pid))
        tracer.signal(signal.SIGINT)
        expect(tracer.wait() == 0, tracer.stderr())
    with open(place.path("snapshots"), encoding="utf-8") as file:
        lines = file.readlines()
    expect(len(lines) == 2 and all(line.endswith("}\n") for line in lines), f"{len(lines)} lines after two runs")
    target.go()


def attached_while_working(place):
    """Attach and detach in the middle of the target's work: its result is the right one, the invariants hold."""
    target, pid = random_target(place, str(scaled(1000000, 50000)))
    target.go()
    for _ in range(scaled(3, 2)):
        if target.child.poll() is not None or target.lines:
            break
        tracer = place.trace("-p", str(pid), "-i", "0.2", output=f"snapshots-{len(place.processes)}")
        time.sleep(seconds(0.5))
        tracer.stop()
    target.told(limit=600)
    target.go()
    expect(target.wait() == 0, "the target did not end well")


def dying(place):
    """A process that dies while domtrace attaches: traced to its end, or one sentence and exit 1."""
    moments = random.Random(5)
    for number in range(scaled(12, 4)):
        sleeper = subprocess.Popen(["/bin/sleep", str(moments.uniform(0, seconds(0.6)))])
        ended, _, stderr = place.run("-q", "-p", str(sleeper.pid), "-o", place.path(f"dying-{number}"))
        sleeper.wait()
        if ended == 0 or (ended == 1 and len(stderr.splitlines()) == 1):
            continue
        raise Failure(f"exit status {ended}: {stderr}")


def cases():
    yield "signals/SIGKILL to domtrace", killed
    yield "signals/SIGKILL to domtrace while its command loads libraries", loading
    yield "signals/SIGUSR2 clears", clear
    yield "signals/SIGTERM", terminated
    yield "signals/attach and detach at work", attached_while_working
    yield "signals/a process that dies", dying
    yield "run/exit statuses", statuses
    yield "run/one file a snapshot", files
    yield "run/duration", duration
    yield "run/appended", appended
    yield "run/few privileges", few_privileges
