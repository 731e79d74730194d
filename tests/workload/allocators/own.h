/* SPDX-License-Identifier: BSD-2-Clause */
/* own.h: the functions that only one allocator has, as its manual declares them. */
#ifndef DT_WORKLOAD_OWN_H
#define DT_WORKLOAD_OWN_H

#if defined(WITH_X)
void *F(mallocx)(size_t bytes, int flags);
void *F(rallocx)(void *block, size_t bytes, int flags);
size_t F(xallocx)(void *block, size_t bytes, size_t extra, int flags);
void F(dallocx)(void *block, int flags);
void F(sdallocx)(void *block, size_t bytes, int flags);

#define ALIGN_64 6                      /* MALLOCX_LG_ALIGN(6) */

SITE void *do_own(size_t bytes, int flags)
{
	void *block = F(mallocx)(bytes, flags);

	got(ROW_OWN, block, bytes);
	return block;
}

SITE void *do_resized(void *old, size_t bytes)
{
	volatile uintptr_t old_address = (uintptr_t)old;
	void *block = F(rallocx)(old, bytes, 0);

	resized(ROW_RESIZED, old_address, block, bytes);
	return block;
}

SITE void do_in_place(void *block, size_t bytes)
{
	size_t is = F(xallocx)(block, bytes, 0, 0);

	if (is < bytes)
		truth.failed_allocations++;
	else
		resized(ROW_IN_PLACE, (uintptr_t)block, block, bytes);
}

STEPS steps_own(void)
{
	void *block = do_own(100, 0);

	truth_freed(&truth, (uintptr_t)block);
	F(dallocx)(block, 0);
	block = do_own(1000, ALIGN_64);
	truth_freed(&truth, (uintptr_t)block);
	F(sdallocx)(block, 1000, ALIGN_64);
	do_own(REFUSED, 0);
	block = do_own(3000, 0);
	do_in_place(block, 3001);
	do_in_place(block, 1 << 24);
	block = do_resized(block, 90000);
	block = do_resized(block, 12);
	do_resized(block, REFUSED);
	do_own(5, ALIGN_64);
}

