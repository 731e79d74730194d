/* SPDX-License-Identifier: BSD-2-Clause */
/* Call frame information: whole files against libdw, address by address; then each instruction, and damage. */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "target/eh_frame.h"
#include "target/elf.h"
#include "target/rule_ranges.h"

#define RANGES_OWNED DT_CLEANUP(dt_rule_ranges_clear) struct dt_rule_ranges

static int add_range(void *context, uint64_t start, uint64_t end, const struct dt_unwind_rule *rule)
{
	assert_true(start < end);
	return dt_rule_ranges_add(context, start, end, rule);
}

/* ---- what libdw says ----------------------------------------------------------------------------------------- */

static bool is_register_place(const Dwarf_Op *ops, size_t count, int64_t *ret_offset)
{
	if (!ops || !count || ops[0].atom != DW_OP_call_frame_cfa || count > 2)
		return false;
	*ret_offset = 0;
	if (count == 2 && ops[1].atom == DW_OP_plus_uconst)
		*ret_offset = (int64_t)ops[1].number;
	return count == 1 || ops[1].atom == DW_OP_plus_uconst;
}

static uint8_t convert_cfa(const Dwarf_Op *ops, size_t count, int64_t *ret_offset)
{
	static const uint8_t plt[] = { DW_OP_breg7, DW_OP_breg16, DW_OP_lit15, DW_OP_and, 0, DW_OP_ge, DW_OP_lit3,
				       DW_OP_shl, DW_OP_plus };

	*ret_offset = (int64_t)ops[0].number2;
	if (count == 1 && ops[0].atom == DW_OP_bregx)
		return ops[0].number == 7 ? DT_CFA_STACK : ops[0].number == 6 ? DT_CFA_FRAME : DT_CFA_UNSUPPORTED;
	*ret_offset = (int64_t)ops[0].number;
	if (count == 2 && ops[0].atom == DW_OP_breg6 && ops[1].atom == DW_OP_deref)
		return DT_CFA_FRAME_INDIRECT;
	if (count != sizeof(plt) || ops[0].number != 8 || ops[1].number)
		return DT_CFA_UNSUPPORTED;
	for (size_t i = 0; i < sizeof(plt); i++)
		if (plt[i] && plt[i] != ops[i].atom)
			return DT_CFA_UNSUPPORTED;
	*ret_offset = ops[4].atom - DW_OP_lit0;
	return DT_CFA_PLT;
}

static void convert_frame_pointer(Dwarf_Frame *frame, struct dt_unwind_rule *rule)
{
	Dwarf_Op memory[3], *ops;
	int64_t offset;
	size_t count;

	assert_int_equal(dwarf_frame_register(frame, 6, memory, &ops, &count), 0);
	rule->frame_pointer = DT_SAVED_UNKNOWN;
	if (!ops) {
		rule->frame_pointer = DT_SAVED_NOT;
	} else if (is_register_place(ops, count, &offset) && offset % 8 == 0) {
		rule->frame_pointer = DT_SAVED_AT_CFA;
		rule->frame_pointer_words = (int16_t)(offset / 8);
	} else if (count == 2 && ops[0].atom == DW_OP_call_frame_cfa && ops[1].atom == DW_OP_breg6) {
		rule->frame_pointer = DT_SAVED_AT_FRAME;
		rule->frame_pointer_words = (int16_t)((int64_t)ops[1].number / 8);
	}
}

static struct dt_unwind_rule convert(Dwarf_Frame *frame, bool signal)
{
	static const struct dt_unwind_rule unsupported = { .cfa = DT_CFA_UNSUPPORTED };
	struct dt_unwind_rule rule = { 0 };
	Dwarf_Op memory[3], *ops;
	int64_t offset;
	size_t count;

	if (signal)
		return (struct dt_unwind_rule){ .cfa = DT_CFA_SIGNAL };
	assert_int_equal(dwarf_frame_register(frame, 16, memory, &ops, &count), 0);
	if (ops && !count)
		return (struct dt_unwind_rule){ .cfa = DT_CFA_END };
	if (!is_register_place(ops, count, &offset) || offset != -8)
		return unsupported;
	assert_int_equal(dwarf_frame_register(frame, 7, memory, &ops, &count), 0);
	if (!ops || count != 2 || ops[0].atom != DW_OP_call_frame_cfa || ops[1].atom != DW_OP_stack_value)
		return unsupported;
	if (dwarf_frame_cfa(frame, &ops, &count) || !count)
		return unsupported;
	rule.cfa = convert_cfa(ops, count, &offset);
	rule.cfa_offset = (int32_t)offset;
	if (rule.cfa == DT_CFA_UNSUPPORTED)
		return unsupported;
	convert_frame_pointer(frame, &rule);
	return rule;
}

/* libdw's rule at an address and the end of its range; DT_CFA_NONE and the next address where it has none. */
static struct dt_unwind_rule ask_libdw(Dwarf_CFI *cfi, uint64_t vaddr, uint64_t *ret_end)
{
	struct dt_unwind_rule rule = { .cfa = DT_CFA_NONE };
	Dwarf_Addr start = vaddr, end = vaddr + 1;
	Dwarf_Frame *frame = NULL;
	bool signal = false;

