/* Blocks of a convolution: gather pixels, multiply by the weights, store. */
#ifndef FASTCONV_CONV_H
#define FASTCONV_CONV_H

#include "activation.h"
#include "block.h"
#include "gemm_tile.h"
#include "move.h"

enum {
    TERMS = 256, /* of a pass over the tiles: what it shares stays in the first cache */
#if VEC_BYTES == 64 || defined(__aarch64__)
    WIDEST_ALONG_CHANNELS = 4,
    TALLEST_ALONG_PIXELS = 8,
#else
    WIDEST_ALONG_CHANNELS = PANEL_VECTORS > 2 ? PANEL_VECTORS : 2,
    TALLEST_ALONG_PIXELS = 4,
#endif
};

INLINE ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
INLINE ptrdiff_t most(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

/* a / b for b > 0, rounded up; a may be negative. */
INLINE ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }

/* ---------------------------------------------------------------- gathering pixels */

/* `count` channels of one row of n cells: dst[ic * plane + i] = x[ic, row, first + i * step],
 * zero outside the picture. */
static void padded_row(const Geometry *g, const real *x, ptrdiff_t count, ptrdiff_t row,
                       ptrdiff_t first, ptrdiff_t step, real *dst, ptrdiff_t plane, ptrdiff_t n)
{
    ptrdiff_t low = 0, high = 0;
    if (row >= 0 && row < g->IH) {
        low = least(most(ceil_div(-first, step), 0), n);
        high = most(least(ceil_div(g->IW - first, step), n), low);
    }
    for (ptrdiff_t ic = 0; ic < count && low > 0; ic++)
        zero_run(dst + ic * plane, low);
    for (ptrdiff_t ic = 0; ic < count && high < n; ic++)
        zero_run(dst + ic * plane + high, n - high);
    if (low < high)
        move(count, high - low, x + row * g->x_h + (first + low * step) * g->x_w, g->x_c,
             step * g->x_w, dst + low, plane, 1);
}

/* The part of the input that a rectangle needs, padding written out. Cells are split by their
 * residue modulo the stride, so that neighbouring output pixels find theirs side by side:
 * dst[ic][slot_h][slot_w][row][col], where slot s holds the residue s * dilation % stride.
 * All of gathering->rows is filled, and the cells that vectors reach beyond the last row. */
static void patch(const Geometry *g, const Gathering *to, const void *x_, const Rectangle *at,
                  ptrdiff_t first, ptrdiff_t terms, void *dst_)
{
    const real *x = x_;
    real *dst = dst_;
    const ptrdiff_t taps = g->KH * g->KW, channels = terms / taps;
    const ptrdiff_t rows = to->rows + (g->KH - 1) * g->DH / g->SH;
    const ptrdiff_t used = to->slots_h * to->slots_w * rows * to->pitch;
    /* Channels that lie next to each other are read together, else one plane after another. */
    const ptrdiff_t together = g->x_c == 1 ? channels : 1;
    x += first / taps * g->x_c;
    for (ptrdiff_t ic = 0; ic < channels; ic += together) {
        real *to_row = dst + ic * to->plane;
        for (ptrdiff_t sh = 0; sh < to->slots_h; sh++)
            for (ptrdiff_t sw = 0; sw < to->slots_w; sw++)
                for (ptrdiff_t r = 0; r < rows; r++, to_row += to->pitch)
                    padded_row(g, x + ic * g->x_c, together,
                               (at->oh + r) * g->SH + sh * g->DH % g->SH - g->PT,
                               at->ow * g->SW + sw * g->DW % g->SW - g->PL, g->SW,
                               to_row, to->plane, to->pitch);
    }
    for (ptrdiff_t ic = 0; ic < channels; ic++)
        zero_run(dst + ic * to->plane + used, to->plane - used);
    zero_run(dst + channels * to->plane, LARGEST_V * VL);
}

