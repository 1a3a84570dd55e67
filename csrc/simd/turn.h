/* VL planes of pixels to vectors of channels, and back.
 *
 * VL channels lie `plane` apart, each with its pixels side by side; in vectors of channels, pixel
 * after pixel. A vector holds lanes of 16 bytes: LANE pixels of LANE channels are turned within
 * each, so that half of the shuffles of a whole transpose suffice, and any number of pixels from
 * LANE on is done without remainders: the last ones are turned twice. Where planes collide in the
 * caches, a lane's line would have to come again for the next one: there whole vectors are turned.
 */
#ifndef FASTCONV_TURN_H
#define FASTCONV_TURN_H

#include "move.h"

enum { LANE = 16 / sizeof(real) };

INLINE void turn_lanes(vec *v)
{
    ivec low, high;
    for (int i = 0; i < VL; i++) {
        const int base = i / LANE * LANE, k = i % LANE;
        low[i] = base + k / 2 + k % 2 * VL;
        high[i] = low[i] + LANE / 2;
    }
#if REAL_BITS == 64
    const vec a = v[0], b = v[1];
    v[0] = vshuffle(a, b, low);
    v[1] = vshuffle(a, b, high);
#else
    const vec a = vshuffle(v[0], v[2], low), b = vshuffle(v[1], v[3], low);
    const vec c = vshuffle(v[0], v[2], high), d = vshuffle(v[1], v[3], high);
    v[0] = vshuffle(a, b, low);
    v[1] = vshuffle(a, b, high);
    v[2] = vshuffle(c, d, low);
    v[3] = vshuffle(c, d, high);
#endif
}

static void turn_in(ptrdiff_t n, const real *x, ptrdiff_t plane, real *dst)
{
    if (n >= VL && collide(plane)) {
        for (ptrdiff_t i = 0; i < n; i += VL) {
            const ptrdiff_t at = least(i, n - VL);
            transpose_block(VL, VL, x + at, plane, dst + at * VL, VL);
        }
        return;
    }
    for (ptrdiff_t i = 0; i < n; i += LANE) {
        const ptrdiff_t at = least(i, n - LANE);
        vec v[LANE];
#pragma GCC unroll 4
        for (int k = 0; k < LANE; k++)
            v[k] = vload_lanes(x + at + k * plane, LANE * plane);
        turn_lanes(v);
#pragma GCC unroll 4
        for (int k = 0; k < LANE; k++)
            vstore(dst + (at + k) * VL, v[k]);
    }
}

static void turn_out(ptrdiff_t n, const real *pixels, real *out, ptrdiff_t plane)
{
    if (n >= VL && collide(plane)) {
        for (ptrdiff_t i = 0; i < n; i += VL) {
            const ptrdiff_t at = least(i, n - VL);
            transpose_block(VL, VL, pixels + at * VL, VL, out + at, plane);
        }
        return;
    }
    for (ptrdiff_t i = 0; i < n; i += LANE) {
        const ptrdiff_t at = least(i, n - LANE);
        vec v[LANE];
#pragma GCC unroll 4
        for (int k = 0; k < LANE; k++)
            v[k] = vload(pixels + (at + k) * VL);
        turn_lanes(v);
#pragma GCC unroll 4
        for (int k = 0; k < LANE; k++)
            vstore_lanes(out + at + k * plane, LANE * plane, v[k]);
    }
}

#endif
