// SPDX-License-Identifier: BSD-2-Clause
/* The records of the unwind_* workloads: taken without any allocation, also in signal handlers and in several threads. */
#include "unwind.h"

#ifndef UNWIND_MARKS_ALONE
#include <execinfo.h>
#endif

#include "truth.h"

#define RECORDS_MAX 4096
#define MARKS_MAX 65536
#define ADDRESSES_MAX 262144
#define DEPTH_MAX 2200
#define NAME_MAX_BYTES 40

struct record {
	uint64_t bytes;
	enum unwind_fact fact;
	unsigned load;
	uint32_t mark, mark_count;
	uint32_t address, address_count;
};

static struct record records[RECORDS_MAX];
static struct { char function[NAME_MAX_BYTES]; uintptr_t return_address; } marks[MARKS_MAX];
static uintptr_t addresses[ADDRESSES_MAX];
static uint32_t record_count, mark_count, address_count;
static bool recording;

__thread struct unwind_mark *unwind_marks;
__thread enum unwind_fact unwind_fact;
unsigned unwind_load;

/* `count` neighbours of an array; signal handlers and threads may ask at any moment. */
static uint32_t claim(uint32_t *taken, uint32_t count, uint32_t max)
{
	uint32_t first = __atomic_fetch_add(taken, count, __ATOMIC_RELAXED);

	if (first + count > max)
		truth_stop("unwind: too many records\n");
	return first;
}

static void record_marks(struct record *record)
{
	uint32_t count = 0;

	for (const struct unwind_mark *mark = unwind_marks; mark; mark = mark->outer)
		count++;
	record->mark = claim(&mark_count, count, MARKS_MAX);
	record->mark_count = count;
	count = record->mark;
	for (const struct unwind_mark *mark = unwind_marks; mark; mark = mark->outer, count++) {
		if (strlen(mark->function) >= NAME_MAX_BYTES)
			truth_stop("unwind: a function with a long name\n");
		strcpy(marks[count].function, mark->function); /* a library takes its own names away */
		marks[count].return_address = (uintptr_t)mark->return_address;
	}
}

#ifndef UNWIND_MARKS_ALONE
static __thread void *found[DEPTH_MAX];

/* What backtrace() finds, from `return_address` outwards: the frames before it are those of this file. */
static void record_addresses(struct record *record, uintptr_t return_address)
{
	int count = backtrace(found, DEPTH_MAX), first = 0;

	while (first < count && (uintptr_t)found[first] != return_address)
		first++;
	if (first == count || count == DEPTH_MAX)
		truth_stop("unwind: backtrace() does not find the caller, or no end\n");
	record->address_count = (uint32_t)(count - first);
	record->address = claim(&address_count, record->address_count, ADDRESSES_MAX);
	for (int i = first; i < count; i++)
		addresses[record->address + (uint32_t)(i - first)] = (uintptr_t)found[i];
}
#else
/* The caller alone; the rest is told by the marks. */
static void record_addresses(struct record *record, uintptr_t return_address)
{
	record->address_count = 1;
	record->address = claim(&address_count, 1, ADDRESSES_MAX);
	addresses[record->address] = return_address;
}
#endif

static void record(uint64_t bytes, uintptr_t return_address, enum unwind_fact fact)
{
	struct record *row;

	if (!recording)
		return;
	row = &records[claim(&record_count, 1, RECORDS_MAX)];
	row->bytes = bytes;
	row->fact = fact;
	row->load = unwind_load;
	record_marks(row);
	record_addresses(row, return_address);
}

void unwind_record_first(const uint64_t arguments[4], uintptr_t return_address)
{
	record(arguments[0], return_address, unwind_fact);
}

void unwind_record_product(const uint64_t arguments[4], uintptr_t return_address)
{
	record(arguments[0] * arguments[1], return_address, unwind_fact);
}

void unwind_record_second(const uint64_t arguments[4], uintptr_t return_address)
{
	record(arguments[1], return_address, unwind_fact);
}

void unwind_record_third(const uint64_t arguments[4], uintptr_t return_address)
{
	record(arguments[2], return_address, unwind_fact);
}

void unwind_record_inside(const uint64_t arguments[4], uintptr_t return_address)
{
	(void)arguments;
	record(0, return_address, UNWIND_INSIDE);
}

void unwind_begin(void)
{
	struct record *row = &records[claim(&record_count, 1, RECORDS_MAX)];
#ifndef UNWIND_MARKS_ALONE
	void *address[1];

	backtrace(address, 1);          /* its first call loads a library, and allocates */
#endif
	row->fact = UNWIND_INSIDE;
	record_marks(row);
	recording = true;
}

/* ---- told ---------------------------------------------------------------------------------------------------- */

static void put(const char *text)
{
	if (truth_text_length + 1024 > sizeof(truth_text))
		truth_flush();
	truth_put_string(text);
}

static void put_number(const char *before, uint64_t number)
{
	put(before);
	truth_put_number(number);
}

static void put_record(const struct record *row)
{
	put_number("{\"fact\": ", row->fact);
	put_number(", \"bytes\": ", row->bytes);
	put_number(", \"load\": ", row->load);
	put(", \"marks\": [");
	for (uint32_t i = 0; i < row->mark_count; i++) {
		put(i ? ", [\"" : "[\"");
		put(marks[row->mark + i].function);
		put_number("\", ", marks[row->mark + i].return_address);
		put("]");
	}
	put("], \"addresses\": [");
	for (uint32_t i = 0; i < row->address_count; i++)
		put_number(i ? ", " : "", addresses[row->address + i]);
	put("]}");
}

void unwind_tell_ready(void)
{
	truth_print_pid();
	truth_wait();
}

void unwind_tell_gate(const char *name)
{
	put("{\"gate\": \"");
	put(name);
	put("\"}\n");
	truth_flush();
	truth_wait();
}

void unwind_tell(const char *facts)
{
	uint32_t count = __atomic_load_n(&record_count, __ATOMIC_RELAXED);

	put("{\"records\": [");
	for (uint32_t i = 0; i < count; i++) {
		put(i ? ", " : "");
		put_record(&records[i]);
	}
	put("], \"facts\": {");
	put(facts);
	put("}}\n");
	truth_flush();
	truth_wait();
}
