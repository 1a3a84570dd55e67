/* Windows of a few pixels that walk along a row of them, channels in the vector.
 *
 * The rows of a window are joined first and then its columns, which stay in registers while they
 * are in the window: a pixel is loaded once for each strip of rows of windows that it is in. The
 * twin of slide.h where channels are neighbours in memory; sums have the same order.
 */
#ifndef FASTCONV_WALK_H
#define FASTCONV_WALK_H

#include "slide.h"

/* What the strips of a pooling have in common. */
typedef struct {
    ptrdiff_t width, before, OW; /* of pixels */
    ptrdiff_t x_w, out_w, out_h; /* from pixel to pixel, from row to row */
    ptrdiff_t channels;
} Walk;

enum {
    WALK_VECTORS = VEC_BYTES == 64 ? 4 : 2, /* of channels at once: as many as there are registers */
    WALK_ROWS = 2,
    WALK_AHEAD = 8,     /* pixels by which memory is asked for beforehand */
    WALK_BYTES = 16384, /* of the pixels of a row whose channels are all done before others */
    FEWEST_PIXELS = 16  /* of these, so that little is joined twice */
};

/* Column `col` of the rows of `count` windows joined, and `numbers` where there is no NaN. */
INLINE mask join_pixel(const int op, const int stride, const ptrdiff_t high, const int count,
                       const int V, const real *const *rows, const Walk *walk, ptrdiff_t col,
                       const mask *some, vec joined[][WALK_VECTORS], mask numbers)
{
    const vec nothing = vsplat(start_of(op));
    if (col < 0 || col >= walk->width) {
#pragma GCC unroll 4
        for (int r = 0; r < count; r++)
            for (int v = 0; v < V; v++)
                joined[r][v] = nothing;
        return numbers;
    }
    for (ptrdiff_t i = 0; i < (count - 1) * stride + high; i++)
        __builtin_prefetch(rows[i] + (col + WALK_AHEAD) * walk->x_w);
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
        vec cells[4];
        numbers = join_rows(op, stride, high, count, rows, col * walk->x_w + v * VL, some, cells,
                            numbers);
#pragma GCC unroll 4
        for (int r = 0; r < count; r++)
            joined[r][v] = cells[r];
    }
    return numbers;
}

/* Windows from … to − 1 of `count` rows, V vectors of their channels, or `some` of one. */
INLINE mask walk_vectors(const int op, const int taps, const int stride, const ptrdiff_t high,
                         const int count, const int V, const Walk *given_walk, const Strip *given,
                         ptrdiff_t channel, ptrdiff_t from, ptrdiff_t to, const mask *some)
{
    /* Copies, because stores could change what pointers lead to. */
    const Walk walk = *given_walk;
    const real *rows[MOST_ROWS], *divisors = given->divisors;
    Strip strip = {.finish = given->finish};
    for (ptrdiff_t i = 0; i < (count - 1) * stride + high; i++)
        rows[i] = given->rows[i] + channel;
    real *out = given->out + from * walk.out_w + channel;
    const int fresh = taps < stride ? taps : stride;
    vec ring[5][4][WALK_VECTORS];
    mask numbers = vbetween(0, VL);
#pragma GCC unroll 4
    for (int t = fresh; t < taps; t++)
        numbers = join_pixel(op, stride, high, count, V, rows, &walk,
                             from * stride - walk.before + t - fresh, some, ring[t], numbers);
    for (ptrdiff_t ow = from; ow < to; ow++, out += walk.out_w) {
        mask here = vbetween(0, VL);
#pragma GCC unroll 5
        for (int t = 0; t < taps; t++)
            if (t < taps - fresh) {
                for (int r = 0; r < count; r++)
                    for (int v = 0; v < V; v++)
                        ring[t][r][v] = ring[t + fresh][r][v];
            } else {
                here = join_pixel(op, stride, high, count, V, rows, &walk,
                                  ow * stride - walk.before + t, some, ring[t], here);
            }
        numbers &= here;
        if (divisors)
            strip.finish.divisor = divisors[ow];
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            vec sums[4];
#pragma GCC unroll 4
            for (int r = 0; r < count; r++) {
                sums[r] = ring[0][r][v];
#pragma GCC unroll 4
                for (int t = 1; t < taps; t++)
                    sums[r] = vtake_plain(op, sums[r], ring[t][r][v]);
            }
            if (op == OP_SUM)
                finish_sums(&strip, count, sums, 0, 0);
#pragma GCC unroll 4
            for (int r = 0; r < count; r++)
                if (some)
                    vstore_where(*some, out + r * walk.out_h, sums[r]);
                else
                    vstore(out + r * walk.out_h + v * VL, sums[r]);
        }
    }
    return numbers;
}

/* All channels of `count` rows of windows, and whether no NaN was met. */
INLINE int walk_strip(const int op, const int taps, const int stride, const ptrdiff_t high,
                      const int count, const Walk *walk, const Strip *strip)
{
    mask numbers = vbetween(0, VL);
    const ptrdiff_t most_pixels = WALK_BYTES / (ptrdiff_t)sizeof(real) / walk->channels / stride;
    const ptrdiff_t block = most(most_pixels, FEWEST_PIXELS);
    for (ptrdiff_t ow = 0; ow < walk->OW; ow += block) {
        const ptrdiff_t end = least(ow + block, walk->OW);
        ptrdiff_t c = 0;
        for (; c <= walk->channels - WALK_VECTORS * VL; c += WALK_VECTORS * VL)
            numbers &= walk_vectors(op, taps, stride, high, count, WALK_VECTORS, walk, strip, c,
                                    ow, end, NULL);
        for (; c < walk->channels; c += VL) {
            const mask some = vbetween(0, least(walk->channels - c, VL));
            numbers &= walk_vectors(op, taps, stride, high, count, 1, walk, strip, c, ow, end,
                                    &some);
        }
    }
    return op != OP_MAX || vall(numbers);
}

typedef int (*Walking)(const Walk *walk, const Strip *strip);

/* What walks windows of a kind: `strip` WALK_ROWS rows of windows as high as they are wide, their
 * rows `stride` apart, `line` one row of windows of any height. */
typedef struct {
    Walking strip, line;
} Walks;

#define DEFINE_WALK(op, taps, stride) \
    static int walk_strip_##op##taps##stride(const Walk *walk, const Strip *strip) \
    { \
        return walk_strip(op, taps, stride, taps, WALK_ROWS, walk, strip); \
    } \
    static int walk_line_##op##taps##stride(const Walk *walk, const Strip *strip) \
    { \
        return walk_strip(op, taps, stride, strip->high, 1, walk, strip); \
    }
ALL_SLIDES(DEFINE_WALK, OP_MAX)
ALL_SLIDES(DEFINE_WALK, OP_SUM)

#define LIST_WALK(op, taps, stride) \
    [op][taps][stride] = {walk_strip_##op##taps##stride, walk_line_##op##taps##stride},
static const Walks walking_kernels[OP_SUM + 1][6][4] = {
    ALL_SLIDES(LIST_WALK, OP_MAX) ALL_SLIDES(LIST_WALK, OP_SUM)
};

/* What walks these windows, or NULL: their channels must be worth vectors. */
INLINE const Walks *walks_for(int op, ptrdiff_t rows, const Windows *columns, ptrdiff_t channels)
{
    if (channels < VL || !slides_for(op, rows, columns))
        return NULL;
    return &walking_kernels[op][columns->taps][columns->stride];
}

#endif
