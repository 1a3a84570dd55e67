/* The register tile: every convolution is this small matrix product at its core.
 *
 * sums[m][v] += a[m] * b[v] over the terms k, with M scalars a and V vectors b. There are two
 * forms of the same arithmetic. Where vectors run along pixels the scalars are M output
 * channels; where they run along channels the scalars are M pixels of a row. Both find
 * pixels at x + offsets[k], which absorbs stride, dilation, padding and memory order, and
 * weights in panels (block.h).
 *
 * The terms of one output are added in their order, one after another, in every tile and form:
 * the bits depend neither on the cutting into tiles nor on the number of threads.
 */
#ifndef FASTCONV_GEMM_TILE_H
#define FASTCONV_GEMM_TILE_H

#include "vec.h"

enum {
#if VEC_BYTES == 64 || defined(__aarch64__)
    REGISTERS = 32,
#else
    REGISTERS = 16,
#endif
#if defined(__FMA__) || defined(__aarch64__)
    SPARE = 1, /* registers beside the sums and the vectors: the scalar */
#else
    SPARE = 2, /* and the product */
#endif
    PANEL = VL > 8 ? VL : 8,      /* channels of a panel of weights */
    PANEL_VECTORS = PANEL / VL,
    LARGEST_M = 12,
    LARGEST_V = 8,
};

/* The tallest tile of V vectors that needs no memory for its sums. */
INLINE int tallest(int V)
{
    int M = (REGISTERS - SPARE - V) / V;
    return M < 1 ? 1 : M > LARGEST_M ? LARGEST_M : M;
}

/* The widest tile of M scalars likewise. A single scalar's vectors come straight from memory. */
INLINE int widest(int M)
{
    int V = LARGEST_V;
    while (V > 1 && tallest(V) < M)
        V--;
    return V;
}

typedef struct {
    ptrdiff_t terms;
    const ptrdiff_t *offsets;
    ptrdiff_t panel_width, panel_size;
    ptrdiff_t step; /* between pixels, where vectors run along channels */
    ptrdiff_t sums_pitch;
} TileJob;

/* sums[m * sums_pitch + …] for each scalar m; `bias` starts them, or is NULL where they go on. */
typedef void (*Tile)(const TileJob *job, const real *x, const real *w, const real *bias,
                     real *sums);

INLINE void tile(const int pixel_vectors, const int M, const int V, const TileJob *job,
                 const real *x, const real *w, const real *bias, real *sums)
{
    vec acc[LARGEST_M][LARGEST_V];
    const ptrdiff_t step = job->step, pitch = job->sums_pitch;
#pragma GCC unroll 12
    for (int m = 0; m < M; m++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            acc[m][v] = !bias ? vload(sums + m * pitch + v * VL)
                : pixel_vectors ? vsplat(bias[m]) : vload(bias + v * VL);

    const ptrdiff_t *offsets = job->offsets, *end = offsets + job->terms;
    for (; offsets < end; offsets++, w += job->panel_width) {
        const real *pixels = x + *offsets;
        vec b[LARGEST_V];
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) {
            b[v] = vload(pixel_vectors ? pixels + v * VL
                         : w + v / PANEL_VECTORS * job->panel_size + v % PANEL_VECTORS * VL);
            if (M > 1)
                b[v] = vkeep(b[v]);
        }
#pragma GCC unroll 12
        for (int m = 0; m < M; m++) {
            const vec a = vsplat(pixel_vectors ? w[m] : pixels[m * step]);
#pragma GCC unroll 8
            for (int v = 0; v < V; v++)
                acc[m][v] = vfma(a, b[v], acc[m][v]);
        }
    }

#pragma GCC unroll 12
    for (int m = 0; m < M; m++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            vstore(sums + m * pitch + v * VL, acc[m][v]);
}

/* One function per tile that fits; the others are empty and never reached. */
#define TILES_OF(X, V) \
    X(1, V) X(2, V) X(3, V) X(4, V) X(5, V) X(6, V) X(7, V) X(8, V) X(9, V) X(10, V) X(11, V) \
    X(12, V)
#define ALL_TILES(X) \
    TILES_OF(X, 1) TILES_OF(X, 2) TILES_OF(X, 3) TILES_OF(X, 4) TILES_OF(X, 5) TILES_OF(X, 6) \
    TILES_OF(X, 7) TILES_OF(X, 8)

#define DEFINE_TILE(M, V) \
    static void along_channels_##M##x##V(const TileJob *job, const real *x, const real *w, \
                                         const real *bias, real *sums) \
    { \
        if (M <= tallest(V) && V <= 4 && V % PANEL_VECTORS == 0) \
            tile(0, M, V, job, x, w, bias, sums); \
    } \
    static void along_pixels_##M##x##V(const TileJob *job, const real *x, const real *w, \
                                       const real *bias, real *sums) \
    { \
        if (M <= tallest(V) && M <= PANEL) \
            tile(1, M, V, job, x, w, bias, sums); \
    }
ALL_TILES(DEFINE_TILE)

#define LIST_TILE(M, V) \
    [0][V][M] = along_channels_##M##x##V, [1][V][M] = along_pixels_##M##x##V,
static const Tile tiles[2][LARGEST_V + 1][LARGEST_M + 1] = {ALL_TILES(LIST_TILE)};

#endif
