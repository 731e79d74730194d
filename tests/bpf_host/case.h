/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * case: a recorded case: a thread of a real program that was stopped at the first instruction of a function, and all that the
 * walker reads to find its callers. One item a line, numbers in hexadecimal unless said otherwise:
 *
 *	about TEXT                      what was recorded, for people
 *	register stack|frame_pointer|thread_pointer VALUE
 *	python FIELD VALUE              of struct dt_interpreter; none: no CPython
 *	layout FIELD VALUE              of its struct dt_python_layout
 *	mapping START END BASE PAGES FLAGS      struct dt_mapping_row, by address
 *	page NUMBER                     of the last mapping's table; pages that are not told have no rule
 *	row OFFSET CFA CFA_OFFSET SAVED WORDS   of the last page: struct dt_unwind_rule, kinds by name, SAVED perhaps with +derived
 *	memory ADDRESS BYTES            by address
 *	frame native WHERE NAME         what another unwinder says, most recent call first; the name is for people
 *	frame interrupted WHERE NAME
 *	frame python LINE FILE NAME     what the program itself says; separated by tabs, the line is decimal
 *
 * What lies in a folder named after an architecture was recorded on it, and is replayed by tests that are built for it.
 */
#ifndef TEST_CASE_H
#define TEST_CASE_H

#include <inttypes.h>
#include <stdio.h>

#include "host.h"

#define CASE_INTERPRETER(F) \
	F(present) F(thread_current) F(thread_key) F(thread_variable) F(current_is_local) F(tls_module) F(tls_first_block) \
	F(tls_blocks) F(eval[0].start) F(eval[0].end) F(eval[1].start) F(eval[1].end)

#define CASE_LAYOUT(F) \
	F(thread_frame) F(thread_thread_id) F(cframe_frame) F(frame_bytes) F(frame_code) F(frame_previous) \
	F(frame_instruction) F(frame_owner) F(frame_entry) F(code_first_line) F(code_filename) F(code_name) F(code_lines) \
	F(code_first_traceable) F(code_bytecode) F(string_length) F(string_state) F(string_ascii_data) F(string_data) \
	F(bytes_size) F(bytes_data) F(frames_are_neighbours) F(instruction_unit) F(entry_least) F(lines_format)

/* The names of enum dt_cfa and enum dt_saved: their numbers may change. */
static const char *const case_cfa[DT_CFA_COUNT] = {
	[DT_CFA_NONE] = "none", [DT_CFA_CHAIN] = "chain", [DT_CFA_END] = "end", [DT_CFA_UNSUPPORTED] = "unsupported",
	[DT_CFA_STACK] = "stack", [DT_CFA_FRAME] = "frame", [DT_CFA_FRAME_INDIRECT] = "frame_indirect", [DT_CFA_PLT] = "plt",
	[DT_CFA_SIGNAL] = "signal",
};

static const char *const case_saved[] = {
	[DT_SAVED_NOT] = "not", [DT_SAVED_AT_CFA] = "at_cfa", [DT_SAVED_AT_FRAME] = "at_frame", [DT_SAVED_UNKNOWN] = "unknown",
};

/* ---- the tables that the walker looks into -------------------------------------------------------------------------- */

static __u32 case_next_word, case_next_rule;
static __u32 case_no_rows;              /* word with the one row of all pages that are not told */

static inline __u32 *case_word(__u32 word)
{
	__u32 number = word / DT_UNWIND_CHUNK_WORDS, first = 0;
	void *map = bpf_map_lookup_elem(&unwind_chunks, &number);
	struct dt_unwind_chunk *chunk = bpf_map_lookup_elem(map, &first);

	return &chunk->words[word % DT_UNWIND_CHUNK_WORDS];
}

/* So many words in one chunk, beginning at an even one. */
static inline __u32 case_reserve(__u32 words)
{
	__u32 first = (case_next_word + 1) & ~1u;

	if (first / DT_UNWIND_CHUNK_WORDS != (first + words - 1) / DT_UNWIND_CHUNK_WORDS)
		first = (first / DT_UNWIND_CHUNK_WORDS + 1) * DT_UNWIND_CHUNK_WORDS;
	case_next_word = first + words;
	return first;
}

static inline __u32 case_rule(const struct dt_unwind_rule *rule)
{
	for (__u32 i = 0; i <= case_next_rule; i++)
		if (!memcmp(&unwind_rules[i], rule, sizeof(*rule)))
			return i;
	unwind_rules[++case_next_rule] = *rule;
	return case_next_rule;
}

/* A mapping behind all others, none of whose pages has rules yet. */
static inline struct dt_mapping_row *case_add_mapping(__u64 start, __u64 end, __u64 base, __u32 page_count, __u32 flags)
{
	struct dt_process *process = host_process(HOST_TGID);
	struct dt_mapping_row *row = &mappings[process->mapping_count++];

	*row = (struct dt_mapping_row){ .start = start, .end = end, .base = base, .page_count = page_count, .flags = flags };
	row->pages = case_next_word = (case_next_word + 1) & ~1u;
	case_next_word += 2 * page_count; /* the index may cross chunks */
	for (__u32 page = 0; page < page_count; page++) {
		*case_word(row->pages + 2 * page) = case_no_rows;
		*case_word(row->pages + 2 * page + 1) = 1;
	}
	return row;
}

static inline void case_put_page(const struct dt_mapping_row *mapping, __u32 page, const __u32 *rows, __u32 count)
{
	__u32 first = case_reserve(count);

	assert_true(page < mapping->page_count);
	for (__u32 i = 0; i < count; i++)
		*case_word(first + i) = rows[i];
	*case_word(mapping->pages + 2 * page) = first;
	*case_word(mapping->pages + 2 * page + 1) = count;
}

/* ---- the thread ------------------------------------------------------------------------------------------------------ */

struct case_registers {
	__u64 stack, frame_pointer, thread_pointer;
};

/* A process without anything: no mappings, no CPython. */
static inline struct dt_process *case_begin(void)
{
	host_setup(NULL);
	host_drain();
	case_next_word = 0;
	case_next_rule = DT_UNWIND_RULE_CHAIN;
	unwind_rules[DT_UNWIND_RULE_NONE] = (struct dt_unwind_rule){ .cfa = DT_CFA_NONE };
	unwind_rules[DT_UNWIND_RULE_CHAIN] = (struct dt_unwind_rule){ .cfa = DT_CFA_CHAIN };
	case_no_rows = case_reserve(1);
	*case_word(case_no_rows) = 0;
	host_config()->frame_limit = DT_FRAMES_MAX;
	host_process(HOST_TGID)->mapping_count = 0;
	return host_process(HOST_TGID);
}

/* What the walker makes of it, in a generation of its own, so that everything is sent, and with nothing known of rules. */
static inline const struct dt_traceback_event *case_walk(const struct case_registers *registers, enum dt_stack stack)
{
	const struct dt_traceback_event *event, *last = NULL;
	struct pt_regs context = { .rsp = registers->stack, .rbp = registers->frame_pointer, .rdi = 389047, .rsi = 0x1000, .rdx = 1 };

	host_config()->stack = stack;
	host_clear(HOST_TGID);
	host_process(HOST_TGID)->mappings_version++;
	host_current->task.thread.fsbase = registers->thread_pointer;
	host_cookie = DT_SITE_PyTraceMalloc_Track;
	track_enter(&context);
	for (unsigned int i = 0; (event = host_event(DT_EVENT_TRACEBACK, i)); i++)
		last = event;           /* code objects of earlier ones stay: they are sent once */
	return last;
}

#endif
