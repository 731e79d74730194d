/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * live: the blocks, by image, domain and address.
 *
 * A block is taken out of the table by turning its span from live to dead, which only one thread can do: whoever does books its
 * end. The allocator has the block back later than that, so until then its address, and the row, are nobody else's.
 *
 * Heirs (forked children) have the blocks of their parent in their memory. Nothing is copied at the fork: what an heir does not
 * find in rows of its own it looks for in those of its parent, as they were in the segment in which it was forked off. For that,
 * a parent's row tells the segments in which its block lived, and what would overwrite such a row while there are heirs moves it
 * to `past` first. An heir that frees an inherited block makes a row of its own for it, dead, which hides the parent's.
 *
 * Userspace that reads the rows of a moment (session/reading.h) is such an heir, too, of all images: what dies behind that moment is kept.
 */

struct account {
	struct dt_owner owner;
	__u64 segments;                 /* of the image when the event began */
	__u64 peak_zero;                /* DT_PEAK() of no bytes, when the event began */
	__u32 half;                     /* of the epoch in which the event began: all of it is booked there */
	__u32 row;                      /* of process_rows */
	struct dt_process_state *state;
	struct dt_thread *thread;       /* whose event it is; NULL: nothing is kept of it */
	struct dt_scratch *scratch;     /* holds the traceback of the event; NULL: there is none */
};

static __always_inline __u32 account_slot(const struct account *account)
{
	return account->owner.process & DT_OWNER_SLOT_MASK;
}

static __always_inline __u64 block_bytes(const struct dt_block *block)
{
	return block->bytes & DT_BLOCK_BYTES_MASK;
}

static __always_inline __u32 block_past(const struct dt_block *block)
{
	return block->bytes >> DT_BLOCK_PAST_SHIFT;
}

/* Is it of the generation of the event? Inherited blocks are of the first. */
static __always_inline bool block_is_known(const struct account *account, const struct dt_block *block)
{
	__u32 born = DT_SPAN_BORN(block->span);

	return (born ? born : 1) >= DT_SEGMENTS_GENERATION(account->segments);
}

/* ---- what was inherited ------------------------------------------------------------------------------------------ */

struct inheritance {
	struct dt_past_key key;         /* of the image that is looked at */
	__u32 slot;
	__u32 segment;                  /* as it was then */
	__u32 generation;
	__u32 is_found;
	__u32 low, high;                /* of the search in `past` */
	struct dt_block block;
};

#define PAST_STEPS 15                   /* halves of DT_BLOCK_PAST_MAX */
_Static_assert(DT_BLOCK_PAST_MAX < 1 << PAST_STEPS, "a search of past blocks must reach all of them");

/* Was the block there in that segment? False also: it was not yet. */
static __always_inline bool inheritance_decides(struct inheritance *inheritance, const struct dt_block *block)
{
	__u32 born = DT_SPAN_BORN(block->span), died = DT_SPAN_DIED(block->span);

	if (born > inheritance->segment)
		return false;
	inheritance->is_found = (!died || died > inheritance->segment) && (born ? born : 1) >= inheritance->generation;
	inheritance->block = *block;
	return true;
}

/* Halves what is looked at of the blocks that were at the address before. */
static long inheritance_past_step(__u32 index, void *context)
{
	struct inheritance *inheritance = context;
	__u32 middle = inheritance->low + (inheritance->high - inheritance->low) / 2;
	const struct dt_block *block;

	(void)index;
	if (inheritance->low >= inheritance->high)
		return 1;
	inheritance->key.index = middle;
	block = bpf_map_lookup_elem(&past, &inheritance->key);
	if (block && DT_SPAN_DIED(block->span) > inheritance->segment) {
		inheritance->block = *block;
		inheritance->high = middle;
	} else {
		inheritance->low = middle + 1;
	}
	return 0;
}

