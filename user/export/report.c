/* SPDX-License-Identifier: BSD-2-Clause */
/* The report for people: what each process holds, where it came from, and what is missing. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <domtrace/domtrace.h>

#include "base/cleanup.h"
#include "export/domain_table.h"
#include "export/figure.h"
#include "export/fold.h"
#include "export/layer_table.h"
#include "export/listing.h"
#include "export/page.h"
#include "export/size_line.h"
#include "export/text.h"
#include "export/traceback.h"
#include "snapshot/snapshot.h"
#include "snapshot/statistic.h"

#define TOP_DEFAULT 10
#define PROCESSES_DEFAULT 10
#define COLUMNS_DEFAULT 80
#define COLUMNS_MIN 66                  /* the table of domains has nothing left to give up below this */
#define KIB_SIZE (DT_FIGURE_SIZE + 32)

struct report {
	struct dt_page page;
	const struct dt_snapshot *snapshot;
	struct dt_listing *listing;
	size_t top, processes;
	enum dt_sort sort;
	bool folded;
};

static const struct {
	const char *figure;             /* "top tracebacks by …" */
	const char *none;               /* "… in numpy" */
} sorts[] = {
	[DT_SORT_LIVE] = { "live bytes", "No live blocks" },
	[DT_SORT_COUNT] = { "live blocks", "No live blocks" },
	[DT_SORT_ALLOCATED] = { "allocated bytes", "Nothing allocated" },
	[DT_SORT_ALLOCATIONS] = { "allocations", "No allocations" },
	[DT_SORT_PEAK] = { "peak bytes", "Never any live blocks" },
	[DT_SORT_AT_PEAK] = { "bytes at the peak of the domain", "Never any live blocks" },
	[DT_SORT_TEMPORARY] = { "temporary blocks", "No temporary blocks" },
	[DT_SORT_OLD] = { "old bytes", "No old blocks" },
};
_Static_assert(DT_ARRAY_SIZE(sorts) == DT_SORT_COUNT_, "an order has no words");

/* ---- figures of tracebacks ----------------------------------------------------------------------------------- */

/* What of many traces is printed on one line. */
struct amount {
	uint64_t blocks, bytes, allocations, allocated_bytes, peak_bytes, at_peak_bytes, temporary, old_blocks, old_bytes;
};

static struct amount amount_of(const struct dt_snapshot_trace *trace)
{
	return (struct amount){ trace->blocks, trace->bytes, trace->allocations, trace->allocated_bytes, trace->peak_bytes,
				trace->at_peak_bytes, trace->temporary,
				trace->old_blocks, trace->old_bytes };
}

/* "WORDS1171.9 KiB (1,200,000 bytes)TAIL"; what does not fit goes on in another line. */
static void print_kib(const struct dt_page *page, enum dt_style style, const char *words, uint64_t bytes, const char *tail)
{
	char text[KIB_SIZE];
	const char *exact;
	size_t used;

	dt_figure_kib(bytes, text, &exact);
	used = strlen(words) + strlen(text);
	dt_page_print(page, style, "%s%.*s", words, (int)(exact - text), text);
	if (used > page->columns) {
		dt_page_print(page, DT_STYLE_PLAIN, "\n    ");
		used = strlen("    ") + strlen(exact);
	}
	dt_page_print(page, DT_STYLE_WEAK, "%s", exact);
	dt_page_print(page, DT_STYLE_PLAIN, "%s%s\n", used + strlen(tail) > page->columns ? "\n   " : "", tail);
}

static void print_blocks(const struct dt_page *page, enum dt_style style, const char *prefix, const struct amount *amount)
{
	char words[96];

	snprintf(words, sizeof(words), "%s%" PRIu64 " memory blocks: ", prefix, amount->blocks);
	print_kib(page, style, words, amount->bytes, "");
}

