/* SPDX-License-Identifier: BSD-2-Clause */
/* elf: one ELF file: build id, segments, symbols. 64-bit x86-64 only; hostile files give errors. */
#ifndef DT_TARGET_ELF_H
#define DT_TARGET_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dt_elf;

struct dt_elf_symbol {
	const char *name;               /* owned by the file */
	uint64_t vaddr, size;
	bool function, object, indirect /* STT_GNU_IFUNC */, global, dynamic;
};

/* Takes the descriptor over, also on failure. -ENOEXEC: not ELF, or not of this machine. -EBADMSG: damaged. */
int dt_elf_open(int fd, struct dt_elf **ret_elf);
/* The same from an image in memory (the vDSO of a process), which is copied. */
int dt_elf_open_image(const void *image, size_t size, struct dt_elf **ret_elf);
void dt_elf_close(struct dt_elf *elf);
/* The descriptor, owned by the file, for others who read it; −1: it is an image in memory. */
int dt_elf_fd(const struct dt_elf *elf);

/* Lower-case hex, owned by the file; NULL: it has none. */
const char *dt_elf_build_id(const struct dt_elf *elf);
/* Is it a copy, to the last byte? A build id alone is only what a file says of itself. */
bool dt_elf_is_same(const struct dt_elf *elf, const struct dt_elf *other);
/* Through PT_LOAD. -ENXIO: in no segment of the file. */
int dt_elf_vaddr_to_offset(const struct dt_elf *elf, uint64_t vaddr, uint64_t *ret_offset);
int dt_elf_offset_to_vaddr(const struct dt_elf *elf, uint64_t offset, uint64_t *ret_vaddr);
/*
 * The vaddr of the first byte of an executable mapping that begins at `offset` of the file. Mappings begin at pages, segments need
 * not: the page may begin with the end of the segment before, which is mapped elsewhere (lld and gold lay files out so). -ENXIO.
 */
int dt_elf_text_vaddr(const struct dt_elf *elf, uint64_t offset, uint64_t *ret_vaddr);
/* A defined symbol of .dynsym, then of .symtab. -ENOENT. Of several versions the default one. */
int dt_elf_find_symbol(const struct dt_elf *elf, const char *name, struct dt_elf_symbol *ret_symbol);
/* All defined symbols of .dynsym, then of .symtab; stops when the callback returns non-zero and returns that. */
typedef int (*dt_elf_symbol_fn)(void *context, const struct dt_elf_symbol *symbol);
int dt_elf_each_symbol(const struct dt_elf *elf, dt_elf_symbol_fn fn, void *context);
/* Exactly `size` file bytes at a virtual address, in one segment; also of a file that was trimmed. -ENXIO; -EBADMSG: they are gone. */
int dt_elf_read(const struct dt_elf *elf, uint64_t vaddr, void *to, size_t size);
/*
 * Up to `size` file bytes at a virtual address, in one segment: *ret_bytes is owned by the file, *ret_size says how many.
 * What these three give is read when it is first asked for, and stays until dt_elf_trim().
 */
int dt_elf_bytes(const struct dt_elf *elf, uint64_t vaddr, size_t size, const uint8_t **ret_bytes, size_t *ret_size);
/* The executable PT_LOAD segments, by index from 0; false after the last. One that cannot be read is empty. */
bool dt_elf_text(const struct dt_elf *elf, size_t index, uint64_t *ret_vaddr, const uint8_t **ret_bytes, size_t *ret_size);
/* The same without reading them: their addresses. */
bool dt_elf_text_range(const struct dt_elf *elf, size_t index, uint64_t *ret_start, uint64_t *ret_end);
/* A section that is in the file, by name; decompressed. *ret_vaddr is 0 for one that is not mapped. -ENOENT, -EBADMSG, -ENOMEM. */
int dt_elf_section(struct dt_elf *elf, const char *name, const uint8_t **ret_bytes, size_t *ret_size, uint64_t *ret_vaddr);
/* Lets go of the bytes of segments and sections, and of the symbol tables; names stay, and all can be asked for again. */
void dt_elf_trim(struct dt_elf *elf);
/* It may be loaded at any address, not only where it was linked: a library, or a position-independent program. */
bool dt_elf_moves(const struct dt_elf *elf);
/* Where the program starts; 0: it is a library. */
uint64_t dt_elf_entry(const struct dt_elf *elf);
/* Path of PT_INTERP, owned by the file; NULL: statically linked or a library. */
const char *dt_elf_interpreter(const struct dt_elf *elf);

#endif
