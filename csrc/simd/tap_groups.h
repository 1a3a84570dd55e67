/* What the Cython loop hands to the kernels of Winograd's convolution by groups of taps: down the
 * columns of planes (winograd1d.h), or along both axes (winograd2d.h). Distances count elements. */
#ifndef FASTCONV_TAP_GROUPS_H
#define FASTCONV_TAP_GROUPS_H

#include "block.h"

enum {
    GROUP_TILE = 4,                            /* m: outputs of a tile along an axis */
    GROUP_TAPS = 4,                            /* r: taps of a group */
    GROUP_POINTS = GROUP_TILE + GROUP_TAPS - 1 /* α, of one axis */
};

/* The taps of an axis are groups of r, the last filled up with zeros. Tile t of outputs has rows
 * m·t … of `out`, and group g of its taps reads what group 0 reads for tile t + g. So there is at
 * each point a convolution of planes of tiles by a kernel of down × across groups. An axis that is
 * not transformed has tiles of one output and groups of one tap. */
typedef struct {
    Geometry geometry; /* of one group of channels; stride 1, no dilation of a transformed axis */
    ptrdiff_t down, across;
    ptrdiff_t tiles, cols;  /* of the largest task: rows of tiles, and tiles of each */
    ptrdiff_t values_row, values_plane;     /* between transformed rows, and their planes, which */
    ptrdiff_t products_row, products_plane; /* lie by point and channel; likewise the products */
    int activation;
    double slope;
} TapGroups;

/* What `tiles` rows of tiles from `tile` on and `cols` columns from `col` on need of x, the
 * channels' group's first channel, at every point. */
typedef void (*TapGroupsIn)(const TapGroups *c, const void *x, ptrdiff_t tile, ptrdiff_t tiles,
                            ptrdiff_t col, ptrdiff_t cols, void *values, void *lines);

/* Their outputs, from the products. */
typedef void (*TapGroupsOut)(const TapGroups *c, const void *products, const void *bias,
                             ptrdiff_t tile, ptrdiff_t tiles, ptrdiff_t col, ptrdiff_t cols,
                             void *out, void *lines);

#endif
