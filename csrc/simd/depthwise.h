/* Depthwise convolution where channels lie side by side: vectors along the channels.
 *
 * One channel in and one out of every group, x_c = out_c = 1. A tile is some pixels of an output
 * row, or of several rows, by one vector of channels. Its columns of pixels are loaded once for
 * each kernel row, and meet the taps of all output pixels that they belong to. The channels of a
 * tile's pixels follow each other, so that memory is read in long streams. Columns
 * outside the picture, and channels beyond the last, are loaded under masks; rows outside it are
 * read from zeros: padded zeros are factors like any other.
 */
#ifndef FASTCONV_DEPTHWISE_H
#define FASTCONV_DEPTHWISE_H

#include "clamp.h"
#include "planes.h"
#include "sums.h"

enum {
    MOST_PIXELS = REGISTERS == 32 ? 8 : 4,         /* of a tile */
    MOST_PIXELS_STRIDED = REGISTERS == 32 ? 6 : 3, /* whose columns are twice as many */
    MOST_PIXELS_ROLLED = REGISTERS == 32 ? 4 : 1,
    MOST_TAPS = 7,                                 /* of a row, for which there is straight code */
    MOST_SPAN = (MOST_PIXELS - 1) * 2 + MOST_TAPS,
    ROLLED = 8,                                    /* rows that are rolled down at a time */
};

/* Some output rows: `count`, or one where they do not roll. Cell (column, channel) of input row i
 * is at rows[i] + column * x_w + channel; NULL is a row of zeros. Weights lie as
 * [kh][kw][channel], `pitch` apart. */
typedef struct {
    const Geometry *g;
    const real **rows;
    ptrdiff_t count;
    const real *weights, *bias, *zeros;
    ptrdiff_t pitch;
    Clamp clamp;
    real *out;
} DepthwiseRows;

/* A tile at the border, or of the last channels: what is loaded of each column, and what exists. */
typedef struct {
    const mask *columns;
    mask channels;
} DepthwiseEdge;

/* Where the columns of a row begin, and how far apart they are. */
#define FIND_COLUMNS(i) \
    const real *x = rows->rows[i] ? rows->rows[i] + first * g->x_w + c : rows->zeros; \
    const ptrdiff_t step = rows->rows[i] ? g->x_w : 0
#define COLUMN_AT(j, at) (edge ? vload_where(edge->columns[j], at) : vload(at))
#define COLUMN(j) COLUMN_AT(j, x + (j) * step)

INLINE void depthwise_store(const int P, const DepthwiseRows *rows, const DepthwiseEdge *edge,
                            const vec *sums, real *out)
{
#pragma GCC unroll 8
    for (int p = 0; p < P; p++) {
        const vec sum = rows->clamp.is_needed ? clamped(&rows->clamp, sums[p]) : sums[p];
        if (edge)
            vstore_where(edge->channels, out + p * rows->g->out_w, sum);
        else
            vstore(out + p * rows->g->out_w, sum);
    }
}

/* ---------------------------------------------------------------- a tile of one row
 *
 * P pixels from the one on whose window begins at column `first`, and a vector of channels from c
 * on. KW and S are those of the geometry, or 0 for any.
 */

INLINE void depthwise_tile(const int KW, const int S, const int P, const DepthwiseRows *rows,
                           const DepthwiseEdge *edge, ptrdiff_t first, ptrdiff_t c, real *out)
{
    const Geometry *g = rows->g;
    const real *w = rows->weights + c;
    vec acc[MOST_PIXELS];
#pragma GCC unroll 8
    for (int p = 0; p < P; p++)
        acc[p] = vload(rows->bias + c);
    for (ptrdiff_t kh = 0; kh < g->KH; kh++) {
        FIND_COLUMNS(kh);
        if (KW) {
            vec columns[MOST_SPAN];
#pragma GCC unroll 24
            for (int j = 0; j < (P - 1) * S + KW; j++)
                columns[j] = vkeep(COLUMN(j));
#pragma GCC unroll 7
            for (int kw = 0; kw < KW; kw++, w += rows->pitch) {
                const vec tap = vload(w);
#pragma GCC unroll 8
                for (int p = 0; p < P; p++)
                    acc[p] = vfma(tap, columns[p * S + kw], acc[p]);
            }
        } else {
            for (ptrdiff_t kw = 0; kw < g->KW; kw++, w += rows->pitch) {
                const vec tap = vload(w);
#pragma GCC unroll 8
                for (int p = 0; p < P; p++)
                    acc[p] = vfma(tap, COLUMN(p * g->SW + kw * g->DW), acc[p]);
            }
        }
    }
    depthwise_store(P, rows, edge, acc, out);
}

