/* SPDX-License-Identifier: BSD-2-Clause */
/* ask: what can be asked of a session besides snapshots: sums, limits, what it uses itself, and whose one block is. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "session/inherit.h"
#include "session/session.h"
#include "session/skeleton.h"
#include "snapshot/snapshot.h"
#include "target/process.h"

static void cleanup_snapshot(struct dt_snapshot **snapshot)
{
	dt_snapshot_free(*snapshot);
}

uint32_t dt_session_get_traceback_limit(const struct dt_session *session)
{
	return session->frame_limit;
}

/* ---- sums -------------------------------------------------------------------------------------------------------- */

/* The tables of a snapshot, but for names and for what /proc says. */
static int read_figures(struct dt_session *session, struct dt_snapshot *snapshot)
{
	static const struct dt_reading nothing = { 0 };
	DT_CLEANUP(dt_reading_clear) struct dt_reading reading = { 0 };
	DT_FREE struct dt_traced **chosen = NULL;
	struct timespec now;
	size_t count;
	uint32_t index;
	int error = dt_session_begin_turn(session), ended;

	if (error)
		return error;
	error = dt_session_read_tables(session, NULL, snapshot, &now, &reading);
	ended = dt_reading_end(session, &reading);
	error = error ? error : ended;
	chosen = dt_session_choose_processes(session, DT_PART_TOTALS, &count);
	if (!error)
		error = chosen ? dt_inherit_find(session->bpf, &session->live, chosen, count, session->tracebacks) : -ENOMEM;
	dt_session_release_turn(session);
	for (size_t i = 0; i < count && !error; i++)
		error = dt_snapshot_add_process(snapshot, &(struct dt_snapshot_process){ .pid = chosen[i]->pid }, &index);
	return error ? error : dt_collect_fill(session->collect, &session->domains, chosen, count, session->tracebacks, &nothing, snapshot);
}

static void sum_up(const struct dt_snapshot *snapshot, pid_t pid, const char *name, uint64_t *ret_current, uint64_t *ret_peak, bool *ret_exact)
{
	size_t found = 0;

	*ret_current = *ret_peak = 0;
	for (uint32_t i = 0; i < snapshot->domain_count; i++) {
		const struct dt_snapshot_domain *domain = &snapshot->domains[i];

		if ((pid && snapshot->processes[domain->process].pid != pid) || (name && strcmp(domain->name, name)))
			continue;
		found++;
		if (__builtin_add_overflow(*ret_current, domain->live_bytes, ret_current))
			*ret_current = UINT64_MAX;
		if (__builtin_add_overflow(*ret_peak, domain->peak_bytes, ret_peak))
			*ret_peak = UINT64_MAX;
	}
	*ret_exact = found <= 1;
}

int dt_session_get_traced_memory(struct dt_session *session, pid_t pid, const char *domain, uint64_t *ret_current_bytes,
				 uint64_t *ret_peak_bytes, bool *ret_peak_exact)
{
	DT_SESSION_LOCKED(session);
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *snapshot = NULL;
	uint64_t current, peak;
	bool exact;
	int error;

	if (session->stopped)
		return dt_session_refuse_stopped(session, "the traced memory is not known");
	error = dt_snapshot_new(&snapshot);
	if (!error)
		error = read_figures(session, snapshot);
	if (error == -EBUSY)
		return error;
	if (error)
		return dt_log_error(&session->log, error, "cannot read the traced memory: %s", strerror(-error));
	sum_up(snapshot, pid, domain, &current, &peak, &exact);
	*ret_current_bytes = current;
	*ret_peak_bytes = peak;
	if (ret_peak_exact)
		*ret_peak_exact = exact;
	return 0;
}

/* ---- what the session uses itself -------------------------------------------------------------------------------- */

