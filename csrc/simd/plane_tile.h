/* Convolution of whole planes: few channels in and out, vectors along the pixels of a row.
 *
 * A tile is R rows × V vectors of outputs of M channels. Every input vector is loaded for each
 * kernel row and column and meets the weights of all channels, which are broadcast. Shifted
 * neighbours are unaligned loads. Few channels make these the bottleneck: there an
 * input row is loaded once for all output rows that it belongs to.
 *
 * At the left and right border tiles are one vector wide, and load under masks; the rows above
 * and below the picture are one row of zeros. So padded zeros are factors like any other. At
 * stride 2 along the row two kernel columns share its vectors, which are parted in registers.
 * Other strides, and other memory orders, read a patch that has its columns split by their residue
 * modulo the stride.
 *
 * Strides and dilations along columns vanish before the tile is reached. Kernel rows whose distance
 * is a multiple of the stride form a *chain*: along it one step down the kernel is `step` output
 * rows down the picture, and input rows are read one after another. The sum goes over the channels,
 * the chains of each, a chain's rows and the kernel's columns, always in this order.
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
    SHARING = 1,                           /* channels of tiles whose rows share their loads */
    SUMS_HELD = REGISTERS == 32 ? 24 : 12, /* of which so many fit the registers, */
    SUMS_PARTED = REGISTERS == 32 ? 20 : 8, /* and so many beside the weights of two columns */
};

INLINE int sums_held(int S) { return S == 1 ? SUMS_HELD : SUMS_PARTED; }

/* Rows of the tallest tile. */
INLINE int plane_rows(int S, int M, int V)
{
    const int R = (int)most(sums_held(S) / (M * V), 1);
    return R > TALLEST ? TALLEST : R;
}

typedef struct {
    ptrdiff_t channels, chains;    /* chains of one channel */
    ptrdiff_t KH, KW;
    const real **rows;             /* of the slab, for every chain */
    ptrdiff_t slab_rows;           /* of output; a chain's input rows are its length − 1 more */
    const ptrdiff_t *columns;      /* offset of each kernel column in a row */
    const mask *inside; /* of a tile at the border: the lanes in the picture of each of its loads */
    const real *weights;           /* [channel][chain][kw][kh][m] */
    const real *bias;              /* of M channels, or NULL */
    Clamp clamp;
    ptrdiff_t out_c, out_h;
} TileOfPlanes;

typedef vec PlaneSums[TOGETHER][TALLEST][WIDEST];

/* Kernel rows of one chain. */
INLINE ptrdiff_t chain_length(ptrdiff_t KH, ptrdiff_t chains, ptrdiff_t chain)
{
    return chains == 1 ? KH : (KH - chain + chains - 1) / chains;
}

/* What kernel column 0 of some, and at stride 2 the next one too, finds in vector v of a row. */
INLINE void plane_load(const int S, const int is_edge, const real *x, const mask *inside,
                       const int v, vec b[2])
{
    x += S * v * VL;
    b[0] = is_edge ? vload_where(inside[0], x) : vload(x);
    if (S == 2) {
        const vec next = is_edge ? vload_where(inside[1], x + VL) : vload(x + VL);
        b[1] = vkeep(vodd(b[0], next));
        b[0] = veven(b[0], next);
    }
    b[0] = vkeep(b[0]);
}

/* Whether loads need their masks: where a masked load is many instructions it is worth asking. */
INLINE int is_partial(const int S, const mask *inside)
{
    return VEC_BYTES > 16 || !vall(inside[0]) || (S == 2 && !vall(inside[1]));
}

/* Kernel column(s) of one input row, which meets the output rows low … high. */
INLINE void meet_column(const int M, const int V, const int S, const int two, const int is_edge,
                        const int low, const int high, PlaneSums acc, const real *x,
                        const mask *inside, const real *w, ptrdiff_t w_column)
{
    vec b[WIDEST][2];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++)
        plane_load(S, is_edge, x, inside, v, b[v]);
#pragma GCC unroll 2
    for (int k = 0; k <= two; k++)
#pragma GCC unroll 8
        for (int r = low; r <= high; r++)
#pragma GCC unroll 4
            for (int m = 0; m < M; m++) {
                const vec a = vsplat(w[k * w_column + m - r * M]);
#pragma GCC unroll 4
                for (int v = 0; v < V; v++)
                    acc[m][r][v] = vfma(a, b[v][k], acc[m][r][v]);
            }
}

