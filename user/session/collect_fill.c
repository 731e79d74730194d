/* SPDX-License-Identifier: BSD-2-Clause */
/* collect_fill: rows of the kernel's tables, put into a snapshot. */
#include "session/collect_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "session/peaks.h"
#include "session/skeleton.h"
#include "snapshot/sizes.h"

/* From an owner to its row in the snapshot, or from a traceback of a domain to its row. */
struct index {
	struct {
		uint64_t high, low;
	} key;
	uint32_t index;
	UT_hash_handle hh;
};

static const struct index *index_find(struct index *table, uint64_t high, uint64_t low)
{
	struct index *found, probe = { .key = { high, low } };

	HASH_FIND(hh, table, &probe.key, sizeof(probe.key), found);
	return found;
}

static int index_add(struct index **table, uint64_t high, uint64_t low, uint32_t index)
{
	struct index *added = calloc(1, sizeof(*added));

	if (!added)
		return -ENOMEM;
	added->key.high = high;
	added->key.low = low;
	added->index = index;
	HASH_ADD(hh, *table, key, sizeof(added->key), added);
	return 0;
}

static void index_clear(struct index **table)
{
	struct index *row, *next;

	HASH_ITER(hh, *table, row, next) {
		HASH_DEL(*table, row);
		free(row);
	}
}

static uint64_t owner_key(const struct dt_owner *owner)
{
	return (uint64_t)owner->process << 32 | owner->domain;
}

/* What is being filled, and what has been found on the way. */
struct dt_fill {
	struct dt_collect *collect;
	struct dt_collect *copy;        /* that one, if it is ours; NULL: it is not */
	struct dt_domains *asked;
	struct dt_tracebacks *tracebacks;
	struct dt_snapshot *snapshot;
	struct index *domains, *traces;
	struct index *folded;           /* by owner and traceback: fold_inherited() */
	struct index *left_out;         /* by owner: domains that are not wanted */
	struct dt_traced *by_slot[DT_PROCESSES_MAX]; /* NULL: none that is to be shown */
	uint32_t processes[DT_PROCESSES_MAX]; /* by slot: its row in the snapshot */
};

static void add_tally(struct dt_tally *to, const struct dt_tally *tally)
{
	to->allocations += tally->allocations;
	to->allocated_bytes += tally->allocated_bytes;
	to->frees += tally->frees;
	to->freed_bytes += tally->freed_bytes;
	to->peak += tally->peak;
	to->temporary += tally->temporary;
}

static void domain_tally(const struct dt_snapshot_domain *domain, struct dt_tally *ret_tally)
{
	*ret_tally = (struct dt_tally){
		.allocations = domain->allocations,
		.allocated_bytes = domain->allocated_bytes,
		.frees = domain->frees,
		.freed_bytes = domain->freed_bytes,
		.peak = domain->peak_bytes,
		.temporary = domain->temporary,
	};
}

static void set_domain(struct dt_snapshot_domain *domain, const struct dt_tally *tally)
{
	domain->live_blocks = tally->allocations - tally->frees;
	domain->live_bytes = tally->allocated_bytes - tally->freed_bytes;
	domain->peak_bytes = dt_tally_peak(tally);
	domain->allocations = tally->allocations;
	domain->allocated_bytes = tally->allocated_bytes;
	domain->frees = tally->frees;
	domain->freed_bytes = tally->freed_bytes;
	domain->temporary = tally->temporary;
}

/* The name of a domain. False: it is one that a program declares, and not wanted. */
static bool name_domain(const struct dt_fill *fill, const struct dt_owner *owner, enum dt_source source, char name[DT_DECLARED_SHOWN_SIZE])
{
	dt_declared_show(&fill->by_slot[dt_owner_slot(owner)]->declared, source, owner->domain, name);
	return source != DT_SOURCE_DECLARED || dt_domains_meet(fill->asked, name);
}

static bool is_left_out(const struct dt_fill *fill, const struct dt_owner *owner)
{
	return index_find(fill->left_out, owner_key(owner), 0);
}