#elif defined(WITH_MI)
struct heap;
struct heap *mi_heap_get_default(void);
void *mi_zalloc(size_t bytes);
void *mi_malloc_small(size_t bytes);
void *mi_zalloc_small(size_t bytes);
void *mi_mallocn(size_t count, size_t bytes);
void *mi_reallocn(void *block, size_t count, size_t bytes);
void *mi_rezalloc(void *block, size_t bytes);
void *mi_recalloc(void *block, size_t count, size_t bytes);
void *mi_expand(void *block, size_t bytes);
void *mi_malloc_aligned(size_t bytes, size_t alignment);
void *mi_malloc_aligned_at(size_t bytes, size_t alignment, size_t offset);
void *mi_zalloc_aligned(size_t bytes, size_t alignment);
void *mi_zalloc_aligned_at(size_t bytes, size_t alignment, size_t offset);
void *mi_calloc_aligned(size_t count, size_t bytes, size_t alignment);
void *mi_calloc_aligned_at(size_t count, size_t bytes, size_t alignment, size_t offset);
void *mi_realloc_aligned(void *block, size_t bytes, size_t alignment);
void *mi_realloc_aligned_at(void *block, size_t bytes, size_t alignment, size_t offset);
void *mi_rezalloc_aligned(void *block, size_t bytes, size_t alignment);
void *mi_rezalloc_aligned_at(void *block, size_t bytes, size_t alignment, size_t offset);
void *mi_recalloc_aligned(void *block, size_t count, size_t bytes, size_t alignment);
void *mi_recalloc_aligned_at(void *block, size_t count, size_t bytes, size_t alignment, size_t offset);
void *mi_heap_malloc(struct heap *heap, size_t bytes);
void *mi_heap_malloc_small(struct heap *heap, size_t bytes);
void *mi_heap_zalloc(struct heap *heap, size_t bytes);
void *mi_heap_calloc(struct heap *heap, size_t count, size_t bytes);
void *mi_heap_mallocn(struct heap *heap, size_t count, size_t bytes);
void *mi_heap_realloc(struct heap *heap, void *block, size_t bytes);
void *mi_heap_reallocn(struct heap *heap, void *block, size_t count, size_t bytes);
void *mi_heap_reallocf(struct heap *heap, void *block, size_t bytes);
void *mi_heap_rezalloc(struct heap *heap, void *block, size_t bytes);
void *mi_heap_recalloc(struct heap *heap, void *block, size_t count, size_t bytes);
void *mi_heap_malloc_aligned(struct heap *heap, size_t bytes, size_t alignment);
void *mi_heap_malloc_aligned_at(struct heap *heap, size_t bytes, size_t alignment, size_t offset);
void *mi_heap_zalloc_aligned(struct heap *heap, size_t bytes, size_t alignment);
void *mi_heap_zalloc_aligned_at(struct heap *heap, size_t bytes, size_t alignment, size_t offset);
void *mi_heap_calloc_aligned(struct heap *heap, size_t count, size_t bytes, size_t alignment);
void *mi_heap_calloc_aligned_at(struct heap *heap, size_t count, size_t bytes, size_t alignment, size_t offset);
void *mi_heap_realloc_aligned(struct heap *heap, void *block, size_t bytes, size_t alignment);
void *mi_heap_realloc_aligned_at(struct heap *heap, void *block, size_t bytes, size_t alignment, size_t offset);
void *mi_heap_rezalloc_aligned(struct heap *heap, void *block, size_t bytes, size_t alignment);
void *mi_heap_rezalloc_aligned_at(struct heap *heap, void *block, size_t bytes, size_t alignment, size_t offset);
void *mi_heap_recalloc_aligned(struct heap *heap, void *block, size_t count, size_t bytes, size_t alignment);
void *mi_heap_recalloc_aligned_at(struct heap *heap, void *block, size_t count, size_t bytes, size_t alignment, size_t offset);
void *mi_new(size_t bytes);
void *mi_new_n(size_t count, size_t bytes);
void *mi_new_nothrow(size_t bytes);
void *mi_new_aligned(size_t bytes, size_t alignment);
void *mi_new_aligned_nothrow(size_t bytes, size_t alignment);
void *mi_new_realloc(void *block, size_t bytes);
void *mi_new_reallocn(void *block, size_t count, size_t bytes);
void *mi_heap_alloc_new(struct heap *heap, size_t bytes);
void *mi_heap_alloc_new_n(struct heap *heap, size_t count, size_t bytes);
int mi_reallocarr(void *block, size_t count, size_t bytes);
void mi_free_size(void *block, size_t bytes);
void mi_free_aligned(void *block, size_t alignment);
void mi_free_size_aligned(void *block, size_t bytes, size_t alignment);

static struct heap *heap;

/* Sizes differ from call to call, so that no two errors make up for each other. */
SITE void *do_own(unsigned which, size_t bytes)
{
	size_t half = bytes / 2;
	void *block = NULL;

	switch (which) {
	case 0: block = mi_zalloc(bytes); break;
	case 1: block = mi_malloc_small(bytes); break;
	case 2: block = mi_zalloc_small(bytes); break;
	case 3: block = mi_mallocn(2, half); break;
	case 4: block = mi_malloc_aligned(bytes, 64); break;
	case 5: block = mi_malloc_aligned_at(bytes, 64, 8); break;
	case 6: block = mi_zalloc_aligned(bytes, 128); break;
	case 7: block = mi_zalloc_aligned_at(bytes, 128, 16); break;
	case 8: block = mi_calloc_aligned(2, half, 256); break;
	case 9: block = mi_calloc_aligned_at(2, half, 256, 8); break;
	case 10: block = mi_heap_malloc(heap, bytes); break;
	case 11: block = mi_heap_malloc_small(heap, bytes); break;
	case 12: block = mi_heap_zalloc(heap, bytes); break;
	case 13: block = mi_heap_calloc(heap, 2, half); break;
	case 14: block = mi_heap_mallocn(heap, half, 2); break;
	case 15: block = mi_heap_malloc_aligned(heap, bytes, 64); break;
	case 16: block = mi_heap_malloc_aligned_at(heap, bytes, 64, 8); break;
	case 17: block = mi_heap_zalloc_aligned(heap, bytes, 64); break;
	case 18: block = mi_heap_zalloc_aligned_at(heap, bytes, 64, 8); break;
	case 19: block = mi_heap_calloc_aligned(heap, half, 2, 64); break;
	case 20: block = mi_heap_calloc_aligned_at(heap, 2, half, 64, 8); break;
	case 21: block = mi_new(bytes); break;
	case 22: block = mi_new_n(2, half); break;
	case 23: block = mi_new_nothrow(bytes); break;
	case 24: block = mi_new_aligned(bytes, 64); break;
	case 25: block = mi_new_aligned_nothrow(bytes, 64); break;
	case 26: block = mi_heap_alloc_new(heap, bytes); break;
	case 27: block = mi_heap_alloc_new_n(heap, 2, half); break;
	default: truth_stop("allocator: no such function\n");
	}
	got(ROW_OWN, block, bytes);
	return block;
}

