/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/collect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "session/skeleton.h"
#include "session/table.h"

/* A row of the kernel's table of traces, as far as it has been read. */
struct row {
	struct dt_trace_key key;
	struct dt_tally half[2];
	UT_hash_handle hh;
};

struct dt_collect {
	struct domtrace_bpf *bpf;
	struct row *rows;
	int barrier_fd, barrier_inner_fd;
	uint64_t counters_before[DT_COUNTER_COUNT];
};

static pid_t owner_pid(const struct dt_owner *owner)
{
	return (pid_t)(owner->process & DT_OWNER_TGID_MASK);
}

int dt_collect_new(struct domtrace_bpf *bpf, struct dt_collect **ret_collect)
{
	struct dt_collect *collect = calloc(1, sizeof(*collect));
	LIBBPF_OPTS(bpf_map_create_opts, opts);

	if (!collect)
		return -ENOMEM;
	collect->bpf = bpf;
	collect->barrier_fd = -1;
	collect->barrier_inner_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "dt_barrier_in", 4, 4, 1, NULL);
	opts.inner_map_fd = (uint32_t)collect->barrier_inner_fd;
	if (collect->barrier_inner_fd >= 0)
		collect->barrier_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "dt_barrier", 4, 4, 1, &opts);
	if (collect->barrier_fd < 0) {
		int error = -errno;

		dt_collect_free(collect);
		return error;
	}
	*ret_collect = collect;
	return 0;
}

static void remove_rows(struct dt_collect *collect)
{
	struct row *row, *next;

	HASH_ITER(hh, collect->rows, row, next) {
		HASH_DEL(collect->rows, row);
		free(row);
	}
}

void dt_collect_free(struct dt_collect *collect)
{
	if (!collect)
		return;
	remove_rows(collect);
	if (collect->barrier_fd >= 0)
		close(collect->barrier_fd);
	if (collect->barrier_inner_fd >= 0)
		close(collect->barrier_inner_fd);
	free(collect);
}

/*
 * The kernel promises that an update of a map of maps returns only when no program can use the old inner map any more
 * (kernel 1ae80cf31938 "bpf: wait for running BPF programs when updating map-in-map"): it waits for all that run.
 */
int dt_collect_wait(struct dt_collect *collect)
{
	return bpf_map_update_elem(collect->barrier_fd, &(uint32_t){ 0 }, &collect->barrier_inner_fd, BPF_ANY) ? -errno : 0;
}

