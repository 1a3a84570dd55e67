/* Reductions: cells of a window to their maximum or their sum, many windows in a vector or one.
 *
 * A sum of many cells is made of sums of about LEVEL, which bounds its rounding error by their
 * size plus their number in place of the product (N. J. Higham, Accuracy and Stability of
 * Numerical Algorithms, ch. 4.2). How an output is summed depends on its window and on the
 * strides, never on what else its thread computes.
 */
#ifndef FASTCONV_REDUCE_H
#define FASTCONV_REDUCE_H

#include <tgmath.h>

#include "move.h"
#include "windows.h"

enum {
    LEVEL = 64,          /* cells of a partial sum */
    LONG_WINDOW = 2 * VL, /* contiguous cells from which on a single window is worth vectors */
    FAR = 1 << 26        /* stride of which the last lane's index may not fit 32 bits */
};

/* ---------------------------------------------------------------- one cell more */

enum { OP_MAX, OP_SUM, OP_ABS, OP_SQUARE, OP_POWER };

INLINE real start_of(int op) { return op == OP_MAX ? -(real)INFINITY : 0; }

/* What adds up partial results of `op`. */
INLINE int joining(int op) { return op == OP_MAX ? OP_MAX : OP_SUM; }

INLINE real power(real v, double exponent) { return (real)pow(fabs((double)v), exponent); }

INLINE vec vpower(vec v, double exponent)
{
    for (int i = 0; i < VL; i++)
        v[i] = power(v[i], exponent);
    return v;
}

/* A NaN stays a NaN, whichever side it comes from. */
INLINE vec vtake(int op, double norm, vec sum, vec v)
{
    switch (op) {
    case OP_MAX:
        return vselect(visnan(sum), sum, vmax(sum, v));
    case OP_ABS:
        return sum + vmax(v, -v);
    case OP_SQUARE:
        return vfma(v, v, sum);
    case OP_POWER:
        return sum + vpower(v, norm);
    default:
        return sum + v;
    }
}

INLINE real take(int op, double norm, real sum, real v)
{
    switch (op) {
    case OP_MAX:
        return v > sum || v != v ? v : sum;
    case OP_ABS:
        return sum + (v < 0 ? -v : v);
    case OP_SQUARE:
        return sum + v * v;
    case OP_POWER:
        return sum + power(v, norm);
    default:
        return sum + v;
    }
}

/* ---------------------------------------------------------------- the last step */

enum { FINISH_NONE, FINISH_SCALE, FINISH_QUOTIENT, FINISH_DIVIDE, FINISH_ROOT2, FINISH_ROOT };

typedef struct {
    int kind;
    real factor;          /* 1 / divisor, or 1 where there is none */
    real divisor;         /* of FINISH_QUOTIENT and FINISH_DIVIDE */
    double exponent;      /* of FINISH_ROOT */
} Finish;

#if defined(__FMA__)
enum { LARGEST_QUOTIENT = 1 << 20 }; /* divisors below which vquotient is exact */
#else
enum { LARGEST_QUOTIENT = 0 }; /* it needs fused operations */
#endif

/* sum / divisor, to the bit, and +0 for −0, where the divisor is an odd integer that is not large:
 * the remainder of an approximate quotient corrects it (N. Brisebarre, J.-M. Muller and S. K.
 * Raina, "Accelerating correctly rounded floating-point division when the divisor is known in
 * advance", 2004). With an integer divisor the remainder is exact in subnormal numbers too, and
 * with an odd one no quotient lies half-way between two of these. The remainder of infinity is
 * NaN, in place of which any number does. */
INLINE vec vquotient(vec sum, real divisor, real inverse)
{
    const real any = REAL_BITS == 32 ? (real)0x1p127 : (real)0x1p1023;
    const vec quotient = sum * inverse, remainder = sum - quotient * divisor;
    return vfma(vmin(remainder, vsplat(any)), vsplat(inverse), quotient);
}

