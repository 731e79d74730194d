/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * runtime: the directory in which each running domtrace has its socket, PID.sock. It is its user's alone: /run/domtrace for root,
 * $XDG_RUNTIME_DIR/domtrace (or /run/user/UID/domtrace) for others. Nothing in it is reached by a path that others could bend.
 */
#ifndef DT_CLI_RUNTIME_H
#define DT_CLI_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/log.h"

#define DT_RUNTIME_PEERS_MAX 64         /* of them lists have so many */

/* The directory that holds the directory of this user. */
void dt_runtime_parent(char *path, size_t size);
/*
 * Opens the directory below `parent`, made if `make`. -ENOENT: it is not there. -EACCES: it is not this user's alone.
 * What fails, but -ENOENT without `make`, is said at `level`.
 */
int dt_runtime_open(const char *parent, bool make, const struct dt_log *log, enum dt_log_level level, int *ret_fd);
/* A socket in it for this process, which others can connect to. What dead processes have left goes. What fails is said at `level`. */
int dt_runtime_listen(int directory, const struct dt_log *log, enum dt_log_level level, int *ret_fd);
/* Takes the socket of this process away. */
void dt_runtime_remove(int directory);
/* -ENOENT, -ECONNREFUSED: nobody listens there. -EACCES: it is another user who does. */
int dt_runtime_connect(int directory, pid_t pid, int *ret_fd);
/* The processes that listen, by number, in ascending order; at most DT_RUNTIME_PEERS_MAX. */
int dt_runtime_list(int directory, pid_t pids[DT_RUNTIME_PEERS_MAX], size_t *ret_count);
/* Is the other end of a connection this process's user? */
bool dt_runtime_is_own(int fd);

#endif
