/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* hash: one step of a 64-bit hash: for a given value a bijection of the state, so that no step loses anything. */

static __always_inline __u64 hash_mix(__u64 hash, __u64 value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ull; /* 2^64 divided by the golden ratio, odd */
	return hash ^ hash >> 29;
}
