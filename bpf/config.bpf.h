/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* config: what userspace sets before load (constants to the verifier) and while running (the epoch). */

const volatile struct dt_config config;

/* Each program reads it once, so that one event belongs to one moment. Forks step it, too. */
volatile __u64 epoch;
volatile __u64 peak_zero;              /* DT_PEAK() of no bytes: how often peaks have been reset */

/* DT_SPAN(): userspace reads the blocks that were born in the one segment or before and died, if at all, behind the other; 0: it does not. */
volatile __u64 reading;

/* How many such blocks were kept for it alone, and how many there was no room for. */
volatile __u64 reading_kept, reading_lost;

/* How many rows of live blocks are spare, and may be. */
volatile __s64 spare_rows, spare_rows_max;

/* How many rows of live blocks there are; when that many are there, another map is asked for; how many there are in live_more. */
volatile __s64 rows_made, rows_ask;
volatile __u32 live_more_count;

/* How many images there have been. 64 bits: see atomic.bpf.h. */
volatile __u64 image_count;

/* When the table of traces was found full; 0: it was not. */
volatile __u64 traces_full_ns;

/* Changes whenever one has begun or ended. */
volatile __u32 image_news;

/* enum dt_turn: who turns the epoch. The marker that did last, and up to which number they may go on. */
volatile __u32 turn;
volatile __u32 markers_read;

/* When userspace last showed life (CLOCK_MONOTONIC), and behind which such sign a thread has waited in vain. */
volatile __u64 markers_life_ns;
volatile __u64 markers_dead_ns;

/* 1: no thread waits at a marker any more. */
volatile __u32 markers_closed;
struct dt_marker marker;

/* What programs note of images, and what userspace tells them of code. Userspace maps and writes these. */
struct dt_process_state process_states[DT_PROCESSES_MAX];
struct dt_process process_rows[DT_PROCESS_ROWS];
struct dt_mapping_row mappings[DT_MAPPINGS_MAX];
struct dt_unwind_rule unwind_rules[DT_UNWIND_RULES_MAX];

struct dt_site_row {
	__u8 source, shape, size, count, block, out;
};

#define SITE_ROWS 256                   /* a power of two, so that a mask bounds an index */
_Static_assert(DT_SITE_COUNT <= SITE_ROWS, "sites.def has outgrown SITE_ROWS");

static const struct dt_site_row sites[SITE_ROWS] = {
#define DT_SITE(symbol, source, shape, size, count, block, out) \
	[DT_SITE_##symbol] = { DT_SOURCE_##source, DT_SHAPE_##shape, size, count, block, out },
#include <domtrace/sites.def>
#undef DT_SITE
};

/* The row of a site that may come from a cookie. The mask, hidden from the optimiser, is what the verifier believes. */
static __always_inline const struct dt_site_row *site_row(__u64 site)
{
	site &= SITE_ROWS - 1;
	asm volatile("" : "+r"(site));
	return &sites[site & (SITE_ROWS - 1)];
}
