/* Convolution of whole planes: few channels in and out, vectors along the pixels of a row.
 *
 * Output rows are computed in strips as high as a register tile, and a strip from left to right.
 * Where the picture's rows can be read as they are, the tile does so. What hangs over
 * the left and right borders, strided columns and other memory orders are copied, band by band and
 * with the padding written out, to a small patch. Rows above and below the picture are one row
 * of zeros: padded zeros are factors like any other.
 *
 * One plane by one 3×3 kernel rolls down the rows instead, see roll3.h.
 */
#ifndef FASTCONV_PLANAR_H
#define FASTCONV_PLANAR_H

#include "gather.h"
#include "plane_tile.h"
#include "planes.h"
#include "roll3.h"

enum { STRIP_BYTES = 256 * 1024, STRIP = 8 }; /* larger planes roll in strips of so many rows */

INLINE ptrdiff_t divisor_of(ptrdiff_t a, ptrdiff_t b)
{
    while (b) {
        const ptrdiff_t rest = a % b;
        a = b, b = rest;
    }
    return a;
}

INLINE ptrdiff_t part_of(ptrdiff_t i, ptrdiff_t parts, ptrdiff_t n) { return n * i / parts; }

/* Cells of the row that stands for all rows outside the picture. */
static ptrdiff_t planar_zero_cells(const Geometry *g)
{
    return g->IW + 2 * (WIDEST_ROLL + 1) * VL;
}

/* One group's weights [oc][ic][kh][kw] of any strides as blocks of output channels, in each
 * [ic][kw][kh][m]. */
static void planar_pack(const Geometry *g, ptrdiff_t blocks, const void *w_,
                        const ptrdiff_t *strides, void *packed_)
{
    const real *w = w_;
    real *packed = packed_;
    for (ptrdiff_t block = 0; block < blocks; block++)
        for (ptrdiff_t ic = 0; ic < g->IC; ic++)
            for (ptrdiff_t kw = 0; kw < g->KW; kw++)
                for (ptrdiff_t kh = 0; kh < g->KH; kh++)
                    for (ptrdiff_t oc = part_of(block, blocks, g->OC);
                         oc < part_of(block + 1, blocks, g->OC); oc++)
                        *packed++ = w[oc * strides[0] + ic * strides[1] + kh * strides[2]
                                      + kw * strides[3]];
}

/* ---------------------------------------------------------------- a block and its scratch */

/* What the strips of one call have in common, and one thread's scratch memory. */
typedef struct {
    const Planes *p;
    ptrdiff_t chains, length; /* of one channel, and the rows of all its chains beyond R − 1 each */
    ptrdiff_t jump;           /* between the output rows of a tile */
    ptrdiff_t M, V;           /* of the largest tile */
    int in_place;             /* x can be read as it is inside the picture */
    ptrdiff_t slots, slot;    /* of a patch's row, and the cells of each */
    ptrdiff_t *columns, *patch_columns;
    const real **rows, **patch_rows;
    real *weights, *patch, *sums;
} PlanarWork;

/* Lay out the scratch memory from `base` on; the bytes that it takes. */
static ptrdiff_t planar_lay_out(const Planes *p, char *base, PlanarWork *work)
{
    const Geometry *g = &p->geometry;
    const ptrdiff_t common = divisor_of(g->SH, g->DH), common_w = divisor_of(g->SW, g->DW);
    work->p = p;
    work->chains = least(g->SH / common, g->KH);
    work->jump = g->DH / common;
    work->M = (g->OC + p->blocks - 1) / p->blocks;
    work->V = least(plane_vectors((int)work->M), (g->OW + VL - 1) / VL);
    work->in_place = g->SW == 1 && g->x_w == 1;
    work->slots = least(g->SW / common_w, g->KW);
    work->slot = work->V * VL + (g->KW - 1) * g->DW / g->SW;
    const ptrdiff_t rows = g->IC * (g->KH + work->chains * (TALLEST - 1));
    ptrdiff_t end = 0;
#define TAKE(member, count) \
    do { \
        work->member = (void *)(base + end); \
        end += ((count) * (ptrdiff_t)sizeof *work->member + 63) / 64 * 64; \
    } while (0)
    TAKE(columns, g->KW);
    TAKE(patch_columns, g->KW);
    TAKE(rows, rows);
    TAKE(patch_rows, rows);
    TAKE(weights, work->chains > 1 ? work->M * g->IC * g->KH * g->KW : 0);
    TAKE(patch, rows * work->slots * work->slot);
    TAKE(sums, g->out_w == 1 ? 0 : SUMS_HELD * VL);
#undef TAKE
    return end;
}

