"""Pooling with neighbouring columns in the vector, plane after plane.

The rows of a window are joined first and then its columns, in registers (:mod:`.sliding`) or
through a buffer of joined rows, as wide as the padded picture (:mod:`.reductions`). Windows that
are whole planes are lines of cells, and norms that take powers go number by number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...spec import Pool2dSpec
from . import simd
from .buffers import address
from .jit import Kernel, call, carray, compiled, take
from .lanes import FAR_BYTES
from .pool_windows import (
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
from .reductions import (
    MAX,
    NAMES,
    NONE,
    finished,
    joining,
    reduction,
    total_of_line,
    windows_apart,
)
from .sliding import STRAIGHT, slide, slides, strip_rows

FURTHER = 4 * simd.BITS // 32
"""Cells of joined rows that may be read beyond the last."""


def _stride_class(step: int, size: int) -> int:
    return step // size if step in (size, 2 * size) else 0


def planes_way(
    spec: Pool2dSpec, x: Strides, out: Strides, rows: Axis, columns: Axis
) -> Way:
    """Windows of any kind, but for what the others do."""
    dtype = np.dtype(spec.dtype)
    size, op = dtype.itemsize, op_of(spec)
    tables = [table(rows), table(columns)]
    owners: list[Any] = []
    alike = bool((columns.counts == columns.counts[0]).all())
    if spec.mode == "avg" and not spec.divisor_override and not alike:
        tables.append(columns.counts.astype(dtype))
    dense = x[3] == size
    codes = [0] * 4
    scratch = 0
    # The code for strides 3 and 4 reads further than there is a picture.
    joins = (
        rows.taps > 1 or not dense or columns.cells_of_row() > spec.IW or columns.stride in (3, 4)
    )
    if (
        columns.even and columns.step == 1 and dense and out[3] == size
        and slides(op, rows.taps, columns.taps, columns.stride)
    ):
        cells = spec.N * spec.C * spec.OH * (rows.stride * spec.IW + spec.OW)
        # What comes from beyond the caches comes fastest in the order of memory, row after row.
        straight = rows.taps == columns.taps <= STRAIGHT
        shares = (
            straight and columns.stride == rows.stride < rows.taps and rows.step == 1
            and cells * size <= FAR_BYTES
        )
        middle = columns.taps // 2
        lead = middle if columns.taps % 2 and columns.before == middle else 0
        owners = [slide(
            op, columns.taps, columns.stride, lead, columns.taps if straight else 0,
            strip_rows(columns.taps, columns.stride) if shares else 1, dtype,
        )]
        codes[0] = owners[0].address
    else:
        scratch = pitch((columns.cells_of_row() + FURTHER) * size)
        owners = [reduction(op, _stride_class(x[3], size), dtype)] if joins else [None]
        after = joining(op) if joins else op
        long = columns.taps >= simd.BITS // 8 // size and columns.step == 1
        apart = not columns.even or (long and columns.stride >= simd.BITS // 8 // size)
        owners.append(
            windows_apart(after, dtype) if apart
            else reduction(after, columns.stride if columns.stride <= 4 else 0, dtype)
        )
        codes = [0, owners[0].address if joins else 0, 0, owners[1].address]
        if apart:
            codes[2:] = codes[3], 0
    plan, tasks = make_plan(
        spec, x, out, rows, columns, spec.N * spec.C * spec.OH, row_cells(spec, rows), spec.OH,
        scratch=scratch, row_cells=columns.cells_of_row() if scratch else 0,
    )
    divisors = address(tables[2]) if len(tables) > 2 else 0
    memory = address(tables[0]), address(tables[1]), divisors, *codes
    return Way(_planes, plan, tasks, scratch, memory, (tables, owners))


@Kernel
def _planes(worker, tasks, memory, plan):
    """Rows of output cells, plane after plane."""
    x, out, scratch = memory[0], memory[1], memory[3]
    rows, columns, divisors, sliding = memory[4], memory[5], memory[6], memory[7]
    q = carray(plan, 1)[0]
    line = scratch + worker * q.scratch
    fill(line, q.row_cells, simd.constant(q.zero, -np.inf if q.op == MAX else 0.0))
    column_count = window(columns, 0)[2]
    item = take(tasks) * q.chunk
    while item < q.items:
        end = min(item + q.chunk, q.items)
        plane, oh = item // q.OH, item % q.OH
        while item < end:
            n, c = plane // q.C, plane % q.C
            source = x + n * q.x_image + c * q.x_channel
            target = out + n * q.out_image + c * q.out_channel
            while oh < q.OH and item < end:
                first, cells, count, alike = window(rows, oh)
                alike = min(alike, end - item)
                kind, divisor = last_step(count * column_count, q)
                at, to = source + first * q.x_row, target + oh * q.out_row
                if sliding:
                    call(sliding, (
                        at, cells, q.x_down, q.x_next, q.IW, q.before, to, q.OW, q.out_row,
                        alike, kind, divisor, divisors, float(count),
                    ))
                else:
                    for i in range(alike):
                        _through_buffer(
                            at + i * q.x_next, to + i * q.out_row, cells, kind, divisor, line,
                            memory, q,
                        )
                        if divisors:
                            _divide(to + i * q.out_row, q.out_column, q.OW, divisors, count, q)
                oh += alike
                item += alike
            plane += 1
            oh = 0
        item = take(tasks) * q.chunk


@compiled
def _through_buffer(x, out, cells, kind, divisor, line, memory, q):
    """One row: the windows' rows joined, then their columns."""
    columns, divisors, join, apart, across = (
        memory[5], memory[6], memory[8], memory[9], memory[10]
    )
    size = simd.itemsize(q.zero)
    start = x
    if join:
        start = line + q.before * size
        call(join, (
            x, cells, q.x_down, 1, 0, q.x_column, start, size, q.IW, NONE, 1.0
        ))
    if divisors:
        kind = NONE
    if apart:
        call(apart, (
            start, columns, q.tap * size, out, q.out_column, q.OW, kind, divisor
        ))
    else:
        call(across, (
            start - q.before * size, 1, 0, q.taps, q.tap * size, q.across * size, out,
            q.out_column, q.OW, kind, divisor,
        ))


