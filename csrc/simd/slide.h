/* Sliding windows of a few neighbouring cells, along the rows of a plane.
 *
 * The rows of a window are joined first and then its columns, KH + KW steps in place of KH · KW,
 * all in registers: a cell reaches its neighbours' lanes by shuffles. Several rows of windows,
 * a strip, go along together, so that the rows that they share are loaded once. Cells outside the
 * picture are masked, and rows outside it are read from a row of nothing, so that borders and
 * planes narrower than a vector take no longer than the rest.
 */
#ifndef FASTCONV_SLIDE_H
#define FASTCONV_SLIDE_H

#include "reduce.h"

enum {
    MOST_ROWS = LEVEL / 2, /* of cells under a strip */
    /* Bytes by which the next lines of cells and outputs are asked for: several rows side by side
     * are no stream that the processor would see. */
    AHEAD = 8192,
    AHEAD_OUT = 4096
};

/* What the strips of a pooling have in common. */
typedef struct {
    ptrdiff_t width, before; /* of the picture, and of what is outside before the first window */
    ptrdiff_t n;             /* windows side by side */
    ptrdiff_t out_h;         /* from one row of them to the next */
} Across;

/* Rows of windows below one another. */
typedef struct {
    const real *rows[MOST_ROWS]; /* column 0 of each row of cells under them */
    ptrdiff_t high;              /* rows of a window */
    ptrdiff_t repeats, next;     /* strips like this, and from the cells of one to the next's */
    real *out;
    Finish finish;
    const real *divisors; /* NULL, or of each output of an average, before `factor` */
    real factor;          /* by which they are multiplied */
} Strip;

/* A maximum that may lose a NaN: so NaN are looked for apart. */
INLINE vec vtake_plain(const int op, vec sum, vec v)
{
    return op == OP_MAX ? vmax(sum, v) : sum + v;
}

/* VL cells, under a mask if there is one. */
INLINE vec slide_load(const int op, const mask *inside, const real *x)
{
    if (!inside)
        return vkeep(vload(x));
    return vkeep(op == OP_SUM ? vload_where(*inside, x)
                              : vload_or(*inside, x, vsplat(start_of(op))));
}

/* VL neighbouring columns of the rows of `count` windows, `stride` rows apart, each joined; and
 * `numbers` where these columns have no NaN. */
INLINE mask join_rows(const int op, const int stride, const ptrdiff_t high, const int count,
                      const real *const *rows, ptrdiff_t at, const mask *inside, vec *joined,
                      mask numbers)
{
    if (count == 1) { /* of any number of rows */
        vec sum = slide_load(op, inside, rows[0] + at);
        if (op == OP_MAX && high % 2)
            numbers = vordered(numbers, sum, sum);
        for (ptrdiff_t i = high % 2; i < high; i += 2) {
            const vec a = slide_load(op, inside, rows[i] + at);
            const vec b = slide_load(op, inside, rows[i + 1] + at);
            if (op == OP_MAX)
                numbers = vordered(numbers, a, b);
            sum = vtake_plain(op, i ? vtake_plain(op, sum, a) : a, b);
        }
        joined[0] = sum;
        return numbers;
    }
    const int cells = (count - 1) * stride + (int)high;
    vec v[MOST_ROWS];
#pragma GCC unroll 16
    for (int i = 0; i < cells; i++)
        v[i] = slide_load(op, inside, rows[i] + at);
    if (op == OP_MAX)
#pragma GCC unroll 4
        for (int i = 0; i < cells; i += 2)
            numbers = vordered(numbers, v[i], v[i + 1 < cells ? i + 1 : i]);
#pragma GCC unroll 4
    for (int r = 0; r < count; r++) {
        vec sum = v[r * stride];
#pragma GCC unroll 16
        for (int i = 1; i < high; i++)
            sum = vtake_plain(op, sum, v[r * stride + i]);
        joined[r] = sum;
    }
    return numbers;
}

/* VL · stride neighbours, by their places modulo the stride. */
typedef struct {
    vec a, b, c;
} Cells;

