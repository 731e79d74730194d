/* SPDX-License-Identifier: BSD-2-Clause */
/* Statistics as one line of JSON, written as it is generated. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <yajl/yajl_gen.h>

#include "base/cleanup.h"
#include "export/statistics.h"
#include "export/text.h"

struct json {
	yajl_gen gen;
	FILE *out;
	int error;                      /* the first one; nothing is written after it */
};

static void print(void *context, const char *text, size_t size)
{
	struct json *json = context;

	if (!json->error && fwrite_unlocked(text, 1, size, json->out) != size)
		json->error = errno ? -errno : -EIO;
}

static void write_string(struct json *json, const char *bytes)
{
	DT_FREE char *own = NULL;
	const char *text;
	size_t size;
	int error = bytes ? dt_text_decode(bytes, &text, &size, &own) : 0;

	if (!bytes)
		yajl_gen_null(json->gen);
	else if (error)
		json->error = json->error ? json->error : error;
	else
		yajl_gen_string(json->gen, (const unsigned char *)text, size);
}

static void write_key(struct json *json, const char *key)
{
	yajl_gen_string(json->gen, (const unsigned char *)key, strlen(key));
}

static void key_string(struct json *json, const char *key, const char *value)
{
	write_key(json, key);
	write_string(json, value);
}

static void write_number(struct json *json, bool negative, uint64_t value)
{
	char digits[24];
	int size = snprintf(digits, sizeof(digits), "%s%" PRIu64, negative ? "-" : "", value);

	yajl_gen_number(json->gen, digits, (size_t)size);
}

static void key_number(struct json *json, const char *key, uint64_t value)
{
	write_key(json, key);
	write_number(json, false, value);
}

static void key_bool(struct json *json, const char *key, bool value)
{
	write_key(json, key);
	yajl_gen_bool(json->gen, value);
}

static void write_place(struct json *json, const struct dt_place *place)
{
	yajl_gen_array_open(json->gen);
	write_string(json, place->name);
	write_number(json, false, place->number);
	yajl_gen_array_close(json->gen);
}

/* What the key is, under the name of the group. */
static void write_group(struct json *json, const struct dt_statistics_table *statistics, const struct dt_key *key)
{
	const struct dt_keys *keys = &statistics->groups->keys;
	const struct dt_place *first = &keys->places[key->places[0]];

	write_key(json, dt_group_name(keys->group));
	switch (keys->group) {
	case DT_GROUP_TRACEBACK:
		yajl_gen_array_open(json->gen);
		for (uint32_t i = 0; i < key->place_count; i++)
			write_place(json, &keys->places[key->places[i]]);
		yajl_gen_array_close(json->gen);
		break;
	case DT_GROUP_LINENO:
		write_place(json, first);
		break;
	case DT_GROUP_PROCESS:
		write_number(json, false, first->number);
		key_string(json, "comm", first->name);
		key_number(json, "start_time_ns", keys->places[key->places[1]].number);
		break;
	case DT_GROUP_FUNCTION:
		write_string(json, first->name);
		key_string(json, "file", keys->places[key->places[1]].name);
		break;
	default:
		write_string(json, first->name);
	}
}

static void key_change(struct json *json, const char *key, uint64_t now, uint64_t old)
{
	write_key(json, key);
	write_number(json, now < old, now < old ? old - now : now - old);
}

static void write_row(struct json *json, const struct dt_statistics_table *statistics, const struct dt_group_row *row)
{
	const struct dt_figures *now = row->now, *old = row->old;

	yajl_gen_map_open(json->gen);
	write_group(json, statistics, &statistics->groups->keys.keys[row->key]);
	key_number(json, "bytes", now->bytes);
	key_number(json, "blocks", now->blocks);
	key_number(json, "allocated_bytes", now->allocated_bytes);
	key_number(json, "allocations", now->allocations);
	key_number(json, "peak_bytes", now->peak_bytes);
	key_bool(json, "peak_exact", now->traces <= 1);
	key_number(json, "at_peak_bytes", now->at_peak_bytes);
	key_number(json, "temporary", now->temporary);
	if (statistics->old) {
		key_change(json, "bytes_diff", now->bytes, old->bytes);
		key_change(json, "blocks_diff", now->blocks, old->blocks);
		key_change(json, "allocated_bytes_diff", now->allocated_bytes, old->allocated_bytes);
		key_change(json, "allocations_diff", now->allocations, old->allocations);
		key_bool(json, "new", !row->was_old);
		key_bool(json, "gone", !row->is_now);
	}
	yajl_gen_map_close(json->gen);
}

static void write_snapshot(struct json *json, const char *key, const struct dt_snapshot *snapshot)
{
	write_key(json, key);
	yajl_gen_map_open(json->gen);
	key_number(json, "sequence", snapshot->sequence);
	key_string(json, "label", snapshot->label);
	key_number(json, "elapsed_ns", snapshot->elapsed_ns);
	key_bool(json, "complete", dt_snapshot_is_complete(snapshot));
	yajl_gen_map_close(json->gen);
}

static void write_document(struct json *json, const struct dt_statistics_table *statistics)
{
	const struct dt_groups *groups = statistics->groups;
	size_t count = groups->row_count < statistics->top ? groups->row_count : statistics->top;

	yajl_gen_map_open(json->gen);
	key_string(json, "format", statistics->old ? "domtrace-difference" : "domtrace-statistics");
	key_number(json, "version", 1);
	write_snapshot(json, "snapshot", statistics->snapshot);
	if (statistics->old)
		write_snapshot(json, "old", statistics->old);
	key_string(json, "group_by", dt_group_name(groups->keys.group));
	key_bool(json, "cumulative", statistics->cumulative);
	key_string(json, "sort", dt_sort_name(groups->sort));
	key_number(json, "row_count", groups->row_count);
	write_key(json, "rows");
	yajl_gen_array_open(json->gen);
	for (size_t i = 0; i < count && !json->error; i++)
		write_row(json, statistics, &groups->rows[i]);
	yajl_gen_array_close(json->gen);
	yajl_gen_map_close(json->gen);
	print(json, "\n", 1);
}

int dt_statistics_write_json(const struct dt_statistics_table *statistics, FILE *out)
{
	struct json json = { .gen = yajl_gen_alloc(NULL), .out = out };

	if (!json.gen)
		return -ENOMEM;
	yajl_gen_config(json.gen, yajl_gen_print_callback, print, &json);
	write_document(&json, statistics);
	yajl_gen_free(json.gen);
	return json.error;
}