	if (!dwarf_cfi_addrframe(cfi, vaddr, &frame)) {
		assert_int_equal(dwarf_frame_info(frame, &start, &end, &signal), 16);
		rule = convert(frame, signal);
		free(frame);
	}
	assert_true(start <= vaddr && vaddr < end);
	*ret_end = end;
	return rule;
}

/* ---- whole files against libdw ------------------------------------------------------------------------------- */

struct compared {
	const char *name;
	const struct dt_rule_ranges *ranges;
	size_t next;                    /* range that ends behind the address */
	uint64_t addresses, differences;
	uint64_t kinds[DT_CFA_COUNT];
};

static void report_difference(struct compared *compared, uint64_t vaddr, const struct dt_unwind_rule *is,
			      const struct dt_unwind_rule *expected)
{
	if (!memcmp(is, expected, sizeof(*is)))
		return;
	if (compared->differences++ < 10)
		print_message("%s 0x%llx: is cfa %d %d rbp %d %d, libdw says cfa %d %d rbp %d %d\n", compared->name,
			      (unsigned long long)vaddr, is->cfa, is->cfa_offset, is->frame_pointer, is->frame_pointer_words,
			      expected->cfa, expected->cfa_offset, expected->frame_pointer, expected->frame_pointer_words);
}

/* All of ours that is in [start, end) must be what is expected, with no gap. */
static void compare_range(struct compared *compared, uint64_t start, uint64_t end, const struct dt_unwind_rule *expected)
{
	static const struct dt_unwind_rule none;

	compared->addresses += end - start;
	compared->kinds[expected->cfa] += end - start;
	while (start < end) {
		const struct dt_rule_range *item;

		while (compared->next < compared->ranges->count && compared->ranges->items[compared->next].end <= start)
			compared->next++;
		item = compared->next < compared->ranges->count ? &compared->ranges->items[compared->next] : NULL;
		if (!item || item->start > start) {
			report_difference(compared, start, &none, expected);
			start = !item || item->start > end ? end : item->start;
		} else {
			report_difference(compared, start, &item->rule, expected);
			start = item->end > end ? end : item->end;
		}
	}
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void compare_file(const char *name, struct dt_elf *elf, Elf *libelf)
{
	struct dt_eh_frame frame = { 0 };
	RANGES_OWNED ranges = { 0 };
	struct compared compared = { .name = name, .ranges = &ranges };
	Dwarf_CFI *cfi = dwarf_getcfi_elf(libelf);
	double begin, read_ms, order_ms;
	const uint8_t *bytes;
	uint64_t vaddr;
	size_t size;

	assert_non_null(cfi);
	assert_int_equal(dt_elf_section(elf, ".eh_frame", &frame.bytes, &frame.size, &frame.vaddr), 0);
	begin = now_ms();
	assert_int_equal(dt_eh_frame_each(&frame, add_range, &ranges), 0);
	read_ms = now_ms() - begin;
	assert_int_equal(dt_rule_ranges_sort(&ranges), 0);
	order_ms = now_ms() - begin - read_ms;
	for (size_t i = 0; dt_elf_text(elf, i, &vaddr, &bytes, &size); i++) {
		for (uint64_t at = vaddr, end; at < vaddr + size; at = end) {
			struct dt_unwind_rule expected = ask_libdw(cfi, at, &end);

			compare_range(&compared, at, end, &expected);
		}
	}
	print_message("%s: %zu ranges, read in %.1f ms, put in order in %.1f; %llu addresses compared, %llu differ (none %llu, end %llu, "
		      "unsupported %llu, stack %llu, frame %llu, indirect %llu, plt %llu, signal %llu)\n", name, ranges.count, read_ms,
		      order_ms, (unsigned long long)compared.addresses, (unsigned long long)compared.differences,
		      (unsigned long long)compared.kinds[0], (unsigned long long)compared.kinds[1],
		      (unsigned long long)compared.kinds[2], (unsigned long long)compared.kinds[3],
		      (unsigned long long)compared.kinds[4], (unsigned long long)compared.kinds[5],
		      (unsigned long long)compared.kinds[6], (unsigned long long)compared.kinds[7]);
	assert_int_equal(compared.differences, 0);
	dwarf_cfi_end(cfi);
}

static void compare_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct dt_elf *elf;
	Elf *libelf;

	elf_version(EV_CURRENT);
	assert_true(fd >= 0);
	assert_int_equal(dt_elf_open(dup(fd), &elf), 0);
	libelf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	assert_non_null(libelf);
	compare_file(path, elf, libelf);
	elf_end(libelf);
	dt_elf_close(elf);
	close(fd);
}

static const char *const files[] = {
	"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2", "/usr/bin/python3.11",
	"/usr/lib/python3/dist-packages/numpy/core/_multiarray_umath.*.so", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
	"/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "/lib/x86_64-linux-gnu/libm.so.6", "/lib/x86_64-linux-gnu/libgcc_s.so.1",
	"/usr/lib/x86_64-linux-musl/libc.so", "/usr/bin/redis-check-rdb", "/usr/sbin/nginx", "/proc/self/exe",
};

static void test_rules_are_those_of_libdw(void **state)
{
	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(files); i++) {
		glob_t found;

		if (glob(files[i], 0, NULL, &found)) {
			print_message("skipped: there is no %s here\n", files[i]);
			continue;
		}
		compare_path(found.gl_pathv[0]);
		globfree(&found);
	}
}

