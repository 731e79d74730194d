// SPDX-License-Identifier: BSD-2-Clause
/*
 * Domains that a program declares: random blocks that come, are told of again, and go, from several places, threads and files.
 *
 * It prints {"pid": …} and then answers each line of standard input with the whole truth of its domains, as one line of JSON:
 *   step N       N random operations of the main thread
 *   threads N    N of each of four threads, which share domains but no addresses
 *   load PATH    loads libdomains_late.so, whose places the next operations use, too
 *   name N NAME  names domain N, from the end of a page behind which nothing is
 *   lay          blocks of two domains that overlap in one of libc's
 *   clear        forgets its books, as domtrace is asked to do
 *   run N        another one of this program does N operations, names domain 8, answers and ends, all at once
 *   fork N       a child with what the parent has does N operations and answers, and stands still until this process ends
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <domtrace/domain.h>

#include "truth.h"

#define DOMAINS 5
#define SLOTS 512                       /* addresses of a domain and thread */
#define THREADS 4
#define PLACES 3                        /* functions that track */

static const unsigned domains[DOMAINS] = { 7, 8, 9, 20, 0 };

DT_DOMAIN_DECLARE(7, "pool");
DT_DOMAIN_DECLARE(9, "numpy");          /* which is another domain's name */

struct slot {
	size_t bytes;                   /* 0: free */
	unsigned place;
	bool inherited;
};

struct books {
	struct truth_row places[PLACES];
	uint64_t live_bytes, peak_bytes, unmatched;
	struct slot slots[SLOTS];
};

static struct books books[1 + THREADS][DOMAINS];
static __typeof__(void (unsigned, unsigned long, unsigned long)) *late_track;
static __typeof__(void (unsigned, unsigned long)) *late_untrack;
static uint64_t inner[2];               /* bytes of the blocks in libc's, in domain 30 and 31 */

SITE void track_here(unsigned domain, unsigned long address, size_t bytes)
{
	DT_DOMAIN_TRACK(domain, address, bytes);
}

/* Needs all registers, and moves its stack pointer. */
SITE void track_there(unsigned domain, unsigned long address, size_t bytes)
{
	volatile char *room = __builtin_alloca(bytes % 100 + 1);

	room[0] = (char)bytes;
	for (int i = 0; i < 2 + room[0] * 0; i++)
		if (i)
			DT_DOMAIN_TRACK(domain, address, bytes);
}

SITE void untrack_here(unsigned domain, unsigned long address)
{
	DT_DOMAIN_UNTRACK(domain, address);
}

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" */
static uint64_t below(uint64_t *state, uint64_t bound)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (*state * 0x2545f4914f6cdd1dull >> 32) % bound;
}

static void book_end(struct books *of, struct slot *slot)
{
	of->places[slot->place].frees++;
	of->places[slot->place].freed_bytes += slot->bytes;
	of->live_bytes -= slot->bytes;
	slot->bytes = 0;
}

static void book_begin(struct books *of, struct slot *slot, unsigned place, size_t bytes)
{
	if (slot->bytes)
		book_end(of, slot);
	*slot = (struct slot){ .bytes = bytes, .place = place };
	of->places[place].allocations++;
	of->places[place].allocated_bytes += bytes;
	of->live_bytes += bytes;
	if (of->live_bytes > of->peak_bytes)
		of->peak_bytes = of->live_bytes;
}

/* Where nothing is mapped: a handle, as memory of a device has. */
static unsigned long address_of(unsigned thread, unsigned domain, unsigned slot)
{
	return 0x100000000000ul + ((thread * DOMAINS + domain) * SLOTS + slot) * 4096ul;
}

static void operate(unsigned thread, uint64_t *state)
{
	unsigned domain = (unsigned)below(state, DOMAINS), slot = (unsigned)below(state, SLOTS);
	unsigned place = (unsigned)below(state, late_track ? PLACES : PLACES - 1);
	struct books *of = &books[thread][domain];
	unsigned long address = address_of(thread, domain, slot);
	size_t bytes = 1 + below(state, 4096);

	if (below(state, 5) < 2) {
		if (of->slots[slot].bytes)
			book_end(of, &of->slots[slot]);
		else
			of->unmatched++;
		(late_untrack && below(state, 2) ? late_untrack : untrack_here)(domains[domain], address);
		return;
	}
	if (of->slots[slot].bytes && of->slots[slot].inherited) /* domtrace knows of no other way to end a parent's block */
		untrack_here(domains[domain], address);
	book_begin(of, &of->slots[slot], place, bytes);
	(place == 0 ? track_here : place == 1 ? track_there : late_track)(domains[domain], address, bytes);
	if (!below(state, 50))          /* nothing */
		track_here(domains[domain], 0, bytes);
}

static void step(unsigned thread, uint64_t count)
{
	uint64_t state = 88172645463325252ull + thread + (uint64_t)getpid();

	while (count--)
		operate(thread, &state);
}

static uint64_t thread_steps;

static void *run_thread(void *number)
{
	step((unsigned)(uintptr_t)number, thread_steps);
	return NULL;
}