/* The figure that was sorted by leads; the live ones, when they are not it, have a line of their own. */
static void print_amount(const struct report *report, const char *prefix, const struct amount *amount)
{
	char words[96], tail[64];

	switch (report->sort) {
	case DT_SORT_ALLOCATED:
		snprintf(words, sizeof(words), "%sallocated ", prefix);
		snprintf(tail, sizeof(tail), " in %" PRIu64 " allocations", amount->allocations);
		print_kib(&report->page, DT_STYLE_STRONG, words, amount->allocated_bytes, tail);
		break;
	case DT_SORT_ALLOCATIONS:
		snprintf(words, sizeof(words), "%s%" PRIu64 " allocations: ", prefix, amount->allocations);
		print_kib(&report->page, DT_STYLE_STRONG, words, amount->allocated_bytes, "");
		break;
	case DT_SORT_PEAK:
		snprintf(words, sizeof(words), "%speak %s", prefix, report->folded ? "at most " : "");
		print_kib(&report->page, DT_STYLE_STRONG, words, amount->peak_bytes, "");
		break;
	case DT_SORT_AT_PEAK:
		snprintf(words, sizeof(words), "%sat the peak ", prefix);
		print_kib(&report->page, DT_STYLE_STRONG, words, amount->at_peak_bytes, "");
		break;
	case DT_SORT_TEMPORARY:
		snprintf(words, sizeof(words), "%s%" PRIu64 " temporary of %" PRIu64 " allocations: ", prefix, amount->temporary,
			 amount->allocations);
		print_kib(&report->page, DT_STYLE_STRONG, words, amount->allocated_bytes, "");
		break;
	case DT_SORT_OLD:
		snprintf(words, sizeof(words), "%s%" PRIu64 " old memory blocks: ", prefix, amount->old_blocks);
		print_kib(&report->page, DT_STYLE_STRONG, words, amount->old_bytes, "");
		break;
	case DT_SORT_LIVE:
	case DT_SORT_COUNT:
	default:
		print_blocks(&report->page, DT_STYLE_STRONG, prefix, amount);
		return;
	}
	print_blocks(&report->page, DT_STYLE_PLAIN, "    now ", amount);
}

/* The rest, in one line of the figure that was sorted by. Peaks of different moments have no sum. */
static void print_others(const struct report *report, const uint32_t *indexes, size_t count)
{
	struct amount sum = { 0 };
	char words[128];
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++) {
		const struct dt_snapshot_trace *trace = &report->snapshot->traces[indexes[i]];

		sum.blocks += trace->blocks;
		sum.bytes += trace->bytes;
		sum.allocations += trace->allocations;
		sum.allocated_bytes += trace->allocated_bytes;
		sum.at_peak_bytes += trace->at_peak_bytes;
		sum.temporary += trace->temporary;
		sum.old_blocks += trace->old_blocks;
		sum.old_bytes += trace->old_bytes;
	}
	if (report->sort == DT_SORT_AT_PEAK) {
		snprintf(words, sizeof(words), "%zu other traceback%s: at the peak ", count, count == 1 ? "" : "s");
		bytes = sum.at_peak_bytes;
	} else if (report->sort == DT_SORT_TEMPORARY) {
		snprintf(words, sizeof(words), "%zu other traceback%s: %" PRIu64 " temporary of %" PRIu64 " allocations: ", count,
			 count == 1 ? "" : "s", sum.temporary, sum.allocations);
		bytes = sum.allocated_bytes;
	} else if (report->sort == DT_SORT_ALLOCATED || report->sort == DT_SORT_ALLOCATIONS) {
		snprintf(words, sizeof(words), "%zu other traceback%s: %" PRIu64 " allocations: ", count, count == 1 ? "" : "s",
			 sum.allocations);
		bytes = sum.allocated_bytes;
	} else if (report->sort == DT_SORT_OLD) {
		snprintf(words, sizeof(words), "%zu other traceback%s: %" PRIu64 " old memory blocks: ", count, count == 1 ? "" : "s",
			 sum.old_blocks);
		bytes = sum.old_bytes;
	} else {
		snprintf(words, sizeof(words), "%zu other traceback%s: %" PRIu64 " memory blocks: ", count, count == 1 ? "" : "s",
			 sum.blocks);
		bytes = sum.bytes;
	}
	print_kib(&report->page, DT_STYLE_PLAIN, words, bytes, "");
}

/* What is kept of the peak is right, or it is told that it is not. */
static void print_peak_fault(const struct report *report, uint32_t domain)
{
	const struct dt_snapshot_domain *row = &report->snapshot->domains[domain];
	char words[256], sum[DT_FIGURE_SIZE], peak[DT_FIGURE_SIZE];
	uint64_t bytes = 0;

	if (report->sort != DT_SORT_AT_PEAK || row->at_peak_exact)
		return;
	for (uint32_t i = 0; i < report->snapshot->trace_count; i++)
		if (report->snapshot->traces[i].domain == domain)
			bytes += report->snapshot->traces[i].at_peak_bytes;
	dt_figure_grouped(bytes, sum);
	dt_figure_grouped(row->peak_bytes, peak);
	snprintf(words, sizeof(words), "Not exact: several threads changed these figures at that very moment; they add up to %s bytes, "
		 "the peak is %s.", sum, peak);
	dt_page_print_words(&report->page, DT_STYLE_BAD, 0, 2, words);
}

