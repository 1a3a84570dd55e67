/* One plane by one 3×3 kernel, stride 1 or 2: rolling down columns of vectors.
 *
 * The nine weights stay in registers. Every input row is loaded once, in its three horizontal
 * shifts, and added to the three output rows in flight (two at stride 2). Vectors at the left and
 * right border load under masks, so that nothing is copied; rows outside the picture are
 * read from a row of zeros. Where planes are a single vector wide, two of them roll together.
 */
#ifndef FASTCONV_ROLL3_H
#define FASTCONV_ROLL3_H

#include "clamp.h"
#include "in_place.h"

enum { WIDEST_ROLL = VEC_BYTES == 64 ? 4 : 2, MOST_EDGES = 4 };

/* A vector at the border: the lanes that each of its loads finds inside the picture, and those
 * whose columns exist. */
typedef struct {
    ptrdiff_t col;
    mask load[4], store;
} RollEdge;

/* How the columns of every row are covered. */
typedef struct {
    RollEdge edges[MOST_EDGES];
    ptrdiff_t count;                 /* of edges; more than fit where these are no use */
    ptrdiff_t first, vectors, bands; /* of whole vectors, where every load is in the picture */
} RollColumns;

/* Some rows of one plane, or of two. */
typedef struct {
    const real *x;     /* where the first output's window begins; may be outside the picture */
    const real *zeros; /* instead of rows outside */
    real *out;
    ptrdiff_t x_h, out_h;
    ptrdiff_t row, IH;       /* the first input row */
    ptrdiff_t rows;          /* of output */
    const real *w;           /* [kw][kh], `apart` cells apart */
    ptrdiff_t apart;
    const real *bias;        /* or NULL */
    ptrdiff_t x_next, out_next; /* to the second plane, whose weights and bias are the next */
    Clamp clamp;
} Roll;

/* What the vectors of one roll are: neighbours, vectors at the border, or one of these in each of
 * two planes. */
enum { ROLL_BAND, ROLL_EDGES, ROLL_PLANES };

/* The row's three shifts at one vector; lane l of load i is `beyond(i)` + l cells from x. */
INLINE ptrdiff_t beyond(const int S, int i) { return S == 1 ? i : i / 2 * 2 + i % 2 * VL; }

INLINE void shifts(const int S, const RollEdge *edge, const real *x, vec t[3])
{
    vec part[4];
    for (int i = 0; i < (S == 1 ? 3 : 4); i++) {
        const real *from = x + beyond(S, i);
        part[i] = vkeep(edge ? vload_where(edge->load[i], from) : vload(from));
    }
    t[0] = S == 1 ? part[0] : veven(part[0], part[1]);
    t[1] = S == 1 ? part[1] : vodd(part[0], part[1]);
    t[2] = S == 1 ? part[2] : veven(part[2], part[3]);
}

/* Input row i is kernel row 0 of the outputs `young`, 1 of `middle` and 2 of `old`, where these
 * are not NULL. */
INLINE void roll_row(const int S, const int V, const int kind, const Roll *roll, vec w[2][10],
                     const RollEdge *edges, ptrdiff_t i, vec *young, vec *middle, vec *old)
{
    const int is_inside = (size_t)(roll->row + i) < (size_t)roll->IH;
    const real *x = is_inside ? roll->x + i * roll->x_h : roll->zeros;
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
        const ptrdiff_t offset = kind == ROLL_BAND ? v * S * VL
            : !is_inside ? 0 : kind == ROLL_EDGES ? S * edges[v].col : v * roll->x_next;
        const int p = kind == ROLL_PLANES ? v : 0;
        vec t[3];
        shifts(S, kind == ROLL_BAND ? NULL : &edges[kind == ROLL_EDGES ? v : 0], x + offset, t);
#pragma GCC unroll 3
        for (int k = 0; k < 3; k++) {
            if (old)
                old[v] = vfma(w[p][6 + k], t[k], old[v]);
            if (middle)
                middle[v] = vfma(w[p][3 + k], t[k], middle[v]);
            if (young)
                young[v] = vfma(w[p][k], t[k], k ? young[v] : w[p][9]);
        }
    }
}

INLINE void roll_store(const int V, const int kind, const Roll *roll, const RollEdge *edges,
                       real *out, vec *sums)
{
    if (roll->clamp.is_needed)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++)
            sums[v] = clamped(&roll->clamp, sums[v]);
#pragma GCC unroll 4
    for (int v = 0; v < V; v++)
        if (kind == ROLL_BAND)
            vstore(out + v * VL, sums[v]);
        else if (kind == ROLL_EDGES)
            vstore_where(edges[v].store, out + edges[v].col, sums[v]);
        else
            vstore_where(edges->store, out + v * roll->out_next, sums[v]);
}

