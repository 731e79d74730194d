/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * confine: a child process gives up all but what it takes to read the files that it is handed and to answer: descriptors, shared
 * memory, capabilities, signals, and most system calls; memory and time are limited.
 */
#ifndef DT_SESSION_CONFINE_H
#define DT_SESSION_CONFINE_H

#define DT_CONFINE_SOCKET 3             /* where the socket is afterwards */

/* Ends the process where that is not possible. */
void dt_confine(int socket);
/* Gives time for the next answer. */
void dt_confine_next(void);

#endif
