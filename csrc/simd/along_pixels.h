/* The product with vectors along the pixels of a row: weights are read as they are, and where rows
 * suit the vectors the sums go straight to where they belong.
 */
#ifndef FASTCONV_ALONG_PIXELS_H
#define FASTCONV_ALONG_PIXELS_H

#include "dots.h"
#include "sums.h"

enum {
    PIXEL_TERMS = LARGEST_DENSE / VL / DENSE_V, /* of a pass over the tiles of a strip */
    STORING = 8, /* terms that would take as long as storing sums twice */
};

/* Lanes of a run, one after another in memory, those between rows included. */
typedef struct {
    ptrdiff_t place; /* the strip's sums begin at place * channels */
    ptrdiff_t lane, width;
} Strip;

/* The last strip moves back so that it ends with the last lane, where there are enough lanes: it
 * computes some of them again, and nothing beyond the pixels is read. */
INLINE Strip strip_of(ptrdiff_t i, ptrdiff_t strips, ptrdiff_t lanes)
{
    const ptrdiff_t vectors = ceil_div(lanes, VL), place = first_of(i, strips, vectors) * VL;
    const ptrdiff_t width = first_of(i + 1, strips, vectors) * VL - place;
    return (Strip){place, most(least(place, lanes - width), 0), width};
}

/* How a block's work is cut: its groups, and the channels of a group in equal pieces. */
typedef struct {
    ptrdiff_t channels, pieces; /* of a group */
    int V;                      /* vectors of the widest strip */
} Shape;

INLINE Shape shape_of(const Block *b, ptrdiff_t lanes)
{
    const ptrdiff_t n = b->group_pixels ? b->geometry->OC : b->channels;
    const ptrdiff_t pieces = ceil_div(n, TALLEST_ALONG_PIXELS);
    const int V = widest((int)ceil_div(n, pieces));
    return (Shape){n, pieces, (int)most(1, least(V, lanes / VL))};
}

/* All sums of one strip, whose pixels begin at x; those of the strip after it at `next`. */
static void multiply_strip(const Block *b, const Shape *shape, int V, const real *x,
                           const real *next, real *sums, ptrdiff_t pitch)
{
    const ptrdiff_t n = shape->channels, pieces = shape->pieces;
    const ptrdiff_t row = b->geometry->IC * b->geometry->KH * b->geometry->KW;
    const ptrdiff_t passes = ceil_div(b->terms, PIXEL_TERMS);
    const int dense = pieces > 2 && V <= DENSE_V;
    for (ptrdiff_t pass = 0; pass < passes; pass++) {
        const ptrdiff_t k = first_of(pass, passes, b->terms);
        const ptrdiff_t end = first_of(pass + 1, passes, b->terms);
        const int more = pass + 1 < passes;
        TileJob job = {
            .terms = end - k, .offsets = b->offsets + k, .w_pitch = row, .sums_pitch = pitch,
            .dense = b->dense, .next = more ? x : next,
            .next_offsets = b->offsets + (more ? end : 0),
            .next_terms = first_of(more ? pass + 2 : 1, passes, b->terms) - (more ? end : 0),
            .every = b->in_place ? pieces : 0,
        };
        const real *w = (const real *)b->weights + b->first + k;
        const real *bias = b->bias, *pixels = x;
        real *to = sums;
        for (ptrdiff_t c = 0; c < b->channels; c += n) {
            for (ptrdiff_t piece = 0; piece < pieces; piece++) {
                const ptrdiff_t from = first_of(piece, pieces, n);
                const ptrdiff_t M = first_of(piece + 1, pieces, n) - from;
                const int source = !dense ? FROM_PIXELS : piece ? FROM_DENSE : LEAVING_DENSE;
                tiles_along_pixels[source][V][M](&job, pixels, w + from * row,
                                                 b->first + k ? NULL : bias + from,
                                                 to + from * pitch);
            }
            pixels += b->group_pixels;
            w += n * row;
            bias += n;
            to += n * pitch;
        }
    }
}

/* Sums that are complete after one strip, straight into rows of `out`. */
static void multiply_rows(const Block *b, ptrdiff_t rows, ptrdiff_t lanes)
{
    const Geometry *g = b->geometry;
    const Shape shape = shape_of(b, lanes);
    const ptrdiff_t strips = ceil_div(ceil_div(lanes, VL), shape.V);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t i = 0; i < strips; i++) {
            const Strip strip = strip_of(i, strips, lanes);
            const real *x = (const real *)b->pixels + r * b->pitch + strip.lane;
            real *out = (real *)b->out + r * g->out_h + strip.lane;
            multiply_strip(b, &shape, (int)(strip.width / VL), x, x + strip.width, out, g->out_c);
            activate_sums(b, out, b->channels, g->out_c, strip.width);
        }
}

