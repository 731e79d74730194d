/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/link.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/parse.h"

int dt_links_add(struct dt_links *links, int fd)
{
	int *grown = realloc(links->fds, (links->count + 1) * sizeof(*grown));

	if (!grown) {
		close(fd);
		return -ENOMEM;
	}
	links->fds = grown;
	links->fds[links->count++] = fd;
	return 0;
}

void dt_links_cut(struct dt_links *links, size_t count)
{
	while (links->count > count)
		close(links->fds[--links->count]);
}

void dt_links_close(struct dt_links *links)
{
	dt_links_cut(links, 0);
	free(links->fds);
	*links = (struct dt_links){ 0 };
}

/* The part of union bpf_attr that BPF_LINK_CREATE of a uprobe_multi link reads (include/uapi/linux/bpf.h, 6.6). */
struct uprobe_multi_attr {
	uint32_t program_fd, target_fd, attach_type, flags;
	uint64_t path, offsets, ref_ctr_offsets, cookies;
	uint32_t count, multi_flags, pid, path_fd;
};

#define UPROBE_MULTI_RETURN 1u

int dt_link_create_multi(int program_fd, int attach_type, const char *path, const uint64_t *offsets,
			 const uint64_t *cookies, size_t count, pid_t pid, bool returns)
{
	union {
		struct uprobe_multi_attr multi;
		char size[128];
	} attr;
	long fd;

	memset(&attr, 0, sizeof(attr));
	attr.multi = (struct uprobe_multi_attr){
		.program_fd = (uint32_t)program_fd,
		.attach_type = (uint32_t)attach_type,
		.path = (uintptr_t)path,
		.offsets = (uintptr_t)offsets,
		.cookies = (uintptr_t)cookies,
		.count = (uint32_t)count,
		.multi_flags = returns ? UPROBE_MULTI_RETURN : 0,
		.pid = (uint32_t)pid,
	};
	fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr.multi));
	return fd < 0 ? -errno : (int)fd;
}

/* The number that perf_event_open knows the uprobe PMU by. */
static int read_uprobe_type(uint32_t *ret_type)
{
	DT_FREE char *text = NULL;
	uint64_t type;
	size_t size;
	int error = dt_file_read("/sys/bus/event_source/devices/uprobe/type", &text, &size);

	if (error)
		return error;
	if (size && text[size - 1] == '\n')
		text[size - 1] = '\0';
	error = dt_parse_u64(text, 0, UINT32_MAX, &type);
	if (!error)
		*ret_type = (uint32_t)type;
	return error;
}

int dt_link_create_single(int program_fd, const char *path, uint64_t offset, uint64_t cookie, pid_t pid, bool returns)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .perf_event.bpf_cookie = cookie);
	/* Bit 0 of config: uretprobe (/sys/bus/event_source/devices/uprobe/format/retprobe). */
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.config = returns ? 1 : 0,
		.uprobe_path = (uintptr_t)path,
		.probe_offset = offset,
	};
	DT_FD int event_fd = -1;
	int error = read_uprobe_type(&attr.type), fd;

	if (error)
		return error;
	/* An event for all processes has a processor, but its breakpoint has none (kernel/trace/trace_uprobe.c, uprobe_perf_func()). */
	event_fd = (int)syscall(SYS_perf_event_open, &attr, pid ? pid : -1, pid ? -1 : 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (event_fd < 0)
		return -errno;
	fd = bpf_link_create(program_fd, event_fd, BPF_PERF_EVENT, &opts); /* the link holds the event from here on */
	return fd < 0 ? -errno : fd;
}
