"""Pooling with neighbouring channels in the vector, pixel after pixel.

Rows of a window are joined first and then its columns, through a block of joined columns where
windows overlap much or channels are few (:mod:`.reductions`).
"""

from __future__ import annotations

import numpy as np

from ...spec import Pool2dSpec
from . import simd
from .buffers import address
from .jit import Kernel, call, carray, compiled, take
from .pool_windows import (
    PART,
    Axis,
    Strides,
    Way,
    fill,
    last_step,
    make_plan,
    op_of,
    pitch,
    row_cells,
    table,
    window,
)
from .reductions import MAX, NONE, joining, reduction

FEW_ROWS = 64
"""Rows of output pixels under which channels are divided among tasks."""


def channels_way(
    spec: Pool2dSpec, x: Strides, out: Strides, rows: Axis, columns: Axis
) -> Way:
    """Windows of any kind."""
    dtype = np.dtype(spec.dtype)
    op = op_of(spec)
    tables = [table(rows), table(columns)]
    part, parts = spec.C, 1
    if spec.N * spec.OH < FEW_ROWS:
        part, parts = PART, -(-spec.C // PART)
    block = columns.block(spec.C)
    scratch = pitch(columns.cells_of_block(block, spec.C) * dtype.itemsize) if block else 0
    join = reduction(op, 1, dtype)
    across = reduction(joining(op), 1, dtype) if block else join
    plan, tasks = make_plan(
        spec, x, out, rows, columns, spec.N * spec.OH * parts,
        row_cells(spec, rows) * min(part, spec.C), 1, scratch=scratch, block=block, part=part,
        parts=parts,
    )
    memory = address(tables[0]), address(tables[1]), join.address, across.address
    return Way(_channels, plan, tasks, scratch, memory, (tables, join, across))


@Kernel
def _channels(worker, tasks, memory, plan):
    """Rows of output pixels, or parts of their channels."""
    x, out, scratch = memory[0], memory[1], memory[3]
    rows, columns, join = memory[4], memory[5], memory[6]
    q = carray(plan, 1)[0]
    line, size = scratch + worker * q.scratch, simd.itemsize(q.zero)
    item = take(tasks) * q.chunk
    while item < q.items:
        for i in range(item, min(item + q.chunk, q.items)):
            part, row = i % q.parts, i // q.parts
            oh, n = row % q.OH, row // q.OH
            channels = min(q.part, q.C - part * q.part)
            picture = x + n * q.x_image + part * q.part * size
            target = out + n * q.out_image + oh * q.out_row + part * q.part * size
            first, high, row_count, _ = window(rows, oh)
            picture += first * q.x_row
            if q.block:
                for ow in range(0, q.OW, q.block):
                    _block(
                        picture, target, high, row_count, ow, min(q.block, q.OW - ow), channels,
                        line, memory, q,
                    )
                continue
            for ow in range(q.OW):
                left, wide, column_count, _ = window(columns, ow)
                kind, divisor = last_step(row_count * column_count, q)
                call(join, (
                    picture + left * q.x_column, high, q.x_down, wide, q.tap * q.x_column, size,
                    target + ow * q.out_column, size, channels, kind, divisor,
                ))
        item = take(tasks) * q.chunk


@compiled
def _block(x, out, high, row_count, ow, n, channels, line, memory, q):
    """Columns ow … ow + n − 1: the cells that their windows reach, rows joined, go through
    ``line``."""
    columns, join = memory[5], memory[6]
    size = simd.itemsize(q.zero)
    pixel = channels * size
    left = ow * q.across - q.before
    reach = (n - 1) * q.across + (q.taps - 1) * q.tap + 1
    first = min(max(-left, 0), reach)
    last = max(min(q.IW - left, reach), first)
    nothing = simd.constant(q.zero, -np.inf if q.op == MAX else 0.0)
    fill(line, first * channels, nothing)
    step = last - first if q.x_column == pixel else 1
    for i in range(first, last, max(step, 1)):
        call(join, (
            x + (left + i) * q.x_column, high, q.x_down, 1, 0, size, line + i * pixel, size,
            step * channels, NONE, 1.0,
        ))
    fill(line + last * pixel, (reach - last) * channels, nothing)
    i = 0
    while i < n:
        column_count = window(columns, ow + i)[2]
        alike = 1
        while i + alike < n and window(columns, ow + i + alike)[2] == column_count:
            alike += 1
        kind, divisor = last_step(row_count * column_count, q)
        _joined_columns(
            line + i * q.across * pixel, out + (ow + i) * q.out_column, alike, channels,
            line + reach * pixel, kind, divisor, memory, q,
        )
        i += alike


@compiled
def _joined_columns(line, out, n, channels, between, kind, divisor, memory, q):
    """n columns, whose averages have one divisor, from joined rows."""
    across = memory[7]
    size = simd.itemsize(q.zero)
    pixel = channels * size
    tap = q.tap * pixel
    if q.across == 1 and q.out_column == pixel:
        call(across, (line, 1, 0, q.taps, tap, size, out, size, n * channels, kind, divisor))
    elif channels < simd.lanes(q.zero):
        # Too few lanes for a pixel by itself: those that the stride leaves out come too.
        cells = ((n - 1) * q.across + 1) * channels
        call(across, (line, 1, 0, q.taps, tap, size, between, size, cells, kind, divisor))
        for i in range(n):
            v = simd.load_part(between + i * q.across * pixel, channels, simd.splat(q.zero))
            simd.store_part(out + i * q.out_column, v, channels)
    else:
        for i in range(n):
            call(across, (
                line + i * q.across * pixel, 1, 0, q.taps, tap, size, out + i * q.out_column,
                size, channels, kind, divisor,
            ))
