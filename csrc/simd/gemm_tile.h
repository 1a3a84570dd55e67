/* The register tile: every convolution is this small matrix product at its core.
 *
 * sums[m][v] += a[m] * b[v] over the terms k, with M scalars a and V vectors b. There are two
 * forms of the same arithmetic. Where vectors run along pixels the scalars are M output
 * channels; where they run along channels the scalars are M pixels of a row or column. Both find
 * pixels through a table of offsets, which absorbs stride, dilation, padding and memory order.
 * Vectors along channels need weights in panels (block.h); along pixels they are read as they are.
 *
 * The terms of one output are added in their order, one after another, in every tile and form:
 * the bits depend neither on the cutting into tiles nor on the number of threads.
 */
#ifndef FASTCONV_GEMM_TILE_H
#define FASTCONV_GEMM_TILE_H

#include "block.h"
#include "vec.h"

enum {
#if VEC_BYTES == 64 || defined(__aarch64__)
    REGISTERS = 32,
#else
    REGISTERS = 16,
#endif
    /* Of a pass over the tiles along channels, which share its weights. Wide tiles take longer over
     * them than the second cache, and gain from long passes; for others they stay in the first. */
    PASS_TERMS = VEC_BYTES == 64 ? 320 : 128,
#if defined(__FMA__) || defined(__aarch64__)
    SPARE = 1, /* registers beside the sums and the vectors: the scalar */
#else
    SPARE = 2, /* and the product */
#endif
    PANEL = VL > 8 ? VL : 8,      /* channels of a panel of weights */
    PANEL_VECTORS = PANEL / VL,
    TALLEST_ALONG_PIXELS = REGISTERS / 4,
    LARGEST_M = 12,
    LARGEST_V = 8,
    DENSE_V = 4, /* of a strip that is left dense, */
    LARGEST_DENSE = 512 * DENSE_V * VL, /* and of how many values */
    LARGEST_TAIL = 16384, /* factors of pixels that no vector takes */
    /* Along pixels a block of at most so many terms and cells stays near while all channels pass. */
    NEAR_TERMS = 160,
    NEAR_CELLS = 64 * 1024 / sizeof(real),
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

/* What the tiles of a strip share. */
typedef struct {
    ptrdiff_t terms;
    ptrdiff_t w_pitch; /* between scalars along pixels, between panels along channels */
    ptrdiff_t sums_pitch;
    /* Along channels only. */
    const Place *places;
    ptrdiff_t step;    /* between pixels */
    const real *later; /* a line for each term, asked for while there is time */
    /* Along pixels only. The first tile of a strip leaves the vectors that it loads in `dense`,
     * one after another, and the others read them there: aligned, and in one stream rather than
     * in a page for each term. Meanwhile each asks for some vectors of the next strip: after
     * `every` terms for those of one more, until `next_terms` have been `asked` for. */
    const ptrdiff_t *offsets;
    real *dense;
    const real *next;
    const ptrdiff_t *next_offsets;
    ptrdiff_t next_terms, asked, every;
} TileJob;

/* sums[m * sums_pitch + …] for each scalar m; `bias` starts them, or is NULL where they go on. */
typedef void (*Tile)(TileJob *job, const real *x, const real *w, const real *bias, real *sums);

#define EACH_M _Pragma("GCC unroll 12") for (int m = 0; m < M; m++)
#define EACH_V _Pragma("GCC unroll 8") for (int v = 0; v < V; v++)

INLINE void tile_along_channels(const int M, const int V, const TileJob *job, const real *x,
                                const real *w, const real *bias, real *sums)
{
    vec acc[LARGEST_M][LARGEST_V];
    const ptrdiff_t step = job->step, pitch = job->sums_pitch;
    EACH_M EACH_V acc[m][v] = vload(bias ? bias + v * VL : sums + m * pitch + v * VL);

    const Place *place = job->places, *end = place + job->terms;
    const real *later = job->later;
    for (; place < end; place++, later += PANEL) {
        const real *pixels = x + place->pixel, *weights = w + place->weight;
        __builtin_prefetch(later, 0, 2);
        vec b[LARGEST_V];
        EACH_V {
            b[v] = vload(weights + v / PANEL_VECTORS * job->w_pitch + v % PANEL_VECTORS * VL);
            if (M > 1)
                b[v] = vkeep(b[v]);
        }
        EACH_M {
            const vec a = vsplat(pixels[m * step]);
            EACH_V acc[m][v] = vfma(a, b[v], acc[m][v]);
        }
    }
    EACH_M EACH_V vstore(sums + m * pitch + v * VL, acc[m][v]);
}

enum { FROM_PIXELS, LEAVING_DENSE, FROM_DENSE };

INLINE void tile_along_pixels(const int from, const int M, const int V, TileJob *job,
                              const real *x, const real *w, const real *bias, real *sums)
{
    vec acc[LARGEST_M][LARGEST_V];
    const ptrdiff_t *offsets = job->offsets;
    const ptrdiff_t pitch = job->sums_pitch, w_pitch = job->w_pitch, terms = job->terms;
    EACH_M EACH_V acc[m][v] = bias ? vsplat(bias[m]) : vload(sums + m * pitch + v * VL);

    const real *row0 = w, *row3 = row0 + 3 * w_pitch, *row6 = row3 + 3 * w_pitch;
    real *dense = job->dense;
    for (ptrdiff_t k = 0; k < terms;) {
        if (job->asked < job->next_terms) {
            const real *next = job->next + job->next_offsets[job->asked++] + VL - 1;
            EACH_V __builtin_prefetch(next + v * VL);
        }
        const ptrdiff_t end = terms - k < job->every ? terms : k + job->every;
        for (; k < end; k++, row0++, row3++, row6++, dense += V * VL) {
            const real *pixels = from == FROM_DENSE ? dense : x + offsets[k];
            vec b[LARGEST_V];
            EACH_V {
                b[v] = vload(pixels + v * VL);
                if (M > 1 || from == LEAVING_DENSE)
                    b[v] = vkeep(b[v]);
                if (from == LEAVING_DENSE)
                    vstore(dense + v * VL, b[v]);
            }
            EACH_M {
                const real *row = m < 3 ? row0 : m < 6 ? row3 : row6;
                const vec a = vsplat(row[m % 3 * w_pitch]);
                EACH_V acc[m][v] = vfma(a, b[v], acc[m][v]);
            }
        }
    }
    EACH_M EACH_V vstore(sums + m * pitch + v * VL, acc[m][v]);
}

/* One function per tile that fits; the others are empty and never reached. */
#define TILES_OF(X, V) \
    X(1, V) X(2, V) X(3, V) X(4, V) X(5, V) X(6, V) X(7, V) X(8, V) X(9, V) X(10, V) X(11, V) \
    X(12, V)
#define ALL_TILES(X) \
    TILES_OF(X, 1) TILES_OF(X, 2) TILES_OF(X, 3) TILES_OF(X, 4) TILES_OF(X, 5) TILES_OF(X, 6) \
    TILES_OF(X, 7) TILES_OF(X, 8)

#define DEFINE_TILE(NAME, FITS, BODY, M, V) \
    static void NAME##_##M##x##V(TileJob *job, const real *x, const real *w, const real *bias, \
                                 real *sums) \
    { \
        if (FITS) \
            BODY; \
    }
