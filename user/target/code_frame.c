/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A walk over the control flow, forward from where functions begin, carries the state of the stack along. What it finds is
 * trusted as far as the way that led there:
 *
 *   SURE      from a function's start (a symbol, the target of a call, the program's entry) over jumps
 *   TAKEN     the same from an address that the code computes or that is in a list of the loader: mostly that of a function
 *   LIKELY    behind a call through a pointer, or of a function that was seen to return. It may not do so in this case
 *             (exit() through a pointer, ereport() in PostgreSQL), and then something else begins behind the call.
 *   DOUBTFUL  behind a call of a function that cannot be looked at, or that was not seen to return
 *
 * Two ways of equal trust that disagree leave only what they have in common; else the more trusted one counts. What is not
 * SURE needs a proof from the other end: a way on to a `ret` (or a jump to another function) where the stack is as it must be
 * there. Each instruction on that way changes the distance by a known amount, so that a wrong distance would have stayed
 * wrong by the same amount and the `ret` would not find its address. For all but DOUBTFUL a call on a stack that is aligned to
 * 16 bytes will do: the ABI demands that alignment (AMD64 supplement, 3.2.2), and where something else begins, or at a place
 * inside of a function that was taken for its start, the distance is wrong by 8 and not by 16. A `ret` that does not fit
 * refutes all that leads to it. Code that only an indirect jump leads to is not found, and has no rule.
 */
#include "target/code_frame.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "base/cleanup.h"
#include "target/code_step.h"

enum trust {
	DOUBTFUL,
	LIKELY,
	TAKEN,
	SURE,
	TRUST_COUNT,
};

enum mark {
	MARK_RETURNS = 1,               /* a way on from here returns, as far as is known during the walk */
	MARK_PROVED = 2,                /* a way on from here leaves the function with the stack as it must be */
	MARK_REFUTED = 4,
	MARK_ALIGNED = 8,
	MARK_MISALIGNED = 16,
	MARK_QUEUED = 32,
};

#define NOWHERE UINT32_MAX
#define LEAF_INSTRUCTIONS_MAX 32

/* An instruction that the walk has come to. */
struct point {
	uint32_t at;                    /* byte of all parts, counted on */
	uint32_t ways, callers;         /* the last ones added that lead here */
	struct dt_code_state state;
	uint8_t trust, marks;
	uint8_t flow, length;           /* 0 bytes: there is no instruction */
};

/* From one point to another; those that lead to the same one are a list. */
struct way {
	uint32_t from, next;
	bool doubtful;                  /* only if a call returns */
};

struct numbers {
	uint32_t *items;
	size_t count, space;
};

struct walk {
	ZydisDecoder decoder;
	const struct dt_code_part *parts;
	uint32_t *first;                /* of each part: the number of its first byte; one more for the end */
	size_t part_count;
	uint32_t *point_at;             /* of each byte; NOWHERE */
	struct point *points;
	size_t point_count, point_space;
	struct way *ways;
	size_t way_count, way_space;
	struct numbers work[TRUST_COUNT];
	struct numbers marking;
	uint64_t entry;
	bool moves;                     /* the file may be loaded anywhere: no number in its code is an address */
	bool linking;                   /* all points are known: only ways are added */
	int error;
};

/* A larger array in the place of a full one; NULL: there is no memory, and the walk is over. */
static void *grow(struct walk *walk, void *items, size_t *space, size_t item_size)
{
	size_t larger = 2 * *space + 256;
	void *grown = reallocarray(items, larger, item_size);

	if (!grown)
		walk->error = -ENOMEM;
	else
		*space = larger;
	return grown;
}

static void add_number(struct walk *walk, struct numbers *numbers, uint32_t number)
{
	if (numbers->count == numbers->space) {
		uint32_t *items = grow(walk, numbers->items, &numbers->space, sizeof(*items));

		if (!items)
			return;
		numbers->items = items;
	}
	numbers->items[numbers->count++] = number;
}

/* ---- addresses ----------------------------------------------------------------------------------------------- */

/* The number of a byte of code; NOWHERE. */
static uint32_t find_byte(const struct walk *walk, uint64_t vaddr)
{
	size_t low = 0, high = walk->part_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (walk->parts[middle].vaddr + walk->parts[middle].size <= vaddr)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == walk->part_count || vaddr < walk->parts[low].vaddr)
		return NOWHERE;
	return walk->first[low] + (uint32_t)(vaddr - walk->parts[low].vaddr);
}

