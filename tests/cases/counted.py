# SPDX-License-Identifier: BSD-2-Clause
"""Reads what libcount wrote for each process image (tests/workload/libcount.h)."""
import os
import struct

MAGIC = 0x31746E756F637464
HEAD = ("magic", "pid", "start", "serial", "parent", "parent_start", "parent_serial", "inherited_blocks", "inherited_bytes")
COUNT = ("allocations", "allocated_bytes", "frees", "freed_bytes", "peak_bytes")
TAIL = ("unmatched_frees", "missed_frees", "failed")
NUMBERS = struct.Struct(f"<{len(HEAD) + 2 * len(COUNT) + len(TAIL)}Q")
EXE_BYTES = 256


def read_file(path):
    with open(path, "rb") as file:
        data = file.read()
    numbers = NUMBERS.unpack_from(data)
    image = dict(zip(HEAD, numbers))
    if image["magic"] != MAGIC:
        raise ValueError(f"{path} was not written by libcount")
    at = len(HEAD)
    for name in ("all", "program"):
        image[name] = dict(zip(COUNT, numbers[at:]))
        at += len(COUNT)
    image.update(zip(TAIL, numbers[at:]))
    image["exe"] = os.fsdecode(data[NUMBERS.size:NUMBERS.size + EXE_BYTES].split(b"\0")[0])
    image["command"] = os.fsdecode(data[NUMBERS.size + EXE_BYTES:].split(b"\0")[0])
    return image


def read_directory(directory):
    """{(pid, start in ticks, serial): image}"""
    images = (read_file(os.path.join(directory, name)) for name in os.listdir(directory))
    return {(image["pid"], image["start"], image["serial"]): image for image in images}


def last_images(images):
    """{(pid, start in ticks): its last image}: what ran when the process ended, or runs now."""
    last = {}
    for (pid, start, serial), image in images.items():
        if (pid, start) not in last or serial > last[pid, start]["serial"]:
            last[pid, start] = image
    return last


def text(image):
    return f"process {image['pid']}, image {image['serial']} ({image['command']})"
