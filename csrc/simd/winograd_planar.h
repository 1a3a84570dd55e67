/* Winograd's F(4×4, 3×3) on few input channels: the lanes of a vector are tiles side by side.
 *
 * With few channels the products at a point are too short for a stage of their own: what they
 * would write and read again takes longer than they do. So one output channel of a vector of tiles
 * is computed from the transformed inputs to its sixteen outputs in registers: the products of one
 * column of points (summed over the channels) go through A^T at once, and each pair of columns ±p
 * is added to the outputs as its even and odd part. Transformed inputs serve all output channels.
 *
 * Where the output channels lie side by side and fill vectors, the lanes hold these instead, and
 * the transformed inputs are the scalars: the same operations in the same order.
 */
#ifndef FASTCONV_WINOGRAD_PLANAR_H
#define FASTCONV_WINOGRAD_PLANAR_H

#include "clamp.h"
#include "parting.h"
#include "quarter.h"
#include "span.h"
#include "tile_rows.h"
#include "winograd_transforms.h"

enum { SIDE = TILE_SIDE, ALPHA = TILE_ALPHA, TILE_COLS = SIDE * VL }; /* of a vector of tiles */

/* ---------------------------------------------------------------- in */

/* Cells of a row of a patch: beyond the windows, as far as part_columns reads. */
INLINE ptrdiff_t tile_pitch(ptrdiff_t vectors)
{
    return ((vectors * TILE_COLS + SIDE + VL - 1) / VL | 1) * VL;
}

/* The rows that a row of tiles meets, padding written out: patch[ic][row][pitch]; those of the rows
 * of tiles after it `width` columns further, where several share the vectors. */
static void fill_tile_rows(const Geometry *g, const real *x, ptrdiff_t row, ptrdiff_t rows,
                           ptrdiff_t col, ptrdiff_t width, ptrdiff_t pitch, real *patch)
{
    const Span span = inside(col, 1, width, g->IW);
    for (ptrdiff_t ic = 0; ic < g->IC; ic++, x += g->x_c)
        for (int k = 0; k < ALPHA; k++, patch += pitch) {
            for (ptrdiff_t i = 0; i < rows; i++) {
                const ptrdiff_t at = row + i * SIDE + k;
                gather_row(g, x + at * g->x_h + col * g->x_w, 1, at, span, 1, patch + i * width, 0,
                           width);
            }
            zero_run(patch + rows * width, pitch - rows * width);
        }
}

/* One vector of tiles of every channel: values[column point][ic][row point][VL]. */
static void tiles_to_points(ptrdiff_t IC, const real *patch, ptrdiff_t pitch, real *values)
{
    for (ptrdiff_t ic = 0; ic < IC; ic++, patch += ALPHA * pitch) {
        vec half[ALPHA][ALPHA];
#pragma GCC unroll 6
        for (int k = 0; k < ALPHA; k++) {
            vec near[SIDE], next[SIDE], v[ALPHA];
            part_columns(patch + k * pitch, near);
            part_columns(patch + k * pitch + SIDE, next);
            const vec d[ALPHA] = {near[0], near[1], near[2], near[3], next[0], next[1]};
            to_points(ALPHA, d, v);
#pragma GCC unroll 6
            for (int j = 0; j < ALPHA; j++)
                half[j][k] = v[j];
        }
#pragma GCC unroll 6
        for (int j = 0; j < ALPHA; j++) {
            vec v[ALPHA];
            to_points(ALPHA, half[j], v);
#pragma GCC unroll 6
            for (int i = 0; i < ALPHA; i++)
                vstore(values + ((j * IC + ic) * ALPHA + i) * VL, v[i]);
        }
    }
}

/* ---------------------------------------------------------------- products and out */

/* What the lanes of the outputs are: either the values are vectors and each weight is a scalar, or
 * the other way round. */
enum { ALONG_TILES, ALONG_CHANNELS };

INLINE vec of_values(const int along, const real *values)
{
    return along == ALONG_TILES ? vload(values) : vsplat(*values);
}

INLINE vec of_weights(const int along, const real *weights)
{
    return along == ALONG_TILES ? vsplat(*weights) : vload(weights);
}