static int write_sizes(const struct report *report, uint32_t domain, const struct dt_snapshot_sizes *sizes, uint64_t blocks)
{
	return report->snapshot->domains[domain].sized ? dt_size_line_write(&report->page, sizes, blocks) : 0;
}

/* ---- sections ------------------------------------------------------------------------------------------------ */

static int write_top(const struct report *report, uint32_t domain)
{
	const struct dt_page *page = &report->page;
	const char *name = report->snapshot->domains[domain].name;
	DT_FREE char *safe = dt_text_fit(name, strlen(name), DT_DOMAIN_NAME_SIZE, DT_TEXT_CUT_MIDDLE);
	DT_FREE uint32_t *indexes = NULL;
	const char *folded = report->folded ? "folded " : "";
	size_t count, shown;
	int error = safe ? dt_statistic_order(report->snapshot, domain, report->sort, &indexes, &count) : -ENOMEM;

	if (error)
		return error;
	dt_page_print(page, DT_STYLE_PLAIN, "\n");
	if (!count) {
		dt_page_print(page, DT_STYLE_PLAIN, "%s in %s.\n", sorts[report->sort].none, safe);
		return 0;
	}
	shown = count < report->top ? count : report->top;
	dt_page_print(page, DT_STYLE_STRONG, "%s", safe);
	if (shown < count)
		dt_page_print(page, DT_STYLE_PLAIN, ": top %zu of %zu %stracebacks by %s\n", shown, count, folded,
			      sorts[report->sort].figure);
	else
		dt_page_print(page, DT_STYLE_PLAIN, ": %zu %straceback%s by %s\n", count, folded, count == 1 ? "" : "s",
			      sorts[report->sort].figure);
	print_peak_fault(report, domain);
	error = write_sizes(report, domain, &report->snapshot->domains[domain].sizes, report->snapshot->domains[domain].live_blocks);
	for (size_t i = 0; i < shown && !error; i++) {
		const struct dt_snapshot_trace *trace = &report->snapshot->traces[indexes[i]];
		struct amount amount = amount_of(trace);
		char prefix[32];

		if (i)
			dt_page_print(page, DT_STYLE_PLAIN, "\n");
		snprintf(prefix, sizeof(prefix), "#%zu: ", i + 1);
		print_amount(report, prefix, &amount);
		error = write_sizes(report, domain, &trace->sizes, trace->blocks);
		error = error ? error : dt_traceback_write(page, report->snapshot, trace->traceback, report->listing);
	}
	if (shown < count && !error) {
		dt_page_print(page, DT_STYLE_PLAIN, "\n");
		print_others(report, indexes + shown, count - shown);
	}
	return error;
}

/* "Process 4242 (python3)  Python 3.11.2, 123,456 KiB resident" */
static int write_process_head(const struct report *report, const struct dt_snapshot_process *process)
{
	const char *comm = process->comm ? process->comm : "?";
	DT_FREE char *name = dt_text_fit(comm, strlen(comm), 32, DT_TEXT_CUT_MIDDLE);
	DT_FREE char *python = process->python ? dt_text_fit(process->python, strlen(process->python), 24, DT_TEXT_CUT_END) : NULL;
	char memory[DT_FIGURE_SIZE], words[160];
	bool whole_kib = process->rss_bytes % 1024 == 0;
	int used;

	if (!name || (process->python && !python))
		return -ENOMEM;
	dt_figure_grouped(whole_kib ? process->rss_bytes / 1024 : process->rss_bytes, memory);
	snprintf(words, sizeof(words), "%s%s%s%s %s resident%s", python ? "Python " : "", python ? python : "", python ? ", " : "",
		 memory, whole_kib ? "KiB" : "bytes", process->exited ? " when last seen, exited" : "");
	dt_page_print(&report->page, DT_STYLE_PLAIN, "\n");
	dt_page_print(&report->page, DT_STYLE_STRONG, "Process %d (%s)", process->pid, name);
	used = snprintf(NULL, 0, "Process %d ()  ", process->pid) + (int)dt_text_width(name);
	dt_page_print(&report->page, DT_STYLE_PLAIN, "  ");
	dt_page_print_words(&report->page, DT_STYLE_PLAIN, (size_t)used, 2, words);
	return 0;
}

