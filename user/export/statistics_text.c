/* SPDX-License-Identifier: BSD-2-Clause */
/* Statistics for people: what holds most, or what has changed most, and where that is. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "export/figure.h"
#include "export/listing.h"
#include "export/statistics.h"
#include "export/text.h"
#include "export/traceback.h"

#define KIB_SIZE (DT_FIGURE_SIZE + 32)
#define INDENT 4

struct writer {
	const struct dt_statistics_table *statistics;
	const struct dt_page *page;
	struct dt_listing *listing;
};

static const struct {
	const char *one, *many;
} group_words[] = {
	[DT_GROUP_TRACEBACK] = { "traceback", "tracebacks" },
	[DT_GROUP_LINENO] = { "line", "lines" },
	[DT_GROUP_FILENAME] = { "file", "files" },
	[DT_GROUP_FUNCTION] = { "function", "functions" },
	[DT_GROUP_MODULE] = { "module", "modules" },
	[DT_GROUP_DOMAIN] = { "domain", "domains" },
	[DT_GROUP_PROCESS] = { "process", "processes" },
};
_Static_assert(DT_ARRAY_SIZE(group_words) == DT_GROUP_COUNT_, "a group has no words");

static const char *const sort_words[] = {
	[DT_SORT_LIVE] = "live bytes",
	[DT_SORT_COUNT] = "live blocks",
	[DT_SORT_ALLOCATED] = "allocated bytes",
	[DT_SORT_ALLOCATIONS] = "allocations",
	[DT_SORT_PEAK] = "peak bytes",
	[DT_SORT_AT_PEAK] = "bytes at the domain's peak",
	[DT_SORT_TEMPORARY] = "temporary blocks",
	[DT_SORT_OLD] = "old bytes",
};
_Static_assert(DT_ARRAY_SIZE(sort_words) == DT_SORT_COUNT_, "an order has no words");

/* ---- figures -------------------------------------------------------------------------------------------------- */

/* Which two numbers a report of this order shows. */
struct amount {
	uint64_t bytes, count;
	const char *words;              /* of the count */
};

static struct amount amount_of(const struct dt_figures *figures, enum dt_sort sort)
{
	switch (sort) {
	case DT_SORT_ALLOCATED:
	case DT_SORT_ALLOCATIONS:
		return (struct amount){ figures->allocated_bytes, figures->allocations, "allocations" };
	case DT_SORT_PEAK:
		return (struct amount){ figures->peak_bytes, figures->blocks, "memory blocks now" };
	case DT_SORT_AT_PEAK:
		return (struct amount){ figures->at_peak_bytes, figures->blocks, "memory blocks now, at the peak" };
	case DT_SORT_TEMPORARY:
		return (struct amount){ figures->allocated_bytes, figures->temporary, "temporary blocks, of all allocated" };
	case DT_SORT_OLD:
		return (struct amount){ figures->old_bytes, figures->old_blocks, "old memory blocks" };
	default:
		return (struct amount){ figures->bytes, figures->blocks, "memory blocks" };
	}
}

/* "#1: 12 memory blocks: 1171.9 KiB (1,200,000 bytes)" */
static void print_statistic(const struct writer *writer, size_t number, const struct dt_group_row *row)
{
	enum dt_sort sort = writer->statistics->groups->sort;
	struct amount amount = amount_of(row->now, sort);
	const char *exact, *bound = sort == DT_SORT_PEAK ? row->now->traces > 1 ? "peak at most " : "peak " : "";
	char kib[KIB_SIZE];

	dt_figure_kib(amount.bytes, kib, &exact);
	dt_page_print(writer->page, DT_STYLE_STRONG, "#%zu: %" PRIu64 " %s: %s%.*s", number, amount.count, amount.words, bound,
		      (int)(exact - kib), kib);
	dt_page_print(writer->page, DT_STYLE_WEAK, "%s", exact);
	dt_page_print(writer->page, DT_STYLE_PLAIN, "\n");
}

/* ", new", ", gone", ", +33.3 %" */
static void print_share(const struct writer *writer, const struct dt_group_row *row, uint64_t now, uint64_t old)
{
	uint64_t change = now < old ? old - now : now - old;
	long double percent = old ? (long double)change * 100 / (long double)old : 0;

	if (!row->was_old || !row->is_now)
		dt_page_print(writer->page, DT_STYLE_PLAIN, ", %s", row->is_now ? "new" : "gone");
	else if (old)
		dt_page_print(writer->page, DT_STYLE_PLAIN, ", %s%s%.1Lf %%", percent * 10 == (uint64_t)(percent * 10) ? "" : "~",
			      now < old ? "-" : "+", percent);
}

