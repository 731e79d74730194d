# SPDX-License-Identifier: BSD-2-Clause
"""What the kernel's JIT has made of BPF programs, read through bpf(2)."""
import ctypes
import os
import re
import struct

SYS_BPF = 321                           # x86-64
PROG_LOAD, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD = 5, 13, 15 # include/uapi/linux/bpf.h: enum bpf_cmd
PROG_TYPE_KPROBE = 2
INFO_BYTES = 80                         # of struct bpf_prog_info, up to the name
TAIL_CALL = 12

# arch/x86/net/bpf_jit_comp.c: emit_priv_frame_ptr(): movabs $…, %r9; add %gs:…, %r9
PRIVATE_STACK = re.compile(rb"\x49\xb9.{8}\x65\x4c\x03\x0c\x25", re.DOTALL)

# (opcode, registers, offset, value): r1 = 0; *(u64 *)(r10 - 64) = r1, which is as much stack as a private one needs; then, as
# bpf/stack.bpf.h has it, r0 = 0; if (r0 != 0) tail_call(); at last r0 = 0; exit
STACK = [(0xb7, 1, 0, 0), (0x7b, 0x1a, -64, 0)]
GUARD = [(0xb7, 0, 0, 0), (0x15, 0, 1, 0), (0x85, 0, 0, TAIL_CALL)]
END = [(0xb7, 0, 0, 0), (0x95, 0, 0, 0)]


def bpf(command, attributes):
    """The result of bpf(2); `attributes` is a buffer, which the kernel may write to."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(SYS_BPF, command, attributes, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"bpf({command})")
    return result


def load(instructions):
    """The descriptor of a program for kprobes."""
    code = b"".join(struct.pack("<BBhi", opcode, registers, offset, value) for opcode, registers, offset, value in instructions)
    held, license_held = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack("<IIQQ", PROG_TYPE_KPROBE, len(instructions), ctypes.addressof(held), ctypes.addressof(license_held))
    return bpf(PROG_LOAD, ctypes.create_string_buffer(attributes.ljust(72, b"\0"), 72))


def info(descriptor, image=None):
    """struct bpf_prog_info; the machine's instructions go into `image`."""
    found = ctypes.create_string_buffer(INFO_BYTES)
    struct.pack_into("<IIQ", found, 16, len(image) if image else 0, 0, ctypes.addressof(image) if image else 0)
    bpf(OBJ_GET_INFO_BY_FD, ctypes.create_string_buffer(struct.pack("<IIQ", descriptor, INFO_BYTES, ctypes.addressof(found)), 16))
    return found.raw


def look(descriptor):
    """(type, name, the machine's instructions); b"" for those where the kernel does not show them."""
    size, = struct.unpack_from("<I", info(descriptor), 16)
    image = ctypes.create_string_buffer(size or 1)
    kind, = struct.unpack_from("<I", shown := info(descriptor, image))
    return kind, shown[64:80].rstrip(b"\0").decode(), image.raw if any(image.raw) else b""


def looked_up(descriptor):
    try:
        return look(descriptor)
    finally:
        os.close(descriptor)


def makes_private_stacks(guarded=False):
    """Does the JIT give a program that needs it a private stack? None: it does not show what it makes."""
    _, _, image = looked_up(load(STACK + (GUARD if guarded else []) + END))
    return bool(PRIVATE_STACK.search(image)) if image else None


def programs_of(pid):
    """[(name, does it have a private stack?)] of the programs for kprobes that a process has open."""
    ids = set()
    for name in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            with open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii") as file:
                text = file.read()
        except FileNotFoundError:       # it was closed meanwhile
            continue
        if "prog_type:" in text:        # a program, and not its link
            ids.add(int(re.search(r"^prog_id:\s*(\d+)", text, re.MULTILINE)[1]))
    found = [looked_up(bpf(PROG_GET_FD_BY_ID, ctypes.create_string_buffer(struct.pack("<III", number, 0, 0), 12))) for number in sorted(ids)]
    return [(name, bool(PRIVATE_STACK.search(image))) for kind, name, image in found if kind == PROG_TYPE_KPROBE]
