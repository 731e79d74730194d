// SPDX-License-Identifier: BSD-2-Clause
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

static const struct { const char *text; unsigned words; bool has_body; } actions[ACTION_COUNT] = {
#define A(id, text, words, body) [ACTION_##id] = { text, words, body },
	ACTIONS(A)
#undef A
};

static const char *const functions[FUNCTION_COUNT] = {
#define F(id, text) [FUNCTION_##id] = text,
	FAMILY(F)
#undef F
};

static const char *const ends[END_COUNT] = {
#define E(id, text) [END_##id] = text,
	ENDS(E)
#undef E
};

struct node *program_add(struct program *program, uint32_t **tail, enum action action)
{
	struct node *node;

	if (program->count == NODES_MAX)
		return NULL;
	node = &program->nodes[program->count];
	*node = (struct node){ .action = action };
	**tail = program->count++;
	*tail = &node->next;
	return node;
}

static void print_words(const struct node *node)
{
	unsigned long long bytes = node->bytes, detail = node->detail;

	switch (node->action) {
	case ACTION_ALLOCATE:
	case ACTION_RESIZE:
		printf(" %s %u %llu %llu", functions[node->function], node->slot, bytes, detail);
		break;
	case ACTION_FREE:
		printf(" %u", node->slot);
		break;
	case ACTION_REFUSED:
		printf(" %s", functions[node->function]);
		break;
	case ACTION_FAULT:
	case ACTION_TIMER:
		printf(" %llu", bytes);
		break;
	case ACTION_END:
		printf(" %s", ends[node->flag]);
		break;
	default:
		if (actions[node->action].words)
			printf(" %u", node->flag);
	}
}

static void print_list(const struct program *program, uint32_t at, unsigned depth)
{
	for (; at != NO_NODE; at = program->nodes[at].next) {
		for (unsigned i = 0; i < depth; i++)
			putchar('\t');
		fputs(actions[program->nodes[at].action].text, stdout);
		print_words(&program->nodes[at]);
		putchar('\n');
		print_list(program, program->nodes[at].body, depth + 1);
	}
}

void program_print(const struct program *program)
{
	print_list(program, program->nodes[0].body, 0);
}

static bool find_name(const char *const *names, unsigned count, const char *word, uint32_t *ret_number)
{
	for (unsigned i = 0; i < count; i++) {
		if (word && names[i] && !strcmp(names[i], word)) {
			*ret_number = i;
			return true;
		}
	}
	return false;
}

static bool parse_words(struct node *node, char *const *words)
{
	switch (node->action) {
	case ACTION_ALLOCATE:
	case ACTION_RESIZE:
		node->slot = (uint32_t)strtoul(words[1], NULL, 10) % SLOTS;
		node->bytes = strtoull(words[2], NULL, 10);
		node->detail = strtoull(words[3], NULL, 10);
		return find_name(functions, FUNCTION_COUNT, words[0], &node->function);
	case ACTION_FREE:
		node->slot = (uint32_t)strtoul(words[0], NULL, 10) % SLOTS;
		return true;
	case ACTION_REFUSED:
		return find_name(functions, FUNCTION_COUNT, words[0], &node->function);
	case ACTION_FAULT:
	case ACTION_TIMER:
		node->bytes = strtoull(words[0], NULL, 10);
		return true;
	case ACTION_END:
		return find_name(ends, END_COUNT, words[0], &node->flag);
	default:
		node->flag = words[0] ? (uint32_t)strtoul(words[0], NULL, 10) : 0;
		return true;
	}
}

static bool parse_line(struct program *program, uint32_t **tails, unsigned *depth, char *line)
{
	unsigned indent = (unsigned)strspn(line, "\t"), count = 0, action = 0;
	char *words[4] = { NULL }, *rest = NULL, *word = strtok_r(line + indent, " ", &rest);
	struct node *node;

	while (action < ACTION_COUNT && strcmp(actions[action].text, word))
		action++;
	if (action == ACTION_COUNT || indent > *depth || indent + 1 >= DEPTH_MAX)
		return false;
	while (count < 4 && (words[count] = strtok_r(NULL, " ", &rest)))
		count++;
	node = program_add(program, &tails[indent], action);
	if (!node || count != actions[action].words)
		return false;
	tails[indent + 1] = &node->body;
	*depth = indent + (actions[action].has_body ? 1 : 0);
	return parse_words(node, words);
}

unsigned program_parse(struct program *program, char *text)
{
	uint32_t *tails[DEPTH_MAX] = { &program->nodes[0].body };
	unsigned depth = 0, number = 0;
	char *rest = text, *line;

	program->count = 1;
	while ((line = strsep(&rest, "\n"))) {
		number++;
		if (line[strspn(line, "\t ")] && !parse_line(program, tails, &depth, line))
			return number;
	}
	return 0;
}