INLINE ptrdiff_t weights_step(const int along) { return along == ALONG_TILES ? 1 : VL; }

/* One column of points, through A^T. */
INLINE void column_of_points(const int along, ptrdiff_t IC, const real *values,
                             const real *weights, vec y[SIDE])
{
    const ptrdiff_t step = weights_step(along);
    vec sums[ALPHA];
#pragma GCC unroll 6
    for (int i = 0; i < ALPHA; i++)
        sums[i] = of_weights(along, weights + i * step) * of_values(along, values + i * VL);
    for (ptrdiff_t ic = 1; ic < IC; ic++) {
        values += ALPHA * VL, weights += ALPHA * step;
#pragma GCC unroll 6
        for (int i = 0; i < ALPHA; i++)
            sums[i] = vfma(of_weights(along, weights + i * step),
                           of_values(along, values + i * VL), sums[i]);
    }
    from_points(ALPHA, SIDE, sums, y);
}

/* Where the outputs go. */
typedef struct {
    real *out;
    ptrdiff_t pitch, rows, cols; /* of which so many exist */
    int pooled;
    ptrdiff_t step, channels;    /* between pixels, and how many lanes hold, along channels */
    int past;                    /* whether those go past the caches */
    Clamp clamp;
} TileOut;

/* Row i of a vector of tiles, each of which has `side` columns. */
INLINE void store_tiles(const int side, const vec *row, ptrdiff_t i, const TileOut *to)
{
    vec joined[SIDE];
    if (side == SIDE)
        join_columns(row, joined);
    else
        joined[0] = vzip(row[0], row[1], 0), joined[1] = vzip(row[0], row[1], 1);
#pragma GCC unroll 4
    for (int k = 0; k < side; k++) {
        real *cells = to->out + i * to->pitch + k * VL;
        if (to->cols >= (k + 1) * VL)
            vstore(cells, joined[k]);
        else if (to->cols > k * VL)
            vstore_n(cells, to->cols - k * VL, joined[k]);
    }
}

/* Row i of one tile, whose pixels are vectors of channels. */
INLINE void store_channels(const int side, const vec *row, ptrdiff_t i, const TileOut *to)
{
#pragma GCC unroll 4
    for (int k = 0; k < side; k++) {
        real *cells = to->out + i * to->pitch + k * to->step;
        if (k >= to->cols)
            return;
        if (to->past)
            vstream(cells, row[k]);
        else if (to->channels == VL)
            vstore(cells, row[k]);
        else
            vstore_n(cells, to->channels, row[k]);
    }
}

INLINE void store_rows(const int along, const int side, vec out[][SIDE], const TileOut *to)
{
#pragma GCC unroll 4
    for (int i = 0; i < side; i++) {
        if (i >= to->rows)
            return;
        if (along == ALONG_TILES)
            store_tiles(side, out[i], i, to);
        else
            store_channels(side, out[i], i, to);
    }
}

/* Maxima of windows of 2×2. */
INLINE void pool_tile(vec out[SIDE][SIDE], vec maxima[SIDE / 2][SIDE])
{
#pragma GCC unroll 2
    for (int i = 0; i < SIDE / 2; i++)
#pragma GCC unroll 2
        for (int k = 0; k < SIDE / 2; k++)
            maxima[i][k] = maximum_of_four(out[2 * i][2 * k], out[2 * i][2 * k + 1],
                                           out[2 * i + 1][2 * k], out[2 * i + 1][2 * k + 1]);
}

