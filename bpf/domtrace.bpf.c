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
 *   hash      numbers for tracebacks                  live         the blocks
 *   process   whose event it is                       image        fork, exec, exit
 *   file      frames in files not yet read            untold       blocks that nobody tells of
 *   stack     each event has its own                atomic       what several change at a time
 *   marker    lines of a program that want a snapshot
 *
 * The BPF cookie of a probe is the number of its site (sites.def). Programs of alloc_* exist twice: as a pair for
 * kernels where entry and return are attached separately, and as one that gets both (uprobe session, 6.13).
 */
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/ptrace.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include <domtrace/wire.h>

#include "kernel.bpf.h"
#include "atomic.bpf.h"
#include "stack.bpf.h"
#include "state.bpf.h"
#include "config.bpf.h"
#include "maps.bpf.h"
#include "count.bpf.h"
#include "process.bpf.h"
#include "read.bpf.h"
#include "hash.bpf.h"
#include "arch_x86.bpf.h"
#include "native.bpf.h"
#include "file.bpf.h"
#include "python_code.bpf.h"
#include "python.bpf.h"
#include "walk.bpf.h"
#include "rows.bpf.h"
#include "live.bpf.h"
#include "account.bpf.h"
#include "untold.bpf.h"
#include "inflight.bpf.h"
#include "image.bpf.h"
#include "marker.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SKIP_RETURN 1                   /* from a session's entry: the return is not wanted */

/* The books of the image that the current thread runs. False: it is not traced. */
static __always_inline bool account_open(struct account *account, struct dt_thread *thread, enum dt_source source, __u32 domain)
{
	__u32 slot;

	if (!image_of_thread(thread, &slot) || !account_begin(account, slot, source, domain))
		return false;
	account->thread = thread;
	return true;
}

/* The books of a call, at its return. False: its image is not traced any more. A call from before a clear is booked there. */
static __always_inline bool account_reopen(struct account *account, struct dt_thread *thread, const struct dt_call *call,
					   enum dt_source source)
{
	if (image_state(thread->slot)->image != thread->image || !account_begin(account, thread->slot, source, 0))
		return false;
	account->thread = thread;
	if (DT_SEGMENTS_GENERATION(account->segments) != DT_SEGMENTS_GENERATION(call->segments))
		account->segments = call->segments;
	return true;
}

/* Takes the traceback of an event in a call that returns to `pc`. */
static __always_inline void account_walk(struct account *account, __u64 pc, __u64 stack, __u64 frame_pointer)
{
	account->scratch = scratch_claim();
	if (account->scratch)
		traceback_walk(account->scratch, account->row, account_slot(account), pc, stack, frame_pointer);
}

/* ---- malloc, calloc, realloc, posix_memalign … ------------------------------------------------------------------- */

/* Are the calls of this site all seen in the process, or does it not matter? */
static __always_inline bool call_is_wanted(const struct account *account, __u64 cookie)
{
	return !(cookie & DT_COOKIE_NEEDS_ALIASES) || process_row(account->row)->python_aliases;
}

static __always_inline struct dt_thread *thread_make(const struct account *account)
{
	struct dt_thread *thread = thread_storage(&threads, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!thread) {
		count_add(DT_COUNTER_calls_full);
		return NULL;
	}
	thread->slot = account_slot(account);
	thread->image = account->state->image;
	return thread;
}

static __always_inline int alloc_at_entry(struct pt_regs *ctx, __u64 cookie)
{
	__u32 site = cookie & (DT_COOKIE_NEEDS_ALIASES - 1);
	struct dt_thread *thread = thread_find();
	struct call_registers registers;
	enum dt_source source;
	struct account account;

	if (site >= DT_SITE_COUNT)
		return SKIP_RETURN;
	source = site_row(site)->source;
	if (!account_open(&account, thread, source, 0) || !call_is_wanted(&account, cookie))
		return SKIP_RETURN;
	if (!thread)
		thread = thread_make(&account);
	if (!thread)
		return SKIP_RETURN;
	arch_at_entry(ctx, &registers);
	return call_enter(&account, thread, source, site, &registers) ? 0 : SKIP_RETURN;
}

