# SPDX-License-Identifier: BSD-2-Clause
"""Targets that lie: forged CPython structures, damaged libraries, frame pointers in circles, perf maps that are none. The tables stay
exact, every traceback ends, and domtrace needs neither more time nor more memory than for others."""
import os
import random
import shutil
import struct

from harness import Failure, expect, scaled
from tables import domain_rows, fail_if, losses

PROCESSES = 3
LIES = 33               # hostile_process.c: put_lie()
DOMAIN = 4242
PEAK_KIB = 400 << 10    # domtrace's own memory; what it holds for three processes is far below, what a lie asks for far above
SECTION = struct.Struct("<IIQQQQIIQQ")  # Elf64_Shdr


def sections(image):
    """{name: (offset of its header, header)}"""
    (table,), (size, count, names) = struct.unpack_from("<Q", image, 40), struct.unpack_from("<HHH", image, 58)
    headers = [(table + i * size, SECTION.unpack_from(image, table + i * size)) for i in range(count)]
    strings = headers[names][1][4]
    found = {}
    for at, header in headers:
        start = strings + header[0]
        found[bytes(image[start:image.index(0, start)]).decode()] = at, header
    return found


def fill(name, make):
    """The bytes of a section become make(size)."""
    def damage(image):
        _, header = sections(image)[name]
        image[header[4]:header[4] + header[5]] = make(header[5])
    return damage


def flip(name, count, seed):
    """Some bytes of a section become others."""
    def damage(image):
        dice = random.Random(seed)
        _, header = sections(image)[name]
        for _ in range(count):
            image[header[4] + dice.randrange(header[5])] = dice.randrange(256)
    return damage


def put(name, field, value):
    """A field of a section's header."""
    def damage(image):
        at, header = sections(image)[name]
        SECTION.pack_into(image, at, *[value if i == field else old for i, old in enumerate(header)])
    return damage


def at_offset(offset, form, value):
    return lambda image: struct.pack_into(form, image, offset, value)


