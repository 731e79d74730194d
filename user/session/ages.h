/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ages: which live blocks are old.
 *
 * A row has no time, only the segment in which its block was born. While ages are asked for, a timer steps the clock of segments, and
 * what is kept of each step is when it was: everything that was born in the segment that it ended, or before, is at least as old as that.
 * So the blocks that are told (session/reading.h) are exactly those that were born before one known instant, which is never later than
 * asked for.
 */
#ifndef DT_SESSION_AGES_H
#define DT_SESSION_AGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dt_session;

/* A step of the clock. */
struct dt_age_step {
	uint32_t segment;               /* that it ended */
	uint64_t time_ns;               /* CLOCK_MONOTONIC, behind it */
};

#define DT_AGE_STEPS_MAX 4096

struct dt_ages {
	uint64_t older_than_ns;         /* 0: ages are not asked for */
	int timer_fd;                   /* readable when a step is due; −1: none */
	struct dt_age_step steps[DT_AGE_STEPS_MAX]; /* the oldest one that counts at `first`, and those behind it */
	size_t first, count;
};

/* How far apart steps are: a 60th of the threshold, at least 50 ms and at most a second, but no more of them than fit. */
uint64_t dt_ages_interval(uint64_t older_than_ns);
/* Notes a step of which others may be forgotten: those that will not be asked for again. */
void dt_ages_note(struct dt_ages *ages, uint32_t segment, uint64_t time_ns);
/* CLOCK_MONOTONIC. */
uint64_t dt_ages_now(void);
/* The last step that is old enough. False: there is none. */
bool dt_ages_find(const struct dt_ages *ages, uint64_t now_ns, struct dt_age_step *ret_step);

/* -ENOMEM, or what the kernel says of a timer. `older_than_ns` 0: there are none. */
int dt_ages_new(uint64_t older_than_ns, struct dt_ages **ret_ages);
void dt_ages_free(struct dt_ages *ages);

/* Steps the clock if it is time. */
void dt_session_step(struct dt_session *session);

#endif
