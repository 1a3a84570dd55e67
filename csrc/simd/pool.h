/* Pooling: every output is one window of cells, reduced to their maximum or their sum.
 *
 * A vector holds neighbouring outputs. Where the channels are neighbours in memory
 * (pool_channels) it takes the window's cells one by one. Where the columns are (pool_planes)
 * the rows of a window are reduced first and then its columns, KH + KW steps in place of
 * KH · KW: in registers for the usual small windows, else through a row of the picture's width
 * that stays in cache. Windows at the border or of uneven width are reduced one at a time.
 */
#ifndef FASTCONV_POOL_H
#define FASTCONV_POOL_H

#include "reduce.h"
#include "windows.h"

/* ---------------------------------------------------------------- the windows of a pooling */

INLINE ptrdiff_t cells(const Windows *windows, ptrdiff_t i)
{
    const ptrdiff_t span = windows->stop[i] - windows->first[i];
    if (windows->step == 1)
        return span;
    return span > 0 ? (span + windows->step - 1) / windows->step : 0;
}

/* Even a window that lies in the padding altogether has a valid one. */
INLINE int64_t first_index(const Pooling *p, ptrdiff_t oh, ptrdiff_t ow)
{
    const int64_t h = p->rows.first[oh], w = p->columns.first[ow];
    return (h < p->height ? h : p->height - 1) * p->width + (w < p->width ? w : p->width - 1);
}

INLINE int op_of(const Pooling *p)
{
    if (p->mode != POOL_LP)
        return p->mode == POOL_MAX ? OP_MAX : OP_SUM;
    return p->norm == 1 ? OP_ABS : p->norm == 2 ? OP_SQUARE : OP_POWER;
}

/* A division by a power of two is a multiplication to the bit. */
INLINE void set_finish(const Pooling *p, int64_t count, Run *run)
{
    run->finish = FINISH_NONE;
    if (p->mode == POOL_AVG) {
        const int64_t divisor = p->divisor ? p->divisor : count;
        const int exact = divisor > 0 && (divisor & (divisor - 1)) == 0;
        run->finish = exact ? FINISH_SCALE : FINISH_DIVIDE;
        run->value = exact ? 1.0 / (double)divisor : (double)divisor;
    } else if (p->mode == POOL_LP && p->norm != 1) {
        run->finish = p->norm == 2 ? FINISH_ROOT2 : FINISH_ROOT;
        run->value = 1 / p->norm;
    }
}

/* ---------------------------------------------------------------- columns in the vector */

/* Reduce the columns ow … ow + n − 1 over `rows` rows whose cells follow one another. */
static void across(const Pooling *p, int op, const real *line, ptrdiff_t rows, ptrdiff_t oh,
                   ptrdiff_t ow, ptrdiff_t n, real *out)
{
    const Windows *columns = &p->columns;
    Run run = {
        .rows = rows, .row = p->rows.step * p->x.h,
        .taps = cells(columns, ow), .tap = columns->step,
        .x = line + columns->first[ow], .stride = columns->stride,
        .out = out + ow * p->out.w, .out_step = p->out.w, .n = n, .norm = p->norm,
    };
    set_finish(p, p->rows.count[oh] * columns->count[ow], &run);
    const int apart = run.tap == 1 && run.taps >= LONG_WINDOW && run.stride >= VL;
    if (n > 1 && !apart) {
        reduce(op, &run);
        return;
    }
    for (; n > 0; n--, run.x += run.stride, run.out += run.out_step)
        *run.out = reduce_window(op, &run);
}

static void pool_row(const Pooling *p, const real *x, real *out, ptrdiff_t oh, real *row)
{
    const Windows *columns = &p->columns;
    ptrdiff_t rows = cells(&p->rows, oh);
    const real *line = x + p->rows.first[oh] * p->x.h;
    int op = op_of(p);
    if (p->x.w != 1
        || (rows != 1 && !in_registers(rows, columns->taps, columns->step, columns->stride))) {
        const Run run = {
            .rows = rows, .row = p->rows.step * p->x.h, .taps = 1, .x = line, .stride = p->x.w,
            .out = row, .out_step = 1, .n = p->width, .norm = p->norm,
        };
        reduce(op, &run);
        line = row;
        rows = 1;
        op = joining(op);
    }
    const ptrdiff_t from = columns->regular_from, to = columns->regular_to;
    for (ptrdiff_t ow = 0; ow < from; ow++)
        across(p, op, line, rows, oh, ow, 1, out);
    if (from < to)
        across(p, op, line, rows, oh, from, to - from, out);
    for (ptrdiff_t ow = to; ow < p->OW; ow++)
        across(p, op, line, rows, oh, ow, 1, out);
}

static void maxima_across(const Pooling *p, const real *x, ptrdiff_t oh, ptrdiff_t ow,
                          ptrdiff_t n, real *out, int64_t *indices)
{
    const Windows *rows = &p->rows, *columns = &p->columns;
    const MaxRun run = {
        .rows = cells(rows, oh), .row = rows->step * p->x.h,
        .taps = cells(columns, ow), .tap = columns->step * p->x.w,
        .x = x + rows->first[oh] * p->x.h + columns->first[ow] * p->x.w,
        .stride = columns->stride * p->x.w,
        .out = out + ow * p->out.w, .out_step = p->out.w, .n = n,
        .indices = indices + ow * p->indices.w, .indices_step = p->indices.w,
        .index = first_index(p, oh, ow),
        .index_step = columns->stride, .index_row = rows->step * p->width,
        .index_tap = columns->step,
    };
    if (n > 1)
        maxima(&run);
    else
        maximum(&run);
}

