/* The stages of a block of tiles (winograd.h): values in; products and output pixels; weights. */
#ifndef FASTCONV_WINOGRAD_STAGES_H
#define FASTCONV_WINOGRAD_STAGES_H

#include "activation.h"
#include "gather.h"
#include "product.h"
#include "winograd.h"
#include "winograd_tile.h"
#include "winograd_transforms.h"

/* ---------------------------------------------------------------- geometry */

INLINE ptrdiff_t slabs_of(const Geometry *g) { return ceil_div(g->IC, VL); }
INLINE ptrdiff_t phases_of(const Geometry *g) { return g->SH * g->SW; }

/* Which image a picture belongs to, and its place among the interleaved ones. */
typedef struct {
    ptrdiff_t image, h, w;
} Picture;

INLINE Picture picture_at(const Geometry *g, ptrdiff_t i)
{
    const ptrdiff_t height = least(g->DH, g->OH), width = least(g->DW, g->OW);
    return (Picture){i / (height * width), i / width % height, i % width};
}

/* The inputs of m × m outputs overlap by r − 1; planes of rows lie an odd number apart. */
INLINE ptrdiff_t patch_rows(const Winograd *w, const TileBlock *b)
{
    return b->rows * w->m + w->r - 1;
}
INLINE ptrdiff_t patch_cols(const Winograd *w, const TileBlock *b)
{
    return b->cols * w->m + w->r - 1;
}

/* ---------------------------------------------------------------- input */

/* One slab of one picture, padding written out: patch[row][col][VL], rows `pitch` vectors apart.
 * Lanes beyond the last channel are zero. */
static void gather_patch(const Winograd *w, const TileBlock *b, Picture picture, ptrdiff_t slab,
                         const real *x, ptrdiff_t pitch, real *patch)
{
    const Geometry *g = &w->geometry;
    const ptrdiff_t rows = patch_rows(w, b), cols = patch_cols(w, b);
    const ptrdiff_t phase = slab / slabs_of(g), channel = slab % slabs_of(g) * VL;
    const ptrdiff_t n = least(VL, g->IC - channel);
    const ptrdiff_t step_h = g->SH * g->DH, step_w = g->SW * g->DW;
    const ptrdiff_t left = b->col * w->m * step_w + picture.w + phase % g->SW - g->PL;
    ptrdiff_t row = b->row * w->m * step_h + picture.h + phase / g->SW - g->PT;
    const Span across = inside(left, step_w, cols, g->IW);
    x += picture.image * w->x_n + channel * g->x_c;
    for (ptrdiff_t r = 0; r < rows; r++, row += step_h, patch += pitch * VL) {
        Span span = across;
        if (row < 0 || row >= g->IH)
            span.low = span.high = cols;
        const ptrdiff_t width = span.high - span.low;
        real *dst = patch + span.low * VL;
        if (n < VL)
            zero_run(patch, cols * VL);
        zero_run(patch, span.low * VL);
        zero_run(patch + span.high * VL, (cols - span.high) * VL);
        if (width)
            move(width, n, x + row * g->x_h + (left + span.low * step_w) * g->x_w,
                 step_w * g->x_w, g->x_c, dst, VL, 1);
    }
}

/* Columns first, each once for all tiles that share it; then the rows of every tile. */
INLINE void transform_patch(const int alpha, const Winograd *w, const TileBlock *b,
                            const real *patch, ptrdiff_t pitch, real *rows, real *values)
{
    const ptrdiff_t cols = patch_cols(w, b), point = w->values_pitch * VL, step = w->m * VL;
    for (ptrdiff_t i = 0; i < b->rows; i++, patch += w->m * pitch * VL) {
        for (ptrdiff_t c = 0; c < cols; c++) {
            vec d[LARGEST_ALPHA], v[LARGEST_ALPHA];
#pragma GCC unroll 8
            for (int k = 0; k < alpha; k++)
                d[k] = vload(patch + (k * pitch + c) * VL);
            to_points(alpha, d, v);
#pragma GCC unroll 8
            for (int k = 0; k < alpha; k++)
                vstore(rows + (k * pitch + c) * VL, v[k]);
        }
        for (int k = 0; k < alpha; k++) {
            const real *from = rows + k * pitch * VL;
            real *to = values + k * alpha * point;
            for (ptrdiff_t tile = 0; tile < b->cols; tile++, from += step, to += VL) {
                vec d[LARGEST_ALPHA], v[LARGEST_ALPHA];
#pragma GCC unroll 8
                for (int j = 0; j < alpha; j++)
                    d[j] = vload(from + j * VL);
                to_points(alpha, d, v);
#pragma GCC unroll 8
                for (int j = 0; j < alpha; j++)
                    vstore(to + j * point, v[j]);
            }
        }
        values += b->cols * VL;
    }
}

