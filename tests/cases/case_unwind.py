# SPDX-License-Identifier: BSD-2-Clause
"""Native stacks, frame by frame: what domtrace finds is what the program itself and glibc's backtrace() say, in every build."""
import collections
import os
import re
import shutil
import subprocess

from harness import PYTHON, Failure, Skip, expect, scaled, seconds
from images import Space
from stacks import Comparison, Truth, agreement, is_at, real_row, row_text
from tables import domain_rows, frames_text

DEEP = 1000
TOO_DEEP = 3000
STEPS = {"unwind_plain": scaled(["--steps"], [])}  # a minute and a half in a guest
# What the code of functions without a description gives away, and what it does not.
ENDS = {"assembly_unknowable": "no_rule"}
# Each site asks for bytes of its own, and all of them are reached. Not every clock is read in the vDSO, and only two builds begin
# with a constructor, or bind a call late.
SHAPES = {100, 101, 200, 201, 256, 512, 300, 301, *range(310, 315), *range(319, 326), 330, 331, 332, 341, 343, 351, 352, 360, 361,
          *range(400, 404), 501, 600}
SITES = SHAPES | {8, 24, 120, 280, 4000, 8192, *range(601, 605), 700, 710, 732, 751, 760, 800, 900, 901,
                  910, 911, 912, 914, 915, 916, 918, 920, 921}
SOMETIMES = {780, 500, 1700}
CXX_SITES = {1000, 1001, 1010, 1011, 1020, 1021, 1030, 1031, 1100, 1102, 1110, 1120, 1121, 1122, 1200, 1206, 1300, 1311, 1324, 1334,
             1340, 1400, 1410, 1411, 1420, 1430}
TURNS = str(scaled(300, 40))


COMPILERS = {"cxx": ("g++", "g++"), "musl": ("musl-gcc", "musl-tools")}


def program(place, name):
    for part, (compiler, package) in COMPILERS.items():
        if part in name and not shutil.which(compiler):
            raise Skip(f"{compiler} is not installed (package {package})")
    return place.workload(name)


def expect_sites(told, expected):
    """Of sites of C++ those that the library does not choose the sizes of."""
    least = min(CXX_SITES) if expected == CXX_SITES else 1
    found = {record["bytes"] for record in told["records"] if record["bytes"] >= least} - SOMETIMES
    expect(found == expected, f"sites that were not reached: {expected - found}, unknown ones: {found - expected}")


def begin(place, commands, options=()):
    """(targets, their pids, tracer): all in one trace"""
    targets = [place.start(command) for command in commands]
    pids = [target.told()["pid"] for target in targets]
    return targets, pids, place.trace("-p", ",".join(map(str, pids)), "--stack", "native", *options)


def end(targets, tracer):
    tracer.stop()
    for target in targets:
        target.go()
    for target in targets:
        expect(target.wait() == 0, f"{target} exited with {target.wait()}: {target.stderr()}")


def compare(snapshot, target, pid, told, limit, **options):
    try:
        Comparison(snapshot, pid, Truth(told, Space(pid), limit, ends=ENDS, **options)).finish()
    except Failure as failure:
        raise Failure(f"{target}: {failure}") from failure


def run(place, programs, limit=256, alone=False, deep=DEEP, sites=SITES):
    commands = [[program(place, name), "--deep", str(deep), *STEPS.get(name, ())] for name in programs]
    targets, pids, tracer = begin(place, commands, ("--limit", str(limit)))
    tolds = []
    for target in targets:
        target.go()
        tolds.append(target.told())
    snapshot = tracer.snapshot()
    for target, pid, told in zip(targets, pids, tolds):
        expect_sites(told, sites)
        compare(snapshot, target, pid, told, limit, alone=alone)
    end(targets, tracer)


# ---- from the start -----------------------------------------------------------------------------------------------------


def before_main(frames):
    """What libraries allocate in their own constructors: none of the program's code is on the stack yet."""
    return all(not os.path.basename(frame["module"] or "unwind_").startswith("unwind_") for frame in frames)


def from_start(place, name, sites=SITES):
    tracer = place.trace("--stack", "native", "--limit", "256", "--", program(place, name), "--from-start")
    pid = tracer.told()["pid"]
    tracer.go()
    told = tracer.told()
    expect_sites(told, sites)
    snapshot = tracer.snapshot()
    Comparison(snapshot, pid, Truth(told, Space(pid), 256, ends=ENDS)).finish(before_main)
    tracer.go()
    tracer.finish()


# ---- libraries that come and go -----------------------------------------------------------------------------------------


UNKNOWN = ("unknown_mapping", "stale_mapping")


