/* The part of a row that lies in the picture, and a row with the padding beside it. */
#ifndef FASTCONV_SPAN_H
#define FASTCONV_SPAN_H

#include "block.h"
#include "move.h"

typedef struct {
    ptrdiff_t low, high;
} Span;

/* Which of the n cells first, first + step, … lie in 0 … size − 1. */
INLINE Span inside(ptrdiff_t first, ptrdiff_t step, ptrdiff_t n, ptrdiff_t size)
{
    const ptrdiff_t low = first < 0 ? least((step - 1 - first) / step, n) : 0;
    const ptrdiff_t high = first < size ? (size - first + step - 1) / step : 0;
    return (Span){low, most(least(high, n), low)};
}

/* One row of n cells, `step` input cells apart, in each of `channels` planes. `x` is the
 * first cell, which may lie outside the picture. */
static void gather_row(const Geometry *g, const real *x, ptrdiff_t channels, ptrdiff_t row,
                       Span span, ptrdiff_t step, real *dst, ptrdiff_t plane, ptrdiff_t n)
{
    if (row < 0 || row >= g->IH)
        span.low = span.high = n;
    for (ptrdiff_t ic = 0; ic < channels && span.low > 0; ic++)
        zero_run(dst + ic * plane, span.low);
    for (ptrdiff_t ic = 0; ic < channels && span.high < n; ic++)
        zero_run(dst + ic * plane + span.high, n - span.high);
    if (span.low < span.high)
        move(channels, span.high - span.low, x + span.low * step * g->x_w, g->x_c, step * g->x_w,
             dst + span.low, plane, 1);
}

#endif
