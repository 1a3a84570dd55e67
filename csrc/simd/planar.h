/* Convolution of whole planes: few channels in and out, vectors along the pixels of a row.
 *
 * Where the picture's rows can be read as they are, the tile does so. What hangs over the left and
 * right borders, narrow pictures, strided columns and other memory orders are copied to a patch
 * with the padding written out, in slabs of rows that fit the first cache. Rows above and below the
 * picture are one row of zeros: padded zeros are factors like any other.
 *
 * One plane by one 3×3 kernel rolls down the rows instead, see roll3.h; kernels of few rows have
 * straight code, see straight.h.
 */
#ifndef FASTCONV_PLANAR_H
#define FASTCONV_PLANAR_H

#include "span.h"
#include "plane_tile.h"
#include "planes.h"
#include "roll3.h"
#include "straight.h"

enum {
    STRIP_BYTES = 8 * 1024,   /* larger planes */
    STRIP = 8,                /* roll in strips of so many rows */
    PATCH_BYTES = 32 * 1024,  /* of the first cache for a patch, if a tile needs no more, */
    MOST_PATCHED = 16 * VL,   /* which serves so many columns */
};

INLINE ptrdiff_t divisor_of(ptrdiff_t a, ptrdiff_t b)
{
    while (b) {
        const ptrdiff_t rest = a % b;
        a = b, b = rest;
    }
    return a;
}

/* Where part i begins of n things divided as evenly as can be. */
INLINE ptrdiff_t part_of(ptrdiff_t i, ptrdiff_t parts, ptrdiff_t n)
{
    return parts == 1 ? n * i : n * i / parts;
}

/* Cells of the row that stands for all rows outside the picture. */
static ptrdiff_t planar_zero_cells(const Geometry *g)
{
    return g->IW + 2 * (WIDEST_ROLL + 1) * VL;
}

static ptrdiff_t planar_weight_cells(const Geometry *g) { return g->OC * g->IC * g->KH * g->KW; }

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

/* What the tiles of one call have in common, and one thread's scratch memory. */
typedef struct {
    const Planes *p;
    ptrdiff_t chains; /* of one channel */
    ptrdiff_t jump;   /* between the output rows of a tile */
    ptrdiff_t M, V;   /* of the largest tile */
    ptrdiff_t low, vectors; /* columns low … low + vectors * VL are read in place */
    ptrdiff_t tall;         /* rows of a slab, whose tiles share a patch */
    ptrdiff_t width;        /* output columns of a patch */
    ptrdiff_t slots, slot;  /* of a patch's row, and the cells of each */
    ptrdiff_t *columns, *patch_columns;
    mask *inside;      /* for each vector of a patch's row, the lanes in the picture */
    ptrdiff_t at;      /* the patch's first column that these are for */
    const real **rows; /* of one tile */
    real *weights, *patch, *sums;
} PlanarWork;

/* Rows that all chains read for n rows of output. */
INLINE ptrdiff_t rows_read(const PlanarWork *work, ptrdiff_t n)
{
    const Geometry *g = &work->p->geometry;
    return g->IC * (g->KH + work->chains * (n - 1));
}

/* Rows of a tile of M channels. */
INLINE ptrdiff_t tile_rows(const PlanarWork *work, ptrdiff_t M)
{
    return plane_rows((int)M, (int)work->V);
}

/* Which columns are read in place, and how large a patch for the others is. A narrow picture costs
 * less in one patch than in several. */
static void divide_columns(PlanarWork *work)
{
    const Geometry *g = &work->p->geometry;
    const ptrdiff_t reach = (g->KW - 1) * g->DW, rows = tile_rows(work, work->M);
    work->low = (g->PL + VL - 1) / VL * VL;
    work->vectors = most(least(g->OW, g->IW + g->PL - reach) - work->low, 0) / VL;
    if (g->SW != 1 || g->x_w != 1 || work->vectors < 2 * WIDEST)
        work->low = g->OW, work->vectors = 0;
    const ptrdiff_t right = g->OW - work->low - work->vectors * VL;
    work->width = least(most(work->low, right), MOST_PATCHED);
    work->width = (work->width + VL - 1) / VL * VL;
    work->slot = (work->width + reach / g->SW + VL - 1) / VL * VL;
    const ptrdiff_t row_bytes = work->slots * work->slot * (ptrdiff_t)sizeof(real);
    work->tall = rows;
    while (work->tall < g->OH && rows_read(work, work->tall + rows) * row_bytes <= PATCH_BYTES)
        work->tall += rows;
}

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
    work->slots = least(g->SW / common_w, g->KW);
    divide_columns(work);
    ptrdiff_t end = 0;
