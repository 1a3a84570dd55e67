/* Copy a matrix between any two memory orders: every packing and unpacking is this. */
#ifndef FASTCONV_MOVE_H
#define FASTCONV_MOVE_H

#include "vec.h"

INLINE ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
INLINE ptrdiff_t most(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
INLINE ptrdiff_t limited(ptrdiff_t n) { return most(least(n, VL), 0); } /* to a vector's lanes */

/* Whether rows so far apart push each other out of the caches: they are read and written whole
 * lines at a time, since no line would stay for a second visit. */
INLINE int collide(ptrdiff_t pitch) { return pitch * (ptrdiff_t)sizeof(real) % 4096 == 0; }

INLINE void copy_run(const real *src, real *dst, ptrdiff_t n)
{
    ptrdiff_t i = 0;
    for (; i <= n - VL; i += VL)
        vstore(dst + i, vload(src + i));
    if (i < n)
        vstore_n(dst + i, n - i, vload_n(src + i, n - i));
}

/* The same past the caches; vfence() once after the last. */
INLINE void stream_run(const real *src, real *dst, ptrdiff_t n)
{
    const ptrdiff_t lanes = (ptrdiff_t)((uintptr_t)dst / sizeof(real) % VL);
    ptrdiff_t i = lanes ? least(VL - lanes, n) : 0;
    if (i) /* a masked store of nothing waits, too */
        vstore_n(dst, i, vload_n(src, i));
    for (; i <= n - VL; i += VL)
        vstream(dst + i, vload(src + i));
    if (i < n)
        vstore_n(dst + i, n - i, vload_n(src + i, n - i));
}

INLINE void fill_run(real *dst, real value, ptrdiff_t n)
{
    ptrdiff_t i = 0;
    for (; i <= n - VL; i += VL)
        vstore(dst + i, vsplat(value));
    if (i < n)
        vstore_n(dst + i, n - i, vsplat(value));
}

INLINE void zero_run(real *dst, ptrdiff_t n) { fill_run(dst, 0, n); }

/* From two vectors that begin 0 and VL − 1 cells after a cell: that cell and every second one
 * after it. The last is the last cell of the second vector, so that nothing beyond it is read. */
INLINE vec every_second(vec a, vec b)
{
    ivec from;
    for (int i = 0; i < VL; i++)
        from[i] = 2 * i < VL ? 2 * i : VL + 2 * i - (VL - 1);
    return vshuffle(a, b, from);
}

INLINE void gather_second(const real *src, real *dst, ptrdiff_t n)
{
    ptrdiff_t i = 0;
    for (; i < n - VL; i += VL)
        vstore(dst + i, every_second(vload(src + 2 * i), vload(src + 2 * i + VL - 1)));
    if (n >= VL) { /* the last vector ends with the last cell */
        i = n - VL;
        vstore(dst + i, every_second(vload(src + 2 * i), vload(src + 2 * i + VL - 1)));
    } else if (n > 0) {
        const ptrdiff_t cells = 2 * n - 1, of_b = cells - (VL - 1);
        const vec b = of_b > 0 ? vload_n(src + VL - 1, of_b) : (vec){0};
        vstore_n(dst, n, every_second(vload_n(src, cells < VL ? cells : VL), b));
    }
}

/* Elements first, first + 3, … of a, b and c end to end. */
INLINE vec vpick_third(vec a, vec b, vec c, int first)
{
    ivec lower, upper;
    for (int i = 0; i < VL; i++) {
        const int from = first + 3 * i;
        lower[i] = from < 2 * VL ? from : 0;
        upper[i] = from < 2 * VL ? i : from - VL;
    }
    return vshuffle(vshuffle(a, b, lower), c, upper);
}

/* Of a run of `cells`, those from `from` on that fit into a vector; zeros beyond. */
INLINE vec load_rest(const real *run, ptrdiff_t cells, ptrdiff_t from)
{
    return cells > from ? vload_n(run + from, least(cells - from, VL)) : (vec){0};
}

INLINE void gather_third(const real *src, real *dst, ptrdiff_t n)
{
    ptrdiff_t i = 0;
    for (; n >= VL && i < n; i += VL) {
        i = least(i, n - VL); /* the last vector ends with the last cell */
        const real *run = src + 3 * i;
        const vec rest = vload_n(run + 2 * VL, VL - 2);
        vstore(dst + i, vpick_third(vload(run), vload(run + VL), rest, 0));
    }
    if (n > 0 && n < VL) {
        const ptrdiff_t cells = 3 * n - 2;
        const vec a = load_rest(src, cells, 0), b = load_rest(src, cells, VL);
        vstore_n(dst, n, vpick_third(a, b, load_rest(src, cells, 2 * VL), 0));
    }
}

INLINE void gather_run(const real *src, ptrdiff_t step, real *dst, ptrdiff_t n)
{
    if (step == 1)
        copy_run(src, dst, n);
    else if (step == 2)
        gather_second(src, dst, n);
    else if (step == 3)
        gather_third(src, dst, n);
    else
        for (ptrdiff_t i = 0; i < n; i++)
            dst[i] = src[step * i];
}

/* From two rows, d columns of each: the halves that must change places are those where the bit
 * d of the row and of the column differ. Done for d = VL/2 … 1 this transposes VL × VL. */
INLINE void exchange(vec *upper, vec *lower, const int d)
{
    ivec to_upper, to_lower;
    for (int i = 0; i < VL; i++) {
        to_upper[i] = i & d ? VL + i - d : i;
        to_lower[i] = i & d ? VL + i : i + d;
    }
    const vec a = *upper, b = *lower;
    *upper = vshuffle(a, b, to_upper);
    *lower = vshuffle(a, b, to_lower);
}

/* All rows that differ in bit d. Written out for each d: in a loop over it compilers would put the
 * shuffles' constants together at run time. */
INLINE void exchange_all(vec *v, const int d)
{
#pragma GCC unroll 16
    for (int r = 0; r < VL; r++)
        if (d < VL && !(r & d))
            exchange(&v[r], &v[r + d], d);
}

/* dst[c * step + r] = src[r * pitch + c] for r < rows ≤ VL and c < cols ≤ VL. */
INLINE void transpose_block(ptrdiff_t rows, ptrdiff_t cols, const real *src, ptrdiff_t pitch,
                            real *dst, ptrdiff_t step)
{
    vec v[VL];
#pragma GCC unroll 16
    for (int r = 0; r < VL; r++)
        v[r] = r >= rows ? (vec){0}
            : cols == VL ? vload(src + r * pitch) : vload_n(src + r * pitch, cols);
    exchange_all(v, 8);
    exchange_all(v, 4);
    exchange_all(v, 2);
    exchange_all(v, 1);
#pragma GCC unroll 16
    for (int c = 0; c < VL; c++)
        if (c < cols) {
            if (rows == VL)
                vstore(dst + c * step, v[c]);
            else
                vstore_n(dst + c * step, rows, v[c]);
        }
}

/* The same for any rows and cols; dst is written in runs as long as the rows are many. */
static void transpose(ptrdiff_t rows, ptrdiff_t cols, const real *src, ptrdiff_t pitch, real *dst,
                      ptrdiff_t step)
{
    for (ptrdiff_t c = 0; c < cols; c += VL)
        for (ptrdiff_t r = 0; r < rows; r += VL) {
            const real *from = src + r * pitch + c;
            real *to = dst + c * step + r;
            if (rows - r >= VL && cols - c >= VL)
                transpose_block(VL, VL, from, pitch, to, step);
            else
                transpose_block(least(rows - r, VL), least(cols - c, VL), from, pitch, to, step);
        }
}

INLINE ptrdiff_t apart(ptrdiff_t stride) { return stride < 0 ? -stride : stride; }

/* dst[r * dst_row + c * dst_col] = src[r * src_row + c * src_col]: strides of either sign. */
static void move(ptrdiff_t rows, ptrdiff_t cols, const real *src, ptrdiff_t src_row,
                 ptrdiff_t src_col, real *dst, ptrdiff_t dst_row, ptrdiff_t dst_col)
{
    if (dst_col == 1) {
        if (src_row == 1 && rows >= VL / 2 && cols >= VL / 2) {
            transpose(cols, rows, src, src_col, dst, dst_row);
            return;
        }
        for (ptrdiff_t r = 0; r < rows; r++)
            gather_run(src + r * src_row, src_col, dst + r * dst_row, cols);
    } else if (dst_row == 1 || apart(dst_row) < apart(dst_col)) { /* cells that share lines follow */
        move(cols, rows, src, src_col, src_row, dst, dst_col, dst_row);
    } else {
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t c = 0; c < cols; c++)
                dst[r * dst_row + c * dst_col] = src[r * src_row + c * src_col];
    }
}

#endif
