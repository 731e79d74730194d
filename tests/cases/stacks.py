# SPDX-License-Identifier: BSD-2-Clause
"""Compares native tracebacks, whole tables, with what the unwind_* workloads tell of their own stacks (workload/unwind.h)."""
import collections
import os
import re

from harness import Failure
from images import call_length, same_module
from tables import FIELDS, domain_rows, frames_text, losses

KEPT, FREED, INSIDE, MARKED = range(4)  # enum unwind_fact
LIBRARIES = re.compile(r"^(ld-linux-x86-64\.so\.2|libc\.so\.6|libstdc\+\+\.so\.6.*|libgcc_s\.so\.1|libm\.so\.6)$")
RETURN_FROM_SIGNAL = b"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05"  # mov $15, %rax (__NR_rt_sigreturn); syscall

WALKED_MAX = 1 + 2048  # the caller, and DT_FRAMES_WALKED_MAX from there

# A frame that is expected: `offset` in the file is where a call returns to or, for what a signal interrupted, the instruction.
Place = collections.namedtuple("Place", "module offset interrupted")


# ---- what is expected ------------------------------------------------------------------------------------------------------


def is_within(some, all_):
    rest = iter(all_)
    return all(any(one == other for other in rest) for one in some)


def is_step(record):
    return record["marks"][0][0] == "on_step"


class Truth:
    """
    The rows that a workload's records ask for. `alone`: marks tell everything. `ends`: {function: reason why nobody can go on}
    """

    def __init__(self, told, space, limit, alone=False, ends=()):
        self.space, self.limit, self.alone, self.ends = space, limit, alone, dict(ends)
        self.loads = told["facts"].get("loads", [])
        self.records = [record for record in told["records"] if record["fact"] != INSIDE]
        self.calls = [record for record in told["records"] if record["fact"] == INSIDE]
        self.wrong = []
        self.rows = {}
        for record in self.records:
            self.add(record)

    def places(self, record, addresses):
        load = self.loads[record["load"] - 1] if record["load"] else None
        places, interrupted = [], False
        for address in addresses:
            path, offset = self.space.place(address, load)
            returns = self.space.code(path, offset, 9) == RETURN_FROM_SIGNAL
            places.append(Place(path, offset, interrupted or returns))
            interrupted = returns
        return tuple(places)

    def tail(self, address):
        """What is outside of an address, as another record's backtrace() has it."""
        for record in self.records:
            if address in record["addresses"] and record["fact"] != MARKED:
                return record["addresses"][record["addresses"].index(address) + 1:]
        return []

    def chain(self, record):
        addresses, returns = record["addresses"], [mark[1] for mark in record["marks"]]
        if record["fact"] == MARKED or self.alone:
            return addresses[:1] + returns + self.tail(returns[-1])
        return addresses

    def truncated_at(self, places, record):
        """(frames, reason) where a frame is kept in a register that is not followed, as gcc does for some instructions."""
        for i, mark in enumerate(record["marks"]):
            if mark[0] in self.ends:
                return i + 1, self.ends[mark[0]]
        for i, place in enumerate(places):
            file = self.space.files[place.module]
            # Behind calls only the loader does so (_dl_runtime_resolve).
            if not file.path or not place.interrupted and not os.path.basename(place.module).startswith("ld-"):
                continue
            rule = file.frame_rule(file.vaddr(place.offset) - (not place.interrupted))
            if rule and not re.match(r"rsp|rbp|exp", rule):
                return i + 1, "unsupported_rule"
        return (len(places), None) if len(places) <= WALKED_MAX else (WALKED_MAX, "too_deep")

    def is_consistent(self, record):
        """
        Marks and backtrace() agree. Not asked at single steps: of a function that realigns its stack gcc 12 says after its
        `leave` still that the caller's rbp is in the frame, so that backtrace() errs there (and who reads the same, too).
        """
        return is_step(record) or is_within([mark[1] for mark in record["marks"]], self.chain(record))

    def add(self, record):
        places = self.places(record, self.chain(record))
        count, truncated = self.truncated_at(places, record)
        if not truncated and not self.is_consistent(record):
            self.wrong.append(f"the workload contradicts itself: {record}")
        key = places[:count], truncated
        row = self.rows.setdefault(key, {**dict.fromkeys(FIELDS, 0), "record": record})
        row["allocations"] += 1
        row["allocated_bytes"] += record["bytes"]
        if record["fact"] != FREED:
            row["blocks"] += 1
            row["bytes"] += record["bytes"]