/* The part that a byte is in, and where. */
static const struct dt_code_part *find_part(const struct walk *walk, uint32_t at, uint32_t *ret_offset)
{
	size_t low = 0, high = walk->part_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (walk->first[middle + 1] <= at)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_offset = at - walk->first[low];
	return &walk->parts[low];
}

/* ---- marks, backward ----------------------------------------------------------------------------------------- */

static void queue(struct walk *walk, uint32_t index)
{
	struct point *point = &walk->points[index];

	if (point->marks & MARK_QUEUED)
		return;
	point->marks |= MARK_QUEUED;
	add_number(walk, &walk->work[point->trust], index);
}

/* Marks a point and all those that lead to it. Where a function turns out to return, its callers are looked at again. */
static void mark(struct walk *walk, uint32_t index, enum mark bit)
{
	walk->marking.count = 0;
	add_number(walk, &walk->marking, index);
	while (walk->marking.count && !walk->error) {
		struct point *point = &walk->points[walk->marking.items[--walk->marking.count]];

		if (point->marks & bit)
			continue;
		point->marks |= (uint8_t)bit;
		for (uint32_t i = point->ways; i != NOWHERE; i = walk->ways[i].next)
			if (bit == MARK_PROVED || !walk->ways[i].doubtful)
				add_number(walk, &walk->marking, walk->ways[i].from);
		for (uint32_t i = point->callers; bit == MARK_RETURNS && i != NOWHERE; i = walk->ways[i].next)
			queue(walk, walk->ways[i].from);
	}
}

/* ---- the walk ------------------------------------------------------------------------------------------------ */

static void add_way(struct walk *walk, uint32_t *list, uint32_t from, bool doubtful)
{
	if (walk->way_count == walk->way_space) {
		struct way *ways = grow(walk, walk->ways, &walk->way_space, sizeof(*ways));

		if (!ways)
			return;
		walk->ways = ways;
	}
	walk->ways[walk->way_count] = (struct way){ from, *list, doubtful };
	*list = (uint32_t)walk->way_count++;
}

static uint32_t add_point(struct walk *walk, uint32_t at, const struct dt_code_state *state, enum trust trust)
{
	if (walk->point_count == walk->point_space) {
		struct point *points = grow(walk, walk->points, &walk->point_space, sizeof(*points));

		if (!points)
			return NOWHERE;
		walk->points = points;
	}
	walk->points[walk->point_count] = (struct point){ .at = at, .ways = NOWHERE, .callers = NOWHERE, .state = *state,
							  .trust = (uint8_t)trust };
	walk->point_at[at] = (uint32_t)walk->point_count;
	queue(walk, (uint32_t)walk->point_count);
	return (uint32_t)walk->point_count++;
}

/* Ways that differ only in what the frame pointer holds can be of one function, whoever is trusted more. */
static bool is_compatible(const struct dt_code_state *one, const struct dt_code_state *other)
{
	return one->outermost == other->outermost && one->depth == other->depth && one->saved == other->saved;
}

/* The point at a byte, if what it says holds for that state, too: a new one, or now, or before. Else NOWHERE. */
static uint32_t reach(struct walk *walk, uint32_t at, const struct dt_code_state *state, enum trust trust)
{
	uint32_t index = walk->point_at[at];
	struct dt_code_state both;
	struct point *point;

	if (index == NOWHERE)
		return walk->linking ? NOWHERE : add_point(walk, at, state, trust);
	point = &walk->points[index];
	both = dt_code_state_merge(&point->state, state);
	if (!walk->linking && (trust >= point->trust || is_compatible(&point->state, state))) {
		if (trust > point->trust && !is_compatible(&point->state, state))
			both = *state;
		if (trust > point->trust || memcmp(&point->state, &both, sizeof(both)))
			queue(walk, index);
		point->state = both;
		point->trust = trust > point->trust ? (uint8_t)trust : point->trust;
	}
	return memcmp(&point->state, &both, sizeof(both)) ? NOWHERE : index;
}

/* On from a point. False: the place is none that is looked at here. */
static bool go_on(struct walk *walk, uint32_t from, uint64_t vaddr, const struct dt_code_state *state, enum trust most)
{
	enum trust trust = walk->points[from].trust;
	uint32_t at = find_byte(walk, vaddr), to;

	if (at == NOWHERE)
		return false;
	to = reach(walk, at, state, trust < most ? trust : most);
	if (to == NOWHERE || walk->error)
		return true;
	add_way(walk, &walk->points[to].ways, from, most == DOUBTFUL);
	if (!walk->linking && most != DOUBTFUL && walk->points[to].marks & MARK_RETURNS)
		mark(walk, from, MARK_RETURNS);
	return true;
}

