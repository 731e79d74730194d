/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * truth.h: the books that a workload keeps of its own allocations, and the one line of JSON that tells them.
 *
 * A workload is driven through its standard input and output (tests/cases/harness.py):
 *   it prints {"pid": …} and waits for a line; that is when the tracer attaches
 *   it performs its operations, prints the truth, and waits for another line; that is when a snapshot is taken
 * With --from-start the truth also holds what was allocated before the first line: for traces that begin with exec.
 *
 * Nothing here allocates, and nothing a workload does between the two lines may, but for what it books: the whole
 * libc table of its process must then be the truth, row by row.
 */
#ifndef DT_WORKLOAD_TRUTH_H
#define DT_WORKLOAD_TRUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A function whose name the truth tells: it keeps its own frame and is neither inlined, cloned nor renamed. */
#define SITE static __attribute__((noipa))

#define TRUTH_ROWS_MAX 128
#define TRUTH_BLOCKS_BITS 18
#define TRUTH_BLOCKS_MAX (1u << TRUTH_BLOCKS_BITS)

/* Who allocates: the immediate caller of the allocator and its caller. */
struct truth_name {
	const char *function;           /* alternatives are separated by '|' */
	const char *caller;             /* NULL: not known, not compared */
	const char *module;             /* instead of `function`: base name of the module the caller lies in */
};

struct truth_row {
	uint64_t allocations, allocated_bytes, frees, freed_bytes;
	uint64_t at_peak_bytes, temporary;
};

struct truth {
	struct truth_row rows[TRUTH_ROWS_MAX];
	uint64_t live_bytes, peak_bytes;
	uintptr_t last;                 /* the block that was allocated last; 0: it has gone */
	uint64_t unmatched_frees, missed_frees, allocator_frees, failed_allocations;
};

static inline void truth_book_allocation(struct truth *truth, unsigned row, uint64_t bytes)
{
	truth->rows[row].allocations++;
	truth->rows[row].allocated_bytes += bytes;
	truth->live_bytes += bytes;
	if (truth->live_bytes <= truth->peak_bytes)
		return;
	truth->peak_bytes = truth->live_bytes;
	for (unsigned i = 0; i < TRUTH_ROWS_MAX; i++)
		truth->rows[i].at_peak_bytes = truth->rows[i].allocated_bytes - truth->rows[i].freed_bytes;
}

static inline void truth_book_free(struct truth *truth, unsigned row, uint64_t bytes)
{
	truth->rows[row].frees++;
	truth->rows[row].freed_bytes += bytes;
	truth->live_bytes -= bytes;
}

/* Adds what one thread booked. The sum has no peak, and nothing at it: nobody saw all threads at one moment. */
static inline void truth_add(struct truth *sum, const struct truth *part)
{
	for (unsigned i = 0; i < TRUTH_ROWS_MAX; i++) {
		sum->rows[i].allocations += part->rows[i].allocations;
		sum->rows[i].allocated_bytes += part->rows[i].allocated_bytes;
		sum->rows[i].frees += part->rows[i].frees;
		sum->rows[i].freed_bytes += part->rows[i].freed_bytes;
	}
	sum->unmatched_frees += part->unmatched_frees;
	sum->missed_frees += part->missed_frees;
	sum->allocator_frees += part->allocator_frees;
	sum->failed_allocations += part->failed_allocations;
}

/* ---- live blocks, for workloads of one thread: open addressing, linear probing ------------------------------- */

struct truth_block {
	uintptr_t address;              /* 0: free slot */
	uint64_t bytes;
	uint32_t row;
	bool older;                     /* than the trace */
};

static struct truth_block truth_blocks[TRUTH_BLOCKS_MAX];
static unsigned truth_block_count;

static inline void truth_stop(const char *reason)
{
	ssize_t ignored = write(STDERR_FILENO, reason, strlen(reason));

	(void)ignored;
	_exit(99);
}

