"""What happens to the finished sums of a block: bias, activation, and the way to ``out``."""

from __future__ import annotations

from . import simd
from .activations import activate
from .jit import compiled
from .moves import copy
from .panels import panel_bounds


@compiled
def finish(sums, points, first_panel, last_panel, out, bias, rows, columns, square, q):
    """Write the block's sums.

    ``out`` and ``bias`` are those of the group's first channel and the block's first pixel.
    """
    vector = simd.lanes(q.zero) * simd.itemsize(q.zero)
    for panel in range(first_panel, last_panel):
        first, units = panel_bounds(panel, q.units, q.panels)
        for u in range(units):
            channel = (first + u) * q.unit
            channels = min(q.unit, q.OCG - channel)
            at = sums + u * vector
            to = out + channel * q.out_channel
            if bias or q.activation:
                _bias_and_activation(
                    at, units * vector, points,
                    bias + channel * simd.itemsize(q.zero) if bias else 0, channels, q,
                )
            if q.channels_in_lanes:
                _write_channels(
                    at, units * vector, to, channels, rows, columns, square, q
                )
            else:
                _write_pixels(at, units * vector, to, rows, columns, q)
        sums += q.points * units * vector


@compiled
def _bias_and_activation(at, step, points, bias, channels, q):
    """On one unit of every point, in place."""
    add = simd.splat(q.zero)
    if bias:
        if q.channels_in_lanes:
            add = simd.load_part(bias, channels, add)
        else:
            add = simd.splat(simd.load(bias, q.zero))
    for p in range(points):
        v = simd.add(simd.load(at + p * step, add), add)
        simd.store(at + p * step, activate(q.activation, q.slope, v))


@compiled
def _write_channels(at, step, out, channels, rows, columns, square, q):
    """A unit with output channels in its lanes, one pixel after the other in memory."""
    if q.out_column == simd.itemsize(q.zero):
        if columns == q.OW and q.out_row == columns * q.out_column:
            rows, columns = 1, rows * columns
        for row in range(rows):
            _turn_pixels(
                at + row * columns * step, step, out + row * q.out_row, channels, columns,
                square, q,
            )
        return
    for row in range(rows):
        for column in range(columns):
            copy(
                out + row * q.out_row + column * q.out_column, q.out_channel, at,
                simd.itemsize(q.zero), channels, q.zero,
            )
            at += step


@compiled
def _turn_pixels(at, step, out, channels, pixels, square, q):
    """A line of pixels, transposed so that pixels are dense: square by square."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    for p in range(0, pixels, lanes):
        count = min(lanes, pixels - p)
        if count == lanes == channels:
            simd.transpose(at + p * step, step, out + p * size, q.out_channel, simd.splat(q.zero))
        else:
            # The rows beyond the last pixel are readable and go nowhere.
            simd.transpose(at + p * step, step, square, lanes * size, simd.splat(q.zero))
            for c in range(channels):
                copy(
                    out + c * q.out_channel + p * size, size, square + c * lanes * size, size,
                    count, q.zero,
                )


@compiled
def _write_pixels(at, step, out, rows, columns, q):
    """One output channel with neighbouring pixels in the lanes."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    for row in range(rows):
        for column in range(0, columns, lanes):
            copy(
                out + row * q.out_row + column * q.out_column, q.out_column, at, size,
                min(lanes, columns - column), q.zero,
            )
            at += step