INLINE mask join_cells(const int op, const int stride, const ptrdiff_t high, const int count,
                       const real *const *rows, ptrdiff_t at, ptrdiff_t width, const int whole,
                       Cells *joined)
{
    vec cells[3][4];
    mask numbers = vbetween(0, VL);
#pragma GCC unroll 3
    for (int i = 0; i < stride; i++, at += VL) {
        if (whole) {
            numbers = join_rows(op, stride, high, count, rows, at, NULL, cells[i], numbers);
        } else if (at < width) {
            const mask inside = vbetween_any(-at, width - at);
            numbers = join_rows(op, stride, high, count, rows, at, &inside, cells[i], numbers);
        } else {
#pragma GCC unroll 4
            for (int r = 0; r < count; r++)
                cells[i][r] = vsplat(start_of(op));
        }
    }
    const vec *x = cells[0], *y = cells[1], *z = cells[2];
#pragma GCC unroll 4
    for (int r = 0; r < count; r++)
        if (stride == 1)
            joined[r] = (Cells){x[r], x[r], x[r]};
        else if (stride == 2)
            joined[r] = (Cells){veven(x[r], y[r]), vodd(x[r], y[r]), x[r]};
        else
            joined[r] = (Cells){vpick_third(x[r], y[r], z[r], 0),
                                vpick_third(x[r], y[r], z[r], 1),
                                vpick_third(x[r], y[r], z[r], 2)};
    return numbers;
}

INLINE vec place(const Cells *cells, const int i)
{
    return i == 0 ? cells->a : i == 1 ? cells->b : cells->c;
}

/* The cell of every window that is `to` columns right of, or −to left of, where `here` begins. */
INLINE vec cell_of(const int stride, const int to, const Cells *before, const Cells *here,
                   const Cells *next)
{
    const int i = (to % stride + stride) % stride, distance = (to - i) / stride;
    if (distance < 0)
        return vneighbours(place(before, i), place(here, i), VL + distance);
    return distance ? vneighbours(place(here, i), place(next, i), distance) : place(here, i);
}

/* The columns of the windows joined, of which `lead` are left of where `here` begins. */
INLINE vec join_taps(const int op, const int taps, const int stride, const int lead,
                     const Cells *before, const Cells *here, const Cells *next)
{
    vec sum = cell_of(stride, -lead, before, here, next);
#pragma GCC unroll 4
    for (int t = 1; t < taps; t++)
        sum = vtake_plain(op, sum, cell_of(stride, t - lead, before, here, next));
    return sum;
}

/* From sums to what their windows become. A sum that starts from 0 is never −0. */
INLINE void finish_sums(const Strip *strip, const int count, vec *sums, ptrdiff_t e, ptrdiff_t n)
{
    const Finish *finish = &strip->finish;
    if (!strip->divisors && finish->kind == FINISH_QUOTIENT) {
#pragma GCC unroll 4
        for (int r = 0; r < count; r++)
            sums[r] = vquotient(sums[r], finish->divisor, finish->factor);
    } else if (!strip->divisors && finish->kind != FINISH_DIVIDE) {
#pragma GCC unroll 4
        for (int r = 0; r < count; r++)
            sums[r] = vfma(sums[r], vsplat(finish->factor), vsplat(0));
    } else {
        const vec divisor = strip->divisors ? vload_n(strip->divisors + e, n) * strip->factor
                                            : vsplat(finish->divisor);
#pragma GCC unroll 4
        for (int r = 0; r < count; r++)
            sums[r] = (sums[r] + vsplat(0)) / divisor;
    }
}

/* `count` rows of windows, and where no NaN was met; otherwise `out` is not to be used. Vectors of
 * cells begin `lead` columns behind the beginning of a window, which is where rows begin if
 * that is also what is before the first window. */
INLINE mask slide_strip(const int op, const int taps, const int stride, const int lead,
                       const ptrdiff_t high, const int count, const Across across,
                       const real *const *rows, const Strip strip)
{
    const char *ask = (const char *)rows[0] + AHEAD;
    const char *ask_out = (const char *)strip.out + AHEAD_OUT;
    mask numbers = vbetween(0, VL);
    Cells before[4], here[4], next[4];
    const vec nothing = vsplat(start_of(op));
#pragma GCC unroll 4
    for (int r = 0; r < count; r++)
        before[r] = here[r] = next[r] = (Cells){nothing, nothing, nothing};
    const ptrdiff_t ahead = taps - lead > stride ? VL : 0; /* windows that cells are ahead by */
    for (ptrdiff_t e = -ahead; e < across.n; e += VL) {
        const ptrdiff_t at = (e + ahead) * stride - across.before + lead;
#pragma GCC unroll 4
        for (int r = 0; r < count; r++) {
            before[r] = here[r];
            here[r] = next[r];
        }
        if (at >= 0 && at <= across.width - stride * VL)
            numbers &= join_cells(op, stride, high, count, rows, at, across.width, 1, next);
        else
            numbers &= join_cells(op, stride, high, count, rows, at, across.width, 0, next);
        if (e < 0)
            continue;
        if (count > 1) {
#pragma GCC unroll 16
            for (int i = 0; i < count * stride * stride; i++)
                __builtin_prefetch(ask += 64);
        }
        if (!ahead)
#pragma GCC unroll 4
            for (int r = 0; r < count; r++)
                before[r] = here[r], here[r] = next[r];
        const ptrdiff_t n = least(across.n - e, VL);
        vec sums[4];
#pragma GCC unroll 4
        for (int r = 0; r < count; r++)
            sums[r] = join_taps(op, taps, stride, lead, &before[r], &here[r], &next[r]);
        if (op == OP_SUM)
            finish_sums(&strip, count, sums, e, n);
        real *out = strip.out + e;
        if (count > 1) {
#pragma GCC unroll 4
            for (int r = 0; r < count; r++)
                __builtin_prefetch(ask_out += 64, 1);
        }
        if (n == VL) {
#pragma GCC unroll 4
            for (int r = 0; r < count; r++)
                vstore(out + r * across.out_h, sums[r]);
        } else {
#pragma GCC unroll 4
            for (int r = 0; r < count; r++)
                vstore_n(out + r * across.out_h, n, sums[r]);
        }
    }
    return numbers;
}

