/* What the Cython loop hands to the Winograd kernels. Distances count elements.
 *
 * F(m, r) needs stride 1 and no dilation, and every convolution served here is made of such:
 * with dilation the picture is DH·DW interleaved ones, of which each gives its own output pixels
 * (fewer where there are fewer pixels);
 * with a stride the kernel is SH·SW interleaved ones, each with input channels of its own (the
 * pixels that it meets), whose sums add up. So there are `phases` times IC channels, and a
 * kernel of r = ceil(K / S) taps, shorter ones ending in zeros.
 *
 * Channels come in slabs of one vector. Tiles are transformed, multiplied and transformed back in
 * blocks that stay in the cache:
 *
 *   values   [point][slab][tile][VL]          V = B^T d B
 *   weights  [chunk][point][channel][width]   U = G g G^T, a panel for `width` output channels
 *   products [point][tile][width]             the sums over the channels
 *
 * with α² points. Planes of points lie an odd number of vectors apart: a power of two would make
 * them push each other out of the first cache.
 *
 * U is (α / r)² times as large as g. Where all of it would not stay in the second cache, reading
 * it again for each block takes longer than transforming g again: there the panels hold
 * g, [phase][channel][tap][width], and a chunk of channels is transformed right before its use.
 * Weights that are used once may be given as they are: a chunk's panel is made right before.
 */
#ifndef FASTCONV_WINOGRAD_H
#define FASTCONV_WINOGRAD_H

#include <stddef.h>

#include "block.h"

typedef struct {
    Geometry geometry; /* of one group */
    ptrdiff_t m, r;
    const double *G;
    int transformed;   /* panels hold U, else g */
    const ptrdiff_t *given; /* NULL, or the strides of weights that are in no panels yet */
    ptrdiff_t chunk;   /* channels */
    ptrdiff_t x_n, out_n;     /* between images */
    ptrdiff_t tile_pitch;     /* tiles between slabs of values */
    ptrdiff_t values_pitch;   /* between points, in vectors */
    ptrdiff_t products_pitch;
    int pooled; /* whether results are the maxima of windows of 2×2, side by side */
    int activation;
    double slope;
} Winograd;

/* Tiles of a rectangle of one picture, or of several whole pictures: N times the interleaved. */
typedef struct {
    ptrdiff_t picture, pictures;
    ptrdiff_t row, rows, col, cols; /* counted in tiles */
} TileBlock;

#endif
