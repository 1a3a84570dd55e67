/* Pooling: every output is one window of cells, reduced to their maximum or their sum.
 *
 * A vector holds neighbouring outputs: columns in `pool_planes`, channels, where these are
 * neighbours in memory, in `pool_channels`. The rows of a window are joined first and then its
 * columns, KH + KW steps in place of KH · KW: in registers (slide.h), else through a buffer of
 * joined rows, which is as wide as the padded picture or as a block of its columns.
 */
#ifndef FASTCONV_POOL_H
#define FASTCONV_POOL_H

#include "maxima.h"
#include "reduce.h"
#include "slide.h"
#include "windows.h"

/* ---------------------------------------------------------------- the windows of a pooling */

INLINE ptrdiff_t cells(const Windows *windows, ptrdiff_t i)
{
    const ptrdiff_t span = windows->stop[i] - windows->first[i];
    if (windows->step == 1)
        return span;
    return span > 0 ? (span + windows->step - 1) / windows->step : 0;
}

INLINE int op_of(const Pooling *p)
{
    if (p->mode != POOL_LP)
        return p->mode == POOL_MAX ? OP_MAX : OP_SUM;
    return p->norm == 1 ? OP_ABS : p->norm == 2 ? OP_SQUARE : OP_POWER;
}

/* A division by a power of two is a multiplication to the bit. */
INLINE Finish finish_of(const Pooling *p, int64_t count)
{
    Finish finish = {FINISH_NONE};
    if (p->mode == POOL_AVG) {
        const int64_t divisor = p->divisor ? p->divisor : count;
        const int exact = divisor > 0 && (divisor & (divisor - 1)) == 0;
        finish.kind = exact ? FINISH_SCALE : FINISH_DIVIDE;
        finish.divisor = (real)divisor;
        finish.factor = 1 / finish.divisor;
    } else if (p->mode == POOL_LP && p->norm != 1) {
        finish.kind = p->norm == 2 ? FINISH_ROOT2 : FINISH_ROOT;
        finish.exponent = 1 / p->norm;
    }
    return finish;
}

/* ---------------------------------------------------------------- columns in the vector */

/* What the rows of all planes have in common. `divisors` are the columns' factors of an average's
 * divisor, or NULL where these are alike; `row` has `before` cells of nothing, `width` joined
 * cells, and then again nothing as far as windows reach. */
typedef struct {
    const Pooling *p;
    int op;
    Slide slide; /* or NULL */
    const real *divisors;
    real *row;
} PlaneRows;

static PlaneRows plane_rows_of(const Pooling *p, void *scratch)
{
    const Windows *columns = &p->columns;
    PlaneRows planes = {.p = p, .op = op_of(p), .row = (real *)scratch + p->OW};
    int alike = 1;
    for (ptrdiff_t ow = 1; ow < p->OW; ow++)
        alike &= columns->count[ow] == columns->count[0];
    if (p->mode == POOL_AVG && !p->divisor && !alike) {
        real *divisors = scratch;
        for (ptrdiff_t ow = 0; ow < p->OW; ow++)
            divisors[ow] = (real)columns->count[ow];
        planes.divisors = divisors;
    }
    if (columns->even && p->x.w == 1 && p->out.w == 1)
        planes.slide = slide_for(planes.op, p->rows.taps, columns->taps, columns->step,
                                 columns->stride);
    fill_run(planes.row, start_of(planes.op), p->row_cells);
    return planes;
}

/* Windows that are not alike: output ow takes cells of `line` from columns->first[ow] on. */
INLINE void reduce_uneven(const int op, const PlaneRows *planes, const real *line, real *out,
                          const Finish *finish)
{
    const Pooling *p = planes->p;
    const Windows *columns = &p->columns;
    const vec start = vsplat(start_of(op));
    for (ptrdiff_t ow = 0; ow < p->OW; ow += VL) {
        const ptrdiff_t n = least(p->OW - ow, VL);
        ivec at = {0};
        vec count = {0}, sum = start;
        ptrdiff_t taps = 0;
        for (ptrdiff_t i = 0; i < n; i++) {
            const ptrdiff_t here = cells(columns, ow + i);
            at[i] = (integer)columns->first[ow + i];
            count[i] = (real)here;
            taps = most(taps, here);
        }
        for (ptrdiff_t j = 0; j < taps; j++, at += (integer)columns->step)
            sum = vtake(op, p->norm, sum,
                        vgather_where(vless(vsplat((real)j), count), line, at, start));
        store_every(p->out.w, out + ow * p->out.w, n, vfinish(finish, sum));
    }
}

