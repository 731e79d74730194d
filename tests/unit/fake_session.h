/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_session: all of domtrace.h without BPF, for tests of the cli.
 *
 * Every call is written into a journal as a word. A test's hook sees each word when it is written and lets the next
 * event happen (a signal, the end of a process), so that tests wait for events and never for time. The fake lives in
 * memory shared with a child: the code under test runs there, because it changes signals for good and may exit.
 */
#ifndef FAKE_SESSION_H
#define FAKE_SESSION_H

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <domtrace/snapshot.h>

struct dt_session {
	int event_fd;
};

struct dt_snapshot {
	unsigned number;
};

struct dt_output {
	const char *path;
};

struct fake {
	char journal[4096];
	void (*hook)(const char *word);         /* may be NULL */
	/* what calls return */
	int new_error, open_error, add_error, launch_error, drop_error, dispatch_error, take_error, write_error, report_error;
	int sites_error, doctor_error, able;
	size_t running;                         /* processes */
	size_t marked;                          /* snapshots of markers */
	bool marked_first;                      /* one comes when another snapshot, or a clear, is asked for */
	size_t ended;                           /* snapshots of processes that have ended */
	int command_status;                     /* wait status, if command_ended */
	bool command_ended;
	bool command_ends_when_asked;           /* it still runs when asked for the first time */
	/* what calls were given */
	struct dt_session_opts session_opts;
	struct dt_report_opts report_opts;
	char domains[64], without[64], tables[64], stack[16];
	unsigned snapshots;
	int event_fd;
};

static struct fake *fake;

static void fake_write(const char *word)
{
	strcat(fake->journal, *fake->journal ? " " : "");
	strcat(fake->journal, word);
	if (fake->hook)
		fake->hook(word);
}

/* Something has happened that dispatch will see. */
static void fake_wake(void)
{
	eventfd_write(fake->event_fd, 1);
}

static void fake_end_command(int status)
{
	fake->command_status = status;
	fake->command_ended = true;
	fake->running = 0;
	fake_wake();
}