/* Adds to the row of a domain, which is made when it is not there: what was inherited, and what came and went since. */
static int add_domain(struct dt_fill *fill, const struct dt_owner *owner, struct dt_tally tally)
{
	const struct index *known = index_find(fill->domains, owner_key(owner), 0);
	char name[DT_DECLARED_SHOWN_SIZE];
	struct dt_snapshot_domain domain = {
		.process = fill->processes[dt_owner_slot(owner)],
		.source = (enum dt_source)(owner->process >> DT_OWNER_SOURCE_SHIFT),
		.id = owner->domain,
		.name = name,
	};
	struct dt_tally before;
	uint32_t index;
	int error;

	if (known) {
		domain_tally(&fill->snapshot->domains[known->index], &before);
		add_tally(&tally, &before);
		set_domain(&fill->snapshot->domains[known->index], &tally);
		return 0;
	}
	set_domain(&domain, &tally);
	if (is_left_out(fill, owner))
		return 0;
	if (!name_domain(fill, owner, domain.source, name))
		return index_add(&fill->left_out, owner_key(owner), 0, 0);
	error = dt_snapshot_add_domain(fill->snapshot, &domain, &index);
	return error ? error : index_add(&fill->domains, owner_key(owner), 0, index);
}

/* `at_peak_bytes` is below 0 for what came and went of what was inherited; the sum is not, unless threads have raced. */
static void add_figures(struct dt_snapshot_trace *to, const struct dt_snapshot_trace *trace)
{
	to->blocks += trace->blocks;
	to->bytes += trace->bytes;
	to->allocations += trace->allocations;
	to->allocated_bytes += trace->allocated_bytes;
	to->peak_bytes += trace->peak_bytes;
	to->at_peak_bytes += trace->at_peak_bytes;
	to->temporary += trace->temporary;
}

/*
 * Adds a trace, or adds to the one that its traceback has already: what was inherited and what came since; and tracebacks that
 * differ only behind the frame where they were cut, whose peak is then at most the sum of theirs.
 */
static int add_trace(struct dt_fill *fill, const struct dt_owner *owner, uint64_t number, const struct dt_tally *tally)
{
	const struct index *domain = index_find(fill->domains, owner_key(owner), 0), *same;
	struct dt_snapshot_trace trace = {
		.domain = domain ? domain->index : 0,
		.blocks = tally->allocations - tally->frees,
		.bytes = tally->allocated_bytes - tally->freed_bytes,
		.allocations = tally->allocations,
		.allocated_bytes = tally->allocated_bytes,
		.peak_bytes = dt_tally_peak(tally),
		.at_peak_bytes = (uint64_t)tally->at_peak_bytes,
		.temporary = tally->temporary,
	};
	bool cut = false;
	uint32_t index;
	int error;

	if (is_left_out(fill, owner))
		return 0;
	if (index_find(fill->folded, owner_key(owner), number))
		number = DT_TRACEBACK_LOST;
	error = domain ? dt_tracebacks_copy(fill->tracebacks, fill->by_slot[dt_owner_slot(owner)]->image, number,
					    fill->snapshot, &trace.traceback, &cut) : -EBADMSG;
	if (error)
		return error;
	if (cut)
		fill->snapshot->counters[DT_COUNTER_truncated_no_frame_pointer] += tally->allocations;
	same = index_find(fill->traces, trace.domain, trace.traceback);
	if (same) {
		add_figures(&fill->snapshot->traces[same->index], &trace);
		return 0;
	}
	error = dt_snapshot_add_trace(fill->snapshot, &trace, &index);
	return error ? error : index_add(&fill->traces, trace.domain, trace.traceback, index);
}

static struct dt_tally inherited_tally(const struct dt_inherited *row)
{
	return (struct dt_tally){ .allocations = row->blocks, .allocated_bytes = row->bytes, .peak = row->bytes,
				  .at_peak_bytes = (int64_t)row->bytes };
}

static bool is_same_owner(const struct dt_owner *left, const struct dt_owner *right)
{
	return left->process == right->process && left->domain == right->domain;
}

