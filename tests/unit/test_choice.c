/* SPDX-License-Identifier: BSD-2-Clause */
/* choice: what --comm, --uid, --cgroup and --exe mean to the programs, and of which running processes it holds. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "session/choice.h"
#include "said.h"

static struct dt_choice chosen(struct dt_session_opts opts)
{
	struct said said = { 0 };
	struct dt_choice choice;

	memset(&choice, 0xff, sizeof(choice));
	opts.log = said_log(&said);
	if (dt_choice_read(&opts, &choice))
		fail_msg("%s", said.last);
	assert_int_equal(said.lines, 0);
	assert_int_equal(choice.own_tgid, getpid());
	return choice;
}

static void assert_refused(struct dt_session_opts opts, int error, const char *sentence)
{
	struct said said = { 0 };
	struct dt_choice choice, untouched;

	memset(&choice, 0x5a, sizeof(choice));
	untouched = choice;
	opts.log = said_log(&said);
	assert_int_equal(dt_choice_read(&opts, &choice), error);
	assert_memory_equal(&choice, &untouched, sizeof(choice));
	assert_int_equal(said.lines, 1);
	assert_string_equal(said.last, sentence);
}

static void test_read(void **state)
{
	struct dt_choice choice = chosen((struct dt_session_opts){ 0 });
	struct stat status;

	(void)state;
	assert_int_equal(choice.by, 0);
	choice = chosen((struct dt_session_opts){ .comm = "fifteen letters" });
	assert_int_equal(choice.by, DT_CHOICE_COMM);
	assert_string_equal(choice.comm, "fifteen letters");
	choice = chosen((struct dt_session_opts){ .user = "4294967294" });
	assert_int_equal(choice.by, DT_CHOICE_UID);
	assert_int_equal(choice.uid, 4294967294);
	choice = chosen((struct dt_session_opts){ .user = "root" });
	assert_int_equal(choice.by, DT_CHOICE_UID);
	assert_int_equal(choice.uid, 0);
	choice = chosen((struct dt_session_opts){ .exe = "/proc/self/exe", .comm = "" });
	assert_int_equal(stat("/proc/self/exe", &status), 0);
	assert_int_equal(choice.by, DT_CHOICE_FILE | DT_CHOICE_COMM);
	assert_int_equal(choice.file_inode, status.st_ino);
	assert_int_not_equal(choice.file_device, 0);
}

static void test_refused(void **state)
{
	char directory[] = "/tmp/domtrace-test-choice-XXXXXX";
	DT_FREE char *sentence = NULL;

	(void)state;
	assert_refused((struct dt_session_opts){ .comm = "sixteen letters!" }, -EINVAL,
		       "the kernel keeps 15 characters of a program's name: 'sixteen letters!' has more");
	assert_refused((struct dt_session_opts){ .user = "no-such-user-here" }, -EINVAL, "there is no user 'no-such-user-here'");
	/* The number that means "no user" to the kernel. */
	assert_refused((struct dt_session_opts){ .user = "4294967295" }, -EINVAL, "there is no user '4294967295'");
	assert_refused((struct dt_session_opts){ .user = "-1" }, -EINVAL, "there is no user '-1'");
	assert_refused((struct dt_session_opts){ .user = "" }, -EINVAL, "there is no user ''");
	assert_refused((struct dt_session_opts){ .exe = "/nonexistent/program" }, -ENOENT,
		       "processes of the program '/nonexistent/program' cannot be found: No such file or directory");
	assert_refused((struct dt_session_opts){ .exe = "/dev/null" }, -ENOEXEC,
		       "processes of the program '/dev/null' cannot be found: Exec format error");
	assert_non_null(mkdtemp(directory));
	assert_refused((struct dt_session_opts){ .exe = "/tmp" }, -ENOEXEC,
		       "processes of the program '/tmp' cannot be found: Exec format error");
	assert_true(asprintf(&sentence, "'%s' is no cgroup of version 2: give its directory, e.g. below /sys/fs/cgroup", directory) > 0);
	assert_refused((struct dt_session_opts){ .cgroup = directory }, -EINVAL, sentence);
	assert_refused((struct dt_session_opts){ .cgroup = "/sys/fs/cgroup/no/such/group" }, -ENOENT,
		       "processes of the cgroup '/sys/fs/cgroup/no/such/group' cannot be found: No such file or directory");
	rmdir(directory);
}