/*
 * Looks among the blocks that were at the address before, in the order in which they died, for the first that lived longer; true: it
 * is known now whether it was there. Those that are not kept any more died before any heir that there is was forked off.
 */
static __always_inline bool inheritance_find_past(struct inheritance *inheritance, __u32 count)
{
	struct dt_block first;

	inheritance->low = 0;
	inheritance->high = count;
	bpf_loop(PAST_STEPS, inheritance_past_step, inheritance, 0);
	first = inheritance->block;
	if (inheritance->high < count && inheritance_decides(inheritance, &first))
		return true;
	return inheritance->low;        /* it had other blocks before, so it has none that it inherited itself */
}

static long inheritance_step(__u32 index, void *context)
{
	struct inheritance *inheritance = context;
	const struct dt_process_state *state = image_state(inheritance->slot);
	const struct dt_block *block;
	__u32 table;

	(void)index;
	inheritance->key.block.owner.process = (inheritance->key.block.owner.process & ~DT_OWNER_SLOT_MASK) | inheritance->slot;
	block = rows_find(&inheritance->key.block, &table);
	if (block && (inheritance_decides(inheritance, block) || inheritance_find_past(inheritance, block_past(block)) ||
		      block->bytes & DT_BLOCK_HIDES))
		return 1;
	if (!state->parent_segment || inheritance->generation > 1)
		return 1;
	inheritance->slot = state->parent;
	inheritance->segment = state->parent_segment;
	inheritance->generation = state->parent_generation;
	return 0;
}

/*
 * Looks through the ancestors. A function of its own to the verifier, which proves it once and not again for each way that leads
 * to it; so its argument may be NULL for all that it knows. Returns whether it has found the block.
 */
__noinline int inheritance_search(struct inheritance *inheritance)
{
	struct inheritance own;         /* what a loop is given must be on the stack */

	if (!inheritance)
		return 0;
	own = *inheritance;
	if (bpf_loop(DT_ANCESTORS_MAX, inheritance_step, &own, 0) == DT_ANCESTORS_MAX && !own.is_found)
		count_add(DT_COUNTER_inherited_unknown);
	inheritance->block = own.block;
	return own.is_found;
}

/* The block that the image inherited with an address; false: there was none. */
static __always_inline bool live_find_inherited(const struct account *account, const struct dt_block_key *key, struct dt_block *block)
{
	struct inheritance inheritance = {
		.key.block = *key,
		.slot = account->state->parent,
		.segment = account->state->parent_segment,
		.generation = account->state->parent_generation,
	};

	if (!inheritance.segment || DT_SEGMENTS_GENERATION(account->segments) > 1 || !inheritance_search(&inheritance))
		return false;
	block->bytes = inheritance.block.bytes & DT_BLOCK_BYTES_MASK;
	block->traceback = inheritance.block.traceback;
	block->span = DT_SPAN(0, 0);
	return true;
}

/* ---- a block comes ----------------------------------------------------------------------------------------------- */

/* Keeps a dead block for heirs, or for userspace. False: there is no room, which is a loss to them. */
static __always_inline bool past_add(const struct dt_block_key *key, const struct dt_block *block)
{
	struct dt_past_key past_key = { .block = *key, .index = block_past(block) };

	return past_key.index < DT_BLOCK_PAST_MAX && !bpf_map_update_elem(&past, &past_key, block, BPF_ANY);
}

/* May heirs look for a block that was born then? It is one of those that some of them were forked off with, perhaps. */
static __always_inline bool live_has_heirs(const struct account *account, __u32 born)
{
	__u64 forks = *(const volatile __u64 *)&account->state->forks;

	return account->state->heirs && (DT_FORKS_UNDER_WAY(forks) || born <= DT_FORKS_LAST(forks));
}

/* Does userspace look for a dead block, as if it were an heir that was forked off at the moment of its snapshot? */
static __always_inline bool live_is_read(__u64 span)
{
	__u64 wanted = reading;

	return wanted && DT_SPAN_BORN(span) <= DT_SPAN_BORN(wanted) && DT_SPAN_DIED(span) > DT_SPAN_DIED(wanted);
}