/* From column `col` of x and out. */
INLINE void roll_down(const int S, const int V, const int kind, const Roll *given,
                      const RollEdge *given_edges, ptrdiff_t col)
{
    /* Copies, because stores could change what pointers lead to. */
    Roll roll = *given;
    RollEdge edges[2];
    for (int v = 0; v < (kind == ROLL_BAND ? 0 : kind == ROLL_EDGES ? V : 1); v++)
        edges[v] = given_edges[v];
    real *out = roll.out + col;
    vec a[WIDEST_ROLL], b[WIDEST_ROLL], c[WIDEST_ROLL], w[2][10];
    ptrdiff_t i = 0;
    roll.x += S * col;
    for (int p = 0; p < (kind == ROLL_PLANES ? 2 : 1); p++) {
#pragma GCC unroll 9
        for (int k = 0; k < 9; k++)
            w[p][k] = vsplat(roll.w[(p * 9 + k % 3 * 3 + k / 3) * roll.apart]);
        w[p][9] = vsplat(roll.bias ? roll.bias[p] : 0);
    }
#define ROW(i, young, middle, old) roll_row(S, V, kind, &roll, w, edges, i, young, middle, old)
#define STORE(sums) \
    do { \
        roll_store(V, kind, &roll, edges, out, sums); \
        out += roll.out_h; \
    } while (0)
#define MOVE(to, from) \
    for (int v = 0; v < V; v++) \
        to[v] = from[v]
    ROW(0, a, NULL, NULL);
    if (S == 2) {
        for (; i < roll.rows - 1; i++) {
            ROW(2 * i + 1, NULL, a, NULL);
            ROW(2 * i + 2, b, NULL, a);
            STORE(a);
            MOVE(a, b);
        }
        ROW(2 * i + 1, NULL, a, NULL);
        ROW(2 * i + 2, NULL, NULL, a);
        STORE(a);
        return;
    }
    if (roll.rows == 1) {
        ROW(1, NULL, a, NULL);
    } else {
        ROW(1, b, a, NULL);
        for (i = 2; i < roll.rows; i++) {
            ROW(i, c, b, a);
            STORE(a);
            MOVE(a, b);
            MOVE(b, c);
        }
        ROW(i, NULL, b, a);
        STORE(a);
        MOVE(a, b);
    }
    ROW(roll.rows + 1, NULL, NULL, a);
    STORE(a);
#undef ROW
#undef STORE
#undef MOVE
}

/* ---------------------------------------------------------------- whole rows */

/* Output columns col … col + VL − 1, as far as there are any. */
static void add_edge(RollColumns *columns, const int S, ptrdiff_t col, ptrdiff_t PL, ptrdiff_t IW,
                     ptrdiff_t OW)
{
    if (columns->count++ >= MOST_EDGES)
        return;
    RollEdge *edge = &columns->edges[columns->count - 1];
    edge->col = col;
    edge->store = vbetween(0, limited(OW - col));
    for (int i = 0; i < 4; i++) {
        const ptrdiff_t first = col * S - PL + beyond(S, i);
        edge->load[i] = vbetween(limited(-first), limited(IW - first));
    }
}

static void roll_columns(RollColumns *columns, const int S, ptrdiff_t PL, ptrdiff_t IW,
                         ptrdiff_t OW)
{
    const ptrdiff_t reach = S == 1 ? 2 : 3; /* beyond the first column of a window */
    ptrdiff_t col = 0;
    columns->count = 0;
    for (; col * S < PL && col < OW; col += VL)
        add_edge(columns, S, col, PL, IW, OW);
    columns->first = col;
    columns->vectors = most(least(OW, (IW + PL - reach + S - 1) / S) - col, 0) / VL;
    columns->bands = (columns->vectors + WIDEST_ROLL - 1) / WIDEST_ROLL;
    /* The last vector moves back where it can: it computes some columns again. */
    for (col += columns->vectors * VL; col < OW; col += VL)
        add_edge(columns, S, most(least(col, OW - VL), 0), PL, IW, OW);
}

#define DEFINE_ROLL(S) \
    static void roll_planes_##S(const Roll *roll, const RollEdge *edges) \
    { \
        roll_down(S, 2, ROLL_PLANES, roll, edges, 0); \
    } \
    static void roll_edges_##S(const Roll *roll, const RollEdge *edges, int V) \
    { \
        if (V == 1) \
            roll_down(S, 1, ROLL_EDGES, roll, edges, 0); \
        else \
            roll_down(S, 2, ROLL_EDGES, roll, edges, 0); \
    } \
    static void roll_band_##S(const Roll *roll, int V, ptrdiff_t col) \
    { \
        if (V == 1) \
            roll_down(S, 1, ROLL_BAND, roll, NULL, col); \
        else if (V == 2) \
            roll_down(S, 2, ROLL_BAND, roll, NULL, col); \
        else if (V == 3 && WIDEST_ROLL > 2) \
            roll_down(S, 3, ROLL_BAND, roll, NULL, col); \
        else if (WIDEST_ROLL > 2) \
            roll_down(S, 4, ROLL_BAND, roll, NULL, col); \
    }
DEFINE_ROLL(1)
DEFINE_ROLL(2)

/* Whether planes are so narrow that two of them should roll together. */
INLINE int rolls_in_pairs(const RollColumns *columns)
{
    return columns->count == 1 && columns->vectors == 0;
}

INLINE void roll_rows(const int S, const Roll *roll, const RollColumns *columns)
{
    for (ptrdiff_t i = 0; i < columns->count; i += 2)
        (S == 1 ? roll_edges_1 : roll_edges_2)(roll, &columns->edges[i],
                                               columns->count - i == 1 ? 1 : 2);
    for (ptrdiff_t i = 0; i < columns->bands; i++) {
        const ptrdiff_t first = columns->vectors * i / columns->bands;
        const ptrdiff_t stop = columns->vectors * (i + 1) / columns->bands;
        (S == 1 ? roll_band_1 : roll_band_2)(roll, (int)(stop - first), columns->first + first * VL);
    }
}

#endif
