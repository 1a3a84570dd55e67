/* What one instruction set offers for one element type: a struct of function pointers for each
 * unit, a file NAME.c beside this one that is compiled for the pair and exports SYMBOL(NAME).
 *
 * Arrays pass as untyped pointers and strides count elements, so that one Cython loop
 * serves float and double; the kernel behind the pointer knows its type.
 */
#ifndef FASTCONV_TABLE_H
#define FASTCONV_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "block.h"
#include "factors.h"
#include "planes.h"
#include "tap_groups.h"
#include "tile_rows.h"
#include "windows.h"
#include "winograd.h"

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

enum { FAR_BYTES = 16 << 20 }; /* of a result that would push everything else out of the caches */

/* Convolution, see block.h, gather.h and product.h. */
typedef struct {
    Gather gather_planes, gather_pixels, gather_columns;
    int (*pack_panel)(const Geometry *geometry, ptrdiff_t channels, ptrdiff_t width,
                      const void *w, const ptrdiff_t *strides, void *panel);
    void (*product)(const Block *block);
} Convolution;

/* out[i * out_stride] = activation of x[i * x_stride] for i < n; x may be out itself. */
typedef struct {
    void (*activation)(int kind, double slope, const void *x, ptrdiff_t x_stride, void *out,
                       ptrdiff_t out_stride, ptrdiff_t n);
} Elementwise;

/* Pooling, see windows.h and pool.h. */
typedef struct {
    Pool planes, channels;
} PoolKernels;

/* Winograd's convolution, see winograd.h. */
typedef struct {
    int widest; /* vectors of a panel of weights */
    void (*pack)(const Winograd *winograd, ptrdiff_t channels, ptrdiff_t vectors,
                 const void *weights, const ptrdiff_t *strides, void *panel);
    void (*weights)(const Winograd *winograd, ptrdiff_t chunk, ptrdiff_t vectors,
                    const void *taps, void *transformed);
    void (*input)(const Winograd *winograd, const TileBlock *block, ptrdiff_t slab, const void *x,
                  void *values, void *scratch);
    void (*output)(const Winograd *winograd, const TileBlock *block, ptrdiff_t first_vector,
                   ptrdiff_t vectors, const void *values, const void *panel, const void *bias,
                   void *out, void *scratch);
} WinogradKernels;

/* Convolution of groups of few channels, see planes.h, planar.h, depthwise.h and
 * interleaved.h. */
typedef struct {
    int together; /* output channels of a block, at most */
    ptrdiff_t (*zero_cells)(const Geometry *geometry);
    ptrdiff_t (*weight_cells)(const Geometry *geometry); /* of one group, packed */
    ptrdiff_t (*scratch)(const Planes *planes); /* bytes for one thread */
    void (*pack)(const Geometry *geometry, ptrdiff_t blocks, const void *w,
                 const ptrdiff_t *strides, void *packed); /* one group */
    PlanesRun run;
} PlaneKernels;

/* Kernels of low rank, see factors.h and separable.h. */
typedef struct {
    Separable separable;
} Factoring;

/* Winograd's convolution by groups of taps, see tap_groups.h, winograd1d.h and winograd2d.h. */
typedef struct {
    int lines; /* rows of values that both take as scratch memory */
    TapGroupsIn input;
    TapGroupsOut output;
} TapGroupKernels;

/* Winograd's convolution with tiles in the lanes, see tile_rows.h and winograd_planar.h. */
typedef struct {
    TileRowsScratch scratch;
    TileRowsRun run;
} TileRowKernels;

/* float16 or, if `brain`, bfloat16 from and to float, see halves.c. */
typedef struct {
    void (*widen)(int brain, const uint16_t *x, float *out, ptrdiff_t n);
    void (*narrow)(int brain, const float *x, uint16_t *out, ptrdiff_t n);
} HalfKernels;

typedef struct {
    int itemsize; /* bytes of an element */
    int width;    /* elements of a vector */
    int panel;    /* output channels of a panel of packed weights */
    int dots;     /* pixels beyond whole vectors that are cheap, see dots.h */
    int dense;    /* values that a block needs beside its sums, along pixels */
    int near_terms, near_cells; /* of a block along pixels that stays near */
    int pass;     /* terms that tiles along channels take one after another */
    const Convolution *convolution;
    const Elementwise *elementwise;
    const PoolKernels *pooling;
    const WinogradKernels *winograd;
    const PlaneKernels *planar, *depthwise, *interleaved;
    const Factoring *factoring;
    const TapGroupKernels *winograd1d, *winograd2d;
    const TileRowKernels *tile_rows;
    const HalfKernels *halves;
} Kernels;

#endif
