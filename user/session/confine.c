/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cap-ng.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "target/maps.h"

#define DATA_BYTES_MAX (1ull << 30)     /* more than the process had when it began */
#define ANSWER_SECONDS_MAX 60           /* of processor time; who asks waits less long */

/* ---- descriptors, memory, time ----------------------------------------------------------------------------------- */

/* The socket becomes descriptor 3; standard input and output lead nowhere, for libraries that print when memory is short. */
static void keep_socket_only(int socket)
{
	int high = fcntl(socket, F_DUPFD, DT_CONFINE_SOCKET + 1), null = open("/dev/null", O_RDWR);

	for (int fd = 0; fd < DT_CONFINE_SOCKET; fd++)
		if (null != fd && dup2(null, fd) < 0)
			close(fd);
	if (high < 0 || dup2(high, DT_CONFINE_SOCKET) < 0)
		_exit(1);
	syscall(SYS_close_range, DT_CONFINE_SOCKET + 1, ~0u, 0);
}

/* fork(2) copied them: the tables that the BPF programs write, which a crash must not reach. */
static void unmap_shared(void)
{
	struct dt_maps maps;

	if (dt_maps_read(getpid(), &maps))
		_exit(1);
	for (size_t i = 0; i < maps.count; i++) {
		const struct dt_mapping *mapping = &maps.mappings[i];

		if (mapping->path && !strncmp(mapping->path, "anon_inode:", strlen("anon_inode:")))
			munmap((void *)(uintptr_t)mapping->start, mapping->end - mapping->start);
	}
	dt_maps_clear(&maps);
}

static uint64_t read_data_bytes(void)
{
	DT_FREE char *text = NULL;
	const char *field;

	if (dt_file_read("/proc/self/status", &text, NULL))
		return 0;
	field = strstr(text, "\nVmData:");
	return field ? strtoull(field + strlen("\nVmData:"), NULL, 10) * 1024 : 0;
}

static void limit_resources(void)
{
	uint64_t data = read_data_bytes() + DATA_BYTES_MAX;
	struct rlimit files;

	setrlimit(RLIMIT_DATA, &(struct rlimit){ data, data });
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 0, 0 });
	setrlimit(RLIMIT_NPROC, &(struct rlimit){ 0, 0 });
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

void dt_confine_next(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	setrlimit(RLIMIT_CPU, &(struct rlimit){ (rlim_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + ANSWER_SECONDS_MAX, RLIM_INFINITY });
}

/* Signals of the terminal are for domtrace; what it blocks or catches is not for us. */
static void reset_signals(void)
{
	static const int ignored[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU };
	sigset_t none;

	for (size_t i = 0; i < DT_ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGXCPU, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* ---- system calls ------------------------------------------------------------------------------------------------ */

#define ALLOW(name) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define REFUSE BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

/*
 * What reading files in memory takes; everything else fails. Files may be opened for reading only: libdw follows .gnu_debugaltlink.
 * prlimit64 is for dt_confine_next(), of this process itself.
 */
static int limit_system_calls(void)
{
	struct sock_filter filter[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		LOAD(nr),
		ALLOW(recvmsg), ALLOW(sendto),
		ALLOW(read), ALLOW(pread64), ALLOW(write), ALLOW(lseek), ALLOW(close), ALLOW(fcntl),
		ALLOW(fstat), ALLOW(newfstatat), ALLOW(readlink), ALLOW(readlinkat),
		ALLOW(mmap), ALLOW(munmap), ALLOW(mremap), ALLOW(mprotect), ALLOW(madvise), ALLOW(brk),
		ALLOW(getrusage), ALLOW(clock_gettime), ALLOW(gettimeofday), ALLOW(getrandom), ALLOW(getpid), ALLOW(gettid),
		ALLOW(futex), ALLOW(sched_yield), ALLOW(rt_sigaction), ALLOW(rt_sigprocmask), ALLOW(rt_sigreturn), ALLOW(sigaltstack),
		ALLOW(tgkill), ALLOW(exit), ALLOW(exit_group),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_openat, 0, 4),
		LOAD(args[2]),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_ACCMODE | O_CREAT | O_TRUNC, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		REFUSE,
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_prlimit64, 0, 3),
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		REFUSE,
	};
	struct sock_fprog program = { .len = DT_ARRAY_SIZE(filter), .filter = filter };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

void dt_confine(int socket)
{
	keep_socket_only(socket);
	reset_signals();
	unmap_shared();
	limit_resources();
	dt_confine_next();
	prctl(PR_SET_NAME, "domtrace-names");
	capng_clear(CAPNG_SELECT_CAPS);
	/* A kernel without seccomp refuses with EINVAL: the rest must do there. */
	if (capng_apply(CAPNG_SELECT_CAPS) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || (limit_system_calls() && errno != EINVAL))
		_exit(1);
}