/* The same for windows so long that each is worth vectors. */
static void reduce_apart(int op, const PlaneRows *planes, const real *line, real *out,
                         const Finish *finish)
{
    const Windows *columns = &planes->p->columns;
    for (ptrdiff_t ow = 0; ow < planes->p->OW; ow++, out += planes->p->out.w) {
        const Run run = {
            .rows = 1, .taps = cells(columns, ow), .tap = columns->step,
            .x = line + columns->first[ow], .norm = planes->p->norm, .finish = *finish,
        };
        *out = reduce_window(op, &run);
    }
}

/* From sums to averages. */
static void divide_row(const PlaneRows *planes, real factor, real *out)
{
    const ptrdiff_t step = planes->p->out.w, OW = planes->p->OW;
    for (ptrdiff_t ow = 0; ow < OW; ow += VL) {
        const ptrdiff_t n = least(OW - ow, VL);
        const vec sum = load_every(step, out + ow * step, n);
        store_every(step, out + ow * step, n,
                    sum / (vload_n(planes->divisors + ow, n) * factor));
    }
}

/* Through the buffer. */
static void pool_joined_row(const PlaneRows *planes, const real *x, real *out, ptrdiff_t rows,
                            const Finish *finish)
{
    const Pooling *p = planes->p;
    const Windows *columns = &p->columns;
    int op = planes->op;
    const real *line = x;
    if (rows != 1 || p->x.w != 1 || columns->before || p->row_cells > p->width) {
        const Run run = {
            .rows = rows, .row = p->rows.step * p->x.h, .taps = 1, .x = x, .stride = p->x.w,
            .out = planes->row + columns->before, .out_step = 1, .n = p->width, .norm = p->norm,
        };
        reduce(op, &run);
        op = joining(op);
        line = run.out;
    }
    if (columns->taps >= VL && columns->step == 1 && (!columns->even || columns->stride >= VL)) {
        reduce_apart(op, planes, line, out, finish);
    } else if (columns->even) {
        const Run run = {
            .rows = 1, .taps = columns->taps, .tap = columns->step, .x = line - columns->before,
            .stride = columns->stride, .out = out, .out_step = p->out.w, .n = p->OW,
            .norm = p->norm, .finish = *finish,
        };
        reduce(op, &run);
    } else if (op == OP_MAX) {
        reduce_uneven(OP_MAX, planes, line, out, finish);
    } else if (op == OP_SUM) {
        reduce_uneven(OP_SUM, planes, line, out, finish);
    } else {
        reduce_apart(op, planes, line, out, finish);
    }
}

/* Rows of windows from `oh` on, of at most n, that differ in nothing but their place. */
INLINE ptrdiff_t rows_alike(const Windows *rows, ptrdiff_t oh, ptrdiff_t n)
{
    ptrdiff_t i = 1;
    while (i < n && rows->first[oh + i] == rows->first[oh] + i * rows->stride
           && rows->stop[oh + i] == rows->stop[oh] + i * rows->stride
           && rows->count[oh + i] == rows->count[oh])
        i++;
    return i;
}

/* n rows that are alike, from `oh` on. */
static void pool_rows(const PlaneRows *planes, const real *x, real *out, ptrdiff_t oh,
                      ptrdiff_t n, const Finish *finish)
{
    const Pooling *p = planes->p;
    const Windows *columns = &p->columns;
    const ptrdiff_t rows = cells(&p->rows, oh), next = p->rows.stride * p->x.h;
    x += p->rows.first[oh] * p->x.h;
    for (ptrdiff_t i = 0; i < n; i++) {
        if (planes->slide) {
            const Line line = {
                .x = x + i * next, .rows = rows, .row = p->rows.step * p->x.h, .next = next,
                .width = p->width, .before = columns->before, .out = out + i * p->out.h,
                .n = p->OW, .out_h = p->out.h, .count = n - i, .finish = finish,
                .divisors = planes->divisors, .factor = (real)p->rows.count[oh],
            };
            i += planes->slide(&line);
            if (i == n)
                return;
        }
        pool_joined_row(planes, x + i * next, out + i * p->out.h, rows, finish);
        if (planes->divisors)
            divide_row(planes, (real)p->rows.count[oh], out + i * p->out.h);
    }
}

