"""``pool2d.direct@numba``: every output is one window of cells, reduced to a maximum or a sum.

A vector holds neighbouring outputs: channels, where these are neighbours in memory, else
columns. The rows of a window are joined first and then its columns, in registers
(:mod:`.sliding`) or through a buffer of joined rows, as wide as the padded picture or as a
block of its columns (:mod:`.reductions`). The order of every sum is that of
``csrc/simd/pool.h``, but for windows that are long enough to be worth vectors one by one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...spec import Pool2dSpec
from . import simd
from .buffers import LINE, Scratch, address, whole_lines
from .jit import Kernel, Plan, call, carray, compiled, strides, take
from .maxima import LARGEST_STEP, maxima, maximum
from .maxima import WINDOWS as STRAIGHT_MAXIMA
from .reductions import (
    ABS,
    DIVIDE,
    DIVIDE_BY_MANY,
    LARGEST_DIVISOR,
    MAX,
    NAMES,
    NONE,
    ROOT,
    SCALE,
    SQUARE,
    SUM,
    finished,
    joining,
    reduction,
    total_of_line,
    windows_apart,
)
from .sliding import STRAIGHT, slide, slides

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]
Strides = tuple[int, ...]

TASK_BYTES = 1 << 16
"""Of cells and outputs that one task is about, so that taking it does not count."""
PART = 64
"""Channels under which a row is not divided further."""
FEW_ROWS = 64
"""Rows of output pixels under which channels are divided among tasks."""
SHORT = 3
"""Cells of a row of a window that are as soon taken again as joined."""
JOINED = 8192
"""Cells of joined rows that stay near."""
FEWEST = 8
"""Columns of a block, so that little is joined twice."""
SLACK = 64
"""Cells by which a row may always be padded."""
FURTHER = 4 * simd.BITS // 32
"""Cells of joined rows that may be read beyond the last."""
APART = 2048
"""Bytes between the scratch of two threads, which prefetching does not cross."""


def run(
    spec: Pool2dSpec, x: Array, out: Array, indices: IntArray | None, threads: int
) -> None:
    """Write the pooled ``x`` to ``out``, and where each maximum lies to ``indices``."""
    way = _way(spec, x.strides, out.strides, None if indices is None else indices.strides)
    workers = min(threads, way.tasks)
    with Scratch(workers * way.scratch) as own:
        memory = (address(x), address(out), address(indices), own, *way.memory)
        way.kernel(threads, workers, memory, way.plan)


def workspace_bytes(spec: Pool2dSpec, threads: int) -> int:
    """The joined rows of each thread, in either memory order."""
    columns = _Axis.of_columns(spec)
    size = np.dtype(spec.dtype).itemsize
    block = columns.cells_of_block(columns.block(spec.C), spec.C)
    cells = max(columns.cells_of_row() + FURTHER, block)
    return threads * _pitch(cells * size) + LINE


class _Way(NamedTuple):
    """How a pooling is computed, for arrays of certain strides."""

    kernel: Kernel
    plan: Plan
    tasks: int
    scratch: int
    """Bytes for each worker."""
    memory: tuple[int, ...]
    """Addresses of native functions and of tables."""
    owners: tuple[Any, ...]
    """What they are the addresses of."""


class _Axis(NamedTuple):
    """The windows along one axis. If they are ``even``, window i has the cells inside the
    picture of i · stride − before + j · step, j < taps."""

    size: int
    first: IntArray
    cells: IntArray
    counts: IntArray
    step: int
    even: bool
    before: int
    taps: int
    stride: int

    @classmethod
    def of_rows(cls, spec: Pool2dSpec) -> _Axis:
        """Along the height."""
        return cls._of(
            spec.rows(), spec.adaptive, spec.IH, spec.KH, spec.SH, spec.DH, spec.PT
        )

    @classmethod
    def of_columns(cls, spec: Pool2dSpec) -> _Axis:
        """Along the width."""
        return cls._of(
            spec.columns(), spec.adaptive, spec.IW, spec.KW, spec.SW, spec.DW, spec.PL
        )

    @classmethod
    def _of(
        cls, windows: tuple[IntArray, IntArray, IntArray], adaptive: bool, size: int, taps: int,
        stride: int, step: int, before: int,
    ) -> _Axis:
        first, stop, counts = windows
        cells = np.maximum(stop - first + step - 1, 0) // step
        n = len(first)
        if adaptive:
            even = size % n == 0
            taps, stride = max(-(-size // n), int(cells.max())), -(-size // n)
        else:
            # Windows that lie mostly outside the picture are better clipped.
            reach = (n - 1) * stride + (taps - 1) * step + 1
            even = before <= size + SLACK and reach - before <= 2 * size + SLACK
        return cls(
            size, first, cells, counts, step, even, before if even else 0, taps, stride
        )

    def cells_of_row(self) -> int:
        """A line of the picture, padded as far as its windows reach."""
        if not self.even:
            return self.size
        reach = (len(self.first) - 1) * self.stride + (self.taps - 1) * self.step + 1
        return max(self.before + self.size, reach)

    def block(self, channels: int) -> int:
        """Columns whose cells are joined together, where windows overlap much or channels are
        few; or 0."""
        reach = (self.taps - 1) * self.step + 1
        if not self.even or (self.taps <= max(self.stride, SHORT) and channels >= PART):
            return 0
        most = (JOINED // channels - reach) // self.stride + 1
        return min(len(self.first), max(FEWEST, most))

    def cells_of_block(self, block: int, channels: int) -> int:
        """What a block reaches, and as much again to choose every stride-th column from."""
        if not block:
            return 0
        return 2 * channels * ((block - 1) * self.stride + (self.taps - 1) * self.step + 1)


def _pitch(size: int) -> int:
    return whole_lines(size) + APART


def _op(spec: Pool2dSpec) -> int:
    if spec.mode == "lp":
        return ABS if spec.norm == 1.0 else SQUARE
    return MAX if spec.mode == "max" else SUM


def _takes_powers(spec: Pool2dSpec) -> bool:
    return spec.mode == "lp" and spec.norm not in (1.0, 2.0)


@lru_cache(maxsize=512)
def _way(spec: Pool2dSpec, x: Strides, out: Strides, indices: Strides | None) -> _Way:
    rows, columns = _Axis.of_rows(spec), _Axis.of_columns(spec)
    size = np.dtype(spec.dtype).itemsize
    in_channels = spec.C > 1 and x[1] == out[1] == size
    if indices is not None:
        return _way_of_maxima(spec, x, out, indices, rows, columns, in_channels)
    if _takes_powers(spec):
        return _norms_way(spec, x, out, rows, columns)
    if in_channels:
        return _channels_way(spec, x, out, rows, columns)
    if (
        spec.OH == spec.OW == rows.step == columns.step == 1 and x[3] == size
        and x[2] == size * spec.IW and rows.cells[0] == spec.IH and columns.cells[0] == spec.IW
    ):
        return _whole_way(spec, x, out, rows, columns)
    return _planes_way(spec, x, out, rows, columns)


def _table(axis: _Axis) -> IntArray:
    """Of each window: the first cell, the number of cells, the count, and how many windows from
    it on differ in nothing but their place."""
    n = len(axis.first)
    alike = np.ones(n, np.int64)
    same = (
        (np.diff(axis.first) == axis.stride) & (np.diff(axis.cells) == 0)
        & (np.diff(axis.counts) == 0)
    )
    for i in range(n - 2, -1, -1):
        if same[i]:
            alike[i] = alike[i + 1] + 1
    return np.stack([axis.first, axis.cells, axis.counts, alike], axis=1)


def _common(spec: Pool2dSpec, x: Strides, out: Strides, rows: _Axis, columns: _Axis,
            items: int, item_cells: int, together: int, **more: Any) -> tuple[Plan, int]:
    """The plan, and the number of tasks: of items that are ``item_cells`` large, and of which
    ``together`` make a plane."""
    chunk = max(1, TASK_BYTES // (item_cells * np.dtype(spec.dtype).itemsize))
    if chunk > together:
        chunk -= chunk % together
    last = ROOT if spec.mode == "lp" and spec.norm == 2.0 else NONE
    plan = Plan(
        np.dtype(spec.dtype).type(0), items=items, chunk=chunk, C=spec.C, OH=spec.OH, OW=spec.OW,
        IH=spec.IH, IW=spec.IW, op=_op(spec), last=last, averages=int(spec.mode == "avg"),
        divisor=spec.divisor_override or 0, before=columns.before, taps=columns.taps,
        across=columns.stride, tap=columns.step, x_down=rows.step * x[2],
        x_next=rows.stride * x[2], **strides("x", x), **strides("out", out), **more,
    )
    return plan, -(-items // chunk)


def _row_cells(spec: Pool2dSpec, rows: _Axis) -> int:
    """Cells that a row of windows is about."""
    return spec.IW * min(rows.taps, 2 * rows.stride) + spec.OW


def _stride_class(step: int, size: int) -> int:
    return step // size if step in (size, 2 * size) else 0


def _planes_way(
    spec: Pool2dSpec, x: Strides, out: Strides, rows: _Axis, columns: _Axis
) -> _Way:
    dtype = np.dtype(spec.dtype)
    size, op = dtype.itemsize, _op(spec)
    tables = [_table(rows), _table(columns)]
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
        straight = rows.taps == columns.taps <= STRAIGHT
        owners = [slide(
            op, columns.taps, columns.stride, columns.taps if straight else 0, dtype
        )]
        codes[0] = owners[0].address
    else:
        scratch = _pitch((columns.cells_of_row() + FURTHER) * size)
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
    plan, tasks = _common(
        spec, x, out, rows, columns, spec.N * spec.C * spec.OH, _row_cells(spec, rows), spec.OH,
        scratch=scratch, row_cells=columns.cells_of_row() if scratch else 0,
    )
    divisors = address(tables[2]) if len(tables) > 2 else 0
    memory = address(tables[0]), address(tables[1]), divisors, *codes
    return _Way(_planes, plan, tasks, scratch, memory, (tables, owners))


def _whole_way(
    spec: Pool2dSpec, x: Strides, out: Strides, rows: _Axis, columns: _Axis
) -> _Way:
    plan, tasks = _common(
        spec, x, out, rows, columns, spec.N * spec.C, spec.IH * spec.IW, 1,
        count=int(rows.counts[0] * columns.counts[0]),
    )
    return _Way(_WHOLE[_op(spec)], plan, tasks, 0, (), ())


def _channels_way(
    spec: Pool2dSpec, x: Strides, out: Strides, rows: _Axis, columns: _Axis
) -> _Way:
    dtype = np.dtype(spec.dtype)
    op = _op(spec)
    tables = [_table(rows), _table(columns)]
    part, parts = spec.C, 1
    if spec.N * spec.OH < FEW_ROWS:
        part, parts = PART, -(-spec.C // PART)
    block = columns.block(spec.C)
    scratch = _pitch(columns.cells_of_block(block, spec.C) * dtype.itemsize) if block else 0
    join = reduction(op, 1, dtype)
    across = reduction(joining(op), 1, dtype) if block else join
    plan, tasks = _common(
        spec, x, out, rows, columns, spec.N * spec.OH * parts,
        _row_cells(spec, rows) * min(part, spec.C), 1, scratch=scratch, block=block, part=part,
        parts=parts,
    )
    memory = address(tables[0]), address(tables[1]), join.address, across.address
    return _Way(_channels, plan, tasks, scratch, memory, (tables, join, across))


def _norms_way(
    spec: Pool2dSpec, x: Strides, out: Strides, rows: _Axis, columns: _Axis
) -> _Way:
    tables = [_table(rows), _table(columns)]
    plan, tasks = _common(
        spec, x, out, rows, columns, spec.N * spec.C * spec.OH, 8 * _row_cells(spec, rows), 1,
        x_tap=columns.step * x[3], norm=spec.norm,
    )
    return _Way(_norms, plan, tasks, 0, (address(tables[0]), address(tables[1])), (tables,))


def _way_of_maxima(
    spec: Pool2dSpec, x: Strides, out: Strides, indices: Strides, rows: _Axis, columns: _Axis,
    in_channels: bool,
) -> _Way:
    dtype = np.dtype(spec.dtype)
    size = dtype.itemsize
    starts = np.arange(spec.OW) * columns.stride - columns.before
    inside = np.minimum(columns.first, spec.IW - 1)
    tables = [_table(rows), _table(columns), (inside - starts).astype(dtype)]
    reach = (rows.taps - 1) * rows.step * spec.IW + (columns.taps - 1) * columns.step
    kernel, code, items, together = _maxima_one_by_one, None, spec.N * spec.C * spec.OH, spec.OH
    cells = _row_cells(spec, rows)
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
        window = rows.taps, columns.taps, columns.stride
        straight = window[:2] if window in STRAIGHT_MAXIMA else (0, 0)
        code = maxima(stride, *straight, dtype)
    plan, tasks = _common(
        spec, x, out, rows, columns, items, 4 * cells, together, x_tap=columns.step * x[3],
        index_row=rows.step * spec.IW, **strides("indices", indices),
    )
    memory = *map(address, tables), code.address if code else 0
    return _Way(kernel, plan, tasks, 0, memory, (tables, code))


# ---------------------------------------------------------------- columns in the vector


@compiled
def _window(table, i):
    """The first cell, the number of cells, the count, and how many windows are alike."""
    at = table + 32 * i
    return (
        simd.load(at, 0), simd.load(at + 8, 0), simd.load(at + 16, 0), simd.load(at + 24, 0)
    )


@compiled
def _last_step(count, q):
    """What becomes of a total of ``count`` cells, and its divisor. A division by a power of two
    is a multiplication to the bit."""
    if not q.averages:
        return q.last, 1.0
    divisor = q.divisor if q.divisor else count
    if divisor > 0 and divisor & (divisor - 1) == 0:
        return SCALE, float(divisor)
    return DIVIDE if divisor < LARGEST_DIVISOR else DIVIDE_BY_MANY, float(divisor)


@Kernel
def _planes(worker, tasks, memory, plan):
    """Rows of output cells, plane after plane."""
    x, out, scratch = memory[0], memory[1], memory[3]
    rows, columns, divisors, sliding = memory[4], memory[5], memory[6], memory[7]
    q = carray(plan, 1)[0]
    line = scratch + worker * q.scratch
    _fill(line, q.row_cells, simd.constant(q.zero, -np.inf if q.op == MAX else 0.0))
    column_count = _window(columns, 0)[2]
    item = take(tasks) * q.chunk
    while item < q.items:
        end = min(item + q.chunk, q.items)
        plane, oh = item // q.OH, item % q.OH
        while item < end:
            n, c = plane // q.C, plane % q.C
            source = x + n * q.x_image + c * q.x_channel
            target = out + n * q.out_image + c * q.out_channel
            while oh < q.OH and item < end:
                first, cells, count, alike = _window(rows, oh)
                alike = min(alike, end - item)
                kind, divisor = _last_step(count * column_count, q)
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


@compiled
def _fill(at, count, value):
    size = simd.itemsize(value)
    for i in range(count):
        simd.store(at + i * size, value)


def _whole(op: int) -> Kernel:
    def whole(worker, tasks, memory, plan):
        x, out = memory[0], memory[1]
        q = carray(plan, 1)[0]
        cells = q.IH * q.IW
        kind, divisor = _last_step(q.count, q)
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


# ---------------------------------------------------------------- channels in the vector


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
            first, high, row_count, _ = _window(rows, oh)
            picture += first * q.x_row
            if q.block:
                for ow in range(0, q.OW, q.block):
                    _block(
                        picture, target, high, row_count, ow, min(q.block, q.OW - ow), channels,
                        line, memory, q,
                    )
                continue
            for ow in range(q.OW):
                left, wide, column_count, _ = _window(columns, ow)
                kind, divisor = _last_step(row_count * column_count, q)
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
    _fill(line, first * channels, nothing)
    step = last - first if q.x_column == pixel else 1
    for i in range(first, last, max(step, 1)):
        call(join, (
            x + (left + i) * q.x_column, high, q.x_down, 1, 0, size, line + i * pixel, size,
            step * channels, NONE, 1.0,
        ))
    _fill(line + last * pixel, (reach - last) * channels, nothing)
    i = 0
    while i < n:
        column_count = _window(columns, ow + i)[2]
        alike = 1
        while i + alike < n and _window(columns, ow + i + alike)[2] == column_count:
            alike += 1
        kind, divisor = _last_step(row_count * column_count, q)
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


# ---------------------------------------------------------------- maxima with their indices


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
            first, high, _, _ = _window(rows, oh)
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
            first, high, _, _ = _window(rows, oh)
            top = min(first, q.IH - 1)
            source = x + n * q.x_image + top * q.x_row
            target = out + n * q.out_image + oh * q.out_row
            to = indices + n * q.indices_image + oh * q.indices_row
            for ow in range(q.OW):
                left, wide, _, _ = _window(columns, ow)
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
            first, high, _, _ = _window(rows, oh)
            top = min(first, q.IH - 1)
            for ow in range(q.OW):
                left, wide, _, _ = _window(columns, ow)
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


# ---------------------------------------------------------------- norms that take powers


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
            top, high, _, _ = _window(rows, oh)
            source = x + n * q.x_image + c * q.x_channel + top * q.x_row
            target = out + n * q.out_image + c * q.out_channel + oh * q.out_row
            for ow in range(q.OW):
                left, wide, _, _ = _window(columns, ow)
                total = q.zero
                for h in range(high):
                    row = q.zero
                    for w in range(wide):
                        cell = source + h * q.x_down + left * q.x_column + w * q.x_tap
                        row += simd.power(simd.absolute(simd.load(cell, q.zero)), norm)
                    total += row
                simd.store(target + ow * q.out_column, simd.power(total, root))
        item = take(tasks) * q.chunk