static void maxima_row(const Pooling *p, const real *x, real *out, int64_t *indices,
                       ptrdiff_t oh)
{
    const Windows *columns = &p->columns;
    const int vectors = !p->wide_index && columns->taps < LONG_WINDOW;
    const ptrdiff_t from = vectors ? columns->regular_from : p->OW;
    const ptrdiff_t to = vectors ? columns->regular_to : p->OW;
    for (ptrdiff_t ow = 0; ow < from; ow++)
        maxima_across(p, x, oh, ow, 1, out, indices);
    if (from < to)
        maxima_across(p, x, oh, from, to - from, out, indices);
    for (ptrdiff_t ow = to; ow < p->OW; ow++)
        maxima_across(p, x, oh, ow, 1, out, indices);
}

/* The work items are output rows; `row` holds `width` cells. */
static void pool_planes(const Pooling *p, const void *x, void *out, int64_t *indices,
                        ptrdiff_t begin, ptrdiff_t end, void *row)
{
    ptrdiff_t oh = begin % p->OH;
    for (ptrdiff_t plane = begin / p->OH, item = begin; item < end; plane++, oh = 0) {
        const ptrdiff_t n = plane / p->C, c = plane % p->C;
        const real *x_plane = (const real *)x + n * p->x.n + c * p->x.c;
        real *out_plane = (real *)out + n * p->out.n + c * p->out.c;
        int64_t *indices_plane = indices
            ? indices + n * p->indices.n + c * p->indices.c : NULL;
        for (; oh < p->OH && item < end; oh++, item++)
            if (indices)
                maxima_row(p, x_plane, out_plane + oh * p->out.h,
                           indices_plane + oh * p->indices.h, oh);
            else
                pool_row(p, x_plane, out_plane + oh * p->out.h, oh, row);
    }
}

/* ---------------------------------------------------------------- channels in the vector */

/* Columns ow … ow + n − 1, which have windows alike and lie densely, of `channels` channels. */
static void pool_pixels(const Pooling *p, const real *x, real *out, int64_t *indices,
                        ptrdiff_t oh, ptrdiff_t ow, ptrdiff_t n, ptrdiff_t channels)
{
    const Windows *rows = &p->rows, *columns = &p->columns;
    const ptrdiff_t row = rows->step * p->x.h, tap = columns->step * p->x.w;
    x += rows->first[oh] * p->x.h + columns->first[ow] * p->x.w;
    out += ow * p->out.w;
    if (indices) {
        const MaxRun run = {
            .rows = cells(rows, oh), .row = row, .taps = cells(columns, ow), .tap = tap,
            .x = x, .stride = 1, .out = out, .out_step = 1, .n = channels,
            .indices = indices + ow * p->indices.w, .indices_step = p->indices.c,
            .index = first_index(p, oh, ow),
            .index_row = rows->step * p->width, .index_tap = columns->step,
        };
        maxima(&run);
        return;
    }
    Run run = {
        .rows = cells(rows, oh), .row = row, .taps = cells(columns, ow), .tap = tap,
        .x = x, .stride = 1, .out = out, .out_step = 1, .n = n * channels, .norm = p->norm,
    };
    set_finish(p, rows->count[oh] * columns->count[ow], &run);
    reduce(op_of(p), &run);
}

/* The work items are output rows, each in `channel_parts` parts. */
static void pool_channels(const Pooling *p, const void *x, void *out, int64_t *indices,
                          ptrdiff_t begin, ptrdiff_t end, void *row)
{
    (void)row;
    const Windows *columns = &p->columns;
    const ptrdiff_t parts = p->channel_parts, size = (p->C + parts - 1) / parts;
    /* Few channels leave lanes idle; at stride 1 the next pixel's can fill them. */
    const int joined = parts == 1 && !indices && p->C < 4 * VL && columns->stride == 1
        && p->x.w == p->C && p->out.w == p->C && columns->regular_from < columns->regular_to;
    const ptrdiff_t from = joined ? columns->regular_from : p->OW;
    const ptrdiff_t to = joined ? columns->regular_to : p->OW;
    for (ptrdiff_t item = begin; item < end; item++) {
        const ptrdiff_t part = item % parts, oh = item / parts % p->OH, n = item / parts / p->OH;
        const ptrdiff_t c = part * size;
        const ptrdiff_t channels = p->C - c < size ? p->C - c : size;
        if (channels <= 0)
            continue;
        const real *picture = (const real *)x + n * p->x.n + c;
        real *out_row = (real *)out + n * p->out.n + oh * p->out.h + c;
        int64_t *indices_row = indices
            ? indices + n * p->indices.n + oh * p->indices.h + c * p->indices.c : NULL;
        for (ptrdiff_t ow = 0; ow < from; ow++)
            pool_pixels(p, picture, out_row, indices_row, oh, ow, 1, channels);
        if (from < to)
            pool_pixels(p, picture, out_row, indices_row, oh, from, to - from, channels);
        for (ptrdiff_t ow = to; ow < p->OW; ow++)
            pool_pixels(p, picture, out_row, indices_row, oh, ow, 1, channels);
    }
}

#endif