INLINE vec vroot2(vec v)
{
    for (int i = 0; i < VL; i++)
        v[i] = sqrt(v[i]);
    return v;
}

INLINE vec vfinish(const Finish *finish, vec sum)
{
    switch (finish->kind) {
    case FINISH_SCALE:
        return sum * vsplat(finish->factor);
    case FINISH_QUOTIENT:
        return vquotient(sum, finish->divisor, finish->factor);
    case FINISH_DIVIDE:
        return sum / finish->divisor;
    case FINISH_ROOT2:
        return vroot2(sum);
    case FINISH_ROOT:
        return vpower(sum, finish->exponent);
    default:
        return sum;
    }
}

INLINE real finished(const Finish *finish, real sum)
{
    switch (finish->kind) {
    case FINISH_SCALE:
        return sum * finish->factor;
    case FINISH_QUOTIENT:
    case FINISH_DIVIDE:
        return sum / finish->divisor;
    case FINISH_ROOT2:
        return sqrt(sum);
    case FINISH_ROOT:
        return power(sum, finish->exponent);
    default:
        return sum;
    }
}

/* ---------------------------------------------------------------- many windows at once */

/* out[e * out_step] = finish(Σ over i < rows, j < taps of x[e * stride + i * row + j * tap]) */
typedef struct {
    ptrdiff_t rows, row, taps, tap;
    const real *x;
    ptrdiff_t stride;
    real *out;
    ptrdiff_t out_step, n;
    double norm;
    Finish finish;
} Run;

/* Elements first, first + step, … of a and b end to end. */
INLINE vec vpick_every(vec a, vec b, int first, int step)
{
    ivec from;
    for (int i = 0; i < VL; i++)
        from[i] = first + i * step;
    return vshuffle(a, b, from);
}

/* The elements p[0], p[stride], …: n ≤ VL of them; nothing behind the last is read. */
INLINE vec load_every(ptrdiff_t stride, const real *p, ptrdiff_t n)
{
    if (stride == 1)
        return n == VL ? vload(p) : vload_n(p, n);
    if (stride == 2) {
        ivec from;
        for (int i = 0; i < VL; i++)
            from[i] = i < VL / 2 ? 2 * i : 2 * i + 1;
        const ptrdiff_t cells = 2 * n - 1, upper = cells - (VL - 1);
        const vec a = cells >= VL ? vload(p) : vload_n(p, cells);
        const vec b = n == VL ? vload(p + VL - 1) : vload_n(p + VL - 1, upper > 0 ? upper : 0);
        return vshuffle(a, b, from);
    }
    if (stride > -FAR && stride < FAR)
        return vgather_where(vfirst(n), p, vlanes() * (integer)stride, (vec){0});
    real lanes[VL] = {0};
    for (ptrdiff_t i = 0; i < n; i++)
        lanes[i] = p[i * stride];
    return vload(lanes);
}

INLINE void store_every(ptrdiff_t step, real *p, ptrdiff_t n, vec v)
{
    if (step != 1)
        for (ptrdiff_t i = 0; i < n; i++)
            p[i * step] = v[i];
    else if (n == VL)
        vstore(p, v);
    else
        vstore_n(p, n, v);
}

/* Partial sums take whole rows of the window, or pieces of LEVEL cells of one row; LEVEL of
 * them make a sum, and those the total. One long chain would lose precision. */
INLINE ptrdiff_t rows_together(ptrdiff_t rows, ptrdiff_t taps)
{
    if (rows * taps <= LEVEL)
        return rows;
    return taps < LEVEL ? LEVEL / taps : 1;
}

