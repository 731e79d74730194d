// SPDX-License-Identifier: BSD-2-Clause
// Names as C++ has them. Comments like @this mark the line of the call that the case expects in that function.
#include <cstddef>
#include <cstdlib>

namespace shapes {
namespace {

template <typename Row, int Count> struct Pile {
	Row *rows = nullptr;

	__attribute__((noinline)) Row *grow(std::size_t size)
	{
		rows = static_cast<Row *>(std::malloc(size)); /* @grow */
		__asm__ volatile("" ::: "memory");
		return rows;
	}
};

} // namespace

class Shape {
public:
	__attribute__((noinline)) void *operator[](std::size_t size)
	{
		auto grow = [this](std::size_t bytes) __attribute__((noinline)) {
			char *rows = pile.grow(bytes); /* @lambda */
			__asm__ volatile("" ::: "memory");
			return rows;
		};
		void *block = grow(size); /* @index */
		__asm__ volatile("" ::: "memory");
		return block;
	}

private:
	Pile<char, 3> pile;
};

} // namespace shapes

extern "C" __attribute__((visibility("default"))) void *names_shapes(std::size_t size)
{
	shapes::Shape shape;
	void *block = shape[size]; /* @names_shapes */

	__asm__ volatile("" ::: "memory");
	return block;
}
