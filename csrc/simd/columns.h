/* What the Cython loop hands to the kernels of Winograd's convolution down the columns of planes.
 * Distances count elements. */
#ifndef FASTCONV_COLUMNS_H
#define FASTCONV_COLUMNS_H

#include "block.h"

enum {
    COLUMN_TILE = 4,                              /* m: rows of outputs */
    COLUMN_TAPS = 4,                              /* r: taps of a group */
    COLUMN_POINTS = COLUMN_TILE + COLUMN_TAPS - 1 /* α */
};

/* The KH taps of a column are `groups` of r, the last filled up with zeros. Tile t of outputs has
 * rows m·t … of `out`, and group g of its taps reads what group 0 reads for tile t + g. */
typedef struct {
    Geometry geometry; /* of one group of channels; stride 1, no dilation down */
    ptrdiff_t groups;
    ptrdiff_t tiles, cols;  /* of the largest task */
    ptrdiff_t values_row, values_plane;     /* between transformed rows, and their planes, which */
    ptrdiff_t products_row, products_plane; /* lie by point and channel; likewise the products */
    int activation;
    double slope;
} Columns;

/* What `tiles` tiles from `tile` on and `cols` columns from `col` on need of x, the group's first
 * channel, at every point; `lines` has room for COLUMN_LINES rows of values. */
enum { COLUMN_LINES = 9 };
typedef void (*ColumnsIn)(const Columns *c, const void *x, ptrdiff_t tile, ptrdiff_t tiles,
                          ptrdiff_t col, ptrdiff_t cols, void *values, void *lines);

/* Their outputs, from the products; `line` has room for COLUMN_TILE rows of them. */
typedef void (*ColumnsOut)(const Columns *c, const void *products, const void *bias,
                           ptrdiff_t tile, ptrdiff_t tiles, ptrdiff_t col, ptrdiff_t cols,
                           void *out, void *line);

#endif
