/* Depthwise convolution of few channels that lie side by side, pixel after pixel, stride 1.
 *
 * x_c = out_c = 1 and x_w = out_w = C: a row of C channels is one long row of cells, in which a
 * window's columns are C cells apart. So no cell changes its place: lanes are neighbouring cells,
 * whatever their channels, and each lane has its own channel's weight. These are kept with the
 * channels repeated, so that a vector of them may begin at any channel.
 *
 * A tile is R rows by one vector. For every kernel column its weights are loaded once, and each
 * input row meets all output rows that it belongs to; tall kernels, and those of one row, load an
 * input row for every kernel row instead. Vectors at the left and right border load under masks,
 * rows outside are a row of zeros: padded zeros are factors like any other. The sum goes
 * over the kernel's columns and its rows.
 */
#ifndef FASTCONV_INTERLEAVED_H
#define FASTCONV_INTERLEAVED_H

#include "clamp.h"
#include "in_place.h"
#include "planes.h"
#include "sums.h"

enum {
    INTERLEAVED_TALLEST = 8, /* rows of a tile */
    LOWEST_SHARED = 2,       /* kernel rows for which there is straight code */
    HIGHEST_SHARED = 7,
};

/* What the tiles of one strip of rows have in common. */
typedef struct {
    Geometry g;              /* of the long rows: one channel */
    ptrdiff_t C, pitch;      /* channels, and the cells of these repeated */
    const real **rows;       /* where the windows of cell 0 begin */
    const real *weights;     /* [kw][kh][pitch] */
    const real *bias;        /* [pitch] */
    Clamp clamp;
    real *out;
    ptrdiff_t out_h;
} Interleaved;

INLINE ptrdiff_t interleaved_pitch(const Geometry *g)
{
    return ceil_div(g->OC + VL - 1, VL) * VL;
}

/* Cells col … col + VL − 1 of R rows of output, the first of channel `phase`. KH is 0 for any. */
INLINE void interleaved_tile(const int KH, const int R, const int is_edge, const Interleaved *t,
                             ptrdiff_t col, ptrdiff_t phase)
{
    const Geometry *g = &t->g;
    const real *w = t->weights + phase, **rows = t->rows;
    const ptrdiff_t pitch = t->pitch;
    vec acc[INTERLEAVED_TALLEST];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        acc[r] = vload(t->bias + phase);
    for (ptrdiff_t kw = 0; kw < g->KW; kw++) {
        const ptrdiff_t at = col + kw * g->DW;
        const mask inside = is_edge ? in_picture(g, at - g->PL) : vfirst(VL);
#define CELLS(i) (is_edge ? vload_where(inside, rows[i] + at) : vload(rows[i] + at))
        if (KH) {
            vec a[HIGHEST_SHARED];
#pragma GCC unroll 7
            for (int kh = 0; kh < KH; kh++)
                a[kh] = vkeep(vload(w + kh * pitch));
#pragma GCC unroll 16
            for (int i = 0; i < R - 1 + KH; i++) {
                const vec b = vkeep(CELLS(i));
#pragma GCC unroll 8
                for (int r = 0; r < R; r++)
                    if (i >= r && i - r < KH)
                        acc[r] = vfma(a[i - r], b, acc[r]);
            }
            w += KH * pitch;
        } else {
            for (ptrdiff_t kh = 0; kh < g->KH; kh++, w += pitch) {
                const vec a = vkeep(vload(w));
#pragma GCC unroll 8
                for (int r = 0; r < R; r++)
                    acc[r] = vfma(a, CELLS(kh + r), acc[r]);
            }
        }
#undef CELLS
    }
    const ptrdiff_t n = g->OW - col;
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        const vec sum = t->clamp.is_needed ? clamped(&t->clamp, acc[r]) : acc[r];
        real *to = t->out + r * t->out_h + col;
        if (!is_edge || n >= VL)
            vstore(to, sum);
        else
            vstore_n(to, n, sum);
    }
}

/* All columns of R rows. */
INLINE void interleaved_rows(const int KH, const int R, const Interleaved *t, Bands whole)
{
    const Geometry *g = &t->g;
    const ptrdiff_t stop = whole.first + whole.vectors * VL, step = VL % t->C;
    ptrdiff_t phase = whole.first % t->C;
    for (ptrdiff_t col = whole.first ? 0 : stop; col < g->OW;
         col = col + VL == whole.first ? stop : col + VL) {
        const ptrdiff_t at = vector_at(g, col);
        interleaved_tile(KH, R, 1, t, at, at % t->C);
    }
    for (ptrdiff_t col = whole.first; col < stop; col += VL) {
        interleaved_tile(KH, R, 0, t, col, phase);
        phase += step;
        if (phase >= t->C)
            phase -= t->C;
    }
}

typedef void (*InterleavedRows)(const Interleaved *t, Bands whole);

#define INTERLEAVED_HEIGHTS(X, KH) \
    X(KH, 1) X(KH, 2) X(KH, 3) X(KH, 4) X(KH, 5) X(KH, 6) X(KH, 7) X(KH, 8)
#define ALL_INTERLEAVED(X) \
    INTERLEAVED_HEIGHTS(X, 0) INTERLEAVED_HEIGHTS(X, 2) INTERLEAVED_HEIGHTS(X, 3) \
    INTERLEAVED_HEIGHTS(X, 4) INTERLEAVED_HEIGHTS(X, 5) INTERLEAVED_HEIGHTS(X, 6) \
    INTERLEAVED_HEIGHTS(X, 7)

