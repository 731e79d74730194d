/* SPDX-License-Identifier: BSD-2-Clause */
/* python_thread: where a file's CPython keeps the state of a thread, as its own code shows. */
#ifndef DT_TARGET_PYTHON_THREAD_H
#define DT_TARGET_PYTHON_THREAD_H

#include <stdint.h>

#include "target/elf.h"
#include "target/python.h"

/* What was found; vaddrs, 0 where nothing was. */
struct dt_python_thread {
	uint64_t current_vaddr;         /* of the word that holds the running PyThreadState */
	uint64_t key_vaddr;             /* of the Py_tss_t of a thread's state */
	enum dt_python_variable variable;
	uint64_t variable_place;
	int64_t variable_addend;
};

/* Decodes the functions that give a thread its state. */
void dt_python_thread_find(struct dt_elf *elf, struct dt_python_thread *ret_thread);

#endif
