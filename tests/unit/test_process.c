/* SPDX-License-Identifier: BSD-2-Clause */
/* What /proc says of processes that this test starts itself, so that it knows the answers. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "target/process.h"
#include "said.h"

/* Opening must fail with this error and say one sentence, which holds `part`. */
static void expect_refused(pid_t pid, int error, const char *part)
{
	struct said said = { 0 };
	struct dt_log log = said_log(&said);
	int pidfd = -7;

	assert_int_equal(dt_process_open(pid, &log, &pidfd), error);
	assert_int_equal(pidfd, -7);
	assert_int_equal(said.lines, 1);
	if (!strstr(said.last, part))
		fail_msg("\"%s\" does not hold \"%s\"", said.last, part);
}

/* A child that stands still until it is killed. */
static pid_t start_child(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, "a) Z 1 (\nb");
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_open_becomes_readable_at_the_end(void **state)
{
	struct said said = { 0 };
	struct dt_log log = said_log(&said);
	struct pollfd waiting = { .events = POLLIN };
	pid_t pid = start_child();

	(void)state;
	assert_int_equal(dt_process_open(pid, &log, &waiting.fd), 0);
	assert_int_equal(poll(&waiting, 1, 0), 0);
	kill(pid, SIGKILL);
	assert_int_equal(poll(&waiting, 1, 10000), 1);
	assert_int_equal(waiting.revents, POLLIN);
	/* It is a zombie now, of which /proc still has the name. */
	expect_refused(pid, -ESRCH, "already ended");
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	expect_refused(pid, -ESRCH, "no process");
	assert_int_equal(fcntl(waiting.fd, F_GETFD), FD_CLOEXEC);
	close(waiting.fd);
	assert_int_equal(said.lines, 0);
}

