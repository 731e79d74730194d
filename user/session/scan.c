/* SPDX-License-Identifier: BSD-2-Clause */
/* scan: the processes that run already when all are to be traced. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "session/choice.h"
#include "session/session.h"

static void cleanup_directory(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

/* A kernel thread has no program. */
static bool has_program(pid_t pid)
{
	char path[64], target[2];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return readlink(path, target, sizeof(target)) > 0;
}

static bool is_known(const struct dt_session *session, pid_t pid)
{
	for (size_t i = 0; i < session->process_count; i++)
		if (session->processes[i]->pid == pid && !session->processes[i]->exited)
			return true;
	return false;
}

/* One look through /proc; adds to *count what is traced now. */
static int scan_once(struct dt_session *session, size_t *count)
{
	DT_CLEANUP(cleanup_directory) DIR *directory = opendir("/proc");
	struct dirent *entry;

	if (!directory)
		return -errno;
	while ((entry = readdir(directory))) {
		uint64_t pid;
		int error;

		if (dt_parse_u64(entry->d_name, 1, INT32_MAX, &pid) || is_known(session, (pid_t)pid) || !has_program((pid_t)pid) ||
		    !dt_choice_holds(&session->choice, (pid_t)pid))
			continue;
		error = dt_session_add_running(session, (pid_t)pid);
		if (error == -ENOMEM || error == -ENOSPC)
			return error;
		*count += !error;
	}
	return 0;
}

/* Twice at least: what an unknown process forked off in the meantime is as unknown as that one. */
int dt_session_add_all(struct dt_session *session, size_t *ret_count)
{
	DT_SESSION_LOCKED(session);
	size_t count = 0, before;
	int error;

	if (session->stopped)
		return -ESHUTDOWN;
	do {
		before = count;
		error = scan_once(session, &count);
	} while (!error && count > before);
	if (error)
		return dt_log_error(&session->log, error, "cannot trace all processes: %s", strerror(-error));
	*ret_count = count;
	return 0;
}