# ---- what is found ---------------------------------------------------------------------------------------------------------


def is_at(frame, place, space):
    """Whether a frame of a snapshot is the one expected: to the byte."""
    if frame["kind"] != "native" or not same_module(frame["module"], place.module):
        return False
    if place.interrupted:
        return frame["address"] == place.offset
    length = place.offset - frame["address"]
    if 0 < length < 16 and length == call_length(space.code(place.module, frame["address"])):
        return True
    return length == 1 and not is_called(place, space)


def is_called(place, space):
    """Whether a call instruction ends where a frame returns to. What coroutines return to is behind none."""
    return any(call_length(space.code(place.module, place.offset - length)) == length for length in range(2, 16))


def real_row(frames, traceback, trace):
    """Frames innermost first, without those that were inlined into others: they have nothing on the stack, nor are they counted."""
    real = [frame for frame in reversed(frames) if not frame["inlined"]]
    return real, {**traceback, "total_frames": traceback["total_frames"] - len(frames) + len(real)}, trace


def agreement(frames, places, space):
    """How many frames are as expected, from the innermost one."""
    count = 0
    while count < min(len(frames), len(places)) and is_at(frames[count], places[count], space):
        count += 1
    return count


def place_text(place):
    return f"{os.path.basename(place.module)}+{place.offset:#x}{' interrupted' if place.interrupted else ''}"


def check_names(frames, places, record, space, wrong):
    """The functions by their own word where they have marks, and by nm in the files of the workloads."""
    for frame, place in zip(frames, places):
        file = space.files[place.module]
        if not file.path or not os.path.basename(place.module).startswith(("unwind_", "libunwind_")):
            continue
        names = file.function_names(file.vaddr(frame["address"]))
        # A part of a function that the compiler put elsewhere has the function's name in DWARF, and one of its own in symbols.
        if names and (frame["function"] or "").split(".")[0] not in {name.split(".")[0] for name in names}:
            wrong.append(f"{place_text(place)} is in {names}, not in {frame['function']}")
    at = 0
    for function, address in record["marks"]:
        while at < len(frames) and record["chain"][at] != address:
            at += 1
        if not 0 < at < len(frames):
            break
        found = frames[at - 1]["function"] or ""
        at += 1
        if function not in re.split(r"[^\w~]+", found.split("[clone")[0]) and not (
                function == "operator()" and function in found):
            wrong.append(f"{function} is named {found} in {frames_text(list(reversed(frames)))}")


def sums_text(row):
    return ", ".join(f"{row[field]} {field}" for field in FIELDS)


def row_text(frames, traceback, trace):
    shown = frames if len(frames) <= 24 else frames[:16]
    return (f"{frames_text(list(reversed(shown)))}{' …' if shown is not frames else ''} "
            f"({traceback['total_frames']} frames, {traceback['truncated']}): {sums_text(trace)}")