static void maxima_across(const Pooling *p, const real *x, ptrdiff_t oh, ptrdiff_t ow,
                          ptrdiff_t n, real *out, int64_t *indices)
{
    const Windows *rows = &p->rows, *columns = &p->columns;
    const int even = n > 1;
    const ptrdiff_t top = least(rows->first[oh], p->height - 1);
    const ptrdiff_t left = even ? ow * columns->stride - columns->before : columns->first[ow];
    const MaxRun run = {
        .rows = cells(rows, oh), .row = rows->step * p->x.h,
        .taps = even ? columns->taps : cells(columns, ow), .tap = columns->step * p->x.w,
        .x = x + top * p->x.h + left * p->x.w, .stride = columns->stride * p->x.w,
        .out = out + ow * p->out.w, .out_step = p->out.w, .n = n,
        .indices = indices + ow * p->indices.w, .indices_step = p->indices.w,
        .index = (int64_t)top * p->width + (even ? left : least(left, p->width - 1)),
        .index_row = rows->step * p->width,
        .column = left, .column_step = columns->stride, .column_tap = columns->step,
        .width = p->width,
    };
    if (even)
        maxima(&run);
    else
        maximum(&run);
}

static void maxima_row(const Pooling *p, const real *x, real *out, int64_t *indices,
                       ptrdiff_t oh)
{
    const Windows *columns = &p->columns;
    if (columns->even && p->OW > 1 && !p->wide_index && columns->taps < LONG_WINDOW)
        maxima_across(p, x, oh, 0, p->OW, out, indices);
    else
        for (ptrdiff_t ow = 0; ow < p->OW; ow++)
            maxima_across(p, x, oh, ow, 1, out, indices);
}

/* The work items are output rows; `scratch` holds OW + row_cells elements. */
static void pool_planes(const Pooling *p, const void *x, void *out, int64_t *indices,
                        ptrdiff_t begin, ptrdiff_t end, void *scratch)
{
    const PlaneRows planes = indices ? (PlaneRows){p} : plane_rows_of(p, scratch);
    Finish finish = {FINISH_NONE};
    int64_t count = -1;
    ptrdiff_t oh = begin % p->OH;
    for (ptrdiff_t plane = begin / p->OH, item = begin; item < end; plane++, oh = 0) {
        const ptrdiff_t n = plane / p->C, c = plane % p->C;
        const real *x_plane = (const real *)x + n * p->x.n + c * p->x.c;
        real *out_plane = (real *)out + n * p->out.n + c * p->out.c;
        int64_t *indices_plane = indices
            ? indices + n * p->indices.n + c * p->indices.c : NULL;
        for (ptrdiff_t alike; oh < p->OH && item < end; oh += alike, item += alike) {
            real *out_row = out_plane + oh * p->out.h;
            alike = 1;
            if (indices) {
                maxima_row(p, x_plane, out_row, indices_plane + oh * p->indices.h, oh);
                continue;
            }
            if (count != p->rows.count[oh] && !planes.divisors) {
                count = p->rows.count[oh];
                finish = finish_of(p, count * p->columns.count[0]);
            }
            if (planes.slide)
                alike = rows_alike(&p->rows, oh, least(p->OH - oh, end - item));
            pool_rows(&planes, x_plane, out_row, oh, alike, &finish);
        }
    }
}

/* ---------------------------------------------------------------- channels in the vector */

/* One pixel of `channels` channels. */
static void pool_pixel(const Pooling *p, const real *x, real *out, int64_t *indices,
                       ptrdiff_t oh, ptrdiff_t ow, ptrdiff_t channels)
{
    const Windows *rows = &p->rows, *columns = &p->columns;
    const ptrdiff_t row = rows->step * p->x.h, tap = columns->step * p->x.w;
    const ptrdiff_t top = rows->first[oh], left = columns->first[ow];
    x += top * p->x.h + left * p->x.w;
    out += ow * p->out.w;
    if (indices) {
        const MaxRun run = {
            .rows = cells(rows, oh), .row = row, .taps = cells(columns, ow), .tap = tap,
            .x = x, .stride = 1, .out = out, .out_step = 1, .n = channels,
            .indices = indices + ow * p->indices.w, .indices_step = p->indices.c,
            .index = (int64_t)least(top, p->height - 1) * p->width + least(left, p->width - 1),
            .index_row = rows->step * p->width, .column_tap = columns->step,
            .width = p->width,
        };
        maxima(&run);
        return;
    }
    const Run run = {
        .rows = cells(rows, oh), .row = row, .taps = cells(columns, ow), .tap = tap,
        .x = x, .stride = 1, .out = out, .out_step = 1, .n = channels, .norm = p->norm,
        .finish = finish_of(p, rows->count[oh] * columns->count[ow]),
    };
    reduce(op_of(p), &run);
}

