/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * atomic: what programs of different threads, and of one CPU, change at the same time.
 *
 * clang 14 makes of an atomic addition to 32 bits one that does not fetch, also where what it found is used: that is then what
 * was added (BPF_ADD without BPF_FETCH; of 64 bits, and of BPF_CMPXCHG, which always fetches, that is not so). Fewer bits than 32 BPF has
 * no atomic operations for. So there are these three, and nothing else: the compiler's own are poisoned.
 */
#define ATOMIC_IS(object, bytes) _Static_assert(sizeof(*(object)) == (bytes), "an atomic operation on so many bits is not what it seems to be")

/* Adds to 32 or 64 bits. What was there before cannot be had. */
#define atomic_add(object, change) ({ \
	ATOMIC_IS(object, sizeof(*(object)) == 4 ? 4 : 8); \
	(void)__sync_fetch_and_add(object, change); \
})

/* Adds to 64 bits; they were that before. */
#define atomic_fetch_and_add(object, change) ({ \
	ATOMIC_IS(object, 8); \
	__sync_fetch_and_add(object, change); \
})

/* Puts `to` in place of `from`, if that is there; what was there. */
#define atomic_compare_and_swap(object, from, to) ({ \
	ATOMIC_IS(object, sizeof(*(object)) == 4 ? 4 : 8); \
	__sync_val_compare_and_swap(object, from, to); \
})

#pragma GCC poison __sync_fetch_and_add __sync_fetch_and_sub __sync_fetch_and_or __sync_fetch_and_and __sync_fetch_and_xor
#pragma GCC poison __sync_fetch_and_nand __sync_add_and_fetch __sync_sub_and_fetch __sync_or_and_fetch __sync_and_and_fetch
#pragma GCC poison __sync_xor_and_fetch __sync_nand_and_fetch __sync_lock_test_and_set __sync_lock_release
#pragma GCC poison __sync_bool_compare_and_swap __sync_val_compare_and_swap __sync_swap
#pragma GCC poison __atomic_fetch_add __atomic_fetch_sub __atomic_fetch_or __atomic_fetch_and __atomic_fetch_xor __atomic_fetch_nand
#pragma GCC poison __atomic_add_fetch __atomic_sub_fetch __atomic_or_fetch __atomic_and_fetch __atomic_xor_fetch __atomic_nand_fetch
#pragma GCC poison __atomic_exchange __atomic_exchange_n __atomic_compare_exchange __atomic_compare_exchange_n __atomic_test_and_set
#pragma GCC poison __c11_atomic_fetch_add __c11_atomic_fetch_sub __c11_atomic_fetch_or __c11_atomic_fetch_and __c11_atomic_fetch_xor
#pragma GCC poison __c11_atomic_exchange __c11_atomic_compare_exchange_strong __c11_atomic_compare_exchange_weak