/* ---------------------------------------------------------------- 3×3, rolling down
 *
 * The nine taps stay in registers, and every row is loaded once, for the three output rows in
 * flight (two at stride 2).
 */

/* Row i is kernel row 0 of the outputs `young`, 1 of `middle` and 2 of `old`, if these are any. */
INLINE void depthwise_roll_row(const int S, const int P, const DepthwiseRows *rows,
                               const DepthwiseEdge *edge, const vec *w, ptrdiff_t first,
                               ptrdiff_t c, ptrdiff_t i, vec *young, vec *middle, vec *old)
{
    const Geometry *g = rows->g;
    vec columns[MOST_SPAN];
    FIND_COLUMNS(i);
    const real *x3 = x + 3 * step, *x6 = x3 + 3 * step;
#pragma GCC unroll 16
    for (int j = 0; j < (P - 1) * S + 3; j++)
        columns[j] = vkeep(COLUMN_AT(j, (j < 3 ? x : j < 6 ? x3 : x6) + j % 3 * step));
#pragma GCC unroll 3
    for (int k = 0; k < 3; k++)
#pragma GCC unroll 4
        for (int p = 0; p < P; p++) {
            const vec column = columns[p * S + k];
            if (old)
                old[p] = vfma(w[6 + k], column, old[p]);
            if (middle)
                middle[p] = vfma(w[3 + k], column, middle[p]);
            if (young)
                young[p] = vfma(w[k], column, k ? young[p] : w[9]);
        }
}

INLINE void depthwise_roll(const int S, const int P, const DepthwiseRows *rows,
                           const DepthwiseEdge *edge, ptrdiff_t first, ptrdiff_t c, real *out)
{
    vec young[MOST_PIXELS_ROLLED], middle[MOST_PIXELS_ROLLED], old[MOST_PIXELS_ROLLED], w[10];
#pragma GCC unroll 9
    for (int k = 0; k < 9; k++)
        w[k] = vkeep(vload(rows->weights + c + k * rows->pitch));
    w[9] = vkeep(vload(rows->bias + c));
#define ROW(i, young, middle, old) \
    depthwise_roll_row(S, P, rows, edge, w, first, c, i, young, middle, old)
#define STORE(sums) \
    do { \
        depthwise_store(P, rows, edge, sums, out); \
        out += rows->g->out_h; \
    } while (0)
#define MOVE(to, from) \
    for (int p = 0; p < P; p++) \
        to[p] = from[p]
    ROW(0, old, NULL, NULL);
    if (S == 1)
        ROW(1, middle, old, NULL);
    for (ptrdiff_t r = 0; r < rows->count - 1; r++) {
        if (S == 1) {
            ROW(r + 2, young, middle, old);
        } else {
            ROW(2 * r + 1, NULL, old, NULL);
            ROW(2 * r + 2, middle, NULL, old);
        }
        STORE(old);
        MOVE(old, middle);
        if (S == 1)
            MOVE(middle, young);
    }
    if (S == 2)
        ROW(2 * rows->count - 1, NULL, old, NULL);
    ROW(S * rows->count + 2 - S, NULL, NULL, old);
    STORE(old);
#undef ROW
#undef STORE
#undef MOVE
}

#undef FIND_COLUMNS
#undef COLUMN_AT
#undef COLUMN

/* ---------------------------------------------------------------- all channels
 *
 * `columns` are the masks of a tile at the border, or NULL; `last` those for the last channels,
 * if they do not fill a vector.
 */

typedef void (*DepthwisePixels)(const DepthwiseRows *rows, const mask *columns, const mask *last,
                                ptrdiff_t first, real *out);

#define EACH_CHANNEL(TILE, ...) \
    do { \
        const ptrdiff_t C = rows->g->OC; \
        const DepthwiseEdge edge = {columns, vfirst(VL)}, rest = {last, vfirst(C % VL)}; \
        ptrdiff_t c = 0; \
        if (columns) \
            for (; c <= C - VL; c += VL) \
                TILE(__VA_ARGS__, rows, &edge, first, c, out + c); \
        else \
            for (; c <= C - VL; c += VL) \
                TILE(__VA_ARGS__, rows, NULL, first, c, out + c); \
        if (c < C) \
            TILE(__VA_ARGS__, rows, &rest, first, c, out + c); \
    } while (0)

