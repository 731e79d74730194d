/* SPDX-License-Identifier: BSD-2-Clause */
/* smaps: kinds of mappings and hostile text; a child that stands still, whose sums are those of the kernel's own rollup. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "target/smaps.h"

static int parsed(const char *text, size_t size, struct dt_smaps *ret_smaps)
{
	DT_FILE FILE *file = fmemopen((void *)(uintptr_t)text, size, "r");

	return dt_smaps_parse(file, ret_smaps);
}

#define PARSED(text, smaps) parsed(text, strlen(text), smaps)
#define HEAD(name) "55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0 " name "\n"
#define FILE_HEAD(name) "7f0000000000-7f0000001000 r--p 00001000 fe:00 247498                     " name "\n"

static void assert_resident(const struct dt_smaps *smaps, uint64_t heap, uint64_t anonymous, uint64_t file, uint64_t other)
{
	assert_int_equal(smaps->resident_bytes[DT_SMAPS_HEAP], heap * 1024);
	assert_int_equal(smaps->resident_bytes[DT_SMAPS_ANONYMOUS], anonymous * 1024);
	assert_int_equal(smaps->resident_bytes[DT_SMAPS_FILE], file * 1024);
	assert_int_equal(smaps->resident_bytes[DT_SMAPS_OTHER], other * 1024);
	assert_int_equal(dt_smaps_resident(smaps), (heap + anonymous + file + other) * 1024);
}

static void test_kinds(void **state)
{
	struct dt_smaps smaps;

	(void)state;
	assert_int_equal(PARSED(
		FILE_HEAD("/usr/bin/head") "Size: 999 kB\nRss:                   1 kB\nPss: 77 kB\nPrivate_Clean: 1 kB\nVmFlags: rd mr\n"
		FILE_HEAD("/srv/[heap]") "Rss: 2 kB\n"
		FILE_HEAD("/srv/a\\012Rss: 9 kB") "Rss: 4 kB\nTHPeligible:           0\nProtectionKey:         0\n"
		"0-1000 rw-s 00000000 00:01 0 /SYSV00000000 (deleted)\nRss: 8 kB\n"
		FILE_HEAD("anon_inode:[perf_event]") "Rss: 16 kB\n"
		FILE_HEAD("[anon_shmem:x]") "Rss: 32 kB\nSwap: 3 kB\nSwapPss: 1 kB\n"
		HEAD("                         [heap]") "Rss: 100 kB\nPrivate_Dirty: 90 kB\n"
		HEAD("") "Rss: 200 kB\nSwap: 5 kB\nShared_Hugetlb: 2048 kB\nPrivate_Hugetlb: 4096 kB\n"
		HEAD("[anon:heap]") "Rss: 400 kB\n"
		HEAD("[heap]") "Rss: 1000 kB\n"
		HEAD("[stack]") "Rss: 2000 kB\n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\nRss: 4000 kB\n", &smaps), 0);
	assert_resident(&smaps, 1100, 600, 63, 6000);
	assert_int_equal(smaps.private_bytes, 91 * 1024);
	assert_int_equal(smaps.swap_bytes, 8 * 1024);
	assert_int_equal(smaps.hugetlb_bytes, 6144 * 1024);
}

/* Every beginning of a good text is good or refused; what is no smaps is refused, and nothing is stored then. */
static void test_hostile(void **state)
{
	static const char good[] = FILE_HEAD("/x") "Rss: 1 kB\nSwap: 2 kB\n" HEAD("") "Rss: 3 kB\n";
	static const char *const bad[] = {
		"Rss: 1 kB\n", "\n", "x\n", HEAD("") "Rss: x kB\n", HEAD("") "Rss: 18446744073709551615 kB\n",
		HEAD("") "Rss: 18014398509481983 kB\nRss: 18014398509481983 kB\n", "1-2\n", "1-2 rw-p 0 0:0\n", HEAD("") "Rss: 1 kB",
	};
	struct dt_smaps smaps = { .swap_bytes = 7 };

	(void)state;
	for (size_t size = 1; size < sizeof(good); size++) {
		int error = parsed(good, size, &smaps);

		assert_int_equal(error, good[size - 1] == '\n' ? 0 : -EBADMSG);
	}
	smaps.swap_bytes = 7;
	for (size_t i = 0; i < DT_ARRAY_SIZE(bad); i++)
		assert_int_equal(PARSED(bad[i], &smaps), -EBADMSG);
	assert_int_equal(smaps.swap_bytes, 7);
	DT_FREE char *wide = malloc(1 << 16);

	memset(wide, 'a', 1 << 16);
	assert_int_equal(parsed(wide, 1 << 16, &smaps), -EBADMSG);
	DT_FILE FILE *empty = fopen("/dev/null", "r");

	assert_int_equal(dt_smaps_parse(empty, &smaps), -ESRCH);
}

