/* SPDX-License-Identifier: BSD-2-Clause */
/* Sites: what libc and CPython define of sites.def, each function once, each on an instruction of its own file. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "session/sites.h"

#define LIBC "/lib/x86_64-linux-gnu/libc.so.6"
#define PYTHON "/usr/bin/python3.11"
#define JEMALLOC "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
#define MIMALLOC "/usr/lib/x86_64-linux-gnu/libmimalloc.so.2"

/* For --allocator. */
static __attribute__((noipa)) void *named_malloc(size_t bytes)
{
	return bytes > 1 ? (void *)bytes : NULL;
}

struct planned {
	struct dt_elf *elf;
	int fd;
	struct dt_site_plan *plans;
	size_t count;
};

static void clear_planned(struct planned *planned)
{
	free(planned->plans);
	dt_elf_close(planned->elf);
	dt_cleanup_fd(&planned->fd);
}

static void plan(const char *path, bool cheap, struct planned *planned)
{
	planned->fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(planned->fd >= 0);
	assert_int_equal(dt_elf_open(dup(planned->fd), &planned->elf), 0);
	assert_int_equal(dt_sites_plan(planned->elf, &(struct dt_site_search){ path, cheap, NULL, NULL }, &planned->plans, &planned->count), 0);
}

#define PLANNED DT_CLEANUP(clear_planned) struct planned

static const struct dt_site_plan *find_plan(const struct planned *planned, const char *name)
{
	const struct dt_site_plan *found = NULL;

	for (size_t i = 0; i < planned->count; i++)
		for (size_t j = 0; j < planned->plans[i].name_count; j++)
			if (!strcmp(planned->plans[i].names[j], name)) {
				assert_null(found);
				found = &planned->plans[i];
			}
	return found;
}

/* These functions of this source are there and no others, each once. */
static void expect_sites(const struct planned *planned, enum dt_source source, const char *const *names, size_t count)
{
	size_t got = 0;

	for (size_t i = 0; i < count; i++)
		got += find_plan(planned, names[i]) != NULL;
	assert_int_equal(got, count);
	got = 0;
	for (size_t i = 0; i < planned->count; i++)
		if (dt_site_info(planned->plans[i].site)->source == source)
			got += planned->plans[i].name_count;
	assert_int_equal(got, count);
}

static void expect_places(const struct planned *planned, bool cheap)
{
	for (size_t i = 0; i < planned->count; i++) {
		const struct dt_site_plan *site = &planned->plans[i];
		struct dt_elf_symbol symbol;
		uint8_t bytes[16];

		assert_int_equal(dt_elf_find_symbol(planned->elf, dt_site_info(site->site)->symbol, &symbol), 0);
		assert_int_equal(site->entry_vaddr, symbol.vaddr);
		assert_int_equal(site->place.vaddr, site->entry_vaddr + site->place.distance);
		assert_true(site->place.distance < symbol.size);
		if (!cheap)
			assert_int_equal(site->place.distance, 0);
		else
			assert_int_equal(dt_file_read_at(planned->fd, bytes, site->place.size, site->offset), 0);
		if (cheap)
			assert_memory_equal(bytes, site->place.bytes, site->place.size);
		assert_non_null(site->place.reason);
	}
}

static void test_infos(void **state)
{
	(void)state;
	assert_string_equal(dt_site_info(DT_SITE_malloc)->symbol, "malloc");
	assert_int_equal(dt_site_info(DT_SITE_malloc)->shape, DT_SHAPE_ALLOC);
	assert_string_equal(dt_site_info(DT_SITE_PyTraceMalloc_Untrack)->symbol, "PyTraceMalloc_Untrack");
	assert_int_equal(dt_site_info(DT_SITE_PyTraceMalloc_Untrack)->source, DT_SOURCE_TRACEMALLOC);
	assert_int_equal(dt_site_info(DT_SITE_PyTraceMalloc_Untrack)->shape, DT_SHAPE_UNTRACK);
}

/* cfree, which glibc keeps for programs linked before 2.26, is another name of free. */
static void test_libc(void **state)
{
	static const char *const libc[] = {
		"malloc", "calloc", "realloc", "reallocarray", "posix_memalign", "aligned_alloc", "memalign", "valloc", "pvalloc", "free", "cfree",
		"vfork",
	};

	(void)state;
	for (int cheap = 0; cheap < 2; cheap++) {
		PLANNED planned = { .fd = -1 };

		plan(LIBC, cheap, &planned);
		expect_sites(&planned, DT_SOURCE_LIBC, libc, DT_ARRAY_SIZE(libc));
		assert_ptr_equal(find_plan(&planned, "cfree"), find_plan(&planned, "free"));
		assert_int_equal(find_plan(&planned, "cfree")->site, DT_SITE_free);
		expect_places(&planned, cheap);
	}
}

