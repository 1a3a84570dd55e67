/* The first stage of a block of tiles (winograd.h): from pixels to values. */
#ifndef FASTCONV_WINOGRAD_INPUT_H
#define FASTCONV_WINOGRAD_INPUT_H

#include "span.h"
#include "turn.h"
#include "winograd_edges.h"
#include "winograd_geometry.h"

/* `n` pixels, `step` apart in planes of pixels side by side: all between are turned, in `spare`. */
static void turn_in_steps(ptrdiff_t n, ptrdiff_t step, const real *x, ptrdiff_t plane, real *dst,
                          real *spare)
{
    turn_in((n - 1) * step + 1, x, plane, spare);
    for (ptrdiff_t i = 0; i < n; i++, dst += VL, spare += step * VL)
        vstore(dst, vload(spare));
}

/* One slab of one picture, padding written out: patch[row][col][VL], rows `pitch` vectors apart.
 * Lanes beyond the last channel are zero. `spare` has room for α rows. */
static void gather_patch(const Winograd *w, const TileBlock *b, Picture picture, ptrdiff_t slab,
                         const real *x, ptrdiff_t pitch, real *patch, real *spare)
{
    const Geometry *g = &w->geometry;
    const ptrdiff_t rows = patch_rows(w, b), cols = patch_cols(w, b);
    const ptrdiff_t phase = slab / slabs_of(g), channel = slab % slabs_of(g) * VL;
    const ptrdiff_t n = least(VL, g->IC - channel);
    const ptrdiff_t step_h = g->SH * g->DH, step_w = g->SW * g->DW;
    const ptrdiff_t left = b->col * w->m * step_w + picture.w + phase % g->SW - g->PL;
    ptrdiff_t row = b->row * w->m * step_h + picture.h + phase / g->SW - g->PT;
    const Span across = inside(left, step_w, cols, g->IW);
    x += picture.image * w->x_n + channel * g->x_c;
    for (ptrdiff_t r = 0; r < rows; r++, row += step_h, patch += pitch * VL) {
        Span span = across;
        if (row < 0 || row >= g->IH)
            span.low = span.high = cols;
        const ptrdiff_t width = span.high - span.low;
        real *dst = patch + span.low * VL;
        if (n < VL)
            zero_run(patch, cols * VL);
        zero_run(patch, span.low * VL);
        zero_run(patch + span.high * VL, (cols - span.high) * VL);
        const real *from = x + row * g->x_h + (left + span.low * step_w) * g->x_w;
        if (!width)
            continue;
        if (g->x_c == 1 && n == VL)
            for (ptrdiff_t i = 0; i < width; i++)
                vstore(dst + i * VL, vload(from + i * step_w * g->x_w));
        else if (width < LANE || n < VL || g->x_w != 1 || step_w > w->m + w->r - 1)
            move(width, n, from, step_w * g->x_w, g->x_c, dst, VL, 1);
        else if (step_w == 1)
            turn_in(width, from, g->x_c, dst);
        else
            turn_in_steps(width, step_w, from, g->x_c, dst, spare);
    }
}

/* The columns of one row of tiles, of `some` outputs each, from a patch to rows[point][column]. */
INLINE void transform_columns(const int alpha, const int m, const int some, ptrdiff_t cols,
                              const real *patch, ptrdiff_t pitch, real *rows)
{
    for (ptrdiff_t c = 0; c < cols; c++) {
        vec d[LARGEST_ALPHA], v[LARGEST_ALPHA];
#pragma GCC unroll 8
        for (int k = 0; k < alpha + some - m; k++)
            d[k] = vload(patch + (k * pitch + c) * VL);
        inputs_to_points(alpha, m, some, d, v);
#pragma GCC unroll 8
        for (int k = 0; k < alpha; k++)
            if (serves(alpha, m, some, k))
                vstore(rows + (k * pitch + c) * VL, v[k]);
    }
}

/* Some tiles of one of these rows to values. */
INLINE void transform_row(const int alpha, const int m, const int some, ptrdiff_t tiles,
                          const real *row, real *values, ptrdiff_t point)
{
    for (ptrdiff_t tile = 0; tile < tiles; tile++, row += m * VL, values += VL) {
        vec d[LARGEST_ALPHA], v[LARGEST_ALPHA];
#pragma GCC unroll 8
        for (int j = 0; j < alpha + some - m; j++)
            d[j] = vload(row + j * VL);
        inputs_to_points(alpha, m, some, d, v);
#pragma GCC unroll 8
        for (int j = 0; j < alpha; j++)
            if (serves(alpha, m, some, j))
                vstore(values + j * point, v[j]);
    }
}

/* `some` as a constant, where an end has transforms of its own. */
#define FOR_OUTPUTS(alpha, m, some, CALL) \
    do { \
        if (alpha == 6 && m == 4 && some == 1) \
            CALL(1); \
        else if (alpha == 6 && m == 4 && some == 2) \
            CALL(2); \
        else if (alpha == 6 && m == 4 && some == 3) \
            CALL(3); \
        else \
            CALL(m); \
    } while (0)

/* Columns first, each once for all tiles that share it; then the rows of every tile. */
INLINE void transform_patch(const int alpha, const int m, const Winograd *w, const TileBlock *b,
                            const Sections *s, ptrdiff_t picture, const real *patch,
                            ptrdiff_t pitch, real *rows, real *values)
{
    const ptrdiff_t point = w->values_pitch * VL;
    const ptrdiff_t cols = patch_cols(w, b) - m + s->width;
    for (ptrdiff_t i = 0; i < b->rows; i++, patch += m * pitch * VL) {
        const int height = i < s->rows ? m : s->height;
        real *const interior = values + tile_at(s, picture, i, 0) * VL;
        real *const right = values + tile_at(s, picture, i, s->cols) * VL;
#define COLUMNS(some) transform_columns(alpha, m, some, cols, patch, pitch, rows)
        FOR_OUTPUTS(alpha, m, height, COLUMNS);
#undef COLUMNS
        for (int k = 0; k < alpha; k++) {
            const real *row = rows + k * pitch * VL;
            if (!serves(alpha, m, height, k))
                continue;
            transform_row(alpha, m, m, s->cols, row, interior + k * alpha * point, point);
            if (s->cols == b->cols)
                continue;
#define LAST(some) \
    transform_row(alpha, m, some, 1, row + s->cols * m * VL, right + k * alpha * point, point)
            FOR_OUTPUTS(alpha, m, s->width, LAST);
#undef LAST
        }
    }
}

static void winograd_input(const Winograd *w, const TileBlock *b, ptrdiff_t slab, const void *x,
                           void *values_, void *scratch)
{
    const Sections s = sections_of(w, b);
    const ptrdiff_t pitch = patch_cols(w, b) | 1;
    real *patch = scratch, *rows = patch + patch_rows(w, b) * pitch * VL;
    real *values = (real *)values_ + slab * w->tile_pitch * VL;
    for (ptrdiff_t i = 0; i < b->pictures; i++) {
        const Picture picture = picture_at(&w->geometry, b->picture + i);
        gather_patch(w, b, picture, slab, x, pitch, patch, rows);
        switch ((w->m + w->r - 1) * 10 + w->m) {
#define CASE(alpha, m) \
    case alpha * 10 + m: \
        transform_patch(alpha, m, w, b, &s, i, patch, pitch, rows, values); \
        break
            EACH_TILE(CASE);
#undef CASE
        }
    }
}

#endif
