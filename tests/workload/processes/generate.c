// SPDX-License-Identifier: BSD-2-Clause
/* A program from a seed. The same seed makes the same program everywhere (but for pvalloc, which musl does not have). */
#include "program.h"

struct maker {
	struct program *program;
	uint64_t state;
	int actions, images, threads;           /* that may still be made */
	bool faults;
	uint32_t written[SLOTS];                /* slots that were filled: most actions are to find what they look for */
	unsigned written_count;
};

/* Where an action list stands: what may be in it. */
struct place {
	unsigned depth;
	bool in_handler, in_borrower, in_thread;
};

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" */
static uint64_t next(struct maker *maker)
{
	maker->state ^= maker->state >> 12;
	maker->state ^= maker->state << 25;
	maker->state ^= maker->state >> 27;
	return maker->state * 0x2545f4914f6cdd1dull;
}

static uint32_t below(struct maker *maker, uint32_t bound)
{
	return (uint32_t)((next(maker) >> 33) % bound);
}

static uint64_t random_bytes(struct maker *maker)
{
	uint32_t kind = below(maker, 100);

	if (kind < 4)
		return 0;
	return kind < 75 ? 1 + below(maker, 600) : kind < 95 ? below(maker, 20000) : below(maker, 400000);
}

static uint32_t filled_slot(struct maker *maker)
{
	if (!maker->written_count || !below(maker, 8))
		return below(maker, SLOTS);
	return maker->written[below(maker, maker->written_count)];
}

static void make_allocation(struct maker *maker, struct node *node)
{
	static const uint8_t weights[] = { 6, 3, 1, 1, 1, 1, 1, 2, 1 };
	uint32_t at = below(maker, 17);

	for (node->function = 0; node->function + 1 < FUNCTION_COUNT && at >= weights[node->function]; node->function++)
		at -= weights[node->function];
	node->slot = below(maker, SLOTS);
	node->bytes = random_bytes(maker);
	node->detail = node->function == FUNCTION_CALLOC || node->function == FUNCTION_REALLOCARRAY ? 1 + below(maker, 4)
		: (uint64_t)16 << below(maker, 8);
	maker->written[maker->written_count < SLOTS ? maker->written_count++ : below(maker, SLOTS)] = node->slot;
}

static void make_leaf(struct maker *maker, uint32_t **tail)
{
	uint32_t kind = below(maker, 100);
	enum action action = kind < 55 ? ACTION_ALLOCATE : kind < 75 ? ACTION_FREE : kind < 97 ? ACTION_RESIZE : ACTION_REFUSED;
	struct node *node = program_add(maker->program, tail, action);

	maker->actions--;
	if (!node)
		return;
	if (action == ACTION_ALLOCATE) {
		make_allocation(maker, node);
		return;
	}
	node->slot = filled_slot(maker);
	node->function = action == ACTION_REFUSED ? below(maker, FUNCTION_COUNT) : below(maker, 3) ? FUNCTION_REALLOC : FUNCTION_REALLOCARRAY;
	node->bytes = action == ACTION_RESIZE && below(maker, 10) ? random_bytes(maker) : 0;
	node->detail = 1 + below(maker, 3);
}

static void make_list(struct maker *maker, uint32_t *body, struct place place, int length);

static void make_body(struct maker *maker, struct node *node, struct place place)
{
	make_list(maker, &node->body, place, 2 + (int)below(maker, 14));
}

static void make_end(struct maker *maker, uint32_t **tail, struct place place)
{
	static const uint8_t often[] = { END_NOW, END_NOW, END_EXIT, END_EXIT, END_ABORT, END_KILL, END_TERM, END_LEAVE, END_LEAVE_RAW };
	struct node *node = program_add(maker->program, tail, ACTION_END);

	if (node)
		node->flag = often[below(maker, place.in_thread ? 7 : 9)];
}