#define DEFINE_TILES(M, V) \
    DEFINE_TILE(along_channels, M <= tallest(V) && V <= 4 && V % PANEL_VECTORS == 0, \
                tile_along_channels(M, V, job, x, w, bias, sums), M, V) \
    DEFINE_TILE(from_pixels, M <= tallest(V) && M <= TALLEST_ALONG_PIXELS, \
                tile_along_pixels(FROM_PIXELS, M, V, job, x, w, bias, sums), M, V) \
    DEFINE_TILE(leaving_dense, M <= tallest(V) && M <= TALLEST_ALONG_PIXELS && V <= DENSE_V, \
                tile_along_pixels(LEAVING_DENSE, M, V, job, x, w, bias, sums), M, V) \
    DEFINE_TILE(from_dense, M <= tallest(V) && M <= TALLEST_ALONG_PIXELS && V <= DENSE_V, \
                tile_along_pixels(FROM_DENSE, M, V, job, x, w, bias, sums), M, V)
ALL_TILES(DEFINE_TILES)

#define LIST_CHANNELS(M, V) [V][M] = along_channels_##M##x##V,
static const Tile tiles_along_channels[LARGEST_V + 1][LARGEST_M + 1] = {ALL_TILES(LIST_CHANNELS)};

#define LIST_PIXELS(M, V) \
    [FROM_PIXELS][V][M] = from_pixels_##M##x##V, [LEAVING_DENSE][V][M] = leaving_dense_##M##x##V, \
    [FROM_DENSE][V][M] = from_dense_##M##x##V,
static const Tile tiles_along_pixels[3][LARGEST_V + 1][LARGEST_M + 1] = {ALL_TILES(LIST_PIXELS)};

#endif