/* "#1: +12 memory blocks: +1171.9 KiB (1,200,000 bytes)", and below it what there is now */
static void print_difference(const struct writer *writer, size_t number, const struct dt_group_row *row)
{
	enum dt_sort sort = writer->statistics->groups->sort;
	struct amount now = amount_of(row->now, sort), old = amount_of(row->old, sort);
	uint64_t bytes = now.bytes < old.bytes ? old.bytes - now.bytes : now.bytes - old.bytes;
	uint64_t count = now.count < old.count ? old.count - now.count : now.count - old.count;
	const char *exact, *sign = now.bytes < old.bytes ? "-" : bytes ? "+" : "";
	char kib[KIB_SIZE];

	dt_figure_kib(bytes, kib, &exact);
	dt_page_print(writer->page, DT_STYLE_STRONG, "#%zu: %s%" PRIu64 " %s: %s%.*s", number, now.count < old.count ? "-" : count ? "+" : "",
		      count, now.words, sign, (int)(exact - kib), kib);
	dt_page_print(writer->page, DT_STYLE_WEAK, "(%s%s", sign, exact + 1);
	print_share(writer, row, now.bytes, old.bytes);
	dt_figure_kib(now.bytes, kib, &exact);
	dt_page_print(writer->page, DT_STYLE_PLAIN, "\n    now %" PRIu64 ": %s\n", now.count, kib);
}

/* ---- keys ----------------------------------------------------------------------------------------------------- */

/* Parts in one line, each shortened to what is left of it. */
static int print_text(const struct writer *writer, const char *before, const char *text, const char *after)
{
	size_t used = INDENT + strlen(before) + strlen(after), columns = writer->page->columns;
	DT_FREE char *fitted = dt_text_fit(text, strlen(text), columns > used ? columns - used : 1, DT_TEXT_CUT_MIDDLE);

	if (!fitted)
		return -ENOMEM;
	dt_page_print(writer->page, DT_STYLE_PLAIN, "%*s%s%s%s\n", INDENT, "", before, fitted, after);
	return 0;
}

/* The line of source, where it is on this machine. */
static int print_source(const struct writer *writer, const struct dt_place *place)
{
	size_t size;
	const char *line = place->number && place->number <= INT32_MAX ?
		dt_listing_find(writer->listing, place->name, (int)place->number, &size) : NULL;
	DT_FREE char *text = NULL;

	if (!line)
		return 0;
	text = dt_text_fit(line, size, writer->page->columns - INDENT - 2, DT_TEXT_CUT_END);
	if (!text)
		return -ENOMEM;
	dt_page_print(writer->page, DT_STYLE_PLAIN, "%*s", INDENT + 2, "");
	dt_page_print(writer->page, DT_STYLE_SOURCE, "%s", text);
	dt_page_print(writer->page, DT_STYLE_PLAIN, "\n");
	return 0;
}

static int print_line(const struct writer *writer, const struct dt_key *key, const struct dt_place *place)
{
	const struct dt_snapshot_frame *frame = key->example == UINT32_MAX ? NULL : &key->snapshot->frames[key->example];
	bool address = frame && !frame->file;
	char after[32];
	int error;

	snprintf(after, sizeof(after), address ? ":0x%" PRIx64 : ":%" PRIu64, place->number);
	error = print_text(writer, "", place->name, after);
	if (address && frame->function && !error)
		error = print_text(writer, "  in ", frame->function, "");
	return error || address ? error : print_source(writer, place);
}

static int print_key(const struct writer *writer, const struct dt_key *key)
{
	const struct dt_keys *keys = &writer->statistics->groups->keys;
	const struct dt_place *first = &keys->places[key->places[0]];
	char pid[40];
	int error;

	switch (keys->group) {
	case DT_GROUP_TRACEBACK:
		if (key->example == UINT32_MAX)
			return print_line(writer, key, first);
		return dt_traceback_write(writer->page, key->snapshot, key->example, writer->listing);
	case DT_GROUP_LINENO:
		return print_line(writer, key, first);
	case DT_GROUP_FUNCTION:
		error = print_text(writer, "", first->name, "");
		return error ? error : print_text(writer, "  in ", keys->places[key->places[1]].name, "");
	case DT_GROUP_PROCESS:
		snprintf(pid, sizeof(pid), "%" PRIu64 " (", first->number);
		return print_text(writer, pid, first->name, ")");
	default:
		return print_text(writer, "", first->name, "");
	}
}

/* ---- sections ------------------------------------------------------------------------------------------------- */

/* "Snapshot 3 (interval)  2026-01-31 12:00:00 UTC, 5.0 s traced", and what it lost */
static int write_head(const struct writer *writer, const char *before, const struct dt_snapshot *snapshot)
{
	const char *label = snapshot->label ? snapshot->label : "?";
	DT_FREE char *safe = dt_text_fit(label, strlen(label), 24, DT_TEXT_CUT_END);
	char day[48], seconds[DT_FIGURE_SIZE];
	struct tm utc;

	if (!safe)
		return -ENOMEM;
	if (!gmtime_r(&snapshot->time.tv_sec, &utc))
		return -EOVERFLOW;
	strftime(day, sizeof(day), "%Y-%m-%d %H:%M:%S UTC", &utc);
	dt_figure_seconds(snapshot->elapsed_ns, seconds);
	dt_page_print(writer->page, DT_STYLE_PLAIN, "%s", before);
	dt_page_print(writer->page, DT_STYLE_STRONG, "Snapshot %" PRIu64, snapshot->sequence);
	dt_page_print(writer->page, DT_STYLE_PLAIN, " (%s)  %s, %s traced\n", safe, day, seconds);
	for (enum dt_counter i = 0; i < DT_COUNTER_COUNT; i++)
		if (dt_counter_is_loss(i) && snapshot->counters[i])
			dt_page_print(writer->page, DT_STYLE_BAD, "  It is incomplete: %s %" PRIu64 "\n", dt_counter_name(i), snapshot->counters[i]);
	return 0;
}