static void test_rules_of_the_vdso_are_those_of_libdw(void **state)
{
	const uint8_t *image = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *header = (const void *)image;
	DT_FREE char *copy = NULL;
	struct dt_elf *elf;
	Elf *libelf;
	size_t size;

	(void)state;
	if (!image) {
		print_message("skipped: this process has no vDSO\n");
		skip();
	}
	size = header->e_shoff + (size_t)header->e_shnum * header->e_shentsize;
	copy = malloc(size);
	assert_non_null(copy);
	memcpy(copy, image, size);
	assert_int_equal(dt_elf_open_image(image, size, &elf), 0);
	libelf = elf_memory(copy, size);
	assert_non_null(libelf);
	compare_file("vDSO", elf, libelf);
	elf_end(libelf);
	dt_elf_close(elf);
}

/* ---- sections made by hand ----------------------------------------------------------------------------------- */

struct made {
	uint8_t bytes[4096];
	size_t size;
};

static void put(struct made *made, const void *bytes, size_t size)
{
	assert_true(size <= sizeof(made->bytes) - made->size);
	memcpy(made->bytes + made->size, bytes, size);
	made->size += size;
}

static void put_number(struct made *made, uint64_t value, size_t size)
{
	put(made, &value, size);
}

/* How the entries of a section look. */
struct shape {
	const char *augmentation;
	uint8_t version, encoding;
	bool debug, wide;
};

static const struct shape plain = { "zR", 1, DW_EH_PE_udata8, false, false };

/* An entry begins: its place in the section; its length is filled in at its end. */
static size_t begin_entry(struct made *made, const struct shape *shape)
{
	size_t at = made->size;

	put_number(made, UINT32_MAX, 4);
	if (shape->wide)
		put_number(made, 0, 8);
	return at;
}

static void end_entry(struct made *made, const struct shape *shape, size_t at)
{
	uint64_t length = made->size - at - (shape->wide ? 12 : 4);

	memcpy(made->bytes + at + (shape->wide ? 4 : 0), &length, shape->wide ? 8 : 4);
}

/* Code alignment 1, data alignment -8; CFA = rsp + 8, return address at CFA - 8: as compilers begin every function. */
static size_t put_cie(struct made *made, const struct shape *shape)
{
	size_t at = begin_entry(made, shape), pointer_size = shape->debug && shape->wide ? 8 : 4;

	put_number(made, shape->debug ? UINT64_MAX : 0, pointer_size);
	put_number(made, shape->version, 1);
	put(made, shape->augmentation, strlen(shape->augmentation) + 1);
	if (shape->version == 4)
		put(made, "\x08\x00", 2);
	put(made, "\x01\x78\x10", 3);
	if (*shape->augmentation == 'z') {
		size_t size_at = made->size;

		put_number(made, 0, 1);
		for (const char *letter = shape->augmentation + 1; *letter; letter++) {
			if (*letter == 'R')
				put_number(made, shape->encoding, 1);
			if (*letter == 'L')
				put(made, "\x1b", 1);
			if (*letter == 'P')
				put(made, "\x9b\x12\x34\x56\x78", 5);
		}
		made->bytes[size_at] = (uint8_t)(made->size - size_at - 1);
	}
	put(made, "\x0c\x07\x08\x90\x01", 5);
	end_entry(made, shape, at);
	return at;
}

/* `address` is written as it is to stand there; the code has 0x100 bytes. */
static void put_fde(struct made *made, const struct shape *shape, size_t cie, const void *address, size_t address_size,
		    const void *program, size_t program_size)
{
	static const uint8_t uleb[] = { 0x80, 0x02 };
	size_t at = begin_entry(made, shape), pointer_size = shape->debug && shape->wide ? 8 : 4;
	uint8_t format = shape->encoding & 0x0f;

	put_number(made, shape->debug ? cie : made->size - cie, pointer_size);
	put(made, address, address_size);
	if (format == DW_EH_PE_uleb128 || format == DW_EH_PE_sleb128)
		put(made, uleb, sizeof(uleb));
	else
		put_number(made, 0x100, address_size);
	if (*shape->augmentation == 'z')
		put_number(made, 0, 1);
	put(made, program, program_size);
	end_entry(made, shape, at);
}

static int read_made(const struct made *made, const struct shape *shape, struct dt_rule_ranges *ranges)
{
	struct dt_eh_frame frame = { .size = made->size, .vaddr = 0x5000, .text_vaddr = 0x600, .data_vaddr = 0x700,
				     .debug = shape->debug };
	/* Its own block, so that a read behind the end is noticed. */
	DT_FREE uint8_t *bytes = malloc(made->size + !made->size);

	assert_non_null(bytes);
	memcpy(bytes, made->bytes, made->size);
	frame.bytes = bytes;
	return dt_eh_frame_each(&frame, add_range, ranges);
}

struct program {
	const char *what;
	const char *bytes;
	size_t size;
	struct dt_rule_range ranges[6]; /* ends with an empty one */
};

#define BYTES(literal) literal, sizeof(literal) - 1
#define RULE(kind, offset, saved, words) { .cfa = DT_CFA_##kind, .cfa_offset = (offset), \
					   .frame_pointer = DT_SAVED_##saved, .frame_pointer_words = (words) }
