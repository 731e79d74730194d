# SPDX-License-Identifier: BSD-2-Clause
"""A running domtrace is asked: what each request does and says, by whom it may be asked, and who cannot hold it up."""
import json
import os
import re
import signal
import socket
import subprocess
import time

from harness import Tracer, checked, expect, seconds
from tables import compare_libc, domain_rows

NOT_TRACING = 3
NOBODY = 65534

# Other domtrace may run on this machine: these have a /run of their own, in a mount namespace that a shell keeps.
ROOM = "mount -t tmpfs -o mode=755 tmpfs /run && echo '{}' && exec sleep 3600"


class Room:
    def __init__(self, place, mount=ROOM):
        self.place = place
        self.keeper = place.start(["unshare", "--mount", "--propagation", "private", "sh", "-c", mount])
        self.keeper.told()
        self.enter = ["nsenter", f"--mount=/proc/{self.keeper.pid}/ns/mnt", f"--wd={place.directory}"]

    def trace(self, *arguments, output="snapshots", through=()):
        path = self.place.path(output) if output else None
        output = ["-o", path] if path else []
        tracer = Tracer([*self.enter, *through, self.place.domtrace, *output, *arguments],
                        self.place.path(f"stderr-{len(self.place.processes)}"), path)
        self.place.processes.append(tracer)
        tracer.wait_ready()
        return tracer

    def run(self, *arguments, through=()):
        """(exit status, standard output, standard error)"""
        done = subprocess.run([*self.enter, *through, self.place.domtrace, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=seconds(120), check=False)
        return done.returncode, done.stdout, done.stderr

    def ask(self, *words):
        status, output, error = self.run("ctl", *map(str, words))
        expect(status == 0 and not error, f"ctl {words}: {status}, {error}")
        return output

    def status(self, *words):
        return json.loads(self.ask(*words, "status", "--format", "json"))

    def connect(self, tracer):
        """By way of the keeper: its /run is not this process's."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(f"/proc/{self.keeper.pid}/root/run/domtrace/{tracer.pid}.sock")
        return client


def family(place):
    target = place.start([place.workload("alloc_family")])
    return target, target.told()["pid"]


def domains_of(status, pid):
    found = [process for process in status["processes"] if process["pid"] == pid]
    expect(len(found) == 1, f"process {pid} is in the status {len(found)} times")
    return {domain.pop("name"): domain for domain in found[0]["domains"]}


def same_as(status, snapshot, pid):
    """The target stands still: the status must say what the snapshot says."""
    domain, _ = domain_rows(snapshot, pid, "libc")
    wanted = {name: domain[name] for name in ("live_blocks", "live_bytes", "peak_bytes")}
    found = domains_of(status, pid).get("libc")
    expect(found == wanted, f"the status says {found}, the snapshot {wanted}")
    expect(status["losses"] == snapshot["losses"], f"the status has the losses {status['losses']}")


def check_text(text, status, tracer, pid):
    domain = domains_of(status, pid)["libc"]
    line = f"    libc: {domain['live_bytes']:,} bytes in {domain['live_blocks']:,} blocks live, peak {domain['peak_bytes']:,} bytes\n"
    expect(line in text and f"  {pid} (alloc_family)\n" in text and f"\nfile: {tracer.path}\n" in text and "\nlosses: none\n" in text,
           f"the status as text is {text}, and as JSON {status}")


def requests(place):
    """Each request against ground truth: snapshots, their numbers, status, reset-peak, clear, stop; and what is there afterwards."""
    room = Room(place)
    status, output, error = room.run("ctl", "status")
    expect(status == NOT_TRACING and not output and error.count("\n") == 1, f"without a domtrace: {status}, {output}, {error}")
    target, pid = family(place)
    tracer = room.trace("-p", str(pid))
    target.go()
    truth = target.told()
    expect(room.ask("snapshot") == "snapshot 1\n", "the first snapshot has another number")
    snapshot = tracer.snapshots()[-1]  # written when it was answered
    expect(snapshot["label"] == "request" and snapshot["sequence"] == 1, f"the snapshot is {snapshot['label']}, {snapshot['sequence']}")
    compare_libc(snapshot, pid, truth)
    found = room.status(tracer.pid)
    same_as(found, snapshot, pid)
    expect(found["snapshots"] == 1 and found["file"] == tracer.path and found["kernel_bytes"] > 0, f"the status is {found}")
    check_text(room.ask("status"), room.status(), tracer, pid)

    expect(room.ask("reset-peak") == "", "reset-peak says something")
    libc = domains_of(room.status(), pid)["libc"]
    expect(libc["peak_bytes"] == libc["live_bytes"] == domain_rows(snapshot, pid, "libc")[0]["live_bytes"], f"after reset-peak: {libc}")
    expect(room.ask("clear") == "", "clear says something")
    found = room.status()
    left = [domain for domain in domains_of(found, pid).values() if any(domain.values())]
    expect(not left and found["elapsed_ns"] < snapshot["elapsed_ns"] + seconds(60) * 10**9, f"after clear: {found}")
    expect(room.ask("snapshot") == "snapshot 2\n", "status has counted as a snapshot, or clear begun numbers anew")
    expect(not domain_rows(tracer.snapshots()[-1], pid, "libc")[1], "rows are left after clear")

    expect(room.ask("stop") == "snapshot 3\n", "the final snapshot has another number")
    expect([one["label"] for one in tracer.snapshots()] == ["request", "request", "final"], "the final snapshot was not there at the answer")
    tracer.finish()
    for words in (["status"], [str(tracer.pid), "status"], [str(tracer.pid), "stop"]):
        status, output, error = room.run("ctl", *words)
        expect(status == NOT_TRACING and not output and error.count("\n") == 1, f"ctl {words} afterwards: {status}, {output}, {error}")
    left = os.listdir(f"/proc/{room.keeper.pid}/root/run/domtrace")
    expect(not left, f"left behind: {left}")
    target.go()
    expect(target.wait() == 0, "the target did not end well")


def two(place):
    """Two at once: each answers for itself, and without a number both are named. What was killed is nobody, and goes."""
    room = Room(place)
    targets = [family(place) for _ in range(3)]
    tracers = [room.trace("-p", str(pid), output=f"snapshots-{pid}") for _, pid in targets]
    tracers[2].child.kill()
    tracers[2].wait()
    left = set(os.listdir(f"/proc/{room.keeper.pid}/root/run/domtrace"))
    expect(left == {f"{tracer.pid}.sock" for tracer in tracers}, f"the sockets are {left}")
    numbers = ", ".join(str(pid) for pid in sorted(tracer.pid for tracer in tracers[:2]))
    status, output, error = room.run("ctl", "status")
    expect(status == 2 and not output and f" {numbers}: " in error, f"two at once: {status}, {output}, {error}")
    status, output, error = room.run("ctl", str(tracers[2].pid), "status")
    expect(status == NOT_TRACING and not output and error.count("\n") == 1, f"one that was killed: {status}, {output}, {error}")
    for tracer, (_, pid) in zip(tracers, targets):
        if tracer is not tracers[2]:
            found = [process["pid"] for process in room.status(tracer.pid)["processes"]]
            expect(found == [pid], f"the domtrace of {pid} says that it traces {found}")
    room.ask(tracers[0].pid, "stop")
    tracers[0].finish()
    expect(len(tracers[0].snapshots()) == 1 and not tracers[1].snapshots(), "the other one was stopped")
    expect([process["pid"] for process in room.status()["processes"]] == [targets[1][1]], "the one that is left does not answer")
    tracers[0] = room.trace("-p", str(targets[0][1]), output="again")
    left = set(os.listdir(f"/proc/{room.keeper.pid}/root/run/domtrace"))
    expect(left == {f"{tracer.pid}.sock" for tracer in tracers[:2]}, f"what was killed has left {left}")
    for tracer in tracers[:2]:
        tracer.stop()


def heard(client):
    client.settimeout(seconds(60))
    text = b""
    try:
        while part := client.recv(4096):
            text += part
    except ConnectionResetError:
        pass
    client.close()
    return text


def refused(place):
    """Other users, silent and rude clients: none of them gets anything, and none keeps a snapshot waiting."""
    room = Room(place)
    target, pid = family(place)
    tracer = room.trace("-p", str(pid))
    as_nobody = ["setpriv", f"--reuid={NOBODY}", "--clear-groups"]
    status, output, error = room.run("ctl", str(tracer.pid), "status", through=as_nobody)
    expect(status == NOT_TRACING and not output and error.count("\n") == 1, f"as another user: {status}, {output}, {error}")
    # One who gets past the permissions of files, but is another user all the same.
    knock = ("import socket, sys; s = socket.socket(socket.AF_UNIX)\ntry: s.connect(sys.argv[1])\n"
             "except PermissionError: print('no entry'); sys.exit()\n"
             "try: s.sendall(b'domtrace/1 stop\\n')\nexcept BrokenPipeError: pass\n"
             "try:\n while said := s.recv(4096).decode(): print(said, end='')\nexcept ConnectionResetError: pass")
    path = f"/run/domtrace/{tracer.pid}.sock"
    for override, wanted in (([], "no entry\n"),
                             (["--inh-caps=+dac_override", "--ambient-caps=+dac_override"], "domtrace/1 refused 27\nit belongs to another user\n")):
        done = subprocess.run([*room.enter, *as_nobody, *override, "/usr/bin/python3", "-I", "-c", knock, path], capture_output=True, text=True,
                              timeout=seconds(60), check=False)
        expect(done.stdout == wanted, f"another user is told {done.stdout!r}, {done.stderr}")

    silent = [room.connect(tracer) for _ in range(20)]
    rude = [room.connect(tracer) for _ in range(5)]
    for client, text in zip(rude, (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 4096, b"domtrace/1 stop", b"domtrace/1 stop\nstop\n", b"domtrace/2 stop\n")):
        client.sendall(text)
    begin = time.monotonic()
    expect(room.ask("snapshot") == "snapshot 1\n", "no snapshot beside silent clients")
    took = time.monotonic() - begin
    expect(took < seconds(4), f"the snapshot took {took:.1f} s: it has waited for silent clients")
    answers = {heard(client) for client in rude}
    unknown = b"domtrace/1 unknown 25\nthere is no such request\n"
    expect(answers <= {unknown, b""} and unknown in answers, f"rude clients were told {answers}")
    expect({heard(client) for client in silent} == {b""}, "silent clients were told something")
    expect(room.ask("snapshot") == "snapshot 2\n", "no second snapshot")
    expect([one["label"] for one in tracer.stop()] == ["request", "request", "final"], "somebody else was obeyed")
    target.go()


def nowhere(place):
    """Where no socket can be made domtrace warns and traces; what others could write to is not used."""
    for mount, names in (("mount -t tmpfs -o mode=755,ro tmpfs /run", "Read-only file system"),
                         ("mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 777 /run/domtrace", "/run/domtrace is not used"),
                         ("mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 700 /run/domtrace && chown 1 /run/domtrace", "is not used"),
                         ("mount -t tmpfs -o mode=777 tmpfs /run", "others than its user may write")):
        room = Room(place, f"{mount} && echo '{{}}' && exec sleep 3600")
        target, pid = family(place)
        output = f"snapshots-{pid}"
        tracer = room.trace("-p", str(pid), output=output)
        warnings = [line for line in tracer.stderr().splitlines() if "domtrace ctl" in line or names in line]
        expect(len(warnings) == 1 and names in warnings[0], f"{mount}: {tracer.stderr()}")
        target.go()
        truth = target.told()
        compare_libc(tracer.snapshot(), pid, truth)
        tracer.stop()
        target.go()


def another_user(place):
    """With the capabilities that it takes and no other, as a user who is not root: in XDG_RUNTIME_DIR; root does not find it."""
    room = Room(place)
    target, pid = family(place)
    home = place.path("runtime")
    os.mkdir(home, 0o700)
    os.chown(home, NOBODY, NOBODY)
    os.chmod(place.directory, 0o755)
    capabilities = "+bpf,+perfmon,+sys_ptrace,+sys_admin"
    user = ["env", f"XDG_RUNTIME_DIR={home}", "setpriv", f"--reuid={NOBODY}", "--clear-groups"]
    tracer = room.trace("-p", str(pid), output=None, through=[*user, f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"])
    expect(os.listdir(os.path.join(home, "domtrace")) == [f"{tracer.pid}.sock"], f"no socket: {tracer.stderr()}")
    status, output, error = room.run("ctl", "status", through=user)
    expect(status == 0 and f"\n  {pid} (" in output, f"its user: {status}, {output}, {error}")
    status, output, error = room.run("ctl", str(tracer.pid), "status")
    expect(status == NOT_TRACING and not output, f"root: {status}, {output}, {error}")
    status, output, error = room.run("ctl", "stop", through=user)
    expect((status, output) == (0, "snapshot 1\n"), f"stop: {status}, {output}, {error}")
    expect(tracer.wait() == 0, tracer.stderr())
    target.go()


def command(place):
    """stop ends as SIGINT does: the command gets it, too; while it goes on, there is nothing to ask about any more."""
    room = Room(place)
    script = "trap '' INT; echo '{}'; read line"
    tracer = room.trace("--", "/bin/sh", "-c", script)
    tracer.told()
    expect(room.ask("stop") == "snapshot 1\n", "the final snapshot has another number")
    for request in ("status", "snapshot", "clear", "reset-peak", "stop"):
        status, output, error = room.run("ctl", str(tracer.pid), request)
        expect(status == NOT_TRACING and not output and "tracing has ended" in error, f"{request}: {status}, {output}, {error}")
    tracer.go()
    expect(tracer.wait() == 0, f"the command's status: {tracer.wait()}, {tracer.stderr()}")
    expect([one["label"] for one in checked(tracer.path)] == ["final"], "other snapshots than the final one")


def live_diff(place):
    """diff -p: both ends live, as a diff of files of the same two moments would show."""
    target, pid = family(place)
    process = place.start([place.domtrace, "diff", "-p", str(pid), "--over", "3600s", "--group-by", "domain", "--format", "json", "--stack", "native"])
    deadline = time.monotonic() + seconds(120)
    while "ready" not in process.stderr():
        expect(not process.ended.is_set() and time.monotonic() < deadline, f"diff is not ready: {process.stderr()}")
        time.sleep(0.05)
    target.go()
    truth = target.told()
    process.signal(signal.SIGINT)
    told = process.told()
    expect(process.wait() == 0, process.stderr())
    wanted = ("libc", sum(row["bytes"] for row in truth["rows"]), sum(row["blocks"] for row in truth["rows"]))
    rows = [(row["domain"], row["bytes_diff"], row["blocks_diff"]) for row in told["rows"]]
    expect(rows == [wanted], f"the difference is {told}, the workload made {wanted}")
    status, _, error = place.run("diff", "-p", "1,x", "--over", "1s")
    expect(status == 2 and re.search(r"--pid: '1,x'", error), f"wrong usage: {status}, {error}")
    status, _, error = place.run("diff", "-p", str(pid), "--over", "1s", "--stack", "no such")
    expect(status == 2, f"a wrong stack: {status}, {error}")
    target.go()


def cases():
    yield "ctl/each request", requests
    yield "ctl/two at once", two
    yield "ctl/other users, silent and rude clients", refused
    yield "ctl/no socket", nowhere
    yield "ctl/another user", another_user
    yield "ctl/a command outlives the trace", command
    yield "ctl/diff of running processes", live_diff