#define TAKE(member, count) \
    do { \
        work->member = (void *)(base + end); \
        end += ((count) * (ptrdiff_t)sizeof *work->member + 63) / 64 * 64; \
    } while (0)
    TAKE(columns, g->KW);
    TAKE(patch_columns, g->KW);
    TAKE(inside, g->SW * work->slot / VL);
    TAKE(rows, rows_read(work, TALLEST));
    TAKE(weights, work->chains > 1 ? work->M * g->IC * g->KH * g->KW : 0);
    TAKE(patch, rows_read(work, work->tall) * work->slots * work->slot);
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
    work->at = PTRDIFF_MIN; /* none yet */
    for (ptrdiff_t kw = 0; kw < g->KW; kw++) {
        work->columns[kw] = kw * g->DW;
        work->patch_columns[kw] = kw % period * work->slot + kw * g->DW / g->SW;
    }
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

/* ---------------------------------------------------------------- slabs */

/* Output rows oh, oh + jump, … of a block. */
typedef struct {
    const real *x; /* the first channel of the group in one image */
    real *out;     /* the block's first channel there */
    ptrdiff_t M, oh, rows;
} Slab;

/* The picture's row that row i of a chain is. */
INLINE ptrdiff_t slab_row(const PlanarWork *work, const Slab *slab, ptrdiff_t chain, ptrdiff_t i)
{
    const Geometry *g = &work->p->geometry;
    return slab->oh * g->SH - g->PT + chain * g->DH + i * work->jump * g->SH;
}

/* Where the windows of output column 0 begin, in every row that a tile reads in place. */
static void find_in_place(const PlanarWork *work, const Slab *slab, ptrdiff_t first, ptrdiff_t R)
{
    const Geometry *g = &work->p->geometry;
    const real **rows = work->rows, *zeros = (const real *)work->p->zeros - g->PL;
    for (ptrdiff_t ic = 0; ic < g->IC; ic++)
        for (ptrdiff_t chain = 0; chain < work->chains; chain++) {
            const ptrdiff_t n = chain_length(g->KH, work->chains, chain) + R - 1;
            for (ptrdiff_t i = 0; i < n; i++) {
                const ptrdiff_t row = slab_row(work, slab, chain, first + i);
                *rows++ = row < 0 || row >= g->IH ? zeros
                    : slab->x + ic * g->x_c + row * g->x_h - g->PL;
            }
        }
}

/* The same in a patch. */
static void find_in_patch(const PlanarWork *work, const Slab *slab, ptrdiff_t first, ptrdiff_t R)
{
    const Geometry *g = &work->p->geometry;
    const ptrdiff_t pitch = work->slots * work->slot;
    const real **rows = work->rows, *patch = work->patch + first * pitch;
    for (ptrdiff_t ic = 0; ic < g->IC; ic++)
        for (ptrdiff_t chain = 0; chain < work->chains; chain++) {
            const ptrdiff_t length = chain_length(g->KH, work->chains, chain);
            for (ptrdiff_t i = 0; i < length + R - 1; i++)
                *rows++ = patch + i * pitch;
            patch += (length + slab->rows - 1) * pitch;
        }
}

/* The lanes of the picture in each of the vectors that follow one another from column `first`. */
static void find_inside(PlanarWork *work, ptrdiff_t first)
{
    const Geometry *g = &work->p->geometry;
    for (ptrdiff_t i = 0; i < g->SW * work->slot / VL; i++) {
        const ptrdiff_t low = -first - i * VL, high = g->IW - first - i * VL;
        work->inside[i] = vbetween(limited(low), limited(high));
    }
    work->at = first;
}