class Turns(Comparison):
    """Where libraries take turns a traceback is whole or ends early, and says so; what is there of it is right."""

    def is_beginning(self, frames, places, addresses):
        for frame, place, address in zip(frames, places, addresses):
            unknown = frame["module"] is None and frame["address"] == address - 1
            if not unknown and not is_at(frame, place, self.space):
                return False
        return len(frames) < len(places)

    def take_truncated(self):
        """Rows that end early, each with the truth's row that it is the beginning of; what is left of that must add up."""
        counts = collections.Counter()
        for frames, traceback, trace in self.left[:]:
            if traceback["truncated"] not in UNKNOWN or traceback["total_frames"] != len(frames):
                continue
            of = [key for key, row in self.truth.rows.items()
                  if row["record"]["load"] and self.is_beginning(frames, key[0], row["record"]["addresses"])]
            if not of:
                continue
            self.left.remove((frames, traceback, trace))
            counts[traceback["truncated"]] += trace["allocations"]
            self.early[tuple(sorted(place_key(key) for key in of))] += trace["allocations"]
        return counts

    def match(self):
        self.early = collections.Counter()
        self.whole = {}
        self.index()
        for frames, traceback, trace in self.rows:
            key, row = self.find(frames, traceback)
            if row is None:
                self.left.append((frames, traceback, trace))
            else:
                self.whole[key] = trace["allocations"]
                self.missing.pop(key)
        self.counts = self.take_truncated()
        for key, row in self.truth.rows.items():
            settled = any(mark[0] == "call_settled" for mark in row["record"]["marks"])
            found = self.whole.get(key, 0)
            if found > row["allocations"] or (settled and found != row["allocations"]):
                self.wrong.append(f"{found} of {row['allocations']} are whole: {row['record']['marks']}")
        asked = sum(row["allocations"] for row in self.truth.rows.values())
        if sum(self.whole.values()) + sum(self.counts.values()) != asked:
            self.wrong.append(f"{sum(self.whole.values())} whole and {dict(self.counts)} truncated tracebacks, not {asked}")
        self.missing.clear()


def place_key(key):
    return tuple(key[0][:4])


def turns(place):
    """Two libraries that are the same but for the size of their frames, loaded in turns over the same addresses."""
    libraries = [place.workload("libunwind_first.so"), place.workload("libunwind_second.so")]
    command = [place.workload("unwind_reload"), "--first", libraries[0], "--second", libraries[1], "--turns", TURNS]
    (target,), (pid,), tracer = begin(place, [command])
    target.go()
    gates = 0
    while "gate" in (told := target.told()):
        gates += 1
        tracer.snapshot()  # what it tells of is known to the programs by then
        target.go()
    expect(gates == 4, f"{gates} gates instead of 4")
    snapshot = tracer.snapshot()
    comparison = Turns(snapshot, pid, Truth(told, Space(pid), 64))
    comparison.finish()
    for reason in UNKNOWN:
        counted, found = snapshot["counters"][f"truncated_{reason}"], comparison.counts[reason]
        expect(counted == found, f"truncated_{reason} is {counted}, but {found} tracebacks are")
    end([target], tracer)


def replaced(place):
    """Libraries whose files are replaced by others: before the trace, and in it; and those of another mount namespace."""
    paths = [place.path(name) for name in ("libunwind_before.so", "libunwind_meanwhile.so")]
    for path in paths:
        shutil.copy(place.workload("libunwind_first.so"), path)
    hidden = place.path("hidden")
    os.mkdir(hidden)
    script = ('mount -t tmpfs none "$1" && cp "$2" "$1/unwind_reload" && cp "$3" "$1/libunwind_hidden.so" && '
              'exec "$1/unwind_reload" --held "$1/libunwind_hidden.so"')
    first = place.start([place.workload("unwind_reload"), "--held", paths[0], "--held", paths[1]])
    second = place.start(["unshare", "-m", "sh", "-c", script, "sh", hidden, place.workload("unwind_reload"),
                          place.workload("libunwind_second.so")])
    targets = [first, second]
    pids = [target.told()["pid"] for target in targets]
    expect(not os.listdir(hidden), "the namespace hides nothing")
    replace(place, paths[0])
    tracer = place.trace("-p", ",".join(map(str, pids)), "--stack", "native")
    for target in targets:
        target.go()
        target.told()
    replace(place, paths[1])
    tolds = []
    for target in targets:
        target.go()
        tolds.append(target.told())
    snapshot = tracer.snapshot()
    for target, pid, told in zip(targets, pids, tolds):
        del told["facts"]["loads"]  # they are mapped still
        for record in told["records"]:
            record["load"] = 0
        compare(snapshot, target, pid, told, 64)
    end(targets, tracer)


def replace(place, path):
    os.unlink(path)
    shutil.copy(place.workload("libunwind_second.so"), path)


# ---- debuggers -----------------------------------------------------------------------------------------------------------


GDB_FRAMES = """python
frame = gdb.newest_frame()
while frame:
    if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
        print("#0", hex(frame.pc()), frame.name())
    frame = frame.older()
end
"""


