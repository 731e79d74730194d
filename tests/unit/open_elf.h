/* SPDX-License-Identifier: BSD-2-Clause */
/* open_elf: an ELF file of this machine, which must be there, closed at the end of its block. Include after <cmocka.h>. */
#ifndef TEST_OPEN_ELF_H
#define TEST_OPEN_ELF_H

#include <fcntl.h>

#include "base/cleanup.h"
#include "target/elf.h"

static inline void close_elf(struct dt_elf **elf)
{
	dt_elf_close(*elf);
}

#define ELF_OWNED DT_CLEANUP(close_elf) struct dt_elf *

static inline struct dt_elf *open_elf(const char *path)
{
	struct dt_elf *elf = NULL;

	assert_int_equal(dt_elf_open(open(path, O_RDONLY | O_CLOEXEC), &elf), 0);
	return elf;
}

#endif
