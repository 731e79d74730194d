/* SPDX-License-Identifier: BSD-2-Clause */
/* layer_table: the whole text, as the report shows it; what is not known or not exact; names and figures of any size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "export/layer_table.h"
#include "export/text.h"
#include "snapshot_sample.h"

static char *table(const struct dt_snapshot *snapshot, uint32_t process)
{
	char *text = NULL;
	size_t size;
	struct dt_page page = { .out = open_memstream(&text, &size), .columns = 66 };

	assert_int_equal(dt_layer_table_write(&page, snapshot, process), 0);
	fclose(page.out);
	return text;
}

static void test_table(void **state)
{
	struct dt_snapshot *sample = new_sample("/srv/app.py");

	(void)state;
	DT_FREE char *nothing = table(sample, 0);

	assert_string_equal(nothing, "");
	sample_layers(sample);
	DT_FREE char *older = table(sample, 0);

	assert_string_equal(older, "\n"
		"  resident               ~126,418,944\n"
		"    heap                  ~12,288,000\n"
		"    anonymous mappings    ~98,000,896\n"
		"    files and the rest    ~16,130,048\n"
		"  swapped out                  ~4,096\n"
		"  live in libc                 12,288\n"
		"    under numpy                12,000\n"
		"    unclaimed                     288\n"
		"  What is resident was read 5.0 s before this snapshot.\n");
	sample->processes[0].memory.after_ns = 7;
	sample->processes[0].memory.swap_bytes = 0;
	sample->processes[0].memory.hugetlb_bytes = 2097152;
	sample->processes[0].layers.exact = false;
	DT_FREE char *about = table(sample, 0);

	assert_string_equal(about, "\n"
		"  resident                  126,418,944\n"
		"    heap                     12,288,000\n"
		"    anonymous mappings       98,000,896\n"
		"    files and the rest       16,130,048\n"
		"  in huge pages set aside     2,097,152\n"
		"  live in libc                  ~12,288\n"
		"    under numpy                 ~12,000\n"
		"    unclaimed                      ~288\n"
		"  Which blocks lie in which was read while the process went on.\n");
	dt_snapshot_free(sample);
}

/* Two domains in the same bytes; one in none of libc's has no line. */
static void test_domains(void **state)
{
	struct dt_snapshot *sample = NULL;

	(void)state;
	assert_int_equal(dt_snapshot_new(&sample), 0);
	SAMPLE_ADD(process, .pid = 1);
	SAMPLE_ADD(process, .pid = 2, .layers = { .known = true, .exact = true, .libc_bytes = 1000, .claimed_bytes = 150 });
	SAMPLE_ADD(domain, .process = 0, .name = "numpy", .source = DT_SOURCE_TRACEMALLOC, .compared = true, .in_libc_bytes = 77);
	SAMPLE_ADD(domain, .process = 1, .name = "numpy", .source = DT_SOURCE_TRACEMALLOC, .compared = true, .in_libc_bytes = 100);
	SAMPLE_ADD(domain, .process = 1, .name = "libc");
	SAMPLE_ADD(domain, .process = 1, .name = "pandas", .source = DT_SOURCE_TRACEMALLOC, .compared = true, .outside_libc_bytes = 9);
	SAMPLE_ADD(domain, .process = 1, .name = "\x1b\xff a pool with a long name", .source = DT_SOURCE_TRACEMALLOC, .compared = true,
		   .in_libc_bytes = 100);
	DT_FREE char *text = table(sample, 1);

	assert_string_equal(text, "\n"
		"  live in libc                   1,000\n"
		"    under numpy                    100\n"
		"    under ?? a ... a long name     100\n"
		"    under any of them              150\n"
		"    unclaimed                      850\n");
	dt_snapshot_free(sample);
}

static void test_largest_figures_fit(void **state)
{
	struct dt_snapshot *sample = new_sample("/srv/app.py");

	(void)state;
	sample_layers(sample);
	sample->processes[0].memory = (struct dt_snapshot_memory){ .known = true, .after_ns = INT64_MIN, .resident_bytes = UINT64_MAX };
	sample->processes[0].layers = (struct dt_snapshot_layers){ .known = true, .libc_bytes = UINT64_MAX };
	sample->domains[0].name = "a name of thirty-one characters";
	DT_FREE char *text = table(sample, 0);

	for (char *line = text; *line; ) {
		size_t size = strcspn(line, "\n");

		assert_in_range(size, 0, 66);
		line += size + 1;
	}
	dt_snapshot_free(sample);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_largest_figures_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