/* Where cgroups of version 2 are; NULL: nowhere. */
static const char *cgroup_root(void)
{
	static const char *const places[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	struct statfs system;

	for (size_t i = 0; i < DT_ARRAY_SIZE(places); i++)
		if (!statfs(places[i], &system) && system.f_type == 0x63677270)
			return places[i];
	return NULL;
}

static void assert_cgroup(const char *root, const char *below, uint32_t level)
{
	DT_FREE char *path = NULL;
	struct dt_choice choice;
	struct stat status;

	assert_true(asprintf(&path, "%s%s", root, below) > 0);
	assert_int_equal(stat(path, &status), 0);
	choice = chosen((struct dt_session_opts){ .cgroup = path });
	assert_int_equal(choice.by, DT_CHOICE_CGROUP);
	assert_int_equal(choice.cgroup, status.st_ino);
	assert_int_equal(choice.cgroup_level, level);
}

/* As the kernel counts (bpf_get_current_ancestor_cgroup_id()): the root has level 0, what lies in it 1, and so on. */
static void test_cgroup(void **state)
{
	const char *root = cgroup_root();
	DT_FREE char *outer = NULL, *inner = NULL;

	(void)state;
	if (!root) {
		print_message("no file system of cgroup v2 is mounted here\n");
		skip();
	}
	assert_cgroup(root, "", 0);
	assert_cgroup(root, "/", 0);
	assert_cgroup(root, "/./", 0);
	assert_true(asprintf(&outer, "%s/domtrace-test-%d", root, (int)getpid()) > 0 && asprintf(&inner, "%s/in", outer) > 0);
	if (mkdir(outer, 0755)) {
		print_message("no cgroup can be made: this takes root\n");
		skip();
	}
	assert_int_equal(mkdir(inner, 0755), 0);
	assert_cgroup(outer, "", 1);
	assert_cgroup(outer, "/in/", 2);
	assert_cgroup(outer, "/in/..", 1);
	rmdir(inner);
	rmdir(outer);
}

/* A child that runs the test's program, by another name. */
static pid_t start_child(const char *name)
{
	int ends[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, name);
		close(ends[0]);
		if (write(ends[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &c, 1), 1);
	close(ends[0]);
	return pid;
}

static void test_holds(void **state)
{
	struct dt_choice all = chosen((struct dt_session_opts){ 0 });
	DT_FREE char *user = NULL, *other_user = NULL;
	pid_t child = start_child("choice child");

	(void)state;
	assert_true(asprintf(&user, "%u", getuid()) > 0 && asprintf(&other_user, "%u", getuid() + 1) > 0);
	const struct { struct dt_session_opts opts; bool holds; } cases[] = {
		{ { 0 }, true },
		{ { .comm = "choice child" }, true },
		{ { .comm = "choice" }, false },
		{ { .comm = "choice childre" }, false },
		{ { .user = user }, true },
		{ { .user = other_user }, false },
		{ { .exe = "/proc/self/exe" }, true },
		{ { .exe = "/bin/true" }, false },
		{ { .exe = "/proc/self/exe", .comm = "choice child", .user = user }, true },
		{ { .exe = "/proc/self/exe", .comm = "choice child", .user = other_user }, false },
		{ { .exe = "/proc/self/exe", .comm = "another" }, false },
	};

	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct dt_choice choice = chosen(cases[i].opts);

		if (dt_choice_holds(&choice, child) != cases[i].holds)
			fail_msg("case %zu", i);
	}
	assert_false(dt_choice_holds(&all, getpid()));  /* never itself */
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_false(dt_choice_holds(&all, child));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_cgroup),
		cmocka_unit_test(test_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
