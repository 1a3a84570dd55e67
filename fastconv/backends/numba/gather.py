"""The part of the padded input that a block of output pixels needs, in a buffer of its own.

Along each axis the buffer holds the covered stretch once, so that neighbouring windows share
cells; or the same split by residues modulo the stride, so that the cells of neighbouring pixels
are neighbours; or for each tap the cells that the block's pixels meet through it, which is what
im2col does. In all of them cell (pixel p, tap k) is at p·pixel_step + k//groups·tap_step in group
k mod groups. Padded zeros are written out: they take part in the sum.
"""

from __future__ import annotations

from math import gcd
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
    """Stretches that are copied: one, one for each residue, or one for each tap."""
    group_cells: int
    """Of one stretch in the buffer."""
    group_step: int
    """From the start of a stretch to that of the next, in the input."""
    cell_step: int
    """From cell to cell, in the input."""


def axis(
    pixels: int, taps: int, stride: int, dilation: int, by_tap: bool, dense: bool = False
) -> Axis:
    """The axis of a block of ``pixels``; by tap if asked for, or if that is smaller. ``dense``:
    neighbouring pixels must find their cells side by side."""
    covered = (pixels - 1) * stride + (taps - 1) * dilation + 1
    if by_tap or pixels * taps < covered:
        return Axis(1, 0, pixels * taps, taps, pixels, dilation, stride)
    if dense:
        common = gcd(stride, dilation)
        groups = min(stride // common, taps)
        cells = pixels + (taps - 1) // groups * (dilation // common)
        return Axis(1, dilation // common, groups * cells, groups, cells, dilation, stride)
    return Axis(stride, dilation, covered, 1, covered, 0, 1)


@compiled
def tap_place(k, tap_step, groups, group):
    """Where the cells of tap ``k`` begin, all in one unit; ``group`` is the size of one."""
    return k % groups * group + k // groups * tap_step


@compiled
def gather(target, source, channels, ih, iw, rows, q):
    """Fill the buffer for a block of ``rows`` rows of output pixels.

    ``source`` is cell (0, 0) of the first channel; (ih, iw) is the block's first cell.
    """
    cells = q.row_group_cells - (q.rows - rows) * q.row_pixel_step
    step = q.column_cell_step
    for stretch in range(q.column_groups):
        w = iw + stretch * q.column_group_step
        # The first and the last + 1 of the stretch's cells that lie inside the picture.
        first = min(max(0, -(w // step)), q.column_group_cells)
        last = min(max(first, -((w - q.IW) // step)), q.column_group_cells)
        to = target + stretch * q.column_group_cells * q.buffer_column
        at = source + w * q.x_column
        if q.channels_last:
            _rows(to, at, channels, ih, cells, first, last, q)
        else:
            for c in range(channels):
                _rows(
                    to + c * q.buffer_channel, at + c * q.x_channel, 1, ih, cells, first, last, q
                )


@compiled
def _rows(target, source, channels, ih, cells, first, last, q):
    """One stretch of each row, of one channel or of all channels side by side."""
    size = simd.itemsize(q.zero)
    step = q.column_cell_step * q.x_column
    for group in range(q.row_groups):
        for row in range(cells):
            h = ih + group * q.row_group_step + row * q.row_cell_step
            to = target + (group * q.row_group_cells + row) * q.buffer_row
            at = source + h * q.x_row
            inside = 0 <= h < q.IH
            begin, end = first if inside else 0, last if inside else 0
            if q.buffer_column == size:
                _line(to, at, step, begin, end, q.column_group_cells, q.zero)
            elif step == q.buffer_column == channels * size:
                _line(
                    to, at, size, begin * channels, end * channels,
                    q.column_group_cells * channels, q.zero,
                )
            else:
                _pixels(to, at, step, begin, end, channels, q)


@compiled
def _line(target, source, step, first, last, count, like):
    """Zeros, the numbers from ``first`` to ``last``, zeros."""
    size = simd.itemsize(like)
    clear(target, first, like)
    copy(target + first * size, size, source + first * step, step, last - first, like)
    clear(target + last * size, count - last, like)


@compiled
def _pixels(target, source, step, first, last, channels, q):
    """The same, each cell with all its channels."""
    size = simd.itemsize(q.zero)
    for cell in range(q.column_group_cells):
        to = target + cell * q.buffer_column
        if first <= cell < last:
            copy(to, size, source + cell * step, size, channels, q.zero)
        else:
            clear(to, channels, q.zero)
