/* SPDX-License-Identifier: BSD-2-Clause */
/* set: how the kernels of one instruction set are handed to simd.c, as sets.def lists them. */
#ifndef DT_SIMD_SET_H
#define DT_SIMD_SET_H

#include <stdbool.h>

#include <domtrace/simd.h>

#define DT_SET(name, architecture, needs, has, suits) extern const struct dt_simd dt_simd_##name;
#include "simd/sets.def"
#undef DT_SET

#define DT_SIMD_ROW(type, NAME, element, total) .type = { sum_##type, sum_of_products_##type, multiply_##type },

/* Defines dt_simd_NAME of the functions sum_TYPE, sum_of_products_TYPE and multiply_TYPE of the same file. */
#define DT_SIMD_SET(set) dt_simd_##set = { .name = #set, DT_SIMD_ELEMENTS(DT_SIMD_ROW) }

#endif