static void test_python(void **state)
{
	(void)state;
	if (access(PYTHON, R_OK)) {
		print_message("skipped: there is no " PYTHON "\n");
		skip();
	}
	for (int cheap = 0; cheap < 2; cheap++) {
		PLANNED planned = { .fd = -1 };

		plan(PYTHON, cheap, &planned);
		expect_sites(&planned, DT_SOURCE_TRACEMALLOC, (const char *[]){ "PyTraceMalloc_Track", "PyTraceMalloc_Untrack" }, 2);
		expect_places(&planned, cheap);
	}
}

/* The entry is the entry, the cheap place is as near as its finder says. */
static void test_cheap_places_are_those_of_the_finder(void **state)
{
	PLANNED planned = { .fd = -1 };

	(void)state;
	plan(LIBC, true, &planned);
	for (size_t i = 0; i < planned.count; i++) {
		struct dt_probe_site place;

		assert_int_equal(dt_probe_site_find(planned.elf, planned.plans[i].entry_vaddr, &place), 0);
		assert_int_equal(place.vaddr, planned.plans[i].place.vaddr);
		assert_int_equal(place.emulated, planned.plans[i].place.emulated);
	}
}

/* Operators that end in another function of the file are left to that one; of names of one function the C library's comes first. */
static void test_allocators(void **state)
{
	PLANNED jemalloc = { .fd = -1 }, mimalloc = { .fd = -1 };
	const struct dt_site_plan *new;

	(void)state;
	if (access(JEMALLOC, R_OK) || access(MIMALLOC, R_OK)) {
		print_message("skipped: there is no " JEMALLOC " or no " MIMALLOC "\n");
		skip();
	}
	plan(JEMALLOC, true, &jemalloc);
	new = find_plan(&jemalloc, "_Znwm");
	assert_non_null(new);
	assert_int_equal(dt_site_info(new->site)->shape, DT_SHAPE_NEW);
	assert_true(new->end_count);
	assert_non_null(find_plan(&jemalloc, "xallocx"));
	assert_int_equal(find_plan(&jemalloc, "mallctl")->site, DT_SITE_mallctl);
	assert_int_equal(find_plan(&jemalloc, "mallctlnametomib")->site, DT_SITE_mallctlnametomib);
	assert_null(find_plan(&jemalloc, "_Znam"));
	assert_null(find_plan(&jemalloc, "_ZnwmSt11align_val_t"));
	assert_null(find_plan(&jemalloc, "_ZdlPv"));
	assert_non_null(find_plan(&jemalloc, "_ZdlPvm"));
	expect_places(&jemalloc, true);
	plan(MIMALLOC, false, &mimalloc);
	assert_int_equal(find_plan(&mimalloc, "mi_malloc")->site, DT_SITE_malloc);
	assert_ptr_equal(find_plan(&mimalloc, "mi_free"), find_plan(&mimalloc, "_ZdlPv"));
	assert_int_equal(find_plan(&mimalloc, "_ZdlPv")->site, DT_SITE_free);
	assert_int_equal(find_plan(&mimalloc, "mi_heap_recalloc")->site, DT_SITE_mi_heap_recalloc);
	assert_int_equal(find_plan(&mimalloc, "mi_heap_destroy")->site, DT_SITE_mi_heap_destroy);
}

/* What the user names: also symbols that are the file's own. The operators of a library without malloc are left alone. */
static void test_named(void **state)
{
	struct dt_allocator one = { .file = (char[]){ "*test_sites" }, .prefix = (char[]){ "named_" } };
	struct dt_allocators allocators = { &one, 1 };
	PLANNED planned = { .fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC) };
	PLANNED cxx = { .fd = -1 };

	(void)state;
	assert_ptr_equal(named_malloc(1), NULL);
	assert_int_equal(dt_elf_open(dup(planned.fd), &planned.elf), 0);
	assert_int_equal(dt_sites_plan(planned.elf, &(struct dt_site_search){ "/x/test_sites", true, &allocators, NULL }, &planned.plans,
				       &planned.count), 0);
	assert_true(one.matched);
	assert_int_equal(find_plan(&planned, "named_malloc")->site, DT_SITE_malloc);
	plan("/usr/lib/x86_64-linux-gnu/libstdc++.so.6", true, &cxx);
	assert_int_equal(cxx.count, 0);
}

static void test_a_file_without_sites(void **state)
{
	PLANNED planned = { .fd = -1 };

	(void)state;
	plan("/bin/true", true, &planned);
	assert_int_equal(planned.count, 0);
	assert_non_null(planned.plans);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_infos),
		cmocka_unit_test(test_libc),
		cmocka_unit_test(test_python),
		cmocka_unit_test(test_cheap_places_are_those_of_the_finder),
		cmocka_unit_test(test_allocators),
		cmocka_unit_test(test_named),
		cmocka_unit_test(test_a_file_without_sites),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