static void start(struct walk *walk, uint64_t vaddr, const struct dt_code_state *state, enum trust trust)
{
	uint32_t at = find_byte(walk, vaddr);

	if (at != NOWHERE && !walk->linking)
		reach(walk, at, state, trust);
}

/* Whether a call of code that is looked at is seen to return; that code is looked at, too. */
static bool call(struct walk *walk, uint32_t from, uint64_t target)
{
	uint32_t at = find_byte(walk, target);
	struct point *callee;

	if (at == NOWHERE)
		return false;
	if (!walk->linking) {
		start(walk, target, &DT_CODE_START, walk->points[from].trust == SURE ? SURE : TAKEN);
		if (walk->error)
			return false;
		add_way(walk, &walk->points[walk->point_at[at]].callers, from, false);
	}
	callee = &walk->points[walk->point_at[at]];
	return callee->marks & MARK_RETURNS;
}

/*
 * A short function without calls, and without ways around its first `ret`. A compiler that sees such a one calls it on a stack
 * that is not aligned (GCC: -fipa-stack-alignment), and all others on one that is.
 */
static bool is_leaf(const struct walk *walk, uint64_t vaddr)
{
	uint32_t at = find_byte(walk, vaddr), offset;
	const struct dt_code_part *part = at == NOWHERE ? NULL : find_part(walk, at, &offset);
	uint64_t farthest = vaddr, first = vaddr;

	for (int i = 0; part && i < LEAF_INSTRUCTIONS_MAX && vaddr - part->vaddr < part->size; i++) {
		size_t from = vaddr - part->vaddr;
		struct dt_code_step step;

		if (!dt_code_step_read(&walk->decoder, part->bytes + from, part->size - from, vaddr, &DT_CODE_START, &step))
			return false;
		if (step.flow == DT_FLOW_RETURN)
			return farthest <= vaddr;
		if (step.flow != DT_FLOW_NEXT && (step.flow != DT_FLOW_BRANCH || step.target < first))
			return false;
		if (step.flow == DT_FLOW_BRANCH && step.target > farthest)
			farthest = step.target;
		vaddr += step.length;
	}
	return false;
}

/*
 * Behind a call that seems to return. Where the stack is not aligned for it, the way there was wrong, and what comes behind is
 * not even looked at, unless that way was a sure one.
 */
static void go_behind(struct walk *walk, uint32_t index, uint64_t next, const struct dt_code_step *step)
{
	bool returns = step->flow == DT_FLOW_CALL_POINTER || (step->flow == DT_FLOW_CALL && call(walk, index, step->target));
	bool is_aligned = step->after.depth % 16 == 0 || (step->flow == DT_FLOW_CALL && is_leaf(walk, step->target));

	if (walk->error || (!is_aligned && (!returns || walk->points[index].trust != SURE)))
		return;
	go_on(walk, index, next, &step->after, returns ? LIKELY : DOUBTFUL);
}

static void step(struct walk *walk, uint32_t index)
{
	struct point *point = &walk->points[index];
	struct dt_code_step step;
	uint32_t offset;
	const struct dt_code_part *part = find_part(walk, point->at, &offset);
	uint64_t vaddr = part->vaddr + offset, next;
	bool left = dt_code_state_is_left(&point->state);

	point->flow = DT_FLOW_STOP;
	point->length = 0;
	if (!dt_code_step_read(&walk->decoder, part->bytes + offset, part->size - offset, vaddr, &point->state, &step))
		return;
	point->flow = (uint8_t)step.flow;
	point->length = step.length;
	next = vaddr + step.length;
	if (step.taken && !(step.taken_is_number && walk->moves))
		start(walk, step.taken, &DT_CODE_START, TAKEN);
	switch (step.flow) {
	case DT_FLOW_NEXT:
		go_on(walk, index, next, &step.after, SURE);
		break;
	case DT_FLOW_BRANCH:
		go_on(walk, index, next, &step.after, SURE);
		go_on(walk, index, step.target, &step.after, SURE);
		break;
	case DT_FLOW_JUMP:
		/* Into code that tables describe: a function like an imported one. */
		if (!go_on(walk, index, step.target, &step.after, SURE))
			walk->points[index].flow = DT_FLOW_JUMP_IMPORTED;
		break;
	case DT_FLOW_CALL:
	case DT_FLOW_CALL_POINTER:
	case DT_FLOW_CALL_IMPORTED:
		go_behind(walk, index, next, &step);
		break;
	case DT_FLOW_RETURN:
	case DT_FLOW_JUMP_POINTER:
		if (left && !walk->linking)
			mark(walk, index, MARK_RETURNS);
		break;
	default:
		break;
	}
}

