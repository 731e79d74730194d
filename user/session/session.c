/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session: from start to stop. Processes are added, their records read, snapshots taken.
 *
 * A process is traced from the moment its row stands in the map `processes`: all its probes are in place by then, so no
 * entry is seen whose return is not.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>

#include <domtrace/domtrace.h>

#include "base/cleanup.h"
#include "session/skeleton.h"
#include "session/attach.h"
#include "session/collect.h"
#include "session/domains.h"
#include "session/feature.h"
#include "session/module.h"
#include "session/traced.h"
#include "session/tracebacks.h"
#include "snapshot/snapshot.h"
#include "target/launch.h"

struct dt_session {
	struct dt_log log;
	struct dt_features features;
	struct dt_domains domains;
	enum dt_attach_method method;
	uint32_t frame_limit;
	struct domtrace_bpf *bpf;
	struct ring_buffer *ring;
	int epoll_fd;
	struct dt_modules modules;
	struct dt_tracebacks *tracebacks;
	struct dt_collect *collect;
	struct dt_traced **processes;
	size_t process_count;
	struct dt_launch launch;
	bool *stale;                    /* by process: its mappings have changed */
	int event_error;                /* the first failure while a record was taken in */
	bool stopped;
	uint64_t sequence;
	struct timespec started;        /* or cleared; CLOCK_MONOTONIC */
};

/* ---- start ---------------------------------------------------------------------------------------------------------- */

static int silent(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

/* Tells the programs in which pid namespace we name processes. PROC_PID_INIT_INO (include/linux/proc_ns.h): the initial one. */
static int fill_pid_namespace(struct dt_config *config)
{
	struct stat status;

	if (stat("/proc/self/ns/pid", &status))
		return -errno;
	if (status.st_ino == 0xEFFFFFFC)
		return 0;
	config->pid_namespace_device = status.st_dev;
	config->pid_namespace_inode = status.st_ino;
	return 0;
}

static int fill_config(const struct dt_session *session, struct dt_config *config)
{
	if (getrandom(&config->hash_seed, sizeof(config->hash_seed), 0) != sizeof(config->hash_seed))
		return -errno;
	config->frame_limit = session->frame_limit;
	config->domain_count = session->domains.count;
	config->domains_excluded = session->domains.excluded;
	memcpy(config->domains, session->domains.ids, sizeof(config->domains));
	return fill_pid_namespace(config);
}

#define VERIFIER_STATISTICS 4            /* BPF_LOG_STATS (include/linux/bpf_verifier.h) */
#define VERIFIER_LOG_BYTES (64 * 1024)

/* What the verifier says of each program, for -vv. libbpf's own messages have no context to go to. */
static void show_verifier(struct dt_session *session)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, session->bpf->obj) {
		const char *line = bpf_program__log_buf(program, &(size_t){ 0 });

		for (int length; line && *line; line += length + (line[length] == '\n')) {
			length = (int)strcspn(line, "\n");
			dt_log_write(&session->log, DT_LOG_TRACE, 0, "verifier, %s: %.*s", bpf_program__name(program), length, line);
		}
	}
}

static int load_object(struct dt_session *session)
{
	DT_FREE char *logs = calloc(16, VERIFIER_LOG_BYTES);
	struct bpf_program *program;
	size_t used = 0;
	int error;

	bpf_object__for_each_program(program, session->bpf->obj) {
		if (!logs || used == 16)
			break;
		bpf_program__set_log_level(program, VERIFIER_STATISTICS);
		bpf_program__set_log_buf(program, logs + used++ * VERIFIER_LOG_BYTES, VERIFIER_LOG_BYTES);
	}
	error = domtrace_bpf__load(session->bpf);
	show_verifier(session);
	bpf_object__for_each_program(program, session->bpf->obj)
		bpf_program__set_log_buf(program, NULL, 0);
	return error;
}

