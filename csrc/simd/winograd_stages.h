/* The stages of a block of tiles (winograd.h): values in; products and output pixels; weights. */
#ifndef FASTCONV_WINOGRAD_STAGES_H
#define FASTCONV_WINOGRAD_STAGES_H

#include "activation.h"
#include "gather.h"
#include "product.h"
#include "winograd.h"
#include "winograd_edges.h"
#include "winograd_tile.h"
#include "winograd_transforms.h"

/* ---------------------------------------------------------------- geometry */

/* α and m of every transform. */
#define EACH_TILE(X) X(3, 2); X(4, 2); X(6, 2); X(5, 4); X(6, 4); X(7, 4); X(8, 4); X(8, 6)

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

/* ---------------------------------------------------------------- turning
 *
 * VL channels lie `plane` apart, each with its pixels side by side; in vectors of channels, pixel
 * after pixel. A vector holds lanes of 16 bytes: LANE pixels of LANE channels are turned within
 * each, so that half of the shuffles of a whole transpose suffice, and any number of pixels from
 * LANE on is done without remainders: the last ones are turned twice. Where planes collide in the
 * caches, a lane's line would have to come again for the next one: there whole vectors are turned.
 */

enum { LANE = 16 / sizeof(real) };

INLINE void turn_lanes(vec *v)
{
    ivec low, high;
    for (int i = 0; i < VL; i++) {
        const int base = i / LANE * LANE, k = i % LANE;
        low[i] = base + k / 2 + k % 2 * VL;
        high[i] = low[i] + LANE / 2;
    }
#if REAL_BITS == 64
    const vec a = v[0], b = v[1];
    v[0] = vshuffle(a, b, low);
    v[1] = vshuffle(a, b, high);
#else
    const vec a = vshuffle(v[0], v[2], low), b = vshuffle(v[1], v[3], low);
    const vec c = vshuffle(v[0], v[2], high), d = vshuffle(v[1], v[3], high);
    v[0] = vshuffle(a, b, low);
    v[1] = vshuffle(a, b, high);
    v[2] = vshuffle(c, d, low);
    v[3] = vshuffle(c, d, high);
#endif
}

static void turn_in(ptrdiff_t n, const real *x, ptrdiff_t plane, real *dst)
{
    if (n >= VL && collide(plane)) {
        for (ptrdiff_t i = 0; i < n; i += VL) {
            const ptrdiff_t at = least(i, n - VL);
            transpose_block(VL, VL, x + at, plane, dst + at * VL, VL);
        }
        return;
    }
    for (ptrdiff_t i = 0; i < n; i += LANE) {
        const ptrdiff_t at = least(i, n - LANE);
        vec v[LANE];
#pragma GCC unroll 4
        for (int k = 0; k < LANE; k++)
            v[k] = vload_lanes(x + at + k * plane, LANE * plane);
        turn_lanes(v);
#pragma GCC unroll 4
        for (int k = 0; k < LANE; k++)
            vstore(dst + (at + k) * VL, v[k]);
    }
}

static void turn_out(ptrdiff_t n, const real *pixels, real *out, ptrdiff_t plane)
{
    if (n >= VL && collide(plane)) {
        for (ptrdiff_t i = 0; i < n; i += VL) {
            const ptrdiff_t at = least(i, n - VL);
            transpose_block(VL, VL, pixels + at * VL, VL, out + at, plane);
        }
        return;
    }
    for (ptrdiff_t i = 0; i < n; i += LANE) {
        const ptrdiff_t at = least(i, n - LANE);
        vec v[LANE];
#pragma GCC unroll 4
        for (int k = 0; k < LANE; k++)
            v[k] = vload(pixels + (at + k) * VL);
        turn_lanes(v);
#pragma GCC unroll 4
        for (int k = 0; k < LANE; k++)
            vstore_lanes(out + at + k * plane, LANE * plane, v[k]);
    }
}

/* ---------------------------------------------------------------- input */

