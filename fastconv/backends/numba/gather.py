"""The part of the padded input that a block of output pixels needs, in a buffer of its own.

Along each axis the buffer either holds the covered stretch once, so that neighbouring windows
share cells, or for each tap the cells that the block's pixels meet through it, which is what
im2col does. Either way cell (pixel p, tap k) is at p·pixel_step + k·tap_step. Padded zeros are
written out: they take part in the sum.
"""

from __future__ import annotations

from typing import NamedTuple

from . import simd
from .jit import compiled
from .moves import clear, copy


class Axis(NamedTuple):
    """How the buffer holds one axis, in cells."""

    pixel_step: int
    tap_step: int
    cells: int
    """Of the whole buffer."""
    groups: int
    """Stretches that are copied: one, or one for each tap."""
    group_cells: int
    """Of one stretch in the buffer."""
    group_step: int
    """From the start of a stretch to that of the next, in the input."""
    cell_step: int
    """From cell to cell, in the input."""


def axis(pixels: int, taps: int, stride: int, dilation: int, by_tap: bool) -> Axis:
    """The axis of a block of ``pixels``; by tap if asked for, or if that is smaller."""
    covered = (pixels - 1) * stride + (taps - 1) * dilation + 1
    if by_tap or pixels * taps < covered:
        return Axis(1, pixels, pixels * taps, taps, pixels, dilation, stride)
    return Axis(stride, dilation, covered, 1, covered, 0, 1)


@compiled
def gather(target, source, channels, ih, iw, rows, q):
    """Fill the buffer for a block of ``rows`` rows of output pixels.

    ``source`` is cell (0, 0) of the first channel; (ih, iw) is the block's first cell.
    """
    if q.channels_last:
        _rows(target, source, channels, ih, iw, rows, q)
    else:
        for c in range(channels):
            _rows(
                target + c * q.buffer_channel, source + c * q.x_channel, 1, ih, iw, rows, q
            )


@compiled
def _rows(target, source, channels, ih, iw, rows, q):
    """All stretches of one channel, or of all channels side by side."""
    cells = q.row_group_cells - (q.rows - rows) * q.row_pixel_step
    for group in range(q.row_groups):
        for row in range(cells):
            h = ih + group * q.row_group_step + row * q.row_cell_step
            to = target + (group * q.row_group_cells + row) * q.buffer_row
            for column_group in range(q.column_groups):
                w = iw + column_group * q.column_group_step
                at = to + column_group * q.column_group_cells * q.buffer_column
                if q.channels_last:
                    _pixels(at, source + h * q.x_row, channels, h, w, q)
                else:
                    _line(at, source + h * q.x_row, h, w, q)


@compiled
def _inside(w, q):
    """The first and the last + 1 of a stretch's cells that lie inside the picture's width."""
    step = q.column_cell_step
    first = min(max(0, -(w // step)), q.column_group_cells)
    last = min(max(first, -((w - q.IW) // step)), q.column_group_cells)
    return first, last


@compiled
def _line(target, row, h, w, q):
    """One stretch of one row of one channel."""
    first, last = _inside(w, q)
    if h < 0 or h >= q.IH:
        first = last = 0
    size = simd.itemsize(q.zero)
    clear(target, first, q.zero)
    step = q.column_cell_step
    copy(
        target + first * size, size, row + (w + first * step) * q.x_column, step * q.x_column,
        last - first, q.zero,
    )
    clear(target + last * size, q.column_group_cells - last, q.zero)


@compiled
def _pixels(target, row, channels, h, w, q):
    """One stretch of one row with all channels of each cell side by side."""
    first, last = _inside(w, q)
    if h < 0 or h >= q.IH:
        first = last = 0
    size = simd.itemsize(q.zero)
    for cell in range(q.column_group_cells):
        to = target + cell * q.buffer_column
        if first <= cell < last:
            at = row + (w + cell * q.column_cell_step) * q.x_column
            copy(to, size, at, size, channels, q.zero)
        else:
            clear(to, channels, q.zero)
