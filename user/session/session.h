/* SPDX-License-Identifier: BSD-2-Clause */
/* session: the object behind domtrace.h, for the files of this room only. */
#ifndef DT_SESSION_SESSION_H
#define DT_SESSION_SESSION_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <domtrace/domtrace.h>

#include "base/cleanup.h"
#include "session/ages.h"
#include "session/attach.h"
#include "session/collect.h"
#include "session/domains.h"
#include "session/feature.h"
#include "session/live.h"
#include "session/module.h"
#include "session/publish.h"
#include "session/reading.h"
#include "session/tables.h"
#include "session/taken.h"
#include "session/traced.h"
#include "session/tracebacks.h"
#include "session/unwind.h"
#include "target/launch.h"

#define DT_FOLLOW_PROGRAMS 3            /* of fork, exec, exit */

struct bpf_link;
struct domtrace_bpf;
struct dt_taken;
struct ring_buffer;

struct dt_session {
	pthread_mutex_t lock;           /* recursive: public functions call others */
	struct dt_log log;
	struct dt_features features;
	struct dt_domains domains;
	enum dt_attach_method method;
	uint32_t frame_limit;
	enum dt_stack stack;
	struct domtrace_bpf *bpf;
	struct ring_buffer *ring;
	int epoll_fd;
	struct dt_tables tables;
	struct dt_live live;
	bool rows_are_scarce;           /* of live blocks */
	struct dt_unwind *unwind;
	struct dt_publish *publish;
	struct dt_modules modules;
	struct dt_allocators allocators;
	struct dt_markers markers;
	int marked_fd;                  /* readable when a thread may be at a marker; −1: there are none */
	uint32_t marked;                /* number of the last marker whose snapshot was read, or is being */
	struct dt_taken *taken;         /* snapshots of markers that have been read, the oldest first */
	size_t taken_count;
	bool turn_is_ours;              /* the right to turn the epoch */
	bool turn_is_wanted;            /* … and shall stay so when a marker's snapshot has been taken */
	struct dt_tracebacks *tracebacks;
	struct dt_collect *collect;
	struct dt_ages *ages;
	bool sizes;                     /* are asked for */
	bool blocks_are_read;           /* by snapshots, one by one */
	struct dt_traced **processes;
	size_t process_count;
	struct dt_traced *by_slot[DT_PROCESSES_MAX];
	enum dt_follow follow;
	struct dt_choice choice;
	struct bpf_link *follow_links[DT_FOLLOW_PROGRAMS];
	uint32_t news;                  /* image_news of the programs, as last followed */
	int timer_fd;                   /* fires when ended processes are to be seen to */
	size_t ended_count;             /* processes that have ended since it last fired */
	bool ended_are_due;             /* … since when a while has passed */
	uint32_t mappings_version;      /* the last one given to mappings of a process */
	struct dt_launch launch;
	pid_t launch_thread;            /* the one that may ptrace it */
	int event_error;                /* the first failure while a record was taken in */
	bool patch_python;              /* pointers in the memory of processes that ran already may be changed */
	uint64_t python_unseen;         /* DT_COUNTER_python_unseen */
	bool stopped;
	uint64_t sequence;
	struct timespec started;        /* or cleared; CLOCK_MONOTONIC */
};

/* One thread at a time is in a session: at the beginning of each public function, until its end. */
static inline pthread_mutex_t *dt_session_lock(const struct dt_session *session)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)&session->lock;

	pthread_mutex_lock(lock);
	return lock;
}

