/* The product with vectors along the pixels of a row: weights are read as they are, and where rows
 * suit the vectors the sums go straight to where they belong.
 */
#ifndef FASTCONV_ALONG_PIXELS_H
#define FASTCONV_ALONG_PIXELS_H

#include "dots.h"
#include "sums.h"

enum {
    PIXEL_TERMS = LARGEST_DENSE / VL / DENSE_V, /* of a pass over the tiles of a strip */
    /* A gathered sum of at most SHORT terms is best in tiles of few channels and many vectors, which
     * read few scalars and write long runs: of LOW, or more where strips are narrow. */
    SHORT = 288,
    LOW = 4,
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
    ptrdiff_t tall;             /* the first so many pieces have M + 1 channels, the others M */
    int M, V;                   /* V: vectors of the widest strip */
} Shape;

INLINE Shape shape_of(const Block *b, ptrdiff_t lanes)
{
    const ptrdiff_t n = b->group_pixels ? b->geometry->OC : b->channels;
    const int low = all_terms(b) <= SHORT && !b->in_place;
    const ptrdiff_t vectors = most(1, lanes / VL);
    const int wide = (int)ceil_div(vectors, ceil_div(vectors, widest(LOW))); /* a strip of theirs */
    const ptrdiff_t tall = low ? least(tallest(wide), TALLEST_ALONG_PIXELS) : TALLEST_ALONG_PIXELS;
    const ptrdiff_t pieces = ceil_div(n, tall);
    const int V = widest((int)ceil_div(n, pieces));
    return (Shape){n, pieces, n % pieces, (int)(n / pieces), (int)most(1, least(V, lanes / VL))};
}

/* All sums of one strip, whose pixels begin at x; those of the strip after it at `next`. With the
 * last strip of a plane go the pixels after it, if they are left to dot products. */
static void multiply_strip(const Block *b, const Shape *shape, int V, const real *x,
                           const real *next, real *sums, ptrdiff_t pitch, ptrdiff_t tail)
{
    const ptrdiff_t pieces = shape->pieces, row = all_terms(b);
    const ptrdiff_t passes = ceil_div(b->terms, PIXEL_TERMS);
    const int dense = pieces > 2 && V <= DENSE_V;
    for (ptrdiff_t pass = 0; pass < passes; pass++) {
        const ptrdiff_t k = first_of(pass, passes, b->terms);
        const ptrdiff_t end = first_of(pass + 1, passes, b->terms);
        const int start = !b->first && !k, more = pass + 1 < passes;
        TileJob job = {
            .terms = end - k, .offsets = b->offsets + k, .w_pitch = row, .sums_pitch = pitch,
            .dense = b->dense, .next = more ? x : next,
            .next_offsets = b->offsets + (more ? end : 0),
            .next_terms = !b->in_place ? 0
                : first_of(more ? pass + 2 : 1, passes, b->terms) - (more ? end : 0),
            .every = pieces,
        };
        const real *w = (const real *)b->weights + b->first + k;
        const real *bias = b->bias, *pixels = x;
        real *to = sums;
        for (ptrdiff_t c = 0; c < b->channels; c += shape->channels) {
            for (ptrdiff_t piece = 0; piece < pieces; piece++) {
                const int M = shape->M + (piece < shape->tall);
                const int from = !dense ? FROM_PIXELS : piece ? FROM_DENSE : LEAVING_DENSE;
                tiles_along_pixels[from][V][M](&job, pixels, w, start ? bias : NULL, to);
                if (tail)
                    dots_of[tail](&job, tail_factors(b) + k, b->terms, M, w, start ? bias : NULL,
                                  to + V * VL);
                w += M * row;
                bias += M;
                to += M * pitch;
            }
            pixels += b->group_pixels;
        }
    }
}

/* Sums that are complete after one strip, straight into a row of `out`. */
static void multiply_row(const Block *b, const Shape *shape, ptrdiff_t r, ptrdiff_t lanes,
                         ptrdiff_t tail)
{
    const Geometry *g = b->geometry;
    const ptrdiff_t strips = ceil_div(ceil_div(lanes, VL), shape->V);
    const real *x = (const real *)b->pixels + r * b->pitch;
    real *out = (real *)b->out + r * g->out_h;
    for (ptrdiff_t i = 0; i < strips; i++) {
        const Strip strip = strip_of(i, strips, lanes);
        const ptrdiff_t left = i == strips - 1 ? tail : 0;
        multiply_strip(b, shape, (int)(strip.width / VL), x + strip.lane,
                       x + strip.lane + strip.width, out + strip.lane, g->out_c, left);
        activate_sums(b, out + strip.lane, b->channels, g->out_c, strip.width + left);
    }
}

/* The same for all rows, where they stay near: a few channels at a time, so that memory is
 * written in long runs, past the caches where the result would fill them. */
