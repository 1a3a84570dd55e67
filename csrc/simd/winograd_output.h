/* The last stages of a block of tiles (winograd.h): products, and from these to pixels. */
#ifndef FASTCONV_WINOGRAD_OUTPUT_H
#define FASTCONV_WINOGRAD_OUTPUT_H

#include "activation.h"
#include "quarter.h"
#include "turn.h"
#include "winograd_edges.h"
#include "winograd_geometry.h"
#include "winograd_tile.h"
#include "winograd_weights.h"

/* ---------------------------------------------------------------- products */

/* Whether all weights of a phase are zero at a point: those of infinity hold the last tap, which
 * the shorter phases do not have. */
INLINE int vanishes(const Winograd *w, ptrdiff_t phase, ptrdiff_t point)
{
    const Geometry *g = &w->geometry;
    const ptrdiff_t alpha = w->m + w->r - 1;
    const int last_row = point / alpha == alpha - 1, last_col = point % alpha == alpha - 1;
    return (last_row && phase / g->SW + (w->r - 1) * g->SH >= g->KH)
        || (last_col && phase % g->SW + (w->r - 1) * g->SW >= g->KW);
}

/* Add a chunk's products to the sums of all points. The first chunk belongs to a whole phase, so
 * that it starts them all. Meanwhile memory from `ahead` to `stop` is brought near. */
static void multiply_chunk(const Winograd *w, ptrdiff_t i, const Sections *s, ptrdiff_t V,
                           const real *values, const real *weights, const real *ahead,
                           const real *stop, real *products)
{
    const Geometry *g = &w->geometry;
    const ptrdiff_t alpha = w->m + w->r - 1;
    const ptrdiff_t phase = i / chunks_of(w), first = i % chunks_of(w) * w->chunk;
    const ptrdiff_t channels = least(w->chunk, g->IC - first), slab = w->tile_pitch * VL;
    values += (phase * slabs_of(g) + first / VL) * slab;
    for (ptrdiff_t point = 0; point < alpha * alpha; point++) {
        const Served served = served_by(w, s, point / alpha, point % alpha);
        const ptrdiff_t tiles = served.stop - served.first;
        const ptrdiff_t pieces = ceil_div(tiles, tallest((int)V));
        for (ptrdiff_t piece = 0; piece < pieces && !vanishes(w, phase, point); piece++) {
            const ptrdiff_t begin = first_of(piece, pieces, tiles), t = served.first + begin;
            const ptrdiff_t M = first_of(piece + 1, pieces, tiles) - begin;
            winograd_tiles[V][M](channels, values + t * VL, slab, weights,
                                 ahead < stop ? ahead : weights, i == 0, products + t * V * VL);
            ahead += channels * (64 / (ptrdiff_t)sizeof(real));
        }
        values += w->values_pitch * VL;
        weights += chunk_pitch(w, V) * VL;
        products += w->products_pitch * VL;
    }
}

/* ---------------------------------------------------------------- output */

/* One vector of output channels of a tile of height × width outputs; only `rows` × `cols` of its
 * pixels are wanted. */
INLINE void transform_tile(const int alpha, const int m, const int height, const int width,
                           const real *products, ptrdiff_t point, vec bias, real *dst,
                           ptrdiff_t pitch, ptrdiff_t rows, ptrdiff_t cols)
{
    vec half[LARGEST_TILE][LARGEST_ALPHA];
#pragma GCC unroll 8
    for (int j = 0; j < alpha; j++) {
        vec v[LARGEST_ALPHA], y[LARGEST_TILE];
        if (!serves(alpha, m, width, j))
            continue;
#pragma GCC unroll 8
        for (int i = 0; i < alpha; i++)
            if (serves(alpha, m, height, i))
                v[i] = vload(products + (i * alpha + j) * point);
        points_to_outputs(alpha, m, height, v, y);
#pragma GCC unroll 8
        for (int i = 0; i < height; i++)
            half[i][j] = y[i];
    }
#pragma GCC unroll 8
    for (int i = 0; i < height; i++) {
        vec y[LARGEST_TILE];
        points_to_outputs(alpha, m, width, half[i], y);
        if (i < rows)
#pragma GCC unroll 8
            for (int j = 0; j < width; j++)
                if (j < cols)
                    vstore(dst + i * pitch + j * VL, y[j] + bias);
    }
}

/* One vector of output channels of one picture. */
INLINE void transform_products(const int alpha, const int m, const Winograd *w, const TileBlock *b,
                               const Sections *s, ptrdiff_t picture, const real *products,
                               ptrdiff_t step, vec bias, real *pixels, ptrdiff_t rows,
                               ptrdiff_t cols)
{
    const ptrdiff_t point = w->products_pitch * VL, pitch = cols * VL;
    for (ptrdiff_t i = 0; i * m < rows; i++)
        for (ptrdiff_t j = 0; j * m < cols; j++) {
            const int height = i < s->rows ? m : s->height, width = j < s->cols ? m : s->width;
            const real *from = products + tile_at(s, picture, i, j) * step;
            real *to = pixels + i * m * pitch + j * m * VL;
#define TILE(height, width) \
    transform_tile(alpha, m, height, width, from, point, bias, to, pitch, rows - i * m, cols - j * m)
#define TILE_BELOW(some) TILE(some, m)
#define TILE_RIGHT(some) TILE(m, some)
#define CORNER_1(some) TILE(1, some)
#define CORNER_2(some) TILE(2, some)
#define CORNER_3(some) TILE(3, some)
            if (height == m)
                FOR_OUTPUTS(alpha, m, width, TILE_RIGHT);
            else if (width == m)
                FOR_OUTPUTS(alpha, m, height, TILE_BELOW);
            else if (height == 1)
                FOR_OUTPUTS(alpha, m, width, CORNER_1);
            else if (height == 2)
                FOR_OUTPUTS(alpha, m, width, CORNER_2);
            else
                FOR_OUTPUTS(alpha, m, width, CORNER_3);
#undef TILE
#undef TILE_BELOW
#undef TILE_RIGHT
#undef CORNER_1
#undef CORNER_2
#undef CORNER_3
        }
}

