/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * native: one step of the native walk: from a frame to the one that called it, by the unwind tables of the file whose code
 * it is. Code that no file holds (made by a JIT compiler) and files without tables are walked by frame pointers:
 * {caller's rbp, return address} at rbp (System V AMD64 ABI 1.0, figure 3.3).
 *
 * All state is in the scratch, which is map memory: what is read from there is unknown to the verifier, so that one pass over
 * the loop's body proves all of them.
 */

#define NATIVE_STACK_SPAN_MAX (1ull << 32) /* two frames of one stack are not further apart */

/* ---- frames ------------------------------------------------------------------------------------------------------ */

/*
 * Counts a frame, and keeps it while the limit of its kind is not reached. Returns its place in the traceback; −1: not kept.
 * In a mixed traceback nothing is kept behind the first frame that was not, so that there are no gaps in it.
 */
static __always_inline int frame_push(struct dt_scratch *scratch, __u32 kind, __u64 where, __u32 instruction)
{
	struct dt_traceback_event *traceback = &scratch->traceback;
	__u32 index = traceback->frame_count, kept = scratch->kept[kind & 1];

	traceback->total_frames++;
	if (kept >= config.frame_limit || index >= DT_TRACEBACK_FRAMES_MAX || scratch->is_cut) {
		scratch->is_cut = config.stack == DT_STACK_MIXED;
		return -1;
	}
	scratch->kept[kind & 1] = kept + 1;
	traceback->frame_count = index + 1;
	traceback->frames[index] = (struct dt_frame){ .where = where, .instruction = instruction, .kind = kind };
	traceback->traceback = hash_mix(traceback->traceback, where + instruction * 0x9e3779b97f4a7c15ull);
	return index;
}

/* ---- mappings ------------------------------------------------------------------------------------------------------ */

#define ASK_INTERVAL_NS 100000000

/* Asks userspace to look at the mappings again, now and then: an address that stays unknown may be none. */
static __always_inline void native_ask(__u32 slot)
{
	struct dt_process_state *state = image_state(slot);
	struct dt_event event = { .type = DT_EVENT_UNKNOWN, .slot = slot };
	__u64 asked_ns = state->asked_ns, now = bpf_ktime_get_ns();

	if (now - asked_ns < ASK_INTERVAL_NS || atomic_compare_and_swap(&state->asked_ns, asked_ns, now) != asked_ns)
		return;
	if (bpf_ringbuf_output(&events, &event, sizeof(event), 0))
		state->asked_ns = asked_ns;
}

/* Have libraries been unloaded since the mappings were read? Others may stand in their place. */
static __always_inline bool native_is_stale(const struct dt_process *process, const struct dt_scratch *scratch)
{
	__u32 removals = image_state(scratch->traceback.event.slot)->removals;

	return removals != process->removals || removals & 1;
}

#define MAPPING_STEPS 16                /* halves of DT_MAPPINGS_MAX */
_Static_assert(1 << MAPPING_STEPS == DT_MAPPINGS_MAX, "a search of the mappings must reach all of them");

/* The number of the last mapping of the process that does not begin above `address`. */
static __always_inline __u32 native_search_mappings(const struct dt_process *process, __u64 address)
{
	__u32 low = process->first_mapping, count = process->mapping_count;

	for (int i = 0; i < MAPPING_STEPS && count > 1; i++) {
		__u32 half = count >> 1;

		if (mappings[(low + half) & (DT_MAPPINGS_MAX - 1)].start <= address)
			low += half;
		count -= half;
	}
	return low & (DT_MAPPINGS_MAX - 1);
}

/* Makes the mapping of an address the current one. */
static __always_inline enum dt_truncation native_find_mapping(const struct dt_process *process, struct dt_scratch *scratch, __u64 address)
{
	const struct dt_mapping_row *found = &mappings[native_search_mappings(process, address)];
	struct native_state *native = &scratch->native;

	native->start = found->start;
	native->bytes = found->end - found->start;
	if (!process->mapping_count || address - native->start >= native->bytes) {
		native->bytes = 0;
		native_ask(scratch->traceback.event.slot);
		return DT_TRUNCATION_unknown_mapping;
	}
	if (found->flags & DT_MAPPING_RETURN_PROBES)
		return DT_TRUNCATION_return_probe;
	if (found->flags & DT_MAPPING_TABLE_LOST)
		return DT_TRUNCATION_no_rule;
	native->flags = found->flags;
	native->file = found->file;
	native->base = found->base;
	native->pages = found->pages;
	native->page_count = found->page_count;
	return DT_TRUNCATION_none;
}

/* ---- rules --------------------------------------------------------------------------------------------------------- */

static __always_inline const struct dt_unwind_chunk *native_chunk(__u32 word)
{
	__u32 number = word / DT_UNWIND_CHUNK_WORDS, first = 0;
	void *chunk = bpf_map_lookup_elem(&unwind_chunks, &number);

	return chunk ? bpf_map_lookup_elem(chunk, &first) : NULL;
}

static __always_inline __u32 chunk_word(const struct dt_unwind_chunk *chunk, __u32 word)
{
	return chunk->words[word & (DT_UNWIND_CHUNK_WORDS - 1)];
}

#define ROW_STEPS 12                    /* halves of the rows of a page */
_Static_assert(1 << ROW_STEPS == DT_UNWIND_PAGE_BYTES, "a search of a page's rows must reach all of them");

/* The number of the rule at an address of the current mapping. */
static __always_inline __u32 native_find_rule(struct dt_scratch *scratch, __u64 address)
{
	__u64 page = (address - scratch->native.base) / DT_UNWIND_PAGE_BYTES;
	__u32 word = scratch->native.pages + 2 * (__u32)page, low, count;
	const struct dt_unwind_chunk *chunk;

	if (address < scratch->native.base || page >= scratch->native.page_count)
		return DT_UNWIND_RULE_CHAIN;
	chunk = native_chunk(word);
	if (!chunk)
		return DT_UNWIND_RULE_NONE;
	low = chunk_word(chunk, word);
	count = chunk_word(chunk, word + 1);
	if (low / DT_UNWIND_CHUNK_WORDS != word / DT_UNWIND_CHUNK_WORDS) {
		chunk = native_chunk(low);
		if (!chunk)
			return DT_UNWIND_RULE_NONE;
	}
	for (int i = 0; i < ROW_STEPS && count > 1; i++) {
		__u32 half = count >> 1;

		if ((chunk_word(chunk, low + half) & 0xffff) <= (address & (DT_UNWIND_PAGE_BYTES - 1)))
			low += half;
		count -= half;
	}
	return chunk_word(chunk, low) >> 16;
}

/* ---- the stack ----------------------------------------------------------------------------------------------------- */

/*
 * The word at a byte offset of the window. The mask, hidden from the optimiser, is what the verifier believes; 6.12 forgets the
 * bounds of a number when another one, made from it by an addition, is compared.
 */
static __always_inline __u64 native_window_word(const struct dt_scratch *scratch, __u64 offset)
{
	offset /= 8;
	asm volatile("" : "+r"(offset));
	return scratch->stack[offset & (STACK_WINDOW_WORDS - 1)];
}

/*
 * Two words of the stack, `low` not above `high`. Frames follow each other closely, so one read of two KiB, which costs little
 * more than one of a word, serves several of them; where so much cannot be read (the stack ends), two words are read alone.
 */
static __always_inline bool native_read(struct dt_scratch *scratch, __u64 low, __u64 high, __u64 values[2])
{
	struct native_state *native = &scratch->native;
	__u64 offset = low - native->window;

	if (offset > sizeof(scratch->stack) - 8 || offset + 8 > native->window_bytes) {
		native->window = low;
		native->window_bytes = sizeof(scratch->stack);
		offset = 0;
		if (!read_bytes(scratch->stack, sizeof(scratch->stack), low)) {
			native->window_bytes = 0;
			if (!read_bytes(scratch->stack, 8, low))
				return false;
			native->window_bytes = 8;
		}
	}
	values[0] = native_window_word(scratch, offset);
	offset = high - native->window;
	if (offset <= sizeof(scratch->stack) - 8 && offset + 8 <= native->window_bytes) {
		values[1] = native_window_word(scratch, offset);
		return true;
	}
	return read_u64(high, &values[1]);
}

/* ---- from a frame to its caller -------------------------------------------------------------------------------------- */

/* The caller's registers have been found: goes there. */
static __always_inline enum dt_truncation native_return(struct dt_scratch *scratch, __u64 cfa, __u64 return_address, __u32 how)
{
	struct native_state *native = &scratch->native;

	/*
	 * The slot of a return that the kernel is to tell of holds the address of its trampoline, at the start of a page;
	 * the kernel remembers what stood there.
	 */
	if (!(return_address & PAGE_MASK) && return_address)
		return_address = kernel_return_address(cfa - 8, return_address);
	native->pc = return_address;
	native->stack = cfa;
	native->how = how;
	native->is_outermost = !return_address;
	return DT_TRUNCATION_none;
}

static __always_inline enum dt_truncation native_follow_frame_pointer(struct dt_scratch *scratch)
{
	struct native_state *native = &scratch->native;
	__u64 frame_pointer = native->frame_pointer, saved[2];

	if (!frame_pointer && !native->frame_pointer_unknown) { /* the ABI's mark of the outermost frame */
		native->is_outermost = 1;
		return DT_TRUNCATION_none;
	}
	if (native->frame_pointer_unknown || frame_pointer < native->stack ||
	    frame_pointer - native->stack > NATIVE_STACK_SPAN_MAX || frame_pointer & 7 ||
	    !native_read(scratch, frame_pointer, frame_pointer + 8, saved) || !saved[1])
		return DT_TRUNCATION_no_frame_pointer;
	native->frame_pointer = saved[0];
	return native_return(scratch, frame_pointer + 16, saved[1], DT_FRAME_CHAINED);
}

/* The frame is the one that the kernel made for a signal handler to return to. */
static __always_inline enum dt_truncation native_follow_signal(struct dt_scratch *scratch)
{
	struct native_state *native = &scratch->native;
	const __u64 *saved = scratch->stack; /* there is no room for them on the program's own stack */

	_Static_assert(ARCH_SIGNAL_WORDS <= STACK_WINDOW_WORDS, "the window must hold the saved registers");
	native->window_bytes = 0;
	if (!read_bytes(scratch->stack, ARCH_SIGNAL_WORDS * 8, native->stack + ARCH_SIGNAL_OFFSET))
		return DT_TRUNCATION_unreadable;
	native->pc = saved[ARCH_SIGNAL_PC];
	native->stack = saved[ARCH_SIGNAL_STACK];
	native->frame_pointer = saved[ARCH_SIGNAL_FRAME_POINTER];
	native->frame_pointer_unknown = 0;
	native->how = DT_FRAME_INTERRUPTED;
	/* The handler does not return behind a call, but to the start of this frame's code. */
	if (native->index >= 0)
		scratch->traceback.frames[native->index & (DT_TRACEBACK_FRAMES_MAX - 1)].instruction |= DT_FRAME_INTERRUPTED;
	return DT_TRUNCATION_none;
}

static __always_inline enum dt_truncation native_follow_rule(struct dt_scratch *scratch, const struct dt_unwind_rule *rule)
{
	struct native_state *native = &scratch->native;
	__u64 cfa = native->stack, slot, low, high, words[2];
	__s64 offset = rule->cfa_offset;
	__u8 kind = rule->cfa, saved = rule->frame_pointer & ~DT_SAVED_DERIVED;

	if (kind >= DT_CFA_FRAME && kind <= DT_CFA_FRAME_INDIRECT) {
		if (native->frame_pointer_unknown)
			return DT_TRUNCATION_unsupported_rule;
		cfa = native->frame_pointer;
	}
	if (kind == DT_CFA_PLT)
		offset = 8 + ((native->pc & 15) >= (__u64)offset) * 8;
	cfa += offset;
	if (kind == DT_CFA_FRAME_INDIRECT && !read_u64(cfa, &cfa))
		return DT_TRUNCATION_unreadable;
	/* Callers lie above; what does not is no stack. */
	if (cfa & 7 || cfa <= native->stack || cfa - native->stack > NATIVE_STACK_SPAN_MAX)
		return DT_TRUNCATION_unreadable;
	low = high = cfa - 8;
	slot = (saved == DT_SAVED_AT_FRAME ? native->frame_pointer : cfa) + 8 * (__s64)rule->frame_pointer_words;
	if (saved == DT_SAVED_AT_CFA || saved == DT_SAVED_AT_FRAME) {
		low = slot < low ? slot : low;
		high = slot > high ? slot : high;
	}
	if (!native_read(scratch, low, high, words)) {
		/*
		 * Behind the `leave` of a function that realigns its stack gcc 12 says still that the frame pointer is in the frame,
		 * which is gone: only who needs it then cannot go on.
		 */
		if (low == high || !read_u64(cfa - 8, &words[0]))
			return DT_TRUNCATION_unreadable;
		low = high;
		saved = DT_SAVED_UNKNOWN;
	}
	if (low != high)
		native->frame_pointer = slot == low ? words[0] : words[1];
	if (saved == DT_SAVED_UNKNOWN)
		native->frame_pointer_unknown = 1;
	else if (saved == DT_SAVED_AT_FRAME && native->frame_pointer_unknown)
		return DT_TRUNCATION_unsupported_rule;
	else if (saved != DT_SAVED_NOT)
		native->frame_pointer_unknown = 0;
	return native_return(scratch, cfa, slot == low && low != high ? words[1] : words[0],
			     rule->frame_pointer & DT_SAVED_DERIVED ? DT_FRAME_CHAINED : 0);
}

/* An address in the code that the frame is in: a return address may lie behind its function's end, the call does not. */
static __always_inline __u64 native_address(const struct native_state *native)
{
	return native->how & DT_FRAME_INTERRUPTED ? native->pc : native->pc - 1;
}

/* A library may go, and another one come to lie at its addresses: the traceback is told from those through that one. */
static __always_inline enum dt_truncation native_mix_file(const struct dt_process *process, struct dt_scratch *scratch, __u32 file)
{
	if (native_is_stale(process, scratch))
		return DT_TRUNCATION_stale_mapping;
	if (scratch->native.index >= 0)
		scratch->traceback.traceback = hash_mix(scratch->traceback.traceback, file);
	return DT_TRUNCATION_none;
}

/* The mapping was found by file.bpf.h: one bit of native_state.flags above DT_MAPPING_…. */
#define NATIVE_BY_FILE 0x80000000u

static __always_inline bool native_has_removed(const struct dt_scratch *scratch)
{
	return image_state(scratch->traceback.event.slot)->removals;
}

/* Userspace has not read the mapping, and may never: the frame itself says what it needs to know. */
static __always_inline void native_place_frame(struct dt_scratch *scratch, const struct native_known_rule *known)
{
	const struct native_state *native = &scratch->native;
	struct dt_traceback_event *traceback = &scratch->traceback;
	struct dt_frame *frame = &traceback->frames[native->index & (DT_TRACEBACK_FRAMES_MAX - 1)];

	if (native->index < 0)
		return;
	frame->where = known->place + (native->pc - known->address);
	frame->instruction |= DT_FRAME_IN_FILE;
	/* Numbered as it will be when the mapping is known, unless something else may have lain there before. */
	if (native_has_removed(scratch))
		traceback->traceback = hash_mix(traceback->traceback, known->file);
}

/* A version of mappings never changes, so what was found in it once holds; in the kernel's own, as long as nothing was removed. */
static __always_inline bool native_is_known(const struct dt_process *process, const struct dt_scratch *scratch,
					    const struct native_known_rule *known, __u64 address)
{
	if (known->address != address)
		return false;
	if (known->image)
		return known->image == scratch->image && !native_has_removed(scratch);
	return known->mappings_version == process->mappings_version;
}

/* Finds the rule of the current frame into native->rule. */
static __always_inline enum dt_truncation native_find(const struct dt_process *process, struct dt_scratch *scratch)
{
	struct native_state *native = &scratch->native;
	__u64 address = native_address(native);
	struct native_known_rule *known = &scratch->known_rules[address * 0x9e3779b97f4a7c15ull >> (64 - NATIVE_KNOWN_BITS)];

	if (!native_is_known(process, scratch, known, address)) {
		bool by_file;

		if (address - native->start >= native->bytes) {
			enum dt_truncation truncation = native_find_mapping(process, scratch, address);

			if (truncation)
				return truncation;
		}
		by_file = native->flags & NATIVE_BY_FILE;
		*known = (struct native_known_rule){ .address = address, .mappings_version = process->mappings_version,
						     .rule = native_find_rule(scratch, address), .flags = native->flags,
						     .file = native->file, .image = by_file ? scratch->image : 0,
						     .place = DT_FRAME_PLACE(native->file, address - native->start + native->mapping.file_offset) };
	}
	native->rule = known->rule;
	if (known->image)
		native_place_frame(scratch, known);
	return known->flags & DT_MAPPING_REMOVABLE ? native_mix_file(process, scratch, known->file) : DT_TRUNCATION_none;
}

/* Goes on to the caller of the current frame. Or sets is_outermost: there is none. */
static __always_inline enum dt_truncation native_step(const struct dt_process *process, struct dt_scratch *scratch)
{
	enum dt_truncation truncation = native_find(process, scratch);
	const struct dt_unwind_rule *rule;

	if (truncation)
		return truncation;
	rule = &unwind_rules[scratch->native.rule & (DT_UNWIND_RULES_MAX - 1)];
	switch (rule->cfa) {
	case DT_CFA_NONE:
		return DT_TRUNCATION_no_rule;
	case DT_CFA_UNSUPPORTED:
		return DT_TRUNCATION_unsupported_rule;
	case DT_CFA_END:
		scratch->native.is_outermost = 1;
		return DT_TRUNCATION_none;
	case DT_CFA_CHAIN:
		return native_follow_frame_pointer(scratch);
	case DT_CFA_SIGNAL:
		return native_follow_signal(scratch);
	default:
		return native_follow_rule(scratch, rule);
	}
}

/* The walk begins in a call that returns to `return_address`. */
static __always_inline void native_begin(struct dt_scratch *scratch, __u64 return_address, __u64 stack, __u64 frame_pointer)
{
	struct native_state *native = &scratch->native;

	native->pc = return_address;
	native->stack = stack;
	native->frame_pointer = frame_pointer;
	native->frame_pointer_unknown = 0;
	native->how = 0;
	native->is_outermost = 0;
	native->index = -1;
	native->bytes = 0;
	native->window_bytes = 0;
	native->window = 0;
	native->tries = 0;
}