#define ALL(...) { { 0x1000, 0x1100, RULE(__VA_ARGS__) } }

static const struct program programs[] = {
	{ "nothing", BYTES(""), ALL(STACK, 8, NOT, 0) },
	{ "nop", BYTES("\x00\x00\x00"), ALL(STACK, 8, NOT, 0) },
	{ "push rbp; mov rbp, rsp; leave",
	  BYTES("\x41\x0e\x10\x86\x02\x43\x0d\x06\x02\x80\x0c\x07\x08\xc6"),
	  { { 0x1000, 0x1001, RULE(STACK, 8, NOT, 0) }, { 0x1001, 0x1004, RULE(STACK, 16, AT_CFA, -2) },
	    { 0x1004, 0x1084, RULE(FRAME, 16, AT_CFA, -2) }, { 0x1084, 0x1100, RULE(STACK, 8, NOT, 0) } } },
	{ "advance_loc1, 2, 4, and MIPS's 8",
	  BYTES("\x02\x10\x0e\x10\x03\x10\x00\x0e\x18\x04\x10\x00\x00\x00\x0e\x20\x1d\x10\x00\x00\x00\x00\x00\x00\x00\x0e\x28"),
	  { { 0x1000, 0x1010, RULE(STACK, 8, NOT, 0) }, { 0x1010, 0x1020, RULE(STACK, 16, NOT, 0) },
	    { 0x1020, 0x1030, RULE(STACK, 24, NOT, 0) }, { 0x1030, 0x1040, RULE(STACK, 32, NOT, 0) },
	    { 0x1040, 0x1100, RULE(STACK, 40, NOT, 0) } } },
	{ "set_loc", BYTES("\x01\x20\x10\x00\x00\x00\x00\x00\x00\x0e\x10"),
	  { { 0x1000, 0x1020, RULE(STACK, 8, NOT, 0) }, { 0x1020, 0x1100, RULE(STACK, 16, NOT, 0) } } },
	{ "set_loc back is no advance", BYTES("\x50\x01\x08\x10\x00\x00\x00\x00\x00\x00\x0e\x10"),
	  { { 0x1000, 0x1010, RULE(STACK, 8, NOT, 0) }, { 0x1010, 0x1100, RULE(STACK, 16, NOT, 0) } } },
	{ "advance behind the end", BYTES("\x03\x00\x80\x0e\x10"), ALL(STACK, 8, NOT, 0) },
	{ "advance by so much that it wraps", BYTES("\x1d\xff\xff\xff\xff\xff\xff\xff\xff\x0e\x10"), ALL(STACK, 8, NOT, 0) },
	{ "CFA offset of more than 16 bits", BYTES("\x0e\xc0\x80\x04"), ALL(STACK, 65600, NOT, 0) },
	{ "CFA offset of 2^31 - 1", BYTES("\x0e\xff\xff\xff\xff\x07"), ALL(STACK, INT32_MAX, NOT, 0) },
	{ "CFA offset of 2^31", BYTES("\x0e\x80\x80\x80\x80\x08"), ALL(UNSUPPORTED, 0, NOT, 0) },
	{ "def_cfa_sf", BYTES("\x12\x06\x7d"), ALL(FRAME, 24, NOT, 0) },
	{ "def_cfa_offset_sf", BYTES("\x13\x7d"), ALL(STACK, 24, NOT, 0) },
	{ "def_cfa_sf below the stack pointer", BYTES("\x12\x07\x01"), ALL(STACK, -8, NOT, 0) },
	{ "CFA in r10 for a while", BYTES("\x0c\x0a\x00\x41\x0c\x07\x10"),
	  { { 0x1000, 0x1001, RULE(UNSUPPORTED, 0, NOT, 0) }, { 0x1001, 0x1100, RULE(STACK, 16, NOT, 0) } } },
	{ "CFA in r13, then the same in rsp", BYTES("\x0c\x0d\x20\x0d\x07"), ALL(STACK, 32, NOT, 0) },
	{ "realigned stack", BYTES("\x0f\x03\x76\x78\x06\x10\x06\x02\x76\x00"), ALL(FRAME_INDIRECT, -8, AT_FRAME, 0) },
	{ "realigned stack, larger numbers", BYTES("\x0f\x04\x76\x80\x7e\x06\x10\x06\x03\x76\x80\x01"),
	  ALL(FRAME_INDIRECT, -256, AT_FRAME, 16) },
	{ "procedure linkage table", BYTES("\x0e\x10\x46\x0e\x18\x4a\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x3b\x2a\x33\x24\x22"),
	  { { 0x1000, 0x1006, RULE(STACK, 16, NOT, 0) }, { 0x1006, 0x1010, RULE(STACK, 24, NOT, 0) },
	    { 0x1010, 0x1100, RULE(PLT, 11, NOT, 0) } } },
	{ "procedure linkage table with endbr64", BYTES("\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x3a\x2a\x33\x24\x22"),
	  ALL(PLT, 10, NOT, 0) },
	{ "nearly a procedure linkage table", BYTES("\x0f\x0b\x77\x10\x80\x00\x3f\x1a\x3b\x2a\x33\x24\x22"),
	  ALL(UNSUPPORTED, 0, NOT, 0) },
	{ "a threshold that is no literal", BYTES("\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x40\x2a\x33\x24\x22"),
	  ALL(UNSUPPORTED, 0, NOT, 0) },
	{ "another expression", BYTES("\x0f\x02\x77\x08"), ALL(UNSUPPORTED, 0, NOT, 0) },
	{ "an empty expression", BYTES("\x0f\x00"), ALL(UNSUPPORTED, 0, NOT, 0) },
	{ "an expression that ends in its number", BYTES("\x0f\x02\x76\x80"), ALL(UNSUPPORTED, 0, NOT, 0) },
	{ "an offset where an expression was", BYTES("\x0f\x03\x76\x78\x06\x0e\x10"), ALL(UNSUPPORTED, 0, NOT, 0) },
	{ "a register where an expression was", BYTES("\x0f\x03\x76\x78\x06\x0d\x06"), ALL(UNSUPPORTED, 0, NOT, 0) },
	{ "remember and restore", BYTES("\x41\x0e\x10\x86\x02\x0a\x41\x0c\x07\x08\xc6\x41\x0b"),
	  { { 0x1000, 0x1001, RULE(STACK, 8, NOT, 0) }, { 0x1001, 0x1002, RULE(STACK, 16, AT_CFA, -2) },
	    { 0x1002, 0x1003, RULE(STACK, 8, NOT, 0) }, { 0x1003, 0x1100, RULE(STACK, 16, AT_CFA, -2) } } },
	{ "remember twice", BYTES("\x0a\x0e\x10\x0a\x0e\x18\x41\x0b\x41\x0b"),
	  { { 0x1000, 0x1001, RULE(STACK, 24, NOT, 0) }, { 0x1001, 0x1002, RULE(STACK, 16, NOT, 0) },
	    { 0x1002, 0x1100, RULE(STACK, 8, NOT, 0) } } },
	{ "offset_extended, restore_extended", BYTES("\x05\x06\x03\x41\x06\x06"),
	  { { 0x1000, 0x1001, RULE(STACK, 8, AT_CFA, -3) }, { 0x1001, 0x1100, RULE(STACK, 8, NOT, 0) } } },
	{ "offset_extended_sf", BYTES("\x11\x06\x7d"), ALL(STACK, 8, AT_CFA, 3) },
	{ "GNU_negative_offset_extended", BYTES("\x2f\x06\x03"), ALL(STACK, 8, AT_CFA, 3) },
	{ "undefined, same_value", BYTES("\x07\x06\x41\x08\x06"),
	  { { 0x1000, 0x1001, RULE(STACK, 8, UNKNOWN, 0) }, { 0x1001, 0x1100, RULE(STACK, 8, NOT, 0) } } },
	{ "rbp in rax", BYTES("\x09\x06\x00"), ALL(STACK, 8, UNKNOWN, 0) },
	{ "rbp is a value", BYTES("\x14\x06\x02\x41\x15\x06\x02\x41\x16\x06\x02\x76\x00"),
	  ALL(STACK, 8, UNKNOWN, 0) },
	{ "rbp by another expression", BYTES("\x10\x06\x02\x77\x08"), ALL(STACK, 8, UNKNOWN, 0) },
	{ "rbp at no word", BYTES("\x10\x06\x02\x76\x04"), ALL(STACK, 8, UNKNOWN, 0) },
	{ "rbp too far away", BYTES("\x86\x81\x80\x02"), ALL(STACK, 8, UNKNOWN, 0) },
	{ "rbp just not too far away", BYTES("\x86\x80\x80\x02"), ALL(STACK, 8, AT_CFA, INT16_MIN) },
	{ "other registers", BYTES("\x83\x02\x8c\x03\x05\x11\x01\x10\x03\x02\x76\x08\xc3\x06\x0f\x09\x00\x01\x07\x02\x16\x00\x01\x30"),
	  ALL(STACK, 8, NOT, 0) },
	{ "GNU_args_size", BYTES("\x2e\x10"), ALL(STACK, 8, NOT, 0) },
	{ "outermost frame", BYTES("\x41\x07\x10"),
	  { { 0x1000, 0x1001, RULE(STACK, 8, NOT, 0) }, { 0x1001, 0x1100, RULE(END, 0, NOT, 0) } } },
	{ "return address elsewhere", BYTES("\x90\x02\x41\x09\x10\x00\x41\x08\x10\x41\x10\x10\x02\x77\x00"),
	  ALL(UNSUPPORTED, 0, NOT, 0) },
	{ "return address restored", BYTES("\x90\x02\x41\xd0"),
	  { { 0x1000, 0x1001, RULE(UNSUPPORTED, 0, NOT, 0) }, { 0x1001, 0x1100, RULE(STACK, 8, NOT, 0) } } },
	{ "the caller's stack pointer elsewhere", BYTES("\x87\x02\x41\x14\x07\x00\x41\x14\x07\x01"),
	  { { 0x1000, 0x1001, RULE(UNSUPPORTED, 0, NOT, 0) }, { 0x1001, 0x1002, RULE(STACK, 8, NOT, 0) },
	    { 0x1002, 0x1100, RULE(UNSUPPORTED, 0, NOT, 0) } } },
	{ "an instruction nobody knows", BYTES("\x41\x3b\x41\x0e\x10"),
	  { { 0x1000, 0x1001, RULE(STACK, 8, NOT, 0) }, { 0x1001, 0x1100, RULE(UNSUPPORTED, 0, NOT, 0) } } },
};

