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

/* out[m * out_c + t] for M channels and T pixels, whose `terms` factors lie in rows `pitch` apart,
 * zeros beyond them. */
INLINE void dots(const int M, const int T, const real *w, ptrdiff_t w_pitch, const real *x,
                 ptrdiff_t pitch, ptrdiff_t terms, const real *bias, real *out, ptrdiff_t out_c)
{
    vec acc[DOT_ROWS][MOST_DOTS] = {{{0}}};
    for (ptrdiff_t k = 0; k < terms; k += VL) {
        vec a[DOT_ROWS];
#pragma GCC unroll 4
        for (int m = 0; m < M; m++)
            a[m] = terms - k >= VL ? vload(w + m * w_pitch + k)
                : vload_n(w + m * w_pitch + k, terms - k);
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) {
            const vec b = vload(x + t * pitch + k);
#pragma GCC unroll 4
            for (int m = 0; m < M; m++)
                acc[m][t] = vfma(a[m], b, acc[m][t]);
        }
    }
#pragma GCC unroll 4
    for (int m = 0; m < M; m++)
#pragma GCC unroll 4
        for (int t = 0; t < T; t++)
            out[m * out_c + t] = bias[m] + vsum(acc[m][t])[0];
}

#define DEFINE_DOTS(T) \
    static void dots_of_##T(const real *w, ptrdiff_t w_pitch, const real *x, ptrdiff_t pitch, \
                            ptrdiff_t terms, const real *bias, real *out, ptrdiff_t out_c, \
                            ptrdiff_t channels) \
    { \
        ptrdiff_t c = 0; \
        for (; c + DOT_ROWS <= channels; c += DOT_ROWS) \
            dots(DOT_ROWS, T, w + c * w_pitch, w_pitch, x, pitch, terms, bias + c, \
                 out + c * out_c, out_c); \
        for (; c < channels; c++) \
            dots(1, T, w + c * w_pitch, w_pitch, x, pitch, terms, bias + c, out + c * out_c, \
                 out_c); \
    }
DEFINE_DOTS(1)
DEFINE_DOTS(2)
DEFINE_DOTS(3)
DEFINE_DOTS(4)

/* The last `tail` pixels of a block's only row. */
static void multiply_dots(const Block *b, ptrdiff_t tail)
{
    const ptrdiff_t pitch = ceil_div(b->terms, VL) * VL, lane = b->at.cols - tail;
    const ptrdiff_t out_c = b->geometry->out_c;
    real *x = b->dense, *out = (real *)b->out + lane;
    for (ptrdiff_t t = 0; t < tail; t++) {
        const real *pixel = (const real *)b->pixels + lane + t;
        for (ptrdiff_t k = 0; k < b->terms; k++)
            x[t * pitch + k] = pixel[b->offsets[k]];
        zero_run(x + t * pitch + b->terms, pitch - b->terms);
    }
    static void (*const of[])(const real *, ptrdiff_t, const real *, ptrdiff_t, ptrdiff_t,
                              const real *, real *, ptrdiff_t, ptrdiff_t) = {
        NULL, dots_of_1, dots_of_2, dots_of_3, dots_of_4,
    };
    of[tail](b->weights, b->terms, x, pitch, b->terms, b->bias, out, out_c, b->channels);
    activate_sums(b, out, b->channels, out_c, tail);
}

#endif