SITE void *do_resized(unsigned which, void *old, size_t bytes)
{
	volatile uintptr_t old_address = (uintptr_t)old;
	size_t half = bytes / 2;
	void *block = NULL;

	switch (which) {
	case 0: block = mi_reallocn(old, 2, half); break;
	case 1: block = mi_rezalloc(old, bytes); break;
	case 2: block = mi_recalloc(old, 2, half); break;
	case 3: block = mi_expand(old, bytes); break;
	case 4: block = mi_realloc_aligned(old, bytes, 64); break;
	case 5: block = mi_realloc_aligned_at(old, bytes, 64, 8); break;
	case 6: block = mi_rezalloc_aligned(old, bytes, 64); break;
	case 7: block = mi_rezalloc_aligned_at(old, bytes, 64, 8); break;
	case 8: block = mi_recalloc_aligned(old, 2, half, 64); break;
	case 9: block = mi_recalloc_aligned_at(old, 2, half, 64, 8); break;
	case 10: block = mi_heap_realloc(heap, old, bytes); break;
	case 11: block = mi_heap_reallocn(heap, old, 2, half); break;
	case 12: block = mi_heap_rezalloc(heap, old, bytes); break;
	case 13: block = mi_heap_recalloc(heap, old, half, 2); break;
	case 14: block = mi_heap_realloc_aligned(heap, old, bytes, 64); break;
	case 15: block = mi_heap_realloc_aligned_at(heap, old, bytes, 64, 8); break;
	case 16: block = mi_heap_rezalloc_aligned(heap, old, bytes, 64); break;
	case 17: block = mi_heap_rezalloc_aligned_at(heap, old, bytes, 64, 8); break;
	case 18: block = mi_heap_recalloc_aligned(heap, old, 2, half, 64); break;
	case 19: block = mi_heap_recalloc_aligned_at(heap, old, 2, half, 64, 8); break;
	case 20: block = mi_new_realloc(old, bytes); break;
	case 21: block = mi_new_reallocn(old, 2, half); break;
	case 22: block = old; if (mi_reallocarr(&block, 2, half)) truth_stop("allocator: mi_reallocarr\n"); break;
	case 23: block = mi_heap_reallocf(heap, old, bytes); break;
	default: truth_stop("allocator: no such function\n");
	}
	resized(ROW_RESIZED, old_address, block, bytes);
	return block;
}

STEPS steps_own(void)
{
	void *block;

	heap = mi_heap_get_default();
	for (unsigned which = 0; which < 28; which++)
		for (size_t i = 0; i < 4; i++) {
			block = do_own(which, 100 + 2 * which + 202 * i);
			if (i < 2)
				give_back(block);
		}
	for (unsigned which = 0; which < 24; which++) {
		block = do_malloc(100 + which);
		if (which == 3)
			do_resized(which, block, 1 << 20);      /* does not fit */
		block = do_resized(which, block, 94);
		if (which != 3)
			block = do_resized(which, block, 50000 + 2 * which);
		if (which % 2)
			give_back(block);
	}
	block = do_malloc(40);
	truth_freed(&truth, (uintptr_t)block);
	mi_free_size(block, 40);
	block = do_own(4, 640);
	truth_freed(&truth, (uintptr_t)block);
	mi_free_aligned(block, 64);
	block = do_own(4, 642);
	truth_freed(&truth, (uintptr_t)block);
	mi_free_size_aligned(block, 642, 64);
}

