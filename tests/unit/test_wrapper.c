/* SPDX-License-Identifier: BSD-2-Clause */
/* wrapper: every name of wrappers.def is found, however the compiler and the demangler write it, and no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "export/wrapper.h"

static const char *const names[] = {
#define DT_WRAPPER(name) #name,
#define DT_WRAPPER_PATTERN(pattern)
#include "export/wrappers.def"
#undef DT_WRAPPER
#undef DT_WRAPPER_PATTERN
};

/* Each name as it stands, with what may stand behind or in front of it; and with one letter more, which makes it another. */
static void test_names(void **state)
{
	static const char *const wrapped[] = { "%s", "%s(unsigned long)", "%s.cold", "%s.part.0", "%s [clone .isra.0]",
					       "%s[abi:cxx11](unsigned long)", "%s<int, A<B> >(int)", "void* %s<int>(int)" };
	static const char *const others[] = { "q%s", "%sq", "%sq(unsigned long)", "A::%s", "%s::f", "A<%s>::f", "f(%s)", "%s@1" };
	char text[256];

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(names); i++) {
		bool is_template = strncmp(names[i], "operator", 8);

		for (size_t k = 0; k < DT_ARRAY_SIZE(wrapped) - 1 + is_template; k++) {
			snprintf(text, sizeof(text), wrapped[k], names[i]);
			if (!dt_wrapper_is(text))
				fail_msg("%s is no wrapper", text);
		}
		for (size_t k = 0; k < DT_ARRAY_SIZE(others); k++) {
			snprintf(text, sizeof(text), others[k], names[i]);
			if (dt_wrapper_is(text))
				fail_msg("%s is a wrapper", text);
		}
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(names[i], names[k]);
	}
}

/* As c++filt and rustfilt write them; and as the linker knows them. */
static void test_real_names(void **state)
{
	static const char *const wrappers[] = {
		"operator new(unsigned long)", "operator new[](unsigned long)", "operator new(unsigned long, std::align_val_t)",
		"operator new(unsigned long, std::nothrow_t const&)", "operator new[](unsigned long, std::nothrow_t const&)",
		"operator new[](unsigned long, std::align_val_t, std::nothrow_t const&)",
		"_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t", "_ZnwmSt11align_val_t", "_ZnamSt11align_val_t",
		"_ZnwmSt11align_val_tRKSt9nothrow_t", "_ZnamSt11align_val_tRKSt9nothrow_t", "_Znwj",
		"std::allocator_traits<std::allocator<int> >::allocate(std::allocator<int>&, unsigned long)",
		"std::__new_allocator<std::_Rb_tree_node<std::pair<int const, A> > >::allocate(unsigned long, void const*)",
		"_ZNSt15__new_allocatorIiE8allocateEmPKv", "_ZNSt16allocator_traitsISaIiEE8allocateERS0_m",
		"std::_Vector_base<int, std::allocator<int> >::_M_allocate(unsigned long)",
		"_ZNSt12_Vector_baseIiSaIiEE11_M_allocateEm",
		"std::__allocated_ptr<std::allocator<int> > std::__allocate_guarded<std::allocator<int> >(std::allocator<int>&)",
		"std::__1::allocator<int>::allocate[abi:v15006](unsigned long)", "_ZNSt3__19allocatorIiE8allocateB7v160006Em",
		"void* std::__1::__libcpp_operator_new[abi:v15006]<unsigned long>(unsigned long)",
		"<alloc::alloc::Global as core::alloc::Allocator>::allocate", "alloc::alloc::exchange_malloc", "__rust_alloc",
	};
	static const char *const others[] = {
		"", "new", "operator", "operator delete(void*)", "_ZdlPv", "A::operator new(unsigned long)", "main", "(", "<", "a<",
		"operator<(int)", "std::vector<int, std::allocator<int> >::reserve(unsigned long)", "_ZNSt6vectorIiSaIiEE7reserveEm",
		"std::allocator<int>::deallocate(int*, unsigned long)", "_ZNSt15__new_allocatorIiE10deallocateEPim",
		"void std::allocator_traits<std::allocator<A> >::construct<A>(std::allocator<A>&, A*)", "PyObject_Call",
		"f(operator new(unsigned long))", "std::function<void* (operator new)>::operator()",
		"<alloc::vec::Vec<T> as core::clone::Clone>::clone", "alloc::alloc::dealloc",
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(wrappers); i++)
		if (!dt_wrapper_is(wrappers[i]))
			fail_msg("%s is no wrapper", wrappers[i]);
	for (size_t i = 0; i < DT_ARRAY_SIZE(others); i++)
		if (dt_wrapper_is(others[i]))
			fail_msg("%s is a wrapper", others[i]);
}

/* Names come from traced files: one of a megabyte, without end or full of brackets, is no wrapper, and takes no time. */
static void test_long_names(void **state)
{
	static char text[1 << 20];

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	assert_false(dt_wrapper_is(text));
	memset(text, '<', sizeof(text) - 1);
	assert_false(dt_wrapper_is(text));
	memcpy(text, "my_malloc", 9);
	assert_false(dt_wrapper_is(text));
	memset(text, 'a', sizeof(text) - 1);
	memcpy(text, "operator new<", 13);
	text[sizeof(text) - 2] = '>';
	assert_true(dt_wrapper_is(text));
	for (size_t i = 0; i + 1 < sizeof(text); i++)
		text[i] = "E8allocat"[i % 9];
	memcpy(text, "_ZNSaI", 6);
	assert_false(dt_wrapper_is(text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_real_names),
		cmocka_unit_test(test_long_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
