/* Bring the input of a block into an order that the tile can walk over.
 *
 * Each of the three writes the padding out, so that a padded zero is a factor like any other, and
 * leaves output pixel (r, c)'s factor of term k at dst[offset(k) + r * pitch + c * step].
 * All `to->rows` and `to->cols` are filled, also for a smaller rectangle at the edge, and the
 * cells that a vector may read beyond the last: idle lanes compute with finite, normal numbers.
 */
#ifndef FASTCONV_GATHER_H
#define FASTCONV_GATHER_H

#include "block.h"
#include "gemm_tile.h"
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

/* Rows × n cells of one plane, strides apart; `x` is the first cell, which may lie outside. */
static void gather_plane(const Geometry *g, const real *x, Span down, Span across, real *dst,
                         ptrdiff_t rows, ptrdiff_t n)
{
    zero_run(dst, down.low * n);
    zero_run(dst + down.high * n, (rows - down.high) * n);
    for (ptrdiff_t r = down.low; r < down.high && across.low > 0; r++)
        zero_run(dst + r * n, across.low);
    for (ptrdiff_t r = down.low; r < down.high && across.high < n; r++)
        zero_run(dst + r * n + across.high, n - across.high);
    move(down.high - down.low, across.high - across.low,
         x + down.low * g->SH * g->x_h + across.low * g->SW * g->x_w, g->SH * g->x_h,
         g->SW * g->x_w, dst + down.low * n + across.low, n, 1);
}

/* The cells of a row in turn to `even` and to `odd`; x is the first, which may lie outside. */
static void part_row(const real *x, Span evens, Span odds, real *even, real *odd)
{
    const ptrdiff_t low = most(evens.low, odds.low), high = least(evens.high, odds.high);
    ptrdiff_t i = low;
    for (ptrdiff_t k = evens.low; k < least(low, evens.high); k++)
        even[k] = x[2 * k];
    for (ptrdiff_t k = odds.low; k < least(low, odds.high); k++)
        odd[k] = x[2 * k + 1];
    for (; i < high; i += VL) {
        if (high - low >= VL) { /* the last vectors end with the last cells */
            i = least(i, high - VL);
            const vec a = vload(x + 2 * i), b = vload(x + 2 * i + VL);
            vstore(even + i, veven(a, b));
            vstore(odd + i, vodd(a, b));
        } else {
            const ptrdiff_t cells = 2 * (high - i);
            const vec a = vload_n(x + 2 * i, least(cells, VL));
            const vec b = cells > VL ? vload_n(x + 2 * i + VL, cells - VL) : (vec){0};
            vstore_n(even + i, high - i, veven(a, b));
            vstore_n(odd + i, high - i, vodd(a, b));
        }
    }
    for (ptrdiff_t k = most(low, high); k < evens.high; k++)
        even[k] = x[2 * k];
    for (ptrdiff_t k = most(low, high); k < odds.high; k++)
        odd[k] = x[2 * k + 1];
}

/* A plane at a horizontal stride of 2, both residues of a row at once, and row after row as they
 * lie; `x` is the block's first cell. */
static void gather_parted(const Geometry *g, const Gathering *to, const real *x,
                          const Rectangle *at, ptrdiff_t rows, real *dst)
{
    const ptrdiff_t n = to->pitch, left = at->ow * 2 - g->PL;
    const Span evens = inside(left, 2, n, g->IW), odds = inside(left + 1, 2, n, g->IW);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t slot = 0; slot < to->slots_h; slot++) {
            const ptrdiff_t down = r * g->SH + slot * g->DH % g->SH;
            const ptrdiff_t row = at->oh * g->SH - g->PT + down;
            real *even = dst + (2 * slot * rows + r) * n, *odd = even + rows * n;
            if (row < 0 || row >= g->IH) {
                zero_run(even, n);
                zero_run(odd, n);
                continue;
            }
            zero_run(even, evens.low);
            zero_run(odd, odds.low);
            part_row(x + down * g->x_h, evens, odds, even, odd);
            zero_run(even + evens.high, n - evens.high);
            zero_run(odd + odds.high, n - odds.high);
        }
}

/* Planes of input channels. Cells are split by their residue modulo the stride, so that
 * neighbouring output pixels find theirs side by side: dst[ic][slot_h][slot_w][row][col], where
 * slot s holds the residue s * dilation % stride. */