/* The columns of im2col: dst[k][row][col] is the factor of term k in an output pixel. */
static void columns(const Geometry *g, const Gathering *to, const void *x_, const Rectangle *at,
                    ptrdiff_t first, ptrdiff_t terms, void *dst_)
{
    const real *x = x_;
    real *dst = dst_;
    const ptrdiff_t taps = g->KH * g->KW, used = to->rows * to->pitch;
    for (ptrdiff_t tap = 0; tap < taps; tap++) {
        const ptrdiff_t ic = ceil_div(first - tap, taps);
        const ptrdiff_t channels = ceil_div(first + terms - tap, taps) - ic;
        if (channels <= 0)
            continue;
        real *column = dst + (ic * taps + tap - first) * to->plane;
        for (ptrdiff_t r = 0; r < to->rows; r++)
            padded_row(g, x + ic * g->x_c, channels,
                       (at->oh + r) * g->SH + tap / g->KW * g->DH - g->PT,
                       at->ow * g->SW + tap % g->KW * g->DW - g->PL, g->SW,
                       column + r * to->pitch, taps * to->plane, to->pitch);
    }
    for (ptrdiff_t k = 0; k < terms; k++)
        zero_run(dst + k * to->plane + used, to->plane - used);
    zero_run(dst + terms * to->plane, LARGEST_V * VL);
}

/* ---------------------------------------------------------------- weights */

/* One panel of `channels` ≤ width output channels, zero beyond them; w has any strides. */
static void pack_panel(const Geometry *g, ptrdiff_t channels, ptrdiff_t width, const void *w_,
                       const ptrdiff_t *strides, void *dst_)
{
    const real *w = w_;
    real *dst = dst_;
    const ptrdiff_t taps = g->KH * g->KW, terms = g->IC * taps;
    const ptrdiff_t w_oc = strides[0], w_ic = strides[1], w_h = strides[2], w_w = strides[3];
    if (w_h == g->KW * w_w && w_ic == g->KH * w_h)
        move(channels, terms, w, w_oc, w_w, dst, 1, width);
    else
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            move(channels, g->IC, w + tap / g->KW * w_h + tap % g->KW * w_w, w_oc, w_ic,
                 dst + tap * width, 1, taps * width);
    for (ptrdiff_t k = 0; k < terms && channels < width; k++)
        zero_run(dst + k * width + channels, width - channels);
}

/* ---------------------------------------------------------------- the product
 *
 * Both forms have the same loops: groups of vectors; passes over the terms, so that what the
 * tiles of a group share stays in the first cache; tiles. Sums of a group lie together,
 * scalar after scalar.
 */

static int is_last(const Block *b)
{
    const Geometry *g = b->geometry;
    return b->first + b->terms == g->IC * g->KH * g->KW;
}

static void activate_sums(const Block *b, real *sums, ptrdiff_t n)
{
    if (b->activation != ACT_NONE)
        activate_dense(b->activation, vsplat((real)b->slope), sums, sums, n);
}

/* Group i of n takes the vectors first_of(i, …) to first_of(i + 1, …), as equally as can be. */
INLINE ptrdiff_t first_of(ptrdiff_t i, ptrdiff_t groups, ptrdiff_t vectors)
{
    return vectors * i / groups;
}

/* The sums of group i along pixels, turned into pixel after pixel or whatever `out` is. */
static void store_group(const Block *b, const real *sums, ptrdiff_t from, ptrdiff_t to)
{
    const Geometry *g = b->geometry;
    for (ptrdiff_t r = from / b->pitch; r < b->at.rows && r * b->pitch < to; r++) {
        const ptrdiff_t low = most(from - r * b->pitch, 0);
        const ptrdiff_t high = least(to - r * b->pitch, b->at.cols);
        if (low < high)
            move(b->channels, high - low, sums + r * b->pitch + low - from, to - from, 1,
                 (real *)b->out + r * g->out_h + low * g->out_w, g->out_c, g->out_w);
    }
}

/* Dense rows of pixels: one channel after another, so that memory is written in long runs. */
static void store_rows(const Block *b, ptrdiff_t groups, ptrdiff_t vectors)
{
    const Geometry *g = b->geometry;
    for (ptrdiff_t c = 0; c < b->channels; c++) {
        ptrdiff_t i = 0, from = 0, to = first_of(1, groups, vectors) * VL;
        for (ptrdiff_t r = 0; r < b->at.rows; r++) {
            real *out = (real *)b->out + c * g->out_c + r * g->out_h - r * b->pitch;
            ptrdiff_t lane = r * b->pitch;
            const ptrdiff_t end = lane + b->at.cols;
            while (lane < end) {
                while (lane >= to) {
                    from = to;
                    to = first_of(++i + 1, groups, vectors) * VL;
                }
                const ptrdiff_t stop = least(end, to);
                const real *sums = (const real *)b->sums + from * b->channels + c * (to - from);
                copy_run(sums + lane - from, out + lane, stop - lane);
                lane = stop;
            }
        }
    }
}