static void winograd_input(const Winograd *w, const TileBlock *b, ptrdiff_t slab, const void *x,
                           void *values_, void *scratch)
{
    const ptrdiff_t pitch = patch_cols(w, b) | 1;
    real *patch = scratch, *rows = patch + patch_rows(w, b) * pitch * VL;
    real *values = (real *)values_ + slab * w->tile_pitch * VL;
    for (ptrdiff_t i = 0; i < b->pictures; i++, values += b->rows * b->cols * VL) {
        const Picture picture = picture_at(&w->geometry, b->picture + i);
        gather_patch(w, b, picture, slab, x, pitch, patch);
        switch (w->m + w->r - 1) {
#define CASE(alpha) \
    case alpha: \
        transform_patch(alpha, w, b, patch, pitch, rows, values); \
        break
            CASE(3);
            CASE(4);
            CASE(5);
            CASE(6);
            CASE(7);
            CASE(8);
#undef CASE
        }
    }
}

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

static void multiply_points(const Winograd *w, ptrdiff_t tiles, int V, const real *values,
                            const real *weights, ptrdiff_t weights_pitch, real *products)
{
    const Geometry *g = &w->geometry;
    const ptrdiff_t alpha = w->m + w->r - 1, pieces = ceil_div(tiles, tallest(V));
    const ptrdiff_t slab = w->tile_pitch * VL;
    for (ptrdiff_t point = 0; point < alpha * alpha; point++) {
        const real *u = weights;
        int first = 1;
        for (ptrdiff_t phase = 0; phase < phases_of(g); phase++) {
            for (ptrdiff_t c = 0; c < g->IC; c += CHUNK) {
                const ptrdiff_t channels = least(CHUNK, g->IC - c);
                const real *v = values + (phase * slabs_of(g) + c / VL) * slab;
                for (ptrdiff_t i = 0; i < pieces && !vanishes(w, phase, point); i++) {
                    const ptrdiff_t t = first_of(i, pieces, tiles);
                    const ptrdiff_t M = first_of(i + 1, pieces, tiles) - t;
                    winograd_tiles[V][M](channels, v + t * VL, slab, u, 16384 / sizeof(real), first,
                                         products + t * V * VL);
                }
                first = first && vanishes(w, phase, point);
                u += channels * V * VL;
            }
        }
        values += w->values_pitch * VL;
        weights += weights_pitch * VL;
        products += w->products_pitch * VL;
    }
}

/* ---------------------------------------------------------------- output */

/* One vector of output channels of one tile; only `rows` × `cols` of its pixels are wanted. */
INLINE void transform_tile(const int alpha, const int m, const real *products, ptrdiff_t point,
                           vec bias, real *dst, ptrdiff_t pitch, ptrdiff_t rows, ptrdiff_t cols)
{
    vec half[LARGEST_TILE][LARGEST_ALPHA];
#pragma GCC unroll 8
    for (int j = 0; j < alpha; j++) {
        vec v[LARGEST_ALPHA], y[LARGEST_TILE];
#pragma GCC unroll 8
        for (int i = 0; i < alpha; i++)
            v[i] = vload(products + (i * alpha + j) * point);
        from_points(alpha, m, v, y);
#pragma GCC unroll 8
        for (int i = 0; i < m; i++)
            half[i][j] = y[i];
    }
#pragma GCC unroll 8
    for (int i = 0; i < m; i++) {
        vec y[LARGEST_TILE];
        from_points(alpha, m, half[i], y);
        if (i < rows)
#pragma GCC unroll 8
            for (int j = 0; j < m; j++)
                if (j < cols)
                    vstore(dst + i * pitch + j * VL, y[j] + bias);
    }
}

INLINE void transform_products(const int alpha, const int m, const Winograd *w, const TileBlock *b,
                               const real *products, ptrdiff_t step, vec bias, real *pixels,
                               ptrdiff_t rows, ptrdiff_t cols)
{
    const ptrdiff_t point = w->products_pitch * VL, pitch = cols * VL;
    for (ptrdiff_t r = 0; r < rows; r += m)
        for (ptrdiff_t c = 0; c < b->cols * m; c += m, products += step)
            if (c < cols)
                transform_tile(alpha, m, products, point, bias, pixels + r * pitch + c * VL, pitch,
                               rows - r, cols - c);
}

/* Pixels of one vector of channels, [row][col][VL], to their places in `out`. */
static void store_pixels(const Winograd *w, ptrdiff_t channels, real *pixels, ptrdiff_t rows,
                         ptrdiff_t cols, real *out)
{
    const Geometry *g = &w->geometry;
    const ptrdiff_t out_h = g->DH * g->out_h, out_w = g->DW * g->out_w;
    activate_dense(w->activation, vsplat((real)w->slope), pixels, pixels, rows * cols * VL);
    if (out_h == cols * out_w)
        cols *= rows, rows = 1;
    for (ptrdiff_t r = 0; r < rows; r++)
        move(cols, channels, pixels + r * cols * VL, VL, 1, out + r * out_h, out_w, g->out_c);
}

