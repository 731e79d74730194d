/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * inflight: pairs the entry of an allocator call with its return, per thread.
 *
 * A call is known by the stack slot of its return address, which its return sees again. Calls of the family that it
 * makes itself lie deeper, or in the same slot when they are tail calls, and belong to it: one block, booked once, as
 * the outermost call was asked for. An entry further up, or in the same slot without a tail call, means that the earlier
 * call was left without returning. So no depth is counted, and nothing has to be repaired after a longjmp. What calls deeper
 * and is no allocator has interrupted the call: its own calls are the program's.
 */

/*
 * The kernel's trampoline stands in the slot of a return that is awaited; it lies at the start of a page
 * (kernel/events/uprobes.c: uprobe_get_trampoline_vaddr() is the start of the XOL area).
 */
static __always_inline bool call_is_awaited(__u64 slot)
{
	__u64 return_address;

	return read_u64(slot, &return_address) && !(return_address & PAGE_MASK);
}

/*
 * It is not known whose code a call comes from: it is taken for the allocator's, and may be a signal handler's, which is a loss. Not
 * where the kernel's trampoline stands, as in the slot of an allocator's function that has jumped on into another one.
 */
static __always_inline int caller_is_unknown(__u64 return_address)
{
	if (return_address & PAGE_MASK)
		count_add(DT_COUNTER_callers_unknown);
	return 1;
}

/* Is the entry whose return address lies at `stack` called by a file that allocates, as far as is known? To the verifier a function of its own. */
__noinline int call_is_by_allocator(__u32 row, __u64 stack)
{
	const struct dt_process *process = process_row(row);
	const struct dt_mapping_row *mapping;
	__u64 return_address;
	__u32 flags;

	if (!read_u64(stack, &return_address))
		return caller_is_unknown(~0ull);
	mapping = &mappings[native_search_mappings(process, return_address)];
	if (process->mapping_count && return_address - mapping->start < mapping->end - mapping->start)
		return (mapping->flags & (DT_MAPPING_ALLOCATOR | DT_MAPPING_RETURN_PROBES)) != 0;
	/* Programs that are not followed from their first moment on have no such. */
	if (!config.follow || !file_flags(return_address, &flags))
		return caller_is_unknown(return_address);
	return (flags & DT_MAPPING_ALLOCATOR) != 0;
}

/*
 * Does an entry whose return address lies at `stack` belong to the call that the thread is in? One that lies deeper does, if the
 * allocator makes it; else a signal handler does, or the thread has left the call by longjmp() and is deep in others by now.
 */
static __always_inline bool call_holds(const struct dt_call *call, __u32 row, __u64 stack)
{
	if (!call->stack || stack > call->stack || !call_is_awaited(call->stack))
		return false;
	return stack == call->stack || call_is_by_allocator(row, stack);
}

static __always_inline struct dt_call *thread_call(struct dt_thread *thread, enum dt_source source)
{
	return &thread->calls[source & (DT_SOURCES_CALLED - 1)];
}

static __always_inline struct dt_call *thread_outer(struct dt_thread *thread, enum dt_source source)
{
	return &thread->outers[source & (DT_SOURCES_CALLED - 1)];
}

static __always_inline __u64 call_bytes(const struct dt_site_row *site, const struct call_registers *registers)
{
	__u64 size = arch_argument(registers, site->size), count, small, large;

	if (site->count == DT_NONE)
		return size;
	count = arch_argument(registers, site->count);
	/* With a product over 64 bits the call will be refused. (BPF has no 128-bit product to test it with.) */
	small = size < count ? size : count;
	large = size < count ? count : size;
	if (small >> 32 || ((large >> 32) * small + ((large & 0xffffffff) * small >> 32)) >> 32)
		return ~0ull;
	return size * count;
}

/*
 * The thread left a call without returning from it. What it was to replace lives on, as far as anyone knows. To the verifier a function
 * of its own, which it proves once.
 */
__noinline int call_abandon(__u32 slot, __u32 source, struct dt_call *call)
{
	struct account account;

	if (!call)
		return 0;
	count_add(DT_COUNTER_calls_abandoned);
	if (call->has_old && account_begin(&account, slot, source, 0))
		live_put_back(&account, call->block, &call->old);
	call->stack = 0;
	return 0;
}

/*
 * The thread ends, and its process goes on: no call that it is in will return. (Of operator new it is not known whether the thread has left
 * it by an exception long ago, and what it was about to get there is nobody's: nothing is missing.)
 */
static __always_inline void thread_abandon(struct dt_thread *thread)
{
	for (__u32 source = 0; source < DT_SOURCES_CALLED; source++) {
		if (thread->calls[source].stack)
			call_abandon(thread->slot, source, &thread->calls[source]);
		if (thread->outers[source].stack)
			call_abandon(thread->slot, source, &thread->outers[source]);
	}
}

/*
 * The thread is in a call that the new one does not belong to. It may come back to it, from a signal handler or from what the allocator
 * has called; where that is so once already, it is taken for left.
 */
static __always_inline void call_leave(const struct account *account, enum dt_source source, struct dt_call *call,
				       struct dt_call *outer, __u64 stack)
{
	if (stack < call->stack && !outer->stack && call_is_awaited(call->stack))
		*outer = *call;
	else
		call_abandon(account_slot(account), source, call);
	call->stack = 0;
}

