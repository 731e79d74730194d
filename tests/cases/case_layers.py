# SPDX-License-Identifier: BSD-2-Clause
"""The layers: which bytes of libc's blocks other domains claim, and what the kernel says of the process's memory: whole figures."""
import json
import os
import re

import numpy as np

from harness import PYTHON, WORKLOADS, expect, scaled
from tables import domain_rows, fail_if, losses

MEMORY = {"resident_bytes": ("Rss",), "private_bytes": ("Private_Clean", "Private_Dirty"), "swap_bytes": ("Swap",),
          "hugetlb_bytes": ("Shared_Hugetlb", "Private_Hugetlb")}
SECOND = 10**9


def ask(target, line):
    target.child.stdin.write(line.encode() + b"\n")
    target.child.stdin.flush()
    return target.told()


# ---- blocks ----------------------------------------------------------------------------------------------------


class Bytes:
    """Every byte that some blocks cover, one by one."""

    def __init__(self, blocks):
        self.base = min((address for address, _ in blocks), default=0)
        end = max((address + size for address, size in blocks), default=0)
        self.map = {}  # by pieces: the blocks lie far apart
        for address, size in blocks:
            self.each_piece(address, size, lambda piece, low, high: self.piece(piece).__setitem__(slice(low, high), True))
        expect(end < 2**47, f"a block ends at {end:#x}")

    def piece(self, number):
        return self.map.setdefault(number, np.zeros(65536, dtype=bool))

    @staticmethod
    def each_piece(address, size, function):
        while size:
            number, low = divmod(address, 65536)
            high = min(65536, low + size)
            function(number, low, high)
            address, size = address + high - low, size - (high - low)

    def count(self, blocks):
        found = []
        for address, size in blocks:
            self.each_piece(address, size, lambda piece, low, high: found.append(
                int(self.map[piece][low:high].sum()) if piece in self.map else 0))
        return sum(found)


def true_layers(told):
    """(layers of the process, {domain: (bytes in libc's blocks, bytes outside of them)})"""
    libc = told["libc"]
    total, claimed = sum(size for _, size in libc), Bytes(sum(told["domains"].values(), [])).count(libc)
    layers = {"exact": True, "libc_bytes": total, "claimed_bytes": claimed, "unclaimed_bytes": total - claimed}
    covered = Bytes(libc)
    domains = {}
    for name, blocks in told["domains"].items():
        inside = covered.count(blocks)
        domains[int(name)] = inside, sum(size for _, size in blocks) - inside
    return layers, domains


def layers_of(snapshot, pid):
    """The same from a snapshot; domains without live blocks are left out. Also how late it was, in nanoseconds."""
    process = next(process for process in snapshot["processes"] if process["pid"] == pid)
    layers = dict(process["layers"] or {})
    domains = {
        domain["id"]: (domain["in_libc_bytes"], domain["outside_libc_bytes"]) for domain in snapshot["domains"]
        if snapshot["processes"][domain["process"]] is process and domain["source"] != "libc"}
    return layers, domains, layers.pop("after_ns", None)


def compare_layers(snapshot, pid, told):
    layers, domains, after_ns = layers_of(snapshot, pid)
    expected = true_layers(told)
    wrong = losses(snapshot)
    if layers != expected[0]:
        wrong.append(f"layers are {layers}, not {expected[0]}")
    for domain in expected[1].keys() | domains.keys():
        if expected[1].get(domain, (0, 0)) != domains.get(domain, (0, 0)):
            wrong.append(f"domain {domain}: {domains.get(domain)} in libc and outside, not {expected[1].get(domain)}")
    if not 0 <= after_ns < scaled(60, 600) * SECOND:
        wrong.append(f"after_ns is {after_ns}")
    fail_if(wrong)


def random_blocks(place):
    """Held: exact, and equal byte by byte. Not held: it says so. Held again, and forgotten."""
    target = place.start([place.workload("alloc_layers")])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid))
    for seed in range(1, scaled(9, 3)):
        told = ask(target, f"step {seed} {seed * 400}")
        compare_layers(tracer.snapshot(), pid, told)
    told = ask(target, "churn")
    layers, domains, _ = layers_of(tracer.snapshot(), pid)
    expect(layers["exact"] is False, f"exact while another thread allocates: {layers}")
    expect(layers["claimed_bytes"] == true_layers(told)[0]["claimed_bytes"], f"nothing of what is claimed changes, but {layers}")
    expect({domain: sum(parts) for domain, parts in domains.items()} ==
           {domain: sum(parts) for domain, parts in true_layers(told)[1].items()}, f"blocks of domains that stand still: {domains}")
    told = ask(target, "hold")
    compare_layers(tracer.snapshot(), pid, told)
    tracer.clear()
    layers, domains, _ = layers_of(tracer.snapshot(), pid)
    expect(layers == {} and domains == {}, f"after a clear: {layers} {domains}")
    ask(target, "step 99 300")  # blocks older than the clear are in nobody's table
    layers, domains, _ = layers_of(tracer.snapshot(), pid)
    expect(layers["exact"], f"after a clear: {layers}")
    target.child.stdin.close()
    expect(target.wait() == 0, target.stderr())
    layers_at_the_end, *_ = layers_of(tracer.finish()[-1], pid)
    expect(layers_at_the_end["claimed_bytes"] == layers["claimed_bytes"], f"at the end {layers_at_the_end}, not {layers}")


