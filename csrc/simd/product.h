/* Multiply a block's pixels by the weights and store the sums; pack the weights.
 *
 * Both forms have the same loops: strips of vectors; passes over the terms, so that what the tiles
 * of a strip share stays near; tiles.
 */
#ifndef FASTCONV_PRODUCT_H
#define FASTCONV_PRODUCT_H

#include "along_channels.h"
#include "along_pixels.h"

enum { PACKED_CELLS = 4096 }; /* of a panel, before they leave the first cache */

/* Terms of a panel of `channels` ≤ width output channels, zero beyond them; w has any strides. */
static void pack_terms(const Geometry *g, ptrdiff_t channels, ptrdiff_t width, const void *w_,
                       const ptrdiff_t *strides, void *dst_)
{
    const real *w = w_;
    real *dst = dst_;
    const ptrdiff_t taps = g->KH * g->KW, terms = g->IC * taps;
    const ptrdiff_t w_oc = strides[0], w_ic = strides[1], w_h = strides[2], w_w = strides[3];
    if (w_h == g->KW * w_w && w_ic == g->KH * w_h)
        move(channels, terms, w, w_oc, w_w, dst, 1, width);
    else
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            move(channels, g->IC, w + tap / g->KW * w_h + tap % g->KW * w_w, w_oc, w_ic,
                 dst + tap * width, 1, taps * width);
    for (ptrdiff_t k = 0; k < terms && channels < width; k++)
        zero_run(dst + k * width + channels, width - channels);
}

/* Whether none of n numbers is infinite or NaN, n being whole vectors. */
INLINE int all_finite(const real *x, ptrdiff_t n)
{
    vec zeros[4] = {{0}};
    ptrdiff_t i = 0;
    for (; i <= n - 4 * VL; i += 4 * VL)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            zeros[k] = vfma(vload(x + i + k * VL), (vec){0}, zeros[k]);
    for (; i < n; i += VL)
        zeros[0] = vfma(vload(x + i), (vec){0}, zeros[0]);
    const vec all = (zeros[0] + zeros[1]) + (zeros[2] + zeros[3]);
    return vall(vordered(vbetween(0, VL), all, all));
}

/* A whole panel, channel after channel of input; whether all its weights are finite. */
static int pack_panel(const Geometry *g, ptrdiff_t channels, ptrdiff_t width, const void *w,
                      const ptrdiff_t *strides, void *panel)
{
    const ptrdiff_t cells = g->KH * g->KW * width, together = most(1, PACKED_CELLS / cells);
    int finite = 1;
    Geometry piece = *g;
    for (ptrdiff_t ic = 0; ic < g->IC; ic += together) {
        real *dst = (real *)panel + ic * cells;
        piece.IC = least(together, g->IC - ic);
        pack_terms(&piece, channels, width, (const real *)w + ic * strides[1], strides, dst);
        finite &= all_finite(dst, piece.IC * cells);
    }
    return finite;
}

static void product(const Block *b)
{
    if (b->pixel_vectors)
        product_along_pixels(b);
    else
        product_along_channels(b);
}

#endif
