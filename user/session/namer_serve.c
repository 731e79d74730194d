/* SPDX-License-Identifier: BSD-2-Clause */
/* The helper process of a namer: gives up all it has, then answers. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cap-ng.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "session/namer_wire.h"
#include "target/maps.h"

#define DATA_BYTES_MAX (1ull << 30)     /* more than the process had when it began */
#define ANSWER_SECONDS_MAX 60           /* of processor time; who asks waits less long */

/* ---- giving up --------------------------------------------------------------------------------------------------- */

#define SOCKET 3

/* The socket becomes descriptor 3; standard input and output lead nowhere, for libraries that print when memory is short. */
static void keep_socket_only(int socket)
{
	int high = fcntl(socket, F_DUPFD, SOCKET + 1), null = open("/dev/null", O_RDWR);

	for (int fd = 0; fd < SOCKET; fd++)
		if (null != fd && dup2(null, fd) < 0)
			close(fd);
	if (high < 0 || dup2(high, SOCKET) < 0)
		_exit(1);
	syscall(SYS_close_range, SOCKET + 1, ~0u, 0);
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

static void limit_processor_time(void)
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

static void give_up_all(void)
{
	reset_signals();
	unmap_shared();
	limit_resources();
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_NAME, "domtrace-names");
	capng_clear(CAPNG_SELECT_CAPS);
	if (capng_apply(CAPNG_SELECT_CAPS))
		_exit(1);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	limit_processor_time();
}

/* ---- answering --------------------------------------------------------------------------------------------------- */

struct files {
	struct dt_names **names;        /* by number */
	size_t room;
};

static int make_room(struct files *files, uint32_t file)
{
	size_t room = files->room ? files->room : 64;
	struct dt_names **grown;

	while (room <= file)
		room *= 2;
	if (room == files->room)
		return 0;
	grown = reallocarray(files->names, room, sizeof(struct dt_names *));
	if (!grown)
		return -ENOMEM;
	memset(grown + files->room, 0, (room - files->room) * sizeof(struct dt_names *));
	files->names = grown;
	files->room = room;
	return 0;
}

static int open_file(struct files *files, const struct dt_namer_request *request, const int *fds, size_t count,
		     const struct dt_names_opts *opts, struct dt_namer_reply *reply)
{
	struct dt_names_opts own = { .raw = opts->raw, .no_lines = opts->no_lines || request->no_lines };
	struct dt_names *names = NULL;
	int error = count ? make_room(files, request->file) : -EBADF;

	if (error) {
		for (size_t i = 0; i < count; i++)
			close(fds[i]);
		return error;
	}
	error = dt_names_open(fds[0], fds + 1, count - 1, &own, &names);
	if (error)
		return error;
	dt_names_close(files->names[request->file]);
	files->names[request->file] = names;
	reply->has_lines = dt_names_have_lines(names);
	return 0;
}

/* Copies a string; one that is longer than its share of the packet ends with "…". */
static uint32_t add_string(struct dt_namer_reply *reply, const char *string, size_t share)
{
	static const char ellipsis[] = "\xe2\x80\xa6";
	size_t length = string ? strnlen(string, share) : 0;
	uint32_t at = reply->string_bytes;
	char *to = reply->strings + at;

	if (!string)
		return DT_NAMER_NO_STRING;
	if (length == share) {
		length = share - sizeof(ellipsis);
		while (length && ((unsigned char)string[length] & 0xc0) == 0x80)
			length--;
		memcpy(to, string, length);
		memcpy(to + length, ellipsis, sizeof(ellipsis));
		length += sizeof(ellipsis) - 1;
	} else {
		memcpy(to, string, length + 1);
	}
	reply->string_bytes += (uint32_t)length + 1;
	return at;
}

static int answer(struct files *files, const struct dt_namer_request *request, struct dt_namer_reply *reply)
{
	const struct dt_name *found;
	size_t count;
	int error = request->file < files->room && files->names[request->file] ? 0 : -EBADF;

	if (!error)
		error = dt_names_find(files->names[request->file], request->vaddr, &found, &count);
	if (error)
		return error;
	for (size_t i = 0; i < count; i++) {
		size_t strings = 2 * (count - i);

		reply->rows[i] = (struct dt_namer_row){
			.offset = found[i].offset,
			.line = found[i].line,
			.inlined = found[i].inlined,
			.function = add_string(reply, found[i].function, (DT_NAMER_STRINGS_MAX - reply->string_bytes) / strings),
			.file = add_string(reply, found[i].file, (DT_NAMER_STRINGS_MAX - reply->string_bytes) / strings),
		};
	}
	reply->count = (uint32_t)count;
	return 0;
}

static bool receive_request(struct dt_namer_request *request, int fds[DT_NAMER_FDS_MAX], size_t *ret_count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(DT_NAMER_FDS_MAX * sizeof(int))];
	} control;
	struct iovec data = { .iov_base = request, .iov_len = sizeof(*request) };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control) };
	struct cmsghdr *header;

	if (recvmsg(SOCKET, &message, MSG_CMSG_CLOEXEC) != sizeof(*request))
		return false;
	header = CMSG_FIRSTHDR(&message);
	*ret_count = 0;
	if (header && header->cmsg_type == SCM_RIGHTS) {
		*ret_count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(header), *ret_count * sizeof(int));
	}
	return true;
}

void dt_namer_serve(int socket, const struct dt_names_opts *opts)
{
	struct dt_namer_reply *reply = malloc(sizeof(*reply) + DT_NAMER_STRINGS_MAX);
	struct dt_namer_request request;
	struct files files = { 0 };
	int fds[DT_NAMER_FDS_MAX];
	size_t count;

	keep_socket_only(socket);
	give_up_all();
	while (reply && receive_request(&request, fds, &count)) {
		memset(reply, 0, sizeof(*reply));
		limit_processor_time();
		reply->error = request.verb == DT_NAMER_OPEN ? open_file(&files, &request, fds, count, opts, reply) :
							       answer(&files, &request, reply);
		if (reply->error)
			reply->count = reply->string_bytes = 0;
		if (send(SOCKET, reply, sizeof(*reply) + reply->string_bytes, MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}
