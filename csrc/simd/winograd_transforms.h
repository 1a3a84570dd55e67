/* The one-dimensional transforms B^T, A^T and G, on vectors of channels.
 *
 * The points of α are 0, pairs ±p, one without a partner where α is odd, and infinity:
 * fastconv/backends/winograd.py says why, and makes the same matrices, of which G comes from
 * there. Rows of ±p differ in the sign of their odd coefficients: E ± p·O.
 */
#ifndef FASTCONV_WINOGRAD_TRANSFORMS_H
#define FASTCONV_WINOGRAD_TRANSFORMS_H

#include "vec.h"

enum { LARGEST_ALPHA = 8, LARGEST_TILE = 6, LARGEST_REACH = 5 };

#define ROOT_HALF 0.70710678118654752440
#define ROOT_TWO 1.41421356237309504880

/* Pairs first, then the lone point. */
static const double POINTS[LARGEST_ALPHA + 1][3] = {
    [3] = {1}, [4] = {1}, [5] = {0.75, 2}, [6] = {ROOT_HALF, ROOT_TWO}, [7] = {0.5, 1.125, 2.25},
    [8] = {0.5, 1, 2},
};

/* x − s·y and so on, s being a constant of the code. */
INLINE vec vminus(vec x, double s, vec y) { return vfma(vsplat((real)-s), y, x); }
INLINE vec vplus(vec x, double s, vec y) { return vfma(vsplat((real)s), y, x); }

/* Rows of 0, ±p of `pairs` pairs and infinity. */
INLINE void even_points(const int pairs, const double *points, const vec *d, vec *v, vec *infinity)
{
    const double a = points[0], aa = a * a;
    if (pairs == 0) {
        v[0] = d[0];
        *infinity = d[1];
    } else if (pairs == 1) {
        v[0] = vminus(d[2], aa, d[0]);
        v[1] = vplus(d[2], a, d[1]);
        v[2] = vminus(d[2], a, d[1]);
        *infinity = vminus(d[3], aa, d[1]);
    } else if (pairs == 2) {
        const double b = points[1], bb = b * b;
        const vec even_a = vminus(d[4], bb, d[2]), odd_a = vminus(d[3], bb, d[1]);
        const vec even_b = vminus(d[4], aa, d[2]), odd_b = vminus(d[3], aa, d[1]);
        v[0] = vplus(vminus(d[4], aa + bb, d[2]), aa * bb, d[0]);
        v[1] = vplus(even_a, a, odd_a);
        v[2] = vminus(even_a, a, odd_a);
        v[3] = vplus(even_b, b, odd_b);
        v[4] = vminus(even_b, b, odd_b);
        *infinity = vplus(vminus(d[5], aa + bb, d[3]), aa * bb, d[1]);
    } else {
        const double b = points[1], bb = b * b, c = points[2], cc = c * c;
        const double sum = aa + bb + cc, pairwise = aa * bb + bb * cc + cc * aa;
        const vec even_a = vplus(vminus(d[6], bb + cc, d[4]), bb * cc, d[2]);
        const vec odd_a = vplus(vminus(d[5], bb + cc, d[3]), bb * cc, d[1]);
        const vec even_b = vplus(vminus(d[6], aa + cc, d[4]), aa * cc, d[2]);
        const vec odd_b = vplus(vminus(d[5], aa + cc, d[3]), aa * cc, d[1]);
        const vec even_c = vplus(vminus(d[6], aa + bb, d[4]), aa * bb, d[2]);
        const vec odd_c = vplus(vminus(d[5], aa + bb, d[3]), aa * bb, d[1]);
        v[0] = vminus(vplus(vminus(d[6], sum, d[4]), pairwise, d[2]), aa * bb * cc, d[0]);
        v[1] = vplus(even_a, a, odd_a);
        v[2] = vminus(even_a, a, odd_a);
        v[3] = vplus(even_b, b, odd_b);
        v[4] = vminus(even_b, b, odd_b);
        v[5] = vplus(even_c, c, odd_c);
        v[6] = vminus(even_c, c, odd_c);
        *infinity = vminus(vplus(vminus(d[7], sum, d[5]), pairwise, d[3]), aa * bb * cc, d[1]);
    }
}

/* v = B^T d. A lone point c multiplies every other row by x − c: these are the rows of the even
 * case, on the differences; its own row is that of infinity in the even case. */
INLINE void to_points(const int alpha, const vec *d, vec *v)
{
    const double *points = POINTS[alpha];
    const int pairs = (alpha - 2) / 2;
    if (alpha % 2 == 0) {
        even_points(pairs, points, d, v, v + alpha - 1);
        return;
    }
    vec differences[LARGEST_ALPHA], unused[LARGEST_ALPHA];
#pragma GCC unroll 8
    for (int i = 0; i < alpha - 1; i++)
        differences[i] = vminus(d[i + 1], points[pairs], d[i]);
    even_points(pairs, points, differences, v, v + alpha - 1);
    even_points(pairs, points, d, unused, v + alpha - 2);
}

/* y = A^T v: y[j] is the sum of p^j·v over the points, infinity counting in the last. */
INLINE void from_points(const int alpha, const int m, const vec *v, vec *y)
{
    const double *points = POINTS[alpha];
    const int pairs = (alpha - 2) / 2;
    double powers[4] = {1, 1, 1, 1};
    vec sums[3], differences[3];
#pragma GCC unroll 4
    for (int i = 0; i < pairs; i++) {
        sums[i] = v[1 + 2 * i] + v[2 + 2 * i];
        differences[i] = v[1 + 2 * i] - v[2 + 2 * i];
    }
#pragma GCC unroll 8
    for (int j = 0; j < m; j++) {
        const vec *terms = j % 2 ? differences : sums;
        vec sum;
        int i = 0;
        if (j == 0)
            sum = v[0];
        else if (j == m - 1)
            sum = v[alpha - 1];
        else
            /* rounded by itself: compilers differ in which of two products they would fuse */
            sum = vkeep(vsplat((real)powers[0]) * terms[i++]);
#pragma GCC unroll 4
        for (; i < pairs; i++)
            sum = vplus(sum, powers[i], terms[i]);
        if (alpha % 2)
            sum = vplus(sum, powers[pairs], v[alpha - 2]);
        y[j] = sum;
#pragma GCC unroll 4
        for (int k = 0; k < pairs + alpha % 2; k++)
            powers[k] *= points[k];
    }
}

/* u = G g. Where α is even the rows of ±p have the same divisor. */
INLINE void weight_points(const int alpha, const int r, const real *G, const vec *g, vec *u)
{
    const int paired = alpha % 2 == 0, last = alpha - 1;
    u[0] = vsplat(G[0]) * g[0];
#pragma GCC unroll 8
    for (int p = 1; p < last; p += 1 + paired) {
        const real *row = G + p * r;
        vec even = vsplat(row[0]) * g[0], odd = vsplat(row[1]) * g[1];
#pragma GCC unroll 8
        for (int k = 2; k < r; k++)
            if (k % 2)
                odd = vfma(vsplat(row[k]), g[k], odd);
            else
                even = vfma(vsplat(row[k]), g[k], even);
        u[p] = even + odd;
        if (paired)
            u[p + 1] = even - odd;
    }
    u[last] = g[r - 1];
}

#endif