static int load_programs(struct dt_session *session, uint32_t live_blocks_max)
{
	const struct dt_log *log = &session->log;
	int error;

	libbpf_set_print(silent);
	session->bpf = domtrace_bpf__open();
	if (!session->bpf)
		return dt_log_error(log, -errno, "cannot open the BPF object: %s", strerror(errno));
	error = fill_config(session, (struct dt_config *)&session->bpf->rodata->config);
	if (!error)
		error = dt_attach_prepare(session->bpf, session->method);
	if (!error && live_blocks_max)
		error = bpf_map__set_max_entries(session->bpf->maps.live, live_blocks_max);
	if (!error)
		error = load_object(session);
	if (!error)
		return 0;
	dt_log_error(log, error, "the kernel does not take the BPF programs: %s; 'domtrace doctor' says what is missing", strerror(-error));
	return error == -EPERM || error == -ENOMEM ? error : -ENOTSUP;  /* -EINVAL is the caller's fault, this is not */
}

static int take_record(void *context, void *data, size_t size);

static int open_queues(struct dt_session *session)
{
	struct epoll_event event = { .events = EPOLLIN };

	session->ring = ring_buffer__new(bpf_map__fd(session->bpf->maps.events), take_record, session, NULL);
	if (!session->ring)
		return -errno;
	session->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (session->epoll_fd < 0 ||
	    epoll_ctl(session->epoll_fd, EPOLL_CTL_ADD, ring_buffer__epoll_fd(session->ring), &event))
		return -errno;
	return 0;
}

static int check_opts(const struct dt_session_opts *opts)
{
	if (opts->size < sizeof(*opts))
		return -EINVAL;
	if (opts->frame_limit > DT_FRAMES_MAX)
		return dt_log_error(&opts->log, -EINVAL, "a traceback keeps at most %d frames, not %u", DT_FRAMES_MAX, opts->frame_limit);
	return 0;
}

static int session_start(struct dt_session *session, const struct dt_session_opts *opts)
{
	int error = dt_domains_parse(opts->domains, &session->log, &session->domains);

	if (!error)
		error = dt_features_require(&session->log);
	if (!error)
		error = dt_features_probe(opts->without, &session->log, &session->features);
	if (error)
		return error;
	session->method = dt_attach_method_choose(&session->features);
	session->modules.cheap_sites = session->features.has[DT_FEATURE_CHEAP_SITES];
	session->modules.log = &session->log;
	error = load_programs(session, opts->live_blocks_max);
	if (error)
		return error;
	error = open_queues(session);
	if (!error)
		error = dt_collect_new(session->bpf, &session->collect);
	if (!error)
		error = dt_tracebacks_new(&session->modules, &session->tracebacks);
	return error ? dt_log_error(&session->log, error, "cannot set the session up: %s", strerror(-error)) : 0;
}

int dt_session_new(const struct dt_session_opts *opts, struct dt_session **ret_session)
{
	struct dt_session *session;
	int error = check_opts(opts);

	if (error)
		return error;
	session = calloc(1, sizeof(*session));
	if (!session)
		return -ENOMEM;
	session->log = opts->log;
	session->epoll_fd = -1;
	session->frame_limit = opts->frame_limit ? opts->frame_limit : DT_FRAME_LIMIT_DEFAULT;
	error = session_start(session, opts);
	if (error) {
		dt_session_free(session);
		return error;
	}
	clock_gettime(CLOCK_MONOTONIC, &session->started);
	*ret_session = session;
	return 0;
}

void dt_session_free(struct dt_session *session)
{
	if (!session)
		return;
	dt_session_stop(session);
	dt_launch_close(&session->launch);
	for (size_t i = 0; i < session->process_count; i++)
		dt_traced_free(session->processes[i]);
	free(session->processes);
	free(session->stale);
	dt_tracebacks_free(session->tracebacks);
	dt_collect_free(session->collect);
	dt_modules_clear(&session->modules);
	ring_buffer__free(session->ring);
	domtrace_bpf__destroy(session->bpf);
	if (session->epoll_fd >= 0)
		close(session->epoll_fd);
	free(session);
}

/* ---- processes -------------------------------------------------------------------------------------------------------- */

static struct dt_traced *find_process(const struct dt_session *session, pid_t pid)
{
	for (size_t i = 0; i < session->process_count; i++)
		if (session->processes[i]->pid == pid)
			return session->processes[i];
	return NULL;
}

static int remember_process(struct dt_session *session, struct dt_traced *traced)
{
	size_t count = session->process_count + 1;
	struct dt_traced **processes = realloc(session->processes, count * sizeof(*processes));
	bool *stale;

	if (!processes)
		return -ENOMEM;
	session->processes = processes;
	stale = realloc(session->stale, count * sizeof(*stale));
	if (!stale)
		return -ENOMEM;
	session->stale = stale;
	processes[count - 1] = traced;
	stale[count - 1] = false;
	session->process_count = count;
	return 0;
}

