/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * domtrace.bpf.c: the table of contents, and one program per call shape.
 *
 *   state     what programs keep for themselves        native       one native frame
 *   config    what userspace says                      python_code  CPython's code objects
 *   maps      the tables                               python       one CPython frame
 *   count     counters and losses                      walk         the traceback of an event
 *   read      the target's memory                      account      the books
 *   arch_*    registers                                inflight     entry and return of a call
 *   hash      numbers for tracebacks
 *
 * The BPF cookie of a probe is the number of its site (sites.def). Programs of alloc_* exist twice: as a pair for
 * kernels where entry and return are attached separately, and as one that gets both (uprobe session, 6.13).
 */
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include <domtrace/wire.h>

#include "kernel.bpf.h"
#include "state.bpf.h"
#include "config.bpf.h"
#include "maps.bpf.h"
#include "count.bpf.h"
#include "process.bpf.h"
#include "read.bpf.h"
#include "hash.bpf.h"
#include "arch_x86.bpf.h"
#include "native.bpf.h"
#include "python_code.bpf.h"
#include "python.bpf.h"
#include "walk.bpf.h"
#include "account.bpf.h"
#include "inflight.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SKIP_RETURN 1                   /* from a session's entry: the return is not wanted */

/* An account of the current process; whether that is traced is not yet known. */
static __always_inline void account_init(struct account *account, enum dt_source source, __u32 domain)
{
	account->owner.process = current_tgid() | (__u32)source << DT_OWNER_SOURCE_SHIFT;
	account->owner.domain = domain;
	account->half = DT_EPOCH_HALF(epoch);
	account->generation = 0;
	account->scratch = NULL;
	account->process = NULL;
}

static __always_inline __u32 account_tgid(const struct account *account)
{
	return account->owner.process & DT_OWNER_TGID_MASK;
}

/* Looks the process up. False: it is not traced. */
static __always_inline bool account_find_process(struct account *account)
{
	account->process = process_find(account_tgid(account));
	if (!account->process)
		return false;
	account->generation = account->process->generation;
	return true;
}

/* An account of the current process. False: it is not traced. */
static __always_inline bool account_open(struct account *account, enum dt_source source, __u32 domain)
{
	account_init(account, source, domain);
	return account_find_process(account);
}

/* The account of a call, at its return. False: the process is not traced any more. */
static __always_inline bool account_reopen(struct account *account, const struct dt_call *call)
{
	account->owner = call->owner;
	account->half = DT_EPOCH_HALF(epoch);
	account->scratch = NULL;
	account->process = process_in_slot(call->slot);
	account->generation = call->generation;
	return account->process;
}

/* ---- malloc, calloc, realloc, posix_memalign … ------------------------------------------------------------------- */

static __always_inline int alloc_at_entry(struct pt_regs *ctx, __u32 site)
{
	struct call_registers registers;
	struct account account;
	struct dt_call *call;

	if (site >= DT_SITE_COUNT || !account_open(&account, DT_SOURCE_LIBC, 0))
		return SKIP_RETURN;
	call = bpf_task_storage_get(&calls, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!call) {
		count_add(DT_COUNTER_calls_full);
		return SKIP_RETURN;
	}
	arch_at_entry(ctx, &registers);
	return call_enter(&account, call, site, &registers) ? 0 : SKIP_RETURN;
}

static __always_inline int alloc_at_return(struct pt_regs *ctx)
{
	struct dt_call *call = bpf_task_storage_get(&calls, bpf_get_current_task_btf(), NULL, 0);
	enum call_outcome outcome;
	struct account account;
	__u64 address = 0;

	if (!call || !call->stack || !account_reopen(&account, call))
		return 0;
	if (!call_exit(&account, call, arch_return_slot(ctx)))
		return 0;
	outcome = call_outcome(call, PT_REGS_RC(ctx), &address);
	if (outcome == CALL_ALLOCATED) {
		account.scratch = scratch_claim();
		if (account.scratch)
			traceback_walk(account.scratch, account.process, account_tgid(&account),
				       PT_REGS_IP(ctx), PT_REGS_SP(ctx), PT_REGS_FP(ctx));
	}
	call_book(&account, call, outcome, address);
	scratch_release(account.scratch);
	return 0;
}

SEC("?uprobe")
int alloc_enter(struct pt_regs *ctx)
{
	return alloc_at_entry(ctx, bpf_get_attach_cookie(ctx));
}

SEC("?uprobe")
int alloc_exit(struct pt_regs *ctx)
{
	return alloc_at_return(ctx);
}

SEC("?uprobe")
int alloc_session(struct pt_regs *ctx)
{
	/* At the entry the instruction pointer is the probed address; at the return it is the caller's. */
	if (PT_REGS_IP(ctx) == bpf_get_func_ip(ctx))
		return alloc_at_entry(ctx, bpf_get_attach_cookie(ctx));
	return alloc_at_return(ctx);
}

/* ---- free -------------------------------------------------------------------------------------------------------- */

/* Was free() called from inside the allocator's own file, without the PLT? */
static __always_inline bool free_is_allocators(const struct pt_regs *ctx, const struct dt_process *process)
{
	__u64 return_address;

	if (!process->allocator_calls[0] || !read_u64(PT_REGS_SP(ctx), &return_address))
		return false;
	for (int i = 0; i < DT_ALLOCATOR_CALLS_MAX; i++)
		if (process->allocator_calls[i] == return_address)
			return true;
	return false;
}

