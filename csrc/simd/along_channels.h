/* The product with vectors along the output channels: a pixel's sums lie side by side. */
#ifndef FASTCONV_ALONG_CHANNELS_H
#define FASTCONV_ALONG_CHANNELS_H

#include "sums.h"

enum {
#if VEC_BYTES == 64 || defined(__aarch64__)
    WIDEST_ALONG_CHANNELS = 4,
#else
    WIDEST_ALONG_CHANNELS = PANEL_VECTORS > 2 ? PANEL_VECTORS : 2,
#endif
};

/* Panels of output channels that are multiplied together, and where their sums lie. */
typedef struct {
    ptrdiff_t panels;
    int V;
    const real *weights, *bias;
    real *sums;
    ptrdiff_t pitch, row_pitch; /* from pixel to pixel, and from row to row */
} ChannelStrip;

/* What a pass asks for while it computes: the weights that come next, a panel's with each tile. */
typedef struct {
    const real *weights;
    ptrdiff_t panels;
} Coming;

/* The part of a region that lies in a block, seen from the block's first pixel. */
INLINE Rectangle part_of(const Rectangle *region, const Rectangle *block)
{
    Rectangle part = {most(region->oh, block->oh), most(region->ow, block->ow)};
    part.rows = least(region->oh + region->rows, block->oh + block->rows) - part.oh;
    part.cols = least(region->ow + region->cols, block->ow + block->cols) - part.ow;
    part.oh -= block->oh;
    part.ow -= block->ow;
    return part;
}

/* One pass over the pixels of `part`, in tiles along its rows or, where these are short, along its
 * columns. `first`: the pass that starts the sums. */
static void multiply_part(const Block *b, const ChannelStrip *strip, const Rectangle *part,
                          TileJob *job, const real *pixels, const real *w, int first,
                          Coming *coming)
{
    const int tall = tallest(strip->V);
    const int down = part->cols * ceil_div(part->rows, tall)
        < part->rows * ceil_div(part->cols, tall);
    const ptrdiff_t lines = down ? part->cols : part->rows, n = down ? part->rows : part->cols;
    const ptrdiff_t line_step = down ? b->step : b->pitch;
    const ptrdiff_t line_pitch = down ? strip->pitch : strip->row_pitch;
    const ptrdiff_t pieces = ceil_div(n, tall);
    pixels += part->oh * b->pitch + part->ow * b->step;
    real *sums = strip->sums + part->oh * strip->row_pitch + part->ow * strip->pitch;
    job->step = down ? b->pitch : b->step;
    job->sums_pitch = down ? strip->row_pitch : strip->pitch;
    for (ptrdiff_t line = 0; line < lines; line++)
        for (ptrdiff_t piece = 0; piece < pieces; piece++) {
            job->later = w;
            if (coming->panels > 0) {
                job->later = coming->weights;
                coming->weights += b->panel_size;
                coming->panels--;
            }
            const ptrdiff_t at = first_of(piece, pieces, n);
            const ptrdiff_t M = first_of(piece + 1, pieces, n) - at;
            tiles_along_channels[strip->V][M](
                job, pixels + line * line_step + at * job->step, w, first ? strip->bias : NULL,
                sums + line * line_pitch + at * job->sums_pitch);
        }
}

/* All terms of a block. */
static void multiply_channels(const Block *b, const ChannelStrip *strip)
{
    const ptrdiff_t taps = b->geometry->KH * b->geometry->KW;
    const real *pixels = b->pixels;
    for (ptrdiff_t k = 0; k < b->terms; k += b->pass, pixels += b->pass_pixels) {
        const ptrdiff_t terms = least(b->pass, b->terms - k);
        const real *w = strip->weights + (b->first + k) * PANEL;
        /* After the last pass come the first weights of the next strip. */
        Coming coming = {w + (k + terms < b->terms ? terms * PANEL
                              : strip->panels * b->panel_size - k * PANEL), strip->panels};
        for (ptrdiff_t i = 0; i < b->region_count; i++) {
            const Region *region = &b->regions[i];
            const Rectangle part = part_of(&region->at, &b->at);
            TileJob job = {.terms = region->taps == taps ? terms : terms / taps * region->taps,
                           .places = region->places, .w_pitch = b->panel_size};
            if (part.rows > 0 && part.cols > 0)
                multiply_part(b, strip, &part, &job, pixels, w, b->first + k == 0, &coming);
        }
    }
}

static void product_along_channels(const Block *block)
{
    Block b = *block;
    const Geometry *g = b.geometry;
    const int last = b.first + b.terms == all_terms(&b), kept = b.first > 0 || !last;
    Region joined;
    if (b.region_count == 1 && b.pitch == b.at.cols * b.step && g->out_h == b.at.cols * g->out_w) {
        b.at.cols *= b.at.rows; /* rows continue each other */
        b.at.rows = 1;
        joined = (Region){b.at, b.regions->taps, b.regions->places};
        b.regions = &joined;
    }
    const ptrdiff_t rows = b.at.rows, cols = b.at.cols;
    const ptrdiff_t panels = ceil_div(b.channels, PANEL);
    const ptrdiff_t strips = ceil_div(panels * PANEL_VECTORS, WIDEST_ALONG_CHANNELS);

    for (ptrdiff_t i = 0; i < strips; i++) {
        const ptrdiff_t from = first_of(i, strips, panels);
        const ptrdiff_t width = (first_of(i + 1, strips, panels) - from) * PANEL;
        const ptrdiff_t n = least(width, b.channels - from * PANEL);
        real *out = (real *)b.out + from * PANEL * g->out_c;
        /* Sums can wait in `out` itself where a pixel's channels fill the strip's vectors. */
        const int in_out = g->out_c == 1 && n == width;
        const ChannelStrip strip = {
            .panels = width / PANEL, .V = (int)(width / VL),
            .weights = (const real *)b.weights + from * b.panel_size,
            .bias = (const real *)b.bias + from * PANEL,
            .sums = in_out ? out : (real *)b.sums + (kept ? from * PANEL * rows * cols : 0),
            .pitch = in_out ? g->out_w : width, .row_pitch = in_out ? g->out_h : cols * width,
        };
        multiply_channels(&b, &strip);
        for (ptrdiff_t r = 0; r < rows && last; r++)
            activate_sums(&b, strip.sums + r * strip.row_pitch, cols, strip.pitch, width);
        if (!last || in_out)
            continue;
        if (g->out_h == cols * g->out_w) /* one matrix, however many rows */
            move(rows * cols, n, strip.sums, width, 1, out, g->out_w, g->out_c);
        else
            for (ptrdiff_t r = 0; r < rows; r++)
                move(cols, n, strip.sums + r * strip.row_pitch, width, 1, out + r * g->out_h,
                     g->out_w, g->out_c);
    }
}

#endif
