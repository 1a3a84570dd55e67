/* Which of a row's output columns can be computed from the picture where it lies. */
#ifndef FASTCONV_IN_PLACE_H
#define FASTCONV_IN_PLACE_H

#include "block.h"
#include "move.h"

/* Whole vectors of output columns whose loads are all in the picture: `vectors` from column `first`
 * on, in `bands` of nearly equal width. Where there are none, first is OW. */
typedef struct {
    ptrdiff_t first, vectors, bands;
} Bands;

INLINE Bands whole_bands(const Geometry *g, ptrdiff_t widest)
{
    const ptrdiff_t last = g->SW == 1 ? (g->KW - 1) * g->DW : (g->KW - 1) / 2 * 2 + 1;
    const ptrdiff_t inside = g->IW + g->PL - last; /* where a window's last load is */
    const ptrdiff_t first = (most(g->PL, 0) + g->SW * VL - 1) / (g->SW * VL) * VL;
    const ptrdiff_t stop = inside > 0 ? least(g->OW, (inside + g->SW - 1) / g->SW) : 0;
    const ptrdiff_t vectors = most(stop - first, 0) / VL;
    return (Bands){vectors ? first : g->OW, vectors, (vectors + widest - 1) / widest};
}

/* Column of the vector that comes after `col` columns: the last one moves back where it can, and
 * computes some columns again. */
INLINE ptrdiff_t vector_at(const Geometry *g, ptrdiff_t col)
{
    return most(least(col, g->OW - VL), 0);
}

/* Vectors that are not whole ones, and the column of each of them. */
INLINE ptrdiff_t edge_vectors(const Geometry *g, const Bands *whole)
{
    return (g->OW + VL - 1) / VL - whole->vectors;
}

INLINE ptrdiff_t edge_column(const Geometry *g, const Bands *whole, ptrdiff_t edge)
{
    const ptrdiff_t col = edge * VL;
    return vector_at(g, col < whole->first ? col : col + whole->vectors * VL);
}

/* Of a vector of cells from column `col` on: the lanes in the picture. */
INLINE mask in_picture(const Geometry *g, ptrdiff_t col)
{
    return vbetween(limited(-col), limited(g->IW - col));
}

#endif
