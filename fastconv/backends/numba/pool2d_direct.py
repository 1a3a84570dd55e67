"""``pool2d.direct@numba``: one window after the other, of neighbouring cells side by side.

A vector holds the same window of neighbouring channels where those are dense in memory, else
that of neighbouring columns, else neighbouring cells of one wide window. Whatever is left, such
as windows at the border and maxima with their indices, is computed number by number.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...spec import Pool2dSpec
from . import simd
from .buffers import address
from .jit import Kernel, Plan, carray, compiled, inlined, strides, take

Array = npt.NDArray[Any]
Strides = tuple[int, ...]

_MAX, _SUM, _AVG, _LP = range(4)
_MODES = {"max": _MAX, "sum": _SUM, "avg": _AVG, "lp": _LP}
_NUMBERS, _CHANNELS, _COLUMNS = range(3)
"""What the lanes hold."""
_PIECE = 8
"""Cells of the smallest partial sum, and sums of the next larger."""


def run(
    spec: Pool2dSpec, x: Array, out: Array, indices: npt.NDArray[np.int64] | None, threads: int
) -> None:
    """Write the pooled ``x`` to ``out``, and where each maximum lies to ``indices``."""
    cut = _cut(spec, x.strides, out.strides, None if indices is None else indices.strides)
    memory = (address(x), address(out), address(indices), cut.windows_address)
    _pool(threads, min(threads, cut.tasks), memory, cut.plan)


def workspace_bytes(spec: Pool2dSpec, threads: int) -> int:
    """Nothing."""
    return 0


class _Cut(NamedTuple):
    tasks: int
    """Rows of output cells."""
    plan: Plan
    windows: npt.NDArray[np.int64]
    """(first, cells, count) of each output row, then of each output column."""
    windows_address: int


@lru_cache(maxsize=512)
def _cut(spec: Pool2dSpec, x: Strides, out: Strides, indices: Strides | None) -> _Cut:
    windows = np.concatenate([
        np.stack([first, np.maximum(stop - first + step - 1, 0) // step, count], axis=1)
        for (first, stop, count), step in ((spec.rows(), spec.DH), (spec.columns(), spec.DW))
    ])
    columns = windows[spec.OH :]
    lanes = _lanes(spec, x, out, indices)
    planes = 1 if lanes == _CHANNELS else spec.C
    # Windows of whole rows that follow each other in memory are one long row each.
    joined = (
        spec.DH == spec.DW == 1 and x[2] == spec.IW * x[3]
        and bool((columns[:, 0] == 0).all() and (columns[:, 1] == spec.IW).all())
    )
    # The columns whose windows lie inside the picture.
    inside = min(-(-spec.PL // spec.SW), spec.OW)
    outside = (spec.IW - 1 - (spec.KW - 1) * spec.DW + spec.PL) // spec.SW + 1
    tasks = spec.N * planes * spec.OH
    plan = Plan(
        np.dtype(spec.dtype).type(0), tasks=tasks, mode=_MODES[spec.mode], lanes=lanes,
        planes=planes, C=spec.C, IH=spec.IH, IW=spec.IW, OH=spec.OH, OW=spec.OW, SW=spec.SW,
        DH=spec.DH, DW=spec.DW, joined=int(joined), inside=inside,
        outside=max(inside, min(outside, spec.OW)), divisor=spec.divisor_override or 0,
        norm=float(spec.norm), powers=int(_takes_powers(spec)), **strides("x", x),
        **strides("out", out), **strides("index", indices or (0, 0, 0, 0)),
    )
    return _Cut(tasks, plan, windows, address(windows))


def _takes_powers(spec: Pool2dSpec) -> bool:
    return spec.mode == "lp" and spec.norm not in (1.0, 2.0)


def _lanes(spec: Pool2dSpec, x: Strides, out: Strides, indices: Strides | None) -> int:
    size = np.dtype(spec.dtype).itemsize
    if _takes_powers(spec):
        return _NUMBERS
    if indices is None and spec.C > 1 and x[1] == out[1] == size:
        return _CHANNELS
    if indices is None and not spec.adaptive and spec.SW <= 2 and x[3] == out[3] == size:
        return _COLUMNS
    return _NUMBERS


# ---------------------------------------------------------------- the kernel


@Kernel
def _pool(worker, tasks, memory, plan):
    """Row of output cells after row."""
    x, out, indices, windows = memory[0], memory[1], memory[2], memory[3]
    q = carray(plan, 1)[0]
    task = take(tasks)
    while task < q.tasks:
        oh, rest = task % q.OH, task // q.OH
        c, n = rest % q.planes, rest // q.planes
        source = x + n * q.x_image + c * q.x_channel
        target = out + n * q.out_image + c * q.out_channel + oh * q.out_row
        if indices:
            to = indices + n * q.index_image + c * q.index_channel + oh * q.index_row
            _row_of_indices(source, target, to, windows, oh, q)
        elif q.powers:
            _row_of_norms(source, target, windows, oh, q)
        else:
            _row(source, target, windows, oh, q)
        task = take(tasks)


@compiled
def _window(windows, i):
    """First cell, number of cells and count of a window along one axis."""
    at = windows + 24 * i
    return simd.load(at, 0), simd.load(at + 8, 0), simd.load(at + 16, 0)


@compiled
def _row(plane, out, windows, oh, q):
    """One row of output cells of one plane, or of all channels side by side."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    vector = _nothing(simd.splat(q.zero), q)
    number = _nothing(q.zero, q)
    step = q.DW * q.x_column
    top, high, row_count = _window(windows, oh)
    ow = 0
    while ow < q.OW:
        if q.lanes == _COLUMNS and q.inside <= ow < q.outside and q.outside - q.inside >= lanes:
            ow = min(ow, q.outside - lanes)  # the last vector overlaps the one before
        left, wide, column_count = _window(windows, q.OH + ow)
        at = plane + top * q.x_row + left * q.x_column
        to = out + ow * q.out_column
        cells = float(q.divisor if q.divisor else row_count * column_count)
        tall = high
        if q.joined:
            tall, wide = 1, high * wide
        if q.lanes == _CHANNELS:
            for c in range(0, q.C, lanes):
                count = min(lanes, q.C - c)
                v = _total(at + c * size, tall, wide, step, 1, count, count, vector, q)
                simd.store_part(to + c * size, _result(v, cells, q), count)
            ow += 1
        elif q.lanes == _COLUMNS and q.inside <= ow and ow + lanes <= q.outside:
            v = _total(at, tall, wide, step, q.SW, lanes, lanes, vector, q)
            simd.store(to, _result(v, cells, q))
            ow += lanes
        else:
            if wide >= 2 * lanes and step == size:
                vectors = (wide + lanes - 1) // lanes
                rest = wide - (vectors - 1) * lanes
                v = _total(at, tall, vectors, lanes * size, 1, lanes, rest, vector, q)
                total = simd.fold_maximum(v) if q.mode == _MAX else simd.fold_sum(v)
            else:
                total = _total(at, tall, wide, step, 1, lanes, lanes, number, q)
            simd.store(to, _result(total, cells, q))
            ow += 1