static __always_inline int alloc_at_return(struct pt_regs *ctx, enum dt_source source)
{
	struct dt_thread *thread = thread_find();
	enum call_outcome outcome;
	struct account account;
	struct dt_call *call;
	__u64 address = 0;

	if (!thread)
		return 0;
	call = thread_call(thread, source);
	if ((!call->stack && !thread_outer(thread, source)->stack) || !account_reopen(&account, thread, call, source))
		return 0;
	if (!call_exit(&account, thread, source, arch_return_slot(ctx)))
		return 0;
	outcome = call_outcome(call, PT_REGS_RC(ctx), &address);
	if (outcome == CALL_ALLOCATED)
		account_walk(&account, PT_REGS_IP(ctx), PT_REGS_SP(ctx), PT_REGS_FP(ctx));
	thread->booked = address;
	call_book(&account, call, outcome, address);
	scratch_release(account.scratch);
	return 0;
}

/* The source of a probe's site. */
static __always_inline enum dt_source cookie_source(struct pt_regs *ctx)
{
	return site_row(bpf_get_attach_cookie(ctx))->source;
}

SEC("?uprobe")
int alloc_enter(struct pt_regs *ctx)
{
	stack_keep_own(ctx);
	return alloc_at_entry(ctx, bpf_get_attach_cookie(ctx));
}

SEC("?uprobe")
int alloc_exit(struct pt_regs *ctx)
{
	stack_keep_own(ctx);
	return alloc_at_return(ctx, cookie_source(ctx));
}

SEC("?uprobe")
int alloc_session(struct pt_regs *ctx)
{
	stack_keep_own(ctx);
	/* At the entry the instruction pointer is the probed address; at the return it is the caller's. */
	if (PT_REGS_IP(ctx) == bpf_get_func_ip(ctx))
		return alloc_at_entry(ctx, bpf_get_attach_cookie(ctx));
	return alloc_at_return(ctx, cookie_source(ctx));
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

/*
 * CPython's functions for objects hand a large block on to those of the family below: it is given back twice, and the second time
 * tells nothing.
 */
static __always_inline bool free_is_second(const struct account *account, struct dt_thread *thread, __u64 address)
{
	bool is_second;

	if (!thread)
		thread = thread_make(account);
	if (!thread)
		return false;
	is_second = thread->freed == address;
	thread->freed = address;
	return is_second;
}

/* `hands_on`: the function may end in another one that frees, which is then the same free. */
static __always_inline int free_at_entry(struct pt_regs *ctx, bool hands_on)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	const struct dt_site_row *site = site_row(cookie);
	struct dt_thread *thread = thread_find();
	enum dt_source source = site->source;
	struct call_registers registers;
	bool is_inner, is_second;
	struct account account;
	struct dt_call *call;
	__u64 address;

	arch_at_entry(ctx, &registers);
	address = arch_argument(&registers, site->block);
	if (!address || !account_open(&account, thread, source, 0) || !call_is_wanted(&account, cookie))
		return 0;
	/* What an allocator's function gives back itself is no block of anyone's, or the one that it was called with. */
	call = thread ? thread_call(thread, source) : NULL;
	is_inner = call && call_holds(call, account.row, registers.stack);
	if (is_inner && address == call->block)
		return 0;
	is_second = source == DT_SOURCE_PYTHON && free_is_second(&account, thread, address);
	if (hands_on && !thread)
		thread = thread_make(&account);
	if (!account_remove(&account, address) && !is_inner && !is_second && !(thread && release_holds(&account, thread, address, registers.stack)))
		count_add(free_is_allocators(ctx, process_row(account.row)) ? DT_COUNTER_allocator_frees : DT_COUNTER_unmatched_frees);
	if (hands_on && thread && !release_holds(&account, thread, address, registers.stack)) {
		thread->released = address;
		thread->released_stack = registers.stack;
		thread->released_generation = DT_SEGMENTS_GENERATION(account.segments);
	}
	return 0;
}