/* Ranges that touch and have equal rules are one. */
static void expect_ranges(const char *what, const struct dt_rule_ranges *is, const struct dt_rule_range *expected)
{
	size_t count = 0;

	while (expected[count].end)
		count++;
	if (is->count != count || (count && memcmp(is->items, expected, count * sizeof(*expected)))) {
		for (size_t i = 0; i < is->count; i++)
			print_message("0x%zx 0x%zx: cfa %d %d rbp %d %d\n", (size_t)is->items[i].start, (size_t)is->items[i].end,
				      is->items[i].rule.cfa, is->items[i].rule.cfa_offset, is->items[i].rule.frame_pointer,
				      is->items[i].rule.frame_pointer_words);
		fail_msg("%s: these are not the %zu ranges that it has", what, count);
	}
}

static void test_each_instruction(void **state)
{
	static const uint64_t address = 0x1000;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(programs); i++) {
		struct made made = { .size = 0 };
		RANGES_OWNED ranges = { 0 };
		size_t cie = put_cie(&made, &plain);

		put_fde(&made, &plain, cie, &address, 8, programs[i].bytes, programs[i].size);
		assert_int_equal(read_made(&made, &plain, &ranges), 0);
		expect_ranges(programs[i].what, &ranges, programs[i].ranges);
	}
}