static ptrdiff_t planar_scratch(const Planes *p)
{
    PlanarWork work;
    return planar_lay_out(p, NULL, &work);
}

static void planar_offsets(PlanarWork *work)
{
    const Geometry *g = &work->p->geometry;
    const ptrdiff_t period = g->SW / divisor_of(g->SW, g->DW);
    const ptrdiff_t rows = g->IC * (g->KH + work->chains * (TALLEST - 1));
    for (ptrdiff_t kw = 0; kw < g->KW; kw++) {
        work->columns[kw] = kw * g->DW;
        work->patch_columns[kw] = kw % period * work->slot + kw * g->DW / g->SW;
    }
    for (ptrdiff_t i = 0; i < rows; i++)
        work->patch_rows[i] = work->patch + i * work->slots * work->slot;
}

/* A block's weights [ic][kw][kh][m] as [ic][chain][kw][kh][m]. */
static const real *in_chains(const PlanarWork *work, const real *w, ptrdiff_t M)
{
    const Geometry *g = &work->p->geometry;
    if (work->chains == 1)
        return w;
    real *to = work->weights;
    for (ptrdiff_t ic = 0; ic < g->IC; ic++)
        for (ptrdiff_t chain = 0; chain < work->chains; chain++)
            for (ptrdiff_t kw = 0; kw < g->KW; kw++)
                for (ptrdiff_t kh = chain; kh < g->KH; kh += work->chains)
                    for (ptrdiff_t m = 0; m < M; m++)
                        *to++ = w[((ic * g->KW + kw) * g->KH + kh) * M + m];
    return work->weights;
}

/* ---------------------------------------------------------------- strips */

typedef struct {
    const real *x; /* the first channel of the group in one image */
    real *out;     /* the block's first channel there */
    ptrdiff_t M, R, oh;
} PlanarStrip;

/* The picture's row that is row i of a chain in the strip. */
INLINE ptrdiff_t strip_row(const PlanarWork *work, const PlanarStrip *strip, ptrdiff_t chain,
                           ptrdiff_t i)
{
    const Geometry *g = &work->p->geometry;
    return strip->oh * g->SH - g->PT + chain * g->DH + i * work->jump * g->SH;
}

/* Where the windows of output column 0 begin, in every row that the strip reads. */
static void find_rows(const PlanarWork *work, const PlanarStrip *strip)
{
    const Geometry *g = &work->p->geometry;
    const real **rows = work->rows, *zeros = (const real *)work->p->zeros - g->PL;
    for (ptrdiff_t ic = 0; ic < g->IC; ic++)
        for (ptrdiff_t chain = 0; chain < work->chains; chain++) {
            const ptrdiff_t n = chain_length(g->KH, work->chains, chain) + strip->R - 1;
            for (ptrdiff_t i = 0; i < n; i++) {
                const ptrdiff_t row = strip_row(work, strip, chain, i);
                *rows++ = row < 0 || row >= g->IH ? zeros
                    : strip->x + ic * g->x_c + row * g->x_h - g->PL;
            }
        }
}

/* The cells that n output columns from `col` on meet; what a vector reads beyond is zero. */
static void fill_patch(const PlanarWork *work, const PlanarStrip *strip, ptrdiff_t col,
                       ptrdiff_t n)
{
    const Geometry *g = &work->p->geometry;
    const ptrdiff_t cells = n + (g->KW - 1) * g->DW / g->SW;
    real *to = work->patch;
    for (ptrdiff_t ic = 0; ic < g->IC; ic++)
        for (ptrdiff_t chain = 0; chain < work->chains; chain++) {
            const ptrdiff_t rows = chain_length(g->KH, work->chains, chain) + strip->R - 1;
            for (ptrdiff_t i = 0; i < rows; i++) {
                const ptrdiff_t row = strip_row(work, strip, chain, i);
                for (ptrdiff_t slot = 0; slot < work->slots; slot++, to += work->slot) {
                    const ptrdiff_t first = col * g->SW - g->PL + slot * g->DW % g->SW;
                    gather_row(g, strip->x + ic * g->x_c + row * g->x_h + first * g->x_w, 1, row,
                               inside(first, g->SW, cells, g->IW), g->SW, to, 0, cells);
                    zero_run(to + cells, work->slot - cells);
                }
            }
        }
}

