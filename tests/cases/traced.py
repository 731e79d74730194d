# SPDX-License-Identifier: BSD-2-Clause
"""Finds the last table of each process in a trace of many, and compares it with the books of tests/workload/processes or libcount's."""
import os

import counted
import processes
import tables

TICK_NS = 1000000000 // os.sysconf("SC_CLK_TCK")
ROW_FIELDS = {"blocks": "blocks", "bytes": "bytes", "allocations": "allocations", "allocated_bytes": "allocated_bytes"}
LIBCOUNT = ("libcount.so", "libcount_musl.so")
MUSL = ("libc.so", "ld-musl-x86_64.so.1")


class Table:
    """The libc domain of one process in one snapshot."""

    def __init__(self, snapshot, index):
        self.process = snapshot["processes"][index]
        self.label = snapshot["label"]
        self.domain = next((domain for domain in snapshot["domains"] if domain["process"] == index and domain["source"] == "libc"), None)
        self.rows = []                  # (frames, truncated, trace)
        if self.domain is None:
            return
        number = snapshot["domains"].index(self.domain)
        for trace in snapshot["traces"]:
            if trace["domain"] == number:
                traceback = snapshot["tracebacks"][trace["traceback"]]
                self.rows.append(([snapshot["frames"][i] for i in traceback["frames"]], traceback["truncated"], trace))


def last_tables(snapshots, known=None):
    """{(pid, start in ticks): its last Table}; of all processes, or of those in `known`."""
    found = {}
    for snapshot in snapshots:
        for index, process in enumerate(snapshot["processes"]):
            key = process["pid"], process["start_time_ns"] // TICK_NS
            if known is None or key in known:
                found[key] = Table(snapshot, index)
    return found


def loss_faults(snapshots, abandoned=0):
    """What was lost. `abandoned`: so many calls were left by a jump at most; that they are named is no fault, any other loss is."""
    faults = set()
    for snapshot in snapshots:
        losses = dict(snapshot["losses"])
        if losses.get("calls_abandoned", 0) <= abandoned:
            losses["calls_abandoned"] = 0
        faults |= {f"losses.{name} is {number}" for name, number in losses.items() if number}
        if snapshot["complete"] != (not any(snapshot["losses"].values())):
            faults.add(f"complete is {snapshot['complete']}, losses are {snapshot['losses']}")
    return sorted(faults)


def without_libcount(frames):
    """Without inlined ones, and without those of libcount, where a program's calls are seen, too."""
    called = tables.called(frames)
    while called and called[-1]["kind"] == "native" and os.path.basename(called[-1]["module"] or "") in LIBCOUNT:
        called = called[:-1]
    return called


def site(frames):
    """(function, caller) of the innermost frames."""
    names = [frame["function"] or "" for frame in without_libcount(frames)[-2:] if frame["kind"] == "native"]
    return (names[1], names[0]) if len(names) == 2 else None


def is_in_musl(frames, truncated):
    """musl's library has neither unwind tables nor frame pointers (Debian's build): what it allocates itself has no callers."""
    return truncated == "no_frame_pointer" and os.path.basename(frames[0]["module"] or "") in MUSL if frames else False


# A traceback of a process's first milliseconds ends early where the first look at a library's mapping finds the process's mappings locked
# by another thread, for 256 tries; later frames in that mapping, and the program's own code, need no lock (bpf/file.bpf.h), so those in the
# program are never excused. How many tables of one trace may have such a traceback: a child that inherits the block has it, too. Measured
# on 2026-11-23: none, in 8,156 tables of 1,100 programs on Linux 6.1 and 6.12.
CUT_MOST = 2


class Tally:
    """How much was compared, and what was not."""

    def __init__(self):
        self.sites = 0                  # tables compared call site by call site
        self.totals = 0                 # tables compared with libcount's totals
        self.cut = 0                    # of the first: tables with a traceback that ends where the mappings were locked
        self.excused = []               # images whose totals differ, and which say that they were not seen from their start

    def text(self):
        return (f"{self.sites} tables by call site ({self.cut} with tracebacks cut), {self.totals} by their totals, {len(self.excused)} excused" + "".join(f"; {counted.text(image)}" for image in self.excused[:12]))

    def faults(self):
        """Random programs: every file is known before they start, so nothing is excused."""
        wrong = [f"excused: {counted.text(image)}" for image in self.excused]
        if not self.sites:
            wrong.append("no table was compared by call site")
        if self.cut > CUT_MOST:
            wrong.append(f"{self.cut} of {self.sites} tables have tracebacks that end at a mapping that was not known")
        return wrong