SEC("?uprobe")
int free_enter(struct pt_regs *ctx)
{
	stack_keep_own(ctx);
	return free_at_entry(ctx, false);
}

SEC("?uprobe")
int release_enter(struct pt_regs *ctx)
{
	stack_keep_own(ctx);
	return free_at_entry(ctx, true);
}

/* ---- operator new ------------------------------------------------------------------------------------------------ */

SEC("?uprobe")
int new_enter(struct pt_regs *ctx)
{
	__u32 site = bpf_get_attach_cookie(ctx);
	struct dt_thread *thread = thread_find();
	struct call_registers registers;
	struct account account;

	stack_keep_own(ctx);
	arch_at_entry(ctx, &registers);
	if (site >= DT_SITE_COUNT || !account_open(&account, thread, DT_SOURCE_LIBC, 0) ||
	    (thread && call_holds(thread_call(thread, DT_SOURCE_LIBC), account.row, registers.stack)))
		return 0;
	if (!thread)
		thread = thread_make(&account);
	if (thread)
		operator_new_enter(&account, thread, site, &registers);
	return 0;
}

/* At each `ret` that may end it: the stack pointer is where it was at the entry, all saved registers are the caller's again. */
SEC("?uprobe")
int new_exit(struct pt_regs *ctx)
{
	__u64 address = PT_REGS_RC(ctx), stack = PT_REGS_SP(ctx);
	struct dt_thread *thread = thread_find();
	struct account account;

	stack_keep_own(ctx);
	if (!thread || !operator_new_exit(thread, stack) || (address && address == thread->booked) ||
	    !account_reopen(&account, thread, &thread->operator_new, DT_SOURCE_LIBC))
		return 0;
	if (!address) {
		count_add(DT_COUNTER_failed_allocations);
		return 0;
	}
	thread->booked = address;
	account_walk(&account, thread->operator_new_return_address, stack + sizeof(stack), PT_REGS_FP(ctx));
	if (account_add(&account, address, thread->operator_new.bytes, NULL, false))
		count_add(DT_COUNTER_missed_frees);
	scratch_release(account.scratch);
	return 0;
}

/* ---- PyTraceMalloc_Track, PyTraceMalloc_Untrack; DT_DOMAIN_TRACK, DT_DOMAIN_UNTRACK ------------------------------- */

static __always_inline bool domain_is_wanted(__u32 domain)
{
	for (__u32 i = 0; i < DT_DOMAIN_FILTER_MAX && i < config.domain_count; i++)
		if (config.domains[i] == domain)
			return !config.domains_excluded;
	return config.domains_excluded || !config.domain_count;
}

/*
 * Is what a Track or Untrack tells of wanted? tracemalloc's domain 0 is CPython's own; NumPy 2.5 and later untracks there what it tracks
 * itself. Domains that a program declares are chosen by their names, which userspace knows.
 */
static __always_inline bool track_is_wanted(enum dt_source source, __u32 domain)
{
	return source == DT_SOURCE_DECLARED || (domain && domain_is_wanted(domain));
}

SEC("?uprobe")
int track_enter(struct pt_regs *ctx)
{
	__u64 address = PT_REGS_PARM2(ctx), bytes = PT_REGS_PARM3(ctx), stack = PT_REGS_SP(ctx), return_address = 0;
	enum dt_source source = cookie_source(ctx);
	__u32 domain = PT_REGS_PARM1(ctx);
	struct account account;

	stack_keep_own(ctx);
	if (!address || !track_is_wanted(source, domain) || !account_open(&account, thread_find(), source, domain))
		return 0;
	if (source == DT_SOURCE_DECLARED) {
		return_address = arch_behind_probe(ctx);
	} else {
		read_u64(stack, &return_address);
		stack += sizeof(return_address);
		if (untold_is_repeated(&account, return_address, address, bytes))
			return 0;
	}
	if (!account.thread)
		account.thread = thread_make(&account);
	account_walk(&account, return_address, stack, PT_REGS_FP(ctx));
	account_add(&account, address, bytes, NULL, false);
	scratch_release(account.scratch);
	return 0;
}

