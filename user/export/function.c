/* SPDX-License-Identifier: BSD-2-Clause */
#include "export/function.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define OPERATOR "operator"
#define ANONYMOUS "(anonymous namespace)"
#define LEFT_OUT "..."

/* Bytes from `at` on that are part of a name although they look like brackets; 0: none. */
static size_t literal_size(const char *function, const char *at)
{
	size_t before = (size_t)(at - function);

	if (!strncmp(at, ANONYMOUS, strlen(ANONYMOUS)))
		return strlen(ANONYMOUS);
	if (*at == '<' && !before)
		return 1;       /* Rust: "<Vec<T> as Trait>::method" */
	if (*at == '<' && before >= strlen(OPERATOR) && !strncmp(at - strlen(OPERATOR), OPERATOR, strlen(OPERATOR)))
		return strspn(at, "<=>");
	return 0;
}

static char closing(char opening)
{
	return opening == '<' ? '>' : ')';
}

/* Where the bracket at `at` closes, or the end of the text. */
static const char *find_close(const char *at)
{
	char open = *at, close = closing(open);
	size_t depth = 0;

	for (; *at; at++) {
		depth += *at == open;
		depth -= *at == close;
		if (!depth)
			break;
	}
	return at;
}

/*
 * Where the name begins: the demangled name of a function template has the type of its result before it (Itanium C++ ABI
 * 5.1.5.3), "std::shared_ptr<...> std::make_shared<...>(...)".
 */
static const char *skip_result(const char *outline)
{
	const char *name = outline;

	for (const char *at = outline; *at; at++) {
		if (!strncmp(at, ANONYMOUS, strlen(ANONYMOUS)))
			at += strlen(ANONYMOUS) - 1;
		else if (*at == ' ' && (at[1] != '(' || !strncmp(at + 1, ANONYMOUS, strlen(ANONYMOUS))))
			name = at + 1;
		else if (*at == '(' || !strncmp(at, OPERATOR, strlen(OPERATOR)))
			return name;
	}
	return outline;         /* no arguments: no C++ function */
}

char *dt_function_outline(const char *function)
{
	/* "<>" and "()" stay as they are; of longer brackets, at least 3 bytes, nothing grows by more than 2 of them. */
	char *outline = malloc(2 * strlen(function) + sizeof(LEFT_OUT)), *end = outline;
	const char *at = function;

	if (!outline)
		return NULL;
	while (*at) {
		size_t literal = literal_size(function, at);
		const char *close = NULL;

		if (!literal && (*at == '<' || *at == '('))
			close = find_close(at);
		if (!close || close == at + 1) {
			literal = literal ? literal : 1;
			memcpy(end, at, literal);
			end += literal;
			at += literal;
			continue;
		}
		*end++ = *at;
		end = stpcpy(end, LEFT_OUT);
		if (*close)
			*end++ = *close;
		at = *close ? close + 1 : close;
	}
	*end = '\0';
	at = skip_result(outline);
	memmove(outline, at, strlen(at) + 1);
	return outline;
}