def frames_of(place, tool, pid):
    """[(address, function)] of the main thread as a debugger has it, innermost first; addresses are those that calls return to"""
    if tool == "eu-stack":
        command = ["eu-stack", "-1", "-p", str(pid)]
    else:
        with open(place.path("gdb"), "w", encoding="utf-8") as file:
            file.write(GDB_FRAMES)
        command = ["gdb", "-q", "-batch", "-nx", "-ex", "set debuginfod enabled off", "-ex", "set backtrace past-main on",
                   "-ex", "set backtrace past-entry on", "-p", str(pid), "-x", place.path("gdb")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=seconds(120), check=False)
    frames = [(int(words[0], 16), words[1]) for words in
              re.findall(r"^#\d+\s+0x([0-9a-f]+)(?: +(\S+))?", done.stdout.decode(), re.M)]
    expect(len(frames) > 3, f"{tool} -p {pid}: {done.stdout.decode()} {done.stderr.decode()}")
    return frames


def compare_frames(tool, stack, frames, space):
    """From the function that waits: it is at another call now than it was when it allocated."""
    at = next((i for i, (_, function) in enumerate(stack) if function == "wait_here"), None)
    expect(at is not None and frames[0]["function"] == "wait_here", f"{tool}: nobody waits: {stack}, {frames[0]}")
    stack = stack[at:]
    places = Truth({"records": [], "facts": {}}, space, 256).places({"load": 0}, [address for address, _ in stack])
    right = 1 + agreement(frames[1:], places[1:], space)
    expect(right == len(frames) == len(stack), f"{tool} has {stack}\ndomtrace has {frames_text(list(reversed(frames)))}")
    for (_, function), frame in zip(stack, frames):
        # eu-stack and gdb read the C library's separate symbols, where functions have more names than one
        if function and frame["function"] and os.path.basename(frame["module"]).startswith(("unwind_", "libunwind_", "python")):
            expect(frame["function"] == function, f"{tool} has {function}, domtrace {frame['function']}")


def debuggers(place, commands):
    """What debuggers see of processes that wait right behind an allocation is what domtrace found for it."""
    tools = scaled(("eu-stack", "gdb"), ("eu-stack",))
    for tool, package in zip(tools, ("elfutils", "gdb")):
        if not shutil.which(tool):
            raise Skip(f"{tool} is not installed (package {package})")
    targets, pids, tracer = begin(place, commands, ("--limit", "256"))
    for target in targets:
        target.go()
        target.told()
    snapshot = tracer.snapshot()
    for target, pid in zip(targets, pids):
        _, rows = domain_rows(snapshot, pid, "libc")
        rows = [row for row in (real_row(*row) for row in rows) if any(frame["function"] == "unwind_blocked" for frame in row[0])]
        expect(len(rows) == 1, f"{target}: {len(rows)} tracebacks with unwind_blocked")
        frames, traceback, _ = rows[0]
        expect(not traceback["truncated"] and traceback["total_frames"] == len(frames), f"not whole: {row_text(*rows[0])}")
        for tool in tools:
            compare_frames(tool, frames_of(place, tool, pid), frames, Space(pid))
    end(targets, tracer)


PYTHON_BLOCKED = """
import ctypes, os, sys
library = ctypes.CDLL(sys.argv[1])
print('{"pid": %d}' % os.getpid(), flush=True)
sys.stdin.buffer.raw.read(3)
sorted([1], key=lambda _: [library.unwind_blocked(1600) for _ in range(1)][0])
"""


def debugger_commands(place):
    return [[place.workload("unwind_blocked")],
            [PYTHON, "-c", PYTHON_BLOCKED, place.workload("libunwind_blocked_library.so")]]


def cases():
    for title, programs, options in (
            ("with and without frame pointers", ("unwind_pointers", "unwind_plain", "unwind_fixed"), {}),
            ("without a linkage table, and protected", ("unwind_no_plt", "unwind_protected"), {}),
            ("static", ("unwind_static", "unwind_static_pie"), {}),
            ("musl", ("unwind_musl_dynamic", "unwind_musl_static"), {"alone": True, "sites": SHAPES}),
            (".debug_frame alone", ("unwind_debug_frame",), {"alone": True, "limit": 64, "deep": TOO_DEEP, "sites": SHAPES}),
            ("C++", ("unwind_cxx", "unwind_cxx_static"), {"sites": CXX_SITES})):
        yield f"unwind/{title}", lambda place, programs=programs, options=options: run(place, programs, **options)
    yield "unwind/from the first constructor to the last handler", lambda place: from_start(place, "unwind_fixed")
    yield "unwind/C++ from its start", lambda place: from_start(place, "unwind_cxx", CXX_SITES)
    yield "unwind/libraries that take turns", turns
    yield "unwind/files that are replaced or hidden", replaced
    yield "unwind/what debuggers see", lambda place: debuggers(place, debugger_commands(place))
