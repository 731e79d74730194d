/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scalar: the reference, one element after the other, exactly as domtrace/simd.h defines it and with no thought of speed.
 * What the other instruction sets compute is compared with this.
 */
#include "simd/order.h"
#include "simd/set.h"

#define TEMPLATE "simd/scalar.h"
#include "simd/types.h"

const struct dt_simd DT_SIMD_SET(scalar);