static void *wait_for_ever(void *argument)
{
	pid_t *tid = argument;

	__atomic_store_n(tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	for (;;)
		pause();
	return NULL;
}

static void test_open_refuses_what_cannot_be_traced(void **state)
{
	char leader[32];
	pid_t *tid, pid;

	(void)state;
	expect_refused(getpid(), -EINVAL, "domtrace itself");
	expect_refused(0, -ESRCH, "no process 0");
	expect_refused(-1, -ESRCH, "no process -1");
	expect_refused(0x7fffffff, -ESRCH, "no process 2147483647");
	tid = mmap(NULL, sizeof(*tid), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(tid, MAP_FAILED);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		pthread_t thread;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pthread_create(&thread, NULL, wait_for_ever, tid);
		for (;;)
			pause();
	}
	while (!__atomic_load_n(tid, __ATOMIC_ACQUIRE))
		usleep(1000);
	snprintf(leader, sizeof(leader), "thread of process %d", (int)pid);
	expect_refused(*tid, -EINVAL, leader);
	end_child(pid);
	munmap(tid, sizeof(*tid));
}

/* kthreadd is process 2, except in a pid namespace of one's own. */
static void test_open_refuses_a_kernel_thread(void **state)
{
	DT_CLEANUP(dt_process_info_clear) struct dt_process_info info = { 0 };
	DT_FREE char *comm = NULL;

	(void)state;
	if (dt_file_read("/proc/2/comm", &comm, NULL) || strcmp(comm, "kthreadd\n")) {
		print_message("skipped: process 2 is not kthreadd here (a pid namespace)\n");
		skip();
	}
	expect_refused(2, -EINVAL, "kernel thread");
	if (geteuid()) {
		assert_int_equal(dt_process_read(2, &info), -EACCES);
		return;
	}
	assert_int_equal(dt_process_read(2, &info), 0);
	assert_string_equal(info.exe, "");
	assert_null(info.command[0]);
	assert_int_equal(info.rss_bytes, 0);
	assert_int_equal(info.ppid, 0);
}

static void test_open_needs_permission(void **state)
{
	int status;
	pid_t target, pid;

	(void)state;
	if (geteuid()) {
		print_message("skipped: only root can become somebody who may not read a process\n");
		skip();
	}
	target = start_child();
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct said said = { 0 };
		struct dt_log log = said_log(&said);
		struct dt_process_info info;
		int pidfd;

		if (setgid(65534) || setuid(65534) || dt_process_open(target, &log, &pidfd) != -EACCES)
			_exit(1);
		if (said.lines != 1 || !strstr(said.last, "CAP_SYS_PTRACE"))
			_exit(2);
		if (dt_process_read(target, &info) != -EACCES)
			_exit(3);
		_exit(dt_process_read_memory(target, (uintptr_t)&status, &said, 4) == -EACCES ? 0 : 4);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	end_child(target);
}

static uint64_t since_boot_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void test_read_tells_everything(void **state)
{
	DT_CLEANUP(dt_process_info_clear) struct dt_process_info info = { 0 }, self = { 0 };
	uint64_t before = since_boot_ns(), tick = 10000000, rss;
	pid_t pid = start_child();
	char exe[4096] = "";

	(void)state;
	assert_int_equal(dt_process_read(pid, &info), 0);
	assert_int_equal(info.pid, pid);
	assert_int_equal(info.ppid, getpid());
	assert_string_equal(info.comm, "a) Z 1 (\nb");
	assert_true(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
	assert_string_equal(info.exe, exe);
	assert_in_range(info.start_time_ns, before - tick, since_boot_ns());
	assert_int_equal(dt_process_read_rss(pid, &rss), 0);
	assert_int_equal(info.rss_bytes, rss);
	/* The child was forked from this process and shows its command. */
	assert_int_equal(dt_process_read(getpid(), &self), 0);
	for (size_t i = 0; self.command[i] || info.command[i]; i++)
		assert_string_equal(info.command[i], self.command[i]);
	end_child(pid);
	assert_int_equal(dt_process_read(pid, &info), -ESRCH);
	assert_int_equal(dt_process_read_rss(pid, &rss), -ESRCH);
}

/* Copies sleep(1) to `path`, runs it by exactly these arguments and waits until it is executing. */
static pid_t start_copy(const char *path, char *const argv[])
{
	DT_FREE char *bytes = NULL;
	size_t size;
	int gate[2];
	char byte;
	pid_t pid;

	assert_int_equal(dt_file_read("/bin/sleep", &bytes, &size), 0);
	DT_FD int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	assert_true(fd >= 0);
	assert_int_equal(dt_file_write_all(fd, bytes, size), 0);
	close(DT_TAKE_FD(fd));
	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(path, argv);
		_exit(127);
	}
	/* The pipe closes at execve. */
	close(gate[1]);
	assert_int_equal(read(gate[0], &byte, 1), 0);
	close(gate[0]);
	return pid;
}

static void expect_exe(pid_t pid, const char *path)
{
	DT_CLEANUP(dt_process_info_clear) struct dt_process_info info = { 0 };

	assert_int_equal(dt_process_read(pid, &info), 0);
	assert_string_equal(info.exe, path);
	assert_string_equal(info.command[0], "");
	assert_string_equal(info.command[1], "100");
	assert_null(info.command[2]);
}

static void test_deleted_executables(void **state)
{
	char *argv[] = { "", "100", NULL };
	char folder[] = "/tmp/test_process.XXXXXX", plain[64], odd[64];
	pid_t first, second;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(plain, sizeof(plain), "%s/x", folder);
	snprintf(odd, sizeof(odd), "%s/x (deleted)", folder);
	first = start_copy(plain, argv);
	second = start_copy(odd, argv);
	expect_exe(first, plain);
	expect_exe(second, odd);
	unlink(plain);
	/* Its link now reads like the name of the other file, which is not what it runs. */
	expect_exe(first, plain);
	unlink(odd);
	expect_exe(second, odd);
	end_child(first);
	end_child(second);
	rmdir(folder);
}

static void test_read_memory(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *pages = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	DT_FREE uint8_t *copy = malloc(2 * page);
	pid_t pid;

	(void)state;
	assert_ptr_not_equal(pages, MAP_FAILED);
	assert_non_null(copy);
	for (size_t i = 0; i < 2 * page; i++)
		pages[i] = (uint8_t)(i * 7 + i / 256);
	munmap(pages + 2 * page, page);
	pid = start_child();
	assert_int_equal(dt_process_read_memory(pid, (uintptr_t)pages, copy, 2 * page), 0);
	assert_memory_equal(copy, pages, 2 * page);
	assert_int_equal(dt_process_read_memory(pid, (uintptr_t)pages + 2 * page - 4, copy, 4), 0);
	assert_memory_equal(copy, pages + 2 * page - 4, 4);
	assert_int_equal(dt_process_read_memory(pid, (uintptr_t)pages + 2 * page - 4, copy, 5), -EFAULT);
	assert_int_equal(dt_process_read_memory(pid, 0, copy, 1), -EFAULT);
	assert_int_equal(dt_process_read_memory(pid, UINT64_MAX, copy, 1), -EFAULT);
	assert_int_equal(dt_process_read_memory(pid, 0, copy, 0), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	assert_int_equal(dt_process_read_memory(pid, (uintptr_t)pages, copy, 1), -ESRCH);
	end_child(pid);
	assert_int_equal(dt_process_read_memory(pid, (uintptr_t)pages, copy, 1), -ESRCH);
	munmap(pages, 2 * page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_becomes_readable_at_the_end),
		cmocka_unit_test(test_open_refuses_what_cannot_be_traced),
		cmocka_unit_test(test_open_refuses_a_kernel_thread),
		cmocka_unit_test(test_open_needs_permission),
		cmocka_unit_test(test_read_tells_everything),
		cmocka_unit_test(test_deleted_executables),
		cmocka_unit_test(test_read_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
