/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/collect_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "session/skeleton.h"
#include "session/table.h"

int dt_collect_new(struct domtrace_bpf *bpf, struct dt_live *live, struct dt_collect **ret_collect)
{
	struct dt_collect *collect = calloc(1, sizeof(*collect));
	LIBBPF_OPTS(bpf_map_create_opts, opts);

	if (!collect)
		return -ENOMEM;
	collect->bpf = bpf;
	collect->live = live;
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
	struct dt_collect_row *row, *next;

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

int dt_collect_copy(const struct dt_collect *collect, struct dt_traced *const by_slot[DT_PROCESSES_MAX], struct dt_collect **ret_copy)
{
	struct dt_collect *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	copy->barrier_fd = copy->barrier_inner_fd = -1;
	copy->peak_zero = collect->peak_zero;
	for (const struct dt_collect_row *row = collect->rows; row; row = row->hh.next) {
		struct dt_collect_row *copied = by_slot[dt_owner_slot(&row->key.owner)] ? malloc(sizeof(*copied)) : NULL;

		if (!by_slot[dt_owner_slot(&row->key.owner)])
			continue;
		if (!copied) {
			dt_collect_free(copy);
			return -ENOMEM;
		}
		copied->key = row->key;
		memcpy(copied->half, row->half, sizeof(copied->half));
		HASH_ADD(hh, copy->rows, key, sizeof(copied->key), copied);
	}
	*ret_copy = copy;
	return 0;
}

/*
 * The kernel promises that an update of a map of maps returns only when no program can use the old inner map any more
 * (kernel 1ae80cf31938 "bpf: wait for running BPF programs when updating map-in-map"): it waits for all that run.
 */
int dt_collect_wait(struct dt_collect *collect)
{
	return bpf_map_update_elem(collect->barrier_fd, &(uint32_t){ 0 }, &collect->barrier_inner_fd, BPF_ANY) ? -errno : 0;
}

uint32_t dt_collect_step(struct dt_collect *collect)
{
	return DT_EPOCH_SEGMENT(__atomic_fetch_add(&collect->bpf->bss->epoch, DT_EPOCH_STEP, __ATOMIC_SEQ_CST));
}

int dt_collect_turn(struct dt_collect *collect, uint32_t *ret_segment, uint64_t *ret_turned_ns)
{
	uint64_t turn = DT_EPOCH_TURN(collect->bpf->bss->epoch), before; /* nobody else changes the half */
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	*ret_turned_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	before = __atomic_fetch_add(&collect->bpf->bss->epoch, turn, __ATOMIC_SEQ_CST);
	*ret_segment = DT_EPOCH_SEGMENT(before);
	return dt_collect_wait(collect);
}

int dt_collect_reset_peaks(struct dt_collect *collect)
{
	if (DT_PEAK_RESETS(collect->peak_zero) == DT_PEAK_RESETS_MAX)
		return -EOVERFLOW;
	collect->peak_zero += DT_PEAK(1, 0);
	__atomic_store_n(&collect->bpf->bss->peak_zero, collect->peak_zero, __ATOMIC_SEQ_CST);
	return dt_collect_wait(collect);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int read_row(void *context, const void *key, const void *value)
{
	struct dt_collect *collect = context;
	const struct dt_trace *trace = value;
	int half = !DT_EPOCH_HALF(collect->bpf->bss->epoch);
	struct dt_collect_row *row;

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
	int error = dt_table_each(bpf_map__fd(collect->bpf->maps.totals), sizeof(struct dt_trace_key), sizeof(struct dt_trace),
				  read_row, collect);

	return error ? error : dt_table_each(bpf_map__fd(collect->bpf->maps.traces), sizeof(struct dt_trace_key), sizeof(struct dt_trace),
					     read_row, collect);
}

/* ---- counters ----------------------------------------------------------------------------------------------------- */

int dt_collect_read_counters(struct dt_collect *collect, uint64_t counters[DT_COUNTER_COUNT])
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
	return dt_collect_read_counters(collect, collect->counters_before);
}
