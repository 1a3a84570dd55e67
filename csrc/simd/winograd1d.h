/* Winograd's F(4, 4) down the columns of planes, for tall kernels on few channels.
 *
 * At each of the α = 7 points a convolution by a KH×KW kernel becomes one by a kernel of KH/4 rows,
 * on planes of a quarter of the height (planes.h computes them): 7 products for 16. Rows of pixels
 * stay as they are, so vectors run along them, and the transforms combine whole rows.
 *
 * The transform is that of S. Winograd, "Arithmetic complexity of computations", 1980, in one
 * dimension; longer kernels are sums of groups of four taps.
 */
#ifndef FASTCONV_WINOGRAD1D_H
#define FASTCONV_WINOGRAD1D_H

#include "tile_lines.h"
#include "winograd_transforms.h"

enum {
    RING = 8,               /* lines that are copied and still needed: a tile's and the next row */
    COLUMN_LINES = RING + 1 /* of values, with one of zeros; the outputs of a tile take fewer */
};

/* Columns `left` … left + n of row h of a channel, padding written out. */
static const real *padded_line(const Geometry *g, const real *x, ptrdiff_t h, ptrdiff_t left,
                               ptrdiff_t n, int in_place, real *lines, ptrdiff_t i, ptrdiff_t pitch)
{
    if (h < 0 || h >= g->IH)
        return lines + RING * pitch; /* zeros */
    const real *row = x + h * g->x_h;
    if (in_place)
        return row + left;
    real *line = lines + i % RING * pitch;
    const ptrdiff_t from = least(most(left, 0), g->IW);
    const ptrdiff_t to = most(least(left + n, g->IW), from);
    const ptrdiff_t before = least(most(from - left, 0), n);
    zero_run(line, before);
    gather_run(row + from * g->x_w, g->x_w, line + before, to - from);
    zero_run(line + before + to - from, n - before - (to - from));
    return line;
}

static void columns_in(const TapGroups *c, const void *x_, ptrdiff_t tile, ptrdiff_t tiles,
                       ptrdiff_t col, ptrdiff_t cols, void *values_, void *lines_)
{
    const Geometry *g = &c->geometry;
    const ptrdiff_t reach = (g->KW - 1) * g->DW, left = col - g->PL, pitch = c->values_row;
    /* Whole vectors of outputs, and of what they read. */
    const ptrdiff_t n = (cols + VL - 1) / VL * VL + (reach + VL - 1) / VL * VL;
    const int in_place = g->x_w == 1 && left >= 0 && left + n <= g->IW;
    real *lines = lines_;
    zero_run(lines + RING * pitch, n);
    for (ptrdiff_t ic = 0; ic < g->IC; ic++) {
        const real *x = (const real *)x_ + ic * g->x_c, *rows[RING];
        for (ptrdiff_t q = 0; q < tiles + c->down - 1; q++) {
            const ptrdiff_t first = q * GROUP_TILE;
            for (ptrdiff_t i = q ? first + GROUP_TAPS - 1 : 0; i < first + GROUP_POINTS; i++)
                rows[i % RING] = padded_line(g, x, tile * GROUP_TILE + i - g->PT, left, n,
                                             in_place, lines, i, pitch);
            real *to = (real *)values_ + ic * c->values_plane + q * pitch;
            for (ptrdiff_t k = 0; k < n; k += VL) {
                vec d[GROUP_POINTS], v[GROUP_POINTS];
#pragma GCC unroll 8
                for (int i = 0; i < GROUP_POINTS; i++)
                    d[i] = vload(rows[(first + i) % RING] + k);
                to_points(GROUP_POINTS, d, v);
#pragma GCC unroll 8
                for (int a = 0; a < GROUP_POINTS; a++)
                    vstore(to + a * g->IC * c->values_plane + k, v[a]);
            }
        }
    }
}

static void columns_out(const TapGroups *c, const void *products_, const void *bias_,
                        ptrdiff_t tile, ptrdiff_t tiles, ptrdiff_t col, ptrdiff_t cols,
                        void *out_, void *line_)
{
    const Geometry *g = &c->geometry;
    const Clamp clamp = clamp_of(c->activation);
    const real *bias = bias_;
    real *line = line_;
    for (ptrdiff_t oc = 0; oc < g->OC; oc++)
        for (ptrdiff_t t = 0; t < tiles; t++) {
            const ptrdiff_t oh = (tile + t) * GROUP_TILE, rows = least(GROUP_TILE, g->OH - oh);
            const vec start = vsplat(bias ? bias[oc] : 0);
            const real *from = (const real *)products_ + oc * c->products_plane
                + t * c->products_row;
            real *out = (real *)out_ + oc * g->out_c + oh * g->out_h + col * g->out_w;
            const int in_place = g->out_w == 1;
            real *to = in_place ? out : line;
            const ptrdiff_t pitch = in_place ? g->out_h : c->products_row;
            for (ptrdiff_t k = 0; k < cols; k += VL) {
                vec v[GROUP_POINTS], y[GROUP_TILE];
#pragma GCC unroll 8
                for (int a = 0; a < GROUP_POINTS; a++)
                    v[a] = vload(from + a * g->OC * c->products_plane + k);
                from_points(GROUP_POINTS, GROUP_TILE, v, y);
#pragma GCC unroll 4
                for (int i = 0; i < GROUP_TILE; i++) {
                    const vec sum = clamped(&clamp, y[i] + start);
                    if (i >= rows)
                        break;
                    if (k + VL <= cols)
                        vstore(to + i * pitch + k, sum);
                    else
                        vstore_n(to + i * pitch + k, cols - k, sum);
                }
            }
            finish_lines(c, &clamp, rows, cols, to, pitch, out);
        }
}

#endif