static void fake_reset(void)
{
	if (!fake)
		fake = mmap(NULL, sizeof(*fake), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*fake = (struct fake){ .running = 1, .able = 1, .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
}

/* Runs `body` in a child; its wait status. */
static inline int fake_run(int (*body)(const void *argument), const void *argument)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		alarm(60);      /* a test that hangs is a test that fails */
		exit(body(argument));
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		abort();
	return status;
}

static void fake_join(char *to, const char *const *list)
{
	for (; list && *list; list++) {
		strcat(to, *to ? " " : "");
		strcat(to, *list);
	}
}

/* ---- domtrace.h -------------------------------------------------------------------------------------------- */

int dt_session_new(const struct dt_session_opts *opts, struct dt_session **ret_session)
{
	static struct dt_session session;

	fake->session_opts = *opts;
	fake_join(fake->domains, opts->domains);
	fake_join(fake->without, opts->without);
	fake_join(fake->tables, opts->tables);
	fake_join(fake->stack, (const char *const[]){ opts->stack, NULL });
	fake_write("new");
	if (!fake->new_error)
		*ret_session = &session;
	return fake->new_error;
}

void dt_session_free(struct dt_session *session)
{
	if (session)
		fake_write("free");
}

int dt_session_add_process(struct dt_session *session, pid_t pid)
{
	char word[32];

	(void)session;
	snprintf(word, sizeof(word), "add:%d", (int)pid);
	fake_write(word);
	return fake->add_error;
}

int dt_session_add_all(struct dt_session *session, size_t *ret_count)
{
	(void)session;
	fake_write("add_all");
	if (!fake->add_error)
		*ret_count = fake->running;
	return fake->add_error;
}

int dt_session_launch(struct dt_session *session, char *const argv[], pid_t *ret_pid)
{
	char word[128] = "launch:";

	(void)session;
	for (; *argv; argv++)
		strcat(strcat(word, *argv), argv[1] ? "," : "");
	fake_write(word);
	if (!fake->launch_error)
		*ret_pid = 4242;
	return fake->launch_error;
}

int dt_session_fd(const struct dt_session *session)
{
	(void)session;
	return fake->event_fd;
}

int dt_session_dispatch(struct dt_session *session)
{
	eventfd_t events;

	(void)session;
	eventfd_read(fake->event_fd, &events);
	if (fake->marked)               /* of that only dt_session_take_marked() is told */
		fake_wake();
	return fake->dispatch_error;
}

size_t dt_session_running(const struct dt_session *session)
{
	(void)session;
	return fake->running;
}

int dt_session_command_status(const struct dt_session *session, int *ret_status)
{
	(void)session;
	if (!strstr(fake->journal, "launch:"))
		return -ECHILD;
	if (!fake->command_ended) {
		if (fake->command_ends_when_asked)
			fake_end_command(0);
		return -EAGAIN;
	}
	*ret_status = fake->command_status;
	return 0;
}

/* A marker comes before whatever else wants the tables, once. */
static inline bool fake_marker_is_first(void)
{
	bool is_first = fake->marked_first;

	fake->marked_first = false;
	fake->marked += is_first;
	return is_first;
}

int dt_session_take_snapshot(struct dt_session *session, const char *label, struct dt_snapshot **ret_snapshot)
{
	char word[32];

	(void)session;
	if (fake_marker_is_first())
		return -EBUSY;
	snprintf(word, sizeof(word), "take:%s", label);
	fake_write(word);
	if (fake->take_error)
		return fake->take_error;
	*ret_snapshot = malloc(sizeof(**ret_snapshot));
	(*ret_snapshot)->number = ++fake->snapshots;
	return 0;
}

int dt_session_take_final(struct dt_session *session, struct dt_snapshot **ret_snapshot)
{
	return dt_session_take_snapshot(session, "final", ret_snapshot);
}

int dt_session_take_marked(struct dt_session *session, struct dt_snapshot **ret_snapshot)
{
	(void)session;
	if (!fake->marked)
		return -EAGAIN;
	fake->marked--;
	fake_write("take_marked");
	*ret_snapshot = malloc(sizeof(**ret_snapshot));
	(*ret_snapshot)->number = ++fake->snapshots;
	return 0;
}

int dt_session_take_ended(struct dt_session *session, bool at_once, struct dt_snapshot **ret_snapshot)
{
	(void)session;
	if (!fake->ended)
		return -EAGAIN;
	fake->ended--;
	fake_write(at_once ? "ended:at_once" : "ended");
	*ret_snapshot = malloc(sizeof(**ret_snapshot));
	(*ret_snapshot)->number = ++fake->snapshots;
	return 0;
}

int dt_session_clear_traces(struct dt_session *session)
{
	(void)session;
	if (fake_marker_is_first())
		return -EBUSY;
	fake_write("clear");
	return 0;
}

int dt_session_reset_peak(struct dt_session *session)
{
	(void)session;
	if (fake_marker_is_first())
		return -EBUSY;
	fake_write("reset_peak");
	return 0;
}

int dt_session_take_totals(struct dt_session *session, struct dt_snapshot **ret_snapshot)
{
	(void)session;
	if (fake_marker_is_first())
		return -EBUSY;
	fake_write("totals");
	if (fake->take_error)
		return fake->take_error;
	*ret_snapshot = malloc(sizeof(**ret_snapshot));
	(*ret_snapshot)->number = fake->snapshots;
	return 0;
}

int dt_session_get_tracer_memory(struct dt_session *session, struct dt_tracer_memory *memory)
{
	(void)session;
	memory->kernel_bytes = 4096;
	return 0;
}

int dt_snapshot_get_info(const struct dt_snapshot *snapshot, struct dt_snapshot_info *info)
{
	info->sequence = snapshot->number;
	return 0;
}

int dt_status_write(const struct dt_snapshot *totals, const struct dt_status_opts *opts, FILE *out)
{
	return fprintf(out, "%s %u %s %u\n", opts->json ? "json" : "text", totals->number, opts->file ? opts->file : "-",
		       (unsigned)opts->kernel_bytes) < 0 ? -EIO : 0;
}

int dt_session_stop(struct dt_session *session)
{
	(void)session;
	fake_write("stop");
	return 0;
}

bool dt_session_is_tracing(const struct dt_session *session)
{
	(void)session;
	return !strstr(fake->journal, "stop");
}

int dt_session_drop_privileges(struct dt_session *session, bool keep_files)
{
	(void)session;
	(void)keep_files;
	fake_write("drop");
	return fake->drop_error;
}

int dt_sites_write(const struct dt_session_opts *opts, pid_t pid, FILE *out)
{
	char word[32];

	fake_join(fake->without, opts->without);
	snprintf(word, sizeof(word), "sites:%d", (int)pid);
	fake_write(word);
	fprintf(out, "%s\n", word);
	return fake->sites_error;
}

int dt_doctor_write(const struct dt_session_opts *opts, FILE *out, bool *ret_able)
{
	fake_join(fake->without, opts->without);
	fake_write("doctor");
	fputs("doctor\n", out);
	if (!fake->doctor_error)
		*ret_able = fake->able;
	return fake->doctor_error;
}

void dt_snapshot_free(struct dt_snapshot *snapshot)
{
	free(snapshot);
}

int dt_report_write(const struct dt_snapshot *snapshot, const struct dt_report_opts *opts, FILE *out)
{
	char word[32];

	fake->report_opts = *opts;
	snprintf(word, sizeof(word), "report:%u", snapshot->number);
	fprintf(out, "%s\n", word);
	fake_write(word);
	return fake->report_error;
}

int dt_snapshot_write_json(const struct dt_snapshot *snapshot, FILE *out)
{
	return fprintf(out, "{\"number\":%u}\n", snapshot->number) < 0 ? -EIO : 0;
}

int dt_output_open(const char *path, const struct dt_log *log, struct dt_output **ret_output)
{
	static struct dt_output output;

	(void)log;
	fake_write("open");
	output.path = path;
	if (!fake->open_error)
		*ret_output = &output;
	return fake->open_error;
}

int dt_output_write(struct dt_output *output, const struct dt_snapshot *snapshot)
{
	char word[32];

	(void)output;
	snprintf(word, sizeof(word), "write:%u", snapshot->number);
	fake_write(word);
	return fake->write_error;
}

void dt_output_close(struct dt_output *output)
{
	if (output)
		fake_write("close");
}

static const char *const fake_sorts[DT_SORT_COUNT_] = { "live", "count", "allocated", "allocations", "peak", "at-peak", "temporary", "old" };

const char *dt_sort_name(enum dt_sort sort)
{
	return fake_sorts[sort];
}

int dt_sort_parse(const char *name, enum dt_sort *ret_sort)
{
	for (int i = 0; i < DT_SORT_COUNT_; i++) {
		if (!strcmp(name, fake_sorts[i])) {
			*ret_sort = (enum dt_sort)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *dt_feature_name(size_t index, const char **ret_help)
{
	static const char *const names[] = { "warp", "shields" };

	if (index >= 2)
		return NULL;
	*ret_help = "a feature of the fake session";
	return names[index];
}

#endif
