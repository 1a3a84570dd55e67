/* One plane by a kernel of few rows, stride 1 or 2: what straight_tile.h computes. */
#ifndef FASTCONV_STRAIGHT_H
#define FASTCONV_STRAIGHT_H

#include "block.h"
#include "clamp.h"

enum { LOWEST_KERNEL = 2, HIGHEST_KERNEL = 8 };

/* Whether this pays. Short vectors find too few registers for it. Parting the columns of every row,
 * once for each tile that meets it, does not pay for tall kernels where it takes several
 * instructions: a patch does it once. */
INLINE int has_straight(const ptrdiff_t KH, const ptrdiff_t S)
{
    const int highest = S == 1 ? HIGHEST_KERNEL : VEC_BYTES == 64 ? 7 : 4;
    return VEC_BYTES > 16 && KH >= LOWEST_KERNEL && KH <= highest;
}

/* One output plane. */
typedef struct {
    const real *x, *zeros; /* of the first channel; instead of rows outside the picture */
    ptrdiff_t channels, x_c, x_h, IH, IW;
    ptrdiff_t DH, DW, KW;
    const mask *masks; /* [edge][load]: the lanes in the picture; last those of whole vectors */
    ptrdiff_t edges, loads;
    const real *w; /* [ic][kw][kh] */
    real bias;
    Clamp clamp;
    real *out;
    ptrdiff_t out_h; /* between the rows of a tile */
} Straight;

/* Whether there is code for it, and the picture can be read where it lies. */
INLINE int is_straight(const Geometry *g)
{
    const int two = g->SH == 2 && g->SW == 2 && g->DH == 1 && g->DW == 1;
    return has_straight(g->KH, g->SH) && g->x_w == 1 && g->out_w == 1
        && (two || (g->SH == 1 && g->SW == 1));
}

/* Output rows first … stop − 1; the unit straight.c. */
void SYMBOL(straight)(const Geometry *g, Straight *s, ptrdiff_t first, ptrdiff_t stop);

#endif