/* A strip's sums to wherever a pixel's place in `out` is. */
static void store_strip(const Block *b, Strip strip)
{
    const Geometry *g = b->geometry;
    const real *sums = (const real *)b->sums + strip.place * b->channels - strip.lane;
    const ptrdiff_t end = strip.lane + strip.width;
    for (ptrdiff_t r = strip.lane / b->pitch; r < b->at.rows && r * b->pitch < end; r++) {
        const ptrdiff_t low = most(strip.lane, r * b->pitch);
        const ptrdiff_t high = least(end, r * b->pitch + b->at.cols);
        if (low < high)
            move(b->channels, high - low, sums + low, strip.width, 1,
                 (real *)b->out + r * g->out_h + (low - r * b->pitch) * g->out_w, g->out_c,
                 g->out_w);
    }
}

/* All sums into dense rows, channel after channel, so that memory is written in long runs. */
static void store_rows(const Block *b, ptrdiff_t strips, ptrdiff_t lanes)
{
    const Geometry *g = b->geometry;
    for (ptrdiff_t c = 0; c < b->channels; c++) {
        ptrdiff_t i = 0;
        Strip strip = strip_of(0, strips, lanes);
        for (ptrdiff_t r = 0; r < b->at.rows; r++) {
            real *out = (real *)b->out + c * g->out_c + r * g->out_h - r * b->pitch;
            ptrdiff_t lane = r * b->pitch;
            const ptrdiff_t end = lane + b->at.cols;
            while (lane < end) {
                while (lane >= strip.lane + strip.width)
                    strip = strip_of(++i, strips, lanes);
                const ptrdiff_t stop = least(end, strip.lane + strip.width);
                const real *sums = (const real *)b->sums + strip.place * b->channels
                    + c * strip.width - strip.lane;
                copy_run(sums + lane, out + lane, stop - lane);
                lane = stop;
            }
        }
    }
}

/* One run over all rows, the cells between them included; the sums wait in the block's memory. */
static void multiply_run(const Block *b, ptrdiff_t lanes)
{
    const Shape shape = shape_of(b, lanes);
    const ptrdiff_t strips = ceil_div(ceil_div(lanes, VL), shape.V);
    const int last = is_last(b), rows_are_dense = b->geometry->out_w == 1;
    for (ptrdiff_t i = 0; i < strips; i++) {
        const Strip strip = strip_of(i, strips, lanes);
        const real *x = (const real *)b->pixels + strip.lane;
        real *sums = (real *)b->sums + strip.place * b->channels;
        multiply_strip(b, &shape, (int)(strip.width / VL), x, x + strip.width, sums, strip.width);
        if (last)
            activate_sums(b, sums, b->channels, strip.width, strip.width);
        if (last && !rows_are_dense)
            store_strip(b, strip);
    }
    if (last && rows_are_dense)
        store_rows(b, strips, lanes);
}

/* How many of a block's pixels are left to dot products: the last of the plane, a few beyond whole
 * vectors, so that it does not depend on how the plane was cut. */
static ptrdiff_t tail_of(const Block *b)
{
    const Geometry *g = b->geometry;
    const ptrdiff_t plane = g->OH * g->OW, tail = plane % VL;
    const ptrdiff_t end = (b->at.oh + b->at.rows - 1) * g->OW + b->at.ow + b->at.cols;
    if (tail > MOST_DOTS || tail * (b->terms + VL) > LARGEST_DENSE || b->group_pixels)
        return 0;
    return least(most(tail - (plane - end), 0), b->at.rows * b->at.cols);
}

static void product_along_pixels(const Block *block)
{
    Block b = *block;
    const Geometry *g = b.geometry;
    const int complete = !b.first && is_last(&b) && g->out_w == 1;
    const int rows_continue = g->OH == 1 || (b.pitch == g->OW && g->out_h == g->OW);
    const ptrdiff_t tail = complete && rows_continue ? tail_of(&b) : 0;
    if (rows_continue) {
        b.at.cols *= b.at.rows;
        b.at.rows = 1;
    }
    if (tail)
        multiply_dots(&b, tail);
    b.at.cols -= tail;
    const ptrdiff_t rows = b.at.rows, cols = b.at.cols, run = (rows - 1) * b.pitch + cols;
    /* Row by row there may be more idle lanes, but sums are stored only once. */
    if (complete && cols >= VL
        && rows * ceil_div(cols, VL) * b.terms <= ceil_div(run, VL) * (b.terms + STORING))
        multiply_rows(&b, rows, cols);
    else if (cols)
        multiply_run(&b, run);
}

#endif