/* n cells of a row, n a multiple of VL, as they are or every other one; x may be outside. */
INLINE void fill_row(const int step, ptrdiff_t slots, const real *x, const mask *inside, real *dst,
                     ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i += VL, x += step * VL, inside += step) {
        const vec a = vload_where(inside[0], x);
        const vec b = step == 2 ? vload_where(inside[1], x + VL) : a;
        vstore(dst + i, step == 2 ? veven(a, b) : a);
        if (step == 2 && slots == 2)
            vstore(dst + n + i, vodd(a, b));
    }
}

/* The cells that the output columns from `col` on meet in all rows of a slab, zero beyond. */
static void fill_patch(PlanarWork *work, const Slab *slab, ptrdiff_t col)
{
    const Geometry *g = &work->p->geometry;
    const ptrdiff_t first = col * g->SW - g->PL, pitch = work->slots * work->slot;
    const int is_quick = g->x_w == 1 && (g->SW == 1 || (g->SW == 2 && g->DW % 2));
    if (is_quick && work->at != first)
        find_inside(work, first);
    real *to = work->patch;
    for (ptrdiff_t ic = 0; ic < g->IC; ic++)
        for (ptrdiff_t chain = 0; chain < work->chains; chain++) {
            const ptrdiff_t rows = chain_length(g->KH, work->chains, chain) + slab->rows - 1;
            for (ptrdiff_t i = 0; i < rows; i++, to += pitch) {
                const ptrdiff_t row = slab_row(work, slab, chain, i);
                const real *x = slab->x + ic * g->x_c + row * g->x_h + first * g->x_w;
                if (row < 0 || row >= g->IH)
                    zero_run(to, pitch);
                else if (is_quick && g->SW == 1)
                    fill_row(1, 1, x, work->inside, to, work->slot);
                else if (is_quick)
                    fill_row(2, work->slots, x, work->inside, to, work->slot);
                else
                    for (ptrdiff_t slot = 0; slot < work->slots; slot++) {
                        const ptrdiff_t shift = slot * g->DW % g->SW;
                        gather_row(g, x + shift * g->x_w, 1, row,
                                   inside(first + shift, g->SW, work->slot, g->IW), g->SW,
                                   to + slot * work->slot, 0, work->slot);
                    }
            }
        }
}

/* R rows × n output columns from `col` on, which begin at `from` in the tile's rows. */
static void compute_tile(const PlanarWork *work, const Slab *slab, TileOfPlanes *tile,
                         ptrdiff_t first, ptrdiff_t R, ptrdiff_t from, ptrdiff_t col, ptrdiff_t n)
{
    const Geometry *g = &work->p->geometry;
    const ptrdiff_t width = (n + VL - 1) / VL, out_h = work->jump * g->out_h;
    real *out = slab->out + slab->oh * g->out_h + first * out_h + col * g->out_w;
    real *sums = g->out_w == 1 ? out : work->sums;
    tile->out_c = g->out_w == 1 ? g->out_c : R * width * VL;
    tile->out_h = g->out_w == 1 ? out_h : width * VL;
    plane_tiles[slab->M][R][width](tile, from, n, sums);
    const int rest = tile->clamp.rest;
    if (rest == ACT_NONE && g->out_w == 1)
        return;
    for (ptrdiff_t m = 0; m < slab->M; m++)
        for (ptrdiff_t r = 0; r < R; r++) {
            real *row = sums + m * tile->out_c + r * tile->out_h;
            if (rest != ACT_NONE)
                activate_dense(rest, vsplat((real)work->p->slope), row, row, n);
            if (g->out_w != 1)
                move(1, n, row, 0, 1, out + m * g->out_c + r * out_h, 0, g->out_w);
        }
}

