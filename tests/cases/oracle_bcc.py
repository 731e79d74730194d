#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""An independent count of one process's allocator calls, with bcc: oracle_bcc.py PID

Prints {"ready": true} when it counts, waits for a line, prints the totals. It shares nothing with domtrace: probes on the first
byte of every function, entry and return paired by counting the depth of each thread, one table of live blocks.
"""
import ctypes
import json
import re
import sys

import bcc
from bcc import BPF

# Positions of (size, count, old block, out-pointer) among the arguments, from 1; 0: there is none.
FUNCTIONS = {
    "malloc": (1, 0, 0, 0),
    "calloc": (1, 2, 0, 0),
    "realloc": (2, 0, 1, 0),
    "reallocarray": (2, 3, 1, 0),
    "posix_memalign": (3, 0, 0, 1),
    "aligned_alloc": (2, 0, 0, 0),
    "memalign": (2, 0, 0, 0),
    "valloc": (1, 0, 0, 0),
    "pvalloc": (1, 0, 0, 0),
}

TEXT = """
#include <uapi/linux/ptrace.h>

struct call { u64 depth, bytes, old, out, resizes, held, old_bytes; };
BPF_HASH(calls, u32, struct call, 1024);
BPF_HASH(blocks, u64, u64, 1 << 20);
enum { ALLOCATIONS, ALLOCATED_BYTES, FREES, FREED_BYTES, FAILED, UNMATCHED, TOTALS };
BPF_ARRAY(totals, u64, TOTALS);

static __always_inline void add(int which, u64 amount)
{
	u64 *total = totals.lookup(&which);

	if (total)
		__sync_fetch_and_add(total, amount);
}

static __always_inline void end_block(u64 address)
{
	u64 *bytes = blocks.lookup(&address);

	if (!bytes) {
		add(UNMATCHED, 1);
		return;
	}
	add(FREES, 1);
	add(FREED_BYTES, *bytes);
	blocks.delete(&address);
}

/* What may not fit into 64 bits is refused anyway, and must not look like 0. (BPF has no 128-bit product to be exact with.) */
static __always_inline u64 product(u64 size, u64 count)
{
	return (size | count) >> 32 && size > 1 && count > 1 ? ~0ull : size * count;
}

/* Out of the table now: before this call returns, the allocator may give the address to another thread. */
static __always_inline void hold_block(struct call *call)
{
	u64 old = call->old, *bytes = blocks.lookup(&old);

	if (!bytes)
		return;
	call->held = 1;
	call->old_bytes = *bytes;
	blocks.delete(&old);
}

static __always_inline void end_held(struct call *call)
{
	if (!call->held) {
		add(UNMATCHED, 1);
		return;
	}
	add(FREES, 1);
	add(FREED_BYTES, call->old_bytes);
}

static __always_inline void put_back(struct call *call)
{
	u64 old = call->old, bytes = call->old_bytes;

	if (call->held)
		blocks.update(&old, &bytes);
}

static __always_inline int enter(u64 bytes, u64 old, u64 out, u64 resizes)
{
	u32 thread = bpf_get_current_pid_tgid();
	struct call fresh = {}, *call = calls.lookup_or_try_init(&thread, &fresh);

	if (!call || call->depth++)
		return 0;
	call->bytes = bytes;
	call->old = old;
	call->out = out;
	call->resizes = resizes;
	call->held = 0;
	if (resizes && old)
		hold_block(call);
	return 0;
}

static __always_inline int leave(u64 result)
{
	u32 thread = bpf_get_current_pid_tgid();
	struct call *call = calls.lookup(&thread);
	u64 address = result, bytes;

	if (!call || !call->depth || --call->depth)
		return 0;
	if (call->out) {
		address = 0;
		if (!(u32)result)
			bpf_probe_read_user(&address, sizeof(address), (void *)call->out);
	}
	if (!address && !(call->resizes && call->old && !call->bytes)) {
		add(FAILED, 1);
		put_back(call);
		return 0;
	}
	if (call->resizes && call->old)
		end_held(call);
	if (!address)
		return 0;
	bytes = call->bytes;
	add(ALLOCATIONS, 1);
	add(ALLOCATED_BYTES, bytes);
	blocks.update(&address, &bytes);
	return 0;
}

int on_free(struct pt_regs *ctx)
{
	u32 thread = bpf_get_current_pid_tgid();
	struct call *call = calls.lookup(&thread);
	u64 address = PT_REGS_PARM1(ctx);

	if (address && !(call && call->depth))
		end_block(address);
	return 0;
}

int on_return(struct pt_regs *ctx)
{
	return leave(PT_REGS_RC(ctx));
}
"""

ENTRY = """
int on_{name}(struct pt_regs *ctx)
{{
	return enter(product({size}, {count}), {old}, {out}, {resizes});
}}
"""


def argument(position, otherwise):
    return f"(u64)PT_REGS_PARM{position}(ctx)" if position else otherwise


def program():
    entries = [
        ENTRY.format(name=name, size=argument(size, "0"), count=argument(count, "1"), old=argument(old, "0"),
                     out=argument(out, "0"), resizes=int(bool(old)))
        for name, (size, count, old, out) in FUNCTIONS.items()
    ]
    return TEXT + "".join(entries)


def complete_attach():
    """bcc 0.26 leaves the last argument of this function (the offset of a reference counter) to chance, and so the kernel
    refuses a probe now and then: src/cc/libbpf.h has seven parameters, src/python/bcc/libbcc.py six."""
    attach = bcc.lib.bpf_attach_uprobe
    if len(attach.argtypes) == 6:  # pylint: disable=no-member
        attach.argtypes = [*attach.argtypes, ctypes.c_uint32]  # pylint: disable=no-member
        bcc.lib.bpf_attach_uprobe = lambda *arguments: attach(*arguments, 0)


def libc_of(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        return re.search(r"(/\S*/libc\.so\.6)$", maps.read(), re.MULTILINE).group(1)


def main():
    pid = int(sys.argv[1])
    library = libc_of(pid)
    complete_attach()
    bpf = BPF(text=program(), cflags=["-w"])
    # Returns first: an entry without its return would leave the depth of the thread at 1 for ever.
    for name in FUNCTIONS:
        bpf.attach_uretprobe(name=library, sym=name, fn_name="on_return", pid=pid)
    for name in FUNCTIONS:
        bpf.attach_uprobe(name=library, sym=name, fn_name=f"on_{name}", pid=pid)
    bpf.attach_uprobe(name=library, sym="free", fn_name="on_free", pid=pid)
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    names = ("allocations", "allocated_bytes", "frees", "freed_bytes", "failed_allocations", "unmatched_frees")
    totals = bpf["totals"]
    print(json.dumps({name: totals[totals.Key(i)].value for i, name in enumerate(names)}), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