@compiled
def _divide(out, step, n, divisors, factor, q):
    """From sums to averages."""
    size = simd.itemsize(q.zero)
    by = simd.constant(q.zero, float(factor))
    for i in range(n):
        total = simd.load(out + i * step, q.zero)
        simd.store(
            out + i * step, simd.div(total, simd.mul(simd.load(divisors + i * size, q.zero), by))
        )


# ---------------------------------------------------------------- whole planes


def whole_way(
    spec: Pool2dSpec, x: Strides, out: Strides, rows: Axis, columns: Axis
) -> Way:
    """One window that is a whole plane, whose cells follow one another."""
    plan, tasks = make_plan(
        spec, x, out, rows, columns, spec.N * spec.C, spec.IH * spec.IW, 1,
        count=int(rows.counts[0] * columns.counts[0]),
    )
    return Way(_WHOLE[op_of(spec)], plan, tasks, 0, (), ())


def _whole(op: int) -> Kernel:
    def whole(worker, tasks, memory, plan):
        x, out = memory[0], memory[1]
        q = carray(plan, 1)[0]
        cells = q.IH * q.IW
        kind, divisor = last_step(q.count, q)
        item = take(tasks) * q.chunk
        while item < q.items:
            for plane in range(item, min(item + q.chunk, q.items)):
                n, c = plane // q.C, plane % q.C
                source = x + n * q.x_image + c * q.x_channel
                total = total_of_line(op, source, cells, q.zero)
                target = out + n * q.out_image + c * q.out_channel
                simd.store(target, finished(kind, divisor, total))
            item = take(tasks) * q.chunk

    return Kernel(whole, f"whole_{NAMES[op]}")


_WHOLE = tuple(map(_whole, range(len(NAMES))))
"""Kernels for windows that are whole planes, whose cells follow one another."""


# ---------------------------------------------------------------- norms that take powers


def norms_way(
    spec: Pool2dSpec, x: Strides, out: Strides, rows: Axis, columns: Axis
) -> Way:
    """Norms that take powers."""
    tables = [table(rows), table(columns)]
    plan, tasks = make_plan(
        spec, x, out, rows, columns, spec.N * spec.C * spec.OH, 8 * row_cells(spec, rows), 1,
        x_tap=columns.step * x[3], norm=spec.norm,
    )
    return Way(_norms, plan, tasks, 0, (address(tables[0]), address(tables[1])), (tables,))


@Kernel
def _norms(worker, tasks, memory, plan):
    """(Σ |cell|^norm)^(1/norm), number by number."""
    x, out, rows, columns = memory[0], memory[1], memory[4], memory[5]
    q = carray(plan, 1)[0]
    norm, root = simd.constant(q.zero, q.norm), simd.constant(q.zero, 1.0 / q.norm)
    item = take(tasks) * q.chunk
    while item < q.items:
        for i in range(item, min(item + q.chunk, q.items)):
            plane, oh = i // q.OH, i % q.OH
            n, c = plane // q.C, plane % q.C
            top, high, _, _ = window(rows, oh)
            source = x + n * q.x_image + c * q.x_channel + top * q.x_row
            target = out + n * q.out_image + c * q.out_channel + oh * q.out_row
            for ow in range(q.OW):
                left, wide, _, _ = window(columns, ow)
                total = q.zero
                for h in range(high):
                    row = q.zero
                    for w in range(wide):
                        cell = source + h * q.x_down + left * q.x_column + w * q.x_tap
                        row += simd.power(simd.absolute(simd.load(cell, q.zero)), norm)
                    total += row
                simd.store(target + ow * q.out_column, simd.power(total, root))
        item = take(tasks) * q.chunk
