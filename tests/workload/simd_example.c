// SPDX-License-Identifier: BSD-2-Clause
/*
 * A program with an array library and memory of its own beside it: the two sections of NumPy's page on memory allocation, on
 * libdomtrace_simd. At the end of each there is a DT_SNAPSHOT.
 *
 *   section 1   an array of zeros (the library's domain, "simd") beside a list of boxed squares (malloc alone)
 *   section 2   the sum of the products of an array with itself, which needs another array for a moment
 *
 *   simd_example [--rows N] [--columns N] [--rounds N] [--threads N] [--clear]
 *
 * Before each of these it tells the truth of both domains, libc's in one line and the library's in the next, and waits for a line behind
 * it. --clear: whoever drives it clears the trace at the first of these (truth.h). Threads do the same at the same time.
 */
#include <pthread.h>
#include <stdio.h>

#include <domtrace/array.h>
#include <domtrace/domain.h>

#include "truth.h"

#define THREADS_MAX 64
#define ROOM_BEYOND 63                  /* for data at a multiple of 64 (user/simd/memory.c) */

enum { LIBC_MEMORY, LIBC_ARRAY, LIBC_BOX, LIBC_LIST, LIBC_ROWS };
static const struct truth_name libc_names[LIBC_ROWS] = {
	[LIBC_MEMORY] = { "dt_memory_new", "dt_array_new", NULL },
	[LIBC_ARRAY] = { "dt_array_new", NULL, NULL },
	[LIBC_BOX] = { "box", "make_squares", NULL },
	[LIBC_LIST] = { "make_squares", NULL, NULL },
};
static const struct truth_name simd_names[] = { { "dt_memory_new", "dt_array_new", NULL } };

struct number {
	uint64_t references, type;
	int64_t value;
};

struct worker {
	struct truth libc, simd;
	struct dt_array *zeros;
	struct number **squares;
	union dt_total total;
	bool zeros_are_older, squares_are_older; /* than the trace, as it was cleared */
};

static struct {
	const struct dt_simd *simd;
	size_t shape[2], count;
	uint64_t rounds;
	unsigned threads;
	bool clear;
	pthread_barrier_t barrier;
	struct worker workers[THREADS_MAX];
} example;

static void expect(bool condition, const char *what)
{
	if (!condition)
		truth_stop(what);
}

static void book_free(struct truth *truth, unsigned row, uint64_t bytes, bool older)
{
	if (older)
		truth->unmatched_frees++;
	else
		truth_book_free(truth, row, bytes);
}

static void book_array(struct worker *worker, const struct dt_array *array)
{
	uint64_t bytes = array->count * sizeof(double);

	truth_book_allocation(&worker->libc, LIBC_MEMORY, bytes + ROOM_BEYOND);
	truth_book_allocation(&worker->simd, 0, bytes);
	truth_book_allocation(&worker->libc, LIBC_ARRAY, sizeof(*array));
}

static void free_array(struct worker *worker, struct dt_array *array, bool older)
{
	uint64_t bytes = array->count * sizeof(double);

	dt_array_free(array);
	book_free(&worker->libc, LIBC_MEMORY, bytes + ROOM_BEYOND, older);
	book_free(&worker->simd, 0, bytes, older);
	book_free(&worker->libc, LIBC_ARRAY, sizeof(*array), older);
}

/* ---- section 1 ----------------------------------------------------------------------------------------------- */

SITE void make_zeros(struct worker *worker)
{
	expect(!dt_array_new(DT_F64, 2, example.shape, true, &worker->zeros), "simd_example: no memory for zeros\n");
	book_array(worker, worker->zeros);
}

SITE struct number *box(int64_t value)
{
	struct number *number = malloc(sizeof(*number));

	expect(number != NULL, "simd_example: no memory for a number\n");
	*number = (struct number){ 1, 0, value };
	return number;
}

SITE void make_squares(struct worker *worker)
{
	worker->squares = malloc(example.count * sizeof(*worker->squares));
	expect(worker->squares != NULL, "simd_example: no memory for a list\n");
	truth_book_allocation(&worker->libc, LIBC_LIST, example.count * sizeof(*worker->squares));
	for (size_t i = 0; i < example.count; i++) {
		worker->squares[i] = box((int64_t)(i * i));
		truth_book_allocation(&worker->libc, LIBC_BOX, sizeof(struct number));
	}
}

