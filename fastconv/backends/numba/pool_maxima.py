"""Maxima with their indices: columns or channels in the vector, or number by number."""

from __future__ import annotations

import numpy as np

from ...spec import Pool2dSpec
from . import simd
from .buffers import address
from .jit import Kernel, call, carray, compiled, strides, take
from .maxima import LARGEST_STEP, maxima, maximum
from .maxima import WINDOWS as STRAIGHT_MAXIMA
from .pool_windows import Axis, Strides, Way, make_plan, row_cells, table, window


def maxima_way(
    spec: Pool2dSpec, x: Strides, out: Strides, indices: Strides, rows: Axis, columns: Axis,
    in_channels: bool,
) -> Way:
    """Windows of any kind."""
    dtype = np.dtype(spec.dtype)
    size = dtype.itemsize
    starts = np.arange(spec.OW) * columns.stride - columns.before
    inside = np.minimum(columns.first, spec.IW - 1)
    tables = [table(rows), table(columns), (inside - starts).astype(dtype)]
    reach = (rows.taps - 1) * rows.step * spec.IW + (columns.taps - 1) * columns.step
    kernel, code, items, together = _maxima_one_by_one, None, spec.N * spec.C * spec.OH, spec.OH
    cells = row_cells(spec, rows)
    stride = columns.stride
    if reach < LARGEST_STEP and in_channels and indices[1] == 8:
        kernel, stride, items, together = _maxima_of_channels, 1, spec.N * spec.OH, 1
        cells *= spec.C
    elif (
        reach < LARGEST_STEP and columns.even and stride <= 2 and x[3] == out[3] == size
        and indices[3] == 8
    ):
        kernel = _maxima_of_columns
    if kernel is not _maxima_one_by_one:
        sizes = rows.taps, columns.taps, columns.stride
        straight = sizes[:2] if sizes in STRAIGHT_MAXIMA else (0, 0)
        code = maxima(stride, *straight, dtype)
    plan, tasks = make_plan(
        spec, x, out, rows, columns, items, 4 * cells, together, x_tap=columns.step * x[3],
        index_row=rows.step * spec.IW, **strides("indices", indices),
    )
    memory = *map(address, tables), code.address if code else 0
    return Way(kernel, plan, tasks, 0, memory, (tables, code))


@Kernel
def _maxima_of_columns(worker, tasks, memory, plan):
    """Rows of output cells, neighbouring columns in the vector."""
    rows, starts, code = memory[4], memory[6], memory[7]
    q = carray(plan, 1)[0]
    size = simd.itemsize(q.zero)
    item = take(tasks) * q.chunk
    while item < q.items:
        for i in range(item, min(item + q.chunk, q.items)):
            x, out, to, oh = _row_of(i, memory, q)
            first, high, _, _ = window(rows, oh)
            top = min(first, q.IH - 1)
            call(code, (
                x + top * q.x_row - q.before * size, high, q.x_down, q.taps, q.x_tap, -q.before,
                q.tap, q.IW, out, to, q.OW, starts, top * q.IW - q.before, q.index_row, q.tap,
                q.across,
            ))
        item = take(tasks) * q.chunk


@Kernel
def _maxima_of_channels(worker, tasks, memory, plan):
    """Rows of output pixels, neighbouring channels in the vector."""
    x, out, indices = memory[0], memory[1], memory[2]
    rows, columns, code = memory[4], memory[5], memory[7]
    q = carray(plan, 1)[0]
    item = take(tasks) * q.chunk
    while item < q.items:
        for i in range(item, min(item + q.chunk, q.items)):
            oh, n = i % q.OH, i // q.OH
            first, high, _, _ = window(rows, oh)
            top = min(first, q.IH - 1)
            source = x + n * q.x_image + top * q.x_row
            target = out + n * q.out_image + oh * q.out_row
            to = indices + n * q.indices_image + oh * q.indices_row
            for ow in range(q.OW):
                left, wide, _, _ = window(columns, ow)
                left = min(left, q.IW - 1)
                call(code, (
                    source + left * q.x_column, high, q.x_down, wide, q.x_tap, 0, 0, q.C,
                    target + ow * q.out_column, to + ow * q.indices_column, q.C, 0,
                    top * q.IW + left, q.index_row, q.tap, 0,
                ))
        item = take(tasks) * q.chunk


@Kernel
def _maxima_one_by_one(worker, tasks, memory, plan):
    """Rows of output cells, number by number."""
    rows, columns = memory[4], memory[5]
    q = carray(plan, 1)[0]
    item = take(tasks) * q.chunk
    while item < q.items:
        for i in range(item, min(item + q.chunk, q.items)):
            x, out, to, oh = _row_of(i, memory, q)
            first, high, _, _ = window(rows, oh)
            top = min(first, q.IH - 1)
            for ow in range(q.OW):
                left, wide, _, _ = window(columns, ow)
                left = min(left, q.IW - 1)
                maximum(
                    x + top * q.x_row + left * q.x_column, high, q.x_down, wide, q.x_tap,
                    top * q.IW + left, q.index_row, q.tap, out + ow * q.out_column,
                    to + ow * q.indices_column, q.zero,
                )
        item = take(tasks) * q.chunk


@compiled
def _row_of(item, memory, q):
    """A plane of x, a row of out and one of the indices, and its number."""
    x, out, indices = memory[0], memory[1], memory[2]
    plane, oh = item // q.OH, item % q.OH
    n, c = plane // q.C, plane % q.C
    return (
        x + n * q.x_image + c * q.x_channel,
        out + n * q.out_image + c * q.out_channel + oh * q.out_row,
        indices + n * q.indices_image + c * q.indices_channel + oh * q.indices_row,
        oh,
    )
