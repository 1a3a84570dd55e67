/* One plane by one 3×3 kernel, stride 1 or 2: rolling down columns of vectors.
 *
 * The nine weights stay in registers. Every input row is loaded once, in its three horizontal
 * shifts, and added to the three output rows in flight (two at stride 2). Vectors at the left and
 * right border load under masks, so that nothing is copied; rows outside the picture are
 * read from a row of zeros.
 */
#ifndef FASTCONV_ROLL3_H
#define FASTCONV_ROLL3_H

#include "clamp.h"
#include "move.h"

enum { WIDEST_ROLL = VEC_BYTES == 64 ? 4 : 2 };

typedef struct {
    const real *x;     /* where the first output's window begins; may be outside the picture */
    const real *zeros; /* instead of rows outside */
    ptrdiff_t x_h, out_h;
    ptrdiff_t row, IH; /* the first input row */
    ptrdiff_t rows;    /* of output */
    vec w[9], bias;
    Clamp clamp;
} Roll;

/* What a vector at the border may load: the lanes inside the picture, for each load. */
typedef struct {
    mask load[4];
    ptrdiff_t n; /* columns to store */
} RollEdge;

INLINE ptrdiff_t limited(ptrdiff_t n) { return most(least(n, VL), 0); }

/* Output columns col … col + n − 1; the lane l of load i is the picture's column first + l. */
INLINE RollEdge edge_at(const int S, ptrdiff_t col, ptrdiff_t n, ptrdiff_t PL, ptrdiff_t IW)
{
    RollEdge edge = {.n = n};
    for (int i = 0; i < (S == 1 ? 3 : 4); i++) {
        const ptrdiff_t first = col * S - PL + (S == 1 ? i : i / 2 * 2 + i % 2 * VL);
        edge.load[i] = vbetween(limited(-first), limited(IW - first));
    }
    return edge;
}

/* The row's three shifts at one vector. */
INLINE void shifts(const int S, const RollEdge *edge, const real *x, vec t[3])
{
    if (S == 1) {
        for (int i = 0; i < 3; i++)
            t[i] = edge ? vload_where(edge->load[i], x + i) : vload(x + i);
        return;
    }
    vec part[4];
    for (int i = 0; i < 4; i++) {
        const real *from = x + i / 2 * 2 + i % 2 * VL;
        part[i] = edge ? vload_where(edge->load[i], from) : vload(from);
    }
    t[0] = veven(part[0], part[1]);
    t[1] = vodd(part[0], part[1]);
    t[2] = veven(part[2], part[3]);
}

/* Input row i is kernel row 0 of the outputs `young`, 1 of `middle` and 2 of `old`, where these
 * are not NULL. */
INLINE void roll_row(const int S, const int V, const Roll *roll, const RollEdge *edge,
                     ptrdiff_t i, ptrdiff_t offset, vec *young, vec *middle, vec *old)
{
    const ptrdiff_t row = roll->row + i;
    const real *x = (size_t)row < (size_t)roll->IH ? roll->x + i * roll->x_h + offset : roll->zeros;
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
        vec t[3];
        shifts(S, edge, x + v * S * VL, t);
        if (young) {
            young[v] = roll->bias;
#pragma GCC unroll 3
            for (int k = 0; k < 3; k++)
                young[v] = vfma(roll->w[k], t[k], young[v]);
        }
#pragma GCC unroll 3
        for (int k = 0; k < 3; k++) {
            if (middle)
                middle[v] = vfma(roll->w[3 + k], t[k], middle[v]);
            if (old)
                old[v] = vfma(roll->w[6 + k], t[k], old[v]);
        }
    }
}

INLINE void roll_store(const int V, const Roll *roll, const RollEdge *edge, real *out, vec *sums)
{
    if (roll->clamp.is_needed)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++)
            sums[v] = clamped(&roll->clamp, sums[v]);
#pragma GCC unroll 4
    for (int v = 0; v < V; v++)
        if (edge)
            vstore_n(out, edge->n, sums[v]);
        else
            vstore(out + v * VL, sums[v]);
}