static inline unsigned truth_block_slot(uintptr_t address)
{
	uint64_t hash = (uint64_t)(address >> 4) * 0x9e3779b97f4a7c15ull;
	unsigned slot = (unsigned)(hash >> (64 - TRUTH_BLOCKS_BITS));

	while (truth_blocks[slot].address && truth_blocks[slot].address != address)
		slot = (slot + 1) & (TRUTH_BLOCKS_MAX - 1);
	return slot;
}

static inline void truth_block_put(const struct truth_block *block)
{
	if (++truth_block_count > TRUTH_BLOCKS_MAX / 2)
		truth_stop("truth: more live blocks than the table is made for\n");
	truth_blocks[truth_block_slot(block->address)] = *block;
}

/* Takes the block out of the table. Later entries of its run move up, so that no search ends too early. */
static inline bool truth_block_take(uintptr_t address, struct truth_block *ret_block)
{
	unsigned slot = truth_block_slot(address);
	struct truth_block moved;

	if (!truth_blocks[slot].address)
		return false;
	*ret_block = truth_blocks[slot];
	truth_blocks[slot].address = 0;
	truth_block_count--;
	for (;;) {
		slot = (slot + 1) & (TRUTH_BLOCKS_MAX - 1);
		if (!truth_blocks[slot].address)
			return true;
		moved = truth_blocks[slot];
		truth_blocks[slot].address = 0;
		truth_blocks[truth_block_slot(moved.address)] = moved;
	}
}

/* The trace begins: what is live now is older than it. */
static inline void truth_begin(struct truth *truth)
{
	for (unsigned i = 0; i < TRUTH_BLOCKS_MAX; i++)
		truth_blocks[i].older = true;
	memset(truth, 0, sizeof(*truth));
}

static inline void truth_block_end(struct truth *truth, const struct truth_block *block)
{
	if (block->older)
		truth->unmatched_frees++;
	else
		truth_book_free(truth, block->row, block->bytes);
}

/* An allocator returned `address` (0: it refused). */
static inline void truth_allocated(struct truth *truth, unsigned row, uintptr_t address, uint64_t bytes)
{
	struct truth_block block = { address, bytes, row, false }, missed;

	if (!address) {
		truth->failed_allocations++;
		return;
	}
	if (truth_block_take(address, &missed) && !missed.older) {
		truth->missed_frees++;
		truth_block_end(truth, &missed);
	}
	truth_book_allocation(truth, row, bytes);
	truth_block_put(&block);
	truth->last = address;
}

/* `address` is about to be freed. */
static inline void truth_freed(struct truth *truth, uintptr_t address)
{
	struct truth_block block;

	if (!address)
		return;
	if (!truth_block_take(address, &block))
		truth_stop("truth: a block is freed that was never booked\n");
	truth_block_end(truth, &block);
	if (truth->last != address)
		return;
	truth->rows[block.row].temporary += !block.older;
	truth->last = 0;
}

/* realloc(old, bytes) returned `address`. One step: there is no moment at which both blocks count. */
static inline void truth_reallocated(struct truth *truth, unsigned row, uintptr_t old, uintptr_t address, uint64_t bytes,
				     bool frees)
{
	if (!address && !frees) {
		truth->failed_allocations++;
		return;
	}
	truth_freed(truth, old);
	if (address)
		truth_allocated(truth, row, address, bytes);
}

/* ---- the protocol ------------------------------------------------------------------------------------------- */

static char truth_text[256 * 1024];
static size_t truth_text_length;

static inline void truth_put_string(const char *string)
{
	size_t length = strlen(string);

	if (truth_text_length + length > sizeof(truth_text))
		truth_stop("truth: the text buffer is too small\n");
	memcpy(truth_text + truth_text_length, string, length);
	truth_text_length += length;
}

static inline void truth_put_number(uint64_t number)
{
	char digits[24];
	size_t at = sizeof(digits) - 1;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	truth_put_string(digits + at);
}

static inline void truth_put_field(const char *name, uint64_t number)
{
	truth_put_string("\"");
	truth_put_string(name);
	truth_put_string("\": ");
	truth_put_number(number);
}

static inline void truth_put_name(const char *name, const char *value)
{
	truth_put_string("\"");
	truth_put_string(name);
	truth_put_string(value ? "\": \"" : "\": ");
	truth_put_string(value ? value : "null");
	truth_put_string(value ? "\", " : ", ");
}