/* Columns ow … ow + n − 1, whose averages have one divisor, from joined rows. */
static void pool_joined_columns(const Pooling *p, const real *row, real *out, ptrdiff_t oh,
                                ptrdiff_t ow, ptrdiff_t n, ptrdiff_t channels, real *between)
{
    const Windows *columns = &p->columns;
    const ptrdiff_t stride = columns->stride;
    const int op = joining(op_of(p));
    Run run = {
        .rows = 1, .taps = columns->taps, .tap = columns->step * channels, .x = row, .stride = 1,
        .out = out, .out_step = 1, .n = channels,
        .finish = finish_of(p, p->rows.count[oh] * columns->count[ow]),
    };
    if (stride == 1 && p->out.w == channels) {
        run.n = n * channels;
        reduce(op, &run);
    } else if (channels < VL) {
        /* Too few lanes for a pixel by itself: those that the stride leaves out come too. */
        run.out = between;
        run.n = ((n - 1) * stride + 1) * channels;
        reduce(op, &run);
        for (ptrdiff_t i = 0; i < n; i++)
            vstore_n(out + i * p->out.w, channels,
                     vload_n(between + i * stride * channels, channels));
    } else {
        for (ptrdiff_t i = 0; i < n; i++, run.out += p->out.w, run.x += stride * channels)
            reduce(op, &run);
    }
}

/* Columns ow … ow + n − 1: the cells that their windows reach, rows joined, go through `row`. */
static void pool_block(const Pooling *p, const real *x, real *out, ptrdiff_t oh, ptrdiff_t ow,
                       ptrdiff_t n, ptrdiff_t channels, real *row)
{
    const Windows *columns = &p->columns;
    const int op = op_of(p);
    const ptrdiff_t left = ow * columns->stride - columns->before;
    const ptrdiff_t reach = (n - 1) * columns->stride + (columns->taps - 1) * columns->step + 1;
    const ptrdiff_t from = least(most(-left, 0), reach);
    const ptrdiff_t to = most(least(p->width - left, reach), from);
    const int dense = p->x.w == channels;
    Run run = {
        .rows = cells(&p->rows, oh), .row = p->rows.step * p->x.h, .taps = 1, .stride = 1,
        .x = x + p->rows.first[oh] * p->x.h + (left + from) * p->x.w,
        .out = row + from * channels, .out_step = 1,
        .n = dense ? (to - from) * channels : channels, .norm = p->norm,
    };
    fill_run(row, start_of(op), from * channels);
    for (ptrdiff_t i = from; i < to; i += dense ? to - from : 1) {
        reduce(op, &run);
        run.x += p->x.w;
        run.out += channels;
    }
    fill_run(row + to * channels, start_of(op), (reach - to) * channels);
    for (ptrdiff_t i = 0, alike; i < n; i += alike) {
        for (alike = 1; i + alike < n; alike++)
            if (columns->count[ow + i + alike] != columns->count[ow + i])
                break;
        pool_joined_columns(p, row + i * columns->stride * channels, out + (ow + i) * p->out.w,
                            oh, ow + i, alike, channels, row + reach * channels);
    }
}

/* The work items are output rows, each in `channel_parts` parts. */
static void pool_channels(const Pooling *p, const void *x, void *out, int64_t *indices,
                          ptrdiff_t begin, ptrdiff_t end, void *row)
{
    const ptrdiff_t parts = p->channel_parts, size = (p->C + parts - 1) / parts;
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
        if (p->block)
            for (ptrdiff_t ow = 0; ow < p->OW; ow += p->block)
                pool_block(p, picture, out_row, oh, ow, least(p->OW - ow, p->block), channels,
                           row);
        else
            for (ptrdiff_t ow = 0; ow < p->OW; ow++)
                pool_pixel(p, picture, out_row, indices_row, oh, ow, channels);
    }
}

#endif
