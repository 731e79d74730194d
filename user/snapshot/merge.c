/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* Numbers that rows of `from` have in `into`. */
struct numbers {
	uint32_t *processes, *domains, *tracebacks, *frames;
};

static void clear_numbers(struct numbers *numbers)
{
	free(numbers->processes);
	free(numbers->domains);
	free(numbers->tracebacks);
	free(numbers->frames);
}

static int own(struct dt_snapshot *into, const char **to, const char *text)
{
	const char *string = dt_snapshot_string(into, text);

	if (text && !string)
		return -ENOMEM;
	*to = string;
	return 0;
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* Ages of different instants are those of the later one, and not exact; those that were not asked for in the same way are none. */
static void merge_ages(struct dt_snapshot *into, const struct dt_snapshot *from, bool first)
{
	struct dt_snapshot_ages *ages = &into->ages;
	bool same = ages->age_ns == from->ages.age_ns;

	if (first)
		*ages = from->ages;
	if (first || ages->older_than_ns != from->ages.older_than_ns) {
		if (!first)
			*ages = (struct dt_snapshot_ages){ .older_than_ns = 0 };
		return;
	}
	ages->exact = ages->exact && from->ages.exact && same;
	if (!ages->age_ns || (from->ages.age_ns && from->ages.age_ns < ages->age_ns))
		ages->age_ns = from->ages.age_ns;
}

/* Old blocks of those that had ages, where not all have. */
static void forget_old(struct dt_snapshot *into)
{
	for (uint32_t i = 0; i < into->domain_count; i++)
		into->domains[i].old_blocks = into->domains[i].old_bytes = 0;
	for (uint32_t i = 0; i < into->trace_count; i++)
		into->traces[i].old_blocks = into->traces[i].old_bytes = 0;
}

static int merge_head(struct dt_snapshot *into, const struct dt_snapshot *from)
{
	bool first = !into->label;
	int error = 0;

	for (int i = 0; i < DT_COUNTER_COUNT; i++)
		if (__builtin_add_overflow(into->counters[i], from->counters[i], &into->counters[i]))
			into->counters[i] = UINT64_MAX;
	merge_ages(into, from, first);
	if (from->elapsed_ns > into->elapsed_ns)
		into->elapsed_ns = from->elapsed_ns;
	if (from->traceback_limit > into->traceback_limit)
		into->traceback_limit = from->traceback_limit;
	if (!first && !is_later(&from->time, &into->time))
		return 0;
	into->sequence = from->sequence;
	into->time = from->time;
	error = own(into, &into->label, from->label);
	error = error ? error : own(into, &into->kernel, from->kernel);
	return error ? error : own(into, &into->architecture, from->architecture);
}

static bool is_same_domain(const struct dt_snapshot *a, const struct dt_snapshot_domain *one, const struct dt_snapshot *b,
			   const struct dt_snapshot_domain *other)
{
	const struct dt_snapshot_process *p = &a->processes[one->process], *q = &b->processes[other->process];

	return p->pid == q->pid && p->start_time_ns == q->start_time_ns && one->source == other->source && one->id == other->id &&
	       !strcmp(one->name, other->name);
}

struct owned {
	const struct dt_snapshot *snapshot;
	uint32_t domain;
};

static int compare_owned(const void *a, const void *b)
{
	const struct owned *one = a, *other = b;
	const struct dt_snapshot_domain *x = &one->snapshot->domains[one->domain], *y = &other->snapshot->domains[other->domain];
	const struct dt_snapshot_process *p = &one->snapshot->processes[x->process], *q = &other->snapshot->processes[y->process];
	int by = (p->pid > q->pid) - (p->pid < q->pid);

	by = by ? by : (p->start_time_ns > q->start_time_ns) - (p->start_time_ns < q->start_time_ns);
	by = by ? by : (x->source > y->source) - (x->source < y->source);
	by = by ? by : (x->id > y->id) - (x->id < y->id);
	return by ? by : strcmp(x->name, y->name);
}

/* Domains of both, sorted, so that equal ones stand side by side. */
static int refuse_twice(const struct dt_snapshot *into, const struct dt_snapshot *from, uint32_t *ret_process)
{
	size_t count = (size_t)into->domain_count + from->domain_count;
	DT_FREE struct owned *all = calloc(count + 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	for (uint32_t i = 0; i < into->domain_count; i++)
		all[i] = (struct owned){ into, i };
	for (uint32_t i = 0; i < from->domain_count; i++)
		all[into->domain_count + i] = (struct owned){ from, i };
	qsort(all, count, sizeof(*all), compare_owned);
	for (size_t i = 1; i < count; i++) {
		const struct owned *a = &all[i - 1], *b = &all[i];

		if (a->snapshot == b->snapshot || !is_same_domain(a->snapshot, &a->snapshot->domains[a->domain], b->snapshot,
								  &b->snapshot->domains[b->domain]))
			continue;
		*ret_process = from->domains[a->snapshot == from ? a->domain : b->domain].process;
		return -EEXIST;
	}
	return 0;
}

static int merge_owners(struct dt_snapshot *into, const struct dt_snapshot *from, struct numbers *numbers)
{
	int error = 0;

	for (uint32_t i = 0; i < from->process_count && !error; i++)
		error = dt_snapshot_add_process(into, &from->processes[i], &numbers->processes[i]);
	for (uint32_t i = 0; i < from->domain_count && !error; i++) {
		struct dt_snapshot_domain domain = from->domains[i];

		domain.process = numbers->processes[domain.process];
		error = dt_snapshot_add_domain(into, &domain, &numbers->domains[i]);
	}
	return error;
}

static int merge_tracebacks(struct dt_snapshot *into, const struct dt_snapshot *from, struct numbers *numbers)
{
	DT_FREE uint32_t *frames = NULL;
	size_t room = 1;
	int error = 0;

	for (uint32_t i = 0; i < from->frame_count && !error; i++)
		error = dt_snapshot_add_frame(into, &from->frames[i], &numbers->frames[i]);
	for (uint32_t i = 0; i < from->traceback_count; i++)
		room = from->tracebacks[i].frame_count > room ? from->tracebacks[i].frame_count : room;
	frames = calloc(room, sizeof(*frames));
	if (!frames)
		return -ENOMEM;
	for (uint32_t i = 0; i < from->traceback_count && !error; i++) {
		struct dt_snapshot_traceback row = from->tracebacks[i];

		for (uint32_t k = 0; k < row.frame_count; k++)
			frames[k] = numbers->frames[row.frames[k]];
		row.frames = frames;
		error = dt_snapshot_add_traceback(into, &row, &numbers->tracebacks[i]);
	}
	return error;
}

static int merge_traces(struct dt_snapshot *into, const struct dt_snapshot *from, const struct numbers *numbers)
{
	uint32_t index;
	int error = 0;

	for (uint32_t i = 0; i < from->trace_count && !error; i++) {
		struct dt_snapshot_trace trace = from->traces[i];

		trace.domain = numbers->domains[trace.domain];
		trace.traceback = numbers->tracebacks[trace.traceback];
		error = dt_snapshot_add_trace(into, &trace, &index);
	}
	return error;
}

int dt_merge_add(struct dt_snapshot *into, const struct dt_snapshot *from, uint32_t *ret_process)
{
	DT_CLEANUP(clear_numbers) struct numbers numbers = {
		.processes = calloc(from->process_count + 1ul, sizeof(uint32_t)),
		.domains = calloc(from->domain_count + 1ul, sizeof(uint32_t)),
		.tracebacks = calloc(from->traceback_count + 1ul, sizeof(uint32_t)),
		.frames = calloc(from->frame_count + 1ul, sizeof(uint32_t)),
	};
	int error = numbers.processes && numbers.domains && numbers.tracebacks && numbers.frames ? 0 : -ENOMEM;

	error = error ? error : refuse_twice(into, from, ret_process);
	error = error ? error : merge_head(into, from);
	error = error ? error : merge_owners(into, from, &numbers);
	error = error ? error : merge_tracebacks(into, from, &numbers);
	error = error ? error : merge_traces(into, from, &numbers);
	if (!error && !into->ages.older_than_ns)
		forget_old(into);
	return error;
}
