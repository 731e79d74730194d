/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names for places, a little at a time: one question to the helper or to a server is open at any moment, and what is found out is
 * kept with the place.
 */
#include "session/known_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "target/debug_file.h"

#define FETCH_NS 30000000000ull         /* how long a server may take for a file */

/* ---- questions --------------------------------------------------------------------------------------------------- */

static int open_in_helper(struct dt_resolve *resolve, struct dt_resolve_file *file)
{
	int fds[2 * DT_DEBUG_FILES_MAX + 1], own_root, error;
	size_t count = 0;

	if (file->fetched_fd >= 0)
		fds[count++] = file->fetched_fd;
	if (file->root)
		count += dt_debug_file_open(file->module->elf, file->module->path, file->root->fd, fds + count);
	own_root = file->root && file->root->own ? -1 : open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (own_root >= 0) {
		count += dt_debug_file_open(file->module->elf, file->module->path, own_root, fds + count);
		close(own_root);
	}
	dt_elf_trim(file->module->elf);
	file->number = resolve->opened++;
	error = dt_namer_open(resolve->namer, file->number, dt_elf_fd(file->module->elf), fds, count, file->no_lines);
	for (size_t i = file->fetched_fd >= 0; i < count; i++)
		close(fds[i]);
	return error;
}

/* What there is to ask of a file before its names. */
static int ask_for_file(struct dt_resolve *resolve, struct dt_resolve_file *file, enum dt_question *ret_question)
{
	bool wants_server = resolve->opts.debuginfod && !resolve->no_server && !file->has_lines && !file->asked_server && !file->no_lines;

	if (file->helper != dt_namer_start(resolve->namer)) {
		*ret_question = DT_QUESTION_OPEN;
		return open_in_helper(resolve, file);
	}
	*ret_question = DT_QUESTION_NONE;
	if (!wants_server || !dt_elf_build_id(file->module->elf))
		return 0;
	file->asked_server = true;
	*ret_question = DT_QUESTION_FETCH;
	return dt_fetch_start(&resolve->fetch, dt_elf_build_id(file->module->elf), FETCH_NS);
}

/* Sees to it that a helper runs which can open one more file. */
static bool start_helper(struct dt_resolve *resolve)
{
	uint32_t helper;

	if (resolve->opened == DT_NAMER_FILES_MAX)
		dt_namer_stop(resolve->namer);
	helper = dt_namer_start(resolve->namer);
	if (helper != resolve->helper)
		resolve->opened = 0;
	resolve->helper = helper;
	return helper;
}