INLINE void reduce_vector(const int op, const ptrdiff_t stride, const Run *run, ptrdiff_t e)
{
    const ptrdiff_t n = least(run->n - e, VL);
    const ptrdiff_t together = rows_together(run->rows, run->taps);
    const vec start = vsplat(start_of(op));
    vec sum = start, total = start;
    ptrdiff_t joined = 0;
    for (ptrdiff_t i = 0; i < run->rows; i += together)
        for (ptrdiff_t j = 0; j < run->taps; j += LEVEL) {
            const ptrdiff_t rows = least(run->rows - i, together);
            const ptrdiff_t taps = least(run->taps - j, LEVEL);
            const real *x = run->x + e * stride + i * run->row + j * run->tap;
            vec part = start;
            for (ptrdiff_t r = 0; r < rows; r++)
                for (ptrdiff_t t = 0; t < taps; t++)
                    part = vtake(op, run->norm, part,
                                 load_every(stride, x + r * run->row + t * run->tap, n));
            sum = vtake(joining(op), 0, sum, part);
            if (++joined % LEVEL == 0) {
                total = vtake(joining(op), 0, total, sum);
                sum = start;
            }
        }
    total = vtake(joining(op), 0, total, sum);
    store_every(run->out_step, run->out + e * run->out_step, n,
                vfinish(&run->finish, total));
}

/* Four vectors of neighbours. */
INLINE void reduce_four(const int op, const Run *run, ptrdiff_t e)
{
    const ptrdiff_t together = rows_together(run->rows, run->taps);
    const double norm = run->norm;
    const vec start = vsplat(start_of(op));
    vec sum0 = start, sum1 = start, sum2 = start, sum3 = start;
    vec total0 = start, total1 = start, total2 = start, total3 = start;
    ptrdiff_t joined = 0;
    for (ptrdiff_t i = 0; i < run->rows; i += together)
        for (ptrdiff_t j = 0; j < run->taps; j += LEVEL) {
            const ptrdiff_t rows = least(run->rows - i, together);
            const ptrdiff_t taps = least(run->taps - j, LEVEL);
            const real *x = run->x + e + i * run->row + j * run->tap;
            vec part0 = start, part1 = start, part2 = start, part3 = start;
            for (ptrdiff_t r = 0; r < rows; r++, x += run->row) {
                const real *cell = x;
                for (ptrdiff_t t = 0; t < taps; t++, cell += run->tap) {
                    part0 = vtake(op, norm, part0, vload(cell));
                    part1 = vtake(op, norm, part1, vload(cell + VL));
                    part2 = vtake(op, norm, part2, vload(cell + 2 * VL));
                    part3 = vtake(op, norm, part3, vload(cell + 3 * VL));
                }
            }
            sum0 = vtake(joining(op), 0, sum0, part0);
            sum1 = vtake(joining(op), 0, sum1, part1);
            sum2 = vtake(joining(op), 0, sum2, part2);
            sum3 = vtake(joining(op), 0, sum3, part3);
            if (++joined % LEVEL == 0) {
                total0 = vtake(joining(op), 0, total0, sum0);
                total1 = vtake(joining(op), 0, total1, sum1);
                total2 = vtake(joining(op), 0, total2, sum2);
                total3 = vtake(joining(op), 0, total3, sum3);
                sum0 = sum1 = sum2 = sum3 = start;
            }
        }
    total0 = vtake(joining(op), 0, total0, sum0);
    total1 = vtake(joining(op), 0, total1, sum1);
    total2 = vtake(joining(op), 0, total2, sum2);
    total3 = vtake(joining(op), 0, total3, sum3);
    const ptrdiff_t step = run->out_step;
    real *out = run->out + e * step;
    store_every(step, out, VL, vfinish(&run->finish, total0));
    store_every(step, out + VL * step, VL, vfinish(&run->finish, total1));
    store_every(step, out + 2 * VL * step, VL, vfinish(&run->finish, total2));
    store_every(step, out + 3 * VL * step, VL, vfinish(&run->finish, total3));
}

INLINE void reduce_as(const int op, const Run *run)
{
    ptrdiff_t e = 0;
    switch (run->stride) {
    case 1:
        if (op != OP_POWER)
            for (; e <= run->n - 4 * VL; e += 4 * VL)
                reduce_four(op, run, e);
        for (; e < run->n; e += VL)
            reduce_vector(op, 1, run, e);
        break;
    case 2:
        for (; e < run->n; e += VL)
            reduce_vector(op, 2, run, e);
        break;
    default:
        for (; e < run->n; e += VL)
            reduce_vector(op, run->stride, run, e);
    }
}