static inline void truth_flush(void)
{
	size_t done = 0;
	ssize_t written;

	while (done < truth_text_length) {
		written = write(STDOUT_FILENO, truth_text + done, truth_text_length - done);
		if (written <= 0)
			_exit(98);
		done += (size_t)written;
	}
	truth_text_length = 0;
}

/* Waits for a line on standard input; its end is as good as a line. */
static inline void truth_wait(void)
{
	char c;

	while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
		;
}

static inline void truth_print_pid(void)
{
	truth_put_string("{");
	truth_put_field("pid", (uint64_t)getpid());
	truth_put_string("}\n");
	truth_flush();
}

static inline void truth_put_row(const struct truth_name *name, const struct truth_row *row)
{
	truth_put_string("{");
	truth_put_name("function", name->function);
	truth_put_name("caller", name->caller);
	truth_put_name("module", name->module);
	truth_put_field("blocks", row->allocations - row->frees);
	truth_put_string(", ");
	truth_put_field("bytes", row->allocated_bytes - row->freed_bytes);
	truth_put_string(", ");
	truth_put_field("allocations", row->allocations);
	truth_put_string(", ");
	truth_put_field("allocated_bytes", row->allocated_bytes);
	truth_put_string(", ");
	truth_put_field("at_peak_bytes", row->at_peak_bytes);
	truth_put_string(", ");
	truth_put_field("temporary", row->temporary);
	truth_put_string("}");
}

static inline void truth_put_totals(const struct truth *truth)
{
	struct truth_row sum = { 0, 0, 0, 0, 0, 0 };

	for (unsigned i = 0; i < TRUTH_ROWS_MAX; i++) {
		sum.allocations += truth->rows[i].allocations;
		sum.allocated_bytes += truth->rows[i].allocated_bytes;
		sum.frees += truth->rows[i].frees;
		sum.freed_bytes += truth->rows[i].freed_bytes;
	}
	truth_put_string("], \"total\": {");
	truth_put_field("live_blocks", sum.allocations - sum.frees);
	truth_put_string(", ");
	truth_put_field("live_bytes", sum.allocated_bytes - sum.freed_bytes);
	truth_put_string(", ");
	truth_put_field("peak_bytes", truth->peak_bytes);
	truth_put_string(", ");
	truth_put_field("allocations", sum.allocations);
	truth_put_string(", ");
	truth_put_field("allocated_bytes", sum.allocated_bytes);
	truth_put_string(", ");
	truth_put_field("frees", sum.frees);
	truth_put_string(", ");
	truth_put_field("freed_bytes", sum.freed_bytes);
}

/* `facts`: more fields for the driver ("\"moved\": 1"), or "". Rows without any allocation are not told. */
static inline void truth_print(const struct truth *truth, const struct truth_name *names, unsigned count, const char *facts)
{
	const char *separator = "";

	truth_put_string("{\"rows\": [");
	for (unsigned i = 0; i < count; i++) {
		if (!truth->rows[i].allocations)
			continue;
		truth_put_string(separator);
		truth_put_row(&names[i], &truth->rows[i]);
		separator = ", ";
	}
	truth_put_totals(truth);
	truth_put_string("}, \"counters\": {");
	truth_put_field("unmatched_frees", truth->unmatched_frees);
	truth_put_string(", ");
	truth_put_field("missed_frees", truth->missed_frees);
	truth_put_string(", ");
	truth_put_field("allocator_frees", truth->allocator_frees);
	truth_put_string(", ");
	truth_put_field("failed_allocations", truth->failed_allocations);
	truth_put_string("}, \"facts\": {");
	truth_put_string(facts);
	truth_put_string("}}\n");
	truth_flush();
}

static inline bool truth_has_option(int argc, char **argv, const char *option)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], option))
			return true;
	return false;
}

/* The number behind `option`, or `otherwise`. */
static inline uint64_t truth_number_option(int argc, char **argv, const char *option, uint64_t otherwise)
{
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], option))
			return strtoull(argv[i + 1], NULL, 0);
	return otherwise;
}

#endif
