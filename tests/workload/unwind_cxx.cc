// SPDX-License-Identifier: BSD-2-Clause
/* What C++ makes of frames: exceptions and what runs while they pass, templates, closures, virtual calls, the library's allocations. */
#include <algorithm>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include <stdlib.h>

#include "unwind.h"

namespace {

/* For blocks that are freed before the truth is told. */
struct freed {
	enum unwind_fact before;

	freed() : before(unwind_fact) { unwind_fact = UNWIND_FREED; }
	~freed() { unwind_fact = before; }
};

FRAME void allocate(size_t bytes)
{
	MARK();
	unwind_keep(malloc(bytes));
}

/* ---- exceptions ------------------------------------------------------------------------------------------------------- */

struct guard {
	size_t bytes;

	FRAME explicit guard(size_t bytes_) : bytes(bytes_)
	{
		MARK();
		unwind_keep(malloc(bytes));
	}

	FRAME ~guard()
	{
		MARK();
		allocate(bytes + 1);
	}
};

/* The object thrown is the runtime's: __cxa_allocate_exception() takes it from the allocator. */
FRAME void throws(unsigned depth)
{
	guard here(1000 + 10 * depth);

	MARK();
	if (depth)
		throws(depth - 1);
	freed objects;
	throw depth;
}

FRAME void catches()
{
	MARK();
	try {
		throws(3);
	} catch (unsigned &depth) {
		allocate(1100 + depth);
	}
	allocate(1102);
}

FRAME void throws_again()
{
	MARK();
	try {
		throws(1);
	} catch (...) {
		allocate(1110);
		throw;
	}
}

FRAME void throws_other()
{
	MARK();
	try {
		throws_again();
	} catch (unsigned) {
		freed objects;
		throw std::runtime_error("a text that is long enough for a block of its own");
	}
}

FRAME void nested()
{
	MARK();
	try {
		throws_other();
	} catch (const std::exception &exception) {
		try {
			throws(0);
		} catch (unsigned) {
			allocate(1120);
		}
		allocate(1121);
	}
	try {
		throws(0);
	} catch (unsigned) {
		std::exception_ptr kept = std::current_exception();

		try {
			freed objects;

			std::rethrow_exception(kept);
		} catch (unsigned) {
			allocate(1122);
		}
	}
}

FRAME void exceptions()
{
	MARK();
	catches();
	nested();
}

/* ---- templates ----------------------------------------------------------------------------------------------------------- */

template <int depth, typename type> struct deep {
	FRAME static void call(type value)
	{
		volatile char text[depth * 24] = {0};

		MARK();
		deep<depth - 1, std::pair<int, type>>::call({text[0], value});
		unwind_keep(nullptr);
	}
};

template <typename type> struct deep<0, type> {
	FRAME static void call(type)
	{
		MARK();
		unwind_keep(malloc(1200));
	}
};

template <typename... types> FRAME void many(types... values)
{
	MARK();
	unwind_keep(malloc(1201 + sizeof...(values)));
}

FRAME void templates()
{
	MARK();
	deep<24, char>::call('x');
	many(1, 2.0, "three", std::string("four"), std::map<std::string, std::vector<int>>());
}

/* ---- calls through objects ----------------------------------------------------------------------------------------------- */

struct first {
	virtual ~first() = default;
	virtual void call(size_t bytes) = 0;
};

struct second {
	virtual ~second() = default;
	virtual void call_other(size_t bytes) = 0;
};

struct both : first, second {
	FRAME void call(size_t bytes) override
	{
		MARK();
		unwind_keep(malloc(bytes));
	}

	/* Called through a thunk, which jumps. */
	FRAME void call_other(size_t bytes) override
	{
		MARK();
		call(bytes + 1);
		unwind_keep(nullptr);
	}
};

FRAME void call_virtual(first *one, second *two)
{
	MARK();
	one->call(1300);
	two->call_other(1310);
	unwind_keep(nullptr);
}

FRAME void call_function(const std::function<void(size_t)> &function)
{
	MARK();
	function(1320);
	unwind_keep(nullptr);
}

FRAME void closures()
{
	size_t more = unwind_opaque(4);
	auto closure = [more](size_t bytes) __attribute__((noipa)) {
		MARK();
		unwind_keep(malloc(bytes + more));
	};

	MARK();
	closure(1330);
	call_function(closure);
	unwind_fact = UNWIND_FREED;     /* too large for the function object itself */
	std::function<void(size_t)> bound = std::bind(&allocate, 1340);
	unwind_fact = UNWIND_KEPT;
	call_function(bound);
}

FRAME void objects()
{
	both object;

	MARK();
	call_virtual(&object, &object);
	closures();
}

/* ---- the library ------------------------------------------------------------------------------------------------------------ */

FRAME void sorts()
{
	std::vector<int> numbers;

	MARK();
	{
		freed blocks;

		for (int i = 0; i < 40; i++)
			numbers.push_back(7 * i % 40);
	}
	std::sort(numbers.begin(), numbers.end(), [](int a, int b) __attribute__((noipa)) {
		MARK();
		if (a == 3 && b == 7)
			allocate(1400);
		return a < b;
	});
}

FRAME void strings()
{
	MARK();
	freed blocks;
	std::map<std::string, std::string> texts;

	for (int i = 0; i < 5; i++)
		texts[std::string(40, static_cast<char>('a' + i))] = std::to_string(i) + ", and much more than fits in the object";
	std::string joined;

	for (const auto &text : texts)
		joined += text.second;
}

struct alignas(128) aligned_object {
	char text[256];
};

FRAME void news()
{
	MARK();
	unwind_keep(new int(3));
	unwind_keep(new char[1410]);
	unwind_keep(new aligned_object);
	unwind_keep(new (std::nothrow) char[1411]);
	unwind_keep(new std::shared_ptr<int>(std::make_shared<int>(5)));
}

FRAME void called_once()
{
	MARK();
	allocate(1420);
}

FRAME int first_value()
{
	MARK();
	allocate(1430);
	return 1;
}

FRAME int local_static()
{
	static int value = first_value();

	return value;
}

FRAME void library()
{
	std::once_flag flag;

	MARK();
	sorts();
	strings();
	news();
	std::call_once(flag, called_once);
	unwind_keep(reinterpret_cast<void *>(local_static()));
}

FRAME void run()
{
	MARK();
	exceptions();
	templates();
	objects();
	library();
}

} // namespace

int main()
{
	MARK_OUTERMOST();
	unwind_adopt_libraries();
	unwind_begin();
	unwind_tell_ready();
	run();
	unwind_tell("");
	return 0;
}