/* Asks the next question. -ENODATA: there is none. */
static int ask(struct dt_resolve *resolve)
{
	for (; resolve->next < resolve->place_count; resolve->next++) {
		struct dt_known_place *place = resolve->places[resolve->next];
		int error;

		if (!place->file || place->file->lost || resolve->no_helper)
			continue;
		if (!start_helper(resolve)) {
			dt_log_warning(resolve->opts.log, "no process can be started to find names of functions: %s; native frames go without",
				       strerror(errno));
			resolve->no_helper = true;
			continue;
		}
		error = ask_for_file(resolve, place->file, &resolve->asked);
		if (!error && resolve->asked == DT_QUESTION_NONE) {
			resolve->asked = DT_QUESTION_NAMES;
			error = dt_namer_ask(resolve->namer, place->file->number, place->key.vaddr);
		}
		if (!error)
			return 0;
		resolve->asked = DT_QUESTION_NONE;
		place->file->lost = true;
		dt_log_warning(resolve->opts.log, "functions in %s go without names: %s", place->file->module->path, strerror(-error));
	}
	return -ENODATA;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

/*
 * The helper did not survive a question about a file. A helper that died is given another try, as it may have been out of
 * memory for all that it had read before; then the file's lines are left alone, then the file.
 */
static void blame(struct dt_resolve *resolve, struct dt_resolve_file *file, int error)
{
	const char *why = error == -ETIMEDOUT ? "takes too long" : error == -ENOMEM ? "takes too much memory" : "fails";

	if (!file->failures++ && error == -EPIPE)
		return;
	if (!file->no_lines) {
		file->no_lines = true;
		file->helper = 0;
		dt_log_warning(resolve->opts.log, "functions in %s go without files and lines: reading its debug information %s",
			       file->module->path, why);
		return;
	}
	file->lost = true;
	dt_log_warning(resolve->opts.log, "functions in %s go without names: reading its symbols %s", file->module->path, why);
}

static int take_names(struct dt_resolve *resolve, const struct dt_namer_answer *answer)
{
	struct dt_known_place *place = resolve->places[resolve->next];
	struct dt_snapshot_frame frames[DT_NAMES_DEPTH_MAX];

	for (size_t i = 0; i < answer->count; i++) {
		const struct dt_name *name = &answer->names[i];

		frames[i] = place->base;
		frames[i].function = dt_snapshot_string(resolve->strings, name->function);
		frames[i].file = dt_snapshot_string(resolve->strings, name->file);
		frames[i].line = name->line;
		frames[i].function_offset = name->offset;
		frames[i].inlined = name->inlined;
		if ((name->function && !frames[i].function) || (name->file && !frames[i].file))
			return -ENOMEM;
	}
	resolve->next++;
	return answer->count ? dt_known_place_name(place, frames, answer->count) : 0;
}

static void take_fetched(struct dt_resolve *resolve, struct dt_resolve_file *file, int fd, int error)
{
	if (!error) {
		file->fetched_fd = fd;
		file->helper = 0;       /* to be opened again, with it */
	} else if (error != -ENOENT) {
		resolve->no_server = true;
		dt_log_warning(resolve->opts.log, "no more debug files are fetched: %s",
			       error == -ELIBACC ? "libdebuginfod.so.1 is missing; install libdebuginfod1" :
			       error == -ETIMEDOUT ? "the servers of $DEBUGINFOD_URLS take too long" :
			       error == -ENOSYS ? "$DEBUGINFOD_URLS names no server" :
			       error == -EPIPE ? "the process that fetches them failed" : strerror(-error));
	}
}

/* Waits for the answer to what was asked, and takes it. -EAGAIN: it is not there yet. */
static int take_answer(struct dt_resolve *resolve, uint64_t budget_ns)
{
	struct dt_resolve_file *file = resolve->places[resolve->next]->file;
	struct dt_namer_answer answer = { 0 };
	enum dt_question asked = resolve->asked;
	int fd = -1, error = asked == DT_QUESTION_FETCH ? dt_fetch_wait(&resolve->fetch, budget_ns, &fd) :
					      dt_namer_wait(resolve->namer, budget_ns, &answer);

	if (error == -EAGAIN)
		return error;
	resolve->asked = DT_QUESTION_NONE;
	if (asked == DT_QUESTION_FETCH) {
		take_fetched(resolve, file, fd, error);
	} else if (error == -EPIPE || error == -ETIMEDOUT || error == -ENOMEM) {
		blame(resolve, file, error);
	} else if (error) {
		file->lost = true;
		dt_log_warning(resolve->opts.log, "functions in %s go without names: %s", file->module->path, strerror(-error));
	} else if (asked == DT_QUESTION_OPEN) {
		file->helper = dt_namer_start(resolve->namer);
		file->has_lines = answer.has_lines;
	} else {
		return take_names(resolve, &answer);
	}
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int work(struct dt_resolve *resolve, uint64_t budget_ns)
{
	uint64_t begin = now_ns(), passed = 0;

	for (;;) {
		int error = resolve->asked == DT_QUESTION_NONE ? ask(resolve) : 0;

		if (error)
			return error == -ENODATA ? 0 : error;
		passed = now_ns() - begin;
		error = take_answer(resolve, budget_ns > passed ? budget_ns - passed : 0);
		if (error)
			return error;
	}
}

/* A descriptor that was closed meanwhile has left by itself. */
static void watch(struct dt_resolve *resolve)
{
	struct epoll_event event = { .events = EPOLLIN };

	if (resolve->watched_fd >= 0)
		epoll_ctl(resolve->epoll_fd, EPOLL_CTL_DEL, resolve->watched_fd, NULL);
	resolve->watched_fd = resolve->asked == DT_QUESTION_NONE ? -1 :
			      resolve->asked == DT_QUESTION_FETCH ? resolve->fetch.socket : dt_namer_fd(resolve->namer);
	if (resolve->watched_fd >= 0)
		epoll_ctl(resolve->epoll_fd, EPOLL_CTL_ADD, resolve->watched_fd, &event);
}

int dt_resolve_work(struct dt_resolve *resolve, uint64_t budget_ns)
{
	int error = resolve->asked == DT_QUESTION_NONE && resolve->next == resolve->place_count ? 0 : work(resolve, budget_ns);

	if (resolve->asked != DT_QUESTION_NONE || resolve->watched_fd >= 0)
		watch(resolve);
	return error;
}

pid_t dt_resolve_helper(const struct dt_resolve *resolve)
{
	return dt_namer_pid(resolve->namer);
}

int dt_resolve_fd(const struct dt_resolve *resolve)
{
	return resolve->epoll_fd;
}

bool dt_resolve_is_named(const struct dt_resolve *resolve, size_t count)
{
	return resolve->next >= count;
}