/* What the kernel says that it takes for a map or a program (its "memlock" in fdinfo). -ENOENT: it does not say. */
static int read_memlock(int fd, uint64_t *sum)
{
	char path[64], line[128];
	unsigned long long bytes;
	int error = -ENOENT;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (error && fgets(line, sizeof(line), file))
		if (sscanf(line, "memlock: %llu", &bytes) == 1) {
			*sum += bytes;
			error = 0;
		}
	fclose(file);
	return error;
}

static int sum_kernel(const struct dt_session *session, uint64_t *ret_bytes)
{
	struct bpf_program *program;
	struct bpf_map *map;
	uint64_t bytes = dt_unwind_bytes(session->unwind);
	int error = 0;

	bpf_object__for_each_map(map, session->bpf->obj)
		if (!error && bpf_map__fd(map) >= 0)
			error = read_memlock(bpf_map__fd(map), &bytes);
	bpf_object__for_each_program(program, session->bpf->obj)
		if (!error && bpf_program__fd(program) >= 0)
			error = read_memlock(bpf_program__fd(program), &bytes);
	for (uint32_t i = 0; i < session->live.count && !error; i++)
		error = read_memlock(session->live.fds[i], &bytes);
	if (!error)
		*ret_bytes = bytes;
	return error;
}

int dt_session_get_tracer_memory(struct dt_session *session, struct dt_tracer_memory *memory)
{
	DT_SESSION_LOCKED(session);
	struct dt_tracer_memory filled = { .size = memory->size };
	pid_t helper = dt_tracebacks_helper(session->tracebacks);
	int error;

	if (memory->size < sizeof(*memory))
		return dt_log_error(&session->log, -EINVAL, "the struct for the tracer's memory has no size, or one of another version");
	error = sum_kernel(session, &filled.kernel_bytes);
	if (!error)
		error = dt_process_read_rss(getpid(), &filled.process_bytes);
	if (!error && helper && dt_process_read_rss(helper, &filled.helper_bytes))
		filled.helper_bytes = 0; /* it has ended just now */
	if (error)
		return dt_log_error(&session->log, error, "cannot read what the trace itself uses: %s", strerror(-error));
	*memory = filled;
	return 0;
}

/* ---- whose block is it? ------------------------------------------------------------------------------------------ */

#define HELD_MAX 64                     /* one in each domain; more are of programs that tell tracemalloc what cannot be */

struct held {
	struct dt_owner owner;
	uint64_t traceback, bytes;
};

struct search {
	const struct dt_session *session;
	const struct dt_traced *traced;
	uint64_t address;
	struct held held[HELD_MAX];
	size_t count;
};

static bool contains(const struct search *search, const struct dt_block_key *key, const struct dt_block *block)
{
	uint64_t bytes = block->bytes & DT_BLOCK_BYTES_MASK;

	return search->address >= key->address && search->address - key->address < (bytes ? bytes : 1);
}

static void hold(struct search *search, const struct dt_block_key *key, const struct dt_block *block)
{
	if (search->count < HELD_MAX)
		search->held[search->count++] = (struct held){ key->owner, block->traceback, block->bytes & DT_BLOCK_BYTES_MASK };
}

static int take_own(void *context, const void *row_key, const void *value)
{
	const struct dt_block_key *key = row_key;
	const struct dt_block *block = value;
	struct search *search = context;
	uint32_t born = DT_SPAN_BORN(block->span), slot = key->owner.process & DT_OWNER_SLOT_MASK;

	if (slot == search->traced->slot && !DT_SPAN_DIED(block->span) && born >= search->traced->generation && contains(search, key, block))
		hold(search, key, block);
	return 0;
}

/* An own row at the address of a block that was inherited says that it has gone. */
static int take_inherited(void *context, const struct dt_block_key *key, const struct dt_block *block)
{
	struct search *search = context;
	struct dt_block own;

	if (contains(search, key, block) && !dt_live_find(&search->session->live, key, &own))
		hold(search, key, block);
	return 0;
}

