/* SPDX-License-Identifier: BSD-2-Clause */
/* Mappings: given texts, and those that the kernel writes about files this test maps and then hides in every way. */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "target/maps.h"

static void test_parse_reads_every_field(void **state)
{
	static const char text[] =
		"00400000-00401000 r-xp 00002000 08:01 131                                /usr/bin/a b\n"
		"00401000-00402000 r--s 00000000 00:2a 9007199254740993                   /x\\012y\\040z (deleted)\n"
		"00500000-00521000 rw-p 00000000 00:00 0                                  [heap]\n"
		"7f0000000000-7f0000001000 ---p 00000000 00:00 0 \n"
		"7f0000001000-7f0000003000 rw-s 00000000 00:01 2049                       /memfd:m (deleted)\n"
		"7f0000003000-7f0000004000 rw-p 00000000 00:00 0                          [anon:x (deleted)]\n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]";
	const struct dt_mapping expected[] = {
		{ 0x400000, 0x401000, 0x2000, makedev(8, 1), 131, true, false, true, false, "/usr/bin/a b" },
		{ 0x401000, 0x402000, 0, makedev(0, 0x2a), 9007199254740993, true, false, false, true, "/x\ny\\040z" },
		{ 0x500000, 0x521000, 0, 0, 0, true, true, false, false, "[heap]" },
		{ 0x7f0000000000, 0x7f0000001000, 0, 0, 0, false, false, false, false, NULL },
		{ 0x7f0000001000, 0x7f0000003000, 0, makedev(0, 1), 2049, true, true, false, true, "/memfd:m" },
		{ 0x7f0000003000, 0x7f0000004000, 0, 0, 0, true, true, false, false, "[anon:x (deleted)]" },
		{ 0xffffffffff600000, 0xffffffffff601000, 0, 0, 0, false, false, true, false, "[vsyscall]" },
	};
	DT_CLEANUP(dt_maps_clear) struct dt_maps maps = { 0 };

	(void)state;
	assert_int_equal(dt_maps_parse(text, strlen(text), &maps), 0);
	assert_int_equal(maps.count, DT_ARRAY_SIZE(expected));
	for (size_t i = 0; i < maps.count; i++) {
		const struct dt_mapping *is = &maps.mappings[i], *want = &expected[i];

		assert_int_equal(is->start, want->start);
		assert_int_equal(is->end, want->end);
		assert_int_equal(is->offset, want->offset);
		assert_int_equal(is->device, want->device);
		assert_int_equal(is->inode, want->inode);
		assert_int_equal(is->readable, want->readable);
		assert_int_equal(is->writable, want->writable);
		assert_int_equal(is->executable, want->executable);
		assert_int_equal(is->deleted, want->deleted);
		assert_int_equal(!is->path, !want->path);
		if (want->path)
			assert_string_equal(is->path, want->path);
	}
}

static void test_find(void **state)
{
	static const char text[] = "1000-2000 r--p 00000000 00:00 0\n3000-4000 r--p 00000000 00:00 0\n"
				   "4000-6000 r--p 00000000 00:00 0\n";
	static const struct { uint64_t address, start; } cases[] = {
		{ 0, 0 }, { 0xfff, 0 }, { 0x1000, 0x1000 }, { 0x1fff, 0x1000 }, { 0x2000, 0 }, { 0x2fff, 0 },
		{ 0x3000, 0x3000 }, { 0x3fff, 0x3000 }, { 0x4000, 0x4000 }, { 0x5fff, 0x4000 }, { 0x6000, 0 }, { UINT64_MAX, 0 },
	};
	DT_CLEANUP(dt_maps_clear) struct dt_maps maps = { 0 }, none = { 0 };

	(void)state;
	assert_int_equal(dt_maps_parse(text, strlen(text), &maps), 0);
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		const struct dt_mapping *found = dt_maps_find(&maps, cases[i].address);

		assert_int_equal(found ? found->start : 0, cases[i].start);
	}
	assert_int_equal(dt_maps_parse("", 0, &none), 0);
	assert_int_equal(none.count, 0);
	assert_null(dt_maps_find(&none, 0x1000));
}