/* Vfork's child and what borrows: a few calls in the parent's memory, then perhaps an image of its own. */
static void make_borrower(struct maker *maker, uint32_t **tail, struct place place)
{
	struct node *node = program_add(maker->program, tail, below(maker, 2) ? ACTION_VFORK : ACTION_BORROW);
	uint32_t *inner;
	int length = (int)below(maker, 5);

	if (!node)
		return;
	node->flag = below(maker, 2);
	inner = &node->body;
	while (length-- > 0)
		make_leaf(maker, &inner);
	if (below(maker, 2) && maker->images > 0) {
		maker->images--;
		node = program_add(maker->program, &inner, ACTION_EXEC);
		if (node)
			make_body(maker, node, (struct place){ .depth = place.depth + 2 });
	}
}

static void make_image(struct maker *maker, uint32_t **tail, struct place place)
{
	uint32_t kind = below(maker, 10);
	struct node *node;

	if (kind >= 7) {
		make_borrower(maker, tail, place);
		return;
	}
	maker->images--;
	node = program_add(maker->program, tail, kind < 5 ? ACTION_FORK : ACTION_SPAWN);
	if (!node)
		return;
	node->flag = below(maker, 2);
	make_body(maker, node, (struct place){ .depth = place.depth + 1, .in_thread = kind < 5 && place.in_thread });
}

static void make_other(struct maker *maker, uint32_t **tail, struct place place)
{
	static const uint8_t kinds[] = { ACTION_SIGNAL, ACTION_SIGNAL, ACTION_THREAD, ACTION_THREAD, ACTION_THREAD, ACTION_JOIN,
					 ACTION_REAP, ACTION_POKE, ACTION_TIMER, ACTION_FAULT };
	enum action action = kinds[below(maker, sizeof(kinds))];
	struct node *node;

	if ((place.in_handler && action != ACTION_POKE) || (action == ACTION_THREAD && maker->threads-- <= 0))
		return;
	node = program_add(maker->program, tail, action == ACTION_FAULT && !maker->faults ? ACTION_POKE : action);
	if (!node)
		return;
	node->flag = below(maker, 2);
	node->bytes = action == ACTION_TIMER ? 200 + below(maker, 5000) : 1 + below(maker, 3000);
	if (action == ACTION_SIGNAL)
		make_list(maker, &node->body, (struct place){ .depth = place.depth + 1, .in_handler = true, .in_thread = place.in_thread }, 4);
	else if (action == ACTION_THREAD)
		make_body(maker, node, (struct place){ .depth = place.depth + 1, .in_thread = true });
}

static void make_list(struct maker *maker, uint32_t *body, struct place place, int length)
{
	uint32_t *tail = body, kind;
	struct node *node;

	while (length-- > 0 && maker->actions > 0) {
		kind = place.depth + 4 < DEPTH_MAX ? below(maker, 100) : 0;
		if (kind < 76)
			make_leaf(maker, &tail);
		else if (kind < 88 && maker->images > 0)
			make_image(maker, &tail, place);
		else
			make_other(maker, &tail, place);
	}
	if (place.in_handler)
		return;
	if (!below(maker, place.in_thread ? 20 : 10) && maker->images > 0) {
		maker->images--;
		node = program_add(maker->program, &tail, ACTION_EXEC);
		if (node)
			make_body(maker, node, (struct place){ .depth = place.depth + 1 });
	} else if (!below(maker, place.in_thread ? 12 : 2)) {
		make_end(maker, &tail, place);
	}
}

void program_generate(struct program *program, uint64_t seed, bool faults)
{
	struct maker maker = { .program = program, .faults = faults, .state = seed * 2 + 1 };

	for (int i = 0; i < 8; i++)             /* neighbouring seeds begin alike */
		next(&maker);
	maker.actions = 20 + (int)below(&maker, 300);
	maker.images = (int)below(&maker, 20);
	maker.threads = (int)below(&maker, 8);
	program->count = 1;
	make_list(&maker, &program->nodes[0].body, (struct place){ .depth = 0 }, 10 + (int)below(&maker, 60));
}