/* Kernel column(s) of one kernel row: output row r meets the input row x[r]. */
INLINE void add_column(const int M, const int R, const int V, const int S, const int two,
                       const int is_edge, PlaneSums acc, const real *const *x, ptrdiff_t at,
                       const mask *inside, const real *w, ptrdiff_t w_column)
{
    vec a[2][TOGETHER];
#pragma GCC unroll 2
    for (int k = 0; k <= two; k++)
#pragma GCC unroll 4
        for (int m = 0; m < M; m++)
            a[k][m] = vkeep(vsplat(w[k * w_column + m]));
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            vec b[2];
            plane_load(S, is_edge, x[r] + at, inside, v, b);
#pragma GCC unroll 2
            for (int k = 0; k <= two; k++)
#pragma GCC unroll 4
                for (int m = 0; m < M; m++)
                    acc[m][r][v] = vfma(a[k][m], b[k], acc[m][r][v]);
        }
}

#define EACH_COLUMN(COLUMN) \
    do { \
        ptrdiff_t kw = 0; \
        for (; kw <= t->KW - S; kw += S) \
            COLUMN(S - 1, t->columns[kw], is_edge ? t->inside + kw : NULL, w + kw * w_column); \
        if (S == 2 && kw < t->KW) \
            COLUMN(0, t->columns[kw], is_edge ? t->inside + kw : NULL, w + kw * w_column); \
    } while (0)

INLINE void meet(const int M, const int V, const int S, const int is_edge, const int low,
                 const int high, PlaneSums acc, const TileOfPlanes *t, const real *x,
                 const real *w, ptrdiff_t w_column)
{
#define MEET(two, at, inside, w) \
    do { \
        if (is_edge && is_partial(S, inside)) \
            meet_column(M, V, S, two, 1, low, high, acc, x + (at), inside, w, w_column); \
        else \
            meet_column(M, V, S, two, 0, low, high, acc, x + (at), NULL, w, w_column); \
    } while (0)
    EACH_COLUMN(MEET);
#undef MEET
}

INLINE void add_row(const int M, const int R, const int V, const int S, const int is_edge,
                    PlaneSums acc, const TileOfPlanes *t, const real *const *rows, ptrdiff_t col,
                    const real *w, ptrdiff_t w_column)
{
    const real *x[TALLEST];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        x[r] = rows[r] + col;
#define ADD(two, at, inside, w) \
    do { \
        if (is_edge && is_partial(S, inside)) \
            add_column(M, R, V, S, two, 1, acc, x, at, inside, w, w_column); \
        else \
            add_column(M, R, V, S, two, 0, acc, x, at, NULL, w, w_column); \
    } while (0)
    if (is_edge && S == 1 && t->KW == 3) { /* its masks stay in registers */
#pragma GCC unroll 3
        for (int kw = 0; kw < 3; kw++)
            ADD(0, t->columns[kw], t->inside + kw, w + kw * w_column);
        return;
    }
    EACH_COLUMN(ADD);
#undef ADD
}

INLINE void clamp_sums(const int M, const int R, const int V, const Clamp *clamp, PlaneSums acc)
{
#pragma GCC unroll 4
    for (int m = 0; m < M; m++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++)
                acc[m][r][v] = clamped(clamp, acc[m][r][v]);
}

INLINE void store_sums(const int M, const int R, const int V, const int is_whole, PlaneSums acc,
                       real *out, ptrdiff_t out_c, ptrdiff_t out_h, ptrdiff_t n)
{
#pragma GCC unroll 4
    for (int m = 0; m < M; m++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) {
                real *to = out + m * out_c + r * out_h + v * VL;
                if (is_whole || n >= (v + 1) * VL)
                    vstore(to, acc[m][r][v]);
                else if (n > v * VL)
                    vstore_n(to, n - v * VL, acc[m][r][v]);
            }
}

#define SPANS_FROM(X, low) X(low, 0) X(low, 1) X(low, 2) X(low, 3) X(low, 4) X(low, 5) X(low, 6) \
    X(low, 7)
#define ALL_SPANS(X) \
    SPANS_FROM(X, 0) SPANS_FROM(X, 1) SPANS_FROM(X, 2) SPANS_FROM(X, 3) SPANS_FROM(X, 4) \
    SPANS_FROM(X, 5) SPANS_FROM(X, 6) SPANS_FROM(X, 7)

