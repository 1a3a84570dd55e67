/* Kernels of low rank: down the columns, then across the rows, a few rows at a time.
 *
 * Σ w[kh][kw] x = Σ_r Σ_kw row_r[kw] (Σ_kh column_r[kh] x): KH + KW products for each term of the
 * sum in place of KH · KW. Both passes are the register tile of gemm_tile.h along pixels. In the
 * first the scalars are FACTOR_ROWS output rows, which share every row of x: each reads the
 * column of weights one tap behind the last. In the second there is one scalar, and
 * every vector comes unaligned from the rows between, which stay in the first cache.
 *
 * x is read where it is if its rows are dense; rows and columns outside are left out of the
 * first pass, and are zeros between the two.
 */
#ifndef FASTCONV_SEPARABLE_H
#define FASTCONV_SEPARABLE_H

#include "activation.h"
#include "factors.h"
#include "gemm_tile.h"
#include "move.h"

#define PASSES_OF(X, V) X(1, V) X(2, V) X(3, V) X(4, V)
#define PASSES(X) \
    PASSES_OF(X, 1) PASSES_OF(X, 2) PASSES_OF(X, 3) PASSES_OF(X, 4) PASSES_OF(X, 5) \
    PASSES_OF(X, 6) PASSES_OF(X, 7) PASSES_OF(X, 8)
#define DEFINE_PASS(M, V) \
    DEFINE_TILE(pass, M <= tallest(V), \
                tile_along_pixels(FROM_PIXELS, M, V, job, x, w, bias, sums), M, V)
PASSES(DEFINE_PASS)
#define LIST_PASS(M, V) [V][M] = pass_##M##x##V,
static const Tile passes[LARGEST_V + 1][FACTOR_ROWS + 1] = {PASSES(LIST_PASS)};

/* Terms of the second pass: the rows between are those of every input channel and factor. */
INLINE ptrdiff_t factor_terms(const Factors *f) { return f->geometry.IC * f->rank; }

/* The first pass for M output rows: x points at column `from` of the row that weight 0 meets. */
static void down(const Factors *f, const real *x, const ptrdiff_t *offsets, const real *columns,
                 ptrdiff_t M, ptrdiff_t low, ptrdiff_t high, ptrdiff_t n, real *to)
{
    static const real zeros[FACTOR_ROWS] = {0};
    const ptrdiff_t terms = high > low ? high - low : 0;
    TileJob job = {
        .terms = terms, .offsets = offsets + low, .w_pitch = -1, .sums_pitch = f->pitch,
        .every = terms,
    };
    const ptrdiff_t V = widest(FACTOR_ROWS);
    for (ptrdiff_t c = 0; c < n;) {
        ptrdiff_t v = least((n - c) / VL, V);
        if (!v) /* the last vector moves back, and computes some columns again */
            v = 1, c = n - VL;
        passes[v][M](&job, x + c, columns + FACTOR_ROWS - 1 + low, zeros, to + c);
        c += v * VL;
    }
}

/* The second pass for one output row. */
static void across(const Factors *f, const real *between, const real *rows, const real *bias,
                   ptrdiff_t n, real *sums)
{
    const ptrdiff_t terms = factor_terms(f) * f->geometry.KW;
    TileJob job = {.terms = terms, .offsets = f->across, .every = terms};
    for (ptrdiff_t c = 0; c < n;) {
        const ptrdiff_t v = least((n - c + VL - 1) / VL, LARGEST_V);
        passes[v][1](&job, between + c, rows, bias, sums + c);
        c += v * VL;
    }
}

static void separable(const Factors *f, const void *x_, const void *factors, const void *bias_,
                      void *out_, ptrdiff_t oh, ptrdiff_t rows, ptrdiff_t ow, ptrdiff_t cols,
                      void *scratch)
{
    const Geometry *g = &f->geometry;
    const real *x = x_, *bias = bias_;
    const ptrdiff_t terms = factor_terms(f), column_size = g->KH + 2 * (FACTOR_ROWS - 1);
    const real *row_factors = (const real *)factors + terms * column_size;
    real *between = scratch, *sums = between + terms * FACTOR_ROWS * f->pitch;
    real *patch = sums + f->pitch;
    /* Columns of x that the task reads, and how many zeros there are before and after them. */
    const ptrdiff_t reads = cols + (g->KW - 1) * g->DW, left = ow - g->PL;
    const ptrdiff_t from = least(most(left, 0), g->IW), to = most(least(left + reads, g->IW), from);
    const ptrdiff_t n = to - from, before = most(least(from - left, reads), 0);
    /* Rows of x, numbered from the first that the task reads, DH apart; inside are low … high. */
    const ptrdiff_t top = oh - g->PT, last = g->KH + rows - 1;
    const ptrdiff_t low = top < 0 ? (-top + g->DH - 1) / g->DH : 0;
    const ptrdiff_t high = top < g->IH ? least((g->IH - 1 - top) / g->DH + 1, last) : 0;
    const int copied = n > 0 && (g->x_w != 1 || n < VL);
    const ptrdiff_t *offsets = copied ? f->patch_down : f->down;
    ptrdiff_t plane = g->x_c;
    const real *origin = x + top * g->x_h + from * g->x_w;
    if (copied) {
        plane = last * f->width;
        for (ptrdiff_t ic = 0; ic < g->IC; ic++)
            for (ptrdiff_t k = low; k < high; k++) {
                real *row = patch + ic * plane + k * f->width;
                gather_run(origin + ic * g->x_c + f->down[k], g->x_w, row, n);
                zero_run(row + n, n < VL ? VL - n : 0);
            }
        origin = patch;
    }
    for (ptrdiff_t r = 0; r < rows; r += FACTOR_ROWS) {
        const ptrdiff_t M = least(FACTOR_ROWS, rows - r);
        const ptrdiff_t first = most(low - r, 0), stop = least(high - r, g->KH + M - 1);
        for (ptrdiff_t t = 0; t < terms; t++) {
            real *place = between + t * FACTOR_ROWS * f->pitch;
            if (n)
                down(f, origin + t / f->rank * plane, offsets + r,
                     (const real *)factors + t * column_size, M, first, stop, most(n, VL),
                     place + before);
            for (ptrdiff_t m = 0; m < M && n < reads; m++) {
                zero_run(place + m * f->pitch, before);
                zero_run(place + m * f->pitch + before + n, reads - before - n);
            }
        }
        for (ptrdiff_t m = 0; m < M; m++) {
            across(f, between + m * f->pitch, row_factors, bias, cols, sums);
            if (f->activation != ACT_NONE)
                activate_dense(f->activation, vsplat((real)f->slope), sums, sums, cols);
            real *out = (real *)out_ + (oh + (r + m) * g->DH) * g->out_h + ow * g->out_w;
            move(1, cols, sums, cols, 1, out, g->out_h, g->out_w);
        }
    }
}

#endif
