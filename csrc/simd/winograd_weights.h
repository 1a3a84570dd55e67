/* The weights of Winograd's convolution (winograd.h): their panels, and from taps to U. */
#ifndef FASTCONV_WINOGRAD_WEIGHTS_H
#define FASTCONV_WINOGRAD_WEIGHTS_H

#include "product.h"
#include "turn.h"
#include "winograd_geometry.h"
#include "winograd_transforms.h"

enum { PACKED_TOGETHER = 512 }; /* taps, on the stack */

/* `channels` numbers, `step` apart; zero in the other lanes. */
INLINE vec vcollect(const real *p, ptrdiff_t step, ptrdiff_t channels)
{
    real lanes[VL] = {0};
    for (ptrdiff_t i = 0; i < channels; i++)
        lanes[i] = p[i * step];
    return vload(lanes);
}

/* The taps g of one vector of output channels, in its place in a panel of V; w has any strides. */
static void winograd_pack(const Winograd *w, ptrdiff_t channels, ptrdiff_t V, const void *weights,
                          const ptrdiff_t *strides, void *panel)
{
    const Geometry *g = &w->geometry;
    const ptrdiff_t r = w->r, taps = g->KH * g->KW, together = most(1, PACKED_TOGETHER / taps);
    const int is_large = taps > PACKED_TOGETHER; /* these are taken one by one */
    const int dense = strides[3] == 1 && strides[2] == g->KW && strides[1] == taps;
    Geometry piece = *g;
    real gathered[PACKED_TOGETHER * VL];
    for (ptrdiff_t c = 0; c < g->IC; c += together) {
        const real *from = (const real *)weights + c * strides[1];
        piece.IC = least(together, g->IC - c);
        if (!is_large && dense && channels == VL && piece.IC * taps >= LANE)
            turn_in(piece.IC * taps, from, strides[0], gathered);
        else if (!is_large)
            pack_terms(&piece, channels, VL, from, strides, gathered);
        for (ptrdiff_t phase = 0; phase < phases_of(g); phase++) {
            real *dst = (real *)panel + (phase * g->IC + c) * r * r * V * VL;
            for (ptrdiff_t ic = 0; ic < piece.IC; ic++)
                for (ptrdiff_t k = 0; k < r * r; k++, dst += V * VL) {
                    const ptrdiff_t kh = phase / g->SW + k / r * g->SH;
                    const ptrdiff_t kw = phase % g->SW + k % r * g->SW;
                    vec tap = {0};
                    if (kh < g->KH && kw < g->KW)
                        tap = is_large
                            ? vcollect(from + kh * strides[2] + kw * strides[3], strides[0],
                                       channels)
                            : vload(gathered + (ic * taps + kh * g->KW + kw) * VL);
                    vstore(dst, tap);
                }
        }
    }
}

INLINE ptrdiff_t chunks_of(const Winograd *w) { return ceil_div(w->geometry.IC, w->chunk); }

/* Vectors between points of a chunk of U, for a panel of V. */
INLINE ptrdiff_t chunk_pitch(const Winograd *w, ptrdiff_t V) { return w->chunk * V | 1; }

INLINE ptrdiff_t points_of(const Winograd *w)
{
    return (w->m + w->r - 1) * (w->m + w->r - 1);
}

INLINE void transform_taps(const int alpha, const int r, const double *G_, ptrdiff_t channels,
                           ptrdiff_t V, const real *taps, ptrdiff_t point, real *dst)
{
    real G[LARGEST_ALPHA * LARGEST_REACH];
    for (int i = 0; i < alpha * r; i++)
        G[i] = (real)G_[i];
    for (ptrdiff_t c = 0; c < channels; c++, taps += r * r * V * VL)
        for (ptrdiff_t v = 0; v < V; v++, dst += VL) {
            vec half[LARGEST_ALPHA][LARGEST_REACH];
#pragma GCC unroll 8
            for (int j = 0; j < r; j++) {
                vec column[LARGEST_REACH], u[LARGEST_ALPHA];
#pragma GCC unroll 8
                for (int i = 0; i < r; i++)
                    column[i] = vload(taps + ((i * r + j) * V + v) * VL);
                weight_points(alpha, r, G, column, u);
#pragma GCC unroll 8
                for (int i = 0; i < alpha; i++)
                    half[i][j] = u[i];
            }
#pragma GCC unroll 8
            for (int i = 0; i < alpha; i++) {
                vec u[LARGEST_ALPHA];
                weight_points(alpha, r, G, half[i], u);
#pragma GCC unroll 8
                for (int j = 0; j < alpha; j++)
                    vstore(dst + (i * alpha + j) * point, u[j]);
            }
        }
}

/* Where the taps of chunk i, counted over all phases, begin in a panel of V. */
INLINE const real *taps_of(const Winograd *w, ptrdiff_t i, ptrdiff_t V, const void *panel)
{
    const ptrdiff_t channel = i / chunks_of(w) * w->geometry.IC + i % chunks_of(w) * w->chunk;
    return (const real *)panel + channel * w->r * w->r * V * VL;
}

/* The same of weights that are in no panel: the chunk's taps, brought into one. They are those of
 * the only phase. */
static const real *taps_of_given(const Winograd *w, ptrdiff_t i, ptrdiff_t first_vector,
                                 ptrdiff_t V, const void *weights, real *panel)
{
    Winograd chunk = *w;
    const ptrdiff_t first = i * w->chunk, *strides = w->given;
    chunk.geometry.IC = least(w->chunk, w->geometry.IC - first);
    for (ptrdiff_t v = 0; v < V; v++) {
        const ptrdiff_t oc = (first_vector + v) * VL;
        winograd_pack(&chunk, least(VL, w->geometry.OC - oc), V,
                      (const real *)weights + oc * strides[0] + first * strides[1], strides,
                      panel + v * VL);
    }
    return panel;
}

/* Chunk i from its taps to U. */
static void winograd_weights(const Winograd *w, ptrdiff_t i, ptrdiff_t V, const void *taps,
                             void *dst)
{
    const Geometry *g = &w->geometry;
    const ptrdiff_t first = i % chunks_of(w) * w->chunk, n = least(w->chunk, g->IC - first);
    const ptrdiff_t point = chunk_pitch(w, V) * VL;
    switch ((w->m + w->r - 1) * 10 + w->r) {
#define CASE(alpha, r) \
    case alpha * 10 + r: \
        transform_taps(alpha, r, w->G, n, V, taps, point, dst); \
        break
        CASE(3, 2);
        CASE(4, 3);
        CASE(5, 2);
        CASE(6, 3);
        CASE(6, 5);
        CASE(7, 4);
        CASE(8, 3);
        CASE(8, 5);
#undef CASE
    }
}

#endif
