/* One plane by a kernel of few rows, stride 1 or 2: straight code for every number of rows.
 *
 * A tile is R rows × V vectors of outputs. For every kernel column its weights are loaded once, and
 * each input row meets all output rows that it belongs to; at stride 2 two columns share the
 * row's vectors, which are parted in registers. The picture is read where it lies: tiles of one
 * vector load under masks, so that they serve its borders too; rows outside are a row of zeros.
 * The sum goes over the channels, the kernel's columns (pairs of them at stride 2), and its rows.
 */
#ifndef FASTCONV_STRAIGHT_TILE_H
#define FASTCONV_STRAIGHT_TILE_H

#include "gemm_tile.h"
#include "in_place.h"
#include "roll3.h"
#include "straight.h"

enum { STRAIGHT_TALLEST = 8, STRAIGHT_WIDEST = WIDEST_ROLL };

/* Rows of the tallest tile of V vectors: sums and weights share the registers. */
INLINE int straight_rows(const int KH, const int S, const int V)
{
    const int left = REGISTERS - S * (KH + 2), R = (left > 6 ? left : 6) / V;
    return R < STRAIGHT_TALLEST ? R : STRAIGHT_TALLEST;
}

/* Where a tile is. */
typedef struct {
    ptrdiff_t row, col; /* of its first window, in the picture */
    real *out;
    const mask *inside; /* in a tile of one vector: the lanes in the picture of each load, */
    mask store;         /* and those that exist */
} StraightTile;

/* `at` cells from the first cell of the row's window; in the picture are the lanes of m. */
INLINE vec straight_load(const int V, const real *row, ptrdiff_t at, mask m)
{
    return V == 1 ? vload_where(m, row + at) : vload(row + at);
}

/* Kernel column `kw`, and at stride 2 the next one too where there are `two`. */
INLINE void straight_column(const int KH, const int S, const int R, const int V, const int two,
                            vec acc[STRAIGHT_TALLEST][STRAIGHT_WIDEST], const Straight *s,
                            const real **rows, const mask *inside, ptrdiff_t kw, const real *w)
{
    const ptrdiff_t at = kw * s->DW;
    const mask low = V == 1 ? inside[kw] : vfirst(VL);
    const mask high = V == 1 && S == 2 ? inside[kw + 1] : low;
    vec a[2][HIGHEST_KERNEL];
#pragma GCC unroll 2
    for (int k = 0; k <= two; k++)
#pragma GCC unroll 8
        for (int kh = 0; kh < KH; kh++)
            a[k][kh] = vkeep(vsplat(w[k * KH + kh]));
#pragma GCC unroll 32
    for (int i = 0; i < (R - 1) * S + KH; i++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            vec b[2];
            b[0] = straight_load(V, rows[i], at + S * v * VL, low);
            if (S == 2) {
                const vec next = straight_load(V, rows[i], at + (2 * v + 1) * VL, high);
                b[1] = vodd(b[0], next);
                b[0] = veven(b[0], next);
            }
#pragma GCC unroll 2
            for (int k = 0; k <= two; k++) {
                const vec kept = vkeep(b[k]);
#pragma GCC unroll 8
                for (int r = 0; r < R; r++)
                    if (i >= r * S && i - r * S < KH)
                        acc[r][v] = vfma(a[k][i - r * S], kept, acc[r][v]);
            }
        }
}

INLINE void straight_tile(const int KH, const int S, const int R, const int V, const Straight *s,
                          const StraightTile *tile)
{
    vec acc[STRAIGHT_TALLEST][STRAIGHT_WIDEST];
    const real *rows[(STRAIGHT_TALLEST - 1) * 2 + HIGHEST_KERNEL], *w = s->w;
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++)
            acc[r][v] = vsplat(s->bias);
    for (ptrdiff_t ic = 0; ic < s->channels; ic++) {
        ptrdiff_t kw = 0;
        for (ptrdiff_t i = 0; i < (R - 1) * S + KH; i++) {
            const ptrdiff_t row = tile->row + i * s->DH;
            rows[i] = (size_t)row < (size_t)s->IH ? s->x + ic * s->x_c + row * s->x_h + tile->col
                                                  : s->zeros + tile->col;
        }
        for (; kw + S <= s->KW; kw += S, w += S * KH)
            straight_column(KH, S, R, V, S - 1, acc, s, rows, tile->inside, kw, w);
        if (S == 2 && kw < s->KW) {
            straight_column(KH, S, R, V, 0, acc, s, rows, tile->inside, kw, w);
            w += KH;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            const vec sum = clamped(&s->clamp, acc[r][v]);
            real *to = tile->out + r * s->out_h + v * VL;
            if (V == 1)
                vstore_where(tile->store, to, sum);
            else
                vstore(to, sum);
        }
}