/* Enters a block in place of a dead one. A reader sees one or the other: heirs may be looking. */
static __always_inline int live_replace(const struct dt_block_key *key, __u32 table, const struct dt_block *dead,
					const struct dt_block *block, bool has_heirs)
{
	__u64 kept = dead->bytes & ~DT_BLOCK_BYTES_MASK;
	bool is_added = past_add(key, dead);
	struct dt_block next = *block;

	if (is_added)
		kept += 1ull << DT_BLOCK_PAST_SHIFT;
	else if (has_heirs)
		count_add(DT_COUNTER_past_full);
	if (is_added ? !has_heirs : live_is_read(dead->span))
		atomic_add(is_added ? &reading_kept : &reading_lost, 1);
	if (!DT_SPAN_BORN(dead->span))
		kept |= DT_BLOCK_HIDES;
	next.bytes |= kept;
	return rows_replace(key, table, &next);
}

/*
 * Allocators soon hand out again what they got back, and a row costs less to find than to delete and to make. So the row
 * of a block that has gone stays, spare, for the next block at its address, while there are not too many of them.
 */
static __always_inline int live_reuse(const struct account *account, const struct dt_block_key *key, __u32 table,
				      struct dt_block *found, const struct dt_block *block)
{
	/* Heirs may look for those before it, of which the row tells how many there are. */
	__u64 span = found->span, kept = found->bytes & (account->state->heirs ? ~DT_BLOCK_BYTES_MASK : DT_BLOCK_HIDES);
	bool has_heirs = DT_SPAN_BORN(span) < DT_SPAN_DIED(span) && live_has_heirs(account, DT_SPAN_BORN(span));
	int error = 0;

	if (!DT_SPAN_DIED(span))
		return -EEXIST;
	if (has_heirs || live_is_read(span)) {
		error = live_replace(key, table, found, block, has_heirs);
	} else {
		found->bytes = block->bytes | kept | (DT_SPAN_BORN(span) ? 0 : DT_BLOCK_HIDES);
		found->traceback = block->traceback; /* the address is its caller's alone: nobody else touches the row now */
		if (atomic_compare_and_swap(&found->span, span, block->span) != span)
			return -EEXIST;
	}
	if (!error)
		atomic_add(&spare_rows, -1);
	return error;
}

/* Enters a block at an address that has none. -EEXIST: it has one. */
static __always_inline int live_make(const struct account *account, const struct dt_block_key *key, const struct dt_block *block)
{
	__u32 table;
	struct dt_block *found = rows_find(key, &table);

	return found ? live_reuse(account, key, table, found, block) : rows_make(key, block);
}

/* Enters a block; one that already stands at its address is handed out through `old`. 0, 1: replaced one, or -errno. */
static __always_inline int live_add(const struct account *account, __u64 address, const struct dt_block *block, struct dt_block *old)
{
	struct dt_block_key key = { .owner = account->owner, .address = address };
	int error = live_make(account, &key, block);
	struct dt_block *found;
	__u32 table;
	__u64 span;

	if (error != -EEXIST)
		return error;
	found = rows_find(&key, &table);
	if (!found)
		return live_make(account, &key, block);
	*old = *found;
	span = DT_SPAN(DT_SPAN_BORN(old->span), DT_SEGMENTS_NOW(account->segments));
	/* Freed in between: only a program that races with itself does that. */
	if (DT_SPAN_DIED(old->span) || atomic_compare_and_swap(&found->span, old->span, span) != old->span)
		return live_make(account, &key, block);
	atomic_add(&spare_rows, 1);
	error = live_make(account, &key, block);
	if (!error)
		return block_is_known(account, old);
	/* No room for what heirs have of the old block: it stays. */
	if (atomic_compare_and_swap(&found->span, span, old->span) == span)
		atomic_add(&spare_rows, -1);
	return error;
}

