/* SPDX-License-Identifier: BSD-2-Clause */
/* Notes of <domtrace/domain.h>: those of this program itself, as the compiler made them; then forged ones. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <domtrace/domain.h>

#include "base/cleanup.h"
#include "forged_elf.h"
#include "open_elf.h"
#include "target/notes.h"

enum { OWN = 4000000000u };

DT_DOMAIN_DECLARE(7, "seven");
DT_DOMAIN_DECLARE(OWN, "sixty-three bytes of a name, which is as long as they may be...");
DT_DOMAIN_DECLARE(7, "\xff\n");

static void clear(struct dt_notes *notes)
{
	dt_notes_clear(notes);
}

#define NOTES_OWNED DT_CLEANUP(clear) struct dt_notes

/* ---- this program ------------------------------------------------------------------------------------------------ */

static __attribute__((noinline)) void use_all(void *pointer)
{
	DT_DOMAIN_TRACK(OWN, pointer, 16);
	DT_DOMAIN_NAME(8, "eight");
	DT_SNAPSHOT("here");
	DT_DOMAIN_UNTRACK(OWN, pointer);
}

static void test_own(void **state)
{
	ELF_OWNED elf = open_elf("/proc/self/exe");
	struct dt_elf_symbol symbol;
	NOTES_OWNED notes = { 0 };

	(void)state;
	use_all(state);
	assert_int_equal(dt_notes_read(elf, &notes), 0);
	assert_int_equal(notes.refused, 0);
	assert_int_equal(notes.probe_count, DT_NOTE_KINDS);
	assert_int_equal(dt_elf_find_symbol(elf, "use_all", &symbol), 0);
	for (size_t i = 0; i < notes.probe_count; i++) {
		assert_int_equal(notes.probes[i].kind, i);
		assert_in_range(notes.probes[i].vaddr, symbol.vaddr, symbol.vaddr + symbol.size - 1);
	}
	assert_int_equal(notes.name_count, 3);
}

/* Compilers may turn the order of variables round. */
static void test_own_names(void **state)
{
	static const struct dt_note_name want[] = {
		{ 7, "seven" }, { OWN, "sixty-three bytes of a name, which is as long as they may be..." }, { 7, "\xff\n" },
	};
	ELF_OWNED elf = open_elf("/proc/self/exe");
	NOTES_OWNED notes = { 0 };

	(void)state;
	assert_int_equal(dt_notes_read(elf, &notes), 0);
	assert_int_equal(notes.name_count, DT_ARRAY_SIZE(want));
	for (size_t i = 0, found = 0; i < DT_ARRAY_SIZE(want); i++, found = 0) {
		for (size_t k = 0; k < notes.name_count; k++)
			found += notes.names[k].domain == want[i].domain && !strcmp(notes.names[k].name, want[i].name);
		assert_int_equal(found, 1);
	}
}

static void test_without(void **state)
{
	ELF_OWNED elf = open_elf("/bin/true");
	NOTES_OWNED notes = { 0 };

	(void)state;
	assert_int_equal(dt_notes_read(elf, &notes), 0);
	assert_int_equal(notes.probe_count + notes.name_count + notes.refused, 0);
}

/* ---- forged ------------------------------------------------------------------------------------------------------ */

struct notes_text {
	uint8_t bytes[8192];
	size_t size;
};

static void put(struct notes_text *text, const void *data, size_t size)
{
	memcpy(text->bytes + text->size, data, size);
	text->size += size;
}

static void put_note(struct notes_text *text, const char *owner, uint32_t type, const void *described, size_t size)
{
	uint32_t words[3] = { (uint32_t)strlen(owner) + 1, (uint32_t)size, type };

	put(text, words, sizeof(words));
	put(text, owner, words[0]);
	text->size = (text->size + 3) / 4 * 4;
	put(text, described, size);
	text->size = (text->size + 3) / 4 * 4;
}

static void put_probe(struct notes_text *text, const char *provider, const char *name, const char *operands, const uint64_t words[3])
{
	struct notes_text described = { .size = 0 };

	put(&described, words, 24);
	put(&described, provider, strlen(provider) + 1);
	put(&described, name, strlen(name) + 1);
	if (operands)
		put(&described, operands, strlen(operands) + 1);
	put_note(text, "stapsdt", 3, described.bytes, described.size);
}

static void read_forged(struct forged *forged, const struct notes_text *text, struct dt_notes *ret_notes)
{
	ELF_OWNED elf = NULL;

	forged_section(forged, ".note.any", SHT_NOTE, forged_put(forged, text->bytes, text->size), text->size);
	elf = forged_open(forged);
	assert_non_null(elf);
	assert_int_equal(dt_notes_read(elf, ret_notes), 0);
}