/* A block that may not be told of: booked as if it were. */
static __always_inline void track_untold(struct pt_regs *ctx, struct account *account, const struct dt_untold *untold, __u64 return_address)
{
	__u64 address, bytes;

	if (!untold_read(ctx, untold, &address, &bytes)) {
		/* Without a Track behind it, one of domain 0 may be the allocator's, whose caller tells of the block. */
		if (account->owner.domain ? domain_is_wanted(account->owner.domain) : untold->track)
			count_add(DT_COUNTER_blocks_untold);
		return;
	}
	account->owner.domain = untold->domain;
	if (!address || !domain_is_wanted(untold->domain))
		return;
	if (!account->thread)
		account->thread = thread_make(account);
	account_walk(account, return_address, PT_REGS_SP(ctx) + sizeof(return_address), PT_REGS_FP(ctx));
	account_add(account, address, bytes, NULL, false);
	scratch_release(account->scratch);
}

SEC("?uprobe")
int untrack_enter(struct pt_regs *ctx)
{
	__u32 domain = PT_REGS_PARM1(ctx);
	__u64 address = PT_REGS_PARM2(ctx), return_address;
	enum dt_source source = cookie_source(ctx);
	const struct dt_untold *untold;
	struct account account;

	stack_keep_own(ctx);
	if (!address || !account_open(&account, thread_find(), source, domain))
		return 0;
	if (track_is_wanted(source, domain) && !account_remove(&account, address))
		count_add(DT_COUNTER_unmatched_frees);
	if (source == DT_SOURCE_DECLARED || !untold_is_possible(process_row(account.row)) || !read_u64(PT_REGS_SP(ctx), &return_address))
		return 0;
	untold = untold_find(process_row(account.row), return_address);
	if (untold)
		track_untold(ctx, &account, untold, return_address);
	return 0;
}

/* ---- DT_DOMAIN_NAME ---------------------------------------------------------------------------------------------- */

/*
 * Up to `size` bytes that end with a NUL or at the end of what is there; false: not even the first is. May wait for the page, which nobody
 * need have touched; what lies behind its end is another one, which need not be there. Not by perf events: before 6.10 these hold a lock of
 * the CPU while their program runs (kernel/trace/trace_uprobe.c: prepare_uprobe_buffer()), and a target that lets its page be awaited
 * (userfaultfd) would hold up every traced process there.
 */
static __always_inline bool read_name(char *to, __u64 address)
{
	__u64 first = PAGE_MASK + 1 - (address & PAGE_MASK);

	if (!config.awaits_pages)
		return bpf_probe_read_user_str(to, DT_NAME_BYTES, (const void *)(unsigned long)address) >= 0;
	if (first >= DT_NAME_BYTES)
		return !bpf_copy_from_user(to, DT_NAME_BYTES, (const void *)(unsigned long)address);
	if (!bpf_copy_from_user(to, DT_NAME_BYTES, (const void *)(unsigned long)address))
		return true;
	asm volatile("" : "+r"(first)); /* else the optimiser takes the mask away, which is what the verifier believes */
	return !bpf_copy_from_user(to, first & (DT_NAME_BYTES - 1), (const void *)(unsigned long)address);
}

SEC("?uprobe.s")
int name_enter(struct pt_regs *ctx)
{
	struct dt_name_event name = { .event.type = DT_EVENT_NAME, .domain = PT_REGS_PARM1(ctx), .segment = DT_EPOCH_SEGMENT(epoch) };

	stack_keep_own(ctx);
	if (!image_of_thread(thread_find(), &name.event.slot))
		return 0;
	if (!read_name(name.name, PT_REGS_PARM2(ctx)) || bpf_ringbuf_output(&events, &name, sizeof(name), 0))
		count_add(DT_COUNTER_names_lost);
	return 0;
}

/* ---- what the books cannot follow -------------------------------------------------------------------------------- */