#define PIXELS_UP_TO_4(X, KW, S) X(KW, S, 1) X(KW, S, 2) X(KW, S, 3) X(KW, S, 4)
#define PIXELS_UP_TO_8(X, KW, S) \
    PIXELS_UP_TO_4(X, KW, S) X(KW, S, 5) X(KW, S, 6) X(KW, S, 7) X(KW, S, 8)
#define ALL_TILED(X) \
    PIXELS_UP_TO_8(X, 0, 0) PIXELS_UP_TO_8(X, 3, 1) PIXELS_UP_TO_8(X, 3, 2) \
    PIXELS_UP_TO_8(X, 5, 1) PIXELS_UP_TO_8(X, 5, 2) PIXELS_UP_TO_8(X, 7, 1)
#define ALL_ROLLED(X) PIXELS_UP_TO_4(X, 3, 1) PIXELS_UP_TO_4(X, 3, 2)

INLINE int most_pixels(ptrdiff_t S) { return S == 2 ? MOST_PIXELS_STRIDED : MOST_PIXELS; }

/* One function per tile that fits; the others are empty and never reached. */
#define DEFINE_TILED(KW, S, P) \
    static void depthwise_##KW##s##S##x##P(const DepthwiseRows *rows, const mask *columns, \
                                           const mask *last, ptrdiff_t first, real *out) \
    { \
        if (P <= most_pixels(S)) \
            EACH_CHANNEL(depthwise_tile, KW, S, P); \
    }
ALL_TILED(DEFINE_TILED)

#define DEFINE_ROLLED(KW, S, P) \
    static void depthwise_rolled_s##S##x##P(const DepthwiseRows *rows, const mask *columns, \
                                            const mask *last, ptrdiff_t first, real *out) \
    { \
        if (P <= MOST_PIXELS_ROLLED) \
            EACH_CHANNEL(depthwise_roll, S, P); \
    }
ALL_ROLLED(DEFINE_ROLLED)

#define LIST_TILED(KW, S, P) [KW][S][P] = depthwise_##KW##s##S##x##P,
static const DepthwisePixels tiled[MOST_TAPS + 1][3][MOST_PIXELS + 5] = {ALL_TILED(LIST_TILED)};

#define LIST_ROLLED(KW, S, P) [S][P] = depthwise_rolled_s##S##x##P,
static const DepthwisePixels rolled[3][5] = {ALL_ROLLED(LIST_ROLLED)};

/* ---------------------------------------------------------------- rows */

/* Columns of the widest tile, rounded up so that what follows their masks is aligned. */
INLINE ptrdiff_t span_of(const Geometry *g)
{
    const ptrdiff_t pixels = least(MOST_PIXELS, g->OW);
    return ceil_div((pixels - 1) * g->SW + (g->KW - 1) * g->DW + 1, 4) * 4;
}

INLINE ptrdiff_t pitch_of(const Geometry *g) { return ceil_div(g->OC, VL) * VL; }

INLINE int depthwise_rolls(const Geometry *g)
{
    return REGISTERS == 32 && g->KH == 3 && g->KW == 3 && g->DH == 1 && g->DW == 1
        && g->SH == g->SW && g->SW <= 2;
}

/* The tiles of some rows, by the functions for each number of pixels up to `most`. */
static void depthwise_rows(const DepthwiseRows *rows, const DepthwisePixels *pixels, int most,
                           mask *columns, mask *last)
{
    const Geometry *g = rows->g;
    const ptrdiff_t tiles = ceil_div(g->OW, most), rest = g->OC % VL;
    for (ptrdiff_t i = 0; i < tiles; i++) {
        const ptrdiff_t ow = first_of(i, tiles, g->OW), P = first_of(i + 1, tiles, g->OW) - ow;
        const ptrdiff_t first = ow * g->SW - g->PL;
        const ptrdiff_t span = (P - 1) * g->SW + (g->KW - 1) * g->DW + 1;
        const int inside = first >= 0 && first + span <= g->IW;
        for (ptrdiff_t j = 0; j < span && !(inside && !rest); j++) {
            const int exists = (size_t)(first + j) < (size_t)g->IW;
            columns[j] = vfirst(exists ? VL : 0);
            last[j] = vfirst(exists ? rest : 0);
        }
        pixels[P](rows, inside ? NULL : columns, last, first, rows->out + ow * g->out_w);
    }
}