static void test_each_shape_of_an_entry(void **state)
{
	static const struct dt_rule_range expected[] = { { 0x1000, 0x1001, RULE(STACK, 8, NOT, 0) },
							 { 0x1001, 0x1100, RULE(STACK, 16, NOT, 0) }, { 0 } };
	static const struct dt_rule_range signal[] = { { 0x1000, 0x1100, RULE(SIGNAL, 0, NOT, 0) }, { 0 } };
	static const struct dt_rule_range none[] = { { 0 } };
	static const struct {
		struct shape shape;
		const struct dt_rule_range *expected;
	} cases[] = {
		{ { "zR", 1, DW_EH_PE_udata8, false, false }, expected },
		{ { "zR", 3, DW_EH_PE_udata8, false, false }, expected },
		{ { "zR", 4, DW_EH_PE_udata8, false, false }, expected },
		{ { "zR", 1, DW_EH_PE_udata8, false, true }, expected },
		{ { "", 1, DW_EH_PE_absptr, false, false }, expected },
		{ { "z", 1, DW_EH_PE_absptr, false, false }, expected },
		{ { "zPLR", 1, DW_EH_PE_udata8, false, false }, expected },
		{ { "zRB", 1, DW_EH_PE_udata8, false, false }, expected },
		{ { "zR?", 1, DW_EH_PE_udata8, false, false }, expected },
		{ { "zRS", 1, DW_EH_PE_udata8, false, false }, signal },
		{ { "zPLRS", 3, DW_EH_PE_udata8, false, true }, signal },
		{ { "", 1, DW_EH_PE_absptr, true, false }, expected },
		{ { "", 3, DW_EH_PE_absptr, true, false }, expected },
		{ { "", 4, DW_EH_PE_absptr, true, false }, expected },
		{ { "", 4, DW_EH_PE_absptr, true, true }, expected },
		{ { "eh", 1, DW_EH_PE_absptr, false, false }, none },
		{ { "R", 1, DW_EH_PE_udata8, false, false }, none },
		{ { "zR", 2, DW_EH_PE_udata8, false, false }, none },
		{ { "zR", 5, DW_EH_PE_udata8, false, false }, none },
	};
	static const uint64_t address = 0x1000;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct made made = { .size = 0 };
		RANGES_OWNED ranges = { 0 };
		size_t cie = put_cie(&made, &cases[i].shape);

		put_fde(&made, &cases[i].shape, cie, &address, 8, BYTES("\x41\x0e\x10"));
		assert_int_equal(read_made(&made, &cases[i].shape, &ranges), 0);
		expect_ranges(cases[i].shape.augmentation, &ranges, cases[i].expected);
	}
}

