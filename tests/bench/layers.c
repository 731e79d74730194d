/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * layers: a program with many blocks, some of which are those of another domain, too. tracemalloc's interface is its own.
 *
 * It prints {"pid": …}, then answers each line of standard input with one of JSON, until its input ends:
 *   grow BLOCKS EVERY      allocates so many blocks, and tracks one in EVERY of them (0: none)
 *   resident MIB           makes so much memory resident, in small pages
 *   stall MILLISECONDS     the longest that an mmap(), or the first write to its page, took within that time: {"mmap_ns": …, "fault_ns": …}
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DOMAIN 7
#define BYTES 24
#define PAGE_BYTES 4096

int PyTraceMalloc_Track(unsigned domain, uintptr_t address, size_t bytes);
int PyTraceMalloc_Untrack(unsigned domain, uintptr_t address);

__attribute__((noipa, visibility("default"))) int PyTraceMalloc_Track(unsigned domain, uintptr_t address, size_t bytes)
{
	return domain && address && bytes ? 0 : -2;
}

__attribute__((noipa, visibility("default"))) int PyTraceMalloc_Untrack(unsigned domain, uintptr_t address)
{
	return domain && address ? 0 : -2;
}

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool grow(unsigned long count, unsigned long every)
{
	for (unsigned long i = 0; i < count; i++) {
		void *block = malloc(BYTES);

		if (!block)
			return false;
		if (every && i % every == 0)
			PyTraceMalloc_Track(DOMAIN, (uintptr_t)block, BYTES);
	}
	return true;
}

static bool make_resident(size_t mib)
{
	char *memory = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED || madvise(memory, mib << 20, MADV_NOHUGEPAGE))
		return false;
	for (size_t i = 0; i < mib << 20; i += PAGE_BYTES)
		memory[i] = 1;
	return true;
}

static bool stall(unsigned long milliseconds)
{
	uint64_t until = clock_ns() + milliseconds * 1000000, mmap_ns = 0, fault_ns = 0;

	while (clock_ns() < until) {
		uint64_t begin = clock_ns(), mapped, written;
		char *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (page == MAP_FAILED)
			return false;
		mapped = clock_ns();
		*(volatile char *)page = 1;
		written = clock_ns();
		munmap(page, PAGE_BYTES);
		mmap_ns = mapped - begin > mmap_ns ? mapped - begin : mmap_ns;
		fault_ns = written - mapped > fault_ns ? written - mapped : fault_ns;
	}
	printf("{\"mmap_ns\": %lu, \"fault_ns\": %lu}\n", (unsigned long)mmap_ns, (unsigned long)fault_ns);
	return true;
}

static bool obey(const char *line)
{
	unsigned long count, every;

	if (sscanf(line, "grow %lu %lu", &count, &every) == 2 && grow(count, every))
		return printf("{}\n") > 0;
	if (sscanf(line, "resident %lu", &count) == 1 && make_resident(count))
		return printf("{}\n") > 0;
	return sscanf(line, "stall %lu", &count) == 1 && stall(count);
}

int main(void)
{
	char line[100];

	setvbuf(stdout, NULL, _IOLBF, 4096);
	printf("{\"pid\": %d}\n", (int)getpid());
	while (fgets(line, sizeof(line), stdin))
		if (!obey(line))
			printf("{\"error\": \"cannot do it\"}\n");
	return 0;
}