def is_in_program(frame):
    return os.path.basename(frame["module"] or "").startswith("processes")


def site_rows(table, wrong):
    """
    {(function, caller): sums} of the program's own call sites; what else calls the allocator is the libc's business. And the sums of
    those that end at a mapping that was not known, before they tell whose they are; None: there are no such.
    """
    found, cut = {}, None
    for frames, truncated, trace in table.rows:
        key = site(frames) if frames else None
        if truncated == "unknown_mapping":
            if frames and is_in_program(frames[0]):
                wrong.append(f"cut in the program's own code: {tables.frames_text(frames)}")
            cut = cut or dict.fromkeys(ROW_FIELDS, 0)
            for field in ROW_FIELDS:
                cut[field] += trace[field] if not key else 0
        elif not frames or truncated and not is_in_musl(frames, truncated):
            wrong.append(f"truncated ({truncated}): {tables.frames_text(frames)}")
        if key and key[0].startswith("call_") and key[1].startswith("in_"):
            sums = found.setdefault(key, dict.fromkeys(ROW_FIELDS, 0))
            for field in ROW_FIELDS:
                sums[field] += trace[field]
    return found, cut


def compare_sites(expected, table, tally):
    """What is wrong between {(function, caller): numbers} and the rows of a table, both ways. What lacks may be in those that are cut."""
    wrong, different = [], []
    found, cut = site_rows(table, wrong)
    nothing = dict.fromkeys(ROW_FIELDS, 0)
    lacks = dict(nothing)
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) == found.get(key):
            continue
        different.append(f"{' < '.join(key)}: the books say {expected.get(key)}, domtrace {found.get(key)}")
        for field in ROW_FIELDS:
            less = expected.get(key, nothing)[field] - found.get(key, nothing)[field]
            lacks[field] += less if less >= 0 else float("inf")
    tally.cut += cut is not None
    if cut is None or any(lacks[field] > cut[field] for field in ROW_FIELDS):
        wrong += different
    return wrong


def compare_image(image, table, tally):
    """What is wrong between an image of the books and the table of its process, which has ended."""
    expected = {(row["function"], row["caller"]): {name: row[name] for name in ROW_FIELDS} for row in image["rows"]}
    name = processes.image_text(image)
    if table is None or table.domain is None:
        return [f"{name}: it has no table"] if expected else []
    wrong = compare_sites(expected, table, tally)
    tally.sites += 1
    if not table.process["exited"] or table.label not in ("exit", "final"):
        wrong.append(f"its last snapshot is labelled {table.label}, exited: {table.process['exited']}")
    if table.process["from_start"] is False:
        wrong.append("domtrace says that it has not seen all of it")
    return [f"{name}: {what}" for what in wrong]


def compare_books(books, found, tally):
    """Every process of a program that has ended, by its last image."""
    return [what for image in processes.last_images(books)
            for what in compare_image(image, found.get((image["pid"], image["start_ticks"])), tally)]


def compare_count(image, table, tally):
    """What is wrong between what libcount wrote for an image and the table of its process: the totals of everything it called for."""
    domain = table.domain if table and table.domain else dict.fromkeys(processes.SUMS, 0)
    expected, found = ({name: sums[name] for name in processes.SUMS} for sums in (image["all"], domain))
    tally.totals += 1
    if expected == found:
        return []
    if table and table.process["from_start"] is False:
        tally.excused.append(image)
        return []
    return [f"{counted.text(image)}: libcount has {expected}, domtrace {found if table else 'has not seen it'}"]


def compare_counts(images, found, tally):
    """`images`: {(pid, start): libcount's last image}. Those that say that their start was not seen are in tally.excused."""
    return [what for key, image in sorted(images.items()) for what in compare_count(image, found.get(key), tally)]
