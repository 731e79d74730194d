/* SPDX-License-Identifier: BSD-2-Clause */
/* runtime: whose directory is taken, whose is not; sockets of the living, of the dead, and what only looks like one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "cli/runtime.h"
#include "shell.h"

static char said[512];
static enum dt_log_level said_level;

static void write_log(void *context, enum dt_log_level level, const char *line)
{
	(void)context;
	said_level = level;
	snprintf(said, sizeof(said), "%s", line);
}

static const struct dt_log the_log = { write_log, NULL };

static int open_in(const char *parent, bool make, int *ret_fd)
{
	*said = '\0';
	return dt_runtime_open(parent, make, &the_log, DT_LOG_WARNING, ret_fd);
}

static void test_parent(void **state)
{
	char path[64];

	(void)state;
	setenv("XDG_RUNTIME_DIR", "/somewhere", 1);
	dt_runtime_parent(path, sizeof(path));
	assert_string_equal(path, geteuid() ? "/somewhere" : "/run");
	setenv("XDG_RUNTIME_DIR", "not/absolute", 1);
	dt_runtime_parent(path, sizeof(path));
	assert_true(!geteuid() || strstr(path, "/run/user/") == path);
}

static void test_made(void **state)
{
	struct stat status;
	mode_t mask = umask(0);
	int fd = -1;

	(void)state;
	shell("mkdir -m 700 made");
	assert_int_equal(open_in("made", false, &fd), -ENOENT);
	assert_string_equal(said, "");
	assert_int_equal(open_in("made", true, &fd), 0);
	umask(mask);
	assert_int_equal(stat("made/domtrace", &status), 0);
	assert_int_equal(status.st_mode & 07777, 0700);
	close(fd);
	assert_int_equal(open_in("made", false, &fd), 0);
	close(fd);
}

/* Each is refused, with a word that names it, and nothing is opened. */
static void test_refused(void **state)
{
	static const struct {
		const char *name, *make;
		int error;
	} cases[] = {
		{ "open", "mkdir -m 700 open && mkdir -m 755 open/domtrace", -EACCES },
		{ "group", "mkdir -m 700 group && mkdir -m 710 group/domtrace", -EACCES },
		{ "link", "mkdir -m 700 link other && ln -s ../other link/domtrace", -ENOTDIR },
		{ "file", "mkdir -m 700 file && touch file/domtrace", -ENOTDIR },
		{ "world", "mkdir -m 1777 world && mkdir -m 700 world/domtrace", -EACCES },
		{ "nowhere", "true", -ENOENT },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		int fd = -7, error;

		shell("%s", cases[i].make);
		error = open_in(cases[i].name, true, &fd);
		assert_int_equal(error == -ELOOP ? -ENOTDIR : error, cases[i].error);
		assert_int_equal(fd, -7);
		assert_non_null(strstr(said, cases[i].name));
		assert_int_equal(said_level, DT_LOG_WARNING);
	}
}

static void test_another_owner(void **state)
{
	int fd = -7;

	(void)state;
	if (geteuid()) {
		print_message("only root can give a directory away\n");
		skip();
	}
	shell("mkdir -m 700 theirs && mkdir -m 700 theirs/domtrace && chown 65534 theirs/domtrace");
	assert_int_equal(open_in("theirs", true, &fd), -EACCES);
	assert_string_equal(said, "theirs/domtrace is not used for 'domtrace ctl': it is not of user 0 alone (owner and mode 0700); remove it");
	shell("mkdir -m 755 all && chown 65534 all");
	assert_int_equal(open_in("all", true, &fd), -EACCES);
	assert_int_equal(fd, -7);
}

/* One that listens, one dead, one dead whose number lives on, a file, other names. */
static void test_sockets(void **state)
{
	pid_t pids[DT_RUNTIME_PEERS_MAX], child;
	struct stat status;
	size_t count = 0;
	int directory, fd = -1, client = -1, child_status;
	char path[64];

	(void)state;
	shell("mkdir -m 700 sockets");
	assert_int_equal(open_in("sockets", true, &directory), 0);
	child = fork();
	if (child == 0)
		_exit(dt_runtime_listen(directory, &the_log, DT_LOG_ERROR, &fd) ? 1 : 0);   /* and leaves it behind */
	assert_int_equal(waitpid(child, &child_status, 0), child);
	assert_int_equal(child_status, 0);
	snprintf(path, sizeof(path), "sockets/domtrace/%d.sock", (int)child);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode, S_IFSOCK | 0600);
	assert_int_equal(dt_runtime_connect(directory, child, &client), -ECONNREFUSED);
	shell("touch sockets/domtrace/%d.sock sockets/domtrace/1.sock sockets/domtrace/0.sock sockets/domtrace/12345678901234567890.sock "
	      "sockets/domtrace/x.sock sockets/domtrace/7", (int)getpid());
	assert_int_equal(dt_runtime_list(directory, pids, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(dt_runtime_listen(directory, &the_log, DT_LOG_ERROR, &fd), 0);
	assert_int_equal(access(path, F_OK), -1);       /* the dead one's is gone */
	assert_int_equal(access("sockets/domtrace/1.sock", F_OK), 0); /* process 1 lives */
	assert_int_equal(access("sockets/domtrace/x.sock", F_OK), 0);
	assert_int_equal(dt_runtime_list(directory, pids, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(pids[0], getpid());
	assert_int_equal(dt_runtime_connect(directory, getpid(), &client), 0);
	assert_true(dt_runtime_is_own(client));
	assert_int_equal(dt_runtime_connect(directory, 4194305, &client), -ENOENT);
	assert_int_equal(dt_runtime_listen(directory, &the_log, DT_LOG_ERROR, &client), -EADDRINUSE); /* that one listens */
	dt_runtime_remove(directory);
	assert_int_equal(dt_runtime_connect(directory, getpid(), &client), -ENOENT);
	close(client);
	close(fd);
	close(directory);
}

/* A path that is much longer than an address of a socket. */
static void test_long_path(void **state)
{
	char parent[300] = "long";
	int directory, fd, client;

	(void)state;
	for (int i = 0; i < 5; i++)
		strcat(parent, "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	shell("mkdir -p -m 700 %s && chmod -R 700 long", parent);
	assert_int_equal(open_in(parent, true, &directory), 0);
	assert_int_equal(dt_runtime_listen(directory, &the_log, DT_LOG_ERROR, &fd), 0);
	assert_int_equal(dt_runtime_connect(directory, getpid(), &client), 0);
	close(client);
	close(fd);
	close(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parent), cmocka_unit_test(test_made), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_another_owner), cmocka_unit_test(test_sockets), cmocka_unit_test(test_long_path),
	};

	return cmocka_run_group_tests(tests, shell_enter, shell_leave);
}