/* Has more gone from the row than came, and than was inherited without a traceback? */
static bool is_below_zero(const struct dt_collect *collect, const struct dt_collect_row *row, const struct dt_traced *traced)
{
	struct dt_tally sum = dt_collect_row_sum(collect, row), inherited;

	for (size_t i = 0; i < traced->inherited_count; i++) {
		if (traced->inherited[i].traceback != DT_TRACEBACK_LOST || !is_same_owner(&traced->inherited[i].owner, &row->key.owner))
			continue;
		inherited = inherited_tally(&traced->inherited[i]);
		add_tally(&sum, &inherited);
	}
	return sum.frees > sum.allocations || sum.freed_bytes > sum.allocated_bytes;
}

/*
 * An heir for whose rows `traces` has no room books the ends of inherited blocks on its row without a traceback. Which of the
 * inherited tracebacks those were of is not known any more: where more went from that row than came, all of them are told as that row.
 */
static int fold_inherited(struct dt_fill *fill)
{
	struct dt_collect_row *row, *next;
	int error = 0;

	HASH_ITER(hh, fill->collect->rows, row, next) {
		const struct dt_traced *traced = fill->by_slot[dt_owner_slot(&row->key.owner)];

		if (row->key.traceback != DT_TRACEBACK_LOST || !traced || traced->generation != 1 || row->key.generation != 1 ||
		    !is_below_zero(fill->collect, row, traced))
			continue;
		for (size_t i = 0; i < traced->inherited_count && !error; i++)
			if (is_same_owner(&traced->inherited[i].owner, &row->key.owner))
				error = index_add(&fill->folded, owner_key(&row->key.owner), traced->inherited[i].traceback, 0);
	}
	return error;
}

/* What a process inherited, as if it had allocated it itself when it began. */
static int add_inherited(struct dt_fill *fill, const struct dt_traced *traced, bool totals)
{
	int error = 0;

	for (size_t i = 0; i < traced->inherited_count && traced->generation == 1 && !error; i++) {
		const struct dt_inherited *row = &traced->inherited[i];
		struct dt_tally tally = inherited_tally(row);

		error = totals ? add_domain(fill, &row->owner, tally) : add_trace(fill, &row->owner, row->traceback, &tally);
	}
	return error;
}

/* Domains first (their totals), then traces. */
static int fill_pass(struct dt_fill *fill, bool totals)
{
	struct dt_collect_row *row, *next;
	int error = 0;

	for (uint32_t slot = 0; slot < DT_PROCESSES_MAX && !error; slot++)
		if (fill->by_slot[slot])
			error = add_inherited(fill, fill->by_slot[slot], totals);
	HASH_ITER(hh, fill->collect->rows, row, next) {
		const struct dt_traced *traced = fill->by_slot[dt_owner_slot(&row->key.owner)];
		struct dt_tally sum = dt_collect_row_sum(fill->collect, row);

		if (error)
			return error;
		if (!traced || traced->generation != row->key.generation || (!sum.allocations && !sum.frees) ||
		    totals != (row->key.traceback == DT_TRACEBACK_TOTAL))
			continue;
		sum.at_peak_bytes = totals ? 0 : dt_peaks_row(fill->collect, row);
		error = totals ? add_domain(fill, &row->key.owner, sum) : add_trace(fill, &row->key.owner, row->key.traceback, &sum);
	}
	return error;
}

/* Blocks that were read are among those that are there: on the rows of their domain and of their traceback, which there are. */
static int add_blocks(struct dt_fill *fill, const struct dt_blocks *blocks, uint32_t *ret_trace)
{
	const struct index *domain = index_find(fill->domains, owner_key(&blocks->owner), 0), *trace = NULL;
	uint64_t number = index_find(fill->folded, owner_key(&blocks->owner), blocks->traceback) ? DT_TRACEBACK_LOST : blocks->traceback;
	uint32_t traceback;
	bool cut;
	int error;

	if (!domain)
		return -EBADMSG;
	error = dt_tracebacks_copy(fill->tracebacks, fill->by_slot[dt_owner_slot(&blocks->owner)]->image, number, fill->snapshot,
				   &traceback, &cut);
	if (error)
		return error;
	trace = index_find(fill->traces, domain->index, traceback);
	if (!trace)
		return -EBADMSG;
	fill->snapshot->domains[domain->index].old_blocks += blocks->old_blocks;
	fill->snapshot->domains[domain->index].old_bytes += blocks->old_bytes;
	fill->snapshot->traces[trace->index].old_blocks += blocks->old_blocks;
	fill->snapshot->traces[trace->index].old_bytes += blocks->old_bytes;
	*ret_trace = trace->index;
	return 0;
}

