"""The first stage of a block of tiles: from pixels to values V = B^T d B.

Values are [point][slab][tile][vector of channels]. Columns are transformed first, each once for
all tiles that share it; then the rows of every tile.
"""

from __future__ import annotations

from . import simd
from .jit import call, compiled
from .moves import clear, copy
from .turn import lane, turn_in
from .winograd_blocks import picture_at, serves, tile_at


@compiled
def values_in(lines_in, b, slab, x, values, scratch, q):
    """One slab of channels of a block; ``x`` is the first image's, ``scratch`` for a patch."""
    vector = simd.lanes(q.zero) * simd.itemsize(q.zero)
    # rows lie an odd number of vectors apart, so that they do not meet in one set of the cache
    pitch = ((b.cols * q.m + q.r - 1) | 1) * vector
    rows = scratch + (b.rows * q.m + q.r - 1) * pitch
    values += slab * q.slab_pitch
    for i in range(b.pictures):
        image, h, w = picture_at(b.picture + i, q)
        _gather_patch(b, x + image * q.x_image, h, w, slab, pitch, scratch, rows, q)
        _transform_patch(lines_in, b, i, pitch, scratch, rows, values, q)


# ---------------------------------------------------------------- pixels


@compiled
def _gather_patch(b, x, h, w, slab, pitch, patch, spare, q):
    """One slab of one picture, padding written out; lanes beyond the last channel are zero."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    vector = lanes * size
    rows, cols = b.rows * q.m + q.r - 1, b.cols * q.m + q.r - 1
    slabs = q.slabs // q.phases
    phase, channel = slab // slabs, slab % slabs * lanes
    channels = min(lanes, q.IC - channel)
    step_h, step_w = q.SH * q.DH, q.SW * q.DW
    top = b.row * q.m * step_h + h + phase // q.SW - q.PT
    left = b.col * q.m * step_w + w + phase % q.SW - q.PL
    # The first and the last + 1 of the columns that lie inside the picture.
    first = min(max(0, -(left // step_w)), cols)
    last = min(max(first, -((left - q.IW) // step_w)), cols)
    width, step = last - first, step_w * q.x_column
    x += (b.group * q.IC + channel) * q.x_channel + (left + first * step_w) * q.x_column
    for r in range(rows):
        row = top + r * step_h
        to = patch + r * pitch
        if width == 0 or row < 0 or row >= q.IH:
            clear(to, cols * lanes, q.zero)
            continue
        clear(to, first * lanes, q.zero)
        clear(to + last * vector, (cols - last) * lanes, q.zero)
        _gather_row(
            to + first * vector, x + row * q.x_row, width, step_w, step, channels, spare, q
        )


@compiled
def _gather_row(target, source, width, step_w, step, channels, spare, q):
    """``width`` pixels, ``step`` bytes apart, to vectors of channels."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    vector = lanes * size
    nothing = simd.splat(q.zero)
    if channels < lanes:
        for i in range(width):
            simd.store(target + i * vector, nothing)
    if q.x_channel == size and channels == lanes:
        for i in range(width):
            simd.store(target + i * vector, simd.load(source + i * step, nothing))
    elif (
        width < lane(q.zero) or channels < lanes or q.x_column != size or step_w > q.alpha
    ):
        if q.x_channel == size:
            for i in range(width):
                copy(target + i * vector, size, source + i * step, size, channels, q.zero)
        else:
            for c in range(channels):
                copy(
                    target + c * size, vector, source + c * q.x_channel, step, width, q.zero
                )
    elif step_w == 1:
        turn_in(width, source, q.x_channel, target, q.zero)
    else:  # all pixels between are turned too
        turn_in((width - 1) * step_w + 1, source, q.x_channel, spare, q.zero)
        for i in range(width):
            simd.store(
                target + i * vector, simd.load(spare + i * step_w * vector, nothing)
            )


# ---------------------------------------------------------------- points


@compiled
def _transform_patch(lines_in, b, picture, pitch, patch, rows, values, q):
    """``lines_in`` is the address of :func:`.winograd_transforms.lines_in`."""
    vector = simd.lanes(q.zero) * simd.itemsize(q.zero)
    point = q.values_pitch
    cols = b.cols * q.m + q.r - 1 - (q.m - b.width)
    tile = q.m * vector
    for i in range(b.rows):
        height = q.m if i < b.whole_rows else b.height
        call(lines_in, (height, cols, patch + i * q.m * pitch, vector, pitch, rows, vector, pitch))
        inner = values + tile_at(b, picture, i, 0) * vector
        right = values + tile_at(b, picture, i, b.whole_cols) * vector
        for k in range(q.alpha):
            if not serves(height, k, q):
                continue
            row, plane = rows + k * pitch, k * q.alpha * point
            call(lines_in, (q.m, b.whole_cols, row, tile, vector, inner + plane, vector, point))
            if b.whole_cols < b.cols:
                call(
                    lines_in,
                    (
                        b.width, 1, row + b.whole_cols * tile, tile, vector, right + plane,
                        vector, point,
                    ),
                )
