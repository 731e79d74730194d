/* SPDX-License-Identifier: BSD-2-Clause */
/* python: is there a CPython in a file, which one, and where are the things that the frame walker needs. */
#ifndef DT_TARGET_PYTHON_H
#define DT_TARGET_PYTHON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "target/elf.h"

/* How code of the file comes to the thread-local variable _Py_tss_tstate (3.12 and later). */
enum dt_python_variable {
	DT_PYTHON_VARIABLE_NONE,        /* not known, or there is none */
	DT_PYTHON_VARIABLE_OFFSET,      /* `place` is its offset from the thread pointer */
	DT_PYTHON_VARIABLE_SLOT,        /* `place` is the vaddr of a word that holds that offset */
	DT_PYTHON_VARIABLE_MODULE,      /* `place` is the vaddr of two words: the TLS module, and the offset in its block */
};

struct dt_python {
	uint32_t version_hex;           /* PY_VERSION_HEX, e.g. 0x030b02f0 */
	char version[24];               /* "3.11.2", "3.13.0rc1" */
	/* NULL: its frames are understood. Otherwise why not; goes on after "process 7 runs CPython 3.7.16, ". */
	const char *unsupported;
	struct dt_python_layout layout; /* … and nothing is filled in from here on */
	uint64_t thread_current_vaddr;  /* of the word that holds the running PyThreadState (up to 3.11); 0: none */
	uint64_t thread_key_vaddr;      /* of the Py_tss_t of a thread's state */
	enum dt_python_variable variable;
	uint64_t variable_place;
	int64_t variable_addend;        /* to be added to the offset */
	struct dt_address_range eval[2]; /* vaddrs of _PyEval_EvalFrameDefault: its main part, its cold part */
	uint64_t code_free_vaddr;       /* where the function that frees code objects is probed; 0: not all frees go through it */
};

/* -ENOENT: there is no CPython in the file. */
int dt_python_detect(struct dt_elf *elf, struct dt_python *ret_python);

/*
 * The interpreter in a process that maps its file at `bias`, for the programs. `number` and the thread-specific data of
 * glibc (see below) are left as they are. May be called again when the process has changed: the loader fills words in.
 */
void dt_python_place(const struct dt_python *python, pid_t pid, uint64_t bias, struct dt_interpreter *interpreter);

/*
 * glibc's layout of pthread_getspecific: byte offsets in struct pthread of the first block's first data word and of the
 * table of blocks, from the _thread_db_* symbols of libc. -ENOENT: not a glibc.
 */
int dt_python_read_tls_layout(const struct dt_elf *libc, uint32_t *ret_first_block, uint32_t *ret_blocks);

#endif
