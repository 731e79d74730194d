/* SPDX-License-Identifier: BSD-2-Clause */
/* run: executes the part of a program that one image is for. */
#ifndef DT_PROCESSES_RUN_H
#define DT_PROCESSES_RUN_H

#include "books.h"

/* The books lie in the file at `path`, and this process is their image `number`. Does not return. */
__attribute__((noreturn)) void run_image(const char *path, uint64_t number);

#endif