static void winograd_output(const Winograd *w, const TileBlock *b, ptrdiff_t first_vector,
                            ptrdiff_t vectors, const void *values, const void *weights,
                            const void *bias, void *out_, void *scratch)
{
    const Geometry *g = &w->geometry;
    const int alpha = (int)(w->m + w->r - 1), V = (int)vectors;
    const ptrdiff_t tiles = b->pictures * b->rows * b->cols;
    real *products = scratch, *pixels = products + alpha * alpha * w->products_pitch * VL;
    multiply_points(w, tiles, V, values, weights, phases_of(g) * g->IC * V | 1, products);
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
            const real *from = products + (i * b->rows * b->cols * V + v) * VL;
            if (rows <= 0 || cols <= 0)
                continue;
            switch (alpha * 10 + w->m) {
#define CASE(alpha, m) \
    case alpha * 10 + m: \
        transform_products(alpha, m, w, b, from, V * VL, biases, pixels, rows, cols); \
        break
                CASE(3, 2);
                CASE(4, 2);
                CASE(6, 2);
                CASE(5, 4);
                CASE(6, 4);
                CASE(7, 4);
                CASE(8, 4);
                CASE(8, 6);
#undef CASE
            }
            store_pixels(w, least(VL, g->OC - channel), pixels, rows, cols,
                         (real *)out_ + picture.image * w->out_n + channel * g->out_c
                             + (row * g->DH + picture.h) * g->out_h
                             + (col * g->DW + picture.w) * g->out_w);
        }
    }
}

/* ---------------------------------------------------------------- weights */


/* U = G g G^T for one input channel and one vector of output channels; `taps` holds g. */
INLINE void transform_taps(const int r, ptrdiff_t alpha, const real *G, const vec *taps, real *dst,
                           ptrdiff_t point)
{
    for (ptrdiff_t i = 0; i < alpha; i++) {
        vec row[LARGEST_REACH];
#pragma GCC unroll 8
        for (int k = 0; k < r; k++) {
            row[k] = vsplat(G[i * r]) * taps[k];
#pragma GCC unroll 8
            for (int l = 1; l < r; l++)
                row[k] = vfma(vsplat(G[i * r + l]), taps[l * r + k], row[k]);
        }
        for (ptrdiff_t j = 0; j < alpha; j++, dst += point) {
            vec u = vsplat(G[j * r]) * row[0];
#pragma GCC unroll 8
            for (int k = 1; k < r; k++)
                u = vfma(vsplat(G[j * r + k]), row[k], u);
            vstore(dst, u);
        }
    }
}

/* One vector of output channels of one panel of `vectors`; `weights` is the first of them. */
static void winograd_pack(const Winograd *w, const double *G_, ptrdiff_t channels,
                          ptrdiff_t vectors, const void *weights_, const ptrdiff_t *strides,
                          void *panel)
{
    const Geometry *g = &w->geometry;
    const ptrdiff_t r = w->r, alpha = w->m + r - 1, taps = g->KH * g->KW;
    const ptrdiff_t point = (phases_of(g) * g->IC * vectors | 1) * VL;
    const ptrdiff_t together = most(1, 1024 / taps);
    Geometry piece = *g;
    real G[LARGEST_ALPHA * LARGEST_REACH];
    real gathered[1024 * VL];
    for (ptrdiff_t i = 0; i < alpha * r; i++)
        G[i] = (real)G_[i];
    for (ptrdiff_t c = 0; c < g->IC; c += together) {
        piece.IC = least(together, g->IC - c);
        pack_panel(&piece, channels, VL, (const real *)weights_ + c * strides[1], strides,
                   gathered);
        for (ptrdiff_t phase = 0; phase < phases_of(g); phase++) {
            for (ptrdiff_t ic = 0; ic < piece.IC; ic++) {
                vec one[LARGEST_REACH * LARGEST_REACH];
                for (ptrdiff_t k = 0; k < r * r; k++) {
                    const ptrdiff_t kh = phase / g->SW + k / r * g->SH;
                    const ptrdiff_t kw = phase % g->SW + k % r * g->SW;
                    one[k] = (vec){0};
                    if (kh < g->KH && kw < g->KW)
                        one[k] = vload(gathered + (ic * taps + kh * g->KW + kw) * VL);
                }
                real *dst = (real *)panel + (phase * g->IC + c + ic) * vectors * VL;
                switch (r) {
                case 2:
                    transform_taps(2, alpha, G, one, dst, point);
                    break;
                case 3:
                    transform_taps(3, alpha, G, one, dst, point);
                    break;
                case 4:
                    transform_taps(4, alpha, G, one, dst, point);
                    break;
                case 5:
                    transform_taps(5, alpha, G, one, dst, point);
                    break;
                }
            }
        }
    }
}

#endif