/* `n` pixels, `step` apart in planes of pixels side by side: all between are turned, in `spare`. */
static void turn_in_steps(ptrdiff_t n, ptrdiff_t step, const real *x, ptrdiff_t plane, real *dst,
                          real *spare)
{
    turn_in((n - 1) * step + 1, x, plane, spare);
    for (ptrdiff_t i = 0; i < n; i++, dst += VL, spare += step * VL)
        vstore(dst, vload(spare));
}

/* One slab of one picture, padding written out: patch[row][col][VL], rows `pitch` vectors apart.
 * Lanes beyond the last channel are zero. `spare` has room for α rows. */
static void gather_patch(const Winograd *w, const TileBlock *b, Picture picture, ptrdiff_t slab,
                         const real *x, ptrdiff_t pitch, real *patch, real *spare)
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
        const real *from = x + row * g->x_h + (left + span.low * step_w) * g->x_w;
        if (!width)
            continue;
        if (g->x_c == 1 && n == VL)
            for (ptrdiff_t i = 0; i < width; i++)
                vstore(dst + i * VL, vload(from + i * step_w * g->x_w));
        else if (width < LANE || n < VL || g->x_w != 1 || step_w > w->m + w->r - 1)
            move(width, n, from, step_w * g->x_w, g->x_c, dst, VL, 1);
        else if (step_w == 1)
            turn_in(width, from, g->x_c, dst);
        else
            turn_in_steps(width, step_w, from, g->x_c, dst, spare);
    }
}

/* The columns of one row of tiles, of `some` outputs each, from a patch to rows[point][column]. */
INLINE void transform_columns(const int alpha, const int m, const int some, ptrdiff_t cols,
                              const real *patch, ptrdiff_t pitch, real *rows)
{
    for (ptrdiff_t c = 0; c < cols; c++) {
        vec d[LARGEST_ALPHA], v[LARGEST_ALPHA];
#pragma GCC unroll 8
        for (int k = 0; k < alpha + some - m; k++)
            d[k] = vload(patch + (k * pitch + c) * VL);
        inputs_to_points(alpha, m, some, d, v);
#pragma GCC unroll 8
        for (int k = 0; k < alpha; k++)
            if (serves(alpha, m, some, k))
                vstore(rows + (k * pitch + c) * VL, v[k]);
    }
}

/* Some tiles of one of these rows to values. */
INLINE void transform_row(const int alpha, const int m, const int some, ptrdiff_t tiles,
                          const real *row, real *values, ptrdiff_t point)
{
    for (ptrdiff_t tile = 0; tile < tiles; tile++, row += m * VL, values += VL) {
        vec d[LARGEST_ALPHA], v[LARGEST_ALPHA];
#pragma GCC unroll 8
        for (int j = 0; j < alpha + some - m; j++)
            d[j] = vload(row + j * VL);
        inputs_to_points(alpha, m, some, d, v);
#pragma GCC unroll 8
        for (int j = 0; j < alpha; j++)
            if (serves(alpha, m, some, j))
                vstore(values + j * point, v[j]);
    }
}

/* `some` as a constant, where an end has transforms of its own. */
#define FOR_OUTPUTS(alpha, m, some, CALL) \
    do { \
        if (alpha == 6 && m == 4 && some == 1) \
            CALL(1); \
        else if (alpha == 6 && m == 4 && some == 2) \
            CALL(2); \
        else if (alpha == 6 && m == 4 && some == 3) \
            CALL(3); \
        else \
            CALL(m); \
    } while (0)

/* Columns first, each once for all tiles that share it; then the rows of every tile. */
INLINE void transform_patch(const int alpha, const int m, const Winograd *w, const TileBlock *b,
                            const Sections *s, ptrdiff_t picture, const real *patch,
                            ptrdiff_t pitch, real *rows, real *values)
{
    const ptrdiff_t point = w->values_pitch * VL;
    const ptrdiff_t cols = patch_cols(w, b) - m + s->width;
    for (ptrdiff_t i = 0; i < b->rows; i++, patch += m * pitch * VL) {
        const int height = i < s->rows ? m : s->height;
        real *const interior = values + tile_at(s, picture, i, 0) * VL;
        real *const right = values + tile_at(s, picture, i, s->cols) * VL;
#define COLUMNS(some) transform_columns(alpha, m, some, cols, patch, pitch, rows)
        FOR_OUTPUTS(alpha, m, height, COLUMNS);
#undef COLUMNS
        for (int k = 0; k < alpha; k++) {
            const real *row = rows + k * pitch * VL;
            if (!serves(alpha, m, height, k))
                continue;
            transform_row(alpha, m, m, s->cols, row, interior + k * alpha * point, point);
            if (s->cols == b->cols)
                continue;
#define LAST(some) \
    transform_row(alpha, m, some, 1, row + s->cols * m * VL, right + k * alpha * point, point)
            FOR_OUTPUTS(alpha, m, s->width, LAST);
#undef LAST
        }
    }
}