/* Maxima of windows of 2×2 of [row][col][VL], in the place of the first ones. */
static void pool_pixels(real *pixels, ptrdiff_t rows, ptrdiff_t cols)
{
    const ptrdiff_t down = cols * VL;
    real *to = pixels;
    for (ptrdiff_t r = 0; r < rows / 2; r++)
        for (ptrdiff_t c = 0; c < cols / 2; c++, to += VL) {
            const real *from = pixels + 2 * (r * down + c * VL);
            vstore(to, maximum_of_four(vload(from), vload(from + VL), vload(from + down),
                                       vload(from + down + VL)));
        }
}

/* Pixels of one vector of channels, [row][col][VL], to their places in `out`. */
static void store_pixels(const Winograd *w, ptrdiff_t channels, real *pixels, ptrdiff_t rows,
                         ptrdiff_t cols, real *out)
{
    const Geometry *g = &w->geometry;
    const ptrdiff_t out_h = g->DH * g->out_h, out_w = g->DW * g->out_w;
    activate_dense(w->activation, vsplat((real)w->slope), pixels, pixels, rows * cols * VL);
    if (w->pooled) {
        pool_pixels(pixels, rows, cols);
        rows /= 2, cols /= 2; /* what is left of a window is not pooled */
    }
    if (out_h == cols * out_w)
        cols *= rows, rows = 1;
    for (ptrdiff_t r = 0; r < rows; r++, out += out_h, pixels += cols * VL)
        if (cols >= LANE && channels == VL && out_w == 1)
            turn_out(cols, pixels, out, g->out_c);
        else if (g->out_c == 1 && channels == VL)
            for (ptrdiff_t c = 0; c < cols; c++)
                vstore(out + c * out_w, vload(pixels + c * VL));
        else
            move(cols, channels, pixels, VL, 1, out, out_w, g->out_c);
}

/* The products of one panel to pixels. */
static void pixels_of_products(const Winograd *w, const TileBlock *b, const Sections *s,
                               ptrdiff_t first_vector, ptrdiff_t V, const real *products,
                               const void *bias, void *out_, real *pixels)
{
    const Geometry *g = &w->geometry;
    for (ptrdiff_t v = 0; v < V; v++) {
        const ptrdiff_t channel = (first_vector + v) * VL;
        const vec biases = vload((const real *)bias + channel);
        for (ptrdiff_t i = 0; i < b->pictures; i++) {
            const Picture picture = picture_at(g, b->picture + i);
            const ptrdiff_t row = b->row * w->m, col = b->col * w->m;
            const ptrdiff_t height = ceil_div(g->OH - picture.h, g->DH);
            const ptrdiff_t width = ceil_div(g->OW - picture.w, g->DW);
            const ptrdiff_t rows = least(b->rows * w->m, height - row);
            const ptrdiff_t cols = least(b->cols * w->m, width - col);
            if (rows <= 0 || cols <= 0)
                continue;
            switch ((w->m + w->r - 1) * 10 + w->m) {
#define CASE(alpha, m) \
    case alpha * 10 + m: \
        transform_products(alpha, m, w, b, s, i, products + v * VL, V * VL, biases, pixels, rows, \
                           cols); \
        break
                EACH_TILE(CASE);
#undef CASE
            }
            const ptrdiff_t h = w->pooled ? row / 2 : row * g->DH + picture.h;
            const ptrdiff_t c = w->pooled ? col / 2 : col * g->DW + picture.w;
            store_pixels(w, least(VL, g->OC - channel), pixels, rows, cols,
                         (real *)out_ + picture.image * w->out_n + channel * g->out_c
                             + h * g->out_h + c * g->out_w);
        }
    }
}

/* One panel of V vectors of output channels, from the values of a block to its pixels; of weights
 * that are in no panels, those of the group are given. */
static void winograd_output(const Winograd *w, const TileBlock *b, ptrdiff_t first_vector,
                            ptrdiff_t V, const void *values, const void *panel, const void *bias,
                            void *out, void *scratch)
{
    const Sections s = sections_of(w, b);
    const ptrdiff_t step = points_of(w) * chunk_pitch(w, V) * VL;
    real *products = scratch, *pixels = products + points_of(w) * w->products_pitch * VL;
    real *weights = pixels + b->rows * b->cols * w->m * w->m * VL;
    for (ptrdiff_t i = 0; i < phases_of(&w->geometry) * chunks_of(w); i++) {
        const real *u = (const real *)panel + i * step, *next = u, *stop = u;
        if (!w->transformed) {
            const real *taps = taps_of(w, i, V, panel);
            if (w->given)
                taps = taps_of_given(w, i, first_vector, V, panel, weights + step);
            winograd_weights(w, i, V, taps, weights);
            u = weights;
            if (!w->given)
                next = taps_of(w, i + 1, V, panel), stop = taps_of(w, i + 2, V, panel);
        }
        multiply_chunk(w, i, &s, V, values, u, next, stop, products);
    }
    pixels_of_products(w, b, &s, first_vector, V, products, bias, out, pixels);
}

#endif