static int write_process(const struct report *report, uint32_t process)
{
	const struct dt_snapshot *snapshot = report->snapshot;
	int error = write_process_head(report, &snapshot->processes[process]);

	error = error ? error : dt_domain_table_write(&report->page, snapshot, process);
	error = error ? error : dt_layer_table_write(&report->page, snapshot, process);
	for (uint32_t i = 0; i < snapshot->domain_count && !error; i++)
		if (snapshot->domains[i].process == process)
			error = write_top(report, i);
	return error;
}

/* What the processes that are not shown hold together. Domains are added up: a block of two domains counts in both. */
static void write_other_processes(const struct report *report, const uint32_t *processes, size_t count)
{
	const struct dt_snapshot *snapshot = report->snapshot;
	char words[128];
	const bool old = report->sort == DT_SORT_OLD;
	uint64_t blocks = 0, bytes = 0;

	for (size_t i = 0; i < count; i++)
		for (uint32_t k = 0; k < snapshot->domain_count; k++)
			if (snapshot->domains[k].process == processes[i]) {
				blocks += old ? snapshot->domains[k].old_blocks : snapshot->domains[k].live_blocks;
				bytes += old ? snapshot->domains[k].old_bytes : snapshot->domains[k].live_bytes;
			}
	snprintf(words, sizeof(words), "\n%zu other process%s: %" PRIu64 " %smemory blocks: ", count, count == 1 ? "" : "es", blocks,
		 old ? "old " : "");
	print_kib(&report->page, DT_STYLE_STRONG, words, bytes, "");
}

/* All of them, in the order in which they were added; of many only the largest. */
static int write_processes(const struct report *report)
{
	const struct dt_snapshot *snapshot = report->snapshot;
	size_t shown = snapshot->process_count < report->processes ? snapshot->process_count : report->processes;
	DT_FREE uint32_t *order = NULL;
	int error = 0;

	if (!snapshot->process_count)
		dt_page_print(&report->page, DT_STYLE_PLAIN, "\nNo process was traced.\n");
	if (shown < snapshot->process_count)
		error = dt_statistic_order_processes(snapshot, report->sort, &order);
	for (uint32_t i = 0; i < shown && !error; i++)
		error = write_process(report, order ? order[i] : i);
	if (order && !error)
		write_other_processes(report, order + shown, snapshot->process_count - shown);
	return error;
}

/* "Snapshot 3 (interval)  2026-01-31 12:00:00 UTC, 5.0 s traced" */
static int write_head(const struct report *report)
{
	const struct dt_snapshot *snapshot = report->snapshot;
	const char *label = snapshot->label ? snapshot->label : "?";
	char seconds[DT_FIGURE_SIZE], day[48], left[48];
	DT_FREE char *safe = NULL;
	struct tm utc;
	size_t used;

	if (!gmtime_r(&snapshot->time.tv_sec, &utc))
		return -EOVERFLOW;
	strftime(day, sizeof(day), "%Y-%m-%d %H:%M:%S UTC", &utc);
	dt_figure_seconds(snapshot->elapsed_ns, seconds);
	snprintf(left, sizeof(left), "Snapshot %" PRIu64, snapshot->sequence);
	used = strlen(left) + strlen(" ()  ,  traced") + strlen(day) + strlen(seconds);
	safe = dt_text_fit(label, strlen(label), report->page.columns > used ? report->page.columns - used : 0, DT_TEXT_CUT_END);
	if (!safe)
		return -ENOMEM;
	dt_page_print(&report->page, DT_STYLE_STRONG, "%s", left);
	dt_page_print(&report->page, DT_STYLE_PLAIN, " (%s)  %s, %s traced\n", safe, day, seconds);
	return 0;
}