INLINE void tiles_out(const int along, const ptrdiff_t IC, const real *values,
                      const real *weights, vec start, const TileOut *to)
{
    const double *points = POINTS[ALPHA];
    const ptrdiff_t v = IC * ALPHA * VL, w = IC * ALPHA * weights_step(along);
    vec out[SIDE][SIDE], plus[SIDE], minus[SIDE];
    column_of_points(along, IC, values, weights, plus);
#pragma GCC unroll 4
    for (int i = 0; i < SIDE; i++)
        out[i][0] = start + plus[i], out[i][1] = out[i][2] = out[i][3] = start;
#pragma GCC unroll 2
    for (int pair = 0; pair < 2; pair++) {
        const int j = 1 + 2 * pair;
        const real p = (real)points[pair], pp = (real)(points[pair] * points[pair]);
        const real ppp = (real)(points[pair] * points[pair] * points[pair]);
        column_of_points(along, IC, values + j * v, weights + j * w, plus);
        column_of_points(along, IC, values + (j + 1) * v, weights + (j + 1) * w, minus);
#pragma GCC unroll 4
        for (int i = 0; i < SIDE; i++) {
            const vec even = plus[i] + minus[i], odd = plus[i] - minus[i];
            out[i][0] += even;
            out[i][1] = vfma(vsplat(p), odd, out[i][1]);
            out[i][2] = vfma(vsplat(pp), even, out[i][2]);
            out[i][3] = vfma(vsplat(ppp), odd, out[i][3]);
        }
    }
    column_of_points(along, IC, values + 5 * v, weights + 5 * w, plus);
#pragma GCC unroll 4
    for (int i = 0; i < SIDE; i++)
        out[i][3] += plus[i];
    if (to->clamp.is_needed)
#pragma GCC unroll 4
        for (int i = 0; i < SIDE; i++)
#pragma GCC unroll 4
            for (int k = 0; k < SIDE; k++)
                out[i][k] = clamped(&to->clamp, out[i][k]);
    if (to->pooled) {
        vec maxima[SIDE / 2][SIDE];
        pool_tile(out, maxima);
        store_rows(along, SIDE / 2, maxima, to);
    } else {
        store_rows(along, SIDE, out, to);
    }
}

/* One function for each of the smallest numbers of channels. They are never inlined: a compiler
 * would load the weights before the loop over the tiles, and find no room for them. */
typedef void (*TilesOut)(ptrdiff_t IC, const real *values, const real *weights, vec start,
                         const TileOut *to);

#define DEFINE_TILES_OUT(name, along, channels) \
    static void __attribute__((noinline)) name(ptrdiff_t IC, const real *values, \
                                               const real *weights, vec start, const TileOut *to) \
    { \
        (void)IC; \
        tiles_out(along, channels, values, weights, start, to); \
    }
