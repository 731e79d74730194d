/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/layers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "base/room.h"
#include "session/inherit.h"
#include "session/skeleton.h"
#include "session/table.h"
#include "snapshot/layers.h"

#define SPARED_BLOCKS_MAX (1u << 20)     /* live blocks; reading so many takes half a second on a busy machine (tests/bench/README.md) */

/* One domain whose blocks are wanted. */
struct holder {
	struct dt_owner owner;
	const struct dt_traced *traced;
	uint32_t domain;                /* row of the snapshot */
	struct holder *next;            /* of the same process */
	struct dt_layer_block *blocks;
	size_t count, room;
	uint64_t bytes;
	bool overflow;                  /* `bytes` is beyond 64 bits */
	uint64_t *seen;                 /* of an heir: addresses of which its own rows tell, in order; what it inherited there it has not */
	size_t seen_count, seen_room;
};

/* One process. */
struct stack {
	const struct dt_snapshot_domain *libc; /* NULL: it has none */
	bool above;                     /* another domain has live blocks */
	struct holder *holders;
	size_t holder_count;
};

/* All holders in the order of their owners, and all processes in that of the snapshot. */
struct reading {
	struct holder *holders, *last;  /* the one that was found last: often the next block's, too */
	size_t holder_count;
	struct stack *stacks;
	size_t stack_count;
	struct dt_snapshot *snapshot;
};

static void reading_clear(struct reading *reading)
{
	for (size_t i = 0; i < reading->holder_count; i++) {
		free(reading->holders[i].blocks);
		free(reading->holders[i].seen);
	}
	free(reading->holders);
	free(reading->stacks);
}

/* NULL: a domain of a process that is not among them. */
static struct stack *stack_of(const struct reading *reading, const struct dt_snapshot_domain *domain)
{
	return domain->process < reading->stack_count ? &reading->stacks[domain->process] : NULL;
}

/* Where nothing can lie in libc's blocks all is known without reading: libc has some or others have, not both. */
static bool must_be_read(const struct stack *stack)
{
	return stack->libc && stack->libc->live_blocks && stack->above;
}

/* ---- whose block ----------------------------------------------------------------------------------------------- */

static struct dt_owner owner_of(const struct dt_traced *traced, const struct dt_snapshot_domain *domain)
{
	return (struct dt_owner){ traced->slot | (uint32_t)domain->source << DT_OWNER_SOURCE_SHIFT, domain->id };
}

/* A clear has forgotten what was born before its generation; what was inherited is of the first. */
static bool is_live(const struct dt_block *block, const struct holder *holder)
{
	uint32_t born = DT_SPAN_BORN(block->span);

	return !DT_SPAN_DIED(block->span) && (born ? born : 1) >= holder->traced->generation;
}

/* Has it blocks that are found in the rows of those it was forked off? */
static bool is_heir(const struct dt_traced *traced)
{
	return traced->inherited_count && traced->generation == 1;
}

static int compare_owners(const void *a, const void *b)
{
	const struct dt_owner *left = a, *right = b;

	if (left->process != right->process)
		return left->process < right->process ? -1 : 1;
	return (left->domain > right->domain) - (left->domain < right->domain);
}

static struct holder *find_holder(struct reading *reading, const struct dt_owner *owner)
{
	if (!reading->last || compare_owners(&reading->last->owner, owner))
		reading->last = bsearch(owner, reading->holders, reading->holder_count, sizeof(*reading->holders), compare_owners);
	return reading->last;
}

/* ---- which processes ------------------------------------------------------------------------------------------- */

static void look_at_domains(struct reading *reading)
{
	for (uint32_t i = 0; i < reading->snapshot->domain_count; i++) {
		const struct dt_snapshot_domain *domain = &reading->snapshot->domains[i];
		struct stack *stack = stack_of(reading, domain);

		if (stack && domain->source == DT_SOURCE_LIBC)
			stack->libc = domain;
		else if (stack && domain->live_blocks)
			stack->above = true;
	}
}

static void add_holders(struct reading *reading, struct dt_traced *const *processes)
{
	for (uint32_t i = 0; i < reading->snapshot->domain_count; i++) {
		const struct dt_snapshot_domain *domain = &reading->snapshot->domains[i];
		const struct stack *stack = stack_of(reading, domain);

		if (stack && must_be_read(stack))
			reading->holders[reading->holder_count++] = (struct holder){
				.owner = owner_of(processes[stack - reading->stacks], domain),
				.traced = processes[stack - reading->stacks],
				.domain = i,
			};
	}
	qsort(reading->holders, reading->holder_count, sizeof(*reading->holders), compare_owners);
	for (size_t i = 0; i < reading->holder_count; i++) {
		struct holder *holder = &reading->holders[i];
		struct stack *stack = stack_of(reading, &reading->snapshot->domains[holder->domain]);

		holder->next = stack->holders;
		stack->holders = holder;
		stack->holder_count++;
	}
}