/* "Old: live memory blocks of an age of at least 60.4 s (asked for: 60.0 s)" */
static void write_ages(const struct report *report)
{
	const struct dt_snapshot_ages *ages = &report->snapshot->ages;
	char asked[DT_FIGURE_SIZE], age[DT_FIGURE_SIZE], words[320];

	if (!ages->older_than_ns)
		return;
	dt_figure_seconds(ages->older_than_ns, asked);
	dt_figure_seconds(ages->age_ns, age);
	if (ages->age_ns)
		snprintf(words, sizeof(words), "live memory blocks of an age of at least %s (asked for: %s)%s", age, asked,
			 ages->exact ? "" : "; some may be missing");
	else
		snprintf(words, sizeof(words), "none, as the trace does not go back for %s", asked);
	dt_page_print(&report->page, DT_STYLE_STRONG, "Old: ");
	dt_page_print_words(&report->page, DT_STYLE_PLAIN, strlen("Old: "), 2, words);
}

/* One counter with its sentence, behind a title or below the one before. */
static void write_counter(const struct report *report, enum dt_counter counter, enum dt_style style, const char *title,
			  bool first)
{
	char words[320], number[DT_FIGURE_SIZE];
	size_t indent = strlen(title);

	dt_figure_grouped(report->snapshot->counters[counter], number);
	snprintf(words, sizeof(words), "%s %s", number, dt_counter_help(counter));
	dt_page_print(&report->page, style, "%*s", (int)indent, first ? title : "");
	dt_page_print_words(&report->page, style, indent, indent + 2, words);
}

static void write_counters(const struct report *report)
{
	bool first = true;

	dt_page_print(&report->page, DT_STYLE_PLAIN, "\n");
	for (enum dt_counter i = 0; i < DT_COUNTER_COUNT; i++)
		if (dt_counter_is_loss(i) && report->snapshot->counters[i]) {
			write_counter(report, i, DT_STYLE_BAD, "Losses: ", first);
			first = false;
		}
	if (first)
		dt_page_print_words(&report->page, DT_STYLE_GOOD, 0, 0, "Losses: none");
	/* How much of what was freed is older than the trace is worth knowing even when it is nothing. */
	write_counter(report, DT_COUNTER_unmatched_frees, DT_STYLE_PLAIN, "Counts: ", true);
	for (enum dt_counter i = 0; i < DT_COUNTER_COUNT; i++)
		if (!dt_counter_is_loss(i) && i != DT_COUNTER_unmatched_frees && report->snapshot->counters[i])
			write_counter(report, i, DT_STYLE_PLAIN, "Counts: ", false);
}

static int write_report(const struct report *report)
{
	int error = write_head(report);

	if (!error)
		write_ages(report);
	error = error ? error : write_processes(report);
	if (error)
		return error;
	write_counters(report);
	errno = 0;
	if (fflush(report->page.out) == EOF || ferror(report->page.out))
		return errno ? -errno : -EIO;
	return 0;
}

static void cleanup_snapshot(struct dt_snapshot **snapshot)
{
	dt_snapshot_free(*snapshot);
}

int dt_report_write(const struct dt_snapshot *snapshot, const struct dt_report_opts *opts, FILE *out)
{
	struct dt_report_opts own = { .size = sizeof(own) };
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *folded = NULL;
	struct report report = { .snapshot = snapshot };
	int error;

	/* Callers built against an older or newer header bring fewer or more fields. */
	if (opts)
		memcpy(&own, opts, opts->size < sizeof(own) ? opts->size : sizeof(own));
	if ((unsigned)own.sort >= DT_SORT_COUNT_)
		return -EINVAL;
	if (own.sort == DT_SORT_OLD && !snapshot->ages.older_than_ns)
		return -ENODATA;
	report.top = own.top ? own.top : TOP_DEFAULT;
	report.processes = own.processes ? own.processes : PROCESSES_DEFAULT;
	report.sort = snapshot->ages.older_than_ns && own.sort == DT_SORT_LIVE ? DT_SORT_OLD : own.sort;
	report.page.out = out;
	report.page.colour = own.colour;
	report.page.columns = own.columns ? own.columns : COLUMNS_DEFAULT;
	if (report.page.columns < COLUMNS_MIN)
		report.page.columns = COLUMNS_MIN;
	report.folded = own.fold;
	error = own.fold ? dt_fold_new(snapshot, &folded) : 0;
	if (folded)
		report.snapshot = folded;
	error = error ? error : dt_listing_new(&report.listing);
	if (error)
		return error;
	error = write_report(&report);
	dt_listing_free(report.listing);
	return error;
}
