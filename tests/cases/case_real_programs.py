# SPDX-License-Identifier: BSD-2-Clause
"""Real programs under load for a minute: their tracebacks reach the thread's outermost frame, and those that do not say why."""
import contextlib
import os
import re
import subprocess
import time

import images
from harness import PROJECT, Skip, expect, scaled, seconds
from servers import Load, Nginx, Postgres, Python, Redis, program
from tables import domain_rows, fail_if, frames_text, losses

LOAD_SECONDS = scaled(60, 15)
SHARE = 0.999
EVENTS_MIN = scaled(2000, 50)           # fewer, and nothing was under load
OUTERMOST_CODE_BYTES = 64               # _start is 34 bytes long (glibc 2.36 sysdeps/x86_64/start.S, with CET's endbr64 38)
OUTERMOST_PYTHON = ("<module>", "Thread._bootstrap")
CALL_BYTES = range(2, 8)                # of a call instruction (Intel SDM 2A, "CALL"; the longest has a prefix and a displacement)


def reasons():
    """The names of truncations.def, and that of a traceback that was lost."""
    with open(os.path.join(PROJECT, "include", "domtrace", "truncations.def"), encoding="utf-8") as file:
        return set(re.findall(r"^DT_TRUNCATION\((\w+),", file.read(), re.MULTILINE)) | {"lost"}


