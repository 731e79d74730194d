/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernels against NumPy, bit by bit: integers wrap as NumPy's do, and products of floating-point numbers are NumPy's. simd_numpy.py
 * computes there what is computed here again with each instruction set; it says what its output is made of.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include <domtrace/simd.h>

#define SCRIPT "/usr/bin/python3 tests/unit/simd_numpy.py"      /* tests run in the project's directory */
#define SETS_MAX 16
#define SKIPPED 77
#define NO_COMMAND 127                  /* of a shell */

struct operand {
	size_t first;
	ptrdiff_t stride;
};

struct question {
	char type[8];
	char operation[24];
	size_t count;
	size_t room;
	struct operand x;
	struct operand y;
	struct operand product;
};

/* Does what a question asks for to the memory; false: it asks for something unknown. */
#define ANSWER(name, NAME, element, total) \
	static bool answer_##name(const struct dt_simd *simd, const struct question *question, void *memory, int64_t *ret_sum) \
	{ \
		const struct operand *x = &question->x, *y = &question->y, *product = &question->product; \
		element *at = memory; \
	\
		*ret_sum = 0; \
		if (!strcmp(question->operation, "sum")) \
			*ret_sum = (int64_t)simd->name.sum(at + x->first, x->stride, question->count); \
		else if (!strcmp(question->operation, "sum_of_products")) \
			*ret_sum = (int64_t)simd->name.sum_of_products(at + x->first, x->stride, at + y->first, y->stride, question->count); \
		else if (!strcmp(question->operation, "multiply")) \
			simd->name.multiply(at + product->first, product->stride, at + x->first, x->stride, at + y->first, y->stride, question->count); \
		else \
			return false; \
		return true; \
	} \
	/* The first element that differs, or `count`; of what is not a number nothing is compared but that. */ \
	static size_t differs_##name(const void *got, const void *expected, size_t count) \
	{ \
		const element *a = got, *b = expected; \
		size_t i = 0; \
	\
		while (i < count && (!memcmp(&a[i], &b[i], sizeof(*a)) || (isnan((double)a[i]) && isnan((double)b[i])))) \
			i++; \
		return i; \
	}
DT_SIMD_ELEMENTS(ANSWER)

static const struct type {
	const char *name;
	size_t bytes;
	bool (*answer)(const struct dt_simd *simd, const struct question *question, void *memory, int64_t *ret_sum);
	size_t (*differs)(const void *got, const void *expected, size_t count);
} types[] = {
#define TYPE(name, NAME, element, total) { #name, sizeof(element), answer_##name, differs_##name },
	DT_SIMD_ELEMENTS(TYPE)
	{ 0 }
};

static const struct type *type_named(const char *name)
{
	const struct type *type = types;

	while (type->name && strcmp(type->name, name) != 0)
		type++;
	assert_true(type->name != NULL);
	return type;
}

static const struct dt_simd *sets[SETS_MAX];
static FILE *numpy;

static void check(const struct dt_simd *simd, const struct type *type, const struct question *question, const void *before,
		  const void *after, int64_t sum, void *memory)
{
	int64_t got_sum;
	size_t at;

	memcpy(memory, before, question->room * type->bytes);
	assert_true(type->answer(simd, question, memory, &got_sum));
	at = type->differs(memory, after, question->room);
	if (got_sum == sum && at == question->room)
		return;
	printf("%s: %s %s of %zu elements, x %zu stride %td, y %zu stride %td, product %zu stride %td of %zu: the sum is %lld, NumPy's %lld; "
	       "the first element that differs is %zu\n", simd->name, type->name, question->operation, question->count, question->x.first,
	       question->x.stride, question->y.first, question->y.stride, question->product.first, question->product.stride,
	       question->room, (long long)got_sum, (long long)sum, at);
	assert_true(got_sum == sum && at == question->room);
}

static void read_whole(void *to, size_t bytes)
{
	assert_true(fread(to, 1, bytes, numpy) == bytes);
}

static void *memory_new(size_t bytes)
{
	void *memory = malloc(bytes);

	assert_true(memory != NULL);
	return memory;
}

/* Every question of the script, to every instruction set. */
static void test_questions(void **state)
{
	size_t asked = 0, told = 0;
	char line[256];

	(void)state;
	while (fgets(line, sizeof(line), numpy) && sscanf(line, "end %zu", &told) != 1) {
		struct question question;
		int words = sscanf(line, "%7s %23s %zu %zu %zu %td %zu %td %zu %td", question.type, question.operation, &question.count,
				   &question.room, &question.x.first, &question.x.stride, &question.y.first, &question.y.stride,
				   &question.product.first, &question.product.stride);

		assert_int_equal(words, 10);
		const struct type *type = type_named(question.type);
		size_t bytes = question.room * type->bytes;
		void *before = memory_new(bytes), *after = memory_new(bytes), *memory = memory_new(bytes);
		int64_t sum;

		read_whole(before, bytes);
		read_whole(after, bytes);
		read_whole(&sum, sizeof(sum));
		for (size_t i = 0; sets[i]; i++)
			check(sets[i], type, &question, before, after, sum, memory);
		free(before);
		free(after);
		free(memory);
		asked++;
	}
	assert_true(asked > 0);
	assert_int_equal(asked, told);
	printf("%zu questions\n", asked);
}

static void find_sets(void)
{
	const char *name;
	size_t count = 0;

	for (size_t i = 0; (name = dt_simd_name(i)) && count < SETS_MAX - 1; i++) {
		char why[DT_SIMD_WHY];

		if (dt_simd_get(name, &sets[count], why))
			printf("not tested: %s\n", why);
		else
			printf("%s\n", sets[count++]->name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_questions) };
	int first, failed, status;

	find_sets();
	fflush(stdout);
	numpy = popen(SCRIPT, "r");
	if (!numpy)
		return 1;
	/* It says nothing at all where it cannot compute: that is its status then. */
	first = getc(numpy);
	if (first == EOF) {
		status = pclose(numpy);
		status = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		if (status != SKIPPED && status != NO_COMMAND)
			return 1;
		printf("skipped: no comparison with NumPy: /usr/bin/python3 with python3-numpy is not here\n");
		return SKIPPED;
	}
	ungetc(first, numpy);
	failed = cmocka_run_group_tests_name("numpy", tests, NULL, NULL);
	status = pclose(numpy);
	return failed || status;
}
