# SPDX-License-Identifier: BSD-2-Clause
"""What a tracer holds: memory and descriptors of its process, maps and links in the kernel and the rows of the tables."""
import collections
import ctypes
import errno
import os
import platform

SYS_BPF = {"x86_64": 321}[platform.machine()]
# include/uapi/linux/bpf.h
MAP_LOOKUP_BATCH, MAP_GET_NEXT_ID, MAP_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, LINK_GET_NEXT_ID = 24, 12, 14, 15, 31
MAP_TYPE_HASH = 1
BATCH_ROWS = 16384

LIBC = ctypes.CDLL(None, use_errno=True)


class MapInfo(ctypes.Structure):
    """The first fields of struct bpf_map_info."""
    _fields_ = [(name, ctypes.c_uint32) for name in ("type", "id", "key_size", "value_size", "max_entries", "map_flags")]
    _fields_ += [("name", ctypes.c_char * 16)]


class Batch(ctypes.Structure):
    """The part of union bpf_attr that batch commands read."""
    _fields_ = [(name, ctypes.c_uint64) for name in ("in_batch", "out_batch", "keys", "values")]
    _fields_ += [("count", ctypes.c_uint32), ("map_fd", ctypes.c_uint32), ("elem_flags", ctypes.c_uint64), ("flags", ctypes.c_uint64)]


def call(command, attribute):
    """0 or more, or −errno."""
    size = ctypes.sizeof(attribute)
    result = LIBC.syscall(SYS_BPF, ctypes.c_int(command), ctypes.byref(attribute), ctypes.c_uint(size))
    return result if result >= 0 else -ctypes.get_errno()


def ids(command):
    """Numbers of all maps or links there are."""
    words = (ctypes.c_uint32 * 4)()
    while call(command, words) == 0:
        yield words[1]
        words[0] = words[1]


def information(descriptor):
    info = MapInfo()
    words = (ctypes.c_uint32 * 4)(descriptor, ctypes.sizeof(info), *divmod(ctypes.addressof(info), 1 << 32)[::-1])
    return info if call(OBJ_GET_INFO_BY_FD, words) == 0 else None


def count_rows(descriptor, info):
    """Of a hash table that changes little meanwhile."""
    room, rows, first = BATCH_ROWS, 0, True
    place_in, place_out = ctypes.c_uint64(), ctypes.c_uint64()
    while True:
        keys, values = (ctypes.create_string_buffer(room * size) for size in (info.key_size, info.value_size))
        batch = Batch(0 if first else ctypes.addressof(place_in), ctypes.addressof(place_out), ctypes.addressof(keys),
                      ctypes.addressof(values), room, descriptor, 0, 0)
        result = call(MAP_LOOKUP_BATCH, batch)
        if result == -errno.ENOSPC:
            room *= 2
            continue
        if result not in (0, -errno.ENOENT):
            raise OSError(-result, f"reading map {info.name.decode()}")
        rows += batch.count
        if result:
            return rows
        place_in.value, first = place_out.value, False


def locked_bytes(descriptor):
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("memlock:"))


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def resident_parts(pid):
    """Resident bytes of a process: its heap, other memory of its own (malloc's too), maps of the kernel's tables, files."""
    parts, part = collections.Counter(), None
    with open(f"/proc/{pid}/smaps", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if not words[0].endswith(":"):
                path = words[5] if len(words) > 5 else ""
                part = ("heap" if path == "[heap]" else "tables" if "bpf-map" in path or "bpf_ringbuf" in path else
                        "files" if path.startswith("/") else "other")
            elif words[0] == "Rss:":
                parts[part] += int(words[1]) << 10
    return {part: parts[part] for part in ("heap", "other", "tables", "files")}


def descriptors(pid):
    """Where its descriptors lead to. One that is closed meanwhile leads nowhere."""
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            yield os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            pass


def measure(pid, directory="/nowhere"):
    """
    All maps and links of the system are taken for the tracer's: in a guest nobody else has any. Descriptors of copies of files in
    `directory` are counted on their own, those of links with the links.
    """
    opened = list(descriptors(pid))
    copies = sum(path.startswith(os.path.join(directory, "copy-")) for path in opened)
    link_count = sum("bpf_link" in path for path in opened)
    rows, maps, locked = collections.Counter(), collections.Counter(), collections.Counter()
    for number in ids(MAP_GET_NEXT_ID):
        descriptor = call(MAP_GET_FD_BY_ID, (ctypes.c_uint32 * 4)(number))
        if descriptor < 0:
            continue
        try:
            info = information(descriptor)
            name = info.name.decode()
            maps[name] += 1
            locked[name] += locked_bytes(descriptor)
            if info.type == MAP_TYPE_HASH:
                rows[name] += count_rows(descriptor, info)
        finally:
            os.close(descriptor)
    return {
        "resident_bytes": resident_bytes(pid),
        "kernel_bytes": sum(locked.values()),
        "locked": dict(sorted(locked.items())),
        "descriptors": len(opened) - copies - link_count,
        "copies": copies,
        "links": sum(1 for _ in ids(LINK_GET_NEXT_ID)),
        "maps": dict(sorted(maps.items())),
        "rows": dict(sorted(rows.items())),
    }