/* A probe, one byte of code, and what comes of it: NULL: it is taken; "": it is passed over. */
static void expect_probe(const char *provider, const char *name, const char *operands, const char *code, uint64_t semaphore, const char *why)
{
	DT_FREE struct forged *forged = malloc(sizeof(*forged));
	struct notes_text text = { .size = 0 };
	NOTES_OWNED notes = { 0 };
	uint64_t vaddr;

	forged_init(forged);
	vaddr = forged_function(forged, "f", code, NULL);
	put_probe(&text, provider, name, operands, (const uint64_t[]){ vaddr, 0, semaphore });
	put_note(&text, "domtrace", 1, "\1\0\0\0one", 8);
	read_forged(forged, &text, &notes);
	assert_int_equal(notes.name_count, 1);
	assert_string_equal(notes.names[0].name, "one");
	assert_int_equal(notes.probe_count, !why);
	if (!why)
		assert_int_equal(notes.probes[0].vaddr, vaddr);
	assert_int_equal(notes.refused, why && *why);
	if (why && *why)
		assert_string_equal(notes.why, why);
}

static void test_probes(void **state)
{
	static const char operands[] = "its operands are not those of domain.h", nop[] = "its instruction is not the nop of one byte";

	(void)state;
	expect_probe("domtrace", "track", "4@%edi 8@%rsi 8@%rdx", "90", 0, NULL);
	expect_probe("domtrace", "untrack", "4@%edi 8@%rsi", "90", 0, NULL);
	expect_probe("domtrace", "name", "4@%edi 8@%rsi", "90", 0, NULL);
	expect_probe("domtrace", "snapshot", "8@%rdi", "90", 0, NULL);
	expect_probe("libc", "track", "4@%edi 8@%rsi 8@%rdx", "90", 0, "");
	expect_probe("domtrace2", "track", "4@%edi 8@%rsi 8@%rdx", "90", 0, "");
	expect_probe("domtrace", "track", "4@%edi 8@%rsi", "90", 0, operands);
	expect_probe("domtrace", "track", "-4@%edi 8@%rsi 8@%rdx", "90", 0, operands);
	expect_probe("domtrace", "track", "4@$7 8@-8(%rbp) 8@%rax", "90", 0, operands);
	expect_probe("domtrace", "track", "", "90", 0, operands);
	expect_probe("domtrace", "track", NULL, "90", 0, operands);
	expect_probe("domtrace", "track", "4@%edi 8@%rsi 8@%rdx", "90", FORGED_VADDR, operands);
	expect_probe("domtrace", "retrack", "4@%edi 8@%rsi 8@%rdx", "90", 0, "it is none of track, untrack, name and snapshot");
	expect_probe("domtrace", "track", "4@%edi 8@%rsi 8@%rdx", "0f1f440000", 0, nop);
	expect_probe("domtrace", "track", "4@%edi 8@%rsi 8@%rdx", "6690", 0, nop);
	expect_probe("domtrace", "track", "4@%edi 8@%rsi 8@%rdx", "cc", 0, nop);
}

/* The file was moved by 0x1000 after it was linked; the same note twice; one outside the code; one whose code was thrown away. */
static void test_places(void **state)
{
	DT_FREE struct forged *forged = malloc(sizeof(*forged));
	struct notes_text text = { .size = 0 };
	NOTES_OWNED notes = { 0 };
	uint64_t code, base;

	(void)state;
	forged_init(forged);
	code = forged_function(forged, "f", "90 90", NULL);
	base = forged_put(forged, NULL, 1);
	forged_section(forged, ".stapsdt.base", SHT_PROGBITS, base, 1);
	put_probe(&text, "domtrace", "snapshot", "8@%rdi", (const uint64_t[]){ code + 1 - 0x1000, base - 0x1000, 0 });
	put_probe(&text, "domtrace", "snapshot", "8@%rdi", (const uint64_t[]){ code - 0x1000, base - 0x1000, 0 });
	put_probe(&text, "domtrace", "snapshot", "8@%rdi", (const uint64_t[]){ code, base, 0 });
	put_probe(&text, "domtrace", "snapshot", "8@%rdi", (const uint64_t[]){ 0, base - 0x1000, 0 });
	put_probe(&text, "domtrace", "snapshot", "8@%rdi", (const uint64_t[]){ 0x77, base, 0 });
	put_probe(&text, "domtrace", "snapshot", "8@%rdi", (const uint64_t[]){ UINT64_MAX, 1, 0 });
	read_forged(forged, &text, &notes);
	assert_int_equal(notes.probe_count, 2);
	assert_int_equal(notes.probes[0].vaddr, code);
	assert_int_equal(notes.probes[1].vaddr, code + 1);
	assert_int_equal(notes.refused, 2);
}