/* True: a call of its own has begun, its return is awaited. */
static __always_inline bool call_enter(const struct account *account, struct dt_thread *thread, enum dt_source source, __u32 site_number,
				       const struct call_registers *registers)
{
	struct dt_call *call = thread_call(thread, source), *outer = thread_outer(thread, source);
	const struct dt_site_row *site = site_row(site_number);

	if (outer->stack && registers->stack > outer->stack)
		call_abandon(account_slot(account), source, outer);
	if (call->stack) {
		if (call_holds(call, account->row, registers->stack))
			return false;
		call_leave(account, source, call, outer, registers->stack);
	}
	call->site = site_number;
	call->bytes = call_bytes(site, registers);
	call->block = site->shape == DT_SHAPE_OUT ? arch_argument(registers, site->out) :
		      site->block != DT_NONE ? arch_argument(registers, site->block) : 0;
	call->segments = account->segments;
	/* Taken out now: once the allocator has it back, another thread may get its address before we see the return. */
	call->has_old = site->block != DT_NONE && call->block && live_take(account, call->block, &call->old);
	call->stack = registers->stack;
	return true;
}

/* True: the call that the thread is in returns now; it is closed. */
static __always_inline bool call_exit(const struct account *account, struct dt_thread *thread, enum dt_source source, __u64 stack)
{
	struct dt_call *call = thread_call(thread, source), *outer = thread_outer(thread, source);

	if (outer->stack && (!call->stack || stack > call->stack)) {
		if (call->stack)
			call_abandon(account_slot(account), source, call);
		*call = *outer;
		outer->stack = 0;
	}
	if (!call->stack || stack < call->stack)
		return false;           /* nested, or begun before tracing */
	if (stack > call->stack) {
		call_abandon(account_slot(account), source, call);
		return false;
	}
	call->stack = 0;
	return true;
}

enum call_outcome {
	CALL_FAILED,                    /* nothing has changed */
	CALL_FREED,                     /* realloc to 0 bytes */
	CALL_ALLOCATED,
	CALL_UNREADABLE,                /* allocated, but where cannot be read */
};

/* What a call that returned `result` did; *address is the new block. */
static __always_inline enum call_outcome call_outcome(const struct dt_call *call, __u64 result, __u64 *address)
{
	__u8 shape = site_row(call->site)->shape;

	if (shape == DT_SHAPE_OUT) {
		if ((__s32)result)      /* an int: the upper half of the register is not defined */
			return CALL_FAILED;
		return read_u64(call->block, address) ? CALL_ALLOCATED : CALL_UNREADABLE;
	}
	if (shape == DT_SHAPE_RESIZE) {
		*address = call->block;
		return result >= call->bytes ? CALL_ALLOCATED : CALL_FAILED;
	}
	*address = result;
	if (result)
		return CALL_ALLOCATED;
	if (!call->block || shape == DT_SHAPE_ALLOC)
		return CALL_FAILED;
	if (call->bytes && shape == DT_SHAPE_REALLOCF)
		count_add(DT_COUNTER_failed_allocations);
	return call->bytes && shape != DT_SHAPE_REALLOCF ? CALL_FAILED : CALL_FREED;
}

/* Books a call that has returned. The account's scratch holds its traceback if it allocated. */
static __always_inline void call_book(const struct account *account, const struct dt_call *call, enum call_outcome outcome, __u64 address)
{
	bool replaces = call->has_old, temporary;

	if (outcome == CALL_FAILED) {
		count_add(DT_COUNTER_failed_allocations);
		if (replaces)
			live_put_back(account, call->block, &call->old);
		return;
	}
	if (!replaces && call->block && site_row(call->site)->block != DT_NONE)
		count_add(DT_COUNTER_unmatched_frees);
	temporary = replaces && account_take_last(account, call->block, &call->old);
	if (outcome == CALL_ALLOCATED) {
		if (account_add(account, address, call->bytes, replaces ? &call->old : NULL, temporary))
			count_add(DT_COUNTER_missed_frees);
		return;
	}
	if (replaces)
		account_end(account, &call->old, temporary);
	if (outcome == CALL_UNREADABLE)
		count_add(DT_COUNTER_arguments_unreadable);
}

/*
 * operator new may be left by an exception, which the kernel's return trampoline on the stack would stop: the program would be
 * terminated. So its return is not probed, but the `ret` instructions that its code ends with, and whether a call of it is still going on is not
 * known. What is called inside (the new handler, the exception's own memory) may be the program's. So it holds no call: each books what
 * it returns, the innermost first, and a block that is booked already is not booked again.
 */
static __always_inline void operator_new_enter(const struct account *account, struct dt_thread *thread, __u32 site_number,
					       const struct call_registers *registers)
{
	struct dt_call *call = &thread->operator_new;
	__u64 return_address = 0;

	call->stack = read_u64(registers->stack, &return_address) ? registers->stack : 0;
	call->site = site_number;
	call->bytes = call_bytes(site_row(site_number), registers);
	call->segments = account->segments;
	thread->operator_new_return_address = return_address;
	thread->booked = 0;
}

/*
 * Does the thread return from it now, from the slot at `stack`? The same `ret` may end other functions, too; should an
 * earlier call have been left by an exception, then another call has left another return address in its slot.
 */
static __always_inline bool operator_new_exit(struct dt_thread *thread, __u64 stack)
{
	__u64 return_address;

	if (!thread->operator_new.stack || stack != thread->operator_new.stack || !read_u64(stack, &return_address) ||
	    return_address != thread->operator_new_return_address)
		return false;
	thread->operator_new.stack = 0;
	return true;
}

/* Is a free of `block` from the slot at `stack` the rest of a RELEASE that the thread is in? */
static __always_inline bool release_holds(const struct account *account, const struct dt_thread *thread, __u64 block, __u64 stack)
{
	return thread->released == block && stack <= thread->released_stack &&
	       thread->released_generation == DT_SEGMENTS_GENERATION(account->segments);
}
