/* Bring the input of a block into an order that the tile can walk over.
 *
 * Each of the three writes the padding out, so that a padded zero is a factor like any other, and
 * leaves output pixel (r, c)'s factor of term k at dst[offset(k) + r * pitch + c * step].
 * All `to->rows` and `to->cols` are filled, also for a smaller rectangle at the edge, and the
 * cells that a vector may read beyond the last: idle lanes compute with finite, normal numbers.
 */
#ifndef FASTCONV_GATHER_H
#define FASTCONV_GATHER_H

#include "gemm_tile.h"
#include "span.h"

enum {
    MOST_PARTS = 16,
    CACHE_LINE = 64 / sizeof(real),
};

/* Rows × n cells of one plane, strides apart; `x` is the first cell, which may lie outside.
 * Processors do not foresee where rows that are passed over end: those of the next plane are asked
 * for. */
static void gather_plane(const Geometry *g, const real *x, Span down, Span across, real *dst,
                         ptrdiff_t rows, ptrdiff_t n)
{
    zero_run(dst, down.low * n);
    zero_run(dst + down.high * n, (rows - down.high) * n);
    for (ptrdiff_t r = down.low; r < down.high && across.low > 0; r++)
        zero_run(dst + r * n, across.low);
    for (ptrdiff_t r = down.low; r < down.high && across.high < n; r++)
        zero_run(dst + r * n + across.high, n - across.high);
    for (ptrdiff_t r = down.low; r < down.high && g->SH > 1 && g->x_w == 1; r++)
        for (ptrdiff_t c = across.low; c < across.high; c += most(CACHE_LINE / g->SW, 1))
            __builtin_prefetch(x + g->x_c + r * g->SH * g->x_h + c * g->SW);
    move(down.high - down.low, across.high - across.low,
         x + down.low * g->SH * g->x_h + across.low * g->SW * g->x_w, g->SH * g->x_h,
         g->SW * g->x_w, dst + down.low * n + across.low, n, 1);
}


/* S vectors of neighbouring cells by their residues modulo S, a power of two. */
INLINE void part(const int S, vec v[MOST_PARTS])
{
#pragma GCC unroll 4
    for (int h = 1; h < S; h *= 2) { /* those modulo h become those modulo 2h */
        const int m = S / h;
        vec u[MOST_PARTS];
#pragma GCC unroll 8
        for (int r = 0; r < h; r++)
#pragma GCC unroll 8
            for (int j = 0; j < m; j += 2) {
                u[(r * m + j) / 2] = veven(v[r * m + j], v[r * m + j + 1]);
                u[((r + h) * m + j) / 2] = vodd(v[r * m + j], v[r * m + j + 1]);
            }
#pragma GCC unroll 16
        for (int i = 0; i < S; i++)
            v[i] = u[i];
    }
}

/* dst[s * slot + i] = x[i * S + s] for i < n and s < slots; cells before `low` and from `high` on
 * are padding. */
INLINE void part_row(const int S, const real *x, ptrdiff_t low, ptrdiff_t high, real *dst,
                     ptrdiff_t slots, ptrdiff_t slot, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i += VL, x += S * VL, low -= S * VL, high -= S * VL) {
        const int whole = low <= 0 && high >= S * VL;
        vec v[MOST_PARTS];
#pragma GCC unroll 16
        for (int k = 0; k < S; k++)
            v[k] = whole ? vload(x + k * VL)
                : vload_where(vbetween(limited(low - k * VL), limited(high - k * VL)), x + k * VL);
        part(S, v);
#pragma GCC unroll 16
        for (int s = 0; s < S; s++) {
            if (s >= slots)
                break;
            if (n - i >= VL)
                vstore(dst + s * slot + i, v[s]);
            else
                vstore_n(dst + s * slot + i, n - i, v[s]);
        }
    }
}

/* A plane whose columns have several residues, all of a row at once, and row after row as they
 * lie; `x` is the block's first cell. */
INLINE void gather_parted(const int S, const Geometry *g, const Gathering *to, const real *x,
                          const Rectangle *at, ptrdiff_t rows, real *dst)
{
    const ptrdiff_t n = to->pitch, low = g->PL - at->ow * S, high = g->IW + low;
    const ptrdiff_t slot = rows * n, top = at->oh * g->SH - g->PT;
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t i = 0; i < to->slots_h; i++) {
            const ptrdiff_t down = r * g->SH + i * g->DH % g->SH;
            real *row = dst + i * to->slots_w * slot + r * n;
            if (top + down >= 0 && top + down < g->IH)
                part_row(S, x + down * g->x_h, low, high, row, to->slots_w, slot, n);
            else
                for (ptrdiff_t s = 0; s < to->slots_w; s++)
                    zero_run(row + s * slot, n);
        }
}

/* Whether its stride is one that vectors can part. */
INLINE int is_parted(const Geometry *g, const Gathering *to)
{
    const ptrdiff_t S = g->SW;
    return g->x_w == 1 && to->slots_w > 1 && S <= MOST_PARTS && (S & (S - 1)) == 0
        && g->DW % S == 1;
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
    const int parted = together == 1 && is_parted(g, to);
    for (ptrdiff_t ic = 0; ic < channels; ic += together) {
        real *slot_dst = dst + ic * to->plane;
        if (parted) {
            const real *from = x + ic * g->x_c + corner;
            switch (g->SW) {
#define CASE(S) \
    case S: \
        gather_parted(S, g, to, from, at, rows, slot_dst); \
        continue
                CASE(2);
                CASE(4);
                CASE(8);
                CASE(16);
#undef CASE
            }
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