static void multiply_near_rows(const Block *b, const Shape *shape, ptrdiff_t lanes)
{
    const Geometry *g = b->geometry;
    const ptrdiff_t strips = ceil_div(ceil_div(lanes, VL), shape->V);
    const ptrdiff_t pitch = b->past ? ceil_div(lanes, VL) * VL : g->out_c;
    TileJob job = {.terms = b->terms, .offsets = b->offsets, .w_pitch = b->terms,
                   .sums_pitch = pitch, .every = b->terms};
    const real *w = b->weights, *bias = b->bias;
    real *out = b->out;
    for (ptrdiff_t piece = 0; piece < shape->pieces; piece++) {
        const int M = shape->M + (piece < shape->tall);
        for (ptrdiff_t r = 0; r < b->at.rows; r++) {
            const real *x = (const real *)b->pixels + r * b->pitch;
            real *row = out + r * g->out_h, *sums = b->past ? b->sums : row;
            for (ptrdiff_t i = 0; i < strips; i++) {
                const Strip strip = strip_of(i, strips, lanes);
                tiles_along_pixels[FROM_PIXELS][strip.width / VL][M](
                    &job, x + strip.lane, w, bias, sums + strip.lane);
            }
            activate_sums(b, sums, M, pitch, lanes);
            for (int m = 0; m < M && b->past; m++)
                stream_run(sums + m * pitch, row + m * g->out_c, lanes);
        }
        w += M * b->terms;
        bias += M;
        out += M * g->out_c;
    }
    if (b->past)
        vfence();
}

static int is_near(const Block *b)
{
    const Geometry *g = b->geometry;
    const ptrdiff_t height = b->at.rows * g->SH + g->KH * g->DH;
    const ptrdiff_t cells = b->in_place ? b->at.cols : height * g->SW * b->pitch;
    return !b->group_pixels && b->terms <= NEAR_TERMS && g->IC * cells <= NEAR_CELLS;
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
    const int last = b->first + b->terms == all_terms(b), rows_are_dense = b->geometry->out_w == 1;
    for (ptrdiff_t i = 0; i < strips; i++) {
        const Strip strip = strip_of(i, strips, lanes);
        const real *x = (const real *)b->pixels + strip.lane;
        real *sums = (real *)b->sums + strip.place * b->channels;
        multiply_strip(b, &shape, (int)(strip.width / VL), x, x + strip.width, sums, strip.width,
                       0);
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
    if (tail > MOST_DOTS || tail * b->terms > LARGEST_TAIL || b->group_pixels)
        return 0;
    return least(most(tail - (plane - end), 0), b->at.rows * b->at.cols);
}

/* The same products where the block has no whole strip before them. */
static void multiply_tail(const Block *b, ptrdiff_t from, ptrdiff_t tail)
{
    const ptrdiff_t passes = ceil_div(b->terms, PIXEL_TERMS), out_c = b->geometry->out_c;
    real *out = (real *)b->out + from;
    for (ptrdiff_t pass = 0; pass < passes; pass++) {
        const ptrdiff_t k = first_of(pass, passes, b->terms);
        const TileJob job = {.terms = first_of(pass + 1, passes, b->terms) - k,
                             .w_pitch = b->terms, .sums_pitch = out_c};
        dots_of[tail](&job, tail_factors(b) + k, b->terms, b->channels,
                      (const real *)b->weights + k, k ? NULL : b->bias, out);
    }
    activate_sums(b, out, b->channels, out_c, tail);
}

static void product_along_pixels(const Block *block)
{
    Block b = *block;
    const Geometry *g = b.geometry;
    const int complete = !b.first && b.terms == all_terms(&b) && g->out_w == 1;
    const int rows_continue = g->OH == 1
        || (b.pitch == g->OW && g->out_h == g->OW * g->out_w);
    const ptrdiff_t tail = complete && rows_continue ? tail_of(&b) : 0;
    if (rows_continue) {
        b.at.cols *= b.at.rows;
        b.at.rows = 1;
        b.pitch = b.at.cols;
    }
    b.at.cols -= tail;
    const ptrdiff_t rows = b.at.rows, cols = b.at.cols, run = (rows - 1) * b.pitch + cols;
    if (tail)
        gather_tail(&b, cols, tail);
    /* Row by row there may be more idle lanes, but sums are stored only once. */
    if (complete && cols >= VL
        && rows * ceil_div(cols, VL) * b.terms <= ceil_div(run, VL) * (b.terms + STORING)) {
        const Shape shape = shape_of(&b, cols);
        if (!tail && is_near(&b)) {
            multiply_near_rows(&b, &shape, cols);
            return;
        }
        for (ptrdiff_t r = 0; r < rows; r++)
            multiply_row(&b, &shape, r, cols, tail);
        return;
    }
    if (cols)
        multiply_run(&b, run);
    if (tail)
        multiply_tail(&b, cols, tail);
}

#endif