/* n output columns from `col` on, read from there in `tile`'s rows or from their beginning. */
static void compute_columns(const PlanarWork *work, const PlanarStrip *strip, TileOfPlanes *tile,
                            ptrdiff_t from, ptrdiff_t col, ptrdiff_t n)
{
    const Geometry *g = &work->p->geometry;
    const ptrdiff_t width = (n + VL - 1) / VL;
    real *out = strip->out + strip->oh * g->out_h + col * g->out_w;
    tile->out_c = g->out_c, tile->out_h = work->jump * g->out_h;
    if (g->out_w != 1)
        tile->out_c = strip->R * width * VL, tile->out_h = width * VL;
    real *sums = g->out_w == 1 ? out : work->sums;
    plane_tiles[strip->M][strip->R][width](tile, from, n, sums);
    const int rest = tile->clamp.rest;
    if (rest == ACT_NONE && g->out_w == 1)
        return;
    for (ptrdiff_t m = 0; m < strip->M; m++)
        for (ptrdiff_t r = 0; r < strip->R; r++) {
            real *row = sums + m * tile->out_c + r * tile->out_h;
            if (rest != ACT_NONE)
                activate_dense(rest, vsplat((real)work->p->slope), row, row, n);
            if (g->out_w != 1)
                move(1, n, row, 0, 1, out + m * g->out_c + r * work->jump * g->out_h, 0,
                     g->out_w);
        }
}

/* Columns first … stop − 1 from patches. */
static void compute_patched(const PlanarWork *work, const PlanarStrip *strip, TileOfPlanes *tile,
                            ptrdiff_t first, ptrdiff_t stop)
{
    tile->rows = (const real *const *)work->patch_rows, tile->columns = work->patch_columns;
    for (ptrdiff_t col = first; col < stop; col += work->V * VL) {
        const ptrdiff_t n = least(work->V * VL, stop - col);
        fill_patch(work, strip, col, n);
        compute_columns(work, strip, tile, 0, col, n);
    }
}

/* Whole vectors of columns from `first` on, where they lie. */
static void compute_in_place(const PlanarWork *work, const PlanarStrip *strip, TileOfPlanes *tile,
                             ptrdiff_t first, ptrdiff_t vectors)
{
    find_rows(work, strip);
    tile->rows = (const real *const *)work->rows, tile->columns = work->columns;
    const ptrdiff_t bands = (vectors + work->V - 1) / work->V;
    for (ptrdiff_t i = 0; i < bands; i++) {
        const ptrdiff_t col = first + part_of(i, bands, vectors) * VL;
        compute_columns(work, strip, tile, col, col,
                        first + part_of(i + 1, bands, vectors) * VL - col);
    }
}

static void compute_strip(const PlanarWork *work, const PlanarStrip *strip, TileOfPlanes *tile)
{
    const Geometry *g = &work->p->geometry;
    const ptrdiff_t low = (g->PL + VL - 1) / VL * VL;
    const ptrdiff_t inside = least(g->OW, g->IW + g->PL - (g->KW - 1) * g->DW) - low;
    const ptrdiff_t vectors = most(inside, 0) / VL;
    if (!work->in_place || 2 * vectors * VL < g->OW) { /* a single patch costs less than two */
        compute_patched(work, strip, tile, 0, g->OW);
        return;
    }
    compute_patched(work, strip, tile, 0, low);
    compute_in_place(work, strip, tile, low, vectors);
    compute_patched(work, strip, tile, low + vectors * VL, g->OW);
}

/* Output rows first … stop − 1 of a block of M channels. */
static void compute_planes(const PlanarWork *work, PlanarStrip *strip, TileOfPlanes *tile,
                           ptrdiff_t first, ptrdiff_t stop)
{
    const ptrdiff_t tall = plane_rows((int)strip->M, (int)work->V);
    for (ptrdiff_t residue = 0; residue < work->jump && first + residue < stop; residue++) {
        const ptrdiff_t rows = (stop - first - residue + work->jump - 1) / work->jump;
        const ptrdiff_t strips = (rows + tall - 1) / tall;
        for (ptrdiff_t i = 0; i < strips; i++) {
            const ptrdiff_t from = part_of(i, strips, rows);
            strip->oh = first + residue + from * work->jump;
            strip->R = part_of(i + 1, strips, rows) - from;
            compute_strip(work, strip, tile);
        }
    }
}

