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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_are_those_of_libdw),
		cmocka_unit_test(test_rules_of_the_vdso_are_those_of_libdw),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