static void test_no_end(void **state)
{
	struct dt_smaps smaps;
	int ends[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (!pid) {
		signal(SIGPIPE, SIG_DFL);
		close(ends[0]);
		for (FILE *out = fdopen(ends[1], "w"); ; )
			fputs(HEAD("") "Rss: 1 kB\n", out);
	}
	close(ends[1]);
	FILE *in = fdopen(ends[0], "r");

	assert_int_equal(dt_smaps_parse(in, &smaps), -E2BIG);
	fclose(in);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* ---- a real process ------------------------------------------------------------------------------------------- */

#define PAGES 300

/* Heap, anonymous memory in several mappings, a file's private pages, shared memory; then it stands still. */
static _Noreturn void fill_and_wait(int ready)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *heap = sbrk((intptr_t)(PAGES * page));
	char *shared = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(heap, 1, PAGES * page);
	memset(shared, 1, PAGES / 2 * page);
	for (size_t i = 1; i < 40; i++) {
		char *block = mmap(NULL, i * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		memset(block, 1, i * page);
		mprotect(block, page, PROT_READ);       /* so that neighbours do not become one */
	}
	if (write(ready, "x", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static uint64_t rollup(pid_t pid, const char *field)
{
	DT_FREE char *path = NULL, *text = NULL;
	const char *at;
	uint64_t kib;

	assert_true(asprintf(&path, "/proc/%d/smaps_rollup", (int)pid) > 0);
	assert_int_equal(dt_file_read(path, &text, NULL), 0);
	at = strstr(text, field);
	assert_non_null(at);
	assert_int_equal(sscanf(at + strlen(field), "%" SCNu64, &kib), 1);
	return kib * 1024;
}

static uint64_t private_rollup(pid_t pid)
{
	return rollup(pid, "\nPrivate_Clean:") + rollup(pid, "\nPrivate_Dirty:");
}

static void test_child(void **state)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), private_bytes = 0;
	struct dt_smaps smaps;
	int ready[2];
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		fill_and_wait(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	/* On its way from there to pause() it might still touch a page. */
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
	/* A page that this process writes to for the first time after the fork is private to the child from then on. */
	for (int i = 0; i < 100; i++) {
		private_bytes = private_rollup(pid);
		assert_int_equal(dt_smaps_read(pid, &smaps), 0);
		if (private_rollup(pid) == private_bytes)
			break;
	}
	assert_int_equal(smaps.private_bytes, private_bytes);
	assert_int_equal(dt_smaps_resident(&smaps), rollup(pid, "\nRss:"));
	assert_int_equal(smaps.swap_bytes, rollup(pid, "\nSwap:"));
	assert_true(smaps.resident_bytes[DT_SMAPS_HEAP] >= PAGES * page);
	assert_true(smaps.resident_bytes[DT_SMAPS_ANONYMOUS] >= 39 * 40 / 2 * page);
	assert_true(smaps.resident_bytes[DT_SMAPS_FILE] >= PAGES / 2 * page);
	assert_true(smaps.resident_bytes[DT_SMAPS_OTHER] >= page);
	kill(pid, SIGKILL);
	/* A zombie has no memory, and what has gone has no file. */
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	assert_int_equal(dt_smaps_read(pid, &smaps), -ESRCH);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(dt_smaps_read(pid, &smaps), -ESRCH);
	close(ready[0]);
	close(ready[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_no_end),
		cmocka_unit_test(test_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
