/* What one instruction set offers: a struct of function pointers per element type.
 *
 * Arrays pass as untyped pointers and strides count elements, so that one Cython loop
 * serves float and double; the kernel behind the pointer knows its type.
 */
#ifndef FASTCONV_TABLE_H
#define FASTCONV_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "block.h"
#include "windows.h"

enum {
    ACT_NONE,
    ACT_RELU,
    ACT_RELU6,
    ACT_LEAKY_RELU,
    ACT_SIGMOID,
    ACT_TANH,
    ACT_SILU,
    ACT_HARDSWISH,
};

typedef struct {
    int itemsize; /* bytes of an element */
    int width;    /* elements of a vector */
    int panel;    /* output channels of a full panel of packed weights */

    /* Convolution, see block.h, gather.h and product.h. */
    Gather gather_planes, gather_pixels, gather_columns;
    void (*pack_panel)(const Geometry *geometry, ptrdiff_t channels, ptrdiff_t width,
                       const void *w, const ptrdiff_t *strides, void *panel);
    void (*product)(const Block *block);

    /* out[i * out_stride] = activation of x[i * x_stride] for i < n; x may be out itself. */
    void (*activation)(int kind, double slope, const void *x, ptrdiff_t x_stride, void *out,
                       ptrdiff_t out_stride, ptrdiff_t n);

    /* Pooling, see windows.h and pool.h. */
    Pool pool_planes, pool_channels;
} Kernels;

#endif