static ptrdiff_t depthwise_zero_cells(const Geometry *g) { return VL; }

static ptrdiff_t depthwise_weight_cells(const Geometry *g) { return g->KH * g->KW * pitch_of(g); }

/* Input rows that some output rows need. */
INLINE ptrdiff_t rows_needed(const Geometry *g)
{
    return depthwise_rolls(g) ? (ROLLED - 1) * g->SH + 3 : g->KH;
}

/* A bias of whole vectors, masks of a border and of the last channels, and the rows. */
static ptrdiff_t depthwise_scratch(const Planes *p)
{
    const Geometry *g = &p->geometry;
    return pitch_of(g) * (ptrdiff_t)sizeof(real) + 2 * span_of(g) * (ptrdiff_t)sizeof(mask)
        + rows_needed(g) * (ptrdiff_t)sizeof(real *);
}

/* The weights as [kh][kw][channel], zero beyond the last channel. */
static void depthwise_pack(const Geometry *g, ptrdiff_t blocks, const void *w_,
                           const ptrdiff_t *strides, void *packed_)
{
    const real *w = w_;
    real *packed = packed_;
    for (ptrdiff_t kh = 0; kh < g->KH; kh++)
        for (ptrdiff_t kw = 0; kw < g->KW; kw++, packed += pitch_of(g)) {
            gather_run(w + kh * strides[2] + kw * strides[3], strides[0], packed, g->OC);
            zero_run(packed + g->OC, pitch_of(g) - g->OC);
        }
}

/* Work items are chunks of the rows of an image: item = n * chunks + chunk. */
static void depthwise_run(const Planes *p, ptrdiff_t begin, ptrdiff_t end, void *scratch)
{
    const Geometry *g = &p->geometry;
    const int rolls = depthwise_rolls(g), is_known = g->DW == 1 && g->KW <= MOST_TAPS && g->SW <= 2
        && tiled[g->KW][g->SW][1];
    const DepthwisePixels *pixels = rolls ? rolled[g->SW]
        : is_known ? tiled[g->KW][g->SW] : tiled[0][0];
    const int most = rolls ? MOST_PIXELS_ROLLED : most_pixels(is_known ? g->SW : 0);
    real *bias = scratch;
    mask *columns = (mask *)(bias + pitch_of(g)), *last = columns + span_of(g);
    DepthwiseRows rows = {.g = g, .rows = (const real **)(last + span_of(g)),
                          .weights = p->weights, .bias = bias, .zeros = p->zeros,
                          .pitch = pitch_of(g), .clamp = clamp_of(p->activation)};
    zero_run(bias, pitch_of(g));
    if (p->bias)
        copy_run(p->bias, bias, g->OC);
    for (ptrdiff_t item = begin; item < end; item++) {
        const ptrdiff_t n = item / p->chunks, chunk = item % p->chunks;
        const real *x = (const real *)p->x + n * p->x_n;
        const ptrdiff_t stop = first_of(chunk + 1, p->chunks, g->OH);
        for (ptrdiff_t oh = first_of(chunk, p->chunks, g->OH); oh < stop; oh += rows.count) {
            rows.count = rolls ? least(ROLLED, stop - oh) : 1;
            for (ptrdiff_t i = 0; i < (rows.count - 1) * g->SH + g->KH; i++) {
                const ptrdiff_t ih = oh * g->SH - g->PT + i * g->DH;
                rows.rows[i] = (size_t)ih < (size_t)g->IH ? x + ih * g->x_h : NULL;
            }
            rows.out = (real *)p->out + n * p->out_n + oh * g->out_h;
            depthwise_rows(&rows, pixels, most, columns, last);
            if (rows.clamp.rest == ACT_NONE)
                continue;
            for (ptrdiff_t i = 0; i < rows.count * g->OW; i++) {
                real *pixel = rows.out + i / g->OW * g->out_h + i % g->OW * g->out_w;
                activate_dense(rows.clamp.rest, vsplat((real)p->slope), pixel, pixel, g->OC);
            }
        }
    }
}

#endif