#define DEFINE_INTERLEAVED(KH, R) \
    static void interleaved_##KH##x##R(const Interleaved *t, Bands whole) \
    { \
        interleaved_rows(KH, R, t, whole); \
    }
ALL_INTERLEAVED(DEFINE_INTERLEAVED)

#define LIST_INTERLEAVED(KH, R) [KH][R] = interleaved_##KH##x##R,
static const InterleavedRows interleaved_code[HIGHEST_SHARED + 1][INTERLEAVED_TALLEST + 1] = {
    ALL_INTERLEAVED(LIST_INTERLEAVED)
};

/* ---------------------------------------------------------------- whole pictures */

static ptrdiff_t interleaved_zero_cells(const Geometry *g) { return g->IW * g->OC; }

static ptrdiff_t interleaved_weight_cells(const Geometry *g)
{
    return g->KH * g->KW * interleaved_pitch(g);
}

/* The bias, and the rows that a strip reads. */
static ptrdiff_t interleaved_scratch(const Planes *p)
{
    const Geometry *g = &p->geometry;
    return interleaved_pitch(g) * (ptrdiff_t)sizeof(real)
        + (INTERLEAVED_TALLEST - 1 + g->KH) * (ptrdiff_t)sizeof(real *);
}

/* n channels, again and again. */
INLINE void repeat_channels(real *cells, ptrdiff_t n, ptrdiff_t pitch)
{
    for (ptrdiff_t i = n; i < pitch; i++)
        cells[i] = cells[i - n];
}

/* The weights as [kw][kh][channel, repeated]. */
static void interleaved_pack(const Geometry *g, ptrdiff_t blocks, const void *w_,
                             const ptrdiff_t *strides, void *packed_)
{
    const real *w = w_;
    real *packed = packed_;
    const ptrdiff_t pitch = interleaved_pitch(g);
    for (ptrdiff_t kw = 0; kw < g->KW; kw++)
        for (ptrdiff_t kh = 0; kh < g->KH; kh++, packed += pitch) {
            gather_run(w + kh * strides[2] + kw * strides[3], strides[0], packed, g->OC);
            repeat_channels(packed, g->OC, pitch);
        }
}

/* R rows of output from row oh on, DH rows apart. */
static void interleaved_strip(const Planes *p, Interleaved *t, const real *x, real *out,
                              ptrdiff_t oh, ptrdiff_t R, Bands whole)
{
    const Geometry *g = &t->g;
    for (ptrdiff_t i = 0; i < R - 1 + g->KH; i++) {
        const ptrdiff_t row = oh - g->PT + i * g->DH;
        t->rows[i] = ((size_t)row < (size_t)g->IH ? x + row * g->x_h : (const real *)p->zeros)
            - g->PL;
    }
    t->out = out + oh * g->out_h;
    interleaved_code[g->KH <= HIGHEST_SHARED && g->KH >= LOWEST_SHARED ? g->KH : 0][R](t, whole);
    if (t->clamp.rest != ACT_NONE)
        for (ptrdiff_t r = 0; r < R; r++) {
            real *row = t->out + r * t->out_h;
            activate_dense(t->clamp.rest, vsplat((real)p->slope), row, row, g->OW);
        }
}

/* Work items are chunks of the rows of an image: item = n * chunks + chunk. */
static void interleaved_run(const Planes *p, ptrdiff_t begin, ptrdiff_t end, void *scratch)
{
    Interleaved t = {.g = p->geometry, .C = p->geometry.OC,
                     .pitch = interleaved_pitch(&p->geometry), .weights = p->weights,
                     .bias = scratch, .clamp = clamp_of(p->activation)};
    Geometry *g = &t.g;
    real *bias = scratch;
    t.rows = (const real **)(bias + t.pitch);
    if (p->bias)
        copy_run(p->bias, bias, t.C);
    else
        zero_run(bias, t.C);
    repeat_channels(bias, t.C, t.pitch);
    g->IC = g->OC = 1;
    g->IW *= t.C, g->OW *= t.C, g->PL *= t.C, g->DW *= t.C;
    t.out_h = g->DH * g->out_h;
    const Bands whole = whole_bands(g, 1);
    for (ptrdiff_t item = begin; item < end; item++) {
        const ptrdiff_t n = item / p->chunks, chunk = item % p->chunks;
        const real *x = (const real *)p->x + n * p->x_n;
        real *out = (real *)p->out + n * p->out_n;
        const ptrdiff_t first = first_of(chunk, p->chunks, g->OH);
        const ptrdiff_t stop = first_of(chunk + 1, p->chunks, g->OH);
        for (ptrdiff_t residue = first; residue < least(first + g->DH, stop); residue++) {
            const ptrdiff_t rows = ceil_div(stop - residue, g->DH);
            const ptrdiff_t strips = ceil_div(rows, INTERLEAVED_TALLEST);
            for (ptrdiff_t i = 0; i < strips; i++) {
                const ptrdiff_t from = first_of(i, strips, rows);
                interleaved_strip(p, &t, x, out, residue + from * g->DH,
                                  first_of(i + 1, strips, rows) - from, whole);
            }
        }
    }
}

#endif
