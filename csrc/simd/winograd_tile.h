/* The product of one point: tiles × channels by channels × output channels.
 *
 * Vectors run along output channels, and the values of a few tiles are broadcast: any number of
 * tiles keeps the lanes busy. Sums are added up in chunks of channels, and these chunks one after
 * another: what a chunk shares stays in the first cache, and rounding errors grow with the length
 * of a chunk and with the number of chunks instead of with their product.
 */
#ifndef FASTCONV_WINOGRAD_TILE_H
#define FASTCONV_WINOGRAD_TILE_H

#include "gemm_tile.h"

enum {
#if VEC_BYTES == 64 || defined(__aarch64__)
    WIDEST = 4, /* vectors of a panel of weights */
#else
    WIDEST = 2,
#endif
};

/* Values of tile t and channel c at values[c / VL * slab + t * VL + c % VL]. A cache line from
 * `ahead` on is asked for with each channel. */
typedef void (*WinogradTile)(ptrdiff_t channels, const real *values, ptrdiff_t slab,
                             const real *weights, const real *ahead, int first, real *sums);

INLINE void winograd_tile(const int M, const int V, ptrdiff_t channels, const real *values,
                          ptrdiff_t slab, const real *weights, const real *ahead, int first,
                          real *sums)
{
    vec acc[LARGEST_M][WIDEST];
#pragma GCC unroll 12
    for (int m = 0; m < M; m++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++)
            acc[m][v] = (vec){0};
    for (ptrdiff_t c = 0; c < channels; c += VL, values += slab) {
        const ptrdiff_t n = channels - c < VL ? channels - c : VL;
        const real *end = values + n;
        for (const real *a = values; a < end; a++, weights += V * VL, ahead += 64 / sizeof(real)) {
            __builtin_prefetch(ahead, 0, 2);
            vec b[WIDEST];
#pragma GCC unroll 4
            for (int v = 0; v < V; v++)
                b[v] = vkeep(vload(weights + v * VL));
#pragma GCC unroll 12
            for (int m = 0; m < M; m++) {
                const vec value = vsplat(a[m * VL]);
#pragma GCC unroll 4
                for (int v = 0; v < V; v++)
                    acc[m][v] = vfma(value, b[v], acc[m][v]);
            }
        }
    }
#pragma GCC unroll 12
    for (int m = 0; m < M; m++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            real *sum = sums + (m * V + v) * VL;
            vstore(sum, first ? acc[m][v] : vload(sum) + acc[m][v]);
        }
}

#define DEFINE_WINOGRAD_TILE(M, V) \
    static void winograd_##M##x##V(ptrdiff_t channels, const real *values, ptrdiff_t slab, \
                                   const real *weights, const real *ahead, int first, \
                                   real *sums) \
    { \
        if (M <= tallest(V) && V <= WIDEST) \
            winograd_tile(M, V, channels, values, slab, weights, ahead, first, sums); \
    }
#define WINOGRAD_TILES(X) TILES_OF(X, 1) TILES_OF(X, 2) TILES_OF(X, 3) TILES_OF(X, 4)
#define LIST_WINOGRAD_TILE(M, V) [V][M] = winograd_##M##x##V,
WINOGRAD_TILES(DEFINE_WINOGRAD_TILE)
static const WinogradTile winograd_tiles[5][LARGEST_M + 1] = {WINOGRAD_TILES(LIST_WINOGRAD_TILE)};

#endif
