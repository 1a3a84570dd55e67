/* What planes.pyx hands to the kernels of planes. Distances count elements. */
#ifndef FASTCONV_PLANES_H
#define FASTCONV_PLANES_H

#include "block.h"

/* A convolution whose groups have few channels. Work items are row chunks of output planes:
 * item = ((n * G + group) * blocks + block) * chunks + chunk, where a block is some output
 * channels of one group that are computed together. Where vectors run along the channels of a
 * depthwise convolution, all of them are one group and one block. */
typedef struct {
    Geometry geometry; /* IC and OC are those of a group */
    ptrdiff_t N, G, blocks, chunks;
    ptrdiff_t x_n, out_n;
    int activation;
    double slope;
    const void *x, *weights;
    const void *bias;  /* of all channels, or NULL */
    const void *zeros; /* stands for every row outside the picture, see zero_cells() */
    void *out;
} Planes;

/* Work items begin … end − 1; `scratch` is one thread's. */
typedef void (*PlanesRun)(const Planes *planes, ptrdiff_t begin, ptrdiff_t end, void *scratch);

#endif