/*
 * Shows the row to the programs. The map puts a new element in the place of the old one, whose memory it uses again at
 * the next update: so that no program still reads it by then, we wait here.
 */
static int upload(struct dt_session *session, const struct dt_traced *traced)
{
	uint32_t tgid = (uint32_t)traced->pid;

	if (bpf_map_update_elem(bpf_map__fd(session->bpf->maps.processes), &tgid, &traced->row, BPF_ANY))
		return -errno;
	return dt_collect_wait(session->collect);
}

static int attach_mapped(struct dt_session *session, struct dt_traced *traced)
{
	int error = dt_traced_read_maps(traced);

	return error ? error : dt_traced_attach(traced, &session->modules, session->bpf, session->method,
						&session->domains.filter, &session->log);
}

static const char *const source_wants[DT_SOURCE_COUNT] = {
	[DT_SOURCE_LIBC] = "no file it maps defines malloc, so there is no libc domain in it",
	[DT_SOURCE_TRACEMALLOC] = "no file it maps defines PyTraceMalloc_Track, so there is no Python in it and none of the domains asked for",
};

/* Has it what was asked for by name; or, where nothing was, anything at all? */
static int check_sites(const struct dt_session *session, const struct dt_traced *traced)
{
	bool any = false;

	for (int source = 0; source < DT_SOURCE_COUNT; source++) {
		any = any || traced->sites[source];
		if (session->domains.required[source] && !traced->sites[source])
			return dt_log_error(&session->log, -ENOENT, "process %d (%s) cannot be traced: %s",
					    (int)traced->pid, traced->info.comm, source_wants[source]);
	}
	return any ? 0 : dt_log_error(&session->log, -ENOENT, "process %d (%s) cannot be traced: no file it maps defines an allocation "
				      "function that domtrace knows", (int)traced->pid, traced->info.comm);
}

static int begin_process(struct dt_session *session, struct dt_traced *traced)
{
	int error = dt_process_read(traced->pid, &traced->info);

	if (!error)
		error = dt_traced_read_image(traced->pid, &traced->image);
	if (!error)
		error = attach_mapped(session, traced);
	if (!error)
		error = check_sites(session, traced);
	traced->row.generation = 1;
	if (!error)
		error = upload(session, traced);
	return error;
}

static int watch_process(struct dt_session *session, const struct dt_traced *traced)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(session->epoll_fd, EPOLL_CTL_ADD, traced->pidfd, &event) ? -errno : 0;
}

int dt_session_add_process(struct dt_session *session, pid_t pid)
{
	struct dt_traced *traced;
	int pidfd, error;

	if (session->stopped)
		return -ESHUTDOWN;
	if (find_process(session, pid))
		return 0;
	error = dt_process_open(pid, &session->log, &pidfd);
	if (error)
		return error;
	traced = dt_traced_new(pid, pidfd);
	if (!traced) {
		close(pidfd);
		return -ENOMEM;
	}
	error = begin_process(session, traced);
	if (error == -ESRCH)
		dt_log_error(&session->log, error, "process %d ended while domtrace attached to it", (int)pid);
	else if (error == -EACCES || error == -EPERM)
		dt_log_error(&session->log, error, "process %d cannot be traced: %s; run domtrace with sudo", (int)pid, strerror(-error));
	if (!error)
		error = watch_process(session, traced);
	if (!error)
		error = remember_process(session, traced);
	if (error) {
		bpf_map_delete_elem(bpf_map__fd(session->bpf->maps.processes), &(uint32_t){ (uint32_t)pid });
		dt_traced_free(traced);
		return error;
	}
	dt_log_info(&session->log, "tracing process %d (%s)", (int)pid, traced->info.comm);
	return 0;
}

static void end_process(struct dt_session *session, struct dt_traced *traced)
{
	if (traced->exited)
		return;
	traced->exited = true;
	if (traced->pidfd >= 0) {
		epoll_ctl(session->epoll_fd, EPOLL_CTL_DEL, traced->pidfd, NULL);
		close(traced->pidfd);
		traced->pidfd = -1;
	}
	dt_links_close(&traced->links);
	dt_log_info(&session->log, "process %d (%s) has ended", (int)traced->pid, traced->info.comm);
}