@inlined
def _nothing(like, q):
    """What changes no total."""
    return simd.constant(like, -np.inf if q.mode == _MAX else 0.0)


@inlined
def _with(total, v, q):
    """``total`` and one cell more."""
    if q.mode == _MAX:
        return simd.maximum(total, v)
    if q.mode == _LP:
        v = simd.absolute(v)
        if q.norm == 2.0:
            v = simd.mul(v, v)
    return simd.add(total, v)


@inlined
def _joined(a, b, q):
    """Two totals."""
    return simd.maximum(a, b) if q.mode == _MAX else simd.add(a, b)


@compiled
def _result(total, cells, q):
    """The pooled value."""
    if q.mode == _AVG:
        total = simd.div(total, simd.constant(total, cells))
    elif q.mode == _LP and q.norm == 2.0:
        total = simd.sqrt(total)
    return total


@compiled
def _total(at, high, wide, step, spacing, count, last, nothing, q):
    """A window's maximum or sum: ``high`` rows of ``wide`` numbers or vectors each.

    The vectors' lanes lie ``spacing`` apart; ``count`` of them hold cells, ``last`` in the last
    vector of a row. A long sum is one of sums of up to 8, and those are of up to 8, and so on:
    its error grows with the logarithm of the number of cells (Higham, "The accuracy of floating
    point summation", 1993).
    """
    down = q.DH * q.x_row
    first = nothing
    if q.mode == _MAX or (high <= _PIECE and wide <= _PIECE):
        for h in range(high):
            piece = _piece(at + h * down, 0, wide, wide, step, spacing, count, last, nothing, q)
            first = _joined(first, piece, q)
        return first
    second = third = fourth = fifth = nothing
    pieces = 0
    for h in range(high):
        for w in range(0, wide, _PIECE):
            end = min(w + _PIECE, wide)
            piece = _piece(at + h * down, w, end, wide, step, spacing, count, last, nothing, q)
            first = _joined(first, piece, q)
            pieces += 1
            if pieces % _PIECE == 0:
                second, first = _joined(second, first, q), nothing
            if pieces % _PIECE**2 == 0:
                third, second = _joined(third, second, q), nothing
            if pieces % _PIECE**3 == 0:
                fourth, third = _joined(fourth, third, q), nothing
            if pieces % _PIECE**4 == 0:
                fifth, fourth = _joined(fifth, fourth, q), nothing
    first = _joined(_joined(first, second, q), third, q)
    return _joined(_joined(first, fourth, q), fifth, q)