/* ---- section 2 ----------------------------------------------------------------------------------------------- */

/* sum(a * a), a being 2 everywhere. The products are an array for a moment. */
SITE void sum_of_squares(struct worker *worker)
{
	struct dt_array *products;
	double *a = worker->zeros->data;

	for (size_t i = 0; i < example.count; i++)
		a[i] = 2;
	expect(!dt_array_multiply(example.simd, worker->zeros, worker->zeros, &products), "simd_example: no memory for products\n");
	book_array(worker, products);
	dt_array_sum(example.simd, products, &worker->total);
	free_array(worker, products, false);
}

SITE void free_all(struct worker *worker)
{
	free_array(worker, worker->zeros, worker->zeros_are_older);
	for (size_t i = 0; i < example.count; i++) {
		free(worker->squares[i]);
		book_free(&worker->libc, LIBC_BOX, sizeof(struct number), worker->squares_are_older);
	}
	free(worker->squares);
	book_free(&worker->libc, LIBC_LIST, example.count * sizeof(*worker->squares), worker->squares_are_older);
}

/* ---- the turns of driver and workload ------------------------------------------------------------------------ */

static void tell(void)
{
	static struct truth libc, simd;         /* too large for a stack */
	char facts[128];

	libc = simd = (struct truth){ 0 };
	if (example.threads == 1) {
		libc = example.workers[0].libc;
		simd = example.workers[0].simd;
	}
	for (unsigned i = 0; i < example.threads && example.threads > 1; i++) {
		truth_add(&libc, &example.workers[i].libc);
		truth_add(&simd, &example.workers[i].simd);
	}
	snprintf(facts, sizeof(facts), "\"domain\": \"libc\", \"total\": %.0f", example.workers[0].total.f64);
	truth_print(&libc, libc_names, LIBC_ROWS, facts);
	truth_print(&simd, simd_names, 1, "\"domain\": \"simd\"");
}

/* All threads come here; the first tells what is, and is at a marker meanwhile. */
static void end_section(struct worker *worker, const char *label)
{
	pthread_barrier_wait(&example.barrier);
	if (worker == example.workers) {
		tell();
		DT_SNAPSHOT(label);
		truth_wait();
	}
	pthread_barrier_wait(&example.barrier);
}

static void forget(struct worker *worker)
{
	worker->libc = worker->simd = (struct truth){ 0 };
	worker->zeros_are_older = worker->squares_are_older = true;
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	pthread_barrier_wait(&example.barrier);
	for (uint64_t i = 0; i < example.rounds; i++) {
		worker->zeros_are_older = worker->squares_are_older = false;
		make_zeros(worker);
		make_squares(worker);
		end_section(worker, "section 1");
		if (example.clear)
			forget(worker);
		sum_of_squares(worker);
		end_section(worker, "section 2");
		free_all(worker);
	}
	pthread_barrier_wait(&example.barrier);
	while (worker != example.workers)
		pause();                /* the end of a thread changes the C library's books: they go with the process */
	return NULL;
}

int main(int argc, char **argv)
{
	char why[DT_SIMD_WHY];

	example.shape[0] = truth_number_option(argc, argv, "--rows", 300);
	example.shape[1] = truth_number_option(argc, argv, "--columns", 500);
	example.rounds = truth_number_option(argc, argv, "--rounds", 1);
	example.threads = (unsigned)truth_number_option(argc, argv, "--threads", 1);
	example.clear = truth_has_option(argc, argv, "--clear");
	example.count = example.shape[0] * example.shape[1];
	if (!example.count || example.shape[0] > 1u << 20 || example.shape[1] > 1u << 20 || !example.threads || example.threads > THREADS_MAX) {
		truth_stop("simd_example: rows, columns and threads are at least 1, and not too many\n");
	}
	if (dt_simd_get(NULL, &example.simd, why)) {
		fprintf(stderr, "simd_example: %s\n", why);
		return 1;
	}
	pthread_barrier_init(&example.barrier, NULL, example.threads);
	for (unsigned i = 1; i < example.threads; i++) {
		pthread_t thread;               /* not joined: what it leaves goes with the process */

		expect(!pthread_create(&thread, NULL, work, &example.workers[i]), "simd_example: no thread\n");
	}
	truth_print_pid();
	truth_wait();
	work(&example.workers[0]);
	tell();
	truth_wait();
	return 0;
}
