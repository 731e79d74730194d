/* SPDX-License-Identifier: BSD-2-Clause */
/* The bytes of files and copies: what is there, what is not, and what stays when the rest is let go of. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "target/image.h"

static const char text[] = "0123456789";

static struct dt_image *open_text(int *ret_fd)
{
	struct dt_image *image = NULL;

	*ret_fd = memfd_create("image", MFD_CLOEXEC);
	assert_int_equal(dt_file_write_all(*ret_fd, text, 10), 0);
	assert_int_equal(dt_image_open(fcntl(*ret_fd, F_DUPFD_CLOEXEC, 0), &image), 0);
	return image;
}

static void expect_reads(struct dt_image *image)
{
	static const struct { uint64_t offset, size; int error; } cases[] = {
		{ 0, 10, 0 }, { 3, 4, 0 }, { 9, 1, 0 }, { 0, 0, 0 }, { 10, 0, 0 }, { 0, 11, -EBADMSG }, { 10, 1, -EBADMSG },
		{ 11, 0, -EBADMSG }, { UINT64_MAX, 1, -EBADMSG }, { 1, SIZE_MAX, -EBADMSG },
	};

	assert_int_equal(dt_image_size(image), 10);
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		const uint8_t *bytes = NULL;
		char copy[16];

		assert_int_equal(dt_image_read(image, cases[i].offset, copy, cases[i].size), cases[i].error);
		assert_int_equal(dt_image_get(image, cases[i].offset, cases[i].size, &bytes), cases[i].error);
		if (cases[i].error) {
			assert_null(bytes);
			continue;
		}
		assert_memory_equal(copy, text + cases[i].offset, cases[i].size);
		assert_memory_equal(bytes, text + cases[i].offset, cases[i].size);
	}
}

static void test_reads(void **state)
{
	struct dt_image *image;
	int fd;

	(void)state;
	image = open_text(&fd);
	expect_reads(image);
	dt_image_close(image);
	close(fd);
	assert_int_equal(dt_image_copy(text, 10, &image), 0);
	expect_reads(image);
	dt_image_close(image);
	dt_image_close(NULL);
}

static void test_what_is_kept_stays(void **state)
{
	const uint8_t *kept, *got, *again;
	struct dt_image *image;
	int fd;

	(void)state;
	image = open_text(&fd);
	assert_int_equal(dt_image_keep(image, 2, 4, &kept), 0);
	assert_int_equal(dt_image_get(image, 3, 2, &got), 0);
	assert_ptr_equal(got, kept + 1);                /* it is there already */
	assert_int_equal(dt_image_get(image, 1, 4, &got), 0);
	assert_int_equal(dt_image_keep(image, 1, 4, &again), 0);
	assert_true(again != got);                      /* that one will go */
	dt_image_trim(image);
	assert_memory_equal(kept, "2345", 4);
	assert_memory_equal(again, "1234", 4);
	assert_int_equal(ftruncate(fd, 5), 0);
	assert_int_equal(dt_image_get(image, 2, 4, &got), 0);
	assert_ptr_equal(got, kept);
	assert_int_equal(dt_image_get(image, 0, 6, &got), -EBADMSG);
	assert_int_equal(dt_image_get(image, 0, 5, &got), 0);
	dt_image_close(image);
	close(fd);
}

static void test_copies(void **state)
{
	struct dt_image *image, *copy, *other;
	int fd;

	(void)state;
	image = open_text(&fd);
	assert_int_equal(dt_image_copy(text, 10, &copy), 0);
	assert_int_equal(dt_image_copy("012345678X", 10, &other), 0);
	assert_true(dt_image_is_same(image, image) && dt_image_is_same(image, copy) && dt_image_is_same(copy, image));
	assert_false(dt_image_is_same(image, other) || dt_image_is_same(other, copy));
	dt_image_close(other);
	assert_int_equal(dt_image_copy(text, 9, &other), 0);
	assert_false(dt_image_is_same(image, other));
	assert_int_equal(ftruncate(fd, 9), 0);
	assert_false(dt_image_is_same(image, copy) || dt_image_is_same(image, other));
	dt_image_close(other);
	dt_image_close(copy);
	dt_image_close(image);
	close(fd);
}

static void test_what_is_no_image(void **state)
{
	struct dt_image *image = NULL;
	const uint8_t *bytes;
	int fd;

	(void)state;
	assert_int_equal(dt_image_open(open("/dev/zero", O_RDONLY | O_CLOEXEC), &image), -ENOEXEC);
	assert_int_equal(dt_image_open(open("/", O_RDONLY | O_CLOEXEC), &image), -ENOEXEC);
	assert_int_equal(dt_image_open(-1, &image), -EBADF);
	assert_null(image);
	image = open_text(&fd);
	dt_image_close(image);
	assert_int_equal(ftruncate(fd, 4ll << 40), 0);
	assert_int_equal(dt_image_open(fd, &image), 0);
	assert_int_equal(dt_image_get(image, 0, DT_IMAGE_BYTES_MAX + 1ull, &bytes), -EFBIG);
	assert_int_equal(dt_image_get(image, 1ull << 40, 16, &bytes), 0);
	assert_int_equal(dt_image_get(image, 0, DT_IMAGE_BYTES_MAX - 15ull, &bytes), -EFBIG);
	dt_image_close(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads),
		cmocka_unit_test(test_what_is_kept_stays),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_what_is_no_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