/* Another program runs in the process: it starts from nothing. `held`: none of its threads runs now. */
static int replace_image(struct dt_session *session, struct dt_traced *traced, bool held)
{
	struct dt_process_info info = { 0 };
	int error;

	dt_traced_forget_image(traced);
	dt_tracebacks_remove_process(session->tracebacks, traced->pid);
	if (!dt_process_read(traced->pid, &info)) {
		dt_process_info_clear(&traced->info);
		traced->info = info;
	}
	dt_traced_read_image(traced->pid, &traced->image);
	error = upload(session, traced);
	if (!error && held)
		error = dt_collect_sweep(session->collect, traced->pid, traced->row.generation);
	if (!error)
		error = dt_collect_forget(session->collect, session->processes, session->process_count);
	return error;
}

/* Follows what the loader did: new files, or another program altogether. */
static int follow_mappings(struct dt_session *session, struct dt_traced *traced)
{
	uint64_t image;
	int error = dt_traced_read_image(traced->pid, &image);

	if (!error && image != traced->image)
		error = replace_image(session, traced, false);
	if (!error)
		error = attach_mapped(session, traced);
	if (!error)
		error = upload(session, traced);
	return error == -ESRCH ? 0 : error;     /* it has ended; that will be said */
}

/* ---- the launched command ------------------------------------------------------------------------------------------------ */

/* A new program, of which nothing has run: held again when its loader has mapped its files. */
static int take_exec(struct dt_session *session, struct dt_traced *traced)
{
	int error = replace_image(session, traced, true);

	traced->row.hold_signal = DT_LAUNCH_HOLD_SIGNAL;
	if (!error)
		error = attach_mapped(session, traced);
	if (!error)
		error = upload(session, traced);
	return error;
}

/* The loader has mapped something. When an allocator is there, all that the program starts with is. */
static int take_hold(struct dt_session *session, struct dt_traced *traced)
{
	int error = attach_mapped(session, traced);

	if (!error && dt_traced_has_allocator(traced))
		traced->row.hold_signal = 0;
	return error ? error : upload(session, traced);
}

static int consume_records(struct dt_session *session);

static int take_launch_event(struct dt_session *session, enum dt_launch_event event)
{
	struct dt_traced *traced = find_process(session, session->launch.pid);
	int error = 0;

	if (!traced || session->stopped)
		event = event == DT_LAUNCH_ENDED ? event : DT_LAUNCH_NOTHING;
	switch (event) {
	case DT_LAUNCH_EXEC:
		error = take_exec(session, traced);
		break;
	case DT_LAUNCH_HELD:
		error = take_hold(session, traced);
		break;
	case DT_LAUNCH_EXITING:         /* the last moment to see its files and its memory */
		dt_process_read_rss(traced->pid, &traced->info.rss_bytes);
		error = consume_records(session);
		break;
	case DT_LAUNCH_ENDED:
		if (traced)
			end_process(session, traced);
		return 0;
	case DT_LAUNCH_NOTHING:
		break;
	}
	dt_launch_continue(&session->launch);
	return error == -ESRCH ? 0 : error;
}

static int dispatch_launch(struct dt_session *session)
{
	int error = 0;

	while (session->launch.pid && !error) {
		enum dt_launch_event event = dt_launch_next(&session->launch);

		if (event == DT_LAUNCH_NOTHING)
			break;
		error = take_launch_event(session, event);
	}
	return error;
}

int dt_session_launch(struct dt_session *session, char *const argv[], pid_t *ret_pid)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct dt_traced *traced;
	int error;

	if (session->stopped)
		return -ESHUTDOWN;
	if (session->launch.pid)
		return -EBUSY;
	error = dt_launch_start(argv, &session->log, &session->launch);
	if (error)
		return error;
	traced = dt_traced_new(session->launch.pid, -1);
	error = traced ? remember_process(session, traced) : -ENOMEM;
	if (error)
		dt_traced_free(traced);
	if (!error && epoll_ctl(session->epoll_fd, EPOLL_CTL_ADD, session->launch.signal_fd, &event))
		error = -errno;
	if (!error)
		error = take_exec(session, traced);
	dt_launch_continue(&session->launch);
	if (error)
		return dt_log_error(&session->log, error, "cannot trace command '%s': %s", argv[0], strerror(-error));
	dt_log_info(&session->log, "tracing process %d (%s)", (int)traced->pid, traced->info.comm);
	*ret_pid = traced->pid;
	return 0;
}

