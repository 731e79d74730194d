/* SPDX-License-Identifier: BSD-2-Clause */
/* Cleanup by attribute: what a scope owns is given back on every way out of it. */
#ifndef DT_BASE_CLEANUP_H
#define DT_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DT_CLEANUP(fn) __attribute__((cleanup(fn)))

static inline void dt_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void dt_cleanup_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void dt_cleanup_file(FILE **file)
{
	if (*file)
		fclose(*file);
}

#define DT_FREE DT_CLEANUP(dt_cleanup_free)
#define DT_FD DT_CLEANUP(dt_cleanup_fd)
#define DT_FILE DT_CLEANUP(dt_cleanup_file)

/* Hands a pointer or descriptor over to the caller: the scope does not own it any more. */
#define DT_TAKE(pointer) ({ __typeof__(pointer) dt_taken = (pointer); (pointer) = NULL; dt_taken; })
#define DT_TAKE_FD(fd) ({ int dt_taken_fd = (fd); (fd) = -1; dt_taken_fd; })

#define DT_ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#endif
