"""The last stages of a block of tiles: from values to products, and from these to pixels.

Products are [point][tile][panel's vectors of output channels].
"""

from __future__ import annotations

from typing import NamedTuple

from . import simd
from .activations import activate
from .buffers import LINE
from .jit import call, compiled
from .moves import copy
from .panels import panel_bounds
from .turn import lane, turn_out
from .winograd_blocks import picture_at, served_by, tile_at
from .winograd_weights import chunk_pitch, chunk_start, taps_start, transform_chunk


class Codes(NamedTuple):
    """Addresses of native functions: transforms, and products with panels of either width."""

    tiles_out: int
    lines_out: int
    taps_in: int
    widest_sweep: int
    narrow_sweep: int


@compiled
def fill_steps(steps, q):
    """The way to each channel of a chunk."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    for c in range(q.chunk):
        simd.store(steps + 8 * c, c // lanes * q.slab_pitch + c % lanes * size)


@compiled
def pixels_out(codes, b, panel, values, packed, bias, out, steps, scratch, q):
    """One panel of output channels of a block.

    ``steps`` is what :func:`fill_steps` has filled.
    """
    products = scratch
    pixels = products + q.products_bytes
    ends = pixels + q.pixels_bytes
    weights = ends + q.end_bytes
    first, units = panel_bounds(panel, q.units, q.panels)
    for i in range(q.chunks):
        if q.transformed:
            u = chunk_start(packed, b.group, panel, i, units, q)
            ahead = stop = u
        else:
            u = weights
            transform_chunk(codes.taps_in, packed, b.group, first, units, i, u, q)
            ahead = taps_start(packed, b.group, first, units, i + 1, q)
            stop = taps_start(packed, b.group, first, units, i + 2, q)
        _multiply_chunk(codes, b, i, units, values, u, ahead, stop, steps, products, q)
    _pixels_of_products(codes, b, first, units, products, bias, out, pixels, ends, q)


# ---------------------------------------------------------------- products


@compiled
def _vanishes(phase, point, q):
    """Whether all weights of a phase are zero at a point: those of infinity hold the last tap,
    which the shorter phases do not have."""
    last_row, last_col = point // q.alpha == q.alpha - 1, point % q.alpha == q.alpha - 1
    reach = (q.r - 1) * q.SH
    return (last_row and phase // q.SW + reach >= q.kernel) or (
        last_col and phase % q.SW + reach >= q.kernel
    )


@compiled
def _multiply_chunk(
    codes, b, i, units, values, weights, ahead, stop, steps, products, q
):
    """Add a chunk's products to the sums of all points. The first chunk belongs to a whole phase,
    so that it starts them all. Meanwhile memory from ``ahead`` to ``stop`` is brought near."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    vector = lanes * size
    chunks = q.chunks // q.phases
    phase, first = i // chunks, i % chunks * q.chunk
    channels = min(q.chunk, q.IC - first)
    values += (phase * (q.slabs // q.phases) + first // lanes) * q.slab_pitch
    product = codes.widest_sweep if units == q.widest else codes.narrow_sweep
    for point in range(q.alpha * q.alpha):
        tile, tiles = served_by(b, point // q.alpha, point % q.alpha, q)
        if tiles > 0 and not _vanishes(phase, point, q):
            call(
                product,
                (
                    values + tile * vector, tiles, steps, weights, channels,
                    products + tile * units * vector, int(i == 0),
                    ahead if ahead < stop else weights,
                ),
            )
            ahead += (tiles + q.tile_points - 1) // q.tile_points * channels * LINE
        values += q.values_pitch
        weights += chunk_pitch(units, q)
        products += q.products_pitch


# ---------------------------------------------------------------- pixels


@compiled
def _pixels_of_products(codes, b, first, units, products, bias, out, pixels, ends, q):
    """``bias`` and ``out`` are those of the whole call."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    vector = lanes * size
    biases = ends
    for u in range(units):
        channel = (first + u) * lanes
        channels = min(lanes, q.OCG - channel)
        channel += b.group * q.OCG
        add = simd.splat(q.zero)
        if bias:
            add = simd.load_part(bias + channel * size, channels, add)
        simd.store(biases, add)
        for i in range(b.pictures):
            image, h, w = picture_at(b.picture + i, q)
            row, col = b.row * q.m, b.col * q.m
            rows = min(b.rows * q.m, (q.OH - h + q.DH - 1) // q.DH - row)
            cols = min(b.cols * q.m, (q.OW - w + q.DW - 1) // q.DW - col)
            if rows > 0 and cols > 0:
                _transform_products(
                    codes, b, i, products + u * vector, units * vector, biases, pixels,
                    ends + vector, rows, cols, q,
                )
                to = out + image * q.out_image + channel * q.out_channel
                to += (row * q.DH + h) * q.out_row + (col * q.DW + w) * q.out_column
                _store_pixels(channels, pixels, rows, cols, to, q)


@compiled
def _transform_products(codes, b, picture, products, step, biases, pixels, ends, rows, cols, q):
    """One vector of output channels of one picture, to ``rows`` × ``cols`` pixels."""
    vector = simd.lanes(q.zero) * simd.itemsize(q.zero)
    pitch = cols * vector
    for i in range(b.rows):
        height = min(q.m, rows - i * q.m)
        if height <= 0:
            break
        whole = 0
        if i < b.whole_rows and height == q.m:
            whole = min(b.whole_cols, cols // q.m)
            from_ = products + tile_at(b, picture, i, 0) * step
            call(
                codes.tiles_out,
                (
                    whole, from_, step, q.products_pitch, biases, pixels + i * q.m * pitch,
                    q.m * vector, pitch,
                ),
            )
        for j in range(whole, b.cols):
            width = min(q.m, cols - j * q.m)
            if width > 0:
                _transform_end(
                    codes, q.m if i < b.whole_rows else b.height,
                    q.m if j < b.whole_cols else b.width,
                    products + tile_at(b, picture, i, j) * step, biases,
                    pixels + i * q.m * pitch + j * q.m * vector, pitch, ends, height, width, q,
                )


@compiled
def _transform_end(
    codes, height, width, products, biases, pixels, pitch, ends, wanted_rows, wanted_cols, q
):
    """A tile of height × width outputs, or of which not all are wanted."""
    vector = simd.lanes(q.zero) * simd.itemsize(q.zero)
    half = q.alpha * vector
    tile = ends + q.m * half
    row = q.m * vector
    point = q.products_pitch
    call(
        codes.lines_out,
        (height, q.alpha, products, point, q.alpha * point, ends, vector, half),
    )
    call(codes.lines_out, (width, height, ends, half, vector, tile, row, vector))
    bias = simd.load(biases, simd.splat(q.zero))
    for i in range(wanted_rows):
        for j in range(wanted_cols):
            output = simd.load(tile + i * row + j * vector, bias)
            simd.store(pixels + i * pitch + j * vector, simd.add(output, bias))


@compiled
def _store_pixels(channels, pixels, rows, cols, out, q):
    """Pixels of one vector of channels, [row][col][vector], to their places in ``out``."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    vector = lanes * size
    nothing = simd.splat(q.zero)
    if q.activation:
        for i in range(rows * cols):
            v = simd.load(pixels + i * vector, nothing)
            simd.store(pixels + i * vector, activate(q.activation, q.slope, v))
    row, column = q.DH * q.out_row, q.DW * q.out_column
    if row == cols * column:
        rows, cols = 1, cols * rows
    for r in range(rows):
        to, at = out + r * row, pixels + r * cols * vector
        if cols >= lane(q.zero) and channels == lanes and column == size:
            turn_out(cols, to, q.out_channel, at, q.zero)
        elif column == size and q.out_channel != size:
            for c in range(channels):
                copy(to + c * q.out_channel, column, at + c * size, vector, cols, q.zero)
        else:
            for i in range(cols):
                copy(
                    to + i * column, q.out_channel, at + i * vector, size, channels, q.zero
                )
