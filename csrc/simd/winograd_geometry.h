/* What the stages of Winograd's convolution (winograd.h) count. */
#ifndef FASTCONV_WINOGRAD_GEOMETRY_H
#define FASTCONV_WINOGRAD_GEOMETRY_H

#include "sums.h"
#include "winograd.h"

/* α and m of every transform. */
#define EACH_TILE(X) X(3, 2); X(4, 2); X(6, 2); X(5, 4); X(6, 4); X(7, 4); X(8, 4); X(8, 6)

INLINE ptrdiff_t slabs_of(const Geometry *g) { return ceil_div(g->IC, VL); }
INLINE ptrdiff_t phases_of(const Geometry *g) { return g->SH * g->SW; }

/* Which image a picture belongs to, and its place among the interleaved ones. */
typedef struct {
    ptrdiff_t image, h, w;
} Picture;

INLINE Picture picture_at(const Geometry *g, ptrdiff_t i)
{
    const ptrdiff_t height = least(g->DH, g->OH), width = least(g->DW, g->OW);
    return (Picture){i / (height * width), i / width % height, i % width};
}

/* The inputs of m × m outputs overlap by r − 1; planes of rows lie an odd number apart. */
INLINE ptrdiff_t patch_rows(const Winograd *w, const TileBlock *b)
{
    return b->rows * w->m + w->r - 1;
}
INLINE ptrdiff_t patch_cols(const Winograd *w, const TileBlock *b)
{
    return b->cols * w->m + w->r - 1;
}

#endif