/* A mapping that was merged with the next one between two reads is told twice; the later line holds. */
static void test_later_lines_replace_what_they_overlap(void **state)
{
	static const char text[] = "1000-2000 r--p 00000000 00:00 0 [a]\n2000-3000 r--p 00000000 00:00 0 [b]\n"
				   "3000-4000 r--p 00000000 00:00 0 [c]\n1800-8000 r--p 00000000 00:00 0 [d]\n";
	DT_CLEANUP(dt_maps_clear) struct dt_maps maps = { 0 };

	(void)state;
	assert_int_equal(dt_maps_parse(text, strlen(text), &maps), 0);
	assert_int_equal(maps.count, 2);
	assert_int_equal(maps.mappings[0].start, 0x1000);
	assert_int_equal(maps.mappings[0].end, 0x1800);
	assert_string_equal(maps.mappings[0].path, "[a]");
	assert_int_equal(maps.mappings[1].start, 0x1800);
	assert_int_equal(maps.mappings[1].end, 0x8000);
	assert_string_equal(maps.mappings[1].path, "[d]");
}

static void test_parse_refuses_other_lines(void **state)
{
	static const char *const texts[] = {
		"\n", "x", "1000", "1000-", "1000-2000", "1000-2000 ", "1000-2000 r--p", "1000-2000 r--p 0", "1000-2000 r--p 0 0",
		"1000-2000 r--p 0 0:0", "1000-2000 r--p 0 0:0 ", "1000-2000 r--p 0 0:0 x", "1000-2000 r--p 0 0:0 1x",
		"2000-1000 r--p 0 0:0 0", "1000-1000 r--p 0 0:0 0", "1000-2000 rr-p 0 0:0 0", "1000-2000 r--q 0 0:0 0",
		"10000000000000000-20000000000000000 r--p 0 0:0 0", "1000-2000 r--p 0 0:0 18446744073709551616",
		"1000-2000 r--p 0 100000000:0 0", "-2000 r--p 0 0:0 0", "1000-2000 r--p 0 0:0 0\n\n", "1000 -2000 r--p 0 0:0 0",
		"1000-2000 r--p 0 0:0 0\nrubbish\n",
	};
	static const char good[] = "1000-2000 r--p 0 0:0 0 /a\n";
	DT_CLEANUP(dt_maps_clear) struct dt_maps maps = { 0 };

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(texts); i++) {
		/* An exact copy, so that AddressSanitizer sees a read behind it. */
		size_t size = strlen(texts[i]);
		DT_FREE char *copy = malloc(size);

		assert_non_null(copy);
		memcpy(copy, texts[i], size);
		if (dt_maps_parse(copy, size, &maps) != -EBADMSG)
			fail_msg("\"%s\" was taken for mappings", texts[i]);
	}
	/* Every beginning of a good line is either whole or refused. */
	for (size_t size = 0; size < sizeof(good); size++) {
		DT_FREE char *copy = malloc(size + 1);
		int error;

		assert_non_null(copy);
		memcpy(copy, good, size);
		error = dt_maps_parse(copy, size, &maps);
		assert_int_equal(error, size == 0 || (size >= 22 && size < sizeof(good)) ? 0 : -EBADMSG);
		dt_maps_clear(&maps);
	}
}

/* ---- files that this process maps --------------------------------------------------------------------------- */

struct mapped {
	char folder[64], path[128];
	uint8_t *pages;
	size_t size;
};

/* Writes two pages of `fill` to a new file of this name and maps them read-only. */
static void map_file(struct mapped *mapped, const char *name, int fill)
{
	uint8_t bytes[8192];

	strcpy(mapped->folder, "/tmp/test_maps.XXXXXX");
	assert_non_null(mkdtemp(mapped->folder));
	snprintf(mapped->path, sizeof(mapped->path), "%s/%s", mapped->folder, name);
	memset(bytes, fill, sizeof(bytes));
	DT_FD int fd = open(mapped->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	assert_true(fd >= 0);
	assert_int_equal(dt_file_write_all(fd, bytes, sizeof(bytes)), 0);
	mapped->size = sizeof(bytes);
	mapped->pages = mmap(NULL, mapped->size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(mapped->pages, MAP_FAILED);
}

static void unmap_file(const struct mapped *mapped)
{
	munmap(mapped->pages, mapped->size);
	unlink(mapped->path);
	rmdir(mapped->folder);
}

static int first_byte(int fd)
{
	uint8_t byte;

	assert_int_equal(dt_file_read_at(fd, &byte, 1, 0), 0);
	return byte;
}

/* Both ways to the mapped file must lead to the one that starts with `fill`. */
static void expect_content(const struct dt_mapping *mapping, int fill)
{
	DT_FREE char *path = NULL;
	DT_FD int fd = dt_mapping_open(getpid(), mapping);

	assert_true(fd >= 0);
	assert_int_equal(first_byte(fd), fill);
	assert_int_equal(dt_mapping_path(getpid(), mapping, &path), 0);
	DT_FD int by_path = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(by_path >= 0);
	assert_int_equal(first_byte(by_path), fill);
}

/* Whether this process may follow map_files (CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE). */
static bool may_follow_map_files(const struct mapped *mapped)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/self/map_files/%zx-%zx", (size_t)mapped->pages,
		 (size_t)mapped->pages + mapped->size);
	DT_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0;
}

