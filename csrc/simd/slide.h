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

/* The rows of one row of windows, and what becomes of their columns; `count` rows of windows that
 * differ in nothing but their place. */
typedef struct {
    const real *x; /* the first of these rows, `row` apart; `next` cells on, those of the next */
    ptrdiff_t rows, row, next, width, before;
    real *out; /* n of them, side by side, rows out_h apart */
    ptrdiff_t n, out_h, count;
    const Finish *finish;
    const real *divisors; /* NULL, or of each output of an average, before `factor` */
    real factor;          /* by which they are multiplied */
} Line;

/* A maximum that may lose a NaN: so NaN are looked for apart, in two vectors at once. */
INLINE vec vtake_plain(const int op, vec sum, vec v)
{
    return op == OP_MAX ? vmax(sum, v) : sum + v;
}

/* VL cells, under a mask if there is one. */
INLINE vec slide_load(const int op, const mask *inside, const real *x)
{
    return inside ? vload_or(*inside, x, vsplat(start_of(op))) : vload(x);
}

/* ROWS rows joined, or any number for 0; `seen` learns where there are NaN. */
INLINE vec join_loaded(const int op, const int ROWS, const Line *line, const real *x,
                       const mask *inside, mask *seen)
{
    const ptrdiff_t rows = ROWS ? ROWS : line->rows, pitch = line->row;
    vec sum = vsplat(start_of(op));
    ptrdiff_t i = 0;
    if (rows % 2) {
        sum = slide_load(op, inside, x);
        if (op == OP_MAX)
            *seen = veither(*seen, visnan(sum));
        i = 1;
    }
#pragma GCC unroll 2
    for (; i < rows; i += 2) {
        const vec a = slide_load(op, inside, x + i * pitch);
        const vec b = slide_load(op, inside, x + (i + 1) * pitch);
        if (op == OP_MAX)
            *seen = veither(*seen, vunordered(a, b));
        sum = i ? vtake_plain(op, vtake_plain(op, sum, a), b) : vtake_plain(op, a, b);
    }
    return sum;
}

/* The cells at … at + VL − 1 of all the rows. */
INLINE vec join_rows(const int op, const int ROWS, const Line *line, ptrdiff_t at, mask *seen)
{
    const real *x = line->x + at;
    if (at >= 0 && at <= line->width - VL)
        return join_loaded(op, ROWS, line, x, NULL, seen);
    if (at >= line->width || at <= -VL)
        return vsplat(start_of(op));
    const mask inside = vbetween_any(-at, line->width - at);
    return join_loaded(op, ROWS, line, x, &inside, seen);
}

/* VL · stride neighbours, by their places modulo the stride. */
typedef struct {
    vec a, b, c;
} Cells;

INLINE Cells join_cells(const int op, const int stride, const int ROWS, const Line *line,
                        ptrdiff_t at, mask *seen)
{
    const vec x = join_rows(op, ROWS, line, at, seen);
    if (stride == 1)
        return (Cells){x, x, x};
    const vec y = join_rows(op, ROWS, line, at + VL, seen);
    if (stride == 2)
        return (Cells){vpick_every(x, y, 0, 2), vpick_every(x, y, 1, 2), x};
    const vec z = join_rows(op, ROWS, line, at + 2 * VL, seen);
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
INLINE int slide_line(const int op, const int taps, const int stride, const int ROWS,
                      const Line *line, const Finish *finish)
{
    mask seen = {0};
    Cells here = join_cells(op, stride, ROWS, line, -line->before, &seen), next = here;
    for (ptrdiff_t e = 0; e < line->n; e += VL, here = next) {
        if (e + VL < line->n || taps > stride)
            next = join_cells(op, stride, ROWS, line, (e + VL) * stride - line->before, &seen);
        vec sum = vtake_plain(op, here.a, tap_of(stride, 1, here, next));
        if (taps > 2)
            sum = vtake_plain(op, sum, tap_of(stride, 2, here, next));
        if (taps > 3)
            sum = vtake_plain(op, sum, tap_of(stride, 3, here, next));
        if (taps > 4)
            sum = vtake_plain(op, sum, tap_of(stride, 4, here, next));
        if (op == OP_SUM)
            sum += vsplat(0); /* a sum that starts from 0 is never −0 */
        const ptrdiff_t n = least(line->n - e, VL);
        if (op == OP_SUM && line->divisors)
            sum /= vload_n(line->divisors + e, n) * line->factor;
        else if (op == OP_SUM && finish->kind == FINISH_SCALE)
            sum *= finish->factor;
        else if (op == OP_SUM && finish->kind == FINISH_DIVIDE)
            sum = vquotient(sum, finish->divisor, finish->factor);
        store_every(1, line->out + e, n, sum);
    }
    return vall((mask)~seen);
}

INLINE ptrdiff_t slide_lines(const int op, const int taps, const int stride, const int ROWS,
                             const Line *given)
{
    /* Copies, because stores could change what pointers lead to. */
    Line line = *given;
    const Finish finish = *line.finish;
    for (ptrdiff_t i = 0; i < line.count; i++, line.x += line.next, line.out += line.out_h)
        if (!slide_line(op, taps, stride, ROWS, &line, &finish))
            return i;
    return line.count;
}

/* How many rows of windows came before one that met a NaN. */
typedef ptrdiff_t (*Slide)(const Line *line);

/* Windows as high as they are wide, most of all, have straight code. */
#define DEFINE_SLIDE(op, taps, stride) \
    static ptrdiff_t slide_##op##taps##stride(const Line *line) \
    { \
        if (taps <= 3 && line->rows == taps) \
            return slide_lines(op, taps, stride, taps, line); \
        return slide_lines(op, taps, stride, 0, line); \
    }
#define ALL_SLIDES(X, op) \
    X(op, 2, 1) X(op, 3, 1) X(op, 4, 1) X(op, 5, 1) X(op, 2, 2) X(op, 3, 2) X(op, 4, 2) \
    X(op, 5, 2) X(op, 3, 3)
ALL_SLIDES(DEFINE_SLIDE, OP_MAX)
ALL_SLIDES(DEFINE_SLIDE, OP_SUM)

#define LIST_SLIDE(op, taps, stride) [op][taps][stride] = slide_##op##taps##stride,
static const Slide sliding_kernels[OP_SUM + 1][6][4] = {
    ALL_SLIDES(LIST_SLIDE, OP_MAX) ALL_SLIDES(LIST_SLIDE, OP_SUM)
};

/* What slides over these windows, or NULL: they must be one partial sum each, of cells that are
 * neighbours and within two vectors. */
INLINE Slide slide_for(int op, ptrdiff_t rows, ptrdiff_t taps, ptrdiff_t tap, ptrdiff_t stride)
{
    if (op > OP_SUM || rows * taps > LEVEL || tap != 1 || taps > 5 || stride > 3
        || (taps - 1) / stride > VL)
        return NULL;
    return sliding_kernels[op][taps][stride];
}

#endif
