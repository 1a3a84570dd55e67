/* The product with vectors along the output channels: a pixel's sums lie side by side. */
#ifndef FASTCONV_ALONG_CHANNELS_H
#define FASTCONV_ALONG_CHANNELS_H

#include "sums.h"

enum {
    CHANNEL_TERMS = 128, /* of a pass over the tiles: what it shares stays in the first cache */
#if VEC_BYTES == 64 || defined(__aarch64__)
    WIDEST_ALONG_CHANNELS = 4,
#else
    WIDEST_ALONG_CHANNELS = PANEL_VECTORS > 2 ? PANEL_VECTORS : 2,
#endif
};

static void product_along_channels(const Block *b)
{
    const Geometry *g = b->geometry;
    const int last = b->first + b->terms == all_terms(b), kept = b->first > 0 || !last;
    ptrdiff_t rows = b->at.rows, cols = b->at.cols;
    if (b->pitch == cols * b->step && g->out_h == cols * g->out_w) { /* rows continue each other */
        cols *= rows;
        rows = 1;
    }
    const ptrdiff_t panels = ceil_div(b->channels, PANEL);
    const ptrdiff_t strips = ceil_div(panels * PANEL_VECTORS, WIDEST_ALONG_CHANNELS);

    for (ptrdiff_t i = 0; i < strips; i++) {
        const ptrdiff_t from = first_of(i, strips, panels);
        const ptrdiff_t width = (first_of(i + 1, strips, panels) - from) * PANEL;
        const ptrdiff_t n = least(width, b->channels - from * PANEL);
        const int V = (int)(width / VL);
        const ptrdiff_t pieces = ceil_div(cols, tallest(V));
        const real *bias = (const real *)b->bias + from * PANEL;
        real *out = (real *)b->out + from * PANEL * g->out_c;
        /* Sums can wait in `out` itself where a pixel's channels fill the strip's vectors. */
        const int in_out = g->out_c == 1 && n == width;
        real *sums = in_out ? out : (real *)b->sums + (kept ? from * PANEL * rows * cols : 0);
        const ptrdiff_t pitch = in_out ? g->out_w : width;
        const ptrdiff_t row_pitch = in_out ? g->out_h : cols * width;
        for (ptrdiff_t k = 0; k < b->terms; k += CHANNEL_TERMS) {
            TileJob job = {.terms = least(CHANNEL_TERMS, b->terms - k), .offsets = b->offsets + k,
                           .w_pitch = b->panel_size, .step = b->step, .sums_pitch = pitch};
            const real *w = (const real *)b->weights + from * b->panel_size
                + (b->first + k) * PANEL;
            /* The first tiles ask for the weights of the next pass, each for one panel's. */
            const ptrdiff_t in_strip = width / PANEL;
            const real *next = w + (k + job.terms < b->terms ? job.terms * PANEL
                                    : in_strip * b->panel_size - k * PANEL);
            ptrdiff_t asked = 0;
            for (ptrdiff_t r = 0; r < rows; r++)
                for (ptrdiff_t piece = 0; piece < pieces; piece++) {
                    job.later = asked < in_strip ? next + asked++ * b->panel_size : w;
                    const ptrdiff_t c = first_of(piece, pieces, cols);
                    const ptrdiff_t M = first_of(piece + 1, pieces, cols) - c;
                    const real *x = (const real *)b->pixels + r * b->pitch + c * b->step;
                    tiles_along_channels[V][M](&job, x, w, b->first + k ? NULL : bias,
                                               sums + r * row_pitch + c * pitch);
                }
        }
        for (ptrdiff_t r = 0; r < rows && last; r++)
            activate_sums(b, sums + r * row_pitch, cols, pitch, width);
        if (!last || in_out)
            continue;
        if (g->out_h == cols * g->out_w) /* one matrix, however many rows */
            move(rows * cols, n, sums, width, 1, out, g->out_w, g->out_c);
        else
            for (ptrdiff_t r = 0; r < rows; r++)
                move(cols, n, sums + r * row_pitch, width, 1, out + r * g->out_h, g->out_w,
                     g->out_c);
    }
}

#endif