def repeat(unit):
    return lambda size: (unit * (size // len(unit) + 1))[:size]


NOISE = random.Random(7)
DAMAGES = {
    "eh-noise": fill(".eh_frame", lambda size: bytes(NOISE.randrange(256) for _ in range(size))),
    "eh-ones": fill(".eh_frame", repeat(b"\xff")),
    "eh-wide": fill(".eh_frame", repeat(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f")),
    "eh-flip-1": flip(".eh_frame", 5, 1),
    "eh-flip-2": flip(".eh_frame", 20, 2),
    "eh-flip-3": flip(".eh_frame", 60, 3),
    "eh-size": put(".eh_frame", 5, 1 << 62),
    "eh-offset": put(".eh_frame", 4, 1 << 40),
    "eh-packed": put(".eh_frame", 2, 0x802),
    "names-nowhere": fill(".symtab", repeat(struct.pack("<IBBHQQ", 0xffffffff, 0x12, 0, 12, 0x1000, 0xffffffffffffffff))),
    "symbols-overlap": fill(".symtab", repeat(struct.pack("<IBBHQQ", 1, 0x12, 0, 12, 1, 0xfffffffffffffff0))),
    "strings-endless": fill(".strtab", repeat(b"_ZN")),
    "strings-mangled": fill(".strtab", lambda size: b"\0" + b"_Z" + b"N1aI" * (size // 4 - 2) + b"\0" * (size - 3 - 4 * (size // 4 - 2))),
    "debug-noise": flip(".debug_info", 200, 4),
    "lines-noise": flip(".debug_line", 100, 5),
    "abbreviations-noise": flip(".debug_abbrev", 50, 6),
    "headers-nowhere": at_offset(40, "<Q", 1 << 63),
    "headers-many": at_offset(60, "<H", 0xffff),
    "headers-other-size": at_offset(58, "<H", 1),
}


def damaged_libraries(place):
    """Copies of one library, each damaged in its own way, and each with a build id of its own: tables are known by it."""
    with open(place.workload("liballoc_late.so"), "rb") as file:
        good = file.read()
    paths = []
    for number, (name, damage) in enumerate(DAMAGES.items()):
        image = bytearray(good)
        note = sections(image).get(".note.gnu.build-id")
        if note:
            image[note[1][4] + 16] = number
        damage(image)
        paths.append(place.path(f"{name}.so"))
        with open(paths[-1], "wb") as file:
            file.write(image)
    return paths


def make_perf_map(pid, kind):
    """What /tmp/perf-PID.map must not be, or what it must not hold."""
    path = f"/tmp/perf-{pid}.map"
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        os.symlink("/dev/zero", path)
    else:
        dice = random.Random(8)
        with open(path, "wb") as file:
            file.write(b"0 ffffffffffffffff everything\n" + b"x" * 100000 + b"\n" + b"1 1 " + b"y" * 1000000 + b"\n")
            file.write(bytes(dice.randrange(256) for _ in range(scaled(1 << 18, 1 << 14))))
    return path


def compare_totals(snapshot, pid, truth):
    domain, _ = domain_rows(snapshot, pid, "libc")
    if domain is None:
        raise Failure(f"no libc domain of process {pid}")
    return [f"{name} of the libc domain of process {pid} is {domain[name]}, not {number}"
            for name, number in truth["total"].items() if domain[name] != number]


def compare_tracked(snapshot, pid):
    """Each lie was told twice, with the same address: the second one replaced the first."""
    domain, _ = domain_rows(snapshot, pid, "tracemalloc", DOMAIN)
    if domain is None:
        return [f"no domain {DOMAIN} of process {pid}"]
    once = sum(range(1, LIES + 1))
    expected = {"allocations": 2 * LIES, "allocated_bytes": 2 * once, "frees": LIES, "freed_bytes": once, "live_blocks": LIES,
                "live_bytes": once}
    return [f"{name} of domain {DOMAIN} of process {pid} is {domain[name]}, not {number}"
            for name, number in expected.items() if domain[name] != number]


def compare_truthful(snapshot, pid):
    """The first lie is none: its Python frames are found, so the others were looked at, too."""
    _, rows = domain_rows(snapshot, pid, "libc")
    for frames, traceback, _ in rows:
        python = [(frame["file"], frame["function"], frame["line"]) for frame in frames if frame["kind"] == "python"]
        if not traceback["truncated"] and python == 4 * [("forged_file.py", "forged_name", 7)]:
            return []
    return [f"the frames of forged_name() are not found in process {pid}"]


def peak_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


def liars(place):
    libraries = damaged_libraries(place)
    targets, maps = [], []
    try:
        for kind in range(PROCESSES):
            shorter = place.path(f"shorter-{kind}.so")
            shutil.copy(place.workload("liballoc_late.so"), shorter)
            target = place.start([place.workload("hostile_process"), "--truncate", shorter, *libraries])
            targets.append((target, target.told()["pid"]))
            maps.append(make_perf_map(targets[-1][1], kind))
        tracer = place.trace("-p", ",".join(str(pid) for _, pid in targets), "--stack", "mixed", "-l", "256")
        truths = [run(target) for target, _ in targets[1:]]
        snapshots = [tracer.snapshot()]
        # The first one ends while what it did is still looked at.
        truths.insert(0, run(targets[0][0]))
        peak = peak_kib(tracer.pid)
        for target, _ in targets:
            target.go()
            expect(target.wait() == 0, f"a target ended with {target.wait()}: {target.stderr()}")
        snapshots.append(tracer.finish()[-1])
    finally:
        for path in maps:
            os.unlink(path)
    wrong = [] if peak < PEAK_KIB else [f"domtrace took {peak} KiB of memory"]
    for snapshot, first in zip(snapshots, (1, 0)):
        wrong += losses(snapshot)
        for (_, pid), truth in list(zip(targets, truths))[first:]:
            wrong += compare_totals(snapshot, pid, truth) + compare_tracked(snapshot, pid) + compare_truthful(snapshot, pid)
    fail_if(wrong)


def run(target):
    target.go()
    return target.told()


def cases():
    yield "hostile/liars", liars