static void test_names(void **state)
{
	DT_FREE struct forged *forged = malloc(sizeof(*forged));
	struct notes_text text = { .size = 0 };
	NOTES_OWNED notes = { 0 };
	char longest[200];

	(void)state;
	forged_init(forged);
	memset(longest, 'x', sizeof(longest));
	put_note(&text, "domtrace", 1, "\1\0\0\0", 4);                  /* no name */
	put_note(&text, "domtrace", 1, "\1\0\0\0\0x", 6);               /* an empty one */
	put_note(&text, "domtrace", 1, "\1\0\0", 3);                    /* not even a domain */
	put_note(&text, "domtrace", 2, "\1\0\0\0two", 8);               /* of another type */
	put_note(&text, "Domtrace", 1, "\1\0\0\0two", 8);               /* of somebody else */
	put_note(&text, "domtrace", 1, "\3\0\0\0end", 7);               /* without its NUL */
	put_note(&text, "domtrace", 1, longest, sizeof(longest));       /* too long */
	read_forged(forged, &text, &notes);
	assert_int_equal(notes.refused, 3);
	assert_int_equal(notes.name_count, 2);
	assert_int_equal(notes.names[0].domain, 3);
	assert_string_equal(notes.names[0].name, "end");
	assert_int_equal(notes.names[1].domain, 0x78787878);
	assert_int_equal(strlen(notes.names[1].name), DT_NOTE_NAME_SIZE - 1);
}

/* Whatever the sizes of a note say, nothing behind it is read; what stands before it counts. */
static void test_damage(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 4, 8, 9, 11, 12, 13, 1000, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff };

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(sizes); i++)
		for (size_t field = 0; field < 2; field++) {
			DT_FREE struct forged *forged = malloc(sizeof(*forged));
			struct notes_text text = { .size = 0 };
			NOTES_OWNED notes = { 0 };
			size_t at;

			forged_init(forged);
			put_note(&text, "domtrace", 1, "\1\0\0\0one", 8);
			at = text.size;
			put_note(&text, "domtrace", 1, "\2\0\0\0two", 8);
			memcpy(text.bytes + at + 4 * field, &sizes[i], 4);
			read_forged(forged, &text, &notes);
			assert_in_range(notes.name_count, 1, 2);
			assert_string_equal(notes.names[0].name, "one");
		}
}

/* Cut off anywhere. */
static void test_cut(void **state)
{
	struct notes_text text = { .size = 0 };
	size_t whole = 0;

	(void)state;
	put_note(&text, "domtrace", 1, "\2\0\0\0two", 8);
	put_probe(&text, "domtrace", "snapshot", "8@%rdi", (const uint64_t[]){ FORGED_VADDR + 0x80, 0, 0 });
	for (size_t size = 0; size <= text.size; size++) {
		DT_FREE struct forged *forged = malloc(sizeof(*forged));
		struct notes_text cut = text;
		NOTES_OWNED notes = { 0 };

		forged_init(forged);
		forged_function(forged, "f", "90", NULL);
		cut.size = size;
		read_forged(forged, &cut, &notes);
		whole += notes.name_count;
		assert_true(notes.probe_count + notes.refused <= 1);
	}
	assert_true(whole);
}

static void test_too_many(void **state)
{
	DT_FREE struct forged *forged = malloc(sizeof(*forged));
	struct notes_text text = { .size = 0 };
	NOTES_OWNED notes = { 0 };

	(void)state;
	forged_init(forged);
	while (text.size + 32 <= sizeof(text.bytes))
		put_note(&text, "domtrace", 1, "\2\0\0\0two", 8);
	for (size_t i = 0; i < 8; i++)  /* the same again and again */
		forged_section(forged, ".note.again", SHT_NOTE, forged_put(forged, text.bytes, text.size), text.size);
	read_forged(forged, &text, &notes);
	assert_int_equal(notes.name_count, DT_NOTE_NAMES_MAX);
	assert_int_equal(notes.refused, 9 * (sizeof(text.bytes) / 32) - DT_NOTE_NAMES_MAX);
	assert_string_equal(notes.why, "they are too many");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own), cmocka_unit_test(test_own_names), cmocka_unit_test(test_without), cmocka_unit_test(test_probes),
		cmocka_unit_test(test_places), cmocka_unit_test(test_names), cmocka_unit_test(test_damage), cmocka_unit_test(test_cut),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