static void reduce(int op, const Run *run)
{
    switch (op) {
    case OP_MAX:
        reduce_as(OP_MAX, run);
        break;
    case OP_SUM:
        reduce_as(OP_SUM, run);
        break;
    case OP_ABS:
        reduce_as(OP_ABS, run);
        break;
    case OP_SQUARE:
        reduce_as(OP_SQUARE, run);
        break;
    default:
        reduce_as(OP_POWER, run);
    }
}

/* ---------------------------------------------------------------- one window */

INLINE real reduce_lanes(int op, vec v)
{
    real sum = start_of(op);
    for (int i = 0; i < VL; i++)
        sum = take(joining(op), 0, sum, v[i]);
    return sum;
}

INLINE real reduce_long(const int op, double norm, const real *x, ptrdiff_t n)
{
    const vec start = vsplat(start_of(op));
    real sum = start_of(op);
    ptrdiff_t i = 0;
    while (i <= n - 4 * VL) {
        const ptrdiff_t end = n - i < 4 * VL * LEVEL ? n - 4 * VL : i + 4 * VL * (LEVEL - 1);
        vec part0 = start, part1 = start, part2 = start, part3 = start;
        for (; i <= end; i += 4 * VL) {
            part0 = vtake(op, norm, part0, vload(x + i));
            part1 = vtake(op, norm, part1, vload(x + i + VL));
            part2 = vtake(op, norm, part2, vload(x + i + 2 * VL));
            part3 = vtake(op, norm, part3, vload(x + i + 3 * VL));
        }
        part0 = vtake(joining(op), 0, part0, part1);
        part2 = vtake(joining(op), 0, part2, part3);
        part0 = vtake(joining(op), 0, part0, part2);
        sum = take(joining(op), 0, sum, reduce_lanes(op, part0));
    }
    vec part = start;
    for (; i <= n - VL; i += VL)
        part = vtake(op, norm, part, vload(x + i));
    sum = take(joining(op), 0, sum, reduce_lanes(op, part));
    for (; i < n; i++)
        sum = take(op, norm, sum, x[i]);
    return sum;
}

/* Data must not steer branches here: `take` would, on maxima. */
INLINE real reduce_few(const int op, const Run *run, const real *x)
{
    real sum = start_of(op), nan = 0;
    for (ptrdiff_t j = 0; j < run->taps; j++) {
        const real v = x[j * run->tap];
        if (op == OP_MAX) {
            sum = v > sum ? v : sum;
            nan = v != v ? v : nan;
        } else {
            sum = take(op, run->norm, sum, v);
        }
    }
    return nan != nan ? nan : sum;
}

INLINE real reduce_window_as(const int op, const Run *run)
{
    const int contiguous = op != OP_POWER && run->tap == 1 && run->taps >= LONG_WINDOW;
    real sum = start_of(op);
    for (ptrdiff_t i = 0; i < run->rows; i++) {
        const real *x = run->x + i * run->row;
        real part = start_of(op);
        if (contiguous)
            part = reduce_long(op, run->norm, x, run->taps);
        else
            part = reduce_few(op, run, x);
        sum = take(joining(op), 0, sum, part);
    }
    return finished(&run->finish, sum);
}

static real reduce_window(int op, const Run *run)
{
    switch (op) {
    case OP_MAX:
        return reduce_window_as(OP_MAX, run);
    case OP_SUM:
        return reduce_window_as(OP_SUM, run);
    case OP_ABS:
        return reduce_window_as(OP_ABS, run);
    case OP_SQUARE:
        return reduce_window_as(OP_SQUARE, run);
    default:
        return reduce_window_as(OP_POWER, run);
    }
}

#endif
