/* SPDX-License-Identifier: BSD-2-Clause */
/* session: the object behind domtrace.h, for the files of this room only. */
#ifndef DT_SESSION_SESSION_H
#define DT_SESSION_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <domtrace/domtrace.h>

#include "session/attach.h"
#include "session/collect.h"
#include "session/domains.h"
#include "session/feature.h"
#include "session/module.h"
#include "session/publish.h"
#include "session/traced.h"
#include "session/tracebacks.h"
#include "session/unwind.h"
#include "target/launch.h"

struct domtrace_bpf;
struct ring_buffer;

struct dt_session {
	struct dt_log log;
	struct dt_features features;
	struct dt_domains domains;
	enum dt_attach_method method;
	uint32_t frame_limit;
	enum dt_stack stack;
	struct domtrace_bpf *bpf;
	struct ring_buffer *ring;
	int epoll_fd;
	struct dt_unwind *unwind;
	struct dt_publish *publish;
	struct dt_modules modules;
	struct dt_tracebacks *tracebacks;
	struct dt_collect *collect;
	struct dt_traced **processes;
	size_t process_count;
	uint32_t mappings_version;      /* the last one given to mappings of a process */
	struct dt_launch launch;
	bool *stale;                    /* by process: its mappings have changed */
	int event_error;                /* the first failure while a record was taken in */
	bool stopped;
	uint64_t sequence;
	struct timespec started;        /* or cleared; CLOCK_MONOTONIC */
};

/* follow.c */

/* Shows a process to the programs, and returns when none of them sees it as it was before. */
int dt_session_upload(struct dt_session *session, struct dt_traced *traced);
/* All programs have ended that ran when this was last called, or later: takes in what they sent, and forgets what only they knew. */
int dt_session_settle(struct dt_session *session);
/* Follows processes whose mappings have changed, as far as the records taken in say so, and lets a command that waits for it go on. */
int dt_session_follow(struct dt_session *session);
/* Takes in what the programs have sent. */
int dt_session_consume(struct dt_session *session);
/* Takes a record of the ring buffer in; `context` is the session. For ring_buffer__new(). */
int dt_session_take_record(void *context, void *data, size_t size);

#endif