/*
 * Attached where the kernel runs no program in the child of a process that it attaches to alone: uprobe_multi, since 6.12
 * (kernel/trace/bpf_trace.c: uprobe_prog_run(), same_thread_group(); "bpf: Fix uprobe multi pid filter check").
 */
SEC("?uprobe")
int vfork_enter(struct pt_regs *ctx)
{
	__u32 slot;

	stack_keep_own(ctx);
	if (image_of_thread(thread_find(), &slot))
		count_add(DT_COUNTER_vforks_unseen);
	return 0;
}

/* An allocator drops all blocks of a heap at once; which these are it alone knows. */
SEC("?uprobe")
int drop_enter(struct pt_regs *ctx)
{
	__u32 slot;

	stack_keep_own(ctx);
	if (image_of_thread(thread_find(), &slot))
		count_add(DT_COUNTER_heaps_dropped);
	return 0;
}

/*
 * Does a name of jemalloc's mallctl() drop the blocks of an arena: arena.<i>.reset or arena.<i>.destroy (jemalloc 5.3, jemalloc(3))? The
 * last eight characters are in one word.
 */
static __always_inline bool control_drops(const char *name)
{
	__u64 end = 0;

	for (int i = 0; i < DT_NAME_BYTES && name[i]; i++) {
		end = end << 8 | (__u8)name[i];
		if (i == 5 && end != 0x6172656e612e /* arena. */)
			return false;
	}
	return end == 0x2e64657374726f79 /* .destroy */ || (end & 0xffffffffffff) == 0x2e7265736574 /* .reset */;
}

SEC("?uprobe.s")
int control_enter(struct pt_regs *ctx)
{
	char name[DT_NAME_BYTES] = "";
	__u32 slot;

	stack_keep_own(ctx);
	if (image_of_thread(thread_find(), &slot) && (!read_name(name, PT_REGS_PARM1(ctx)) || control_drops(name)))
		count_add(DT_COUNTER_heaps_dropped);
	return 0;
}

/* ---- CPython ----------------------------------------------------------------------------------------------------- */

