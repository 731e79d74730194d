/* SPDX-License-Identifier: BSD-2-Clause */
/* session: its start and its end. What lies between is in follow.c and take.c. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>

#include "base/cleanup.h"
#include "session/choice.h"
#include "session/images.h"
#include "session/session.h"
#include "session/skeleton.h"

/* ---- start ------------------------------------------------------------------------------------------------------- */

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

static uint32_t scratch_count(void)
{
	int cpus = libbpf_num_possible_cpus();
	uint32_t wanted = cpus > 0 ? (uint32_t)cpus * DT_SCRATCHES_PER_CPU : 0;

	return wanted > DT_SCRATCHES_MIN ? wanted : DT_SCRATCHES_MIN;
}

static int fill_config(const struct dt_session *session, struct dt_config *config)
{
	if (getrandom(&config->hash_seed, sizeof(config->hash_seed), 0) != sizeof(config->hash_seed))
		return -errno;
	config->frame_limit = session->frame_limit;
	config->stack = session->stack;
	config->follow = session->follow;
	config->blocks_are_read = session->blocks_are_read;
	config->choice = session->choice;
	config->domain_count = session->domains.count;
	config->domains_excluded = session->domains.excluded;
	memcpy(config->domains, session->domains.ids, sizeof(config->domains));
	config->scratch_count = scratch_count();
	config->awaits_pages = session->method != DT_ATTACH_SINGLE;
	config->defers_preemption = dt_kernel_has_function("bpf_preempt_disable");
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
	DT_FREE char *logs = NULL;
	struct bpf_program *program;
	size_t count = 0, used = 0;
	int error;

	bpf_object__for_each_program(program, session->bpf->obj)
		count++;
	logs = calloc(count, VERIFIER_LOG_BYTES);
	bpf_object__for_each_program(program, session->bpf->obj) {
		if (!logs)
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

/* The table of live blocks is not among them: it grows. */
static int size_tables(const struct dt_session *session)
{
	struct bpf_map *const maps[DT_TABLE_COUNT] = {
		[DT_TABLE_traces] = session->bpf->maps.traces,
		[DT_TABLE_totals] = session->bpf->maps.totals,
		[DT_TABLE_past] = session->bpf->maps.past,
		[DT_TABLE_codes] = session->bpf->maps.codes,
		[DT_TABLE_events] = session->bpf->maps.events,
	};
	int error = 0;

	for (int i = 0; i < DT_TABLE_COUNT && !error; i++)
		if (maps[i])
			error = bpf_map__set_max_entries(maps[i], (uint32_t)session->tables.rows[i]);
	return error ? error : bpf_map__set_max_entries(session->bpf->maps.scratches, scratch_count());
}

static int load_programs(struct dt_session *session)
{
	const struct dt_log *log = &session->log;
	int error;

	libbpf_set_print(silent);
	session->bpf = domtrace_bpf__open();
	if (!session->bpf)
		return dt_log_error(log, -errno, "cannot open the BPF object: %s", strerror(errno));
	error = size_tables(session);
	if (!error)
		error = dt_live_prepare(session->bpf, session->tables.rows[DT_TABLE_live], &session->live);
	if (!error)
		error = fill_config(session, (struct dt_config *)&session->bpf->rodata->config);
	session->bpf->bss->epoch = DT_EPOCH_STEP; /* segments are numbered from 1 */
	if (!error)
		error = dt_attach_prepare(session->bpf, session->method, session->modules.markers);
	if (!error)
		error = dt_session_follow_prepare(session);
	if (!error)
		error = load_object(session);
	if (!error)
		return 0;
	dt_log_error(log, error, "the kernel does not take the BPF programs: %s; 'domtrace doctor' says what is missing", strerror(-error));
	return error == -EPERM || error == -ENOMEM ? error : -ENOTSUP;  /* -EINVAL is the caller's fault, this is not */
}

static int open_queues(struct dt_session *session)
{
	struct epoll_event event = { .events = EPOLLIN };

	session->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	session->ring = ring_buffer__new(bpf_map__fd(session->bpf->maps.events), dt_session_take_record, session, NULL);
	if (!session->ring || session->timer_fd < 0)
		return -errno;
	session->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (session->epoll_fd < 0 ||
	    epoll_ctl(session->epoll_fd, EPOLL_CTL_ADD, ring_buffer__epoll_fd(session->ring), &event) ||
	    epoll_ctl(session->epoll_fd, EPOLL_CTL_ADD, session->timer_fd, &event))
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

static const char *const stack_names[] = {
	[DT_STACK_AUTO] = "auto",
	[DT_STACK_PYTHON] = "python",
	[DT_STACK_NATIVE] = "native",
	[DT_STACK_MIXED] = "mixed",
};

static int parse_stack(const struct dt_session_opts *opts, enum dt_stack *ret_stack)
{
	for (size_t i = 0; i < DT_ARRAY_SIZE(stack_names); i++) {
		if (opts->stack && strcmp(opts->stack, stack_names[i]))
			continue;
		*ret_stack = (enum dt_stack)i;
		return 0;
	}
	return dt_log_error(&opts->log, -EINVAL, "there is no stack '%s': it is one of auto, python, native, mixed", opts->stack);
}

static int start_naming(struct dt_session *session, const struct dt_session_opts *opts)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct dt_resolve_opts resolve = {
		.modules = &session->modules,
		.log = &session->log,
		.raw_names = opts->raw_names,
		.debuginfod = opts->debuginfod,
	};
	const char *servers = getenv("DEBUGINFOD_URLS");
	int error = dt_tracebacks_new(&resolve, &session->tracebacks);

	if (opts->debuginfod && (!servers || !*servers))
		dt_log_warning(&session->log, "no debuginfod server is asked: DEBUGINFOD_URLS, which names them, is not set; keep it with sudo -E");
	if (!error && epoll_ctl(session->epoll_fd, EPOLL_CTL_ADD, dt_tracebacks_fd(session->tracebacks), &event))
		error = -errno;
	return error;
}

static int start_ages(struct dt_session *session, const struct dt_session_opts *opts)
{
	struct epoll_event event = { .events = EPOLLIN };
	int error = dt_ages_new(opts->older_than_ns, &session->ages);

	if (!error && opts->older_than_ns && epoll_ctl(session->epoll_fd, EPOLL_CTL_ADD, session->ages->timer_fd, &event))
		error = -errno;
	return error;
}

/* Without the feature programs with markers are traced all the same. */
static int choose_markers(struct dt_session *session, const struct dt_session_opts *opts)
{
	if (session->features.has[DT_FEATURE_MARKERS] && (opts->markers || session->markers.count))
		session->modules.markers = &session->markers;
	if (!session->markers.count || session->modules.markers)
		return 0;
	return dt_log_error(&session->log, -ENOTSUP, "no snapshot can be taken at '%s': %s", session->markers.list[0].symbol,
			    session->features.refused[DT_FEATURE_MARKERS] ? "that takes the feature markers, which --without leaves out" :
			    "this kernel has no sleepable uprobes (Linux 6.0)");
}

static int session_start(struct dt_session *session, const struct dt_session_opts *opts)
{
	int error = dt_domains_parse(opts->domains, &session->log, &session->domains);

	if (!error)
		error = parse_stack(opts, &session->stack);
	if (!error)
		error = dt_tables_parse(opts->tables, &opts->log, &session->tables);
	if (!error)
		error = dt_allocators_parse(opts->allocators, &session->log, &session->allocators);
	if (!error)
		error = dt_markers_parse(opts->snapshot_at, &session->log, &session->markers);
	session->domains.filter.python_frames = session->stack != DT_STACK_NATIVE;
	if (!error && (opts->all || opts->children))
		error = dt_choice_read(opts, &session->choice);
	session->follow = opts->all ? DT_FOLLOW_ALL : opts->children ? DT_FOLLOW_CHILDREN : DT_FOLLOW_NONE;
	if (!error)
		error = dt_features_require(&session->log);
	if (!error)
		error = dt_features_probe(opts->without, &session->log, &session->features);
	if (!error)
		error = choose_markers(session, opts);
	if (error)
		return error;
	session->method = dt_attach_method_choose(&session->features);
	if (session->method == DT_ATTACH_SINGLE) {
		error = dt_features_require_single(&session->log);
		if (error)
			return error;
	}
	session->modules.cheap_sites = session->features.has[DT_FEATURE_CHEAP_SITES];
	session->modules.python_alloc = session->domains.filter.sources[DT_SOURCE_PYTHON];
	session->modules.log = &session->log;
	session->modules.allocators = &session->allocators;
	error = load_programs(session);
	if (error)
		return error;
	dt_live_start(&session->live);
	error = open_queues(session);
	if (!error && session->modules.markers)
		error = dt_session_markers_start(session);
	if (!error)
		error = dt_images_start(session->bpf);
	if (!error)
		error = dt_unwind_new(session->bpf, &session->unwind);
	session->modules.unwind = session->unwind;
	if (!error)
		error = dt_publish_new(session->bpf, session->unwind, &session->publish);
	if (!error)
		error = dt_collect_new(session->bpf, &session->live, &session->collect);
	if (!error)
		error = start_ages(session, opts);
	session->sizes = opts->sizes;
	if (!error)
		error = start_naming(session, opts);
	if (!error)
		error = dt_session_follow_start(session);
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
	session->lock = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
	session->log = opts->log;
	session->patch_python = opts->patch_python;
	session->blocks_are_read = opts->older_than_ns || opts->sizes;
	session->epoll_fd = session->timer_fd = session->marked_fd = -1;
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

int dt_session_start(const struct dt_session_opts *opts, pid_t pid, struct dt_session **ret_session)
{
	struct dt_session *session;
	int error = dt_session_new(opts, &session);

	if (error)
		return error;
	error = dt_session_add_process(session, pid);
	if (error)
		dt_session_free(session);
	else
		*ret_session = session;
	return error;
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
	dt_tracebacks_free(session->tracebacks);
	dt_collect_free(session->collect);
	dt_ages_free(session->ages);
	dt_modules_clear(&session->modules);
	dt_allocators_clear(&session->allocators);
	dt_markers_clear(&session->markers);
	dt_session_forget_marked(session);
	dt_publish_free(session->publish);
	dt_unwind_free(session->unwind);
	dt_live_close(&session->live);
	ring_buffer__free(session->ring);
	domtrace_bpf__destroy(session->bpf);
	if (session->epoll_fd >= 0)
		close(session->epoll_fd);
	if (session->timer_fd >= 0)
		close(session->timer_fd);
	pthread_mutex_destroy(&session->lock);
	if (session->marked_fd >= 0)
		close(session->marked_fd);
	free(session);
}

/* ---- stop -------------------------------------------------------------------------------------------------------- */

int dt_session_stop(struct dt_session *session)
{
	DT_SESSION_LOCKED(session);
	if (session->stopped)
		return -ESHUTDOWN;
	session->stopped = true;
	for (size_t i = 0; i < session->allocators.count; i++)
		if (session->process_count && !session->allocators.list[i].matched)
			dt_log_warning(&session->log, "--allocator: no process mapped a file that '%s' stands for", session->allocators.list[i].file);
	if (session->process_count)
		dt_domains_say_missing(&session->domains, &session->log);
	for (size_t i = 0; i < session->markers.count; i++)
		if (session->process_count && !session->markers.list[i].matched)
			dt_log_warning(&session->log, "--snapshot-at: no process mapped a file that '%s' stands for", session->markers.list[i].file);
	dt_session_markers_stop(session);
	dt_session_follow_stop(session);
	for (size_t i = 0; i < session->process_count; i++) {
		dt_publish_withdraw(session->publish, session->processes[i]);
		dt_links_close(&session->processes[i]->links);
	}
	dt_modules_detach(&session->modules);
	dt_launch_detach(&session->launch);
	for (size_t i = 0; i < session->process_count; i++)
		if (!session->processes[i]->exited)
			dt_python_calls_close(&session->processes[i]->python_calls, session->processes[i]->pid, &session->log);
	return 0;
}

bool dt_session_is_tracing(const struct dt_session *session)
{
	DT_SESSION_LOCKED(session);
	return !session->stopped;
}

int dt_session_drop_privileges(struct dt_session *session, bool keep_files)
{
	/* What following a running process takes; files of other users and other mount namespaces are opened through the last two. */
	static const unsigned int kept[] = { CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_CHECKPOINT_RESTORE };

	capng_get_caps_process();
	for (unsigned int capability = 0; capability <= CAP_LAST_CAP; capability++) {
		bool keep = (session->launch.pid && capability == CAP_KILL) || (keep_files && capability == CAP_DAC_OVERRIDE) ||
			    (session->method == DT_ATTACH_SINGLE && capability == CAP_SYS_ADMIN);

		for (size_t i = 0; i < DT_ARRAY_SIZE(kept); i++)
			keep = keep || kept[i] == capability;
		if (!keep)
			capng_update(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE, capability);
	}
	if (capng_apply(CAPNG_SELECT_CAPS))
		return dt_log_error(&session->log, -EPERM, "cannot give up privileges that are not needed any more");
	return 0;
}