static void winograd_input(const Winograd *w, const TileBlock *b, ptrdiff_t slab, const void *x,
                           void *values_, void *scratch)
{
    const Sections s = sections_of(w, b);
    const ptrdiff_t pitch = patch_cols(w, b) | 1;
    real *patch = scratch, *rows = patch + patch_rows(w, b) * pitch * VL;
    real *values = (real *)values_ + slab * w->tile_pitch * VL;
    for (ptrdiff_t i = 0; i < b->pictures; i++) {
        const Picture picture = picture_at(&w->geometry, b->picture + i);
        gather_patch(w, b, picture, slab, x, pitch, patch, rows);
        switch ((w->m + w->r - 1) * 10 + w->m) {
#define CASE(alpha, m) \
    case alpha * 10 + m: \
        transform_patch(alpha, m, w, b, &s, i, patch, pitch, rows, values); \
        break
            EACH_TILE(CASE);
#undef CASE
        }
    }
}

/* ---------------------------------------------------------------- weights */

enum { PACKED_TOGETHER = 512 }; /* taps, on the stack */

/* The taps g of one vector of output channels, in its place in a panel of V; w has any strides. */
static void winograd_pack(const Winograd *w, ptrdiff_t channels, ptrdiff_t V, const void *weights,
                          const ptrdiff_t *strides, void *panel)
{
    const Geometry *g = &w->geometry;
    const ptrdiff_t r = w->r, taps = g->KH * g->KW, together = most(1, PACKED_TOGETHER / taps);
    const int dense = strides[3] == 1 && strides[2] == g->KW && strides[1] == taps;
    Geometry piece = *g;
    real gathered[PACKED_TOGETHER * VL];
    for (ptrdiff_t c = 0; c < g->IC; c += together) {
        const real *from = (const real *)weights + c * strides[1];
        piece.IC = least(together, g->IC - c);
        if (dense && channels == VL && piece.IC * taps >= LANE)
            turn_in(piece.IC * taps, from, strides[0], gathered);
        else
            pack_panel(&piece, channels, VL, from, strides, gathered);
        for (ptrdiff_t phase = 0; phase < phases_of(g); phase++) {
            real *dst = (real *)panel + (phase * g->IC + c) * r * r * V * VL;
            for (ptrdiff_t ic = 0; ic < piece.IC; ic++)
                for (ptrdiff_t k = 0; k < r * r; k++, dst += V * VL) {
                    const ptrdiff_t kh = phase / g->SW + k / r * g->SH;
                    const ptrdiff_t kw = phase % g->SW + k % r * g->SW;
                    vec tap = {0};
                    if (kh < g->KH && kw < g->KW)
                        tap = vload(gathered + (ic * taps + kh * g->KW + kw) * VL);
                    vstore(dst, tap);
                }
        }
    }
}

INLINE ptrdiff_t chunks_of(const Winograd *w) { return ceil_div(w->geometry.IC, w->chunk); }

/* Vectors between points of a chunk of U, for a panel of V. */
INLINE ptrdiff_t chunk_pitch(const Winograd *w, ptrdiff_t V) { return w->chunk * V | 1; }

INLINE ptrdiff_t points_of(const Winograd *w)
{
    return (w->m + w->r - 1) * (w->m + w->r - 1);
}

