/* SPDX-License-Identifier: BSD-2-Clause */
/* ELF files whose tables and code say how frames are kept. */
#include "fuzz.h"

#include <errno.h>

#include "target/unwind_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dt_unwind_table table;
	struct dt_elf *elf;

	if (dt_elf_open(fuzz_file(data, size), &elf))
		return 0;
	FUZZ_EXPECT(!dt_unwind_table_read(elf, &table));
	FUZZ_EXPECT(!table.count || table.rows[table.count - 1].rule.cfa == DT_CFA_NONE);
	for (size_t i = 0; i < table.count; i++) {
		struct dt_unwind_rule rule = dt_unwind_table_find(&table, table.rows[i].vaddr);

		FUZZ_EXPECT(!i || table.rows[i - 1].vaddr < table.rows[i].vaddr);
		FUZZ_EXPECT(!i || memcmp(&table.rows[i - 1].rule, &table.rows[i].rule, sizeof(rule)));
		FUZZ_EXPECT(!memcmp(&rule, &table.rows[i].rule, sizeof(rule)));
		FUZZ_EXPECT(rule.cfa < DT_CFA_COUNT && (rule.frame_pointer & ~DT_SAVED_DERIVED) <= DT_SAVED_UNKNOWN);
	}
	FUZZ_EXPECT(dt_unwind_table_find(&table, UINT64_MAX).cfa == DT_CFA_NONE);
	dt_unwind_table_clear(&table);
	dt_elf_close(elf);
	return 0;
}
