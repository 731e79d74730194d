/* SPDX-License-Identifier: BSD-2-Clause */
/* coded_file: a file of small functions, each with one unwind rule, and a walk that begins in the first of them. */
#ifndef TEST_CODED_FILE_H
#define TEST_CODED_FILE_H

#include "books.h"

#define TOP (HOST_STACK(0) + 1024)
#define CODE 0x555555554000ull          /* where the first file's code is mapped */
#define PAGES 4
#define FUNCTION(n) (CODE + 0x100 * (__u64)(n)) /* one of 256 bytes, each with one rule */
#define CALL(n) (FUNCTION(n) + 0x20)    /* where a call in it returns to */

/* ---- tables ------------------------------------------------------------------------------------------------------- */

static __u32 next_word, next_rule;

static inline __u32 *word_at(__u32 word)
{
	__u32 number = word / DT_UNWIND_CHUNK_WORDS, first = 0;
	void *map = bpf_map_lookup_elem(&unwind_chunks, &number);
	struct dt_unwind_chunk *chunk = bpf_map_lookup_elem(map, &first);

	return &chunk->words[word % DT_UNWIND_CHUNK_WORDS];
}

static inline __u32 add_rule(struct dt_unwind_rule rule)
{
	unwind_rules[++next_rule] = rule;
	return next_rule;
}

/* Functions of the file at CODE, one rule each; what follows them has none. */
static inline void put_file(const struct dt_unwind_rule *rules, __u32 count)
{
	__u32 index = next_word;

	next_word += 2 * PAGES;
	for (__u32 page = 0; page < PAGES; page++) {
		*word_at(index + 2 * page) = next_word;
		*word_at(index + 2 * page + 1) = 16;
		for (__u32 i = 0; i < 16; i++) {
			__u32 function = 16 * page + i;

			*word_at(next_word++) = DT_UNWIND_ROW(0x100 * i, function < count ? add_rule(rules[function]) : 0);
		}
	}
	mappings[0] = (struct dt_mapping_row){ .start = CODE, .end = CODE + PAGES * DT_UNWIND_PAGE_BYTES, .base = CODE,
					       .pages = index, .page_count = PAGES };
}

/* The stack pointer of FUNCTION(0): behind the return address of malloc. */
#define STACK (TOP + 8)

static inline const struct dt_traceback_event *walk_from(__u64 caller)
{
	static __u64 address = 0x7700000000;

	host_drain();
	host_clear(HOST_TGID);
	host_enter(DT_SITE_malloc, TOP, caller, 8, 0, 0);
	host_leave(TOP, address += 16);
	return host_event(DT_EVENT_TRACEBACK, 0);
}

#endif
