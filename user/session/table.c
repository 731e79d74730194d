/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/table.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"

#define BATCH_ROWS 4096

int dt_table_each(int map_fd, size_t key_size, size_t value_size, dt_table_fn fn, void *context)
{
	DT_FREE char *keys = NULL;
	DT_FREE char *values = NULL;
	uint64_t in = 0, out = 0;
	uint32_t room = BATCH_ROWS;
	bool first = true, last = false;

	keys = malloc(room * key_size);
	values = malloc(room * value_size);
	while (keys && values && !last) {
		uint32_t count = room;
		int error = bpf_map_lookup_batch(map_fd, first ? NULL : &in, &out, keys, values, &count, NULL) ? -errno : 0;

		if (error == -ENOSPC) { /* a bucket holds more than fits: it is not split */
			free(keys);
			free(values);
			room *= 2;
			keys = malloc(room * key_size);
			values = malloc(room * value_size);
			continue;
		}
		if (error && error != -ENOENT)
			return error;
		last = error == -ENOENT;
		for (uint32_t i = 0; i < count; i++) {
			error = fn(context, keys + i * key_size, values + i * value_size);
			if (error)
				return error;
		}
		in = out;
		first = false;
	}
	return keys && values ? 0 : -ENOMEM;
}

/* Keys of the rows to remove, gathered first: a map that changes while it is read may be read wrong. */
struct removal {
	char *keys;
	size_t count, room, key_size;
	dt_table_choose_fn choose;
	void *context;
};

static int gather_key(void *context, const void *key, const void *value)
{
	struct removal *removal = context;

	if (!removal->choose(removal->context, key, value))
		return 0;
	if (removal->count == removal->room) {
		size_t room = removal->room ? removal->room * 2 : 1024;
		char *grown = realloc(removal->keys, room * removal->key_size);

		if (!grown)
			return -ENOMEM;
		removal->keys = grown;
		removal->room = room;
	}
	memcpy(removal->keys + removal->count++ * removal->key_size, key, removal->key_size);
	return 0;
}

int dt_table_remove(int map_fd, size_t key_size, size_t value_size, dt_table_choose_fn choose, void *context, size_t *removed)
{
	struct removal removal = { .key_size = key_size, .choose = choose, .context = context };
	int error = dt_table_each(map_fd, key_size, value_size, gather_key, &removal);

	for (size_t i = 0; i < removal.count && !error; i++) {
		bool gone = !bpf_map_delete_elem(map_fd, removal.keys + i * key_size);

		if (!gone && errno != ENOENT)
			error = -errno;
		if (removed)
			*removed += gone;
	}
	free(removal.keys);
	return error;
}