@inlined
def _piece(row, w, end, wide, step, spacing, count, last, nothing, q):
    """Some neighbouring cells of one row of a window."""
    lanes = simd.lanes(nothing)
    total = nothing
    if spacing == 2:
        while w < end:
            total = _with(total, simd.load_every_second(row + w * step, nothing), q)
            w += 1
    elif count == lanes:
        full = end - (end == wide and last < lanes)
        while w < full:
            total = _with(total, simd.load(row + w * step, nothing), q)
            w += 1
    while w < end:
        in_part = last if w == wide - 1 else count
        total = _with(total, simd.load_part(row + w * step, in_part, nothing), q)
        w += 1
    return total


@compiled
def _row_of_indices(plane, out, indices, windows, oh, q):
    """Maxima and where they lie: the first of equal ones, the last NaN."""
    top, high, _ = _window(windows, oh)
    for ow in range(q.OW):
        left, wide, _ = _window(windows, q.OH + ow)
        best = simd.constant(q.zero, -np.inf)
        index = min(top, q.IH - 1) * q.IW + min(left, q.IW - 1)
        for h in range(high):
            for w in range(wide):
                ih, iw = top + h * q.DH, left + w * q.DW
                v = simd.load(plane + ih * q.x_row + iw * q.x_column, q.zero)
                if v > best or v != v:
                    best = v
                    index = ih * q.IW + iw
        simd.store(out + ow * q.out_column, best)
        simd.store(indices + ow * q.index_column, index)


@compiled
def _row_of_norms(plane, out, windows, oh, q):
    """(Σ |cell|^norm)^(1/norm) for a norm that takes powers."""
    top, high, _ = _window(windows, oh)
    norm = simd.constant(q.zero, q.norm)
    root = simd.constant(q.zero, 1.0 / q.norm)
    for ow in range(q.OW):
        left, wide, _ = _window(windows, q.OH + ow)
        total = q.zero
        for h in range(high):
            row = q.zero
            for w in range(wide):
                cell = plane + (top + h * q.DH) * q.x_row + (left + w * q.DW) * q.x_column
                row += simd.power(simd.absolute(simd.load(cell, q.zero)), norm)
            total += row
        simd.store(out + ow * q.out_column, simd.power(total, root))
