/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

_Static_assert(DT_HOLD_SIGNAL == SIGURG, "number and name of the signal differ");

/* The child: waits until it is traced, then becomes the command. What its parent changed for itself is changed back. */
__attribute__((noreturn)) static void become(char *const argv[], int go_fd, int error_fd)
{
	sigset_t none;
	int error;
	char go;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (read(go_fd, &go, 1) == 1) {
		execvp(argv[0], argv);
		error = errno;
		if (write(error_fd, &error, sizeof(error)) != sizeof(error))
			_exit(125);
	}
	_exit(127);
}

static int open_signal_fd(void)
{
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &child, NULL))
		return -errno;
	int fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

static int wait_for(pid_t pid, int *status, int flags)
{
	int got;

	do
		got = waitpid(pid, status, __WALL | flags);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

static void resume(struct dt_launch *launch, int signal)
{
	ptrace(PTRACE_CONT, launch->pid, NULL, (long)signal); /* ESRCH: it was killed meanwhile, which waitpid will say */
}

/* Waits until the command is loaded; -errno of execvp if it cannot be. */
static int wait_for_exec(struct dt_launch *launch, int error_fd)
{
	int error = 0, status;

	while (wait_for(launch->pid, &status, 0) > 0) {
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			launch->ended = true;
			return read(error_fd, &error, sizeof(error)) == sizeof(error) ? -error : -ECHILD;
		}
		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8))
			return 0;
		resume(launch, 0);
	}
	return -ECHILD;
}

int dt_launch_start(char *const argv[], const struct dt_log *log, struct dt_launch *ret_launch)
{
	int go[2] = { -1, -1 }, errors[2] = { -1, -1 }, error = 0;
	struct dt_launch launch = { .signal_fd = open_signal_fd() };

	if (launch.signal_fd < 0)
		return dt_log_error(log, launch.signal_fd, "cannot watch for the command: %s", strerror(-launch.signal_fd));
	if (pipe2(go, O_CLOEXEC) || pipe2(errors, O_CLOEXEC))
		error = -errno;
	if (!error) {
		launch.pid = fork();
		if (!launch.pid) {
			close(go[1]);
			become(argv, go[0], errors[1]);
		}
		error = launch.pid < 0 ? -errno : 0;
	}
	if (!error && ptrace(PTRACE_SEIZE, launch.pid, NULL, PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT))
		error = dt_log_error(log, -errno, "cannot hold command '%s' while probes are attached (ptrace: %s)", argv[0], strerror(errno));
	if (!error && write(go[1], "", 1) != 1)
		error = -errno;
	for (int i = 0; i < 2; i++)
		if (go[i] >= 0)
			close(go[i]);   /* without a word to go on the child ends by itself */
	if (errors[1] >= 0)
		close(errors[1]);
	if (!error) {
		error = wait_for_exec(&launch, errors[0]);
		launch.held = !error;
		if (error)
			dt_log_error(log, error, "cannot run command '%s': %s", argv[0], strerror(-error));
	}
	if (errors[0] >= 0)
		close(errors[0]);
	if (error) {
		close(launch.signal_fd);
		return error;
	}
	*ret_launch = launch;
	return 0;
}

void dt_launch_continue(struct dt_launch *launch)
{
	if (!launch->held)              /* else it would take away a signal that the command has just stopped for */
		return;
	launch->held = false;
	resume(launch, 0);
}

static bool is_hold(const struct dt_launch *launch, int signal)
{
	siginfo_t info;

	return signal == DT_HOLD_SIGNAL && !ptrace(PTRACE_GETSIGINFO, launch->pid, NULL, &info) && info.si_code == SI_KERNEL;
}

/* What a stop is; passes on what concerns only the command and those who signal it (ptrace(2)). */
static enum dt_launch_event take_stop(struct dt_launch *launch, int status)
{
	int signal = WSTOPSIG(status);

	switch (status >> 16) {
	case PTRACE_EVENT_EXEC:
		return DT_LAUNCH_EXEC;
	case PTRACE_EVENT_EXIT:
		return DT_LAUNCH_EXITING;
	case PTRACE_EVENT_STOP:         /* with a stopping signal: job control has stopped it, and it shall stay so */
		if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU)
			ptrace(PTRACE_LISTEN, launch->pid, NULL, NULL);
		else
			resume(launch, 0);
		return DT_LAUNCH_NOTHING;
	}
	if (is_hold(launch, signal))
		return DT_LAUNCH_HELD;
	resume(launch, signal);
	return DT_LAUNCH_NOTHING;
}

enum dt_launch_event dt_launch_next(struct dt_launch *launch)
{
	struct signalfd_siginfo info;
	int status;

	while (read(launch->signal_fd, &info, sizeof(info)) > 0)
		; /* several SIGCHLD may have become one: waitpid says what there is */
	while (launch->pid && !launch->ended && wait_for(launch->pid, &status, WNOHANG) > 0) {
		enum dt_launch_event event = DT_LAUNCH_NOTHING;

		if (WIFSTOPPED(status)) {
			event = take_stop(launch, status);
			launch->held = event != DT_LAUNCH_NOTHING;
		} else if (WIFEXITED(status) || WIFSIGNALED(status)) {
			launch->ended = true;
			launch->held = false;
			launch->status = status;
			event = DT_LAUNCH_ENDED;
		}
		if (event != DT_LAUNCH_NOTHING)
			return event;
	}
	return DT_LAUNCH_NOTHING;
}

void dt_launch_detach(struct dt_launch *launch)
{
	int status;

	if (!launch->pid || launch->ended)
		return;
	if (launch->held) {             /* stopped already: an interrupt would be told only after it went on */
		launch->held = false;
		ptrace(PTRACE_DETACH, launch->pid, NULL, NULL);
		return;
	}
	if (ptrace(PTRACE_INTERRUPT, launch->pid, NULL, NULL) || wait_for(launch->pid, &status, 0) <= 0)
		return;
	if (!WIFSTOPPED(status)) {
		launch->ended = true;
		launch->status = status;
		return;
	}
	/* A signal that was just being delivered is delivered. */
	ptrace(PTRACE_DETACH, launch->pid, NULL, (long)(status >> 16 || is_hold(launch, WSTOPSIG(status)) ? 0 : WSTOPSIG(status)));
}

void dt_launch_close(struct dt_launch *launch)
{
	if (!launch->pid)
		return;
	dt_launch_detach(launch);
	close(launch->signal_fd);
	*launch = (struct dt_launch){ 0 };
}
