/* What pool2d_direct.pyx hands to the pooling kernels. Distances count elements. */
#ifndef FASTCONV_WINDOWS_H
#define FASTCONV_WINDOWS_H

#include <stddef.h>
#include <stdint.h>

enum { POOL_MAX, POOL_SUM, POOL_AVG, POOL_LP };

/* The windows along one axis: output i covers the cells first[i], first[i] + step, … below
 * stop[i]. If they are `even` these are the cells inside the picture of i · stride − before + j ·
 * step, j < taps; else `taps` is the most that one of them has. `count` is the axis' factor of
 * an average's divisor. */
typedef struct {
    const int64_t *first, *stop, *count;
    ptrdiff_t step;
    int even;
    ptrdiff_t before, taps, stride;
} Windows;

/* Of a (N, C, H, W) array. */
typedef struct {
    ptrdiff_t n, c, h, w;
} Strides;

typedef struct {
    int mode;
    double norm;
    int64_t divisor; /* of every average, or 0 for row count × column count */
    ptrdiff_t C, OH, OW;
    ptrdiff_t height, width; /* of an input plane */
    int wide_index; /* whether an index within a plane may not fit 32 bits */
    Windows rows, columns;
    Strides x, out, indices;
    ptrdiff_t row_cells;     /* that pool_planes joins: a padded row, if its columns are even */
    ptrdiff_t channel_parts; /* into which pool_channels divides the channels */
    ptrdiff_t block;         /* columns of a block of pool_channels, 0 for none */
} Pooling;

/* Work items begin … end − 1; `indices` may be NULL. */
typedef void (*Pool)(const Pooling *pooling, const void *x, void *out, int64_t *indices,
                     ptrdiff_t begin, ptrdiff_t end, void *row);

#endif
