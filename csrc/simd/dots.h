/* The last pixels of a plane, too few for a vector: dot products with vectors along the terms. */
#ifndef FASTCONV_DOTS_H
#define FASTCONV_DOTS_H

#include "sums.h"

enum {
    MOST_DOTS = 4,              /* pixels; more are cheaper as a vector that is partly idle */
    DOT_ROWS = REGISTERS / 8,   /* output channels at a time */
};

/* The sum of all elements, in all elements: by halves, quarters, … */
INLINE vec vsum(vec v)
{
#pragma GCC unroll 4
    for (int d = VL / 2; d > 0; d /= 2) {
        vec other = v;
        exchange(&v, &other, d);
        v += other;
    }
    return v;
}

/* sums[m * pitch + t] for M channels and T pixels, whose factors lie in rows x_pitch apart. */
INLINE void dots(const int M, const int T, const TileJob *job, const real *x, ptrdiff_t x_pitch,
                 const real *w, const real *bias, real *sums)
{
    const ptrdiff_t terms = job->terms, w_pitch = job->w_pitch, pitch = job->sums_pitch;
    vec acc[DOT_ROWS][MOST_DOTS] = {{{0}}};
    for (ptrdiff_t k = 0; k < terms; k += VL) {
        const ptrdiff_t n = least(VL, terms - k);
        vec a[DOT_ROWS];
#pragma GCC unroll 4
        for (int m = 0; m < M; m++)
            a[m] = n == VL ? vload(w + m * w_pitch + k) : vload_n(w + m * w_pitch + k, n);
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) {
            const vec b = n == VL ? vload(x + t * x_pitch + k) : vload_n(x + t * x_pitch + k, n);
#pragma GCC unroll 4
            for (int m = 0; m < M; m++)
                acc[m][t] = vfma(a[m], b, acc[m][t]);
        }
    }
#pragma GCC unroll 4
    for (int m = 0; m < M; m++)
#pragma GCC unroll 4
        for (int t = 0; t < T; t++)
            sums[m * pitch + t] = (bias ? bias[m] : sums[m * pitch + t]) + vsum(acc[m][t])[0];
}

#define DEFINE_DOTS(T) \
    static void dots_of_##T(const TileJob *job, const real *x, ptrdiff_t x_pitch, \
                            ptrdiff_t channels, const real *w, const real *bias, real *sums) \
    { \
        ptrdiff_t c = 0; \
        for (; c + DOT_ROWS <= channels; c += DOT_ROWS) \
            dots(DOT_ROWS, T, job, x, x_pitch, w + c * job->w_pitch, bias ? bias + c : NULL, \
                 sums + c * job->sums_pitch); \
        for (; c < channels; c++) \
            dots(1, T, job, x, x_pitch, w + c * job->w_pitch, bias ? bias + c : NULL, \
                 sums + c * job->sums_pitch); \
    }
DEFINE_DOTS(1)
DEFINE_DOTS(2)
DEFINE_DOTS(3)
DEFINE_DOTS(4)

typedef void (*Dots)(const TileJob *job, const real *x, ptrdiff_t x_pitch, ptrdiff_t channels,
                     const real *w, const real *bias, real *sums);
static const Dots dots_of[] = {NULL, dots_of_1, dots_of_2, dots_of_3, dots_of_4};

INLINE real *tail_factors(const Block *b) { return (real *)b->dense + LARGEST_DENSE; }

/* All terms of each of the `tail` pixels from lane `from` on, one after another. */
static void gather_tail(const Block *b, ptrdiff_t from, ptrdiff_t tail)
{
    const real *pixels = (const real *)b->pixels + from;
    real *factors = tail_factors(b);
    for (ptrdiff_t t = 0; t < tail; t++, factors += b->terms)
        for (ptrdiff_t k = 0; k < b->terms; k++)
            factors[k] = pixels[b->offsets[k] + t];
}

#endif