static inline void dt_session_unlock(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

#define DT_SESSION_LOCKED(session) \
	DT_CLEANUP(dt_session_unlock) pthread_mutex_t *locked_session __attribute__((unused)) = dt_session_lock(session)

/* take.c */

/* -ESHUTDOWN, and says that it cannot be because tracing has been stopped. */
int dt_session_refuse_stopped(const struct dt_session *session, const char *what);
/*
 * Takes in what the programs have sent, so that the records of every row that is read will be there, and takes the right to turn the
 * epoch. -EBUSY: as dt_session_claim_turn(); nothing is said.
 */
int dt_session_begin_turn(struct dt_session *session);
/* Turns the epoch, unless `marker` has (NULL: none), and reads what was closed. The right to turn is ours. */
int dt_session_read_tables(struct dt_session *session, const struct dt_marker *marker, struct dt_snapshot *snapshot, struct timespec *ret_now,
			   struct dt_reading *reading);
/*
 * The names of all that a snapshot may show. Mostly they are there; the first of a large program may take seconds. The snapshots of markers
 * are read meanwhile.
 */
int dt_session_find_names(struct dt_session *session);
/* Which processes a snapshot shows; those that were asked for belong to those that run. NULL: no memory. */
struct dt_traced **dt_session_choose_processes(const struct dt_session *session, enum dt_part part, size_t *ret_count);
int dt_session_fill_header(const struct dt_session *session, const char *label, const struct timespec *now, struct dt_snapshot *snapshot);

/* follow.c */

/* Makes a process known to the session, which owns it from then on. -ENOMEM: it is freed. */
int dt_session_remember(struct dt_session *session, struct dt_traced *traced);
/* The image that a process runs; NULL: it is not known. */
struct dt_traced *dt_session_find(const struct dt_session *session, pid_t pid);
/*
 * Reads what a process maps, attaches to what is new, and shows all of it to the programs, if anything of it has changed or
 * the caller has changed the row.
 */
int dt_session_follow_maps(struct dt_session *session, struct dt_traced *traced, bool row_changed);
/* A frame was in a file of that number, which the process maps; whether it will ever be read what else it maps is open. -ENOMEM. */
int dt_session_meet_file(struct dt_session *session, struct dt_traced *traced, uint32_t number);
/* Gives a process a slot, and makes it known: the programs send what they see before userspace is done with it. Takes `traced` in any case. */
int dt_session_begin_process(struct dt_session *session, struct dt_traced *traced);
/* Another program runs in the process: it starts from nothing. Its probes stay; they are those of the process. */
int dt_session_replace_image(struct dt_session *session, struct dt_traced *old, struct dt_traced **ret_traced);
/* Follows what the loader did: new files, or, where the programs do not tell, another program altogether. */
int dt_session_follow_mappings(struct dt_session *session, struct dt_traced *traced);
/*
 * Sees to it that all calls of CPython's allocators are made, if that is asked for. `held`: its main thread stands still by our
 * ptrace. Where it may be so only later, or never, the other domains go on.
 */
int dt_session_try_python(struct dt_session *session, struct dt_traced *traced, bool held);
/* All programs have ended that ran when this was last called, or later: takes in what they sent, and forgets what only they knew. */
int dt_session_settle(struct dt_session *session);
/* Traces a running process among others: what cannot be traced is passed over without a word. */
int dt_session_add_running(struct dt_session *session, pid_t pid);
/* The process has ended; its last tables are still to be taken. */
void dt_session_end_process(struct dt_session *session, struct dt_traced *traced);
/* Returns when every program has ended that runs now, and settles. */
int dt_session_wait(struct dt_session *session);

/* command.c */

/* Does what the stops of the command ask for. */
int dt_session_dispatch_command(struct dt_session *session);

/* dispatch.c */

/* Follows processes whose mappings have changed, as far as the records taken in say so, and lets a command that waits for it go on. */
int dt_session_follow(struct dt_session *session);
/* Takes in what the programs have sent. */
int dt_session_consume(struct dt_session *session);
/* Takes a record of the ring buffer in; `context` is the session. For ring_buffer__new(). */
int dt_session_take_record(void *context, void *data, size_t size);

/* marked.c */

int dt_session_markers_start(struct dt_session *session);
/* No thread waits at a marker any more, nor will. */
void dt_session_markers_stop(struct dt_session *session);
/* May a thread be waiting at a marker, which whoever waits for all programs would wait for? */
bool dt_session_is_at_marker(const struct dt_session *session);
/* A record says that a thread is at a marker. */
void dt_session_note_marker(struct dt_session *session);
/* Lets threads at markers go on waiting: something is being done. */
void dt_session_show_life(struct dt_session *session);
/* Takes the right to turn. -EBUSY: there are snapshots of markers that must be taken first; then it is ours. -ETIMEDOUT. */
int dt_session_claim_turn(struct dt_session *session);
/* If a thread waits at a marker, reads its snapshot and lets it go on; not while the right to turn is ours. */
void dt_session_read_marked(struct dt_session *session);
/* Forgets those that have been read. */
void dt_session_forget_marked(struct dt_session *session);
/* The half that was closed has been read. Does nothing if the right is not ours. */
void dt_session_release_turn(struct dt_session *session);

/* adopt.c */

/* Chooses, before load, whether what follows forks, execs and exits is loaded. */
int dt_session_follow_prepare(struct dt_session *session);
/* Attaches to them, if anything is to be followed. */
int dt_session_follow_start(struct dt_session *session);
void dt_session_follow_stop(struct dt_session *session);
/* Takes in the images that the programs have begun, and those that have ended. */
int dt_session_adopt(struct dt_session *session);
/* The image in a slot, taken in if it is new. NULL: there is none. */
struct dt_traced *dt_session_adopt_slot(struct dt_session *session, uint32_t slot);

/* sweep.c */

/* Empties the slots of images that nobody needs any more. */
int dt_session_sweep(struct dt_session *session);
/* Takes out what was kept of blocks that have gone and that no heir needs. */
int dt_session_sweep_past(struct dt_session *session);
/* When a while has passed since some ended: their last tables are due. If nobody takes them, what can be emptied without is. */
int dt_session_see_to_ended(struct dt_session *session);
/* Sees to it that the session wakes up for those that have ended. */
void dt_session_set_timer(struct dt_session *session);

#endif