int dt_session_command_status(const struct dt_session *session, int *ret_status)
{
	if (!session->launch.pid)
		return -ECHILD;
	if (!session->launch.ended)
		return -EAGAIN;
	*ret_status = session->launch.status;
	return 0;
}

/* ---- records -------------------------------------------------------------------------------------------------------------- */

static int take_record(void *context, void *data, size_t size)
{
	struct dt_session *session = context;
	const struct dt_event *event = data;
	struct dt_traced *traced;
	int error = 0;

	if (size < sizeof(*event))
		return 0;
	traced = find_process(session, (pid_t)event->tgid);
	if (!traced)
		return 0;
	switch (event->type) {
	case DT_EVENT_CODE:
		error = dt_tracebacks_add_code(session->tracebacks, data, size);
		break;
	case DT_EVENT_TRACEBACK:
		error = dt_tracebacks_add(session->tracebacks, traced, data, size);
		break;
	case DT_EVENT_MAPPINGS:
		for (size_t i = 0; i < session->process_count; i++)
			session->stale[i] = session->stale[i] || session->processes[i] == traced;
		break;
	}
	if (error && !session->event_error)
		session->event_error = error;
	return 0;                       /* go on: one record that fails must not hold the others up */
}

static int consume_records(struct dt_session *session)
{
	int error = ring_buffer__consume(session->ring);

	if (error < 0)
		return error;
	error = session->event_error;
	session->event_error = 0;
	return error;
}

static int follow_stale(struct dt_session *session)
{
	for (size_t i = 0; i < session->process_count; i++) {
		struct dt_traced *traced = session->processes[i];
		int error;

		if (!session->stale[i])
			continue;
		session->stale[i] = false;
		if (traced->exited || traced->row.hold_signal)  /* held ones are followed when they are held */
			continue;
		error = follow_mappings(session, traced);
		if (error)
			return error;
	}
	return 0;
}

static void notice_ends(struct dt_session *session)
{
	for (size_t i = 0; i < session->process_count; i++) {
		struct dt_traced *traced = session->processes[i];
		struct pollfd pidfd = { .fd = traced->pidfd, .events = POLLIN };

		if (!traced->exited && traced->pidfd >= 0 && poll(&pidfd, 1, 0) > 0)
			end_process(session, traced);
	}
}

int dt_session_fd(const struct dt_session *session)
{
	return session->epoll_fd;
}

int dt_session_dispatch(struct dt_session *session)
{
	int error = consume_records(session);

	if (!error)
		error = dispatch_launch(session);
	if (!error && !session->stopped)
		error = follow_stale(session);
	notice_ends(session);
	if (error)
		return dt_log_error(&session->log, error, "cannot follow the traced processes: %s", strerror(-error));
	return 0;
}

size_t dt_session_running(const struct dt_session *session)
{
	size_t running = 0;

	for (size_t i = 0; i < session->process_count; i++)
		running += !session->processes[i]->exited;
	return running;
}

/* ---- snapshots --------------------------------------------------------------------------------------------------------------- */

static int add_processes(struct dt_session *session, struct dt_snapshot *snapshot)
{
	for (size_t i = 0; i < session->process_count; i++) {
		struct dt_traced *traced = session->processes[i];
		struct dt_snapshot_process row;
		uint32_t index;
		int error;

		if (!traced->exited)
			dt_process_read_rss(traced->pid, &traced->info.rss_bytes); /* else as last seen */
		row = (struct dt_snapshot_process){
			.pid = traced->pid,
			.ppid = traced->info.ppid,
			.start_time_ns = traced->info.start_time_ns,
			.comm = traced->info.comm,
			.exe = traced->info.exe,
			.command = (const char *const *)traced->info.command,
			.python = traced->python ? traced->python->version : NULL,
			.exited = traced->exited,
			.rss_bytes = traced->info.rss_bytes,
		};
		error = dt_snapshot_add_process(snapshot, &row, &index);
		if (error)
			return error;
	}
	return 0;
}

