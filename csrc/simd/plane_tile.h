/* Convolution of whole planes: few channels in and out, vectors along the pixels of a row.
 *
 * A tile is R rows × V vectors of outputs of M channels. Every input vector is loaded once for
 * each kernel column and meets all output rows that its row belongs to; the weights are
 * broadcast. Shifted neighbours come from unaligned loads of the picture itself. Only what hangs
 * over its left and right borders is copied, with the padding written out, to a small patch;
 * the rows above and below the picture are one row of zeros. So padded zeros are factors like
 * any other.
 *
 * Strides and dilations vanish before the tile is reached. Kernel rows whose distance is a
 * multiple of the stride form a *chain*: along it one step down the kernel is `step` output rows
 * down the picture, and input rows are read one after another. A patch has its columns
 * split by their residue modulo the stride. The sum goes over the channels, the chains of each, the
 * input rows of a chain and the kernel's columns, always in this order.
 */
#ifndef FASTCONV_PLANE_TILE_H
#define FASTCONV_PLANE_TILE_H

#include "clamp.h"
#include "gemm_tile.h"
#include "move.h"

enum {
    TALLEST = 8,                           /* rows of a tile */
    WIDEST = REGISTERS == 32 ? 4 : 2,      /* vectors */
    TOGETHER = 4,                          /* channels */
    SUMS_HELD = REGISTERS == 32 ? 24 : 12, /* of which so many fit the registers */
};

/* The best width of a tile of M channels, and the tallest tile of that width. */
INLINE int plane_vectors(int M) { return M < TOGETHER ? WIDEST : SUMS_HELD / (2 * M); }

INLINE int plane_rows(int M, int V)
{
    const int R = SUMS_HELD / (M * V);
    return R > TALLEST ? TALLEST : R;
}

typedef struct {
    ptrdiff_t channels, chains;    /* chains of one channel */
    ptrdiff_t KH, KW;
    const real **rows;        /* of the strip: KH of the chain + R − 1 for every chain */
    const ptrdiff_t *columns;      /* offset of each kernel column in a row */
    const real *weights;           /* [channel][chain][kw][kh][m] */
    const real *bias;              /* of M channels, or NULL */
    Clamp clamp;
    ptrdiff_t out_c, out_h;
} TileOfPlanes;

/* Kernel rows of one chain. */
INLINE ptrdiff_t chain_length(ptrdiff_t KH, ptrdiff_t chains, ptrdiff_t chain)
{
    return (KH - chain + chains - 1) / chains;
}

/* One input row meets the output rows low … high. */
INLINE void meet(const int M, const int R, const int V, const int low, const int high,
                 vec acc[TOGETHER][TALLEST][WIDEST], const real *x, const ptrdiff_t *columns, ptrdiff_t KW,
                 const real *w, ptrdiff_t w_column)
{
    for (ptrdiff_t kw = 0; kw < KW; kw++, w += w_column) {
        const real *from = x + columns[kw];
        vec b[WIDEST];
#pragma GCC unroll 4
        for (int v = 0; v < V; v++)
            b[v] = vkeep(vload(from + v * VL));
#pragma GCC unroll 8
        for (int r = low; r <= high; r++)
#pragma GCC unroll 4
            for (int m = 0; m < M; m++) {
                const vec a = vsplat(w[m - r * M]);
#pragma GCC unroll 4
                for (int v = 0; v < V; v++)
                    acc[m][r][v] = vfma(a, b[v], acc[m][r][v]);
            }
    }
}

#define SPANS_FROM(X, low) X(low, 0) X(low, 1) X(low, 2) X(low, 3) X(low, 4) X(low, 5) X(low, 6) \
    X(low, 7)
#define ALL_SPANS(X) \
    SPANS_FROM(X, 0) SPANS_FROM(X, 1) SPANS_FROM(X, 2) SPANS_FROM(X, 3) SPANS_FROM(X, 4) \
    SPANS_FROM(X, 5) SPANS_FROM(X, 6) SPANS_FROM(X, 7)

/* `n` columns from column `col` of the strip's rows. */
INLINE void plane_tile(const int M, const int R, const int V, const TileOfPlanes *t,
                       ptrdiff_t col, ptrdiff_t n, real *out)
{
    vec acc[TOGETHER][TALLEST][WIDEST];
#pragma GCC unroll 4
    for (int m = 0; m < M; m++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++)
                acc[m][r][v] = vsplat(t->bias ? t->bias[m] : 0);

    const real *w = t->weights;
    const real **rows = t->rows;
    for (ptrdiff_t ic = 0; ic < t->channels; ic++)
        for (ptrdiff_t chain = 0; chain < t->chains; chain++) {
            const ptrdiff_t KH = chain_length(t->KH, t->chains, chain);
            for (ptrdiff_t i = 0; i < KH + R - 1; i++) {
                const real *x = *rows++ + col;
                switch (most(i - KH + 1, 0) * TALLEST + least(i, R - 1)) {
#define CASE(low, high) \
    case low * TALLEST + high: \
        if (low <= high && high < R) \
            meet(M, R, V, low, high, acc, x, t->columns, t->KW, w + i * M, KH * M); \
        break;
                    ALL_SPANS(CASE)
#undef CASE
                }
            }
            w += KH * t->KW * M;
        }

#pragma GCC unroll 4
    for (int m = 0; m < M; m++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) {
                const vec sum = clamped(&t->clamp, acc[m][r][v]);
                real *to = out + m * t->out_c + r * t->out_h + v * VL;
                if (n >= (v + 1) * VL)
                    vstore(to, sum);
                else if (n > v * VL)
                    vstore_n(to, n - v * VL, sum);
            }
}

typedef void (*PlaneTile)(const TileOfPlanes *tile, ptrdiff_t col, ptrdiff_t n, real *out);

/* One function per tile that fits; the others are empty and never reached. */
#define PLANE_TILES_OF(X, M, V) \
    X(M, 1, V) X(M, 2, V) X(M, 3, V) X(M, 4, V) X(M, 5, V) X(M, 6, V) X(M, 7, V) X(M, 8, V)
#define PLANE_TILES_OF_CHANNELS(X, M) \
    PLANE_TILES_OF(X, M, 1) PLANE_TILES_OF(X, M, 2) PLANE_TILES_OF(X, M, 3) PLANE_TILES_OF(X, M, 4)
#define ALL_PLANE_TILES(X) \
    PLANE_TILES_OF_CHANNELS(X, 1) PLANE_TILES_OF_CHANNELS(X, 2) PLANE_TILES_OF_CHANNELS(X, 3) \
    PLANE_TILES_OF_CHANNELS(X, 4)

#define DEFINE_PLANE_TILE(M, R, V) \
    static void plane_##M##x##R##x##V(const TileOfPlanes *tile, ptrdiff_t col, ptrdiff_t n, \
                                      real *out) \
    { \
        if (V <= plane_vectors(M) && R <= plane_rows(M, V)) \
            plane_tile(M, R, V, tile, col, n, out); \
    }
ALL_PLANE_TILES(DEFINE_PLANE_TILE)

#define LIST_PLANE_TILE(M, R, V) [M][R][V] = plane_##M##x##R##x##V,
static const PlaneTile plane_tiles[TOGETHER + 1][TALLEST + 1][5] = {
    ALL_PLANE_TILES(LIST_PLANE_TILE)
};

#endif
