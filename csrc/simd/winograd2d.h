/* Winograd's F(4×4, 4×4) on planes, for large kernels on few channels.
 *
 * At each of the α² = 49 points a convolution by a KH×KW kernel becomes one by a kernel of
 * KH/4 × KW/4, on planes of a quarter of the height and the width (planes.h computes them): 49
 * products for 256. The lanes of a vector are tiles side by side: four vectors of pixels are parted
 * into the columns of tiles, and what a tile reads of the next one is a neighbour's lane.
 *
 * The transform is that of S. Winograd, "Arithmetic complexity of computations", 1980, nested in
 * two dimensions; larger kernels are sums of groups of four by four taps.
 */
#ifndef FASTCONV_WINOGRAD2D_H
#define FASTCONV_WINOGRAD2D_H

#include "parting.h"
#include "span.h"
#include "tile_lines.h"
#include "winograd_transforms.h"

enum {
    SQUARE = GROUP_TILE,
    WIDE = SQUARE * VL, /* columns of a vector of tiles */
    HELD = 8,           /* lines at their points, the last of which the next row of tiles needs */
    /* Rows of values that all of it takes: lines at their points, and one of pixels, which is a
     * vector of tiles longer. The outputs of a row of tiles take fewer. */
    SQUARE_LINES = HELD * GROUP_POINTS + 2 * SQUARE
};

/* `count` vectors of tiles of one line, from pixels to the points of the row; n points further
 * apart by `pitch`. The vector after the last is read too. */
static void line_to_points(const real *x, ptrdiff_t count, real *to, ptrdiff_t pitch)
{
    vec near[PARTS], next[PARTS];
    part_columns(x, near);
    for (ptrdiff_t k = 0; k < count; k++) {
        part_columns(x + (k + 1) * WIDE, next);
        vec v[GROUP_POINTS];
        const vec d[GROUP_POINTS] = {
            near[0], near[1], near[2], near[3], vneighbours(near[0], next[0], 1),
            vneighbours(near[1], next[1], 1), vneighbours(near[2], next[2], 1),
        };
        to_points(GROUP_POINTS, d, v);
#pragma GCC unroll 8
        for (int b = 0; b < GROUP_POINTS; b++)
            vstore(to + b * pitch + k * VL, v[b]);
#pragma GCC unroll 4
        for (int i = 0; i < PARTS; i++)
            near[i] = next[i];
    }
}

/* The points of a row of tiles, from its lines at theirs; `first` is the number of the first. */
static void lines_to_points(const real *held, ptrdiff_t first, ptrdiff_t pitch, ptrdiff_t n,
                            real *to, ptrdiff_t point)
{
    for (int b = 0; b < GROUP_POINTS; b++) {
        const real *line[GROUP_POINTS];
        for (int i = 0; i < GROUP_POINTS; i++)
            line[i] = held + ((first + i) % HELD * GROUP_POINTS + b) * pitch;
        for (ptrdiff_t k = 0; k < n; k += VL) {
            vec d[GROUP_POINTS], v[GROUP_POINTS];
#pragma GCC unroll 8
            for (int i = 0; i < GROUP_POINTS; i++)
                d[i] = vload(line[i] + k);
            to_points(GROUP_POINTS, d, v);
#pragma GCC unroll 8
            for (int a = 0; a < GROUP_POINTS; a++)
                vstore(to + (a * GROUP_POINTS + b) * point + k, v[a]);
        }
    }
}

