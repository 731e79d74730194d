/* SPDX-License-Identifier: BSD-2-Clause */
/* collect_forget: rows leave the tables, here and in the kernel. */
#include "session/collect_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "session/skeleton.h"
#include "session/table.h"

struct forget {
	struct domtrace_bpf *bpf;
	const bool *gone;               /* by slot */
	const uint32_t *settled;        /* by slot: what died in that segment or before no heir needs */
	const uint32_t *images;         /* of those, in order */
	size_t image_count;
	int64_t spare_rows;             /* of them, found on the way */
};

/* Is it of an earlier generation of its image? The programs' own word counts: userspace may not know the image yet. */
static bool is_old_trace(const struct domtrace_bpf *bpf, const struct dt_trace_key *key)
{
	const struct dt_process_state *state = &bpf->bss->process_states[dt_owner_slot(&key->owner)];

	return key->generation != __atomic_load_n(&state->generation, __ATOMIC_SEQ_CST);
}

static bool is_forgotten_trace(void *context, const void *key, const void *value)
{
	const struct forget *forget = context;
	const struct dt_trace_key *trace_key = key;

	(void)value;
	return forget->gone ? forget->gone[dt_owner_slot(&trace_key->owner)] : is_old_trace(forget->bpf, key);
}

static bool is_gone_block(void *context, const void *key, const void *value)
{
	struct forget *forget = context;
	const struct dt_block_key *block_key = key;
	const struct dt_block *block = value;

	if (!forget->gone[dt_owner_slot(&block_key->owner)])
		return false;
	forget->spare_rows += DT_SPAN_DIED(block->span) != 0;
	return true;
}

/* What was kept for heirs that have gone can go, too, the oldest of an address first. */
static bool is_gone_past(void *context, const void *key, const void *value)
{
	const struct forget *forget = context;
	const struct dt_past_key *past_key = key;
	const struct dt_block *block = value;
	uint32_t slot = dt_owner_slot(&past_key->block.owner);

	return forget->gone[slot] || DT_SPAN_DIED(block->span) <= forget->settled[slot];
}

static int compare_numbers(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return a < b ? -1 : a > b;
}

static bool is_gone_code(void *context, const void *key, const void *value)
{
	const struct forget *forget = context;
	const struct dt_code_key *code_key = key;

	(void)value;
	return bsearch(&code_key->image, forget->images, forget->image_count, sizeof(*forget->images), compare_numbers);
}

static int forget_traces(struct dt_collect *collect, struct forget *forget)
{
	struct dt_collect_row *row, *next;
	int error;

	HASH_ITER(hh, collect->rows, row, next) {
		if (!is_forgotten_trace(forget, &row->key, NULL))
			continue;
		HASH_DEL(collect->rows, row);
		free(row);
	}
	error = dt_table_remove(bpf_map__fd(collect->bpf->maps.totals), sizeof(struct dt_trace_key), sizeof(struct dt_trace),
				is_forgotten_trace, forget, NULL);
	if (!error)
		error = dt_table_remove(bpf_map__fd(collect->bpf->maps.traces), sizeof(struct dt_trace_key), sizeof(struct dt_trace),
					is_forgotten_trace, forget, NULL);
	/* There may be room again: programs that found none would not look for a moment. */
	__atomic_store_n(&collect->bpf->bss->traces_full_ns, 0, __ATOMIC_SEQ_CST);
	return error;
}

int dt_collect_forget(struct dt_collect *collect)
{
	return forget_traces(collect, &(struct forget){ .bpf = collect->bpf });
}

/* Numbers of the images in slots, in order. NULL: no memory. */
static uint32_t *list_images(const struct domtrace_bpf *bpf, const bool gone[DT_PROCESSES_MAX], size_t *ret_count)
{
	uint32_t *images = calloc(DT_PROCESSES_MAX, sizeof(*images));
	size_t count = 0;

	for (uint32_t slot = 0; images && slot < DT_PROCESSES_MAX; slot++)
		if (gone[slot])
			images[count++] = bpf->bss->process_states[slot].image;
	if (count)
		qsort(images, count, sizeof(*images), compare_numbers);
	*ret_count = count;
	return images;
}

int dt_collect_sweep_past(struct dt_collect *collect, const bool gone[DT_PROCESSES_MAX], const uint32_t settled[DT_PROCESSES_MAX])
{
	struct forget forget = { .bpf = collect->bpf, .gone = gone, .settled = settled };

	return dt_table_remove(bpf_map__fd(collect->bpf->maps.past), sizeof(struct dt_past_key), sizeof(struct dt_block), is_gone_past,
			       &forget, NULL);
}

int dt_collect_sweep(struct dt_collect *collect, const bool gone[DT_PROCESSES_MAX], const uint32_t settled[DT_PROCESSES_MAX])
{
	struct forget forget = { .bpf = collect->bpf, .gone = gone, .settled = settled };
	DT_FREE uint32_t *images = list_images(collect->bpf, gone, &forget.image_count);
	int error = images ? forget_traces(collect, &forget) : -ENOMEM;

	forget.images = images;
	if (!error)
		error = dt_live_remove(collect->live, is_gone_block, &forget);
	__atomic_sub_fetch(&collect->bpf->bss->spare_rows, forget.spare_rows, __ATOMIC_SEQ_CST);
	if (!error)
		error = dt_collect_sweep_past(collect, gone, settled);
	if (!error)
		error = dt_table_remove(bpf_map__fd(collect->bpf->maps.codes), sizeof(struct dt_code_key), sizeof(uint8_t),
					is_gone_code, &forget, NULL);
	return error;
}
