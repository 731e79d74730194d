/* SPDX-License-Identifier: BSD-2-Clause */
/* function: names without what stands in brackets; operators, Rust's paths, and brackets that never close. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "export/function.h"

static void test_outlines(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ "malloc", "malloc" },
		{ "main()", "main()" },
		{ "f(int)", "f(...)" },
		{ "std::vector<double, std::allocator<double> >::reserve(unsigned long)", "std::vector<...>::reserve(...)" },
		{ "operator new[](unsigned long)", "operator new[](...)" },
		{ "A::operator()(int) const", "A::operator()(...) const" },
		{ "A::operator<(A const&)", "A::operator<(...)" },
		{ "std::ostream& operator<< <char>(std::ostream&, char)", "operator<< <...>(...)" },
		{ "bool operator<=><int>(A<int>)", "operator<=><int>(...)" },
		{ "A::operator->()", "A::operator->()" },
		{ "(anonymous namespace)::f(int)", "(anonymous namespace)::f(...)" },
		{ "ns::(anonymous namespace)::A<int>::g()", "ns::(anonymous namespace)::A<...>::g()" },
		{ "main::{lambda(int)#1}::operator()(int) const", "main::{lambda(...)#1}::operator()(...) const" },
		{ "<alloc::vec::Vec<T> as core::clone::Clone>::clone", "<alloc::vec::Vec<...> as core::clone::Clone>::clone" },
		{ "std::shared_ptr<int> std::make_shared<int, int>(int&&)", "std::make_shared<...>(...)" },
		{ "void (anonymous namespace)::f<int>(int)", "(anonymous namespace)::f<...>(...)" },
		{ "unsigned long ns::(anonymous namespace)::f<int>(int) const", "ns::(anonymous namespace)::f<...>(...) const" },
		{ "decltype (x) f<int>(int)", "decltype (...) f<...>(...)" },
		{ "A::operator unsigned long() const", "A::operator unsigned long() const" },
		{ "void* operator new<int>(unsigned long)", "operator new<...>(...)" },
		{ "_PyObject_Malloc.cold", "_PyObject_Malloc.cold" },
		{ "f<int", "f<..." },
		{ "f(", "f(" },
		{ "f<", "f<" },
		{ "f<(>)x", "f<...>)x" },
		{ "((((", "(..." },
		{ ">>))", ">>))" },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		DT_FREE char *outline = dt_function_outline(cases[i][0]);

		assert_string_equal(outline, cases[i][1]);
	}
}

/* Every text of six characters out of those that mean something: it ends, inside its memory (ASan), and says no more than that. */
static void test_all_short_texts(void **state)
{
	static const char characters[] = "<>()a=";
	size_t kinds = strlen(characters), texts = 1;

	(void)state;
	for (int i = 0; i < 6; i++)
		texts *= kinds;
	for (size_t i = 0; i < texts; i++) {
		char text[7] = "";
		size_t rest = i;

		for (int k = 0; k < 6; k++, rest /= kinds)
			text[k] = characters[rest % kinds];
		DT_FREE char *outline = dt_function_outline(text);

		assert_true(strlen(outline) <= 2 * strlen(text));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outlines),
		cmocka_unit_test(test_all_short_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
