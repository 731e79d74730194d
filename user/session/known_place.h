/* SPDX-License-Identifier: BSD-2-Clause */
/* known_place: the object behind resolve.h, for the two files that fill it: resolve.c finds places, resolve_ask.c their names. */
#ifndef DT_SESSION_KNOWN_PLACE_H
#define DT_SESSION_KNOWN_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uthash.h>

#include "session/fetch.h"
#include "session/jit.h"
#include "session/namer.h"
#include "session/resolve.h"

/* The root directory of a process: where its files have their debug files. */
struct dt_resolve_root {
	struct dt_resolve_root *next;
	uint64_t device, inode;         /* of the directory */
	uint64_t mount;                 /* … and of the mount that it is in: the same directory may have others mounted below it */
	int fd;
	bool own;                       /* it is ours, too */
	bool needed;                    /* while what is not is sought */
};

/* What copies of a file have in common. */
struct dt_resolve_file {
	uint32_t id;                    /* number of the module of the first of them */
	uint32_t number;                /* in that helper */
	struct dt_module *module;       /* one of them; NULL: nobody needs it, and there is nothing to ask */
	struct dt_resolve_root *root;   /* NULL: the process was gone */
	uint32_t helper;                /* in which it is open, as dt_namer_start() counts them; 0: in none */
	bool has_lines, asked_server;
	bool no_lines, lost;            /* reading its lines, or all of it, has failed */
	unsigned int failures;
	int fetched_fd;                 /* its debug file, from a server; −1: none */
	bool needed;                    /* while what is not is sought */
	UT_hash_handle hh;
};

struct dt_known_place {
	struct {
		uint64_t module;        /* its number; 0: code of no ELF file … */
		uint64_t vaddr;
		uint64_t image;         /* … of this image */
	} key;
	uint32_t number;
	struct dt_resolve_file *file;              /* NULL: code of no ELF file */
	struct dt_snapshot_frame base;  /* without names */
	struct dt_snapshot_frame *frames; /* with them; NULL: there are none (yet) */
	size_t count;
	bool called;
	UT_hash_handle hh;
};

/* What the helper or a server has been asked, and has not answered yet. */
enum dt_question {
	DT_QUESTION_NONE,
	DT_QUESTION_OPEN,
	DT_QUESTION_NAMES,
	DT_QUESTION_FETCH,
};

struct dt_resolve {
	struct dt_resolve_opts opts;
	struct dt_snapshot *strings;    /* only for these */
	struct dt_resolve_root *roots;
	struct dt_resolve_file *files;
	uint32_t helper;                /* the one that has … */
	uint32_t opened;                /* … so many files open */
	struct dt_known_place *table;
	struct dt_known_place **places;          /* by number */
	size_t place_count, place_room;
	size_t next;                    /* number of the first place that has not been asked for */
	size_t jit_from;                /* number of the first place of a JIT compiler that may have no name yet */
	struct dt_jit *jits;
	struct dt_namer *namer;
	struct dt_fetch fetch;
	enum dt_question asked;
	int epoll_fd, watched_fd;       /* of whom an answer is awaited; −1: nobody */
	bool no_server, no_helper;      /* said once */
};

/* Gives a place its frames; they are copied. -ENOMEM. */
int dt_known_place_name(struct dt_known_place *place, const struct dt_snapshot_frame *frames, size_t count);

#endif
