/* What the Cython loops hand to the convolution kernels. Distances count elements. */
#ifndef FASTCONV_BLOCK_H
#define FASTCONV_BLOCK_H

#include <stddef.h>

enum { STORING = 8 }; /* terms of a sum that take as long as storing it twice */

/* One convolution, seen from one of its groups. */
typedef struct {
    ptrdiff_t IC, IH, IW, OC, OH, OW; /* IC and OC are those of a group */
    ptrdiff_t KH, KW, SH, SW, DH, DW, PT, PL;
    ptrdiff_t x_c, x_h, x_w;       /* strides of x */
    ptrdiff_t out_c, out_h, out_w; /* strides of out */
} Geometry;

/* Output pixels that are computed together. */
typedef struct {
    ptrdiff_t oh, ow, rows, cols;
} Rectangle;

/* How a block's pixels are gathered, see gather.h. */
typedef struct {
    ptrdiff_t step, pitch;      /* between neighbouring output pixels, and between their rows */
    ptrdiff_t plane;            /* between input channels, input rows or terms */
    ptrdiff_t rows, cols;       /* of the largest rectangle */
    ptrdiff_t slots_h, slots_w; /* planes only: how many residues modulo the stride are used */
} Gathering;

/* Gather the factors of terms first … first + terms for one rectangle of one image. */
typedef void (*Gather)(const Geometry *geometry, const Gathering *to, const void *x,
                       const Rectangle *at, ptrdiff_t first, ptrdiff_t terms, void *pixels);

/* Where a term's factor and its weights lie, seen from where those of its pass begin. */
typedef struct {
    ptrdiff_t pixel, weight;
} Place;

/* Output pixels of a plane whose windows meet the picture with the same `taps` or fewer: the
 * places of these, for one channel of a pass after another. */
typedef struct {
    Rectangle at;
    ptrdiff_t taps;
    const Place *places;
} Region;

/* A block's sums: pixels × channels, over the terms k = (ic, kh, kw) first … first + terms.
 *
 * Where vectors run along pixels, output pixel (r, c) of the rectangle finds its factor of term k
 * at pixels[offsets[k] + r * pitch + c * step], and weights are as they were given, a row of all
 * terms for each channel. Where each group in the block has input channels of its own, the next
 * group's pixels are `group_pixels` further; else that is 0.
 *
 * Where they run along channels, weights lie in panels: channel i of term k at weights[i / PANEL *
 * panel_size + k * PANEL + i % PANEL]. The terms pass by `pass` at a time, which are those of whole
 * channels wherever a region leaves out taps; the factors of the next pass lie `pass_pixels`
 * further.
 */
typedef struct {
    const Geometry *geometry;
    Rectangle at;
    int pixel_vectors; /* the vector runs along pixels (step is 1 then), else along channels */
    int in_place;      /* the pixels are those of x, where they may be far from the processor */
    int past;          /* whether sums that are near go past the caches */
    int activation;
    double slope;
    ptrdiff_t first, terms;
    ptrdiff_t channels;
    const void *pixels;
    ptrdiff_t step, pitch;
    const ptrdiff_t *offsets;
    ptrdiff_t group_pixels;
    const Region *regions; /* of which every pixel of the plane is in one */
    ptrdiff_t region_count, pass, pass_pixels;
    const void *weights;
    ptrdiff_t panel_size;
    const void *bias; /* along channels rounded up to whole panels */
    void *sums;
    void *dense; /* memory for `dense` values (table.h), along pixels only */
    void *out;   /* the rectangle's first pixel in the first channel */
} Block;

#endif
