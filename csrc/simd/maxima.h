/* Maxima and where they are: the first of equal ones, the last of several NaN, and the window's
 * first cell if all of them are −inf.
 */
#ifndef FASTCONV_MAXIMA_H
#define FASTCONV_MAXIMA_H

#include "reduce.h"

/* Like Run, for the maximum. Output e looks at the columns column + e * column_step + j *
 * column_tap, j < taps, of which it has those in 0 … width − 1; the plane's index of the first is
 * index + e * column_step, and grows by index_row from row to row. */
typedef struct {
    ptrdiff_t rows, row, taps, tap;
    const real *x;
    ptrdiff_t stride;
    real *out;
    ptrdiff_t out_step, n;
    int64_t *indices;
    ptrdiff_t indices_step;
    int64_t index;
    ptrdiff_t index_row, column, column_step, column_tap, width;
} MaxRun;

INLINE void store_indices(int64_t *to, ptrdiff_t step, ptrdiff_t n, int64_t first,
                          ptrdiff_t first_step, ivec at)
{
    typedef int64_t wide __attribute__((vector_size(VL * 8)));
    typedef int64_t unaligned_wide __attribute__((vector_size(VL * 8), aligned(8), may_alias));
    const wide indices = __builtin_convertvector(at + vlanes() * (integer)first_step, wide) + first;
    if (n == VL && step == 1)
        *(unaligned_wide *)to = indices;
    else
        for (ptrdiff_t i = 0; i < n; i++)
            to[i * step] = indices[i];
}

/* Where the first cells of the windows e … e + VL − 1 are, seen from where these begin. */
INLINE ivec first_cells(const MaxRun *run, ptrdiff_t e)
{
    ivec at;
    for (ptrdiff_t i = 0; i < VL; i++) {
        const ptrdiff_t column = run->column + (e + i) * run->column_step, tap = run->column_tap;
        const ptrdiff_t outside = column < 0 ? (tap - 1 - column) / tap * tap : 0;
        at[i] = (integer)(least(column + outside, run->width - 1) - column);
    }
    return at;
}

/* load_every from p, which is column `at` of a row; −inf for what is outside the picture. */
INLINE vec load_inside(ptrdiff_t stride, const real *p, const MaxRun *run, ptrdiff_t at)
{
    const vec lowest = vsplat(start_of(OP_MAX));
    const ptrdiff_t low = -at, high = run->width - at;
    if (stride == 1 && run->column_step == 1)
        return vload_or(vbetween_any(low, high), p, lowest);
    if (stride == 2 && run->column_step == 2) {
        const vec a = vload_or(vbetween_any(low, high), p, lowest);
        const vec b = vload_or(vbetween_any(low - VL, high - VL), p + VL, lowest);
        return vpick_every(a, b, 0, 2);
    }
    const ivec columns = vlanes() * (integer)run->column_step + (integer)at;
    return vgather_where(vinside(columns, (integer)run->width), p, vlanes() * (integer)stride,
                         lowest);
}

INLINE void maxima_vector(const ptrdiff_t stride, const MaxRun *run, ptrdiff_t e)
{
    const ptrdiff_t n = least(run->n - e, VL);
    const ptrdiff_t column = run->column + e * run->column_step;
    const ptrdiff_t last = column + (n - 1) * run->column_step + (run->taps - 1) * run->column_tap;
    const int whole = column >= 0 && last < run->width;
    const real *x = run->x + e * stride;
    vec best = vsplat(start_of(OP_MAX));
    ivec at = {0};
    if (!whole)
        at = first_cells(run, e);
    for (ptrdiff_t i = 0; i < run->rows; i++)
        for (ptrdiff_t j = 0; j < run->taps; j++) {
            const real *cells = x + i * run->row + j * run->tap;
            const vec v = whole ? load_every(stride, cells, n)
                : load_inside(stride, cells, run, column + j * run->column_tap);
            const mask better = (mask)(vgreater(v, best) | visnan(v));
            const integer here = (integer)(i * run->index_row + j * run->column_tap);
            best = vselect(better, v, best);
            at = (ivec)vselect(better, (vec)(here - (ivec){0}), (vec)at);
        }
    store_every(run->out_step, run->out + e * run->out_step, n, best);
    store_indices(run->indices + e * run->indices_step, run->indices_step, n,
                  run->index + e * run->column_step, run->column_step, at);
}

/* In vectors: no index may need more bits than a cell has. */
static void maxima(const MaxRun *run)
{
    if (run->stride == 1)
        for (ptrdiff_t e = 0; e < run->n; e += VL)
            maxima_vector(1, run, e);
    else if (run->stride == 2)
        for (ptrdiff_t e = 0; e < run->n; e += VL)
            maxima_vector(2, run, e);
    else
        for (ptrdiff_t e = 0; e < run->n; e += VL)
            maxima_vector(run->stride, run, e);
}

/* The same for a single window of any size, whose first cell is in the picture. */
static void maximum(const MaxRun *run)
{
    real best = start_of(OP_MAX);
    ptrdiff_t at = 0;
    for (ptrdiff_t i = 0; i < run->rows; i++)
        for (ptrdiff_t j = 0; j < run->taps; j++) {
            const real v = run->x[i * run->row + j * run->tap];
            if (v > best || v != v) {
                best = v;
                at = i * run->index_row + j * run->column_tap;
            }
        }
    *run->out = best;
    *run->indices = run->index + at;
}

#endif