static void run_threads(uint64_t count)
{
	pthread_t threads[THREADS];

	thread_steps = count;
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, run_thread, (void *)(i + 1)))
			truth_stop("domains: no thread\n");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void load(const char *path)
{
	void *library = dlopen(path, RTLD_NOW);

	if (library) {
		*(void **)&late_track = dlsym(library, "late_track");
		*(void **)&late_untrack = dlsym(library, "late_untrack");
	}
	if (!late_track || !late_untrack)
		truth_stop("domains: the library cannot be loaded\n");
}

/* The NUL is the last byte of a page that was never touched before, and the next one is not there. */
static void name(unsigned domain, const char *text)
{
	size_t size = strlen(text) + 1;
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED || munmap(pages + 4096, 4096))
		truth_stop("domains: no page\n");
	memcpy(pages + 4096 - size, text, size);
	DT_DOMAIN_NAME(domain, pages + 4096 - size);
	munmap(pages, 4096);
}

static void lay(void)
{
	char *block = malloc(100000);

	inner[0] = 60000;
	inner[1] = 40000;
	DT_DOMAIN_TRACK(30, block, inner[0]);
	DT_DOMAIN_TRACK(31, block + 10000, inner[1]);
}

/* ---- the truth --------------------------------------------------------------------------------------------------- */

/* A child begins with what lives then, as if it had allocated that itself. */
static void begin_child(void)
{
	for (unsigned thread = 0; thread <= THREADS; thread++)
		for (unsigned i = 0; i < DOMAINS; i++) {
			struct books *of = &books[thread][i];

			for (unsigned place = 0; place < PLACES; place++) {
				of->places[place].allocations -= of->places[place].frees;
				of->places[place].allocated_bytes -= of->places[place].freed_bytes;
				of->places[place].frees = of->places[place].freed_bytes = 0;
			}
			of->peak_bytes = of->live_bytes;
			for (unsigned slot = 0; slot < SLOTS; slot++)
				of->slots[slot].inherited = true;
		}
}

static void tell_place(const char *name, unsigned domain, unsigned place, const char *end)
{
	struct truth_row sum = { 0 };

	for (unsigned thread = 0; thread <= THREADS; thread++) {
		const struct truth_row *row = &books[thread][domain].places[place];

		sum.allocations += row->allocations;
		sum.allocated_bytes += row->allocated_bytes;
		sum.frees += row->frees;
		sum.freed_bytes += row->freed_bytes;
	}
	printf("\"%s\": [%lu, %lu, %lu, %lu]%s", name, sum.allocations - sum.frees, sum.allocated_bytes - sum.freed_bytes, sum.allocations,
	       sum.allocated_bytes, end);
}

static void tell(void)
{
	uint64_t unmatched = 0;

	printf("{\"pid\": %d, \"inner\": [%lu, %lu], \"domains\": {", (int)getpid(), inner[0], inner[1]);
	for (unsigned i = 0; i < DOMAINS; i++) {
		printf("%s\"%u\": {", i ? ", " : "", domains[i]);
		tell_place("track_here", i, 0, ", ");
		tell_place("track_there", i, 1, ", ");
		tell_place("late_track", i, 2, ", ");
		printf("\"peak\": %lu}", books[0][i].peak_bytes);
		for (unsigned thread = 0; thread <= THREADS; thread++)
			unmatched += books[thread][i].unmatched;
	}
	printf("}, \"unmatched\": %lu}\n", unmatched);
	fflush(stdout);
}

static void forked(uint64_t count)
{
	pid_t child = fork();

	if (child < 0)
		truth_stop("domains: no child\n");
	if (child)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	begin_child();
	name(9, "the child's own");
	step(0, count);
	tell();
	pause();
	_exit(0);
}

static void run(const char *path, const char *count)
{
	pid_t child = fork();

	if (child < 0)
		truth_stop("domains: no child\n");
	if (!child) {
		execl(path, path, "--brief", count, NULL);
		_exit(1);
	}
	waitpid(child, NULL, 0);
}

static int be_brief(uint64_t count)
{
	step(0, count);
	name(8, "said by a brief one");
	tell();
	return 0;
}

static void clear(void)
{
	memset(books, 0, sizeof(books));
	memset(inner, 0, sizeof(inner));
}

int main(int argc, char **argv)
{
	static char line[4096];
	char word[16], text[4000];
	unsigned long number;

	if (argc > 2)
		return be_brief(strtoul(argv[2], NULL, 10));
	printf("{\"pid\": %d}\n", (int)getpid());
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "fork %lu", &number) == 1) {
			forked(number);
			continue;
		}
		if (sscanf(line, "run %15s", word) == 1) {
			run(argv[0], word);
			continue;
		}
		if (sscanf(line, "step %lu", &number) == 1)
			step(0, number);
		else if (sscanf(line, "threads %lu", &number) == 1)
			run_threads(number);
		else if (sscanf(line, "load %3999s", text) == 1)
			load(text);
		else if (sscanf(line, "name %lu %3999[^\n]", &number, text) == 2)
			name((unsigned)number, text);
		else if (sscanf(line, "%15s", word) == 1 && !strcmp(word, "lay"))
			lay();
		else if (!strcmp(word, "clear"))
			clear();
		tell();
	}
	return 0;
}
