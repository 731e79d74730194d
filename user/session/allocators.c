/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/allocators.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static bool is_name(const char *text)
{
	return !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$.")];
}

/* How much of the text is the file. */
static size_t file_length(const char *text)
{
	const char *colon = strrchr(text, ':');

	return colon && is_name(colon + 1) ? (size_t)(colon - text) : strlen(text);
}

static int parse_one(const char *text, const struct dt_log *log, struct dt_allocator *allocator)
{
	size_t length = file_length(text);

	if (!length)
		return dt_log_error(log, -EINVAL, "the allocator '%s' names no file: it is FILE or FILE:PREFIX", text);
	allocator->file = strndup(text, length);
	allocator->prefix = strdup(text[length] ? text + length + 1 : "");
	return allocator->file && allocator->prefix ? 0 : -ENOMEM;
}

int dt_allocators_parse(const char *const *texts, const struct dt_log *log, struct dt_allocators *ret_allocators)
{
	DT_CLEANUP(dt_allocators_clear) struct dt_allocators allocators = { 0 };
	size_t count = 0;

	while (texts && texts[count])
		count++;
	allocators.list = calloc(count + 1, sizeof(*allocators.list));
	if (!allocators.list)
		return -ENOMEM;
	while (allocators.count < count) {
		size_t i = allocators.count++;
		int error = parse_one(texts[i], log, &allocators.list[i]);

		if (error)
			return error;
	}
	*ret_allocators = allocators;
	allocators = (struct dt_allocators){ 0 };
	return 0;
}

void dt_allocators_clear(struct dt_allocators *allocators)
{
	for (size_t i = 0; i < allocators->count; i++) {
		free(allocators->list[i].file);
		free(allocators->list[i].prefix);
	}
	free(allocators->list);
	*allocators = (struct dt_allocators){ 0 };
}

bool dt_allocator_matches(const struct dt_allocator *allocator, const char *path)
{
	const char *name = strrchr(path, '/');

	if (!strchr(allocator->file, '/'))
		path = name ? name + 1 : path;
	return !fnmatch(allocator->file, path, 0);
}