static void test_read_finds_our_files(void **state)
{
	static const char *const names[] = { "plain", "a b", "new\nline", "back\\040slash", "\xc3\xa4\xff", "x (deleted) y" };

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(names); i++) {
		DT_CLEANUP(dt_maps_clear) struct dt_maps maps = { 0 };
		const struct dt_mapping *mapping;
		struct mapped mapped;
		struct stat status;

		map_file(&mapped, names[i], 'a');
		assert_int_equal(stat(mapped.path, &status), 0);
		assert_int_equal(dt_maps_read(getpid(), &maps), 0);
		mapping = dt_maps_find(&maps, (uintptr_t)mapped.pages + mapped.size - 1);
		assert_non_null(mapping);
		assert_int_equal(mapping->start, (uintptr_t)mapped.pages);
		assert_int_equal(mapping->end, (uintptr_t)mapped.pages + mapped.size);
		assert_int_equal(mapping->inode, status.st_ino);
		assert_true(mapping->readable && !mapping->writable && !mapping->executable && !mapping->deleted);
		assert_string_equal(mapping->path, mapped.path);
		expect_content(mapping, 'a');
		unmap_file(&mapped);
	}
}

static void test_a_replaced_file_is_not_mistaken(void **state)
{
	DT_CLEANUP(dt_maps_clear) struct dt_maps maps = { 0 };
	const struct dt_mapping *mapping;
	struct mapped old, new;
	DT_FREE char *path = NULL;

	(void)state;
	map_file(&old, "f", 'o');
	map_file(&new, "f", 'n');
	assert_int_equal(rename(new.path, old.path), 0);
	assert_int_equal(dt_maps_read(getpid(), &maps), 0);
	mapping = dt_maps_find(&maps, (uintptr_t)old.pages);
	assert_non_null(mapping);
	assert_true(mapping->deleted);
	assert_string_equal(mapping->path, old.path);
	if (may_follow_map_files(&old)) {
		expect_content(mapping, 'o');
	} else {
		assert_int_equal(dt_mapping_open(getpid(), mapping), -EACCES);
		assert_int_equal(dt_mapping_path(getpid(), mapping, &path), -EACCES);
	}
	unmap_file(&old);
	unmap_file(&new);
}

/* After a part was unmapped, map_files no longer has the name: the path does it, but never for another file. */
static void test_the_path_is_the_second_way(void **state)
{
	DT_CLEANUP(dt_maps_clear) struct dt_maps maps = { 0 };
	struct dt_mapping mapping;
	struct mapped mapped;
	DT_FREE char *path = NULL, *expected = NULL;

	(void)state;
	map_file(&mapped, "f", 'f');
	assert_int_equal(dt_maps_read(getpid(), &maps), 0);
	mapping = *dt_maps_find(&maps, (uintptr_t)mapped.pages);
	munmap(mapped.pages + 4096, 4096);
	expect_content(&mapping, 'f');
	assert_int_equal(dt_mapping_path(getpid(), &mapping, &path), 0);
	assert_true(asprintf(&expected, "/proc/%d/root%s", (int)getpid(), mapped.path) > 0);
	assert_string_equal(path, expected);
	mapping.inode++;
	assert_true(dt_mapping_open(getpid(), &mapping) < 0);
	mapping.inode = 0;
	assert_int_equal(dt_mapping_open(getpid(), &mapping), -ENOENT);
	unmap_file(&mapped);
}