def ends_of_threads(pid):
    """{(path, file offset)} behind the calls that the outermost frames of all threads are in, as elfutils walks them."""
    text = subprocess.run(
        [program("eu-stack", "elfutils"), "-p", str(pid)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, timeout=seconds(60), check=False)
    expect(text.returncode == 0, f"eu-stack on {pid}: {text.stderr.decode()}")
    mapped, ends = images.mappings(pid), set()
    for stack in re.split(r"^TID \d+:$", text.stdout.decode(), flags=re.MULTILINE)[1:]:
        address = int(re.findall(r"^#\d+ +0x([0-9a-f]+)", stack, re.MULTILINE)[-1], 16)
        ends |= {(one.path, address - one.start + one.offset) for one in mapped if one.start < address <= one.end}
    expect(ends, f"eu-stack tells no frames of {pid}: {text.stdout.decode()}")
    return ends


def entry_of(pid):
    """(path, file offset) of the program's first instruction."""
    path = os.readlink(f"/proc/{pid}/exe")
    with open(path, "rb") as file:
        program_file = images.File(file.read(), path)
    return path, program_file.offset(program_file.entry)


class Share:
    """What a trace shows of one program."""

    def __init__(self, subject, stack):
        self.name = subject.name
        self.stack = stack
        self.pid = subject.pid
        self.ends = ends_of_threads(subject.pid)
        self.entry = entry_of(subject.pid)
        self.events = self.whole = self.deepest = self.tracebacks = 0
        self.reasons = {}
        self.wrong = []

    def add(self, frames, traceback, trace):
        events, reason = trace["allocations"], traceback["truncated"]
        self.events += events
        self.tracebacks += 1
        self.deepest = max(self.deepest, traceback["total_frames"])
        if reason:
            self.reasons[reason] = self.reasons.get(reason, 0) + events
        else:
            self.whole += events
            self.check_end(frames, traceback)
            if self.stack == "mixed":
                self.check_python(frames)

    def check_end(self, frames, traceback):
        """A traceback that is said to be whole ends where elfutils saw a thread of the program end, or in its entry."""
        first = frames[0] if frames else {"kind": "none"}
        if len(frames) != traceback["total_frames"]:
            self.wrong.append(f"{len(frames)} of {traceback['total_frames']} frames: {frames_text(frames)}")
        elif first["kind"] != "native":
            self.wrong.append(f"does not begin with a native frame: {frames_text(frames)}")
        elif not self.is_end(first) and not self.is_entry(first):
            self.wrong.append(f"begins at {first['module']}+{first['address']:#x}: {frames_text(frames)}")

    def check_python(self, frames):
        """Python code is run by calls of the eval loop, begins in a module or a thread, and stands for those calls."""
        python = [frame["function"] for frame in frames if frame["kind"] == "python"]
        if python and python[0] not in OUTERMOST_PYTHON:
            self.wrong.append(f"Python begins in {python[0]}: {frames_text(frames)}")
        if any(frame["function"] == "_PyEval_EvalFrameDefault" for frame in frames):
            self.wrong.append(f"an eval loop without its Python frames: {frames_text(frames)}")

    def is_end(self, frame):
        """`address` is that of the call instruction, elfutils' that behind it."""
        return any((frame["module"], frame["address"] + length) in self.ends for length in CALL_BYTES)

    def is_entry(self, frame):
        path, offset = self.entry
        return frame["module"] == path and offset <= frame["address"] < offset + OUTERMOST_CODE_BYTES

    def line(self):
        why = ", ".join(f"{name} {count}" for name, count in sorted(self.reasons.items())) or "-"
        part = 100 * self.whole / max(self.events, 1)
        return f"{self.name:16}  {self.events:10,}  {self.whole:10,}  {part:8.4f} %  {self.tracebacks:6,}  {self.deepest:4}  {why}"

    def faults(self):
        wrong = [f"{self.name}: {sentence}" for sentence in self.wrong[:10]]
        if self.events < EVENTS_MIN:
            wrong.append(f"{self.name} was not under load: {self.events} events")
        if self.whole < SHARE * self.events:
            wrong.append(f"{self.name}: {self.whole} of {self.events} tracebacks are whole, the others are {self.reasons}")
        unknown = self.reasons.keys() - reasons()
        return wrong + ([f"{self.name}: no such reasons: {unknown}"] if unknown else [])


def add_process(snapshot, share):
    """Every domain of a process: its rows add up to its events."""
    for domain in snapshot["domains"]:
        if snapshot["processes"][domain["process"]]["pid"] != share.pid:
            continue
        _, rows = domain_rows(snapshot, share.pid, domain["source"], domain["id"])
        for row in rows:
            share.add(*row)
        total = sum(trace["allocations"] for _, _, trace in rows)
        if total != domain["allocations"]:
            share.wrong.append(f"domain {domain['name']} has {domain['allocations']} allocations, its rows have {total}")


def counted(snapshot, shares):
    """The counters of truncated events are the sums of the rows."""
    wrong = []
    for name in reasons() - {"lost"}:
        number, total = snapshot["counters"][f"truncated_{name}"], sum(share.reasons.get(name, 0) for share in shares)
        if number != total:
            wrong.append(f"counters.truncated_{name} is {number}, the rows have {total}")
    return wrong


def start_all(place, kinds, end):
    """(those that could be started, [why others could not]); `end` will stop them."""
    subjects, missing = [], []
    for kind in kinds:
        try:
            subjects.append(kind(place))
            end.callback(subjects[-1].stop)
        except Skip as skip:
            missing.append(f"{kind.name}: {skip}")
    return subjects, missing


def trace_under_load(place, subjects, stack):
    """(last snapshot, [Share])"""
    shares = [Share(subject, stack) for subject in subjects]
    tracer = place.trace("-p", ",".join(str(share.pid) for share in shares), "-l", "256", "--stack", stack)
    loads = [Load(subject.turn) for subject in subjects]
    for load in loads:
        load.start()
    time.sleep(LOAD_SECONDS)
    for load in loads:
        load.done.set()
    for load in loads:
        load.stop()
    return tracer.stop()[-1], shares


def print_table(stack, shares):
    print(f"tracebacks under load for {LOAD_SECONDS} s, --stack {stack}:")
    print(f"{'program':16}  {'events':>10}  {'whole':>10}  {'share':>10}  {'traces':>6}  {'deep':>4}  the others, by reason")
    for share in shares:
        print(share.line(), flush=True)


def shares_of_whole(place, stack, kinds):
    with contextlib.ExitStack() as end:
        subjects, missing = start_all(place, kinds, end)
        if not subjects:
            raise Skip("; ".join(missing))
        snapshot, shares = trace_under_load(place, subjects, stack)
    for share in shares:
        add_process(snapshot, share)
    print_table(stack, shares)
    fail_if(losses(snapshot) + counted(snapshot, shares) + [fault for share in shares for fault in share.faults()])
    if missing:
        raise Skip(f"the others pass, but {'; '.join(missing)}")


def cases():
    yield "programs/whole native tracebacks", lambda place: shares_of_whole(place, "native", (Redis, Nginx, Postgres, Python))
    yield "programs/whole mixed tracebacks", lambda place: shares_of_whole(place, "mixed", (Python,))
