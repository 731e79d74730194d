/* SPDX-License-Identifier: BSD-2-Clause */
/* Markers: functions that the user names, and what of them and of DT_SNAPSHOT a file has: this program itself. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <domtrace/domain.h>
#include <linux/types.h>
#include <domtrace/wire.h>

#include "open_elf.h"
#include "session/markers.h"
#include "target/probe_site.h"

static char own_path[PATH_MAX], own_directory[PATH_MAX];

static __attribute__((noipa)) void marked_function(void)
{
	DT_SNAPSHOT("marked");
}

static __attribute__((noipa)) void other_function(void)
{
	__asm__ volatile("");
}

static void keep(void *context, enum dt_log_level level, const char *line)
{
	(void)level;
	strcpy(context, line);
}

static void test_texts(void **state)
{
	static const struct {
		const char *text, *file, *symbol;
	} cases[] = {
		{ "libfoo.so:foo", "libfoo.so", "foo" },
		{ "libfoo.so!foo", "libfoo.so", "foo" },
		{ "lib!foo.so.1!foo$1", "lib!foo.so.1", "foo$1" },
		{ "/no/such/a:b/libfoo.so:_ZN1aC2Ev", "/no/such/a:b/libfoo.so", "_ZN1aC2Ev" },
		{ "/no/such:a!b", "/no/such:a", "b" },
	};
	struct dt_markers markers;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *const texts[] = { cases[i].text, NULL };

		assert_int_equal(dt_markers_parse(texts, NULL, &markers), 0);
		assert_int_equal(markers.count, 1);
		assert_string_equal(markers.list[0].file, cases[i].file);
		assert_string_equal(markers.list[0].symbol, cases[i].symbol);
		dt_markers_clear(&markers);
	}
	assert_int_equal(dt_markers_parse(NULL, NULL, &markers), 0);
	assert_int_equal(markers.count, 0);
	dt_markers_clear(&markers);
}

static void test_no_function(void **state)
{
	static const char *const texts[] = { "libfoo.so", "libfoo.so:", "!foo", ":foo", "" };
	char said[512], want[512];
	const struct dt_log log = { keep, said };
	struct dt_markers markers;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(dt_markers_parse((const char *const[]){ texts[i], NULL }, &log, &markers), -EINVAL);
		snprintf(want, sizeof(want), "'%s' names no function of a file: it is FILE:SYMBOL or MODULE!SYMBOL", texts[i]);
		assert_string_equal(said, want);
	}
}

/* A path is followed, and what the file has not is refused at once; a data object is no function. */
static void test_paths(void **state)
{
	static const char *const missing[] = { "no_such_function", "own_path" };
	char text[2 * PATH_MAX + 64], said[2 * PATH_MAX];
	const struct dt_log log = { keep, said };
	struct dt_markers markers;

	(void)state;
	snprintf(text, sizeof(text), "%s/../%s/%s:marked_function", own_directory, strrchr(own_directory, '/') + 1, strrchr(own_path, '/') + 1);
	assert_int_equal(dt_markers_parse((const char *const[]){ text, NULL }, NULL, &markers), 0);
	assert_string_equal(markers.list[0].file, own_path);
	dt_markers_clear(&markers);
	for (size_t i = 0; i < 2; i++) {
		snprintf(text, sizeof(text), "%s:%s", own_path, missing[i]);
		assert_int_equal(dt_markers_parse((const char *const[]){ text, NULL }, &log, &markers), -ENOENT);
		assert_non_null(strstr(said, " has no function '"));
		assert_non_null(strstr(said, missing[i]));
	}
}

static uint64_t offset_of(const struct dt_elf *elf, const char *function)
{
	struct dt_elf_symbol symbol;
	struct dt_probe_site place;
	uint64_t offset;

	assert_int_equal(dt_elf_find_symbol(elf, function, &symbol), 0);
	assert_int_equal(dt_probe_site_find(elf, symbol.vaddr, &place), 0);
	assert_int_equal(dt_elf_vaddr_to_offset(elf, place.vaddr, &offset), 0);
	return offset;
}

static void plan(const struct dt_markers *markers, struct dt_elf *elf, const char *path, const struct dt_log *log,
		 struct dt_marker_place **ret_places, size_t *ret_count)
{
	struct dt_notes notes;

	assert_int_equal(dt_notes_read(elf, &notes), 0);
	assert_int_equal(dt_markers_plan(markers, elf, &notes, path, log, ret_places, ret_count), 0);
	dt_notes_clear(&notes);
}

/* Those that the file declares come first; of one place the first name counts. */
static void test_plan(void **state)
{
	ELF_OWNED elf = open_elf(own_path);
	static const char *const texts[] = { "test_markers!marked_function", "test_m*:marked_function", "other:other_function",
					     "test_markers:other_function", "test_markers:gone", NULL };
	char said[2 * PATH_MAX] = "";
	const struct dt_log log = { keep, said };
	DT_FREE struct dt_marker_place *places = NULL;
	struct dt_markers markers;
	size_t count;

	(void)state;
	assert_int_equal(dt_markers_parse(texts, NULL, &markers), 0);
	plan(&markers, elf, own_path, &log, &places, &count);
	assert_int_equal(count, 3);
	assert_int_equal(places[0].cookie, DT_MARKER_DECLARED);
	assert_int_equal(places[1].cookie, 1);
	assert_int_equal(places[1].offset, offset_of(elf, "marked_function"));
	assert_int_equal(places[2].cookie, 4);
	assert_int_equal(places[2].offset, offset_of(elf, "other_function"));
	assert_non_null(strstr(said, "has no function 'gone'"));
	for (size_t i = 0; i < markers.count; i++)
		assert_int_equal(markers.list[i].matched, i != 2);
	dt_markers_clear(&markers);
}

/* Without names only what the file declares; a file that declares nothing has no places. */
static void test_declared(void **state)
{
	ELF_OWNED own = open_elf(own_path);
	ELF_OWNED other = open_elf("/bin/sh");
	DT_FREE struct dt_marker_place *places = NULL;
	struct dt_markers markers = { 0 };
	size_t count;

	(void)state;
	plan(&markers, other, "/bin/sh", NULL, &places, &count);
	assert_int_equal(count, 0);
	assert_null(places);
	plan(&markers, own, own_path, NULL, &places, &count);
	assert_int_equal(count, 1);
	assert_int_equal(places[0].cookie, DT_MARKER_DECLARED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_no_function),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_declared),
	};

	if (!realpath("/proc/self/exe", own_path))
		return 1;
	strcpy(own_directory, own_path);
	*strrchr(own_directory, '/') = '\0';
	marked_function();
	other_function();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