/* Columns begin … end − 1 of a slab, in strips of tiles. */
static void compute_columns(const PlanarWork *work, const Slab *slab, TileOfPlanes *tile,
                            int in_place, ptrdiff_t begin, ptrdiff_t end)
{
    const ptrdiff_t tall = tile_rows(work, slab->M);
    const ptrdiff_t strips = (slab->rows + tall - 1) / tall;
    const ptrdiff_t vectors = (end - begin + VL - 1) / VL;
    const ptrdiff_t bands = (vectors + work->V - 1) / work->V;
    tile->columns = in_place ? work->columns : work->patch_columns;
    for (ptrdiff_t i = 0; i < strips; i++) {
        const ptrdiff_t first = part_of(i, strips, slab->rows);
        const ptrdiff_t R = part_of(i + 1, strips, slab->rows) - first;
        if (in_place)
            find_in_place(work, slab, first, R);
        else
            find_in_patch(work, slab, first, R);
        for (ptrdiff_t band = 0; band < bands; band++) {
            const ptrdiff_t from = part_of(band, bands, vectors) * VL;
            const ptrdiff_t stop = least(part_of(band + 1, bands, vectors) * VL, end - begin);
            compute_tile(work, slab, tile, first, R, in_place ? begin + from : from, begin + from,
                         stop - from);
        }
    }
}

static void compute_patched(PlanarWork *work, const Slab *slab, TileOfPlanes *tile,
                            ptrdiff_t begin, ptrdiff_t end)
{
    for (ptrdiff_t col = begin; col < end; col += work->width) {
        fill_patch(work, slab, col);
        compute_columns(work, slab, tile, 0, col, least(col + work->width, end));
    }
}

/* Output rows first … stop − 1 of a block. */
static void compute_planes(PlanarWork *work, Slab *slab, TileOfPlanes *tile,
                           ptrdiff_t first, ptrdiff_t stop)
{
    const Geometry *g = &work->p->geometry;
    const ptrdiff_t high = work->low + work->vectors * VL;
    tile->rows = work->rows;
    for (ptrdiff_t residue = 0; residue < work->jump && first + residue < stop; residue++) {
        const ptrdiff_t rows = (stop - first - residue + work->jump - 1) / work->jump;
        for (ptrdiff_t from = 0; from < rows; from += work->tall) {
            slab->oh = first + residue + from * work->jump;
            slab->rows = least(work->tall, rows - from);
            compute_patched(work, slab, tile, 0, work->low);
            if (work->vectors)
                compute_columns(work, slab, tile, 1, work->low, high);
            compute_patched(work, slab, tile, high, g->OW);
        }
    }
}

/* ---------------------------------------------------------------- work items */

INLINE int can_roll(const Geometry *g)
{
    return g->IC == 1 && g->KH == 3 && g->KW == 3 && g->DH == 1 && g->DW == 1 && g->SH == g->SW
        && g->SW <= 2 && g->x_w == 1 && g->out_w == 1;
}

/* Rows first … stop − 1 of each of a block's M channels, or of two blocks of one channel. */
INLINE void roll_planes(const Planes *p, const RollColumns *columns, const Slab *at,
                        const TileOfPlanes *tile, int pair, ptrdiff_t first, ptrdiff_t stop)
{
    const Geometry *g = &p->geometry;
    const int is_large = g->IH * g->IW * (ptrdiff_t)sizeof(real) > STRIP_BYTES;
    const ptrdiff_t strip = is_large ? STRIP : stop - first;
    Roll roll = {.zeros = p->zeros, .x_h = g->x_h, .out_h = g->out_h, .IH = g->IH, .apart = at->M,
                 .x_next = g->x_c, .out_next = g->out_c, .clamp = tile->clamp};
    for (ptrdiff_t m = 0; m < at->M; m++) {
        roll.w = tile->weights + m;
        roll.bias = tile->bias ? tile->bias + m : NULL;
        for (ptrdiff_t from = first; from < stop; from += strip) {
            roll.rows = least(strip, stop - from);
            roll.row = from * g->SH - g->PT;
            roll.x = at->x + roll.row * g->x_h - g->PL;
            roll.out = at->out + m * g->out_c + from * g->out_h;
            if (pair)
                (g->SW == 1 ? roll_planes_1 : roll_planes_2)(&roll, columns->edges);
            else if (g->SW == 1)
                roll_rows(1, &roll, columns);
            else
                roll_rows(2, &roll, columns);
            if (tile->clamp.rest == ACT_NONE)
                continue;
            for (ptrdiff_t i = 0; i < roll.rows * (pair ? 2 : 1); i++) {
                real *row = roll.out + i % roll.rows * g->out_h + i / roll.rows * g->out_c;
                activate_dense(tile->clamp.rest, vsplat((real)p->slope), row, row, g->OW);
            }
        }
    }
}

