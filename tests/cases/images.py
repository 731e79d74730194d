# SPDX-License-Identifier: BSD-2-Clause
"""Where addresses of a process lie: the files that it maps, what binutils says of them, and the code in them."""
import bisect
import collections
import functools
import os
import re
import struct
import subprocess

from harness import Failure

Mapping = collections.namedtuple("Mapping", "start end offset path")


def call_length(code):
    """Of the call instruction that `code` begins with; 0: there is none. (Intel SDM volume 2: CALL, 2.1.5.)"""
    at = 0
    while at < 4 and code[at] in b"\x66\x67\x2e\x36\x3e\x26\x64\x65\xf2\xf3":
        at += 1
    if code[at] & 0xf0 == 0x40:
        at += 1
    if code[at] == 0xe8:
        return at + 5
    if code[at] != 0xff or code[at + 1] >> 3 & 7 != 2:
        return 0
    mode, register = code[at + 1] >> 6, code[at + 1] & 7
    at += 2
    if mode == 3:
        return at
    displacement = (4 if register == 5 else 0, 1, 4)[mode]
    if register == 4:
        if mode == 0 and code[at] & 7 == 5:
            displacement = 4
        at += 1
    return at + displacement


def same_module(module, path):
    return module is not None and module.removesuffix(" (deleted)") == path.removesuffix(" (deleted)")


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.decode()


@functools.lru_cache(maxsize=None)
def functions_of(path):
    """[(first address, end, {demangled names})], as binutils knows them"""
    found = {}
    for option in ((), ("-D",)):
        for line in output("nm", "-S", "-C", "--defined-only", *option, path).splitlines():
            words = re.match(r"([0-9a-f]+) ([0-9a-f]+) [tTwWiuV] (.*)", line)
            if words:
                start, size = int(words[1], 16), int(words[2], 16)
                found.setdefault((start, start + size), set()).add(words[3].split("@")[0])
    return sorted((start, end, names) for (start, end), names in found.items())


@functools.lru_cache(maxsize=None)
def frame_rules_of(path):
    """[(first address, how the frame is found)], as binutils reads .eh_frame"""
    rules, end = [], 0
    for line in output("readelf", "--debug-dump=frames-interp", path).splitlines():
        if " FDE " in line:
            rules.append((end, None))
            end = int(line.rsplit("..", 1)[1], 16)
        elif (row := re.match(r"([0-9a-f]{16}) (\S+)", line)) and end:
            rules.append((int(row[1], 16), row[2]))
    return sorted([*rules, (end, None)], key=lambda rule: rule[0])


class File:
    """An ELF file, or an image of one."""

    def __init__(self, data, path=None):
        self.data = data
        self.path = path
        self.entry, header, count = *struct.unpack_from("<QQ", data, 24), struct.unpack_from("<H", data, 56)[0]
        self.loads = []
        for i in range(count):
            kind, _, offset, vaddr, _, size = struct.unpack_from("<IIQQQQ", data, header + 56 * i)
            if kind == 1:  # PT_LOAD
                self.loads.append((offset, vaddr, size))

    def vaddr(self, offset):
        return next((vaddr + offset - start for start, vaddr, size in self.loads if start <= offset < start + size), None)

    def offset(self, vaddr):
        return next((start + vaddr - at for start, at, size in self.loads if at <= vaddr < at + size), None)

    def function_names(self, vaddr):
        names = set()
        for start, end, some in functions_of(self.path):
            if start <= vaddr < end:
                names |= some
        return names

    def frame_rule(self, vaddr):
        rules = frame_rules_of(self.path)
        at = bisect.bisect_right(rules, vaddr, key=lambda rule: rule[0])
        return rules[at - 1][1] if at else None


def mappings(pid):
    """What is mapped executable, of what has a name."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.rstrip("\n").split(None, 5)
            start, end = (int(word, 16) for word in words[0].split("-"))
            if len(words) > 5 and "x" in words[1]:
                found.append(Mapping(start, end, int(words[2], 16), words[5]))
    return found


class Space:
    """The files that a process maps now. It must be alive."""

    def __init__(self, pid):
        self.mappings, self.files, self.pid = mappings(pid), {}, pid
        for mapping in self.mappings:
            if mapping.path not in self.files:
                self.files[mapping.path] = self.read(mapping)

    def read(self, mapping):
        if mapping.path == "[vdso]":
            with open(f"/proc/{self.pid}/mem", "rb") as file:
                file.seek(mapping.start)
                return File(file.read(mapping.end - mapping.start))
        if not mapping.path.startswith("/"):
            return None
        path = f"/proc/{self.pid}/map_files/{mapping.start:x}-{mapping.end:x}"
        with open(path, "rb") as file:
            # by its name where it has one, so that what is read of it is read once for all processes
            named = os.path.exists(mapping.path) and os.path.samefile(mapping.path, path)
            return File(file.read(), mapping.path if named else path)

    def add(self, path):
        """A file that is not mapped any more."""
        if path not in self.files:
            with open(path, "rb") as file:
                self.files[path] = File(file.read(), path)
        return self.files[path]

    def place(self, address, load=None):
        """(path, offset); `load`: (path, base) of a library that was mapped then"""
        if load:
            path = os.path.realpath(load[0])
            offset = self.add(path).offset(address - load[1])
            if offset is not None:
                return path, offset
        for mapping in self.mappings:
            if mapping.start <= address < mapping.end:
                return mapping.path, address - mapping.start + mapping.offset
        raise Failure(f"the workload tells of {address:#x}, where no code is mapped")

    def path(self, module):
        """As it is called here, of a module of a snapshot."""
        return next(path for path in self.files if same_module(module, path))

    def code(self, path, offset, size=16):
        return self.files[path].data[offset:offset + size]