static void walk_all(struct walk *walk)
{
	for (size_t trust = TRUST_COUNT; trust > 0 && !walk->error;) {
		struct numbers *work = &walk->work[trust - 1];
		uint32_t index;

		if (!work->count) {
			trust--;
			continue;
		}
		index = work->items[--work->count];
		walk->points[index].marks &= (uint8_t)~MARK_QUEUED;
		step(walk, index);
		trust = TRUST_COUNT;
	}
}

/* ---- where functions begin ----------------------------------------------------------------------------------- */

/* Symbols that end in .cold name the rarely used parts of functions; they begin with the stack as the other part left it. */
static int start_symbol(void *context, const struct dt_elf_symbol *symbol)
{
	struct walk *walk = context;

	if (symbol->function && symbol->vaddr != walk->entry && !strstr(symbol->name, ".cold"))
		start(walk, symbol->vaddr, &DT_CODE_START, SURE);
	return walk->error;
}

/* The functions that the loader calls: addresses as the linker wrote them, of a file that is loaded where it wants or not. */
static void start_listed(struct walk *walk, struct dt_elf *elf, const char *section)
{
	const uint8_t *bytes;
	uint64_t vaddr;
	size_t size;

	if (dt_elf_section(elf, section, &bytes, &size, &vaddr))
		return;
	for (size_t at = 0; at + sizeof(vaddr) <= size; at += sizeof(vaddr)) {
		memcpy(&vaddr, bytes + at, sizeof(vaddr));
		start(walk, vaddr, &DT_CODE_START, TAKEN);
	}
}

static void start_all(struct walk *walk, struct dt_elf *elf)
{
	walk->moves = dt_elf_moves(elf);
	walk->entry = dt_elf_entry(elf);
	/* The kernel or the loader jumps there, with no return address. */
	if (walk->entry)
		start(walk, walk->entry, &DT_CODE_OUTERMOST, SURE);
	dt_elf_each_symbol(elf, start_symbol, walk);
	start_listed(walk, elf, ".preinit_array");
	start_listed(walk, elf, ".init_array");
	start_listed(walk, elf, ".fini_array");
}

/* ---- proofs -------------------------------------------------------------------------------------------------- */

/* The ways of the walk are those of all states that a point ever had: what counts are those between the last ones. */
static void link_points(struct walk *walk)
{
	walk->linking = true;
	walk->way_count = 0;
	for (size_t i = 0; i < walk->point_count; i++)
		walk->points[i].ways = walk->points[i].callers = NOWHERE;
	for (size_t i = 0; i < walk->point_count && !walk->error; i++)
		step(walk, (uint32_t)i);
}

/* What an instruction proves by itself; 0. */
static enum mark judge(const struct point *point)
{
	const struct dt_code_state *state = &point->state;
	bool is_return = point->flow == DT_FLOW_RETURN;

	switch (point->flow) {
	case DT_FLOW_CALL:
	case DT_FLOW_CALL_POINTER:
	case DT_FLOW_CALL_IMPORTED:
		return !state->depth ? 0 : state->depth % 16 ? MARK_MISALIGNED : MARK_ALIGNED;
	case DT_FLOW_STOP:
	case DT_FLOW_JUMP_POINTER:
	case DT_FLOW_JUMP_IMPORTED:
	case DT_FLOW_RETURN:
		/* The outermost code cannot return. */
		if (state->outermost)
			return is_return ? MARK_REFUTED : point->length ? MARK_PROVED : 0;
		if (dt_code_state_is_left(state))
			return point->flow != DT_FLOW_STOP ? MARK_PROVED : 0;
		return is_return && state->depth ? MARK_REFUTED : 0;
	}
	return 0;
}

static void prove(struct walk *walk)
{
	link_points(walk);
	for (size_t i = 0; i < walk->point_count && !walk->error; i++) {
		enum mark bit = judge(&walk->points[i]);

		if (bit)
			mark(walk, (uint32_t)i, bit);
	}
}

static bool is_certain(const struct point *point)
{
	bool is_aligned = (point->marks & (MARK_ALIGNED | MARK_MISALIGNED)) == MARK_ALIGNED;

	if (point->marks & MARK_REFUTED)
		return false;
	return point->trust == SURE || point->marks & MARK_PROVED || (point->trust != DOUBTFUL && is_aligned);
}

/* ---- what was found ------------------------------------------------------------------------------------------ */

