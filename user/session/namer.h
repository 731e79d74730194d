/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * namer: names of addresses, from a helper process.
 *
 * What names are read from belongs to the traced program, and the libraries that read it (libdw, liblzma, the demangler) have
 * crashed on forged files or never come back. So another process does it: without capabilities, with little memory, time and
 * next to no system calls. When it dies or does not answer, it is replaced and the caller told whose fault it was.
 *
 * One question at a time: each is followed by dt_namer_wait() until there is an answer.
 */
#ifndef DT_SESSION_NAMER_H
#define DT_SESSION_NAMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/names.h"

/* Of one helper: each takes some of its memory, and what has been read of it stays there. */
#define DT_NAMER_FILES_MAX 256

struct dt_namer;

struct dt_namer_answer {
	const struct dt_name *names;    /* innermost first, owned by the namer until the next question; NULL: it was dt_namer_open() */
	size_t count;
	bool has_lines;                 /* of dt_namer_open(): the file has DWARF */
};

/* `limit_ns`: how long one answer may take. Starts nothing yet. -ENOMEM. */
int dt_namer_new(const struct dt_names_opts *opts, uint64_t limit_ns, struct dt_namer **ret_namer);
void dt_namer_free(struct dt_namer *namer);

/* Counts the helpers: files that an earlier one opened are not open in this one. Starts one if none runs. 0: none can be started. */
uint32_t dt_namer_start(struct dt_namer *namer);
/* Ends the helper, if one runs: the next question starts another. */
void dt_namer_stop(struct dt_namer *namer);
/* Opens a file under a number below DT_NAMER_FILES_MAX; the descriptors stay the caller's. */
int dt_namer_open(struct dt_namer *namer, uint32_t file, int fd, const int *debug_fds, size_t debug_count, bool no_lines);
/* Asks for the names of an address in an open file. */
int dt_namer_ask(struct dt_namer *namer, uint32_t file, uint64_t vaddr);
/*
 * The answer. -EAGAIN: there is none within `budget_ns`, ask again. -EPIPE: the helper died; -ETIMEDOUT: it took too long, and was
 * ended. Anything else: what the helper says of the file.
 */
int dt_namer_wait(struct dt_namer *namer, uint64_t budget_ns, struct dt_namer_answer *ret_answer);
/* Readable when there is an answer; −1: no helper runs. */
int dt_namer_fd(const struct dt_namer *namer);
/* 0: no helper runs. */
pid_t dt_namer_pid(const struct dt_namer *namer);

#endif
