"""What the loops over a convolution's blocks share: which block a task is, and where the cells of
its taps lie."""

from __future__ import annotations

from . import simd
from .gather import tap_place
from .jit import compiled


@compiled
def block_at(task, q):
    """Image, group, first panel and last + 1, first row and column of output, rows, columns."""
    column, rest = task % q.block_columns, task // q.block_columns
    row, rest = rest % q.block_rows, rest // q.block_rows
    image, rest = rest % q.N, rest // q.N
    g, group = rest % q.G, rest // q.G
    first_panel = group * q.panel_group
    last_panel = min(first_panel + q.panel_group, q.panels)
    oh, ow = row * q.rows, q.OW * column // q.block_columns
    rows, columns = min(q.rows, q.OH - oh), q.OW * (column + 1) // q.block_columns - ow
    return image, g, first_panel, last_panel, oh, ow, rows, columns


@compiled
def fill_steps(steps, q):
    """From a point to its k-th cell, for the k of one chunk of channels."""
    k = 0
    for c in range(q.chunk):
        for kh in range(q.KH):
            for kw in range(q.KW):
                row = tap_place(kh, q.tap_row, q.row_groups, q.row_group_cells * q.buffer_row)
                column = tap_place(
                    kw, q.tap_column, q.column_groups, q.column_group_cells * q.buffer_column
                )
                simd.store(steps + 8 * k, c * q.channel_step + row + column)
                k += 1