/* `from` input columns from the first, into `out`. */
INLINE void roll_down(const int S, const int V, const Roll *given, const RollEdge *edge,
                      ptrdiff_t from, real *out)
{
    const Roll roll = *given;
    vec a[WIDEST_ROLL], b[WIDEST_ROLL], c[WIDEST_ROLL];
    ptrdiff_t i = 0;
    if (S == 2) {
        roll_row(S, V, &roll, edge, 0, from, a, NULL, NULL);
        for (; i < roll.rows - 1; i++, out += roll.out_h) {
            roll_row(S, V, &roll, edge, 2 * i + 1, from, NULL, a, NULL);
            roll_row(S, V, &roll, edge, 2 * i + 2, from, b, NULL, a);
            roll_store(V, &roll, edge, out, a);
#pragma GCC unroll 4
            for (int v = 0; v < V; v++)
                a[v] = b[v];
        }
        roll_row(S, V, &roll, edge, 2 * i + 1, from, NULL, a, NULL);
        roll_row(S, V, &roll, edge, 2 * i + 2, from, NULL, NULL, a);
        roll_store(V, &roll, edge, out, a);
        return;
    }
    roll_row(S, V, &roll, edge, 0, from, a, NULL, NULL);
    if (roll.rows == 1) {
        roll_row(S, V, &roll, edge, 1, from, NULL, a, NULL);
    } else {
        roll_row(S, V, &roll, edge, 1, from, b, a, NULL);
        for (i = 2; i < roll.rows; i++, out += roll.out_h) {
            roll_row(S, V, &roll, edge, i, from, c, b, a);
            roll_store(V, &roll, edge, out, a);
#pragma GCC unroll 4
            for (int v = 0; v < V; v++)
                a[v] = b[v], b[v] = c[v];
        }
        roll_row(S, V, &roll, edge, i, from, NULL, b, a);
        roll_store(V, &roll, edge, out, a);
        out += roll.out_h;
#pragma GCC unroll 4
        for (int v = 0; v < V; v++)
            a[v] = b[v];
    }
    roll_row(S, V, &roll, edge, roll.rows + 1, from, NULL, NULL, a);
    roll_store(V, &roll, edge, out, a);
}

/* ---------------------------------------------------------------- whole rows */

static void roll_edge(const int S, const Roll *roll, ptrdiff_t col, ptrdiff_t n, ptrdiff_t PL,
                      ptrdiff_t IW, real *out)
{
    const RollEdge edge = edge_at(S, col, n, PL, IW);
    if (S == 1)
        roll_down(1, 1, roll, &edge, col, out + col);
    else
        roll_down(2, 1, roll, &edge, 2 * col, out + col);
}

INLINE void roll_band(const int S, int V, const Roll *roll, ptrdiff_t col, real *out)
{
    switch (V) {
#define CASE(constant) \
    case constant: \
        if (constant <= WIDEST_ROLL) \
            roll_down(S, constant, roll, NULL, S * col, out + col); \
        break;
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
#undef CASE
    }
}

/* All columns: whole vectors where every load lies inside the picture, masked ones elsewhere. */
INLINE void roll_rows(const int S, const Roll *roll, ptrdiff_t PL, ptrdiff_t IW, ptrdiff_t OW,
                      real *out)
{
    const ptrdiff_t reach = S == 1 ? 2 : 3; /* beyond the first column of a window */
    ptrdiff_t col = 0;
    while (col * S < PL && col < OW) {
        roll_edge(S, roll, col, least(VL, OW - col), PL, IW, out);
        col += VL;
    }
    const ptrdiff_t end = least(OW, (IW + PL - reach + S - 1) / S);
    const ptrdiff_t vectors = most(end - col, 0) / VL;
    const ptrdiff_t bands = (vectors + WIDEST_ROLL - 1) / WIDEST_ROLL;
    for (ptrdiff_t i = 0; i < bands; i++) {
        const ptrdiff_t first = vectors * i / bands, stop = vectors * (i + 1) / bands;
        roll_band(S, (int)(stop - first), roll, col + first * VL, out);
    }
    for (col += vectors * VL; col < OW; col += VL) {
        /* The last vector moves back where it can: it computes some columns again. */
        const ptrdiff_t at = most(least(col, OW - VL), 0);
        roll_edge(S, roll, at, least(VL, OW - at), PL, IW, out);
    }
}

#endif