class Comparison:
    """Of one process: `rows` are matched one to one with the truth's, calls into libraries have their own business below them."""

    def __init__(self, snapshot, pid, truth):
        self.truth, self.space = truth, truth.space
        self.domain, rows = domain_rows(snapshot, pid, "libc")
        if self.domain is None:
            raise Failure(f"no libc domain of process {pid}")
        self.rows = [real_row(*row) for row in rows]
        self.wrong = losses(snapshot) + truth.wrong
        self.left = []
        self.missing = dict(truth.rows)
        if truth.alone:
            self.learn_ends()

    def learn_ends(self):
        """
        Marks say nothing of what called the outermost of them. Whatever it is, it begins at the program's entry, and is the
        same for all.
        """
        ends = {}
        for frames, traceback, _ in self.rows:
            for places, truncated in self.missing:
                if not truncated and agreement(frames, places, self.space) == len(places) and self.is_entry(frames[-1]):
                    ends.setdefault(places[-1], tuple(
                        Place(frame["module"], frame["address"], True) for frame in frames[len(places):]))
        self.missing = {(places if truncated else places + ends.get(places[-1], ()), truncated): row
                        for (places, truncated), row in self.missing.items()}

    def is_entry(self, frame):
        """The first call of a program is made by the code at its entry."""
        file = self.space.files.get(frame["module"])
        return file and 0 <= file.vaddr(frame["address"]) - file.entry < 64

    def index(self):
        """The keys of what is missing, by what one frame of theirs returns to."""
        self.by_frame = collections.defaultdict(list)
        for places, truncated in self.missing:
            self.by_frame[places[min(2, len(places) - 1)].offset].append((places, truncated))

    def candidates(self, frames):
        frame = frames[min(2, len(frames) - 1)]
        length = 0
        if any(same_module(frame["module"], path) for path in self.space.files):
            length = call_length(self.space.code(self.space.path(frame["module"]), frame["address"]) + bytes(16))
        for offset in {frame["address"], frame["address"] + 1, frame["address"] + length}:
            yield from self.by_frame.get(offset, ())

    def find(self, frames, traceback):
        for places, truncated in self.candidates(frames):
            row = self.missing.get((places, truncated))
            if row and (traceback["total_frames"] == len(places) and traceback["truncated"] == truncated and
                    len(frames) == min(len(places), self.truth.limit) == agreement(frames, places, self.space)):
                return (places, truncated), row
        return None, None

    def match(self):
        self.index()
        for frames, traceback, trace in self.rows:
            key, row = self.find(frames, traceback)
            if row is None:
                self.left.append((frames, traceback, trace))
                continue
            del self.missing[key]
            if any(row[field] != trace[field] for field in FIELDS):
                self.wrong.append(f"{row_text(frames, traceback, trace)}, not {sums_text(row)}")
            record = {**row["record"], "chain": self.truth.chain(row["record"])}
            if is_step(record):
                record["marks"] = []
            check_names(frames, key[0], record, self.space, self.wrong)

    def is_below_call(self, frames, traceback):
        """Made by a library on its own account, below a call that was told; whole."""
        if traceback["truncated"] or traceback["total_frames"] != len(frames):
            return False
        begin = next((i for i, frame in enumerate(frames) if frame["function"] == "unwind_begin"), None)
        for record in self.truth.calls:
            # The first one has marks alone: backtrace() itself, which loads a library when it is first called.
            places = self.truth.places(record, record["addresses"] or [mark[1] for mark in record["marks"]])
            inner = len(frames) - len(places) if record["addresses"] else begin
            if not inner or not all(LIBRARIES.match(os.path.basename(frame["module"] or "")) for frame in frames[:inner]):
                continue
            rest = iter(frames[inner:])
            if all(any(is_at(frame, place, self.space) for frame in rest) for place in places) and (
                    not record["addresses"] or agreement(frames[inner:], places, self.space) == len(places)):
                return True
        return False

    def explain(self, frames, traceback, trace):
        best = max(self.missing, key=lambda key: agreement(frames, key[0], self.space), default=None)
        text = f"a row too many: {row_text(frames, traceback, trace)}"
        if best:
            count = agreement(frames, best[0], self.space)
            expected = place_text(best[0][count]) if count < len(best[0]) else "the end"
            text += f"\n  the nearest truth has {len(best[0])} frames, {best[1]}; {count} agree, then {expected} was expected"
        return text

    def finish(self, is_library=lambda frames: False):
        self.match()
        for frames, traceback, trace in self.left:
            if not self.is_below_call(frames, traceback) and not (
                    is_library(frames) and not traceback["truncated"] and traceback["total_frames"] == len(frames)):
                self.wrong.append(self.explain(frames, traceback, trace))
        for (places, truncated), row in self.missing.items():
            self.wrong.append(f"missing: {' < '.join(map(place_text, places[:12]))} ({len(places)} frames, {truncated}, "
                              f"{'/'.join(mark[0] for mark in row['record']['marks'][:12])}): {sums_text(row)}")
        if self.wrong:
            raise Failure("\n".join(self.wrong[:20] + ([f"… and {len(self.wrong) - 20} more"] if len(self.wrong) > 20 else [])))