static void squares_in(const TapGroups *c, const void *x_, ptrdiff_t tile, ptrdiff_t tiles,
                       ptrdiff_t col, ptrdiff_t cols, void *values_, void *lines_)
{
    const Geometry *g = &c->geometry;
    const ptrdiff_t left = col * SQUARE - g->PL, pitch = c->values_row;
    /* Vectors of tiles: whole ones of outputs, and of what they read. */
    const ptrdiff_t whole = (cols + VL - 1) / VL, count = whole + (c->across - 1 + VL - 1) / VL;
    const ptrdiff_t width = (count + 1) * WIDE;
    const int in_place = g->x_w == 1 && left >= 0 && left + width <= g->IW;
    const Span span = inside(left, 1, width, g->IW);
    real *held = lines_, *pixels = held + HELD * GROUP_POINTS * pitch;
    for (ptrdiff_t ic = 0; ic < g->IC; ic++) {
        const real *x = (const real *)x_ + ic * g->x_c + left * g->x_w;
        real *values = (real *)values_ + ic * c->values_plane;
        for (ptrdiff_t q = 0; q < tiles + c->down - 1; q++) {
            const ptrdiff_t first = q * SQUARE;
            for (ptrdiff_t i = q ? first + GROUP_TAPS - 1 : 0; i < first + GROUP_POINTS; i++) {
                const ptrdiff_t h = tile * SQUARE + i - g->PT;
                const real *line = x + h * g->x_h;
                if (!in_place || h < 0 || h >= g->IH) {
                    gather_row(g, line, 1, h, span, 1, pixels, 0, width);
                    line = pixels;
                }
                line_to_points(line, count, held + i % HELD * GROUP_POINTS * pitch, pitch);
            }
            lines_to_points(held, first, pitch, count * VL, values + q * pitch,
                            g->IC * c->values_plane);
        }
    }
}

/* A vector of tiles, from its points to rows of pixels; the clamp and bias are theirs. */
INLINE void points_to_square(const real *from, ptrdiff_t point, vec start, const Clamp *clamp,
                             vec row[SQUARE][PARTS])
{
    vec half[SQUARE][GROUP_POINTS];
#pragma GCC unroll 8
    for (int b = 0; b < GROUP_POINTS; b++) {
        vec v[GROUP_POINTS], y[SQUARE];
#pragma GCC unroll 8
        for (int a = 0; a < GROUP_POINTS; a++)
            v[a] = vload(from + (a * GROUP_POINTS + b) * point);
        from_points(GROUP_POINTS, SQUARE, v, y);
#pragma GCC unroll 4
        for (int i = 0; i < SQUARE; i++)
            half[i][b] = y[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < SQUARE; i++) {
        vec y[SQUARE];
        from_points(GROUP_POINTS, SQUARE, half[i], y);
#pragma GCC unroll 4
        for (int j = 0; j < SQUARE; j++)
            y[j] = clamp->is_needed ? clamped(clamp, y[j] + start) : y[j] + start;
        join_columns(y, row[i]);
    }
}

static void squares_out(const TapGroups *c, const void *products_, const void *bias_,
                        ptrdiff_t tile, ptrdiff_t tiles, ptrdiff_t col, ptrdiff_t cols,
                        void *out_, void *lines_)
{
    const Geometry *g = &c->geometry;
    const Clamp clamp = clamp_of(c->activation);
    const int in_place = g->out_w == 1;
    const ptrdiff_t width = least(cols * SQUARE, g->OW - col * SQUARE);
    const ptrdiff_t point = g->OC * c->products_plane;
    const real *bias = bias_;
    real *lines = lines_;
    for (ptrdiff_t oc = 0; oc < g->OC; oc++)
        for (ptrdiff_t t = 0; t < tiles; t++) {
            const ptrdiff_t oh = (tile + t) * SQUARE, rows = least(SQUARE, g->OH - oh);
            const vec start = vsplat(bias ? bias[oc] : 0);
            const real *from = (const real *)products_ + oc * c->products_plane
                + t * c->products_row;
            real *out = (real *)out_ + oc * g->out_c + oh * g->out_h + col * SQUARE * g->out_w;
            real *to = in_place ? out : lines;
            const ptrdiff_t pitch = in_place ? g->out_h : SQUARE * c->products_row;
            for (ptrdiff_t k = 0; k < width; k += WIDE) {
                vec row[SQUARE][PARTS];
                points_to_square(from + k / SQUARE, point, start, &clamp, row);
#pragma GCC unroll 4
                for (int i = 0; i < SQUARE; i++) {
                    if (i >= rows)
                        break;
#pragma GCC unroll 4
                    for (int j = 0; j < PARTS; j++) {
                        const ptrdiff_t at = k + j * VL;
                        if (at + VL <= width)
                            vstore(to + i * pitch + at, row[i][j]);
                        else if (at < width)
                            vstore_n(to + i * pitch + at, width - at, row[i][j]);
                    }
                }
            }
            finish_lines(c, &clamp, rows, width, to, pitch, out);
        }
}

#endif