static int search_blocks(struct dt_session *session, struct dt_traced *traced, struct search *search)
{
	int error = dt_inherit_find(session->bpf, &session->live, &traced, 1, session->tracebacks);

	if (!error)
		error = dt_live_each(&session->live, take_own, search);
	if (!error && traced->inherited_count && traced->generation == 1)
		error = dt_inherit_each(session->bpf, &session->live, &traced, 1, take_inherited, search);
	return error;
}

static int add_held(struct dt_session *session, const struct dt_traced *traced, const struct held *held, struct dt_snapshot *snapshot)
{
	char name[DT_DECLARED_SHOWN_SIZE];
	struct dt_snapshot_domain domain = {
		.source = (enum dt_source)(held->owner.process >> DT_OWNER_SOURCE_SHIFT),
		.id = held->owner.domain,
		.name = name,
		.live_blocks = 1, .live_bytes = held->bytes, .peak_bytes = held->bytes,
		.allocations = 1, .allocated_bytes = held->bytes,
		.at_peak_exact = true,
	};
	struct dt_snapshot_trace trace = {
		.blocks = 1, .bytes = held->bytes, .allocations = 1, .allocated_bytes = held->bytes,
		.peak_bytes = held->bytes, .at_peak_bytes = held->bytes,
	};
	uint32_t index;
	bool cut;
	int error;

	dt_declared_show(&traced->declared, domain.source, domain.id, name);
	error = dt_snapshot_add_domain(snapshot, &domain, &trace.domain);
	if (!error)
		error = dt_tracebacks_copy(session->tracebacks, traced->image, held->traceback, snapshot, &trace.traceback, &cut);
	return error ? error : dt_snapshot_add_trace(snapshot, &trace, &index);
}

static int tell_blocks(struct dt_session *session, const struct search *search, struct dt_snapshot *snapshot)
{
	const struct dt_traced *traced = search->traced;
	struct timespec now;
	uint32_t index;
	int error = dt_session_find_names(session);

	clock_gettime(CLOCK_REALTIME, &snapshot->time);
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!error)
		error = dt_session_fill_header(session, "request", &now, snapshot);
	if (!error)
		error = dt_snapshot_add_process(snapshot, &(struct dt_snapshot_process){
			.pid = traced->pid, .ppid = traced->info.ppid, .start_time_ns = traced->info.start_time_ns,
			.comm = traced->info.comm, .exe = traced->info.exe, .command = (const char *const *)traced->info.command,
			.python = traced->python ? traced->python->version : NULL,
			.from_start = !traced->late, .rss_bytes = traced->info.rss_bytes }, &index);
	if (!error)
		error = dt_tracebacks_begin(session->tracebacks);
	for (size_t i = 0; i < search->count && !error; i++)
		error = add_held(session, traced, &search->held[i], snapshot);
	return error;
}

int dt_session_get_object_traceback(struct dt_session *session, pid_t pid, uint64_t address, struct dt_snapshot **ret_snapshot)
{
	DT_SESSION_LOCKED(session);
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *snapshot = NULL;
	struct search search = { .session = session, .address = address };
	struct dt_traced *traced;
	int error;

	if (session->stopped)
		return dt_session_refuse_stopped(session, "whose block it is cannot be told");
	error = dt_session_dispatch(session);
	traced = error ? NULL : dt_session_find(session, pid);
	if (!error && (!traced || traced->exited))
		return dt_log_error(&session->log, -ESRCH, "no process %d is traced: whose block it is cannot be told", (int)pid);
	search.traced = traced;
	if (!error)
		error = search_blocks(session, traced, &search);
	if (!error && !search.count)
		return -ENOENT;
	if (!error)                     /* the records of what was found */
		error = dt_session_wait(session);
	if (!error)
		error = dt_snapshot_new(&snapshot);
	if (!error)
		error = tell_blocks(session, &search, snapshot);
	if (error)
		return dt_log_error(&session->log, error, "cannot look for a block of process %d: %s", (int)pid, strerror(-error));
	*ret_snapshot = DT_TAKE(snapshot);
	return 0;
}
