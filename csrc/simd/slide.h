/* Sliding windows of a few neighbouring cells, along the rows of a plane.
 *
 * The rows of a window are joined first, and then its columns, KH + KW steps in place of KH · KW,
 * all in registers: a cell is loaded once for each row of windows that it is in, and reaches its
 * neighbours' lanes by shuffles. Cells outside the picture are masked, so that borders and planes
 * narrower than a vector take no longer than the rest.
 */
#ifndef FASTCONV_SLIDE_H
#define FASTCONV_SLIDE_H

#include "reduce.h"

/* The rows of one row of windows, and what becomes of their columns. */
typedef struct {
    const real *x; /* the first of these rows, `row` apart */
    ptrdiff_t rows, row, width, before;
    real *out; /* n of them, side by side */
    ptrdiff_t n;
    Finish finish;
    const real *divisors; /* NULL, or of each output of an average, before `factor` */
    real factor;          /* by which they are multiplied */
} Line;

/* A maximum that may lose a NaN: so NaN are looked for apart, once in each cell. */
INLINE vec vtake_plain(const int op, vec sum, vec v)
{
    return op == OP_MAX ? vmax(sum, v) : sum + v;
}

/* The cells at … at + VL − 1 of all the rows; `seen` learns where there are NaN. */
INLINE vec join_rows(const int op, const Line *line, ptrdiff_t at, mask *seen)
{
    const vec start = vsplat(start_of(op));
    const real *x = line->x + at;
    vec sum = start;
    if (at >= 0 && at <= line->width - VL) {
        for (ptrdiff_t i = 0; i < line->rows; i++, x += line->row) {
            const vec v = vload(x);
            sum = vtake_plain(op, sum, v);
            if (op == OP_MAX)
                *seen |= visnan(v);
        }
    } else if (at < line->width && at > -VL) {
        const mask inside = vbetween_any(-at, line->width - at);
        for (ptrdiff_t i = 0; i < line->rows; i++, x += line->row) {
            const vec v = vload_or(inside, x, start);
            sum = vtake_plain(op, sum, v);
            if (op == OP_MAX)
                *seen |= visnan(v);
        }
    }
    return sum;
}

/* VL · stride neighbours, by their places modulo the stride. */
typedef struct {
    vec a, b, c;
} Cells;

INLINE Cells join_cells(const int op, const int stride, const Line *line, ptrdiff_t at,
                        mask *seen)
{
    const vec x = join_rows(op, line, at, seen);
    if (stride == 1)
        return (Cells){x, x, x};
    const vec y = join_rows(op, line, at + VL, seen);
    if (stride == 2)
        return (Cells){vpick_every(x, y, 0, 2), vpick_every(x, y, 1, 2), x};
    const vec z = join_rows(op, line, at + 2 * VL, seen);
    return (Cells){vpick_third(x, y, z, 0), vpick_third(x, y, z, 1), vpick_third(x, y, z, 2)};
}

/* The t-th cell of every window. */
INLINE vec tap_of(const int stride, const int t, Cells here, Cells next)
{
    const vec low = t % stride == 0 ? here.a : t % stride == 1 ? here.b : here.c;
    const vec high = t % stride == 0 ? next.a : t % stride == 1 ? next.b : next.c;
    return t < stride ? low : vpick_every(low, high, t / stride, 1);
}

/* Whether no NaN was met; otherwise `out` is not to be used. */
INLINE int slide_line(const int op, const int taps, const int stride, const Line *line)
{
    mask seen = {0};
    Cells here = join_cells(op, stride, line, -line->before, &seen), next = here;
    for (ptrdiff_t e = 0; e < line->n; e += VL, here = next) {
        if (e + VL < line->n || taps > stride)
            next = join_cells(op, stride, line, (e + VL) * stride - line->before, &seen);
        vec sum = vtake_plain(op, here.a, tap_of(stride, 1, here, next));
        if (taps > 2)
            sum = vtake_plain(op, sum, tap_of(stride, 2, here, next));
        if (taps > 3)
            sum = vtake_plain(op, sum, tap_of(stride, 3, here, next));
        if (taps > 4)
            sum = vtake_plain(op, sum, tap_of(stride, 4, here, next));
        const ptrdiff_t n = least(line->n - e, VL);
        if (op == OP_SUM && line->divisors)
            sum /= vload_n(line->divisors + e, n) * line->factor;
        else if (op == OP_SUM && line->finish.kind == FINISH_SCALE)
            sum *= line->finish.factor;
        else if (op == OP_SUM && line->finish.kind == FINISH_DIVIDE)
            sum = vquotient(sum, line->finish.divisor, line->finish.factor);
        store_every(1, line->out + e, n, sum);
    }
    return vall((mask)~seen);
}

INLINE int slide_by(const int op, const int stride, ptrdiff_t taps, const Line *line)
{
    switch (taps) {
    case 2:
        return slide_line(op, 2, stride, line);
    case 3:
        return slide_line(op, 3, stride, line);
    case 4:
        return slide_line(op, 4, stride, line);
    default:
        return slide_line(op, 5, stride, line);
    }
}

INLINE int slide_as(const int op, ptrdiff_t taps, ptrdiff_t stride, const Line *line)
{
    if (stride == 1)
        return slide_by(op, 1, taps, line);
    if (stride == 2)
        return slide_by(op, 2, taps, line);
    return slide_line(op, 3, 3, line);
}

static int slide(int op, ptrdiff_t taps, ptrdiff_t stride, const Line *line)
{
    return op == OP_MAX ? slide_as(OP_MAX, taps, stride, line)
        : slide_as(OP_SUM, taps, stride, line);
}

/* Whether `slide` is for these windows: one partial sum each, of cells that are neighbours and
 * within two vectors. */
INLINE int slides(int op, ptrdiff_t rows, ptrdiff_t taps, ptrdiff_t tap, ptrdiff_t stride)
{
    return (op == OP_MAX || op == OP_SUM) && rows * taps <= LEVEL && tap == 1
        && ((stride <= 2 && 2 <= taps && taps <= 5) || (stride == 3 && taps == 3))
        && (taps - 1) / stride <= VL;
}

#endif