/* Strip after strip; how many came before one that met a NaN. */
INLINE ptrdiff_t slide_strips(const int op, const int taps, const int stride, const int lead,
                              const ptrdiff_t high, const int count, const Across *across,
                              const Strip *given)
{
    /* Copies, because stores could change what pointers lead to. */
    const real *rows[MOST_ROWS];
    Strip strip = {.out = given->out, .finish = given->finish, .divisors = given->divisors,
                   .factor = given->factor};
    const ptrdiff_t cells = (count - 1) * stride + high, repeats = given->repeats;
    const ptrdiff_t next = given->next;
    for (ptrdiff_t i = 0; i < cells; i++)
        rows[i] = given->rows[i];
    for (ptrdiff_t s = 0; s < repeats; s++) {
        const mask numbers = slide_strip(op, taps, stride, lead, high, count, *across, rows, strip);
        if (op == OP_MAX && !vall(numbers))
            return s;
        strip.out += count * across->out_h;
#pragma GCC unroll 16
        for (ptrdiff_t i = 0; i < cells; i++)
            rows[i] += next;
    }
    return repeats;
}

typedef ptrdiff_t (*Slide)(const Across *across, const Strip *strip);

/* What slides over windows of a kind: `strip` over `count` rows of windows as high as they are
 * wide, their rows `stride` apart, `line` over one row of windows of any height. */
typedef struct {
    Slide strip, line;
    int count;
} Slides;

/* As many rows as there are registers for, and as share many of their cells. */
#define STRIP_ROWS(taps, stride) (VEC_BYTES == 64 && (taps) < 4 && (stride) == 1 ? 4 : 2)

#define DEFINE_SLIDE(op, taps, stride) \
    static ptrdiff_t slide_strip_##op##taps##stride(const Across *across, const Strip *strip) \
    { \
        if (across->before == (taps) / 2 && (taps) % 2) \
            return slide_strips(op, taps, stride, (taps) / 2, taps, STRIP_ROWS(taps, stride), \
                                across, strip); \
        return slide_strips(op, taps, stride, 0, taps, STRIP_ROWS(taps, stride), across, strip); \
    } \
    static ptrdiff_t slide_line_##op##taps##stride(const Across *across, const Strip *strip) \
    { \
        if (taps < 4 && strip->high == taps) \
            return slide_strips(op, taps, stride, 0, taps, 1, across, strip); \
        return slide_strips(op, taps, stride, 0, strip->high, 1, across, strip); \
    }
#define ALL_SLIDES(X, op) \
    X(op, 2, 1) X(op, 3, 1) X(op, 4, 1) X(op, 5, 1) X(op, 2, 2) X(op, 3, 2) X(op, 4, 2) \
    X(op, 5, 2) X(op, 3, 3)
ALL_SLIDES(DEFINE_SLIDE, OP_MAX)
ALL_SLIDES(DEFINE_SLIDE, OP_SUM)

#define LIST_SLIDE(op, taps, stride) \
    [op][taps][stride] = {slide_strip_##op##taps##stride, slide_line_##op##taps##stride, \
                          STRIP_ROWS(taps, stride)},
static const Slides sliding_kernels[OP_SUM + 1][6][4] = {
    ALL_SLIDES(LIST_SLIDE, OP_MAX) ALL_SLIDES(LIST_SLIDE, OP_SUM)
};

/* What slides over these windows, or NULL: they must be one partial sum each, of cells that are
 * neighbours and within two vectors. */
INLINE const Slides *slides_for(int op, ptrdiff_t rows, const Windows *columns)
{
    if (op > OP_SUM || !columns->even || columns->step != 1 || columns->taps > 5
        || columns->stride > 3 || rows * columns->taps > LEVEL
        || (columns->taps - 1) / columns->stride > VL)
        return NULL;
    const Slides *slides = &sliding_kernels[op][columns->taps][columns->stride];
    return slides->line ? slides : NULL;
}

#endif