static void fill_unread(struct reading *reading)
{
	struct dt_snapshot *snapshot = reading->snapshot;

	for (size_t i = 0; i < reading->stack_count; i++) {
		const struct stack *stack = &reading->stacks[i];

		if (stack->libc && !must_be_read(stack))
			snapshot->processes[i].layers =
				(struct dt_snapshot_layers){ .known = true, .exact = true, .libc_bytes = stack->libc->live_bytes };
	}
	for (uint32_t i = 0; i < snapshot->domain_count; i++) {
		struct dt_snapshot_domain *domain = &snapshot->domains[i];
		const struct stack *stack = stack_of(reading, domain);

		if (!stack || !stack->libc || must_be_read(stack) || domain->source == DT_SOURCE_LIBC)
			continue;
		domain->compared = true;
		domain->outside_libc_bytes = domain->live_bytes;
	}
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

static int add_block(struct holder *holder, uint64_t address, const struct dt_block *block)
{
	uint64_t bytes = block->bytes & DT_BLOCK_BYTES_MASK;

	if (dt_room_make(&holder->blocks, holder->count, &holder->room, sizeof(*holder->blocks)))
		return -ENOMEM;
	holder->blocks[holder->count++] = (struct dt_layer_block){ address, bytes };
	if (__builtin_add_overflow(holder->bytes, bytes, &holder->bytes))
		holder->overflow = true;
	return 0;
}

static int take_block(void *context, const void *key, const void *value)
{
	const struct dt_block_key *block_key = key;
	struct holder *holder = find_holder(context, &block_key->owner);

	if (holder && is_heir(holder->traced)) {
		if (dt_room_make(&holder->seen, holder->seen_count, &holder->seen_room, sizeof(*holder->seen)))
			return -ENOMEM;
		holder->seen[holder->seen_count++] = block_key->address;
	}
	return holder && is_live(value, holder) ? add_block(holder, block_key->address, value) : 0;
}

static int compare_addresses(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

static int take_inherited(void *context, const struct dt_block_key *key, const struct dt_block *block)
{
	struct holder *holder = find_holder(context, &key->owner);

	if (!holder || bsearch(&key->address, holder->seen, holder->seen_count, sizeof(*holder->seen), compare_addresses))
		return 0;
	return add_block(holder, key->address, block);
}

/* What heirs have without a row of their own. */
static int read_inherited(struct dt_session *session, struct reading *reading, struct dt_traced *const *processes)
{
	DT_FREE struct dt_traced **heirs = calloc(reading->stack_count + 1, sizeof(*heirs));
	size_t count = 0;

	if (!heirs)
		return -ENOMEM;
	for (size_t i = 0; i < reading->holder_count; i++)
		if (reading->holders[i].seen_count)
			qsort(reading->holders[i].seen, reading->holders[i].seen_count, sizeof(*reading->holders[i].seen), compare_addresses);
	for (size_t i = 0; i < reading->stack_count; i++)
		if (must_be_read(&reading->stacks[i]) && is_heir(processes[i]))
			heirs[count++] = processes[i];
	return count ? dt_inherit_each(session->bpf, &session->live, heirs, count, take_inherited, reading) : 0;
}

/* Blocks that were in a domain from the beginning; the snapshot shows them as allocations. */
static uint64_t count_inherited(const struct holder *holder)
{
	uint64_t count = 0;

	for (size_t i = 0; i < holder->traced->inherited_count && is_heir(holder->traced); i++)
		if (!compare_owners(&holder->traced->inherited[i].owner, &holder->owner))
			count += holder->traced->inherited[i].blocks;
	return count;
}

/* Whether a domain is now what it was at the snapshot's moment, and its blocks were all read. */
static bool is_unchanged(int totals_fd, const struct holder *holder, const struct dt_snapshot *snapshot)
{
	const struct dt_snapshot_domain *domain = &snapshot->domains[holder->domain];
	struct dt_trace_key key = { .owner = holder->owner, .traceback = DT_TRACEBACK_TOTAL, .generation = holder->traced->generation };
	struct dt_trace total = { 0 };

	if (bpf_map_lookup_elem(totals_fd, &key, &total) && errno != ENOENT)
		return false;
	return total.half[0].allocations + total.half[1].allocations + count_inherited(holder) == domain->allocations &&
	       total.half[0].frees + total.half[1].frees == domain->frees &&
	       holder->count == domain->live_blocks && holder->bytes == domain->live_bytes;
}

/* ---- into the snapshot ----------------------------------------------------------------------------------------- */

/* `above`: of the holders but libc's, in their order. -EOVERFLOW: sums beyond 64 bits. */
static int measure(struct dt_snapshot *snapshot, const struct stack *stack, struct dt_layer *above, struct dt_snapshot_layers *layers)
{
	struct holder *libc = NULL;
	size_t count = 0;

	for (struct holder *holder = stack->holders; holder; holder = holder->next) {
		if (holder->overflow)
			return -EOVERFLOW;
		if (&snapshot->domains[holder->domain] == stack->libc)
			libc = holder;
		else
			above[count++] = (struct dt_layer){ .blocks = holder->blocks, .count = holder->count };
	}
	layers->libc_bytes = libc->bytes;
	return dt_layers_measure(libc->blocks, libc->count, above, count, &layers->claimed_bytes);
}

/* One process; it is left without layers where they cannot be told in 64 bits. */
static int fill(struct dt_snapshot *snapshot, const struct stack *stack, int totals_fd, int64_t after_ns)
{
	struct dt_snapshot_layers layers = { .known = true, .exact = true, .after_ns = after_ns };
	DT_FREE struct dt_layer *above = calloc(stack->holder_count, sizeof(*above));
	const struct dt_layer *next = above;
	int error = above ? measure(snapshot, stack, above, &layers) : -ENOMEM;

	if (error)
		return error == -EOVERFLOW ? 0 : error;
	for (const struct holder *holder = stack->holders; holder; holder = holder->next) {
		struct dt_snapshot_domain *domain = &snapshot->domains[holder->domain];

		layers.exact = layers.exact && is_unchanged(totals_fd, holder, snapshot);
		if (domain == stack->libc)
			continue;
		domain->compared = true;
		domain->in_libc_bytes = next->below_bytes;
		domain->outside_libc_bytes = holder->bytes - next++->below_bytes;
	}
	snapshot->processes[stack->libc->process].layers = layers;
	return 0;
}

static int read_and_fill(struct dt_session *session, struct reading *reading, struct dt_traced *const *processes, uint64_t moment_ns)
{
	int totals_fd = bpf_map__fd(session->bpf->maps.totals);
	struct timespec now;
	int64_t after_ns;
	int error = dt_live_each(&session->live, take_block, reading);

	if (!error)
		error = read_inherited(session, reading, processes);
	/* A program puts a block into its table, or takes it out, first and books that afterwards. */
	if (!error)
		error = dt_collect_wait(session->collect);
	clock_gettime(CLOCK_MONOTONIC, &now);
	after_ns = (int64_t)((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec - moment_ns);
	for (size_t i = 0; i < reading->stack_count && !error; i++)
		if (must_be_read(&reading->stacks[i]))
			error = fill(reading->snapshot, &reading->stacks[i], totals_fd, after_ns);
	return error;
}

/* All that are in the table, whoever's they are: it can only be read as a whole. */
static uint64_t count_live(const struct dt_snapshot *snapshot)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < snapshot->domain_count; i++)
		count += snapshot->domains[i].live_blocks;
	return count;
}

int dt_layers_read(struct dt_session *session, struct dt_traced *const *processes, size_t count, bool spared, uint64_t moment_ns,
		   struct dt_snapshot *snapshot)
{
	DT_CLEANUP(reading_clear) struct reading reading = { .stack_count = count, .snapshot = snapshot };
	uint64_t live = count_live(snapshot);
	int error = 0;

	reading.holders = calloc(snapshot->domain_count + 1ul, sizeof(*reading.holders));
	reading.stacks = calloc(count + 1, sizeof(*reading.stacks));
	if (!reading.holders || !reading.stacks)
		return -ENOMEM;
	look_at_domains(&reading);
	add_holders(&reading, processes);
	fill_unread(&reading);
	if (reading.holder_count && !(spared && live > SPARED_BLOCKS_MAX))
		error = read_and_fill(session, &reading, processes, moment_ns);
	if (error != -ENOMEM)
		return error;
	dt_log_warning(&session->log, "what of %" PRIu64 " live blocks lies in others is not known: there is no memory to read them", live);
	return 0;
}
