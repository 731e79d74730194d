/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * array.h: arrays of numbers for the kernels of simd.h, in memory of their own that begins at a multiple of 64 bytes.
 *
 * Functions that can fail return 0 or a negative errno, and store results only on success. What failed changes nothing.
 */
#ifndef DOMTRACE_ARRAY_H
#define DOMTRACE_ARRAY_H

#include <stdbool.h>
#include <stddef.h>

#include <domtrace/simd.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DT_ARRAY_DIMENSIONS 8

/* The domain (domain.h) that the memory of all elements is tracked in, by its first element and its bytes. */
#define DT_ARRAY_DOMAIN 0x53494d44      /* "SIMD" */
#define DT_ARRAY_DOMAIN_NAME "simd"

enum dt_element {
#define DT_ARRAY_ELEMENT(name, NAME, element, total) DT_##NAME,
	DT_SIMD_ELEMENTS(DT_ARRAY_ELEMENT)
#undef DT_ARRAY_ELEMENT
	DT_ELEMENT_COUNT,
};

/* To be read; only these functions write it. The last dimension changes fastest, as in C. */
struct dt_array {
	enum dt_element type;
	unsigned dimensions;                    /* 0: one number */
	size_t shape[DT_ARRAY_DIMENSIONS];
	size_t count;                           /* of all elements */
	void *data;
	void *memory;                           /* what malloc gave for `data` */
};

/* A sum, in the member that is named like the type of the elements. */
union dt_total {
#define DT_ARRAY_TOTAL(name, NAME, element, total) total name;
	DT_SIMD_ELEMENTS(DT_ARRAY_TOTAL)
#undef DT_ARRAY_TOTAL
};

#pragma GCC visibility push(default)

/*
 * -EINVAL: there is no such type, or there are more than DT_ARRAY_DIMENSIONS dimensions. -EOVERFLOW: no address space is so large.
 * -ENOMEM. `zeroed`: all elements are 0; else they are whatever was there.
 */
int dt_array_new(enum dt_element type, unsigned dimensions, const size_t *shape, bool zeroed, struct dt_array **ret_array);
/* Another shape: elements stay where they are in memory, those that are new are 0. Errors as above. */
int dt_array_resize(struct dt_array *array, unsigned dimensions, const size_t *shape);
void dt_array_free(struct dt_array *array);

/*
 * The products element by element, in an array made for them. -EINVAL: the types or the shapes differ.
 * `x` and `y` may be the same.
 */
int dt_array_multiply(const struct dt_simd *simd, const struct dt_array *x, const struct dt_array *y, struct dt_array **ret_product);
/* The same into an array that is there, which may be `x` or `y`. */
int dt_array_multiply_into(const struct dt_simd *simd, struct dt_array *product, const struct dt_array *x, const struct dt_array *y);
void dt_array_sum(const struct dt_simd *simd, const struct dt_array *x, union dt_total *ret_total);
/* Without the array that dt_array_multiply() would make. -EINVAL as there. */
int dt_array_sum_of_products(const struct dt_simd *simd, const struct dt_array *x, const struct dt_array *y, union dt_total *ret_total);

/* "f64" and its size in bytes; NULL and 0 if there is no such type. */
const char *dt_element_name(enum dt_element type);
size_t dt_element_bytes(enum dt_element type);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