static int fill_header(const struct dt_session *session, const char *label, const struct timespec *now, struct dt_snapshot *snapshot)
{
	struct utsname name;

	uname(&name);
	snapshot->sequence = session->sequence + 1;
	snapshot->label = dt_snapshot_string(snapshot, label);
	snapshot->kernel = dt_snapshot_string(snapshot, name.release);
	snapshot->architecture = dt_snapshot_string(snapshot, name.machine);
	snapshot->traceback_limit = session->frame_limit;
	snapshot->elapsed_ns = (uint64_t)((now->tv_sec - session->started.tv_sec) * 1000000000ll + now->tv_nsec - session->started.tv_nsec);
	return snapshot->label && snapshot->kernel && snapshot->architecture ? 0 : -ENOMEM;
}

/* Turns the epoch and reads what it closed. Records first: those of every row that is read must be there. */
static int read_tables(struct dt_session *session, struct dt_snapshot *snapshot, struct timespec *ret_now)
{
	int error = dt_session_dispatch(session);

	if (!error)
		error = dt_collect_turn(session->collect);
	clock_gettime(CLOCK_REALTIME, &snapshot->time);
	clock_gettime(CLOCK_MONOTONIC, ret_now);
	if (!error)
		error = consume_records(session);
	if (!error)
		error = dt_collect_read(session->collect);
	return error;
}

int dt_session_take_snapshot(struct dt_session *session, const char *label, struct dt_snapshot **ret_snapshot)
{
	struct dt_snapshot *snapshot;
	struct timespec now;
	int error;

	if (session->stopped)
		return dt_log_error(&session->log, -ESHUTDOWN, "no snapshot can be taken: tracing has been stopped");
	error = dt_snapshot_new(&snapshot);
	if (error)
		return error;
	error = read_tables(session, snapshot, &now);
	if (!error)
		error = fill_header(session, label, &now, snapshot);
	if (!error)
		error = add_processes(session, snapshot);
	if (!error)
		error = dt_collect_fill(session->collect, session->processes, session->process_count, 0, session->tracebacks, snapshot);
	if (error) {
		dt_snapshot_free(snapshot);
		return dt_log_error(&session->log, error, "cannot take a snapshot: %s", strerror(-error));
	}
	session->sequence++;
	*ret_snapshot = snapshot;
	return 0;
}

int dt_session_clear_traces(struct dt_session *session)
{
	int error = 0;

	if (session->stopped)
		return -ESHUTDOWN;
	for (size_t i = 0; i < session->process_count && !error; i++) {
		session->processes[i]->row.generation++;
		error = upload(session, session->processes[i]);
	}
	if (!error)
		error = consume_records(session);
	if (!error)
		error = dt_collect_forget(session->collect, session->processes, session->process_count);
	if (!error)
		error = dt_collect_clear_counters(session->collect);
	clock_gettime(CLOCK_MONOTONIC, &session->started);
	return error ? dt_log_error(&session->log, error, "cannot clear the traces: %s", strerror(-error)) : 0;
}

/* ---- stop --------------------------------------------------------------------------------------------------------------------- */

int dt_session_stop(struct dt_session *session)
{
	if (session->stopped)
		return -ESHUTDOWN;
	session->stopped = true;
	for (size_t i = 0; i < session->process_count; i++) {
		uint32_t tgid = (uint32_t)session->processes[i]->pid;

		bpf_map_delete_elem(bpf_map__fd(session->bpf->maps.processes), &tgid);
		dt_links_close(&session->processes[i]->links);
	}
	dt_launch_detach(&session->launch);
	return 0;
}

bool dt_session_is_tracing(const struct dt_session *session)
{
	return !session->stopped;
}

int dt_session_drop_privileges(struct dt_session *session, bool keep_files)
{
	/* What following a running process takes; files of other users and other mount namespaces are opened through the last two. */
	static const unsigned int kept[] = { CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_CHECKPOINT_RESTORE };

	capng_get_caps_process();
	for (unsigned int capability = 0; capability <= CAP_LAST_CAP; capability++) {
		bool keep = (session->launch.pid && capability == CAP_KILL) || (keep_files && capability == CAP_DAC_OVERRIDE);

		for (size_t i = 0; i < DT_ARRAY_SIZE(kept); i++)
			keep = keep || kept[i] == capability;
		if (!keep)
			capng_update(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE, capability);
	}
	if (capng_apply(CAPNG_SELECT_CAPS))
		return dt_log_error(&session->log, -EPERM, "cannot give up privileges that are not needed any more");
	return 0;
}
