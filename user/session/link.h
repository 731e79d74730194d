/* SPDX-License-Identifier: BSD-2-Clause */
/* link: attaches one program to places in one file, in whatever way this kernel has. */
#ifndef DT_SESSION_LINK_H
#define DT_SESSION_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Values of enum bpf_attach_type that libbpf 1.1's headers do not know yet (include/uapi/linux/bpf.h, 6.6 and 6.13). */
#define DT_BPF_TRACE_UPROBE_MULTI 48
#define DT_BPF_TRACE_UPROBE_SESSION 57

/* Descriptors of links; what they attach stays attached while they are open. */
struct dt_links {
	int *fds;
	size_t count;
};

/* Takes the descriptor. -ENOMEM: it is closed. */
int dt_links_add(struct dt_links *links, int fd);
/* Closes all but the first so many. */
void dt_links_cut(struct dt_links *links, size_t count);
void dt_links_close(struct dt_links *links);

/*
 * One link for `count` places (file offsets) of one file; each calls the program with its cookie. Only in process `pid`; 0: in all.
 * `returns`: when the function returns. Returns the link's descriptor or -errno.
 */
int dt_link_create_multi(int program_fd, int attach_type, const char *path, const uint64_t *offsets,
			 const uint64_t *cookies, size_t count, pid_t pid, bool returns);
/* One link for one place, through a perf event, in the same processes. Returns the link's descriptor or -errno. */
int dt_link_create_single(int program_fd, const char *path, uint64_t offset, uint64_t cookie, pid_t pid, bool returns);

#endif
