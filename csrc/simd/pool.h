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
#include "table.h"
#include "walk.h"
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
    Finish finish = {.kind = FINISH_NONE, .factor = 1};
    if (p->mode == POOL_AVG) {
        const int64_t divisor = p->divisor ? p->divisor : count;
        const int exact = divisor > 0 && (divisor & (divisor - 1)) == 0;
        const int quick = divisor % 2 && divisor < LARGEST_QUOTIENT;
        finish.kind = exact ? FINISH_SCALE : quick ? FINISH_QUOTIENT : FINISH_DIVIDE;
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
 * cells, and then again nothing as far as windows reach; `nothing` has nothing else. */
typedef struct {
    const Pooling *p;
    int op;
    const Slides *slides; /* or NULL */
    int in_strips;        /* whether these slide over strips too */
    Across across;
    const real *divisors;
    real *row;
    const real *nothing;
} PlaneRows;

static PlaneRows plane_rows_of(const Pooling *p, int far, void *scratch)
{
    const Windows *rows = &p->rows, *columns = &p->columns;
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
    if (p->x.w == 1 && p->out.w == 1)
        planes.slides = slides_for(planes.op, rows->taps, columns);
    if (planes.slides) {
        /* Planes of hardly a strip are not worth setting it up, unless windows share rows. */
        planes.in_strips = !far && rows->even && rows->step == 1 && rows->taps == columns->taps
            && rows->stride == columns->stride
            && (rows->taps > rows->stride || p->OH >= 2 * planes.slides->count);
        planes.across = (Across){p->width, columns->before, p->OW, p->out.h};
    }
    planes.nothing = planes.row + p->row_cells;
    fill_run(planes.row, start_of(planes.op), 2 * p->row_cells);
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

/* Rows of windows from `oh` on, of at most n, whose averages have the same factor. */
INLINE ptrdiff_t rows_alike(const Windows *rows, ptrdiff_t oh, ptrdiff_t n)
{
    ptrdiff_t i = 1;
    while (i < n && rows->count[oh + i] == rows->count[oh])
        i++;
    return i;
}

/* Row `oh` of a plane, whatever its windows are. */
static void pool_row(const PlaneRows *planes, const real *x, real *out, ptrdiff_t oh,
                     const Finish *finish)
{
    const Windows *rows = &planes->p->rows;
    pool_joined_row(planes, x + rows->first[oh] * planes->p->x.h, out, cells(rows, oh), finish);
    if (planes->divisors)
        divide_row(planes, (real)rows->count[oh], out);
}

/* Rows of windows from `oh` on, of at most n, that differ in nothing but their place. */
INLINE ptrdiff_t windows_alike(const Windows *rows, ptrdiff_t oh, ptrdiff_t n)
{
    ptrdiff_t i = 1;
    while (i < n && rows->first[oh + i] == rows->first[oh] + i * rows->stride
           && cells(rows, oh + i) == cells(rows, oh))
        i++;
    return i;
}

/* Rows oh … oh + n − 1 of a plane, by windows that slide. */
static void slide_rows(const PlaneRows *planes, const real *x, real *out, ptrdiff_t oh,
                       ptrdiff_t n, const Finish *finish)
{
    const Pooling *p = planes->p;
    const Windows *rows = &p->rows;
    const ptrdiff_t in_strip = planes->slides->count;
    const ptrdiff_t high = (in_strip - 1) * rows->stride + rows->taps; /* of cells under it */
    Strip strip = {.finish = *finish, .divisors = planes->divisors,
                   .factor = (real)rows->count[oh]};
    for (ptrdiff_t i = 0, count, done; i < n; i += count * done) {
        Slide slide = planes->slides->line;
        if (planes->in_strips && n >= in_strip) {
            slide = planes->slides->strip;
            count = in_strip;
            i = least(i, n - count); /* the last strip moves back and computes rows again */
            const ptrdiff_t top = (oh + i) * rows->stride - rows->before;
            const ptrdiff_t below = p->height - top - high; /* rows of the picture */
            strip.repeats = 1;
            if (top >= 0 && below >= 0)
                strip.repeats = least((n - i) / count, below / (count * rows->stride) + 1);
            for (ptrdiff_t r = 0; r < high; r++)
                strip.rows[r] = (size_t)(top + r) < (size_t)p->height ? x + (top + r) * p->x.h
                                                                      : planes->nothing;
        } else {
            count = 1;
            strip.high = cells(rows, oh + i);
            strip.repeats = windows_alike(rows, oh + i, n - i);
            for (ptrdiff_t r = 0; r < strip.high; r++)
                strip.rows[r] = x + (rows->first[oh + i] + r * rows->step) * p->x.h;
            if (strip.high == 0) {
                strip.high = strip.repeats = 1;
                strip.rows[0] = planes->nothing;
            }
        }
        strip.out = out + i * p->out.h;
        strip.next = count * rows->stride * p->x.h;
        done = slide(&planes->across, &strip);
        if (done < strip.repeats) {
            for (ptrdiff_t r = 0; r < count; r++)
                pool_row(planes, x, strip.out + (done * count + r) * p->out.h,
                         oh + i + done * count + r, finish);
            done++;
        }
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

/* The work items are output rows; `scratch` holds OW + 2 · row_cells elements. */
static void pool_planes(const Pooling *p, const void *x, void *out, int64_t *indices,
                        ptrdiff_t begin, ptrdiff_t end, void *scratch)
{
    /* What comes from beyond the caches comes fastest in the order of memory, row after row. */
    const ptrdiff_t row_cells = p->rows.stride * p->width + p->OW;
    const int far = (end - begin) * row_cells > FAR_BYTES / (ptrdiff_t)sizeof(real);
    const PlaneRows planes = indices ? (PlaneRows){p} : plane_rows_of(p, far, scratch);
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
            if (!planes.slides) {
                pool_row(&planes, x_plane, out_row, oh, &finish);
                continue;
            }
            alike = rows_alike(&p->rows, oh, least(p->OH - oh, end - item));
            slide_rows(&planes, x_plane, out_row, oh, alike, &finish);
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

/* One row of output pixels, whatever its windows are. */
static void pool_pixels(const Pooling *p, const real *x, real *out, int64_t *indices,
                        ptrdiff_t oh, ptrdiff_t channels, real *row)
{
    if (p->block)
        for (ptrdiff_t ow = 0; ow < p->OW; ow += p->block)
            pool_block(p, x, out, oh, ow, least(p->OW - ow, p->block), channels, row);
    else
        for (ptrdiff_t ow = 0; ow < p->OW; ow++)
            pool_pixel(p, x, out, indices, oh, ow, channels);
}

/* Rows oh … oh + n − 1 of output pixels by windows that walk; their averages' divisors are alike
 * in all columns, or else `divisors`, of which there is one row then. */
static void walk_rows(const Pooling *p, const Walks *walks, const real *x, real *out,
                      ptrdiff_t oh, ptrdiff_t n, ptrdiff_t channels, real *divisors, real *row)
{
    const Windows *rows = &p->rows, *columns = &p->columns;
    const Walk walk = {p->width, columns->before, p->OW, p->x.w, p->out.w, p->out.h, channels};
    Strip strip = {.finish = finish_of(p, rows->count[oh] * columns->count[0])};
    if (divisors) {
        for (ptrdiff_t ow = 0; ow < p->OW; ow++)
            divisors[ow] = (real)(rows->count[oh] * columns->count[ow]);
        strip.divisors = divisors;
        strip.finish.kind = FINISH_DIVIDE;
    }
    const int square = rows->even && rows->step == 1 && rows->taps == columns->taps
        && rows->stride == columns->stride;
    for (ptrdiff_t i = 0, count; i < n; i += count) {
        const int both = square && i < n - 1 && windows_alike(rows, oh + i, WALK_ROWS) == WALK_ROWS
            && cells(rows, oh + i) == rows->taps;
        count = both ? WALK_ROWS : 1;
        strip.high = cells(rows, oh + i);
        strip.out = out + i * p->out.h;
        for (ptrdiff_t r = 0; r < strip.high + (count - 1) * rows->stride; r++)
            strip.rows[r] = x + (rows->first[oh + i] + r * rows->step) * p->x.h;
        const int is_done = strip.high > 0 && (both ? walks->strip : walks->line)(&walk, &strip);
        for (ptrdiff_t r = 0; r < count && !is_done; r++)
            pool_pixels(p, x, strip.out + r * p->out.h, NULL, oh + i + r, channels, row);
    }
}

/* The work items are output rows, each in `channel_parts` parts. `scratch` holds OW elements, and
 * what a block takes. */
static void pool_channels(const Pooling *p, const void *x, void *out, int64_t *indices,
                          ptrdiff_t begin, ptrdiff_t end, void *scratch)
{
    const ptrdiff_t parts = p->channel_parts, size = (p->C + parts - 1) / parts;
    const Walks *walks = indices ? NULL : walks_for(op_of(p), p->rows.taps, &p->columns, size);
    real *row = (real *)scratch + (indices ? 0 : p->OW), *divisors = NULL;
    for (ptrdiff_t ow = 1; ow < p->OW && p->mode == POOL_AVG && !p->divisor; ow++)
        if (p->columns.count[ow] != p->columns.count[0])
            divisors = scratch;
    for (ptrdiff_t item = begin, alike; item < end; item += alike) {
        const ptrdiff_t part = item % parts, oh = item / parts % p->OH, n = item / parts / p->OH;
        const ptrdiff_t c = part * size;
        const ptrdiff_t channels = p->C - c < size ? p->C - c : size;
        alike = 1;
        if (channels <= 0)
            continue;
        const real *picture = (const real *)x + n * p->x.n + c;
        real *out_row = (real *)out + n * p->out.n + oh * p->out.h + c;
        int64_t *indices_row = indices
            ? indices + n * p->indices.n + oh * p->indices.h + c * p->indices.c : NULL;
        if (!walks) {
            pool_pixels(p, picture, out_row, indices_row, oh, channels, row);
            continue;
        }
        if (parts == 1)
            alike = rows_alike(&p->rows, oh, least(p->OH - oh, end - item));
        walk_rows(p, walks, picture, out_row, oh, alike, channels, divisors, row);
    }
}

#endif