/* The section is at 0x5000, text at 0x600, data at 0x700; the address stands at 0x501e. */
static void test_each_encoding_of_an_address(void **state)
{
	static const struct dt_rule_range expected[] = { { 0x1000, 0x1100, RULE(STACK, 8, NOT, 0) }, { 0 } };
	static const struct dt_rule_range none[] = { { 0 } };
	static const struct {
		uint8_t encoding;
		const char *bytes;
		size_t size;
		bool understood;
	} cases[] = {
		{ DW_EH_PE_absptr, BYTES("\x00\x10\x00\x00\x00\x00\x00\x00"), true },
		{ DW_EH_PE_udata2, BYTES("\x00\x10"), true },
		{ DW_EH_PE_sdata2, BYTES("\x00\x10"), true },
		{ DW_EH_PE_udata4, BYTES("\x00\x10\x00\x00"), true },
		{ DW_EH_PE_sdata4, BYTES("\x00\x10\x00\x00"), true },
		{ DW_EH_PE_udata8, BYTES("\x00\x10\x00\x00\x00\x00\x00\x00"), true },
		{ DW_EH_PE_sdata8, BYTES("\x00\x10\x00\x00\x00\x00\x00\x00"), true },
		{ DW_EH_PE_uleb128, BYTES("\x80\x20"), true },
		{ DW_EH_PE_sleb128, BYTES("\x80\x20"), true },
		{ DW_EH_PE_pcrel | DW_EH_PE_sdata4, BYTES("\xe2\xbf\xff\xff"), true },
		{ DW_EH_PE_pcrel | DW_EH_PE_sdata2, BYTES("\xe2\xbf"), true },
		{ DW_EH_PE_pcrel | DW_EH_PE_sdata8, BYTES("\xe2\xbf\xff\xff\xff\xff\xff\xff"), true },
		{ DW_EH_PE_pcrel | DW_EH_PE_sleb128, BYTES("\xe2\xff\x7e"), true },
		{ DW_EH_PE_textrel | DW_EH_PE_udata4, BYTES("\x00\x0a\x00\x00"), true },
		{ DW_EH_PE_datarel | DW_EH_PE_udata4, BYTES("\x00\x09\x00\x00"), true },
		{ DW_EH_PE_funcrel | DW_EH_PE_udata4, BYTES("\x00\x10\x00\x00"), false },
		{ DW_EH_PE_aligned, BYTES("\x00\x10\x00\x00\x00\x00\x00\x00"), false },
		{ DW_EH_PE_indirect | DW_EH_PE_udata4, BYTES("\x00\x10\x00\x00"), false },
		{ 0x05, BYTES("\x00\x10\x00\x00"), false },
		{ DW_EH_PE_omit, BYTES("\x00\x10\x00\x00"), false },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct shape shape = { "zR", 1, cases[i].encoding, false, false };
		struct made made = { .size = 0 };
		RANGES_OWNED ranges = { 0 };
		size_t cie = put_cie(&made, &shape);

		assert_int_equal(made.size + 8, 0x1e);
		put_fde(&made, &shape, cie, cases[i].bytes, cases[i].size, BYTES(""));
		assert_int_equal(read_made(&made, &shape, &ranges), 0);
		expect_ranges("address", &ranges, cases[i].understood ? expected : none);
	}
}

/* Several CIEs, one behind its FDE, and what ends the frames of one object file in between. */
static void test_entries_in_any_order(void **state)
{
	static const struct shape debug = { "", 3, DW_EH_PE_absptr, true, false };
	static const uint64_t addresses[] = { 0x3000, 0x1000, 0x2000 };
	static const struct dt_rule_range eh[] = { { 0x3000, 0x3100, RULE(STACK, 8, NOT, 0) },
						   { 0x1000, 0x1100, RULE(SIGNAL, 0, NOT, 0) },
						   { 0x2000, 0x2100, RULE(STACK, 16, NOT, 0) }, { 0 } };
	static const struct dt_rule_range forward[] = { { 0x1000, 0x1100, RULE(STACK, 8, NOT, 0) }, { 0 } };
	struct shape signal = plain;
	struct made made = { .size = 0 }, late = { .size = 0 };
	RANGES_OWNED ranges = { 0 };
	RANGES_OWNED late_ranges = { 0 };
	size_t first = put_cie(&made, &plain), second;

	(void)state;
	signal.augmentation = "zRS";
	put_fde(&made, &plain, first, &addresses[0], 8, BYTES(""));
	put_number(&made, 0, 4);
	second = put_cie(&made, &signal);
	put_fde(&made, &signal, second, &addresses[1], 8, BYTES(""));
	put_fde(&made, &plain, first, &addresses[2], 8, BYTES("\x0e\x10"));
	put_number(&made, 0, 4);
	assert_int_equal(read_made(&made, &plain, &ranges), 0);
	expect_ranges("in any order", &ranges, eh);
	/* 4 + 4 + 8 + 8: where the CIE will stand. */
	put_fde(&late, &debug, 24, &addresses[1], 8, BYTES(""));
	assert_int_equal(put_cie(&late, &debug), 24);
	assert_int_equal(read_made(&late, &debug, &late_ranges), 0);
	expect_ranges("a CIE behind", &late_ranges, forward);
}

/* ---- damage -------------------------------------------------------------------------------------------------- */

static int stop(void *context, uint64_t start, uint64_t end, const struct dt_unwind_rule *rule)
{
	(void)start, (void)end, (void)rule;
	return ++*(int *)context == 2 ? 42 : 0;
}

static void test_the_callback_stops_it(void **state)
{
	static const uint64_t address = 0x1000;
	struct made made = { .size = 0 };
	size_t cie = put_cie(&made, &plain);
	struct dt_eh_frame frame = { .bytes = made.bytes };
	int calls = 0;

	(void)state;
	put_fde(&made, &plain, cie, &address, 8, BYTES("\x41\x0e\x10\x41\x0e\x18\x41\x0e\x20"));
	frame.size = made.size;
	assert_int_equal(dt_eh_frame_each(&frame, stop, &calls), 42);
	assert_int_equal(calls, 2);
}

