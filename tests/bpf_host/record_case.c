/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Usage: record_case PID STACK FRAME_POINTER THREAD_POINTER
 *
 * Writes the part of a recorded case (case.h) that the walker reads: run by tools/record_case on a process that a debugger
 * holds at the entry of a function, with the thread's registers. The walker itself says what it needs: it is run until it has
 * all, and every byte that it read is kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "case.h"
#include "target/elf.h"
#include "target/maps.h"
#include "target/python.h"
#include "target/unwind_table.h"

static struct {
	pid_t pid;
	struct case_registers registers;
	struct dt_maps maps;
	struct dt_unwind_table tables[4096]; /* by row in `mappings` */
	bool is_told[4096][65536];      /* pages of them */
	struct { __u64 address; __u32 size; } reads[65536];
	size_t read_count;
	bool has_python;
	struct dt_python python;
	__u64 python_bias;
} recorder;

static void stop(const char *what)
{
	fprintf(stderr, "record_case: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long read_process(void *to, __u32 size, __u64 address)
{
	static int memory = -1;
	char path[64];

	if (memory < 0) {
		snprintf(path, sizeof(path), "/proc/%d/mem", (int)recorder.pid);
		memory = open(path, O_RDONLY | O_CLOEXEC);
		if (memory < 0)
			stop(path);
	}
	if (pread(memory, to, size, (off_t)address) != (ssize_t)size) {
		memset(to, 0, size);
		return -EFAULT;
	}
	if (recorder.read_count == sizeof(recorder.reads) / sizeof(recorder.reads[0]))
		stop("the walker reads without end");
	recorder.reads[recorder.read_count].address = address;
	recorder.reads[recorder.read_count++].size = size;
	return 0;
}

/* ---- the process ------------------------------------------------------------------------------------------------------ */

static void look_for_python(struct dt_elf *elf, __u64 bias, struct dt_interpreter *interpreter)
{
	uint32_t first_block, blocks;

	if (!dt_python_detect(elf, &recorder.python)) {
		recorder.has_python = true;
		dt_python_place(&recorder.python, recorder.pid, bias, interpreter);
	}
	if (!dt_python_read_tls_layout(elf, &first_block, &blocks)) {
		interpreter->tls_first_block = first_block;
		interpreter->tls_blocks = blocks;
	}
}

static struct dt_elf *open_mapping(const struct dt_mapping *mapping)
{
	static char image[1 << 20];
	size_t size = mapping->end - mapping->start;
	struct dt_elf *elf = NULL;

	if (mapping->inode)
		dt_elf_open(dt_mapping_open(recorder.pid, mapping), &elf);
	else if (mapping->path && !strcmp(mapping->path, "[vdso]") && size <= sizeof(image) && !read_process(image, (__u32)size, mapping->start))
		dt_elf_open_image(image, size, &elf);
	return elf;
}

static void add_mapping(const struct dt_mapping *mapping, struct dt_process *process)
{
	struct dt_unwind_table *table = &recorder.tables[process->mapping_count];
	struct dt_elf *elf = open_mapping(mapping);
	uint64_t vaddr, bias = 0, first = 0, last = 0;

	if (elf && !dt_elf_text_vaddr(elf, mapping->offset, &vaddr)) {
		bias = mapping->start - vaddr;
		look_for_python(elf, bias, &process->python);
		if (dt_unwind_table_read(elf, table))
			stop("no memory");
	}
	if (table->count) {
		first = table->rows[0].vaddr & ~(uint64_t)(DT_UNWIND_PAGE_BYTES - 1);
		last = table->rows[table->count - 1].vaddr | (DT_UNWIND_PAGE_BYTES - 1);
	}
	case_add_mapping(mapping->start, mapping->end, table->count ? first + bias : 0,
			 table->count ? (__u32)((last + 1 - first) / DT_UNWIND_PAGE_BYTES) : 0, 0);
	dt_elf_close(elf);
}

static void look_at_process(struct dt_process *process)
{
	if (dt_maps_read(recorder.pid, &recorder.maps))
		stop("its mappings cannot be read");
	for (size_t i = 0; i < recorder.maps.count; i++)
		if (recorder.maps.mappings[i].executable)
			add_mapping(&recorder.maps.mappings[i], process);
}

/* ---- the pages that are needed ---------------------------------------------------------------------------------------- */

static __u32 rows_of_page(const struct dt_unwind_table *table, uint64_t start, __u32 *rows)
{
	struct dt_unwind_rule rule = dt_unwind_table_find(table, start);
	__u32 count = 0;

	rows[count++] = DT_UNWIND_ROW(0, case_rule(&rule));
	for (size_t i = 0; i < table->count; i++)
		if (table->rows[i].vaddr > start && table->rows[i].vaddr - start < DT_UNWIND_PAGE_BYTES)
			rows[count++] = DT_UNWIND_ROW(table->rows[i].vaddr - start, case_rule(&table->rows[i].rule));
	return count;
}

/* Tells the page of an address. False: it was told, or there is none. */
static bool tell_page(const struct dt_process *process, __u64 address)
{
	for (__u32 i = 0; i < process->mapping_count; i++) {
		const struct dt_unwind_table *table = &recorder.tables[i];
		__u64 page = (address - mappings[i].base) / DT_UNWIND_PAGE_BYTES;
		static __u32 rows[DT_UNWIND_PAGE_BYTES];

		if (address < mappings[i].start || address >= mappings[i].end || !table->count || address < mappings[i].base ||
		    page >= mappings[i].page_count || recorder.is_told[i][page])
			continue;
		recorder.is_told[i][page] = true;
		case_put_page(&mappings[i], (__u32)page, rows,
			      rows_of_page(table, (table->rows[0].vaddr & ~(uint64_t)(DT_UNWIND_PAGE_BYTES - 1)) + page * DT_UNWIND_PAGE_BYTES, rows));
		return true;
	}
	return false;
}

/* Walks until all frames have been met. */
static void tell_pages(const struct dt_process *process)
{
	const struct dt_traceback_event *event;
	const struct dt_frame *last;

	do {
		event = case_walk(&recorder.registers, DT_STACK_NATIVE);
		if (!event || !event->frame_count)
			stop("there is no traceback");
		last = &event->frames[event->frame_count - 1];
	} while (tell_page(process, last->where - !(last->instruction & DT_FRAME_INTERRUPTED)));
	fprintf(stderr, "record_case: %u frames, truncation %u\n", event->frame_count, event->truncation);
}

/* ---- writing ----------------------------------------------------------------------------------------------------------- */

static void write_page(const struct dt_mapping_row *mapping, __u32 page)
{
	__u32 first = *case_word(mapping->pages + 2 * page), count = *case_word(mapping->pages + 2 * page + 1);

	printf("page %x\n", page);
	for (__u32 i = 0; i < count; i++) {
		__u32 row = *case_word(first + i);
		const struct dt_unwind_rule *rule = &unwind_rules[row >> 16];

		printf("row %x %s %d %s%s %d\n", row & 0xffff, case_cfa[rule->cfa], rule->cfa_offset,
		       case_saved[rule->frame_pointer & ~DT_SAVED_DERIVED], rule->frame_pointer & DT_SAVED_DERIVED ? "+derived" : "",
		       rule->frame_pointer_words);
	}
}

static void write_process(const struct dt_process *process)
{
#define FIELD(name) printf("python " #name " %" PRIx64 "\n", (uint64_t)process->python.name);
	if (process->python.present) {
		CASE_INTERPRETER(FIELD)
	}
#undef FIELD
#define FIELD(name) printf("layout " #name " %" PRIx64 "\n", (uint64_t)process->python.layout.name);
	if (process->python.present) {
		CASE_LAYOUT(FIELD)
	}
#undef FIELD
	for (__u32 i = 0; i < process->mapping_count; i++) {
		const struct dt_mapping_row *row = &mappings[i];

		printf("mapping %llx %llx %llx %x %x\n", row->start, row->end, row->base, row->page_count, row->flags);
		for (__u32 page = 0; page < row->page_count; page++)
			if (recorder.is_told[i][page])
				write_page(row, page);
	}
}

static int compare_reads(const void *left, const void *right)
{
	__u64 a = *(const __u64 *)left, b = *(const __u64 *)right;

	return a < b ? -1 : a > b;
}

#define LINE_BYTES 64

static void write_memory(void)
{
	size_t count = recorder.read_count;
	__u64 done = 0;

	qsort(recorder.reads, count, sizeof(recorder.reads[0]), compare_reads);
	for (size_t i = 0; i < count; i++) {
		__u64 at = recorder.reads[i].address > done ? recorder.reads[i].address : done, end = recorder.reads[i].address + recorder.reads[i].size;

		while (at < end) {
			__u32 size = end - at < LINE_BYTES ? (__u32)(end - at) : LINE_BYTES;
			uint8_t bytes[LINE_BYTES];

			recorder.read_count = 0;
			if (read_process(bytes, size, at))
				stop("memory that was there has gone");
			printf("memory %llx ", at);
			for (__u32 k = 0; k < size; k++)
				printf("%02x", bytes[k]);
			printf("\n");
			at += size;
		}
		if (end > done)
			done = end;
	}
}

int main(int argc, char **argv)
{
	struct dt_process *process;

	if (argc != 5) {
		fprintf(stderr, "Usage: record_case PID STACK FRAME_POINTER THREAD_POINTER\n");
		return 2;
	}
	recorder.pid = (pid_t)strtol(argv[1], NULL, 10);
	recorder.registers = (struct case_registers){ strtoull(argv[2], NULL, 16), strtoull(argv[3], NULL, 16), strtoull(argv[4], NULL, 16) };
	host_read = read_process;
	process = case_begin();
	look_at_process(process);
	tell_pages(process);
	recorder.read_count = 0;
	case_walk(&recorder.registers, DT_STACK_NATIVE);
	case_walk(&recorder.registers, DT_STACK_PYTHON);
	case_walk(&recorder.registers, DT_STACK_MIXED);
	printf("register stack %llx\nregister frame_pointer %llx\nregister thread_pointer %llx\n", recorder.registers.stack,
	       recorder.registers.frame_pointer, recorder.registers.thread_pointer);
	write_process(process);
	write_memory();
	return 0;
}