static int add_reading(struct dt_fill *fill, const struct dt_reading *reading)
{
	DT_FREE struct dt_sized *sized = calloc(reading->count + 1, sizeof(*sized));
	int error = sized ? 0 : -ENOMEM;
	size_t count = 0;

	for (size_t i = 0; i < reading->count && !error; i++) {
		const struct dt_blocks *blocks = &reading->blocks[i];

		if (is_left_out(fill, &blocks->owner))
			continue;
		error = add_blocks(fill, blocks, &sized[count].trace);
		sized[count].size_class = blocks->size_class;
		sized[count].blocks = blocks->blocks;
		sized[count++].bytes = blocks->bytes;
	}
	return !error && reading->sizes ? dt_sizes_set(fill->snapshot, sized, count) : error;
}

int dt_fill_traces(struct dt_fill *fill, struct dt_tracebacks *tracebacks, const struct dt_reading *reading)
{
	int error = dt_tracebacks_begin(tracebacks);

	fill->tracebacks = tracebacks;
	if (!error)
		error = fold_inherited(fill);
	if (!error)
		error = fill_pass(fill, false);
	if (!error)
		error = dt_peaks_check(fill->snapshot);
	return error ? error : add_reading(fill, reading);
}

void dt_fill_free(struct dt_fill *fill)
{
	if (!fill)
		return;
	index_clear(&fill->folded);
	index_clear(&fill->left_out);
	index_clear(&fill->domains);
	index_clear(&fill->traces);
	dt_collect_free(fill->copy);
	free(fill);
}

static int count_losses(struct dt_collect *collect, uint64_t counters[DT_COUNTER_COUNT])
{
	int error = dt_collect_read_counters(collect, counters);

	for (int i = 0; i < DT_COUNTER_COUNT && !error; i++)
		counters[i] -= collect->counters_before[i];
	return error;
}

int dt_fill_new(struct dt_collect *collect, struct dt_domains *domains, struct dt_traced *const *processes, size_t count, bool kept,
		struct dt_snapshot *snapshot, struct dt_fill **ret_fill)
{
	struct dt_fill *fill = calloc(1, sizeof(*fill));
	int error = fill ? count_losses(collect, snapshot->counters) : -ENOMEM;

	for (size_t i = 0; i < count && !error; i++) {
		fill->by_slot[processes[i]->slot] = processes[i];
		fill->processes[processes[i]->slot] = (uint32_t)i;
	}
	if (!error && snapshot->counters[DT_COUNTER_past_full])
		error = dt_collect_amend(collect, fill->by_slot);
	if (!error && kept)
		error = dt_collect_copy(collect, fill->by_slot, &fill->copy);
	if (!error) {
		fill->collect = kept ? fill->copy : collect;
		fill->asked = domains;
		fill->snapshot = snapshot;
		error = fill_pass(fill, true);
	}
	if (error)
		dt_fill_free(fill);
	else
		*ret_fill = fill;
	return error;
}

static void cleanup_fill(struct dt_fill **fill)
{
	dt_fill_free(*fill);
}

int dt_collect_fill(struct dt_collect *collect, struct dt_domains *domains, struct dt_traced *const *processes, size_t count,
		    struct dt_tracebacks *tracebacks, const struct dt_reading *reading, struct dt_snapshot *snapshot)
{
	DT_CLEANUP(cleanup_fill) struct dt_fill *fill = NULL;
	int error = dt_fill_new(collect, domains, processes, count, false, snapshot, &fill);

	return error || !tracebacks ? error : dt_fill_traces(fill, tracebacks, reading);
}