INLINE void transform_taps(const int alpha, const int r, const double *G_, ptrdiff_t channels,
                           ptrdiff_t V, const real *taps, ptrdiff_t point, real *dst)
{
    real G[LARGEST_ALPHA * LARGEST_REACH];
    for (int i = 0; i < alpha * r; i++)
        G[i] = (real)G_[i];
    for (ptrdiff_t c = 0; c < channels; c++, taps += r * r * V * VL)
        for (ptrdiff_t v = 0; v < V; v++, dst += VL) {
            vec half[LARGEST_ALPHA][LARGEST_REACH];
#pragma GCC unroll 8
            for (int j = 0; j < r; j++) {
                vec column[LARGEST_REACH], u[LARGEST_ALPHA];
#pragma GCC unroll 8
                for (int i = 0; i < r; i++)
                    column[i] = vload(taps + ((i * r + j) * V + v) * VL);
                weight_points(alpha, r, G, column, u);
#pragma GCC unroll 8
                for (int i = 0; i < alpha; i++)
                    half[i][j] = u[i];
            }
#pragma GCC unroll 8
            for (int i = 0; i < alpha; i++) {
                vec u[LARGEST_ALPHA];
                weight_points(alpha, r, G, half[i], u);
#pragma GCC unroll 8
                for (int j = 0; j < alpha; j++)
                    vstore(dst + (i * alpha + j) * point, u[j]);
            }
        }
}

/* Where the taps of chunk i, counted over all phases, begin in a panel of V. */
INLINE const real *taps_of(const Winograd *w, ptrdiff_t i, ptrdiff_t V, const void *panel)
{
    const ptrdiff_t channel = i / chunks_of(w) * w->geometry.IC + i % chunks_of(w) * w->chunk;
    return (const real *)panel + channel * w->r * w->r * V * VL;
}

/* The same of weights that are in no panel: the chunk's taps, brought into one. They are those of
 * the only phase. */
static const real *taps_of_given(const Winograd *w, ptrdiff_t i, ptrdiff_t first_vector,
                                 ptrdiff_t V, const void *weights, real *panel)
{
    Winograd chunk = *w;
    const ptrdiff_t first = i * w->chunk, *strides = w->given;
    chunk.geometry.IC = least(w->chunk, w->geometry.IC - first);
    for (ptrdiff_t v = 0; v < V; v++) {
        const ptrdiff_t oc = (first_vector + v) * VL;
        winograd_pack(&chunk, least(VL, w->geometry.OC - oc), V,
                      (const real *)weights + oc * strides[0] + first * strides[1], strides,
                      panel + v * VL);
    }
    return panel;
}

/* Chunk i from its taps to U. */
static void winograd_weights(const Winograd *w, ptrdiff_t i, ptrdiff_t V, const void *taps,
                             void *dst)
{
    const Geometry *g = &w->geometry;
    const ptrdiff_t first = i % chunks_of(w) * w->chunk, n = least(w->chunk, g->IC - first);
    const ptrdiff_t point = chunk_pitch(w, V) * VL;
    switch ((w->m + w->r - 1) * 10 + w->r) {
#define CASE(alpha, r) \
    case alpha * 10 + r: \
        transform_taps(alpha, r, w->G, n, V, taps, point, dst); \
        break
        CASE(3, 2);
        CASE(4, 3);
        CASE(5, 2);
        CASE(6, 3);
        CASE(6, 5);
        CASE(7, 4);
        CASE(8, 3);
        CASE(8, 5);
#undef CASE
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

/* Pixels of one vector of channels, [row][col][VL], to their places in `out`. */
static void store_pixels(const Winograd *w, ptrdiff_t channels, real *pixels, ptrdiff_t rows,
                         ptrdiff_t cols, real *out)
{
    const Geometry *g = &w->geometry;
    const ptrdiff_t out_h = g->DH * g->out_h, out_w = g->DW * g->out_w;
    activate_dense(w->activation, vsplat((real)w->slope), pixels, pixels, rows * cols * VL);
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
            store_pixels(w, least(VL, g->OC - channel), pixels, rows, cols,
                         (real *)out_ + picture.image * w->out_n + channel * g->out_c
                             + (row * g->DH + picture.h) * g->out_h
                             + (col * g->DW + picture.w) * g->out_w);
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
