/* SPDX-License-Identifier: BSD-2-Clause */
/* The helper process of a namer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "session/confine.h"
#include "session/namer_wire.h"

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

	if (recvmsg(DT_CONFINE_SOCKET, &message, MSG_CMSG_CLOEXEC) != sizeof(*request))
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

	dt_confine(socket);
	while (reply && receive_request(&request, fds, &count)) {
		memset(reply, 0, sizeof(*reply));
		dt_confine_next();
		reply->error = request.verb == DT_NAMER_OPEN ? open_file(&files, &request, fds, count, opts, reply) :
							       answer(&files, &request, reply);
		if (reply->error)
			reply->count = reply->string_bytes = 0;
		if (send(DT_CONFINE_SOCKET, reply, sizeof(*reply) + reply->string_bytes, MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}