int dt_collect_turn(struct dt_collect *collect)
{
	__atomic_add_fetch(&collect->bpf->bss->epoch, 1, __ATOMIC_SEQ_CST);
	return dt_collect_wait(collect);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int read_row(void *context, const void *key, const void *value)
{
	struct dt_collect *collect = context;
	const struct dt_trace *trace = value;
	int half = !DT_EPOCH_HALF(collect->bpf->bss->epoch);
	struct row *row;

	HASH_FIND(hh, collect->rows, key, sizeof(row->key), row);
	if (!row) {
		row = calloc(1, sizeof(*row));
		if (!row)
			return -ENOMEM;
		memcpy(&row->key, key, sizeof(row->key));
		HASH_ADD(hh, collect->rows, key, sizeof(row->key), row);
	}
	row->half[half] = trace->half[half];
	return 0;
}

int dt_collect_read(struct dt_collect *collect)
{
	return dt_table_each(bpf_map__fd(collect->bpf->maps.traces), sizeof(struct dt_trace_key), sizeof(struct dt_trace), read_row, collect);
}

/* ---- into a snapshot --------------------------------------------------------------------------------------------- */

static struct dt_tally row_sum(const struct row *row)
{
	const struct dt_tally *a = &row->half[0], *b = &row->half[1];

	return (struct dt_tally){
		.allocations = a->allocations + b->allocations,
		.allocated_bytes = a->allocated_bytes + b->allocated_bytes,
		.frees = a->frees + b->frees,
		.freed_bytes = a->freed_bytes + b->freed_bytes,
		.peak_bytes = a->peak_bytes > b->peak_bytes ? a->peak_bytes : b->peak_bytes,
	};
}

/* A block that was booked in the old epoch may have met, in live_bytes, a free that belongs to the new one. */
static uint64_t tally_peak(const struct dt_tally *tally)
{
	uint64_t live = tally->allocated_bytes - tally->freed_bytes;

	return tally->peak_bytes > live ? tally->peak_bytes : live;
}

static int read_counters(struct dt_collect *collect, uint64_t counters[DT_COUNTER_COUNT])
{
	int cpus = libbpf_num_possible_cpus();
	DT_FREE uint64_t *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;

	if (!values)
		return cpus > 0 ? -ENOMEM : cpus;
	for (uint32_t i = 0; i < DT_COUNTER_COUNT; i++) {
		if (bpf_map_lookup_elem(bpf_map__fd(collect->bpf->maps.counters), &i, values))
			return -errno;
		counters[i] = 0;
		for (int cpu = 0; cpu < cpus; cpu++)
			counters[i] += values[cpu];
	}
	return 0;
}

int dt_collect_clear_counters(struct dt_collect *collect)
{
	return read_counters(collect, collect->counters_before);
}

/* From an owner to its row in the snapshot, or from a traceback of a domain to its row. */
struct index {
	struct {
		uint64_t high, low;
	} key;
	uint32_t index;
	UT_hash_handle hh;
};

static struct index *index_find(struct index *table, uint64_t high, uint64_t low)
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

static int add_domain(struct dt_snapshot *snapshot, const struct row *row, uint32_t process, uint32_t *ret_index)
{
	struct dt_tally sum = row_sum(row);
	char name[DT_DOMAIN_NAME_SIZE];
	struct dt_snapshot_domain domain = {
		.process = process,
		.source = (enum dt_source)(row->key.owner.process >> DT_OWNER_SOURCE_SHIFT),
		.id = row->key.owner.domain,
		.name = name,
		.live_blocks = sum.allocations - sum.frees,
		.live_bytes = sum.allocated_bytes - sum.freed_bytes,
		.peak_bytes = tally_peak(&sum),
		.allocations = sum.allocations,
		.allocated_bytes = sum.allocated_bytes,
		.frees = sum.frees,
		.freed_bytes = sum.freed_bytes,
	};

	dt_domain_name_format(domain.source, domain.id, name);
	return dt_snapshot_add_domain(snapshot, &domain, ret_index);
}

/*
 * Adds a trace, or adds to the one that its traceback has already: tracebacks that differ only behind the frame where
 * they were cut are one, whose peak is then at most the sum of theirs.
 */
static int add_trace(struct dt_snapshot *snapshot, const struct row *row, uint32_t domain, uint32_t traceback, struct index **traces)
{
	struct dt_tally sum = row_sum(row);
	struct index *same = index_find(*traces, domain, traceback);
	struct dt_snapshot_trace trace = {
		.domain = domain,
		.traceback = traceback,
		.blocks = sum.allocations - sum.frees,
		.bytes = sum.allocated_bytes - sum.freed_bytes,
		.allocations = sum.allocations,
		.allocated_bytes = sum.allocated_bytes,
		.peak_bytes = tally_peak(&sum),
	};
	uint32_t index;
	int error;

	if (same) {
		struct dt_snapshot_trace *to = &snapshot->traces[same->index];

		to->blocks += trace.blocks;
		to->bytes += trace.bytes;
		to->allocations += trace.allocations;
		to->allocated_bytes += trace.allocated_bytes;
		to->peak_bytes += trace.peak_bytes;
		return 0;
	}
	error = dt_snapshot_add_trace(snapshot, &trace, &index);
	return error ? error : index_add(traces, domain, traceback, index);
}

static const struct dt_traced *find_traced(struct dt_traced *const *processes, size_t count, const struct dt_trace_key *key, uint32_t *ret_index)
{
	for (size_t i = 0; i < count; i++) {
		if (processes[i]->pid != owner_pid(&key->owner) || processes[i]->row.generation != key->generation)
			continue;
		*ret_index = (uint32_t)i;
		return processes[i];
	}
	return NULL;
}

/* Domains first (their totals), then traces: pass 0, pass 1. */
static int fill_pass(struct dt_collect *collect, int pass, struct dt_traced *const *processes, size_t count, uint32_t first,
		     struct dt_tracebacks *tracebacks, struct dt_snapshot *snapshot, struct index **domains, struct index **traces)
{
	struct row *row, *next;

	HASH_ITER(hh, collect->rows, row, next) {
		struct dt_tally sum = row_sum(row);
		bool is_total = row->key.traceback == DT_TRACEBACK_TOTAL;
		const struct dt_traced *traced;
		uint32_t process, index = 0;
		struct index *domain;
		bool cut = false;
		int error;

		if (is_total != !pass || !sum.allocations)
			continue;
		traced = find_traced(processes, count, &row->key, &process);
		if (!traced)
			continue;
		if (is_total) {
			error = add_domain(snapshot, row, first + process, &index);
			if (!error)
				error = index_add(domains, owner_key(&row->key.owner), 0, index);
		} else {
			domain = index_find(*domains, owner_key(&row->key.owner), 0);
			error = domain ? dt_tracebacks_copy(tracebacks, traced->pid, row->key.traceback, snapshot, &index, &cut) : -EBADMSG;
			if (!error)
				error = add_trace(snapshot, row, domain->index, index, traces);
			if (cut)
				snapshot->counters[DT_COUNTER_truncated_no_frame_pointer] += sum.allocations;
		}
		if (error)
			return error;
	}
	return 0;
}

int dt_collect_fill(struct dt_collect *collect, struct dt_traced *const *processes, size_t count, uint32_t first,
		    struct dt_tracebacks *tracebacks, struct dt_snapshot *snapshot)
{
	struct index *domains = NULL, *traces = NULL;
	int error = dt_tracebacks_begin(tracebacks);

	if (!error)
		error = read_counters(collect, snapshot->counters);
	for (int i = 0; i < DT_COUNTER_COUNT && !error; i++)
		snapshot->counters[i] -= collect->counters_before[i];
	for (int pass = 0; pass < 2 && !error; pass++)
		error = fill_pass(collect, pass, processes, count, first, tracebacks, snapshot, &domains, &traces);
	index_clear(&domains);
	index_clear(&traces);
	return error;
}

/* ---- forgetting -------------------------------------------------------------------------------------------------- */

struct forget {
	struct dt_traced *const *processes;
	size_t process_count;
	pid_t pid;
	uint32_t generation;
	int64_t spare_rows;             /* of them, found on the way */
};

static bool is_forgotten_trace(void *context, const void *key, const void *value)
{
	struct forget *forget = context;
	uint32_t index;

	(void)value;
	return !find_traced(forget->processes, forget->process_count, key, &index);
}

static bool is_old_block(void *context, const void *key, const void *value)
{
	struct forget *forget = context;
	const struct dt_block_key *block_key = key;
	const struct dt_block *block = value;

	if (owner_pid(&block_key->owner) != forget->pid || block->generation == forget->generation)
		return false;
	forget->spare_rows += block->traceback == DT_TRACEBACK_TOTAL;
	return true;
}

static bool is_code_of(void *context, const void *key, const void *value)
{
	struct forget *forget = context;
	const struct dt_code_key *code_key = key;

	(void)value;
	return (pid_t)code_key->tgid == forget->pid;
}

int dt_collect_forget(struct dt_collect *collect, struct dt_traced *const *processes, size_t count)
{
	struct forget forget = { .processes = processes, .process_count = count };
	struct row *row, *next;
	uint32_t index;

	HASH_ITER(hh, collect->rows, row, next) {
		if (find_traced(processes, count, &row->key, &index))
			continue;
		HASH_DEL(collect->rows, row);
		free(row);
	}
	return dt_table_remove(bpf_map__fd(collect->bpf->maps.traces), sizeof(struct dt_trace_key), sizeof(struct dt_trace),
			 is_forgotten_trace, &forget);
}

int dt_collect_sweep(struct dt_collect *collect, pid_t pid, uint32_t generation)
{
	struct forget forget = { .pid = pid, .generation = generation };
	int error = dt_table_remove(bpf_map__fd(collect->bpf->maps.live), sizeof(struct dt_block_key), sizeof(struct dt_block),
			      is_old_block, &forget);

	__atomic_sub_fetch(&collect->bpf->bss->spare_rows, forget.spare_rows, __ATOMIC_SEQ_CST);
	return error ? error : dt_table_remove(bpf_map__fd(collect->bpf->maps.codes), sizeof(struct dt_code_key), sizeof(uint8_t),
					 is_code_of, &forget);
}
