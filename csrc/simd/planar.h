/* Convolution of whole planes: few channels in and out, vectors along the pixels of a row.
 *
 * Where the picture's rows can be read as they are, the tiles do so, under masks at the left and
 * right borders. Other strides and memory orders are copied to a patch with the padding written
 * out. Both go in slabs of rows that fit the first cache. Rows above and below the picture are one
 * row of zeros: padded zeros are factors like any other.
 *
 * One plane by one 3×3 kernel rolls down the rows instead, see roll3.h; kernels of few rows have
 * straight code, see straight.h.
 */
#ifndef FASTCONV_PLANAR_H
#define FASTCONV_PLANAR_H

#include "in_place.h"
#include "plane_tile.h"
#include "planes.h"
#include "roll3.h"
#include "span.h"
#include "straight.h"
#include "sums.h"

enum {
    STRIP_BYTES = 8 * 1024,   /* larger planes */
    STRIP = 8,                /* roll in strips of so many rows */
    SLAB_BYTES = 24 * 1024,   /* of the first cache for a slab's input, if a tile needs no more */
    MOST_PATCHED = 16,        /* vectors of output columns of a patch */
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
    ptrdiff_t M;      /* of the largest block */
    ptrdiff_t tall;   /* rows of a slab */
    int in_place;     /* whether rows are read where they lie */
    Bands whole;      /* then: the columns that need no masks, */
    ptrdiff_t edges, loads; /* vectors that do, and the loads of each from a row */
    ptrdiff_t width;        /* else: output columns of a patch, */
    ptrdiff_t slots, slot;  /* the slots of its rows, and the cells of each */
    ptrdiff_t *columns;     /* of the kernel, in a row */
    mask *masks;            /* [edge][load], and of whole vectors */
    const real **rows;      /* of a slab */
    real *weights, *patch, *sums;
} PlanarWork;

/* Rows that all chains read for n rows of output. */
INLINE ptrdiff_t rows_read(const PlanarWork *work, ptrdiff_t n)
{
    const Geometry *g = &work->p->geometry;
    return g->IC * (g->KH + work->chains * (n - 1));
}

/* The stride at which tiles read rows. */
INLINE int tile_stride(const PlanarWork *work)
{
    return work->in_place ? (int)work->p->geometry.SW : 1;
}

/* Whether tiles of M channels should part columns in registers, for each kernel row anew: a patch,
 * whose rows they share, does it once. */
INLINE int parts(const Geometry *g, ptrdiff_t M)
{
    return g->SW == 2 && g->DW == 1 && (M > SHARING || is_straight(g));
}

/* How rows are cut into vectors, and how many of them make a slab. */
static void divide(PlanarWork *work)
{
    const Geometry *g = &work->p->geometry;
    const int S = tile_stride(work);
    const ptrdiff_t all = ceil_div(g->OW, VL);
    ptrdiff_t vectors, row;
    if (work->in_place) {
        work->whole = whole_bands(g, WIDEST);
        work->edges = edge_vectors(g, &work->whole);
        work->loads = ceil_div(g->KW, S) * S;
        work->width = work->slot = 0;
        vectors = most(work->whole.vectors, 1);
        row = g->IW;
    } else {
        work->edges = work->loads = 0;
        vectors = least(all, MOST_PATCHED);
        work->width = vectors * VL;
        work->slot = (vectors + ceil_div((g->KW - 1) * g->DW / g->SW, VL)) * VL;
        row = work->slots * work->slot;
    }
    vectors = ceil_div(vectors, ceil_div(vectors, WIDEST));
    const ptrdiff_t tile = plane_rows(S, (int)work->M, (int)vectors);
    work->tall = tile;
    while (work->tall < g->OH
           && rows_read(work, work->tall + tile) * row * (ptrdiff_t)sizeof(real) <= SLAB_BYTES)
        work->tall += tile;
}