/* Is a block of that size there, of the image's own? */
static __always_inline bool live_holds(const struct account *account, __u64 address, __u64 bytes)
{
	struct dt_block_key key = { .owner = account->owner, .address = address };
	__u32 table;
	const struct dt_block *found = rows_find(&key, &table);

	return found && !DT_SPAN_DIED(found->span) && block_bytes(found) == bytes && block_is_known(account, found);
}

/* ---- a block goes ------------------------------------------------------------------------------------------------ */

/* Takes out a block that was inherited: a row of the heir's own says from now on that it has gone. */
static __always_inline bool live_take_inherited(const struct account *account, const struct dt_block_key *key, struct dt_block *block)
{
	struct dt_block gone;
	int error;

	if (!live_find_inherited(account, key, block))
		return false;
	gone = *block;
	gone.span = DT_SPAN(0, DT_SEGMENTS_NOW(account->segments));
	error = rows_make(key, &gone);
	if (error == -EEXIST)
		return false;           /* another thread freed it at the same time, and books that */
	if (error) {                    /* booked without a row, it could be booked again with each free at its address */
		count_add(DT_COUNTER_inherited_unknown);
		return false;
	}
	atomic_add(&spare_rows, 1);
	return true;
}

/* Must the row of a block that dies now stay? Not for heirs, if it came after the last of them, unless others were there before. */
static __always_inline bool live_is_needed(const struct account *account, const struct dt_block *block)
{
	__u32 born = DT_SPAN_BORN(block->span);

	return !born || block->bytes & DT_BLOCK_HIDES || live_has_heirs(account, born) || (account->state->heirs && block_past(block)) ||
	       live_is_read(DT_SPAN(born, DT_SEGMENTS_NOW(account->segments)));
}

/* Takes a block out without booking anything. False: there is none, or a clear has forgotten it. */
static __always_inline bool live_take(const struct account *account, __u64 address, struct dt_block *block)
{
	struct dt_block_key key = { .owner = account->owner, .address = address };
	__u32 table;
	struct dt_block *found = rows_find(&key, &table);
	__u64 span;

	if (!found)
		return live_take_inherited(account, &key, block);
	*block = *found;
	span = DT_SPAN(DT_SPAN_BORN(block->span), DT_SEGMENTS_NOW(account->segments));
	if (DT_SPAN_DIED(block->span) || atomic_compare_and_swap(&found->span, block->span, span) != block->span)
		return false;           /* another thread freed it at the same time, and books that */
	if (spare_rows < spare_rows_max || live_is_needed(account, block))
		atomic_add(&spare_rows, 1);
	else
		rows_remove(&key, table);
	return block_is_known(account, block);
}

static __always_inline bool block_is_same(const struct dt_block *a, const struct dt_block *b)
{
	return DT_SPAN_BORN(a->span) == DT_SPAN_BORN(b->span) && block_bytes(a) == block_bytes(b) && a->traceback == b->traceback;
}

/* Puts a block back that live_take() took: its realloc failed, or was left. Other blocks may have been at its address meanwhile. */
static __always_inline void live_put_back(const struct account *account, __u64 address, const struct dt_block *taken)
{
	struct dt_block block = { .bytes = block_bytes(taken), .traceback = taken->traceback, .span = taken->span };
	struct dt_block_key key = { .owner = account->owner, .address = address };
	__u32 table;
	struct dt_block *found = rows_find_rarely(&key, &table);
	__u64 span = found ? found->span : 0;

	if (found && DT_SPAN_DIED(span) && block_is_same(found, &block)) {
		if (atomic_compare_and_swap(&found->span, span, block.span) == span)
			atomic_add(&spare_rows, -1);
		return;
	}
	if (found ? live_reuse(account, &key, table, found, &block) : rows_make(&key, &block))
		count_add(DT_COUNTER_live_full);
}