def forked_children(place):
    """What a child inherited is in its memory, and in its layers, until it frees it; its parent goes its own way."""
    target = place.start([place.workload("alloc_layers")])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid), "--children")
    ask(target, "step 1 600")
    books = [ask(target, "fork 2 300"), target.told(), target.told()]
    expect(books[2]["pid"] == pid, f"the parent is {pid}, the last answer is of {books[2]['pid']}")
    for seed in (4, 5):
        snapshot = tracer.snapshot()
        for told in books:
            compare_layers(snapshot, told["pid"], told)
        books[2] = ask(target, f"step {seed} 500")  # frees what the children still have, and takes its place
    target.child.stdin.close()
    expect(target.wait() == 0, target.stderr())
    tracer.finish()


# ---- a Python program, and the kernel's word -------------------------------------------------------------------


def kind_of(head):
    fields = head.split(None, 5)
    name = fields[5].strip() if len(fields) > 5 else ""
    if int(fields[4]) or name.startswith("/"):
        return "file_mapping_bytes"
    if not name or name.startswith("[anon:"):
        return "anonymous_mapping_bytes"
    return "heap_bytes" if name == "[heap]" else "other_mapping_bytes"


def true_memory(pid):
    """smaps_rollup for the sums, smaps for the parts."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        rollup = dict(re.findall(r"^(\w+): +(\d+) kB$", file.read(), re.MULTILINE))
    memory = {name: 1024 * sum(int(rollup[field]) for field in fields) for name, fields in MEMORY.items()}
    memory.update(dict.fromkeys(("heap_bytes", "anonymous_mapping_bytes", "file_mapping_bytes", "other_mapping_bytes"), 0))
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as file:
        for line in file:
            if re.match("[0-9a-f]+-", line):
                kind = kind_of(line)
            elif line.startswith("Rss:"):
                memory[kind] += 1024 * int(line.split()[1])
    return memory


def memory_of(snapshot, pid):
    process = next(process for process in snapshot["processes"] if process["pid"] == pid)
    memory = dict(process["memory"])
    return memory, memory.pop("after_ns"), process["rss_bytes"]


def compare_memory(tracer, pid):
    """Private pages become so, or not, when others map or unmap the same file: compared where they are the same before and after."""
    for _ in range(20):
        before = true_memory(pid)
        snapshot = tracer.snapshot()
        if true_memory(pid) == before:
            break
    memory, after_ns, rss_bytes = memory_of(snapshot, pid)
    expect(memory == before, f"memory is {memory}, the kernel says {before}")
    expect(rss_bytes == memory["resident_bytes"], f"{rss_bytes} resident bytes, and {memory['resident_bytes']}")
    expect(0 <= after_ns < scaled(60, 600) * SECOND, f"read {after_ns} ns after the moment")
    return snapshot


def python_program(place):
    """numpy's arrays are libc blocks, pools of a domain of its own lie in others, and some lie nowhere."""
    target = place.start([PYTHON, os.path.join(WORKLOADS, "numpy_layers.py")])
    pid = target.told()["pid"]
    tracer = place.trace("-p", str(pid), "-d", "libc", "-d", "numpy", "-d", "7")
    for _ in range(2):
        target.go()
        told = target.told()
        snapshot = compare_memory(tracer, pid)
        layers, domains, _ = layers_of(snapshot, pid)
        libc, _ = domain_rows(snapshot, pid, "libc")
        expect(layers == {"exact": True, "libc_bytes": libc["live_bytes"], "claimed_bytes": told["claimed"],
                          "unclaimed_bytes": libc["live_bytes"] - told["claimed"]},
               f"layers of {libc['live_bytes']} libc bytes are {layers}, claimed are {told['claimed']}")
        expected = {389047: (told["numpy"], 0), 7: tuple(told["pools"])}
        expect(domains == expected, f"in libc and outside: {domains}, not {expected}")
    target.go()
    expect(target.wait() == 0, target.stderr())
    last = tracer.finish()[-1]
    memory, after_ns, _ = memory_of(last, pid)
    expect(after_ns < 0 and memory == memory_of(snapshot, pid)[0], f"of the time before it ended: {json.dumps(memory)} {after_ns}")
    report = tracer.output()
    for line in ("anonymous mappings", "under numpy", "under tracemalloc:7", "under any of them", "unclaimed"):
        expect(line in report, f"the report does not show {line!r}:\n{report}")


def cases():
    yield "layers/random blocks", random_blocks
    yield "layers/forked children", forked_children
    yield "layers/a Python program", python_program
