/* What both forms of the product do with a block's sums. */
#ifndef FASTCONV_SUMS_H
#define FASTCONV_SUMS_H

#include "activation.h"
#include "block.h"
#include "gemm_tile.h"
#include "move.h"

INLINE ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

/* Where part i begins when n things are cut into parts as equal as can be. */
INLINE ptrdiff_t first_of(ptrdiff_t i, ptrdiff_t parts, ptrdiff_t n) { return n * i / parts; }

INLINE ptrdiff_t all_terms(const Block *b)
{
    return b->geometry->IC * b->geometry->KH * b->geometry->KW;
}

/* `rows` runs of n sums each, `pitch` apart. */
static void activate_sums(const Block *b, real *sums, ptrdiff_t rows, ptrdiff_t pitch, ptrdiff_t n)
{
    if (b->activation == ACT_NONE)
        return;
    if (pitch == n)
        n *= rows, rows = 1;
    for (ptrdiff_t r = 0; r < rows; r++)
        activate_dense(b->activation, vsplat((real)b->slope), sums + r * pitch, sums + r * pitch,
                       n);
}

#endif