/* In either of the two figures of this order. */
static bool has_changed(const struct writer *writer, const struct dt_group_row *row)
{
	enum dt_sort sort = writer->statistics->groups->sort;
	struct amount now = amount_of(row->now, sort), old = amount_of(row->old, sort);

	return !writer->statistics->old || now.bytes != old.bytes || now.count != old.count;
}

static size_t count_changed(const struct writer *writer)
{
	const struct dt_groups *groups = writer->statistics->groups;
	size_t count = 0;

	for (size_t i = 0; i < groups->row_count; i++)
		count += has_changed(writer, &groups->rows[i]);
	return count;
}

/* What the figures are of, so that nobody adds up what must not be added up. */
static void write_title(const struct writer *writer, size_t shown, size_t count)
{
	const struct dt_statistics_table *statistics = writer->statistics;
	const struct dt_groups *groups = statistics->groups;
	size_t same = groups->row_count - count;
	const char *words = count == 1 ? group_words[groups->keys.group].one : group_words[groups->keys.group].many;

	dt_page_print(writer->page, DT_STYLE_PLAIN, "\n");
	if (!count) {
		dt_page_print(writer->page, DT_STYLE_PLAIN, same ? "Nothing has changed in %zu %s.\n" : "There is nothing.\n", same,
			      same == 1 ? group_words[groups->keys.group].one : words);
		return;
	}
	if (shown < count)
		dt_page_print(writer->page, DT_STYLE_PLAIN, "Top %zu of ", shown);
	dt_page_print(writer->page, DT_STYLE_PLAIN, "%zu %s by %s%s", count, words, statistics->old ? "difference of " : "",
		      sort_words[groups->sort]);
	if (same)
		dt_page_print(writer->page, DT_STYLE_PLAIN, "; %zu unchanged", same);
	dt_page_print(writer->page, DT_STYLE_PLAIN, "\n");
	if (statistics->cumulative)
		dt_page_print(writer->page, DT_STYLE_PLAIN, "Cumulative: a block counts for every frame of its traceback, as tracemalloc counts.\n");
}

/* The rest, in one line; differences of different signs have no sum that says anything. */
static void write_others(const struct writer *writer, size_t shown)
{
	const struct dt_groups *groups = writer->statistics->groups;
	size_t count = groups->row_count - shown;
	const char *words = count == 1 ? group_words[groups->keys.group].one : group_words[groups->keys.group].many, *exact;
	uint64_t sum = 0, blocks = 0;
	char kib[KIB_SIZE];

	for (size_t i = shown; i < groups->row_count; i++) {
		struct amount amount = amount_of(groups->rows[i].now, groups->sort);

		if (__builtin_add_overflow(sum, amount.bytes, &sum) || __builtin_add_overflow(blocks, amount.count, &blocks))
			return;
	}
	dt_figure_kib(sum, kib, &exact);
	dt_page_print(writer->page, DT_STYLE_PLAIN, "\n%zu other %s: %" PRIu64 " %s: %s\n", count, words, blocks,
		      amount_of(groups->rows[shown].now, groups->sort).words, kib);
}

static int write_rows(const struct writer *writer, size_t shown)
{
	const struct dt_statistics_table *statistics = writer->statistics;
	size_t number = 0;
	int error = 0;

	for (size_t i = 0; number < shown && !error; i++) {
		const struct dt_group_row *row = &statistics->groups->rows[i];

		if (!has_changed(writer, row))
			continue;
		dt_page_print(writer->page, DT_STYLE_PLAIN, "%s", number++ && statistics->groups->keys.group == DT_GROUP_TRACEBACK ? "\n" : "");
		if (statistics->old)
			print_difference(writer, number, row);
		else
			print_statistic(writer, number, row);
		error = print_key(writer, &statistics->groups->keys.keys[row->key]);
	}
	return error;
}

int dt_statistics_write_text(const struct dt_statistics_table *statistics, const struct dt_page *page)
{
	struct writer writer = { .statistics = statistics, .page = page };
	size_t count = count_changed(&writer), shown = count < statistics->top ? count : statistics->top;
	bool sums = !statistics->old && !statistics->cumulative && statistics->groups->sort != DT_SORT_PEAK;
	int error = dt_listing_new(&writer.listing);

	if (error)
		return error;
	if (statistics->old)
		error = write_head(&writer, "Old: ", statistics->old);
	error = error ? error : write_head(&writer, statistics->old ? "New: " : "", statistics->snapshot);
	if (!error) {
		write_title(&writer, shown, count);
		error = write_rows(&writer, shown);
	}
	if (!error && shown < count && sums)
		write_others(&writer, shown);
	dt_listing_free(writer.listing);
	return error;
}