/* R rows of output whose first input row is rows[0], `n` columns from cell `col` of it on. */
INLINE void plane_tile(const int M, const int R, const int V, const int S, const int is_edge,
                       const TileOfPlanes *t, const real **rows, ptrdiff_t col, ptrdiff_t n,
                       real *out)
{
    PlaneSums acc;
#pragma GCC unroll 4
    for (int m = 0; m < M; m++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++)
                acc[m][r][v] = vsplat(t->bias ? t->bias[m] : 0);

    const real *w = t->weights;
    for (ptrdiff_t ic = 0; ic < t->channels; ic++)
        for (ptrdiff_t chain = 0; chain < t->chains; chain++) {
            const ptrdiff_t KH = chain_length(t->KH, t->chains, chain), w_column = KH * M;
            if (M <= SHARING && S == 1 && R > 1) {
                for (ptrdiff_t i = 0; i < KH + R - 1; i++)
                    switch (most(i - KH + 1, 0) * TALLEST + least(i, R - 1)) {
#define CASE(low, high) \
    case low * TALLEST + high: \
        if (low <= high && high < R) \
            meet(M, V, S, is_edge, low, high, acc, t, rows[i] + col, w + i * M, w_column); \
        break;
                        ALL_SPANS(CASE)
#undef CASE
                    }
            } else {
                for (ptrdiff_t i = 0; i < KH; i++)
                    add_row(M, R, V, S, is_edge, acc, t, rows + i, col, w + i * M, w_column);
            }
            rows += KH + t->slab_rows - 1;
            w += t->KW * w_column;
        }

    if (t->clamp.is_needed)
        clamp_sums(M, R, V, &t->clamp, acc);
    if (n == V * VL)
        store_sums(M, R, V, 1, acc, out, t->out_c, t->out_h, n);
    else
        store_sums(M, R, V, 0, acc, out, t->out_c, t->out_h, n);
}

/* `count` tiles below each other, from row `first` of the slab on. */
typedef void (*PlaneTiles)(const TileOfPlanes *tile, ptrdiff_t first, ptrdiff_t count,
                           ptrdiff_t col, ptrdiff_t n, real *out);

/* One function per tile that fits; the others are empty and never reached. */
#define PLANE_ROWS(X, S, M, V) \
    X(S, M, 1, V) X(S, M, 2, V) X(S, M, 3, V) X(S, M, 4, V) X(S, M, 5, V) X(S, M, 6, V) \
    X(S, M, 7, V) X(S, M, 8, V)
#define PLANE_WIDTHS(X, S, M) \
    PLANE_ROWS(X, S, M, 1) PLANE_ROWS(X, S, M, 2) PLANE_ROWS(X, S, M, 3) PLANE_ROWS(X, S, M, 4)
#define PLANE_CHANNELS(X, S) \
    PLANE_WIDTHS(X, S, 1) PLANE_WIDTHS(X, S, 2) PLANE_WIDTHS(X, S, 3) PLANE_WIDTHS(X, S, 4)
#define ALL_PLANE_TILES(X) PLANE_CHANNELS(X, 1) PLANE_CHANNELS(X, 2)

#define DEFINE_PLANE_TILE(S, M, R, V) \
    static void plane_s##S##x##M##x##R##x##V(const TileOfPlanes *t, ptrdiff_t first, \
                                             ptrdiff_t count, ptrdiff_t col, ptrdiff_t n, \
                                             real *out) \
    { \
        const real **rows = t->rows + first; \
        if (V > WIDEST || R > plane_rows(S, M, V)) \
            return; \
        if (V == 1 && t->inside) \
            for (; count--; rows += R, out += R * t->out_h) \
                plane_tile(M, R, V, S, 1, t, rows, col, n, out); \
        else \
            for (; count--; rows += R, out += R * t->out_h) \
                plane_tile(M, R, V, S, 0, t, rows, col, n, out); \
    }
ALL_PLANE_TILES(DEFINE_PLANE_TILE)

#define LIST_PLANE_TILE(S, M, R, V) [S][M][R][V] = plane_s##S##x##M##x##R##x##V,
static const PlaneTiles plane_tiles[3][TOGETHER + 1][TALLEST + 1][5] = {
    ALL_PLANE_TILES(LIST_PLANE_TILE)
};

#endif