/* ---------------------------------------------------------------- work items */

INLINE int can_roll(const Geometry *g)
{
    return g->IC == 1 && g->KH == 3 && g->KW == 3 && g->DH == 1 && g->DW == 1 && g->SH == g->SW
        && g->SW <= 2 && g->x_w == 1 && g->out_w == 1;
}

/* Rows first … stop − 1 of each of a block's M channels. */
static void roll_planes(const PlanarWork *work, const PlanarStrip *at, const TileOfPlanes *tile,
                        ptrdiff_t first, ptrdiff_t stop)
{
    const Geometry *g = &work->p->geometry;
    const int is_large = g->IH * g->IW * (ptrdiff_t)sizeof(real) > STRIP_BYTES;
    const ptrdiff_t strips = is_large ? (stop - first + STRIP - 1) / STRIP : 1;
    Roll roll = {.zeros = work->p->zeros, .x_h = g->x_h, .out_h = g->out_h, .IH = g->IH,
                 .clamp = tile->clamp};
    for (ptrdiff_t m = 0; m < at->M; m++) {
        roll.bias = vsplat(tile->bias ? tile->bias[m] : 0);
        for (int i = 0; i < 9; i++)
            roll.w[i] = vsplat(tile->weights[(i % 3 * 3 + i / 3) * at->M + m]);
        for (ptrdiff_t i = 0; i < strips; i++) {
            const ptrdiff_t from = first + part_of(i, strips, stop - first);
            roll.rows = first + part_of(i + 1, strips, stop - first) - from;
            roll.row = from * g->SH - g->PT;
            roll.x = at->x + roll.row * g->x_h - g->PL;
            real *out = at->out + m * g->out_c + from * g->out_h;
            if (g->SW == 1)
                roll_rows(1, &roll, g->PL, g->IW, g->OW, out);
            else
                roll_rows(2, &roll, g->PL, g->IW, g->OW, out);
            for (ptrdiff_t r = 0; r < roll.rows && tile->clamp.rest != ACT_NONE; r++)
                activate_dense(tile->clamp.rest, vsplat((real)work->p->slope),
                               out + r * g->out_h, out + r * g->out_h, g->OW);
        }
    }
}

static void planar_run(const Planes *p, ptrdiff_t begin, ptrdiff_t end, void *scratch)
{
    const Geometry *g = &p->geometry;
    const int rolls = can_roll(g);
    PlanarWork work;
    planar_lay_out(p, scratch, &work);
    if (!rolls)
        planar_offsets(&work);
    TileOfPlanes tile = {.channels = g->IC, .chains = work.chains, .KH = g->KH, .KW = g->KW,
                         .clamp = clamp_of(p->activation)};
    for (ptrdiff_t item = begin; item < end; item++) {
        const ptrdiff_t chunk = item % p->chunks, block = item / p->chunks % p->blocks;
        const ptrdiff_t group = item / p->chunks / p->blocks % p->G;
        const ptrdiff_t n = item / p->chunks / p->blocks / p->G;
        const ptrdiff_t first = part_of(block, p->blocks, g->OC), oc = group * g->OC + first;
        PlanarStrip strip = {
            .x = (const real *)p->x + n * p->x_n + group * g->IC * g->x_c,
            .out = (real *)p->out + n * p->out_n + oc * g->out_c,
            .M = part_of(block + 1, p->blocks, g->OC) - first,
        };
        const real *w = (const real *)p->weights + oc * g->IC * g->KH * g->KW;
        tile.bias = p->bias ? (const real *)p->bias + oc : NULL;
        const ptrdiff_t row = part_of(chunk, p->chunks, g->OH);
        const ptrdiff_t stop = part_of(chunk + 1, p->chunks, g->OH);
        tile.weights = rolls ? w : in_chains(&work, w, strip.M);
        if (rolls)
            roll_planes(&work, &strip, &tile, row, stop);
        else
            compute_planes(&work, &strip, &tile, row, stop);
    }
}

#endif