typedef void (*StraightCode)(const Straight *s, const StraightTile *tile);

/* One function per tile that fits; the others are empty and never reached. */
#define STRAIGHT_WIDTHS(X, KH, S, R) X(KH, S, R, 1) X(KH, S, R, 2) X(KH, S, R, 3) X(KH, S, R, 4)
#define STRAIGHT_HEIGHTS(X, KH, S) \
    STRAIGHT_WIDTHS(X, KH, S, 1) STRAIGHT_WIDTHS(X, KH, S, 2) STRAIGHT_WIDTHS(X, KH, S, 3) \
    STRAIGHT_WIDTHS(X, KH, S, 4) STRAIGHT_WIDTHS(X, KH, S, 5) STRAIGHT_WIDTHS(X, KH, S, 6) \
    STRAIGHT_WIDTHS(X, KH, S, 7) STRAIGHT_WIDTHS(X, KH, S, 8)
#define STRAIGHT_KERNELS(X, S) \
    STRAIGHT_HEIGHTS(X, 2, S) STRAIGHT_HEIGHTS(X, 3, S) STRAIGHT_HEIGHTS(X, 4, S) \
    STRAIGHT_HEIGHTS(X, 5, S) STRAIGHT_HEIGHTS(X, 6, S) STRAIGHT_HEIGHTS(X, 7, S) \
    STRAIGHT_HEIGHTS(X, 8, S)
#define ALL_STRAIGHT(X) STRAIGHT_KERNELS(X, 1) STRAIGHT_KERNELS(X, 2)

#define DEFINE_STRAIGHT(KH, S, R, V) \
    static void straight_##KH##x##S##x##R##x##V(const Straight *s, const StraightTile *tile) \
    { \
        if (has_straight(KH, S) && V <= STRAIGHT_WIDEST && R <= straight_rows(KH, S, V)) \
            straight_tile(KH, S, R, V, s, tile); \
    }
ALL_STRAIGHT(DEFINE_STRAIGHT)

#define LIST_STRAIGHT(KH, S, R, V) [S][KH][R][V] = straight_##KH##x##S##x##R##x##V,
static const StraightCode straight_code[3][HIGHEST_KERNEL + 1][STRAIGHT_TALLEST + 1][5] = {
    ALL_STRAIGHT(LIST_STRAIGHT)
};

/* ---------------------------------------------------------------- whole planes */

/* R rows of output in V vectors of columns from `col` on; `edge` says which masks are theirs. */
INLINE void straight_columns(const Geometry *g, const Straight *s, StraightTile tile, ptrdiff_t R,
                             ptrdiff_t V, ptrdiff_t col, ptrdiff_t edge)
{
    tile.out += col;
    tile.col = col * g->SW - g->PL;
    tile.inside = s->masks + edge * s->loads;
    tile.store = vfirst(limited(g->OW - col));
    straight_code[g->SW][g->KH][R][V](s, &tile);
}

/* R rows of output, all columns. */
INLINE void straight_strip(const Geometry *g, const Straight *s, const Bands *whole,
                           StraightTile tile, ptrdiff_t R)
{
    for (ptrdiff_t edge = 0; edge < s->edges; edge++)
        straight_columns(g, s, tile, R, 1, edge_column(g, whole, edge), edge);
    for (ptrdiff_t band = 0; band < whole->bands; band++) {
        const ptrdiff_t from = whole->vectors * band / whole->bands;
        const ptrdiff_t stop = whole->vectors * (band + 1) / whole->bands;
        straight_columns(g, s, tile, R, stop - from, whole->first + from * VL, s->edges);
    }
}

/* Output rows first … stop − 1. */
static void straight_plane(const Geometry *g, Straight *s, ptrdiff_t first, ptrdiff_t stop)
{
    const ptrdiff_t jump = g->SH == 1 ? g->DH : 1;
    const Bands whole = whole_bands(g, STRAIGHT_WIDEST);
    const ptrdiff_t V = whole.bands ? (whole.vectors + whole.bands - 1) / whole.bands : 1;
    const ptrdiff_t tall = straight_rows((int)g->KH, (int)g->SH, (int)V);
    s->out_h = jump * g->out_h;
    for (ptrdiff_t residue = 0; residue < jump && first + residue < stop; residue++) {
        const ptrdiff_t rows = (stop - first - residue + jump - 1) / jump;
        const ptrdiff_t strips = (rows + tall - 1) / tall;
        for (ptrdiff_t i = 0; i < strips; i++) {
            const ptrdiff_t from = rows * i / strips, R = rows * (i + 1) / strips - from;
            const ptrdiff_t oh = first + residue + from * jump;
            const StraightTile tile = {.row = oh * g->SH - g->PT, .out = s->out + oh * g->out_h};
            straight_strip(g, s, &whole, tile, R);
        }
    }
}

#endif