/* Rows first … stop − 1 of a block of one channel, by straight code. */
INLINE void straight_planes(const Planes *p, const Slab *at, const TileOfPlanes *tile,
                            ptrdiff_t first, ptrdiff_t stop)
{
    const Geometry *g = &p->geometry;
    Straight s = {.x = at->x, .zeros = p->zeros, .channels = g->IC, .x_c = g->x_c, .x_h = g->x_h,
                  .IH = g->IH, .IW = g->IW, .DH = g->DH, .DW = g->DW, .KW = g->KW,
                  .w = tile->weights, .bias = tile->bias ? *tile->bias : 0,
                  .clamp = tile->clamp, .out = at->out};
    straight_plane(g, &s, first, stop);
    if (tile->clamp.rest == ACT_NONE)
        return;
    for (ptrdiff_t row = first; row < stop; row++) {
        real *out = at->out + row * g->out_h;
        activate_dense(tile->clamp.rest, vsplat((real)p->slope), out, out, g->OW);
    }
}

static void planar_run(const Planes *p, ptrdiff_t begin, ptrdiff_t end, void *scratch)
{
    const Geometry *g = &p->geometry;
    RollColumns columns;
    int rolls = can_roll(g);
    if (rolls) {
        roll_columns(&columns, (int)g->SW, g->PL, g->IW, g->OW);
        rolls = columns.count <= MOST_EDGES;
    }
    const int pairs = rolls && g->OC == 1 && p->chunks == 1 && rolls_in_pairs(&columns);
    PlanarWork work;
    planar_lay_out(p, scratch, &work);
    if (!rolls)
        planar_offsets(&work);
    TileOfPlanes tile = {.channels = g->IC, .chains = work.chains, .KH = g->KH, .KW = g->KW,
                         .clamp = clamp_of(p->activation)};
    ptrdiff_t chunk = begin % p->chunks, block = begin / p->chunks % p->blocks;
    ptrdiff_t group = begin / p->chunks / p->blocks % p->G;
    ptrdiff_t n = begin / p->chunks / p->blocks / p->G;
    for (ptrdiff_t item = begin; item < end; item++) {
        const ptrdiff_t first = part_of(block, p->blocks, g->OC), oc = group * g->OC + first;
        Slab slab = {
            .x = (const real *)p->x + n * p->x_n + group * g->IC * g->x_c,
            .out = (real *)p->out + n * p->out_n + oc * g->out_c,
            .M = part_of(block + 1, p->blocks, g->OC) - first,
        };
        const real *w = (const real *)p->weights + oc * g->IC * g->KH * g->KW;
        const ptrdiff_t row = part_of(chunk, p->chunks, g->OH);
        const ptrdiff_t stop = part_of(chunk + 1, p->chunks, g->OH);
        const int pair = pairs && item + 1 < end && group + 1 < p->G;
        tile.bias = p->bias ? (const real *)p->bias + oc : NULL;
        const int straight = !rolls && slab.M == 1 && is_straight(g);
        tile.weights = rolls || straight ? w : in_chains(&work, w, slab.M);
        if (rolls)
            roll_planes(p, &columns, &slab, &tile, pair, row, stop);
        else if (straight)
            straight_planes(p, &slab, &tile, row, stop);
        else
            compute_planes(&work, &slab, &tile, row, stop);
        if (pair)
            item++, group++;
        if (++chunk < p->chunks)
            continue;
        chunk = 0;
        if (++block < p->blocks)
            continue;
        block = 0;
        if (++group == p->G)
            group = 0, n++;
    }
}

#endif