#define DEFINE_ALL_TILES_OUT(name, along) \
    DEFINE_TILES_OUT(name##_1, along, 1) \
    DEFINE_TILES_OUT(name##_2, along, 2) \
    DEFINE_TILES_OUT(name##_3, along, 3) \
    DEFINE_TILES_OUT(name##_4, along, 4) \
    DEFINE_TILES_OUT(name##_any, along, IC) \
    INLINE TilesOut name(ptrdiff_t IC) \
    { \
        static const TilesOut few[] = {name##_1, name##_2, name##_3, name##_4}; \
        return IC <= 4 ? few[IC - 1] : name##_any; \
    }
DEFINE_ALL_TILES_OUT(along_tiles, ALONG_TILES)
DEFINE_ALL_TILES_OUT(along_channels, ALONG_CHANNELS)

/* ---------------------------------------------------------------- a row of tiles */

/* Scratch memory of one task. */
typedef struct {
    real *values, *patch, *planes;
    ptrdiff_t pitch, bytes;
} TileMemory;

static TileMemory tile_memory(const TileRows *t, char *base)
{
    const Geometry *g = &t->geometry;
    const ptrdiff_t pitch = tile_pitch(t->vectors), values = t->vectors * ALPHA * ALPHA * g->IC * VL;
    const ptrdiff_t patch = g->IC * ALPHA * pitch;
    const ptrdiff_t planes = SIDE * TILE_COLS * most(t->vectors, VL);
    real *start = (real *)base;
    return (TileMemory){start, start + values, start + values + patch, pitch,
                        (values + patch + planes) * (ptrdiff_t)sizeof(real)};
}

static ptrdiff_t tile_rows_scratch(const TileRows *t) { return tile_memory(t, NULL).bytes; }

/* Where the results of a task go: pixels, or pooled ones. */
typedef struct {
    real *out;
    ptrdiff_t rows, cols;    /* that exist */
    ptrdiff_t vectors, side; /* of tiles, and of one of these */
} TileResults;

INLINE TileOut tile_out(const TileRows *t, const TileResults *results, ptrdiff_t pitch)
{
    return (TileOut){.pitch = pitch, .step = t->geometry.out_w, .rows = results->rows,
                     .pooled = t->pooled, .clamp = clamp_of(t->activation)};
}

/* Rows of pixels that lie side by side. What goes past the caches is written in the longest runs
 * there are. */
static void tiles_in_place(const TileRows *t, const TileMemory *memory, const real *weights,
                           const real *bias, const TileResults *results)
{
    const Geometry *g = &t->geometry;
    const TilesOut code = along_tiles(g->IC);
    const ptrdiff_t points = ALPHA * ALPHA * g->IC, width = results->side * VL;
    const ptrdiff_t rows = results->rows, cols = results->cols;
    const ptrdiff_t run = g->out_h == cols ? rows * cols : cols;
    TileOut to = tile_out(t, results, t->past ? cols : g->out_h);
    real *out = results->out;
    for (ptrdiff_t oc = 0; oc < g->OC; oc++, weights += points, out += g->out_c) {
        real *first = t->past ? memory->planes : out;
        for (ptrdiff_t v = 0; v < results->vectors; v++) {
            to.out = first + v * width;
            to.cols = cols - v * width;
            code(g->IC, memory->values + v * points * VL, weights, vsplat(bias ? bias[oc] : 0),
                 &to);
        }
        for (ptrdiff_t i = 0; i < rows && to.clamp.rest != ACT_NONE; i++)
            activate_dense(to.clamp.rest, vsplat((real)t->slope), first + i * to.pitch,
                           first + i * to.pitch, cols);
        for (ptrdiff_t i = 0; i < rows * cols && t->past; i += run)
            stream_run(first + i, out + i / cols * g->out_h, run);
    }
    if (t->past)
        vfence();
}

/* The same where several rows of tiles share the vectors: taken apart when all are there. */
static void tiles_taken_apart(const TileRows *t, const TileMemory *memory, const real *weights,
                              const real *bias, const TileResults *results)
{
    const Geometry *g = &t->geometry;
    const TilesOut code = along_tiles(g->IC);
    const ptrdiff_t points = ALPHA * ALPHA * g->IC, width = results->side * VL;
    const ptrdiff_t rows = results->rows, cols = results->cols, side = results->side;
    const ptrdiff_t pitch = results->vectors * width;
    const int past = t->past && g->out_h == cols;
    TileOut to = tile_out(t, results, pitch);
    real *out = results->out, *planes = memory->planes, *run = memory->patch;
    to.rows = side, to.cols = width;
    for (ptrdiff_t oc = 0; oc < g->OC; oc++, weights += points, out += g->out_c) {
        for (ptrdiff_t v = 0; v < results->vectors; v++) {
            to.out = planes + v * width;
            code(g->IC, memory->values + v * points * VL, weights, vsplat(bias ? bias[oc] : 0),
                 &to);
        }
        if (to.clamp.rest != ACT_NONE)
            activate_dense(to.clamp.rest, vsplat((real)t->slope), planes, planes, side * pitch);
        for (ptrdiff_t i = 0; i < rows; i++)
            copy_run(planes + i % side * pitch + i / side * t->lanes * side,
                     past ? run + i * cols : out + i * g->out_h, cols);
        if (past)
            stream_run(run, out, rows * cols);
    }
    if (past)
        vfence();
}

/* Any other memory order: a vector of channels at a time is computed in planes, and moved. */
static void tiles_elsewhere(const TileRows *t, const TileMemory *memory, const real *weights,
                            const real *bias, const TileResults *results)
{
    const Geometry *g = &t->geometry;
    const TilesOut code = along_tiles(g->IC);
    const ptrdiff_t points = ALPHA * ALPHA * g->IC, width = results->side * VL;
    const ptrdiff_t plane = results->side * width;
    TileOut to = tile_out(t, results, width);
    for (ptrdiff_t v = 0; v < results->vectors; v++)
        for (ptrdiff_t oc = 0; oc < g->OC; oc += VL) {
            const ptrdiff_t channels = least(VL, g->OC - oc);
            real *place = results->out + oc * g->out_c + v * width * g->out_w;
            to.cols = least(width, results->cols - v * width);
            for (ptrdiff_t c = 0; c < channels; c++) {
                to.out = memory->planes + c * plane;
                code(g->IC, memory->values + v * points * VL, weights + (oc + c) * points,
                     vsplat(bias ? bias[oc + c] : 0), &to);
            }
            if (to.clamp.rest != ACT_NONE)
                activate_dense(to.clamp.rest, vsplat((real)t->slope), memory->planes,
                               memory->planes, channels * plane);
            for (ptrdiff_t i = 0; i < results->rows && to.cols > 0; i++)
                move(channels, to.cols, memory->planes + i * width, plane, 1,
                     place + i * g->out_h, g->out_c, g->out_w);
        }
}

/* Pixels whose channels lie side by side. */
static void tiles_of_channels(const TileRows *t, const TileMemory *memory, const real *weights,
                              const real *bias, const TileResults *results)
{
    const Geometry *g = &t->geometry;
    const TilesOut code = along_channels(g->IC);
    const ptrdiff_t points = ALPHA * ALPHA * g->IC;
    real *out = results->out;
    TileOut to = tile_out(t, results, g->out_h);
    /* Only whole cache lines should go past the caches. */
    const uintptr_t steps = (uintptr_t)(g->out_h | g->out_w) * sizeof(real);
    const int whole = VEC_BYTES == 64 && ((uintptr_t)out | steps) % VEC_BYTES == 0;
    for (ptrdiff_t oc = 0; oc < g->OC; oc += VL, weights += points * VL) {
        to.channels = least(VL, g->OC - oc);
        to.past = t->past && whole && to.channels == VL && to.clamp.rest == ACT_NONE;
        const vec start = bias ? vload_n(bias + oc, to.channels) : (vec){0};
        for (ptrdiff_t tile = 0; tile * results->side < results->cols; tile++) {
            to.out = out + oc + tile * results->side * g->out_w;
            to.cols = results->cols - tile * results->side;
            code(g->IC, memory->values + tile / VL * points * VL + tile % VL, weights, start, &to);
        }
    }
    if (t->past)
        vfence();
    for (ptrdiff_t i = 0; i < results->rows && to.clamp.rest != ACT_NONE; i++)
        for (ptrdiff_t pixel = 0; pixel < results->cols; pixel++) {
            real *cells = out + i * g->out_h + pixel * g->out_w;
            activate_dense(to.clamp.rest, vsplat((real)t->slope), cells, cells, g->OC);
        }
}

static void tile_rows_run(const TileRows *t, const void *x, const void *weights, const void *bias,
                          void *out, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t first,
                          ptrdiff_t vectors, void *scratch)
{
    const Geometry *g = &t->geometry;
    const TileMemory memory = tile_memory(t, scratch);
    const ptrdiff_t points = ALPHA * ALPHA * g->IC, side = t->pooled ? SIDE / 2 : SIDE;
    const ptrdiff_t top = row * side, left = first * side * VL;
    const ptrdiff_t width = t->lanes ? t->lanes * SIDE : memory.pitch;
    const TileResults results = {
        .out = (real *)out + top * g->out_h + left * g->out_w,
        .rows = least(rows * side, g->OH * side / SIDE - top),
        .cols = least(vectors * side * VL, g->OW * side / SIDE - left),
        .vectors = vectors,
        .side = side,
    };
    if (results.rows <= 0 || results.cols <= 0)
        return; /* what is left of a window is not pooled */
    fill_tile_rows(g, x, row * SIDE - g->PT, rows, first * TILE_COLS - g->PL, width, memory.pitch,
                   memory.patch);
    for (ptrdiff_t v = 0; v < vectors; v++)
        tiles_to_points(g->IC, memory.patch + v * TILE_COLS, memory.pitch,
                        memory.values + v * points * VL);
    (t->lanes ? tiles_taken_apart : t->along_channels ? tiles_of_channels
         : g->out_w == 1 ? tiles_in_place : tiles_elsewhere)(t, &memory, weights, bias, &results);
}

#endif
