/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/ages.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "session/session.h"

#define NS_PER_SECOND 1000000000u
#define STEPS 60                        /* to a threshold, … */
#define INTERVAL_MIN_NS 50000000u       /* … but not more often than this … */
#define INTERVAL_MAX_NS NS_PER_SECOND   /* … and not more seldom */
#define STEPS_SPARE 16                  /* some may come closer to each other than they should */

uint64_t dt_ages_interval(uint64_t older_than_ns)
{
	uint64_t interval_ns = older_than_ns / STEPS, least_ns = older_than_ns / (DT_AGE_STEPS_MAX - STEPS_SPARE) + 1;

	interval_ns = interval_ns < INTERVAL_MIN_NS ? INTERVAL_MIN_NS : interval_ns > INTERVAL_MAX_NS ? INTERVAL_MAX_NS : interval_ns;
	return interval_ns < least_ns ? least_ns : interval_ns;
}

static const struct dt_age_step *step_at(const struct dt_ages *ages, size_t index)
{
	return &ages->steps[(ages->first + index) % DT_AGE_STEPS_MAX];
}

static bool is_old_enough(const struct dt_ages *ages, size_t index, uint64_t now_ns)
{
	return index < ages->count && step_at(ages, index)->time_ns + ages->older_than_ns <= now_ns;
}

void dt_ages_note(struct dt_ages *ages, uint32_t segment, uint64_t time_ns)
{
	/* Of those that are old enough the last one is, and will be. */
	while (is_old_enough(ages, 1, time_ns)) {
		ages->first = (ages->first + 1) % DT_AGE_STEPS_MAX;
		ages->count--;
	}
	if (ages->count < DT_AGE_STEPS_MAX)     /* else this one is left out: the next is noted instead */
		ages->steps[(ages->first + ages->count++) % DT_AGE_STEPS_MAX] = (struct dt_age_step){ segment, time_ns };
}

bool dt_ages_find(const struct dt_ages *ages, uint64_t now_ns, struct dt_age_step *ret_step)
{
	size_t count = 0;

	while (is_old_enough(ages, count, now_ns))
		count++;
	if (count)
		*ret_step = *step_at(ages, count - 1);
	return count;
}

int dt_ages_new(uint64_t older_than_ns, struct dt_ages **ret_ages)
{
	uint64_t interval_ns = dt_ages_interval(older_than_ns);
	struct timespec interval = { (time_t)(interval_ns / NS_PER_SECOND), (long)(interval_ns % NS_PER_SECOND) };
	struct dt_ages *ages = calloc(1, sizeof(*ages));
	int error = 0;

	if (!ages)
		return -ENOMEM;
	ages->older_than_ns = older_than_ns;
	ages->timer_fd = -1;
	if (older_than_ns) {
		ages->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
		if (ages->timer_fd < 0 ||
		    timerfd_settime(ages->timer_fd, 0, &(struct itimerspec){ interval, interval }, NULL))
			error = -errno;
	}
	if (error)
		dt_ages_free(ages);
	else
		*ret_ages = ages;
	return error;
}

void dt_ages_free(struct dt_ages *ages)
{
	if (!ages)
		return;
	if (ages->timer_fd >= 0)
		close(ages->timer_fd);
	free(ages);
}

uint64_t dt_ages_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

void dt_session_step(struct dt_session *session)
{
	uint32_t segment;
	uint64_t times;

	if (session->ages->timer_fd < 0 || read(session->ages->timer_fd, &times, sizeof(times)) != sizeof(times))
		return;
	segment = dt_collect_step(session->collect);
	dt_ages_note(session->ages, segment, dt_ages_now());  /* behind the step: nothing of the segment is younger */
}