static void gather_planes(const Geometry *g, const Gathering *to, const void *x_,
                          const Rectangle *at, ptrdiff_t first, ptrdiff_t terms, void *dst_)
{
    const ptrdiff_t taps = g->KH * g->KW, channels = terms / taps;
    const real *x = (const real *)x_ + first / taps * g->x_c;
    real *dst = dst_;
    const ptrdiff_t rows = to->rows + (g->KH - 1) * g->DH / g->SH;
    const ptrdiff_t used = to->slots_h * to->slots_w * rows * to->pitch;
    /* Channels that lie next to each other are read together, else one plane after another. */
    const ptrdiff_t together = g->x_c == 1 ? channels : 1;
    const ptrdiff_t corner = (at->oh * g->SH - g->PT) * g->x_h + (at->ow * g->SW - g->PL) * g->x_w;
    const int parted = together == 1 && g->x_w == 1 && g->SW == 2 && to->slots_w == 2;
    for (ptrdiff_t ic = 0; ic < channels; ic += together) {
        real *slot_dst = dst + ic * to->plane;
        if (parted) {
            gather_parted(g, to, x + ic * g->x_c + corner, at, rows, slot_dst);
            continue;
        }
        for (ptrdiff_t slot = 0; slot < to->slots_h * to->slots_w; slot++) {
            const ptrdiff_t top = at->oh * g->SH + slot / to->slots_w * g->DH % g->SH - g->PT;
            const ptrdiff_t left = at->ow * g->SW + slot % to->slots_w * g->DW % g->SW - g->PL;
            const Span down = inside(top, g->SH, rows, g->IH);
            const Span across = inside(left, g->SW, to->pitch, g->IW);
            const real *cells = x + ic * g->x_c + top * g->x_h + left * g->x_w;
            if (together == 1)
                gather_plane(g, cells, down, across, slot_dst, rows, to->pitch);
            else
                for (ptrdiff_t r = 0; r < rows; r++)
                    gather_row(g, cells + r * g->SH * g->x_h, together, top + r * g->SH, across,
                               g->SW, slot_dst + r * to->pitch, to->plane, to->pitch);
            slot_dst += rows * to->pitch;
        }
    }
    for (ptrdiff_t ic = 0; ic < channels; ic++)
        zero_run(dst + ic * to->plane + used, to->plane - used);
    zero_run(dst + channels * to->plane, LARGEST_V * VL);
}

/* Pixel after pixel, all channels of each: dst[row][col][ic], rows `plane` apart. */
static void gather_pixels(const Geometry *g, const Gathering *to, const void *x_,
                          const Rectangle *at, ptrdiff_t first, ptrdiff_t terms, void *dst_)
{
    const ptrdiff_t taps = g->KH * g->KW, channels = terms / taps, pixel = to->step / g->SW;
    const ptrdiff_t rows = (to->rows - 1) * g->SH + (g->KH - 1) * g->DH + 1;
    const ptrdiff_t cols = (to->cols - 1) * g->SW + (g->KW - 1) * g->DW + 1;
    const ptrdiff_t top = at->oh * g->SH - g->PT, left = at->ow * g->SW - g->PL;
    const real *x = (const real *)x_ + first / taps * g->x_c + left * g->x_w;
    real *dst = dst_;
    const Span across = inside(left, 1, cols, g->IW);
    const int dense = g->x_c == 1 && g->x_w == channels && pixel == channels;
    for (ptrdiff_t row = top; row < top + rows; row++, dst += to->plane) {
        Span span = across;
        if (row < 0 || row >= g->IH)
            span.low = span.high = cols;
        const real *from = x + row * g->x_h + span.low * g->x_w;
        const ptrdiff_t n = span.high - span.low;
        zero_run(dst, span.low * pixel);
        zero_run(dst + span.high * pixel, (cols - span.high) * pixel);
        if (dense)
            copy_run(from, dst + span.low * pixel, n * pixel);
        else
            move(n, channels, from, g->x_w, g->x_c, dst + span.low * pixel, pixel, 1);
    }
}

/* The columns of im2col: dst[k][row][col], terms `plane` apart. */
static void gather_columns(const Geometry *g, const Gathering *to, const void *x_,
                           const Rectangle *at, ptrdiff_t first, ptrdiff_t terms, void *dst_)
{
    const ptrdiff_t taps = g->KH * g->KW, used = to->rows * to->pitch;
    const real *x = x_;
    real *dst = dst_;
    for (ptrdiff_t tap = 0; tap < taps; tap++) {
        /* of this tap's terms, ic * taps + tap, those from `first` on */
        const ptrdiff_t ic = first > tap ? (first - tap + taps - 1) / taps : 0;
        const ptrdiff_t end = first + terms;
        const ptrdiff_t channels = (end > tap ? (end - tap + taps - 1) / taps : 0) - ic;
        if (channels <= 0)
            continue;
        ptrdiff_t row = at->oh * g->SH + tap / g->KW * g->DH - g->PT;
        const ptrdiff_t col = at->ow * g->SW + tap % g->KW * g->DW - g->PL;
        const Span span = inside(col, g->SW, to->pitch, g->IW);
        real *column = dst + (ic * taps + tap - first) * to->plane;
        for (ptrdiff_t r = 0; r < to->rows; r++, row += g->SH, column += to->pitch)
            gather_row(g, x + ic * g->x_c + row * g->x_h + col * g->x_w, channels, row, span,
                       g->SW, column, taps * to->plane, to->pitch);
    }
    for (ptrdiff_t k = 0; k < terms; k++)
        zero_run(dst + k * to->plane + used, to->plane - used);
    zero_run(dst + terms * to->plane, LARGEST_V * VL);
}

#endif