static void test_memfd_and_anonymous(void **state)
{
	DT_CLEANUP(dt_maps_clear) struct dt_maps maps = { 0 };
	DT_FD int fd = memfd_create("m m", MFD_CLOEXEC);
	uint8_t *anonymous = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *pages;
	const struct dt_mapping *mapping;

	(void)state;
	assert_int_equal(dt_file_write_all(fd, "m", 1), 0);
	pages = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	assert_int_equal(dt_maps_read(getpid(), &maps), 0);
	mapping = dt_maps_find(&maps, (uintptr_t)anonymous);
	assert_true(mapping->readable && mapping->writable && mapping->executable);
	assert_null(mapping->path);
	assert_int_equal(mapping->inode, 0);
	mapping = dt_maps_find(&maps, (uintptr_t)pages);
	assert_string_equal(mapping->path, "/memfd:m m");
	assert_true(mapping->deleted);
	DT_FD int opened = dt_mapping_open(getpid(), mapping);
	if (opened >= 0)
		assert_int_equal(first_byte(opened), 'm');
	else
		assert_int_equal(opened, -EACCES);
	munmap(pages, 4096);
	munmap(anonymous, 4096);
}

static void test_a_process_that_has_gone(void **state)
{
	struct dt_maps maps;
	pid_t pid = fork();

	(void)state;
	if (!pid)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	assert_int_equal(dt_maps_read(pid, &maps), -ESRCH);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(dt_maps_read(pid, &maps), -ESRCH);
}

/* ---- uprobes by such a path ---------------------------------------------------------------------------------- */

static int open_uprobe(const char *path, uint64_t offset, pid_t pid)
{
	struct perf_event_attr attr = { .size = sizeof(attr), .disabled = 0 };
	DT_FREE char *type = NULL;
	int fd;

	if (dt_file_read("/sys/bus/event_source/devices/uprobe/type", &type, NULL))
		return -ENOTSUP;
	attr.type = (uint32_t)atoi(type);
	attr.uprobe_path = (uintptr_t)path;
	attr.probe_offset = offset;
	fd = (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * The file was unlinked and is mapped by a child only; a probe through the path that dt_mapping_path gives must count
 * the child's calls. One byte of code: a ret at offset 4096 of the file.
 */
static void test_uprobes_accept_the_path(void **state)
{
	DT_CLEANUP(dt_maps_clear) struct dt_maps maps = { 0 };
	DT_FREE char *path = NULL;
	struct mapped mapped;
	uint64_t hits = 0;
	int go[2], status;
	char byte;
	pid_t pid;

	(void)state;
	map_file(&mapped, "code", 0xc3);
	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	assert_int_equal(mprotect(mapped.pages, mapped.size, PROT_READ | PROT_EXEC), 0);
	unlink(mapped.path);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		for (int i = 0; i < 5; i++)
			((void (*)(void))(uintptr_t)(mapped.pages + 4096))();
		_exit(0);
	}
	munmap(mapped.pages, mapped.size);
	assert_int_equal(dt_maps_read(pid, &maps), 0);
	status = dt_mapping_path(pid, dt_maps_find(&maps, (uintptr_t)mapped.pages), &path);
	DT_FD int probe = status ? status : open_uprobe(path, 4096, pid);
	assert_int_equal(write(go[1], "x", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	rmdir(mapped.folder);
	close(go[0]);
	close(go[1]);
	if (probe == -EACCES || probe == -EPERM || probe == -ENOTSUP) {
		print_message("skipped: no uprobes here: %s\n", strerror(-probe));
		dt_maps_clear(&maps);   /* skip() jumps out of the scope */
		free(DT_TAKE(path));
		skip();
	}
	assert_true(probe >= 0);
	assert_int_equal(read(probe, &hits, sizeof(hits)), sizeof(hits));
	assert_int_equal(hits, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_reads_every_field),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_later_lines_replace_what_they_overlap),
		cmocka_unit_test(test_parse_refuses_other_lines),
		cmocka_unit_test(test_read_finds_our_files),
		cmocka_unit_test(test_a_replaced_file_is_not_mistaken),
		cmocka_unit_test(test_the_path_is_the_second_way),
		cmocka_unit_test(test_memfd_and_anonymous),
		cmocka_unit_test(test_a_process_that_has_gone),
		cmocka_unit_test(test_uprobes_accept_the_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