SEC("?uprobe")
int free_enter(struct pt_regs *ctx)
{
	__u64 address = PT_REGS_PARM1(ctx);
	struct account account;
	struct dt_call *call;

	if (!address)
		return 0;
	call = bpf_task_storage_get(&calls, bpf_get_current_task_btf(), NULL, 0);
	if (call && call_holds(call, PT_REGS_SP(ctx)))
		return 0;
	account_init(&account, DT_SOURCE_LIBC, 0);
	if (!account_remove(&account, address) && account_find_process(&account))
		count_add(free_is_allocators(ctx, account.process) ? DT_COUNTER_allocator_frees : DT_COUNTER_unmatched_frees);
	return 0;
}

/* ---- PyTraceMalloc_Track, PyTraceMalloc_Untrack ------------------------------------------------------------------ */

static __always_inline bool domain_is_wanted(__u32 domain)
{
	for (__u32 i = 0; i < DT_DOMAIN_FILTER_MAX && i < config.domain_count; i++)
		if (config.domains[i] == domain)
			return !config.domains_excluded;
	return config.domains_excluded || !config.domain_count;
}

SEC("?uprobe")
int track_enter(struct pt_regs *ctx)
{
	__u32 domain = PT_REGS_PARM1(ctx);
	__u64 address = PT_REGS_PARM2(ctx), bytes = PT_REGS_PARM3(ctx), stack = PT_REGS_SP(ctx), return_address = 0;
	struct account account;

	/* Domain 0 is CPython's own; NumPy 2.5 and later names it in probes for memory that it does not track. */
	if (!domain || !address || !domain_is_wanted(domain) || !account_open(&account, DT_SOURCE_TRACEMALLOC, domain))
		return 0;
	account.scratch = scratch_claim();
	if (account.scratch) {
		read_u64(stack, &return_address);
		traceback_walk(account.scratch, account.process, account_tgid(&account),
			       return_address, stack + sizeof(return_address), PT_REGS_FP(ctx));
	}
	account_add(&account, address, bytes, NULL);
	scratch_release(account.scratch);
	return 0;
}

SEC("?uprobe")
int untrack_enter(struct pt_regs *ctx)
{
	__u32 domain = PT_REGS_PARM1(ctx);
	__u64 address = PT_REGS_PARM2(ctx);
	struct account account;

	if (!domain || !address || !domain_is_wanted(domain))
		return 0;
	account_init(&account, DT_SOURCE_TRACEMALLOC, domain);
	if (!account_remove(&account, address) && account_find_process(&account))
		count_add(DT_COUNTER_unmatched_frees);
	return 0;
}

/* ---- CPython ----------------------------------------------------------------------------------------------------- */

/* The tp_dealloc of PyCode_Type: what is known of the code object is forgotten before its memory is used again. */
SEC("?uprobe")
int code_enter(struct pt_regs *ctx)
{
	const struct dt_process *process = process_find(current_tgid());

	if (process && process->python.number)
		python_known_remove(process->python.number, PT_REGS_PARM1(ctx));
	return 0;
}

/* ---- the dynamic loader ------------------------------------------------------------------------------------------ */

/* r_debug.r_state (glibc elf/link.h): what the loader is doing. */
#define LOADER_CONSISTENT 0             /* nothing: files have been mapped or unmapped, their code has not run yet */
#define LOADER_DELETE 2                 /* it unmaps files */

static __always_inline __u32 loader_state(const struct dt_process *process)
{
	__u32 state = LOADER_CONSISTENT;

	if (process->loader_state)
		read_bytes(&state, sizeof(state), process->loader_state);
	return state;
}

/*
 * Notes that the loader unmaps files. `removals` is odd while it does: from its call before to its call after, which are
 * ordered by the loader's own lock.
 */
static __always_inline void note_removal(const struct dt_process *process, __u32 state)
{
	__u32 *removals = &process_states[process->slot & (DT_PROCESSES_MAX - 1)].removals;

	if ((state == LOADER_DELETE) != (*removals & 1))
		__sync_fetch_and_add(removals, 1);
}

static __always_inline bool is_main_thread(void)
{
	__u64 id = bpf_get_current_pid_tgid();

	return id >> 32 == (id & 0xffffffff);
}

/*
 * The loader calls _dl_debug_state() before and after it changes what is mapped, so that debuggers can look (glibc
 * elf/dl-debug.c, musl ldso/dynlink.c). The main thread of a command that domtrace has started stops at the signal, which only
 * its tracer sees, and goes on when the new files are known: so their first allocation is told from where it came.
 */
SEC("?uprobe")
int mappings_enter(struct pt_regs *ctx)
{
	struct dt_event event = { .type = DT_EVENT_MAPPINGS, .tgid = current_tgid() };
	const struct dt_process *process = process_find(event.tgid);
	__u32 state;

	(void)ctx;
	if (!process)
		return 0;
	state = loader_state(process);
	note_removal(process, state);
	if (bpf_ringbuf_output(&events, &event, sizeof(event), 0))
		count_add(DT_COUNTER_mappings_lost);
	if (process->hold && state == LOADER_CONSISTENT && is_main_thread() && kernel_signal_is_free())
		bpf_send_signal_thread(DT_HOLD_SIGNAL);
	return 0;
}