static void product_along_pixels(const Block *b)
{
    const ptrdiff_t lanes = (b->at.rows - 1) * b->pitch + b->at.cols;
    const ptrdiff_t vectors = ceil_div(lanes, VL), width = b->panel_width;
    const ptrdiff_t in_panel = least(width, b->channels);
    const int V = widest((int)ceil_div(in_panel, ceil_div(in_panel, TALLEST_ALONG_PIXELS)));
    const ptrdiff_t groups = ceil_div(vectors, V);
    const int last = is_last(b), rows_are_dense = b->geometry->out_w == 1;

    for (ptrdiff_t i = 0; i < groups; i++) {
        const ptrdiff_t from = first_of(i, groups, vectors) * VL;
        const ptrdiff_t to = first_of(i + 1, groups, vectors) * VL;
        real *sums = (real *)b->sums + from * b->channels;
        for (ptrdiff_t k = 0; k < b->terms; k += TERMS) {
            const TileJob job = {least(TERMS, b->terms - k), b->offsets + k, width,
                                 b->panel_size};
            const real *x = (const real *)b->pixels + from;
            const real *w = (const real *)b->weights + (b->first + k) * width;
            for (ptrdiff_t panel = 0; panel < b->channels; panel += width) {
                const ptrdiff_t n = least(width, b->channels - panel);
                const ptrdiff_t pieces = ceil_div(n, TALLEST_ALONG_PIXELS);
                for (ptrdiff_t piece = 0; piece < pieces; piece++) {
                    const ptrdiff_t c = n * piece / pieces;
                    const ptrdiff_t M = n * (piece + 1) / pieces - c;
                    const real *bias = (const real *)b->bias + panel + c;
                    tiles[1][(to - from) / VL][M](&job, x, w + c, b->first + k ? NULL : bias,
                                                  sums + (panel + c) * (to - from));
                }
                x += b->panel_pixels;
                w += b->panel_size;
            }
        }
        if (last)
            activate_sums(b, sums, b->channels * (to - from));
        if (last && !rows_are_dense)
            store_group(b, sums, from, to);
    }
    if (last && rows_are_dense)
        store_rows(b, groups, vectors);
}

static void product_along_channels(const Block *b)
{
    const Geometry *g = b->geometry;
    const int last = is_last(b), kept = b->first > 0 || !last;
    const ptrdiff_t rows = b->at.rows, cols = b->at.cols;
    const ptrdiff_t panels = ceil_div(b->channels, PANEL);
    const ptrdiff_t groups = ceil_div(panels * PANEL_VECTORS, WIDEST_ALONG_CHANNELS);

    for (ptrdiff_t i = 0; i < groups; i++) {
        const ptrdiff_t from = first_of(i, groups, panels), to = first_of(i + 1, groups, panels);
        const ptrdiff_t width = (to - from) * PANEL;
        const int V = (int)(width / VL);
        const ptrdiff_t pieces = ceil_div(cols, tallest(V));
        real *sums = (real *)b->sums + (kept ? from * PANEL * rows * cols : 0);
        const real *bias = (const real *)b->bias + from * PANEL;
        for (ptrdiff_t k = 0; k < b->terms; k += TERMS / 2) {
            const TileJob job = {least(TERMS / 2, b->terms - k), b->offsets + k, PANEL,
                                 b->panel_size};
            const real *w = (const real *)b->weights + from * b->panel_size
                + (b->first + k) * PANEL;
            for (ptrdiff_t r = 0; r < rows; r++)
                for (ptrdiff_t piece = 0; piece < pieces; piece++) {
                    const ptrdiff_t c = cols * piece / pieces;
                    const ptrdiff_t M = cols * (piece + 1) / pieces - c;
                    tiles[0][V][M](&job, (const real *)b->pixels + r * b->pitch + c, w,
                                   b->first + k ? NULL : bias, sums + (r * cols + c) * width);
                }
        }
        if (!last)
            continue;
        activate_sums(b, sums, rows * cols * width);
        const ptrdiff_t n = least(width, b->channels - from * PANEL);
        real *out = (real *)b->out + from * PANEL * g->out_c;
        if (g->out_h == cols * g->out_w) /* one matrix, however many rows */
            move(rows * cols, n, sums, width, 1, out, g->out_w, g->out_c);
        else
            for (ptrdiff_t r = 0; r < rows; r++)
                move(cols, n, sums + r * cols * width, width, 1, out + r * g->out_h, g->out_w,
                     g->out_c);
    }
}

static void product(const Block *b)
{
    if (b->pixel_vectors)
        product_along_pixels(b);
    else
        product_along_channels(b);
}

#endif
