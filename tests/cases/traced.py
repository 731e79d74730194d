# SPDX-License-Identifier: BSD-2-Clause
"""Finds the last table of each process in a trace of many, and compares it with the books of tests/workload/processes or libcount's."""
import os

import counted
import processes
import tables

TICK_NS = 1000000000 // os.sysconf("SC_CLK_TCK")
ROW_FIELDS = {"blocks": "blocks", "bytes": "bytes", "allocations": "allocations", "allocated_bytes": "allocated_bytes"}
LIBCOUNT = ("libcount.so", "libcount_musl.so")


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


def site(frames):
    """(function, caller) of the innermost frames, without those of libcount, where its calls are seen, too."""
    called = tables.called(frames)
    while called and called[-1]["kind"] == "native" and os.path.basename(called[-1]["module"] or "") in LIBCOUNT:
        called = called[:-1]
    names = [frame["function"] for frame in called[-2:] if frame["kind"] == "native"]
    return (names[1], names[0]) if len(names) == 2 else None


def site_rows(table, wrong):
    """{(function, caller): sums} of the program's own call sites; what else calls the allocator is the libc's business."""
    found = {}
    for frames, truncated, trace in table.rows:
        if truncated or not frames:
            wrong.append(f"truncated ({truncated}): {tables.frames_text(frames)}")
        key = site(frames)
        if key and key[0].startswith("call_") and key[1].startswith("in_"):
            sums = found.setdefault(key, dict.fromkeys(ROW_FIELDS, 0))
            for field in ROW_FIELDS:
                sums[field] += trace[field]
    return found


def compare_image(image, table, exited=True):
    """What is wrong between an image of the books and the table of its process: every call site of the program, both ways."""
    expected = {(row["function"], row["caller"]): {name: row[name] for name in ROW_FIELDS} for row in image["rows"]}
    name = processes.image_text(image)
    if table is None or table.domain is None:
        return [f"{name}: it has no table"] if expected else []
    wrong = []
    found = site_rows(table, wrong)
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            wrong.append(f"{' < '.join(key)}: the books say {expected.get(key)}, domtrace {found.get(key)}")
    if exited and (not table.process["exited"] or table.label not in ("exit", "final")):
        wrong.append(f"its last snapshot is labelled {table.label}, exited: {table.process['exited']}")
    if table.process.get("from_start") is False:
        wrong.append("domtrace says that it has not seen all of it")
    return [f"{name}: {what}" for what in wrong]


def compare_books(books, found):
    """Every process of a program that has ended, by its last image."""
    return [what for image in processes.last_images(books)
            for what in compare_image(image, found.get((image["pid"], image["start_ticks"])))]


SUMS = ("allocations", "allocated_bytes", "frees", "freed_bytes")


def compare_count(image, table):
    """
    What is wrong between what libcount wrote for an image and the table of its process: the totals of everything it called for. The first
    processes of a file may say that they were not seen from their start, and have been all the same.
    """
    expected = {name: image["all"][name] for name in SUMS}
    if table is None or table.domain is None:
        return [f"{counted.text(image)}: it has no table, libcount has {expected}"] if expected["allocations"] else []
    found = {name: table.domain[name] for name in SUMS}
    # One of the first processes of a file says that its beginning is missing; what it says it has seen from its start is all there.
    if expected != found and table.process["from_start"] is False:
        return []
    wrong = [] if expected == found else [f"libcount has {expected}, domtrace {found}"]
    return [f"{counted.text(image)}: {what}" for what in wrong]


def compare_counts(images, found):
    """Every process that libcount was in, by its last image."""
    return [what for key, image in sorted(counted.last_images(images).items()) for what in compare_count(image, found.get(key))]
