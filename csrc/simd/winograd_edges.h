/* Tiles at the lower and right end of a picture that have fewer than m outputs.
 *
 * m' + r − 1 points suffice for m' outputs, and they may be some of the α points of a whole tile:
 * then their products take the same transformed weights. G divides the row of a point p by
 * Π (p − q) over the other points q; where q is left out, the values are multiplied by that factor
 * instead. So the lower and right tiles of F(4, 3), the transform of most layers, keep 0, the first
 * of the other points and infinity, and save up to three quarters of their products.
 *
 * Tiles are counted so that those which a point serves follow one another: those at the right, in
 * the interior, at the bottom, and in the corner.
 */
#ifndef FASTCONV_WINOGRAD_EDGES_H
#define FASTCONV_WINOGRAD_EDGES_H

#include "sums.h"
#include "winograd.h"
#include "winograd_transforms.h"

/* ---------------------------------------------------------------- which tiles */

typedef struct {
    ptrdiff_t rows, cols; /* of whole tiles, of each picture */
    int height, width;    /* outputs of the others, m where there are none */
    ptrdiff_t interior, bottom, corner, all; /* where each kind of tiles begins, and the end */
} Sections;

/* Outputs of the last of `tiles` tiles, which begin with the first of `outputs`. */
INLINE int last_outputs(const Winograd *w, ptrdiff_t outputs, ptrdiff_t tiles)
{
    const ptrdiff_t last = outputs - (tiles - 1) * w->m;
    return (int)(w->m == 4 && w->r == 3 ? least(last, w->m) : w->m);
}

INLINE Sections sections_of(const Winograd *w, const TileBlock *b)
{
    const Geometry *g = &w->geometry;
    Sections s = {
        .height = last_outputs(w, ceil_div(g->OH, g->DH) - b->row * w->m, b->rows),
        .width = last_outputs(w, ceil_div(g->OW, g->DW) - b->col * w->m, b->cols),
    };
    const ptrdiff_t low = s.height < w->m, right = s.width < w->m;
    s.rows = b->rows - low;
    s.cols = b->cols - right;
    s.interior = right * b->pictures * s.rows;
    s.bottom = s.interior + b->pictures * s.rows * s.cols;
    s.corner = s.bottom + low * b->pictures * s.cols;
    s.all = b->pictures * b->rows * b->cols;
    return s;
}

/* The number of a picture's tile. */
INLINE ptrdiff_t tile_at(const Sections *s, ptrdiff_t picture, ptrdiff_t row, ptrdiff_t col)
{
    if (col < s->cols)
        return row < s->rows ? s->interior + (picture * s->rows + row) * s->cols + col
                             : s->bottom + picture * s->cols + col;
    return row < s->rows ? picture * s->rows + row : s->corner + picture;
}

/* Whether tiles of `some` outputs, of m at most, have the i-th point of an axis. */
INLINE int serves(const int alpha, const int m, const int some, ptrdiff_t i)
{
    return some == m || i <= some || i == alpha - 1;
}

/* The tiles first … stop − 1 that have the points i and j of the two axes. */
typedef struct {
    ptrdiff_t first, stop;
} Served;

INLINE Served served_by(const Winograd *w, const Sections *s, ptrdiff_t i, ptrdiff_t j)
{
    const int alpha = (int)(w->m + w->r - 1), m = (int)w->m;
    const int low = serves(alpha, m, s->height, i), right = serves(alpha, m, s->width, j);
    return (Served){right ? 0 : s->interior,
                    !low ? s->bottom : right ? s->all : s->corner};
}

/* ---------------------------------------------------------------- their transforms */

/* v = B^T d for the points of `some` < 4 outputs, each by the factor of the points left out. */
INLINE void to_some_points(const int some, const vec *d, vec *v)
{
    const double a = POINTS[6][0], aa = a * a, b = POINTS[6][1], bb = b * b;
    if (some == 1) { /* 0, a */
        v[0] = vsplat((real)(-a * bb)) * vminus(d[1], a, d[0]);
        v[1] = vsplat((real)(2 * a * (aa - bb))) * d[1];
        v[5] = vminus(d[2], a, d[1]);
    } else if (some == 2) { /* 0, ±a */
        const vec even = vsplat((real)(aa - bb)) * d[2], odd = vsplat((real)(a * (aa - bb))) * d[1];
        v[0] = vsplat((real)-bb) * vminus(d[2], aa, d[0]);
        v[1] = even + odd;
        v[2] = even - odd;
        v[5] = vminus(d[3], aa, d[1]);
    } else { /* 0, ±a, b: x − b times the rows without it */
        vec e[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            e[i] = vminus(d[i + 1], b, d[i]);
        v[0] = vsplat((real)b) * vminus(e[2], aa, e[0]);
        v[1] = vsplat((real)(a + b)) * vplus(e[2], a, e[1]);
        v[2] = vsplat((real)(b - a)) * vminus(e[2], a, e[1]);
        v[3] = vsplat((real)(2 * b)) * vminus(d[3], aa, d[1]);
        v[5] = vminus(e[3], aa, e[1]);
    }
}

/* y = A^T v of the same points. */
INLINE void from_some_points(const int some, const vec *v, vec *y)
{
    const double a = POINTS[6][0], aa = a * a, b = POINTS[6][1], bb = b * b;
    if (some == 1) {
        y[0] = v[0] + v[1] + v[5];
        return;
    }
    const vec sum = v[1] + v[2], difference = v[1] - v[2];
    if (some == 2) {
        y[0] = v[0] + sum;
        y[1] = vplus(v[5], a, difference);
    } else {
        y[0] = v[0] + sum + v[3];
        y[1] = vplus(vsplat((real)b) * v[3], a, difference);
        y[2] = vplus(vplus(v[5], bb, v[3]), aa, sum);
    }
}

INLINE void inputs_to_points(const int alpha, const int m, const int some, const vec *d, vec *v)
{
    if (some == m)
        to_points(alpha, d, v);
    else
        to_some_points(some, d, v);
}

INLINE void points_to_outputs(const int alpha, const int m, const int some, const vec *v, vec *y)
{
    if (some == m)
        from_points(alpha, m, v, y);
    else
        from_some_points(some, v, y);
}

#endif
