/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/jit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#include "target/perf_map.h"

#define LOOK_NS 250000000ull
#define READ_SHARE 20                   /* at most one part in so many of the time goes into reading */

struct dt_jit {
	uint32_t image;
	struct dt_perf_map_owner owner; /* root_fd −1: it had ended before it was asked for */
	int fd;                         /* stays open when the process has ended; −1: there is no map (yet) */
	struct dt_perf_map *map;
	off_t size;
	struct timespec written;
	uint64_t next_look_ns;
	UT_hash_handle hh;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool has_changed(struct dt_jit *jit)
{
	struct stat status;

	if (fstat(jit->fd, &status) || (jit->map && status.st_size == jit->size && status.st_mtim.tv_sec == jit->written.tv_sec &&
					status.st_mtim.tv_nsec == jit->written.tv_nsec))
		return false;
	jit->size = status.st_size;
	jit->written = status.st_mtim;
	return true;
}

/* One that was removed may have been of an older process with this pid, or be written anew. */
static void open_map(struct dt_jit *jit)
{
	struct stat status;
	int fd;

	if (jit->owner.root_fd < 0 || (jit->fd >= 0 && (fstat(jit->fd, &status) || status.st_nlink)))
		return;
	fd = dt_perf_map_open(&jit->owner);
	if (fd < 0)
		return;
	if (jit->fd >= 0)
		close(jit->fd);
	jit->fd = fd;
}

/* Only reading counts: where there is nothing to read yet, the next look is never far. */
static void look(struct dt_jit *jit)
{
	uint64_t begin = now_ns(), took = 0;
	struct dt_perf_map *map;

	if (begin < jit->next_look_ns)
		return;
	open_map(jit);
	if (jit->fd >= 0 && has_changed(jit)) {
		begin = now_ns();
		if (!dt_perf_map_load(jit->fd, &map)) {
			dt_perf_map_free(jit->map);
			jit->map = map;
		}
		took = now_ns() - begin;
	}
	jit->next_look_ns = begin + took + (READ_SHARE * took > LOOK_NS ? READ_SHARE * took : LOOK_NS);
}

void dt_jit_add_process(struct dt_jit **jits, const struct dt_traced *traced)
{
	struct dt_jit *jit;

	HASH_FIND_INT(*jits, &traced->image, jit);
	if (jit)
		return;
	jit = calloc(1, sizeof(*jit));
	if (!jit)
		return;                 /* its code has no names then */
	jit->image = traced->image;
	jit->fd = -1;
	if (dt_perf_map_owner_open(traced->pid, &jit->owner))
		jit->owner.root_fd = -1;
	HASH_ADD_INT(*jits, image, jit);
}

void dt_jit_open(struct dt_jit *jits, uint32_t image)
{
	struct dt_jit *jit;

	HASH_FIND_INT(jits, &image, jit);
	if (jit)
		open_map(jit);
}

const char *dt_jit_find(struct dt_jit *jits, uint32_t image, uint64_t address, uint64_t *ret_offset)
{
	struct dt_jit *jit;

	HASH_FIND_INT(jits, &image, jit);
	if (!jit)
		return NULL;
	look(jit);
	return jit->map ? dt_perf_map_find(jit->map, address, ret_offset) : NULL;
}

void dt_jit_look_again(struct dt_jit *jits)
{
	uint64_t soon = now_ns() + LOOK_NS;

	for (struct dt_jit *jit = jits; jit; jit = jit->hh.next)
		if (jit->next_look_ns <= soon)
			jit->next_look_ns = 0;
}

static void jit_free(struct dt_jit *jit)
{
	dt_perf_map_free(jit->map);
	dt_perf_map_owner_close(&jit->owner);
	if (jit->fd >= 0)
		close(jit->fd);
	free(jit);
}

void dt_jit_remove_process(struct dt_jit **jits, uint32_t image)
{
	struct dt_jit *jit;

	HASH_FIND_INT(*jits, &image, jit);
	if (!jit)
		return;
	HASH_DEL(*jits, jit);
	jit_free(jit);
}

void dt_jit_clear(struct dt_jit **jits)
{
	struct dt_jit *jit, *next;

	HASH_ITER(hh, *jits, jit, next) {
		HASH_DEL(*jits, jit);
		jit_free(jit);
	}
}