struct range {
	uint64_t start, end;
	struct dt_unwind_rule rule;
};

static int tell_part(const struct walk *walk, size_t index, dt_eh_frame_fn fn, void *context)
{
	const struct dt_code_part *part = &walk->parts[index];
	struct range range = { 0 };
	int result = 0;

	for (size_t i = 0; i < part->size && !result; i++) {
		uint32_t number = walk->point_at[walk->first[index] + i];
		const struct point *point = number == NOWHERE ? NULL : &walk->points[number];
		struct dt_unwind_rule rule;
		uint64_t vaddr = part->vaddr + i;

		if (!point || !point->length || !is_certain(point))
			continue;
		rule = dt_code_state_rule(&point->state);
		if (rule.cfa == DT_CFA_NONE)
			continue;
		if (range.end != vaddr || memcmp(&range.rule, &rule, sizeof(rule))) {
			if (range.start < range.end)
				result = fn(context, range.start, range.end, &range.rule);
			range = (struct range){ vaddr, vaddr, rule };
		}
		range.end = vaddr + point->length;
	}
	return result || range.start == range.end ? result : fn(context, range.start, range.end, &range.rule);
}

/*
 * What the kernel returns to from a signal handler: `mov $15, %rax; syscall`, as debuggers and unwinders recognise it (libgcc:
 * config/i386/linux-unwind.h). musl's has no table entry. Its address is where the handler returns to, not behind a call:
 * who takes the byte before a return address for the call finds the byte before the code. Nothing else is told of these bytes.
 */
static int tell_signal_returns(const struct walk *walk, size_t index, dt_eh_frame_fn fn, void *context)
{
	static const uint8_t code[] = { 0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05 };
	static const struct dt_unwind_rule rule = { .cfa = DT_CFA_SIGNAL };
	const struct dt_code_part *part = &walk->parts[index];
	const uint8_t *at = part->bytes;
	int result = 0;

	while (!result && (at = memmem(at, (size_t)(part->bytes + part->size - at), code, sizeof(code)))) {
		size_t from = (size_t)(at - part->bytes) - (at > part->bytes), to = (size_t)(at - part->bytes) + sizeof(code);

		for (size_t i = from; i < to; i++)
			walk->point_at[walk->first[index] + i] = NOWHERE;
		result = fn(context, part->vaddr + from, part->vaddr + to, &rule);
		at += sizeof(code);
	}
	return result;
}

/* ---- all of it ----------------------------------------------------------------------------------------------- */

static int count_bytes(struct walk *walk)
{
	size_t size = 0;

	walk->first = reallocarray(NULL, walk->part_count + 1, sizeof(*walk->first));
	if (!walk->first)
		return -ENOMEM;
	for (size_t i = 0; i <= walk->part_count; i++) {
		walk->first[i] = (uint32_t)size;
		if (i == walk->part_count)
			break;
		if (walk->parts[i].size > DT_CODE_BYTES_MAX - size) {
			walk->part_count = i;
			break;
		}
		size += walk->parts[i].size;
	}
	walk->point_at = malloc(size * sizeof(*walk->point_at) + 1);
	if (!walk->point_at)
		return -ENOMEM;
	memset(walk->point_at, 0xff, size * sizeof(*walk->point_at));
	return 0;
}

static void free_walk(struct walk *walk)
{
	free(walk->first);
	free(walk->point_at);
	free(walk->points);
	free(walk->ways);
	free(walk->marking.items);
	for (size_t i = 0; i < TRUST_COUNT; i++)
		free(walk->work[i].items);
}

int dt_code_frame_each(struct dt_elf *elf, const struct dt_code_part *parts, size_t part_count,
		       const struct dt_code_starts *starts, dt_eh_frame_fn fn, void *context)
{
	DT_CLEANUP(free_walk) struct walk walk = { .parts = parts, .part_count = part_count };
	int result = count_bytes(&walk);

	if (result)
		return result;
	if (ZYAN_FAILED(ZydisDecoderInit(&walk.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)))
		return 0;
	start_all(&walk, elf);
	for (size_t i = 0; i < starts->count; i++)
		start(&walk, starts->vaddrs[i], &DT_CODE_START, SURE);
	walk_all(&walk);
	prove(&walk);
	result = walk.error;
	for (size_t i = 0; i < walk.part_count && !result; i++)
		result = tell_signal_returns(&walk, i, fn, context);
	for (size_t i = 0; i < walk.part_count && !result; i++)
		result = tell_part(&walk, i, fn, context);
	return result;
}