/* The tp_dealloc of PyCode_Type: what is known of the code object is forgotten before its memory is used again. */
SEC("?uprobe")
int code_enter(struct pt_regs *ctx)
{
	__u32 slot;

	stack_keep_own(ctx);
	if (!image_of_thread(thread_find(), &slot))
		return 0;
	if (process_row(image_row(image_state(slot)))->python.frees_are_seen)
		python_known_remove(image_state(slot)->image, PT_REGS_PARM1(ctx));
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
static __always_inline void note_removal(struct dt_process_state *image, __u32 state)
{
	if ((state == LOADER_DELETE) != (image->removals & 1))
		atomic_add(&image->removals, 1);
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
	struct dt_event event = { .type = DT_EVENT_MAPPINGS };
	struct dt_process_state *image;
	__u32 state;

	stack_keep_own(ctx);
	(void)ctx;
	if (!image_of_thread(thread_find(), &event.slot))
		return 0;
	image = image_state(event.slot);
	if (!image_row(image))
		return 0;
	state = loader_state(process_row(image_row(image)));
	note_removal(image, state);
	if (bpf_ringbuf_output(&events, &event, sizeof(event), 0))
		count_add(DT_COUNTER_mappings_lost);
	if (image->hold && state == LOADER_CONSISTENT && is_main_thread() && kernel_signal_is_free())
		bpf_send_signal_thread(DT_HOLD_SIGNAL);
	return 0;
}

/* ---- markers ----------------------------------------------------------------------------------------------------- */

/* Sleepable: it waits, in steps that give the processor away. */
SEC("?uprobe.s")
int marker_enter(struct pt_regs *ctx)
{
	struct marker_wait *wait;
	__u32 slot;

	stack_keep_own(ctx);
	if (!image_of_thread(thread_find(), &slot) || !image_row(image_state(slot)))
		return 0;
	wait = thread_storage(&marker_waits, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!wait) {
		count_add(DT_COUNTER_markers_missed);
		return 0;
	}
	wait->readable = kernel_readable_address(PT_REGS_IP(ctx));
	wait->slot = slot;
	wait->image = image_state(slot)->image;
	marker_read_label(wait, bpf_get_attach_cookie(ctx), PT_REGS_PARM1(ctx));
	if (!marker_wait_for(wait, MARKER_TURN)) {
		count_add(DT_COUNTER_markers_missed);
		return 0;
	}
	marker_turn(wait);
	if (!marker_wait_for(wait, MARKER_READ))
		count_add(DT_COUNTER_markers_late);
	return 0;
}

/* ---- fork, exec, exit: where children, or all processes, are traced ---------------------------------------------- */

/* The child has not run yet. What shares its parent's memory (vfork, posix_spawn) is booked with that one. */
SEC("?tp_btf/sched_process_fork")
int process_fork(__u64 *ctx)
{
	const struct task_struct *parent = (void *)ctx[0], *child = (void *)ctx[1];
	struct dt_process_state *state;
	__u32 slot, heir, tgid;

	if (child->tgid == parent->tgid || !image_of_thread(thread_find(), &slot))
		return 0;
	tgid = image_tgid(child);
	if (!tgid)
		return 0;
	if (child->mm == parent->mm) {
		if (bpf_map_update_elem(&processes, &tgid, &slot, BPF_ANY))
			count_add(DT_COUNTER_processes_full);
		else
			atomic_add(&image_state(slot)->sharers, 1);
		return 0;
	}
	state = image_new(tgid, &heir);
	if (!state)
		return 0;
	image_inherit(state, slot);
	state->process_started_ns = child->start_boottime;
	if (parent->signal->nr_threads > 1)
		count_add(DT_COUNTER_forks_with_threads);
	image_show(state, tgid, heir);
	image_tell(heir);
	return 0;
}

/* The current thread is the only one of its process, and begins another program. */
SEC("?tp_btf/sched_process_exec")
int process_exec(__u64 *ctx)
{
	const struct task_struct *task = (void *)ctx[0];
	struct dt_thread *thread = thread_find();
	struct dt_process_state *state;
	__u32 tgid = current_tgid(), slot;
	const __u32 *found = bpf_map_lookup_elem(&processes, &tgid);
	__u32 ppid = 0;

	if (thread)
		__builtin_memset(thread, 0, sizeof(*thread));
	if (found) {
		ppid = image_state(*found)->tgid == tgid ? image_state(*found)->ppid : image_state(*found)->tgid;
		image_end(tgid, *found, DT_IMAGE_REPLACED);
		image_disinherit(tgid, *found);
	}
	if (config.follow == DT_FOLLOW_CHILDREN ? !found : !image_is_chosen(task, tgid))
		state = NULL;
	else
		state = image_new(tgid, &slot);
	if (!state) {
		bpf_map_delete_elem(&processes, &tgid);
		return 0;
	}
	state->ppid = ppid;
	state->process_started_ns = task->start_boottime; /* of the first thread, whose place the current one has taken */
	bpf_get_current_comm(state->comm, sizeof(state->comm));
	image_show(state, tgid, slot);
	image_tell(slot);
	return 0;
}

/* A thread ends that was in the middle of a call, perhaps: by the system call in a signal handler, or by seccomp. */
static __always_inline void thread_end(void)
{
	struct dt_thread *thread = thread_find();

	if (thread && thread->image && image_state(thread->slot)->image == thread->image)
		thread_abandon(thread);
}

/* A thread ends; its process does with the last one. */
SEC("?tp_btf/sched_process_exit")
int process_exit(__u64 *ctx)
{
	const struct task_struct *task = (void *)ctx[0];
	__u32 tgid = current_tgid();
	const __u32 *found;

	if (kernel_thread_ends_alone(task))
		thread_end();
	if (task->signal->live.counter)
		return 0;
	found = bpf_map_lookup_elem(&processes, &tgid);
	if (!found)
		return 0;
	image_end(tgid, *found, DT_IMAGE_ENDED);
	bpf_map_delete_elem(&processes, &tgid);
	return 0;
}
