/* SPDX-License-Identifier: BSD-2-Clause */
/* template: the kernels of one type of elements (see types.h). */
#include "simd/vector.h"
#include "simd/multiply.h"
#if IS_FLOAT
#include "simd/sum_float.h"
#else
#include "simd/sum_integer.h"
#endif

#undef STEP
#undef LANES
#undef REGISTERS
#undef ROTATE
