/* SPDX-License-Identifier: BSD-2-Clause */
#ifdef __aarch64__
#define VECTOR_BYTES 16
#define AT_ONCE 16
#include "simd/part.h"
#include "simd/kernels.h"

const struct dt_simd DT_SIMD_SET(neon);
#endif