static void test_damaged_programs_are_told(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} cases[] = {
		{ BYTES("\x0e") }, { BYTES("\x0e\x80") }, { BYTES("\x02") }, { BYTES("\x04\x01\x02\x03") }, { BYTES("\x0b") },
		{ BYTES("\x0a\x0b\x0b") }, { BYTES("\x0f\x05\x76") }, { BYTES("\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") },
		{ BYTES("\x10\x06\x7f") }, { BYTES("\x86") }, { BYTES("\x09\x06") },
		{ BYTES("\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a") },
	};
	static const uint64_t address = 0x1000;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct made made = { .size = 0 };
		RANGES_OWNED ranges = { 0 };
		size_t cie = put_cie(&made, &plain);

		put_fde(&made, &plain, cie, &address, 8, BYTES(""));
		put_fde(&made, &plain, cie, &address, 8, cases[i].bytes, cases[i].size);
		assert_int_equal(read_made(&made, &plain, &ranges), -EBADMSG);
		expect_ranges("before the damage", &ranges, programs[0].ranges);
	}
}

static void test_an_fde_without_its_cie_is_damage(void **state)
{
	static const uint64_t address = 0x1000, end = UINT64_MAX - 0x10;
	struct made made = { .size = 0 };
	RANGES_OWNED ranges = { 0 };
	size_t cie = put_cie(&made, &plain), whole;

	(void)state;
	put_fde(&made, &plain, cie, &address, 8, BYTES(""));
	whole = made.size;
	put_fde(&made, &plain, whole, &address, 8, BYTES(""));
	assert_int_equal(read_made(&made, &plain, &ranges), -EBADMSG);
	made.size = whole;
	put_fde(&made, &plain, cie + 4, &address, 8, BYTES(""));
	assert_int_equal(read_made(&made, &plain, &ranges), -EBADMSG);
	made.size = whole;
	put_fde(&made, &plain, cie, &end, 8, BYTES(""));
	assert_int_equal(read_made(&made, &plain, &ranges), -EBADMSG);
	assert_int_equal(ranges.count, 3);
}

static void read_whole(struct made *made, const char *path, uint64_t *ret_vaddr)
{
	struct dt_elf *elf;
	const uint8_t *bytes;
	size_t size;

	assert_int_equal(dt_elf_open(open(path, O_RDONLY | O_CLOEXEC), &elf), 0);
	assert_int_equal(dt_elf_section(elf, ".eh_frame", &bytes, &size, ret_vaddr), 0);
	put(made, bytes, size < sizeof(made->bytes) ? size : sizeof(made->bytes));
	dt_elf_close(elf);
}

/* However long the section is, what is told of it is what is told of the whole one. */
static void test_no_beginning_of_a_section_tells_anything_else(void **state)
{
	struct made made = { .size = 0 };
	RANGES_OWNED whole = { 0 };
	uint64_t vaddr;

	(void)state;
	read_whole(&made, "/proc/self/exe", &vaddr);
	read_made(&made, &plain, &whole);
	assert_true(whole.count > 10);
	for (; made.size; made.size--) {
		RANGES_OWNED ranges = { 0 };
		int result = read_made(&made, &plain, &ranges);

		assert_true(result == 0 || result == -EBADMSG);
		assert_true(ranges.count <= whole.count);
		if (ranges.count)
			assert_memory_equal(ranges.items, whole.items, ranges.count * sizeof(*ranges.items));
	}
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	return *seed ^= *seed << 17;
}

static void test_damaged_sections_do_no_harm(void **state)
{
	static const uint8_t odd[] = { 0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x0b, 0x0f, 0x10, 0x1d };
	struct made made = { .size = 0 };
	uint64_t vaddr, seed = 88172645463325252u;
	size_t whole = 0;

	(void)state;
	read_whole(&made, "/lib64/ld-linux-x86-64.so.2", &vaddr);
	for (int round = 0; round < 20000; round++) {
		struct made copy = made;
		RANGES_OWNED ranges = { 0 };
		struct shape shape = plain;
		int result;

		shape.debug = round & 1;
		for (uint64_t k = next_random(&seed) % 4 + 1; k; k--)
			copy.bytes[next_random(&seed) % copy.size] = odd[next_random(&seed) % DT_ARRAY_SIZE(odd)];
		result = read_made(&copy, &shape, &ranges);
		assert_true(result == 0 || result == -EBADMSG);
		assert_int_equal(dt_rule_ranges_sort(&ranges), 0);
		whole += ranges.count;
		for (size_t i = 1; i < ranges.count; i++)
			assert_true(ranges.items[i - 1].end <= ranges.items[i].start);
	}
	assert_true(whole > 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_are_those_of_libdw),
		cmocka_unit_test(test_rules_of_the_vdso_are_those_of_libdw),
		cmocka_unit_test(test_each_instruction),
		cmocka_unit_test(test_each_shape_of_an_entry),
		cmocka_unit_test(test_each_encoding_of_an_address),
		cmocka_unit_test(test_entries_in_any_order),
		cmocka_unit_test(test_the_callback_stops_it),
		cmocka_unit_test(test_damaged_programs_are_told),
		cmocka_unit_test(test_an_fde_without_its_cie_is_damage),
		cmocka_unit_test(test_no_beginning_of_a_section_tells_anything_else),
		cmocka_unit_test(test_damaged_sections_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
