/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * debug_file: the separate file with a stripped file's debug information, where distributions and gdb keep it: by build id under
 * /usr/lib/debug/.build-id, or by the name in .gnu_debuglink beside the file, in .debug there, or under /usr/lib/debug.
 */
#ifndef DT_TARGET_DEBUG_FILE_H
#define DT_TARGET_DEBUG_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "target/elf.h"

#define DT_DEBUG_FILES_MAX 4            /* places where one root directory may have it */

/*
 * The root directory that a process sees, as a descriptor that keeps it there when the process has ended (O_PATH). Where that
 * is our own, too: *ret_own is true. -ESRCH, -EACCES.
 */
int dt_debug_root_open(pid_t pid, bool *ret_own);

/*
 * Opens what may be the debug file of an ELF file that stands at `path` under the directory `root`, the likeliest first.
 * Names, also those in symbolic links, do not lead out of `root`. Returns how many were found; the descriptors are the caller's.
 */
size_t dt_debug_file_open(struct dt_elf *elf, const char *path, int root, int fds[DT_DEBUG_FILES_MAX]);
/* Is it? By build id where both have one, else by the check sum in .gnu_debuglink. Reads the whole file for the latter. */
bool dt_debug_file_matches(struct dt_elf *elf, int fd);

#endif