/* Lay out the scratch memory from `base` on; the bytes that it takes. */
static ptrdiff_t planar_lay_out(const Planes *p, char *base, PlanarWork *work)
{
    const Geometry *g = &p->geometry;
    const ptrdiff_t common = divisor_of(g->SH, g->DH), common_w = divisor_of(g->SW, g->DW);
    work->p = p;
    work->chains = least(g->SH / common, g->KH);
    work->jump = g->DH / common;
    work->M = ceil_div(g->OC, p->blocks);
    work->in_place = g->x_w == 1 && (g->SW == 1 || parts(g, work->M));
    work->slots = least(g->SW / common_w, g->KW);
    divide(work);
    ptrdiff_t end = 0;
#define TAKE(member, count) \
    do { \
        work->member = (void *)(base + end); \
        end += ((count) * (ptrdiff_t)sizeof *work->member + 63) / 64 * 64; \
    } while (0)
    TAKE(columns, g->KW);
    TAKE(masks, (work->edges + 1) * work->loads);
    TAKE(rows, rows_read(work, work->tall));
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

/* Offsets of the kernel's columns, and the masks of the borders. */
static void planar_offsets(PlanarWork *work)
{
    const Geometry *g = &work->p->geometry;
    const ptrdiff_t period = g->SW / divisor_of(g->SW, g->DW);
    for (ptrdiff_t kw = 0; kw < g->KW; kw++)
        work->columns[kw] = work->in_place ? kw * g->DW
            : kw % period * work->slot + kw * g->DW / g->SW;
    for (ptrdiff_t i = 0; i < work->edges; i++)
        for (ptrdiff_t load = 0; load < work->loads; load++) {
            const ptrdiff_t at = g->SW == 1 ? load * g->DW : load / 2 * 2 + load % 2 * VL;
            const ptrdiff_t col = edge_column(g, &work->whole, i) * g->SW - g->PL;
            work->masks[i * work->loads + load] = in_picture(g, col + at);
        }
    for (ptrdiff_t load = 0; load < work->loads; load++)
        work->masks[work->edges * work->loads + load] = vfirst(VL);
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

/* Where the windows of output column 0 begin in every row that the slab reads: in the picture, */
static void find_in_place(const PlanarWork *work, const Slab *slab)
{
    const Geometry *g = &work->p->geometry;
    const real **rows = work->rows, *zeros = (const real *)work->p->zeros - g->PL;
    const ptrdiff_t step = work->jump * g->SH;
    for (ptrdiff_t ic = 0; ic < g->IC; ic++)
        for (ptrdiff_t chain = 0; chain < work->chains; chain++) {
            const ptrdiff_t n = chain_length(g->KH, work->chains, chain) + slab->rows - 1;
            const ptrdiff_t row = slab_row(work, slab, chain, 0);
            const real *x = slab->x + ic * g->x_c + row * g->x_h - g->PL;
            for (ptrdiff_t i = 0; i < n; i++)
                *rows++ = (size_t)(row + i * step) < (size_t)g->IH ? x + i * step * g->x_h : zeros;
        }
}

/* or in the patch. */
static void find_in_patch(const PlanarWork *work, const Slab *slab)
{
    const ptrdiff_t n = rows_read(work, slab->rows), pitch = work->slots * work->slot;
    for (ptrdiff_t i = 0; i < n; i++)
        work->rows[i] = work->patch + i * pitch;
}

/* n cells of a row, every other one from column `first` on, and if there are two slots those
 * between; x is the cell at that column and may be outside. */
INLINE void part_row(const Geometry *g, ptrdiff_t slots, const real *x, ptrdiff_t first, real *dst,
                     ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i += VL, x += 2 * VL, first += 2 * VL) {
        const vec a = vload_where(in_picture(g, first), x);
        const vec b = vload_where(in_picture(g, first + VL), x + VL);
        vstore(dst + i, veven(a, b));
        if (slots == 2)
            vstore(dst + n + i, vodd(a, b));
    }
}

/* The cells that the output columns from `col` on meet in all rows of a slab, zero beyond. */
static void fill_patch(const PlanarWork *work, const Slab *slab, ptrdiff_t col)
{
    const Geometry *g = &work->p->geometry;
    const ptrdiff_t first = col * g->SW - g->PL;
    const int is_parted = g->x_w == 1 && g->SW == 2 && g->DW % 2 && VEC_BYTES > 16;
    real *to = work->patch;
    for (ptrdiff_t ic = 0; ic < g->IC; ic++)
        for (ptrdiff_t chain = 0; chain < work->chains; chain++) {
            const ptrdiff_t rows = chain_length(g->KH, work->chains, chain) + slab->rows - 1;
            for (ptrdiff_t i = 0; i < rows; i++) {
                const ptrdiff_t row = slab_row(work, slab, chain, i);
                const real *x = slab->x + ic * g->x_c + row * g->x_h + first * g->x_w;
                if (is_parted && (size_t)row < (size_t)g->IH) {
                    part_row(g, work->slots, x, first, to, work->slot);
                    to += work->slots * work->slot;
                    continue;
                }
                for (ptrdiff_t slot = 0; slot < work->slots; slot++, to += work->slot) {
                    const ptrdiff_t shift = slot * g->DW % g->SW;
                    gather_row(g, x + shift * g->x_w, 1, row,
                               inside(first + shift, g->SW, work->slot, g->IW), g->SW, to, 0,
                               work->slot);
                }
            }
        }
}

/* Finish R rows of each channel that a tile left in `sums`: n columns. */
static void finish_tile(const PlanarWork *work, const Slab *slab, const TileOfPlanes *tile,
                        ptrdiff_t R, ptrdiff_t n, real *sums, real *out)
{
    const Geometry *g = &work->p->geometry;
    const int rest = tile->clamp.rest;
    for (ptrdiff_t m = 0; m < slab->M; m++)
        for (ptrdiff_t r = 0; r < R; r++) {
            real *row = sums + m * tile->out_c + r * tile->out_h;
            if (rest != ACT_NONE)
                activate_dense(rest, vsplat((real)work->p->slope), row, row, n);
            if (g->out_w != 1)
                move(1, n, row, 0, 1, out + m * g->out_c + r * work->jump * g->out_h, 0, g->out_w);
        }
}

/* `count` tiles of R rows of the slab from row `first` on, n columns from `col` on, which begin at
 * `from` in the rows that are read. */
static void compute_tiles(const PlanarWork *work, const Slab *slab, TileOfPlanes *tile,
                          ptrdiff_t first, ptrdiff_t R, ptrdiff_t count, ptrdiff_t from,
                          ptrdiff_t col, ptrdiff_t n)
{
    const Geometry *g = &work->p->geometry;
    const ptrdiff_t width = ceil_div(n, VL), out_h = work->jump * g->out_h;
    real *out = slab->out + slab->oh * g->out_h + first * out_h + col * g->out_w;
    const PlaneTiles code = plane_tiles[tile_stride(work)][slab->M][R][width];
    if (g->out_w == 1) {
        tile->out_c = g->out_c, tile->out_h = out_h;
        code(tile, first, count, from, n, out);
        if (tile->clamp.rest != ACT_NONE)
            finish_tile(work, slab, tile, R * count, n, out, NULL);
        return;
    }
    tile->out_c = R * width * VL, tile->out_h = width * VL;
    for (; count--; first += R, out += R * out_h) {
        code(tile, first, 1, from, n, work->sums);
        finish_tile(work, slab, tile, R, n, work->sums, out);
    }
}

/* All rows of the slab, in tiles of nearly equal height; the columns are those above. */
static void compute_band(const PlanarWork *work, const Slab *slab, TileOfPlanes *tile,
                         ptrdiff_t from, ptrdiff_t col, ptrdiff_t n)
{
    const ptrdiff_t tall = plane_rows(tile_stride(work), (int)slab->M, (int)ceil_div(n, VL));
    const ptrdiff_t strips = ceil_div(slab->rows, tall), R = slab->rows / strips;
    const ptrdiff_t taller = slab->rows - R * strips;
    if (taller)
        compute_tiles(work, slab, tile, 0, R + 1, taller, from, col, n);
    compute_tiles(work, slab, tile, taller * (R + 1), R, strips - taller, from, col, n);
}

/* The columns that need masks. */
static void compute_edges(const PlanarWork *work, const Slab *slab, TileOfPlanes *tile)
{
    const Geometry *g = &work->p->geometry;
    for (ptrdiff_t i = 0; i < work->edges; i++) {
        const ptrdiff_t col = edge_column(g, &work->whole, i);
        tile->inside = work->masks + i * work->loads;
        compute_band(work, slab, tile, col * g->SW, col, least(VL, g->OW - col));
    }
    tile->inside = NULL;
}

/* n columns from `col` on that do not. */
static void compute_columns(const PlanarWork *work, const Slab *slab, TileOfPlanes *tile,
                            ptrdiff_t col, ptrdiff_t n)
{
    const ptrdiff_t vectors = ceil_div(n, VL), bands = ceil_div(vectors, WIDEST);
    for (ptrdiff_t band = 0; band < bands; band++) {
        const ptrdiff_t at = part_of(band, bands, vectors) * VL;
        const ptrdiff_t stop = least(part_of(band + 1, bands, vectors) * VL, n);
        const ptrdiff_t from = work->in_place ? (col + at) * tile_stride(work) : at;
        compute_band(work, slab, tile, from, col + at, stop - at);
    }
}

/* Output rows first … stop − 1 of a block. */
static void compute_planes(const PlanarWork *work, Slab *slab, TileOfPlanes *tile,
                           ptrdiff_t first, ptrdiff_t stop)
{
    const Geometry *g = &work->p->geometry;
    for (ptrdiff_t residue = 0; residue < work->jump && first + residue < stop; residue++) {
        const ptrdiff_t rows = ceil_div(stop - first - residue, work->jump);
        for (ptrdiff_t from = 0; from < rows; from += work->tall) {
            slab->oh = first + residue + from * work->jump;
            slab->rows = tile->slab_rows = least(work->tall, rows - from);
            if (work->in_place) {
                find_in_place(work, slab);
                compute_edges(work, slab, tile);
                if (work->whole.vectors)
                    compute_columns(work, slab, tile, work->whole.first, work->whole.vectors * VL);
                continue;
            }
            find_in_patch(work, slab);
            for (ptrdiff_t col = 0; col < g->OW; col += work->width) {
                fill_patch(work, slab, col);
                compute_columns(work, slab, tile, col, least(work->width, g->OW - col));
            }
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
INLINE void straight_planes(const PlanarWork *work, const Slab *at, const TileOfPlanes *tile,
                            ptrdiff_t first, ptrdiff_t stop)
{
    const Planes *p = work->p;
    const Geometry *g = &p->geometry;
    Straight s = {.x = at->x, .zeros = p->zeros, .channels = g->IC, .x_c = g->x_c, .x_h = g->x_h,
                  .IH = g->IH, .IW = g->IW, .DH = g->DH, .DW = g->DW, .KW = g->KW,
                  .masks = work->masks, .edges = work->edges, .loads = work->loads,
                  .w = tile->weights, .bias = tile->bias ? *tile->bias : 0,
                  .clamp = tile->clamp, .out = at->out};
    SYMBOL(straight)(g, &s, first, stop);
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
                         .rows = work.rows, .columns = work.columns,
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
            straight_planes(&work, &slab, &tile, row, stop);
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
