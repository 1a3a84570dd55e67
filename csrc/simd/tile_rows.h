/* What the Cython loop hands to the kernel of Winograd's convolution with tiles in the lanes
 * (winograd_planar.h). Distances count elements. */
#ifndef FASTCONV_TILE_ROWS_H
#define FASTCONV_TILE_ROWS_H

#include "block.h"

enum {
    TILE_SIDE = 4,                    /* m */
    TILE_TAPS = 3,                    /* r */
    TILE_ALPHA = TILE_SIDE + TILE_TAPS - 1,
};

typedef struct {
    Geometry geometry; /* of one group of channels; stride 1, no dilation */
    ptrdiff_t vectors; /* of tiles side by side, in the largest task */
    ptrdiff_t lanes;   /* of each of several rows of tiles that lie side by side in them, else 0 */
    int past;          /* whether results go past the caches */
    int pooled;        /* whether results are the maxima of windows of 2×2, side by side */
    int along_channels; /* of output, which lie side by side: lanes hold these, not tiles */
    int activation;
    double slope;
} TileRows;

/* Bytes of scratch memory for one task. */
typedef ptrdiff_t (*TileRowsScratch)(const TileRows *t);

/* All output channels of a group in one row of tiles, `vectors` vectors of them from the one of
 * number `first` on, or in `rows` whole rows that share vectors; x and out are the group's first channels, `weights` its transformed ones,
 * [oc][column point][ic][row point], or along channels [vector of oc][…][VL]. */
typedef void (*TileRowsRun)(const TileRows *t, const void *x, const void *weights,
                            const void *bias, void *out, ptrdiff_t row, ptrdiff_t rows,
                            ptrdiff_t first, ptrdiff_t vectors, void *scratch);

#endif
