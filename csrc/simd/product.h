/* Multiply a block's gathered pixels by the weights and store the sums; pack the weights. */
#ifndef FASTCONV_PRODUCT_H
#define FASTCONV_PRODUCT_H

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

INLINE ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

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
 * Both forms have the same loops: strips of vectors; passes over the terms, so that what the tiles
 * of a strip share stays in the first cache; tiles. The sums of a strip lie together, scalar after
 * scalar. `first_of(i, …)` cuts n things into parts as equal as can be.
 */

INLINE ptrdiff_t first_of(ptrdiff_t i, ptrdiff_t parts, ptrdiff_t n) { return n * i / parts; }

static int is_last(const Block *b)
{
    const Geometry *g = b->geometry;
    return b->first + b->terms == g->IC * g->KH * g->KW;
}

/* `rows` runs of n sums each, `pitch` apart. */
static void activate_sums(const Block *b, real *sums, ptrdiff_t rows, ptrdiff_t pitch, ptrdiff_t n)
{
    if (b->activation == ACT_NONE)
        return;
    if (pitch == n)
        n *= rows, rows = 1;
    for (ptrdiff_t r = 0; r < rows; r++)
        activate_dense(b->activation, vsplat((real)b->slope), sums + r * pitch, sums + r * pitch,
                       n);
}

/* Vectors along pixels run over all lanes from the first pixel to the last, those between the rows
 * included. */
typedef struct {
    ptrdiff_t place; /* the strip's sums begin at place * channels */
    ptrdiff_t lane, width;
} Strip;

/* The last strip moves back so that it ends with the last lane, where there are enough lanes: it
 * computes some of them again, and nothing beyond the pixels is read. */
INLINE Strip strip_of(ptrdiff_t i, ptrdiff_t strips, ptrdiff_t lanes)
{
    const ptrdiff_t vectors = ceil_div(lanes, VL), place = first_of(i, strips, vectors) * VL;
    const ptrdiff_t width = first_of(i + 1, strips, vectors) * VL - place;
    return (Strip){place, most(least(place, lanes - width), 0), width};
}

/* A strip's sums to wherever a pixel's place in `out` is. */
static void store_strip(const Block *b, Strip strip)
{
    const Geometry *g = b->geometry;
    const real *sums = (const real *)b->sums + strip.place * b->channels - strip.lane;
    const ptrdiff_t end = strip.lane + strip.width;
    for (ptrdiff_t r = strip.lane / b->pitch; r < b->at.rows && r * b->pitch < end; r++) {
        const ptrdiff_t low = most(strip.lane, r * b->pitch);
        const ptrdiff_t high = least(end, r * b->pitch + b->at.cols);
        if (low < high)
            move(b->channels, high - low, sums + low, strip.width, 1,
                 (real *)b->out + r * g->out_h + (low - r * b->pitch) * g->out_w, g->out_c,
                 g->out_w);
    }
}

/* All sums into dense rows, channel after channel, so that memory is written in long runs. */
static void store_rows(const Block *b, ptrdiff_t strips, ptrdiff_t lanes)
{
    const Geometry *g = b->geometry;
    for (ptrdiff_t c = 0; c < b->channels; c++) {
        ptrdiff_t i = 0;
        Strip strip = strip_of(0, strips, lanes);
        for (ptrdiff_t r = 0; r < b->at.rows; r++) {
            real *out = (real *)b->out + c * g->out_c + r * g->out_h - r * b->pitch;
            ptrdiff_t lane = r * b->pitch;
            const ptrdiff_t end = lane + b->at.cols;
            while (lane < end) {
                while (lane >= strip.lane + strip.width)
                    strip = strip_of(++i, strips, lanes);
                const ptrdiff_t stop = least(end, strip.lane + strip.width);
                const real *sums = (const real *)b->sums + strip.place * b->channels
                    + c * strip.width - strip.lane;
                copy_run(sums + lane, out + lane, stop - lane);
                lane = stop;
            }
        }
    }
}