#elif defined(WITH_TC)
void *tc_malloc_skip_new_handler(size_t bytes);
void *tc_new(size_t bytes);
void *tc_newarray(size_t bytes);
void *tc_new_nothrow(size_t bytes, const void *nothrow);
void *tc_newarray_nothrow(size_t bytes, const void *nothrow);
void *tc_new_aligned(size_t bytes, size_t alignment);
void *tc_newarray_aligned(size_t bytes, size_t alignment);
void *tc_new_aligned_nothrow(size_t bytes, size_t alignment, const void *nothrow);
void *tc_newarray_aligned_nothrow(size_t bytes, size_t alignment, const void *nothrow);
void tc_delete(void *block);
void tc_deletearray(void *block);
void tc_delete_sized(void *block, size_t bytes);
void tc_deletearray_sized(void *block, size_t bytes);
void tc_delete_nothrow(void *block, const void *nothrow);
void tc_deletearray_nothrow(void *block, const void *nothrow);
void tc_delete_aligned(void *block, size_t alignment);
void tc_deletearray_aligned(void *block, size_t alignment);
void tc_delete_sized_aligned(void *block, size_t bytes, size_t alignment);
void tc_deletearray_sized_aligned(void *block, size_t bytes, size_t alignment);
void tc_delete_aligned_nothrow(void *block, size_t alignment, const void *nothrow);
void tc_deletearray_aligned_nothrow(void *block, size_t alignment, const void *nothrow);

SITE void *do_own(unsigned which, size_t bytes)
{
	void *block = NULL;

	switch (which) {
	case 0: block = tc_malloc_skip_new_handler(bytes); break;
	case 1: block = tc_new(bytes); break;
	case 2: block = tc_newarray(bytes); break;
	case 3: block = tc_new_nothrow(bytes, ""); break;
	case 4: block = tc_newarray_nothrow(bytes, ""); break;
	case 5: block = tc_new_aligned(bytes, 64); break;
	case 6: block = tc_newarray_aligned(bytes, 64); break;
	case 7: block = tc_new_aligned_nothrow(bytes, 64, ""); break;
	case 8: block = tc_newarray_aligned_nothrow(bytes, 64, ""); break;
	default: truth_stop("allocator: no such function\n");
	}
	got(ROW_OWN, block, bytes);
	return block;
}

static void delete_own(unsigned which, void *block, size_t bytes)
{
	truth_freed(&truth, (uintptr_t)block);
	switch (which) {
	case 0: tc_delete(block); break;
	case 1: tc_deletearray(block); break;
	case 2: tc_delete_sized(block, bytes); break;
	case 3: tc_deletearray_sized(block, bytes); break;
	case 4: tc_delete_nothrow(block, ""); break;
	case 5: tc_deletearray_nothrow(block, ""); break;
	case 6: tc_delete_aligned(block, 64); break;
	case 7: tc_deletearray_aligned(block, 64); break;
	case 8: tc_delete_sized_aligned(block, bytes, 64); break;
	case 9: tc_deletearray_sized_aligned(block, bytes, 64); break;
	case 10: tc_delete_aligned_nothrow(block, 64, ""); break;
	case 11: tc_deletearray_aligned_nothrow(block, 64, ""); break;
	default: truth_stop("allocator: no such function\n");
	}
}

STEPS steps_own(void)
{
	for (unsigned which = 0; which < 9; which++)
		for (size_t i = 0; i < 6; i++) {
			void *block = do_own(which, 64 * (1 + which + 3000 * i));

			if (i % 2)
				give_back(block);
		}
	for (unsigned which = 0; which < 12; which++)
		delete_own(which, do_own(which < 6 ? 1 : 5, 192), 192);
	do_own(3, REFUSED);
	do_own(8, REFUSED);
}

#else
#define steps_own() ((void)0)
#endif

#endif
