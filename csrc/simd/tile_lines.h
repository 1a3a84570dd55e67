/* Rows of outputs of a row of tiles, computed where they belong or in lines of memory. */
#ifndef FASTCONV_TILE_LINES_H
#define FASTCONV_TILE_LINES_H

#include "clamp.h"
#include "move.h"
#include "tap_groups.h"

/* What is left to do for the rows at `lines`, `pitch` apart, until they are the result at `out`. */
static void finish_lines(const TapGroups *c, const Clamp *clamp, ptrdiff_t rows, ptrdiff_t width,
                         real *lines, ptrdiff_t pitch, real *out)
{
    const Geometry *g = &c->geometry;
    const int in_place = lines == out;
    for (ptrdiff_t i = 0; i < rows; i++) {
        real *row = lines + i * pitch;
        if (clamp->rest != ACT_NONE)
            activate_dense(clamp->rest, vsplat((real)c->slope), row, row, width);
        if (!in_place)
            move(1, width, row, width, 1, out + i * g->out_h, g->out_h, g->out_w);
    }
}

#endif