static void product_along_pixels(const Block *b)
{
    const Geometry *g = b->geometry;
    const ptrdiff_t lanes = (b->at.rows - 1) * b->pitch + b->at.cols, width = b->panel_width;
    const ptrdiff_t in_panel = least(width, b->channels);
    const int V = widest((int)ceil_div(in_panel, ceil_div(in_panel, TALLEST_ALONG_PIXELS)));
    const ptrdiff_t strips = ceil_div(ceil_div(lanes, VL), V);
    const int last = is_last(b), rows_are_dense = g->out_w == 1;
    /* Sums can wait in `out` itself where no lane lies between rows, and where none is added to
     * again after the last strip has computed it once more. */
    const int in_out = rows_are_dense && b->at.rows == 1 && lanes >= V * VL && last && !b->first;

    for (ptrdiff_t i = 0; i < strips; i++) {
        const Strip strip = strip_of(i, strips, lanes);
        real *sums = in_out ? (real *)b->out + strip.lane
            : (real *)b->sums + strip.place * b->channels;
        const ptrdiff_t pitch = in_out ? g->out_c : strip.width;
        for (ptrdiff_t k = 0; k < b->terms; k += TERMS) {
            const TileJob job = {least(TERMS, b->terms - k), b->offsets + k, width, b->panel_size,
                                 b->step, pitch};
            const real *x = (const real *)b->pixels + strip.lane;
            const real *w = (const real *)b->weights + (b->first + k) * width;
            for (ptrdiff_t panel = 0; panel < b->channels; panel += width) {
                const ptrdiff_t n = least(width, b->channels - panel);
                const ptrdiff_t pieces = ceil_div(n, TALLEST_ALONG_PIXELS);
                for (ptrdiff_t piece = 0; piece < pieces; piece++) {
                    const ptrdiff_t c = first_of(piece, pieces, n);
                    const ptrdiff_t M = first_of(piece + 1, pieces, n) - c;
                    const real *bias = (const real *)b->bias + panel + c;
                    tiles[1][strip.width / VL][M](&job, x, w + c, b->first + k ? NULL : bias,
                                                  sums + (panel + c) * pitch);
                }
                x += b->panel_pixels;
                w += b->panel_size;
            }
        }
        if (last)
            activate_sums(b, sums, b->channels, pitch, strip.width);
        if (last && !rows_are_dense)
            store_strip(b, strip);
    }
    if (last && rows_are_dense && !in_out)
        store_rows(b, strips, lanes);
}

static void product_along_channels(const Block *b)
{
    const Geometry *g = b->geometry;
    const int last = is_last(b), kept = b->first > 0 || !last;
    const ptrdiff_t rows = b->at.rows, cols = b->at.cols;
    const ptrdiff_t panels = ceil_div(b->channels, PANEL);
    const ptrdiff_t strips = ceil_div(panels * PANEL_VECTORS, WIDEST_ALONG_CHANNELS);

    for (ptrdiff_t i = 0; i < strips; i++) {
        const ptrdiff_t from = first_of(i, strips, panels);
        const ptrdiff_t width = (first_of(i + 1, strips, panels) - from) * PANEL;
        const ptrdiff_t n = least(width, b->channels - from * PANEL);
        const int V = (int)(width / VL);
        const ptrdiff_t pieces = ceil_div(cols, tallest(V));
        const real *bias = (const real *)b->bias + from * PANEL;
        real *out = (real *)b->out + from * PANEL * g->out_c;
        /* Sums can wait in `out` itself where a pixel's channels fill the strip's vectors. */
        const int in_out = g->out_c == 1 && n == width;
        real *sums = in_out ? out : (real *)b->sums + (kept ? from * PANEL * rows * cols : 0);
        const ptrdiff_t pitch = in_out ? g->out_w : width;
        const ptrdiff_t row_pitch = in_out ? g->out_h : cols * width;
        for (ptrdiff_t k = 0; k < b->terms; k += TERMS / 2) {
            const TileJob job = {least(TERMS / 2, b->terms - k), b->offsets + k, PANEL,
                                 b->panel_size, b->step, pitch};
            const real *w = (const real *)b->weights + from * b->panel_size
                + (b->first + k) * PANEL;
            for (ptrdiff_t r = 0; r < rows; r++)
                for (ptrdiff_t piece = 0; piece < pieces; piece++) {
                    const ptrdiff_t c = first_of(piece, pieces, cols);
                    const ptrdiff_t M = first_of(piece + 1, pieces, cols) - c;
                    const real *x = (const real *)b->pixels + r * b->pitch + c * b->step;
                    tiles[0][V][M](&job, x, w, b->first + k ? NULL : bias,
                                   sums + r * row_pitch + c * pitch);
                }
        }
        for (ptrdiff_t r = 0; r < rows && last; r++)
            activate_sums(b, sums + r * row_pitch, cols, pitch, width);
        if (!last || in_out)
            continue;
        if (g->out_h == cols * g->out_w) /* one matrix, however many rows */
            move(rows * cols, n, sums, width, 1, out, g->out_w, g->out_c);
        else
            for (ptrdiff_t r = 0; r < rows; r++)
                move(cols, n, sums + r * row_pitch, width, 1, out + r * g->out_h, g->out_w,
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
