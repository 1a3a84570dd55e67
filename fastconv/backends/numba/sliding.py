"""Sliding windows of a few neighbouring cells, along the rows of a plane.

The rows of a window are joined first and then its columns, KH + KW steps in place of KH · KW, all
in registers: a cell is loaded once for each row of windows that it is in, and reaches its
neighbours' lanes by shuffles. Cells outside the picture are masked, so that borders and planes
narrower than a vector take no longer than the rest. The twin of ``csrc/simd/slide.h``, summing
in the same order.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba.core import types

from . import lanes, simd
from .jit import inlined, native
from .reductions import LEVEL, MAX, NAMES, SUM, finished, start_of

WINDOWS = {(2, 1), (3, 1), (4, 1), (5, 1), (2, 2), (3, 2), (4, 2), (5, 2), (3, 3)}
"""Columns of a window and its stride, for which there is code."""
STRAIGHT = 3
"""Windows up to so large that are as high as wide have straight code."""


def slides(op: int, high: int, wide: int, stride: int) -> bool:
    """Whether there is code for such windows: they must be one partial sum each, of cells that
    are neighbours and within two vectors."""
    return (
        op in (MAX, SUM) and high * wide <= LEVEL and (wide, stride) in WINDOWS
        and (wide - 1) // stride <= simd.BITS // 64
    )


@inlined
def _take(op, careful, total, v):
    """A maximum that may lose a NaN, unless ``careful``."""
    if op == MAX:
        best = lanes.maximum_of_numbers(total, v)
        if careful:
            return simd.select(simd.is_nan(total), total, best)
        return best
    return simd.add(total, v)


@inlined
def _load(masked, x, first, last, nothing):
    if masked:
        return lanes.load_between(x, first, last, nothing)
    return simd.load(x, nothing)


@inlined
def _join(op, careful, masked, x, first, last, rows, row, marks, nothing):
    """The rows' cells joined, and marks where one was NaN."""
    total = nothing
    i = 0
    if rows % 2:
        total = _load(masked, x, first, last, nothing)
        if op == MAX and not careful:
            marks = lanes.marked(marks, total, total)
        i = 1
    while i < rows:
        a = _load(masked, x + i * row, first, last, nothing)
        b = _load(masked, x + (i + 1) * row, first, last, nothing)
        if op == MAX and not careful:
            marks = lanes.marked(marks, a, b)
        if i:
            total = _take(op, careful, _take(op, careful, total, a), b)
        else:
            total = _take(op, careful, a, b)
        i += 2
    return total, marks


@inlined
def _join_at(op, careful, x, at, width, rows, row, marks, nothing):
    """The cells at … at + L − 1 of all the rows."""
    across = simd.lanes(nothing)
    here = x + at * simd.itemsize(nothing)
    total = nothing
    if at >= 0 and at + across <= width:
        total, marks = _join(op, careful, False, here, 0, 0, rows, row, marks, nothing)
    elif at < width and at + across > 0:
        total, marks = _join(
            op, careful, True, here, -at, width - at, rows, row, marks, nothing
        )
    return total, marks


@inlined
def _cells(op, stride, careful, x, at, width, rows, row, marks, nothing):
    """L · stride neighbours by their places modulo the stride, and marks."""
    across = simd.lanes(nothing)
    a, marks = _join_at(op, careful, x, at, width, rows, row, marks, nothing)
    if stride == 1:
        return a, a, a, marks
    b, marks = _join_at(op, careful, x, at + across, width, rows, row, marks, nothing)
    if stride == 2:
        return lanes.even(a, b), lanes.odd(a, b), a, marks
    c, marks = _join_at(op, careful, x, at + 2 * across, width, rows, row, marks, nothing)
    return lanes.third0(a, b, c), lanes.third1(a, b, c), lanes.third2(a, b, c), marks


@inlined
def _tap(t, stride, a, b, c, next_a, next_b, next_c):
    """The t-th cell of every window."""
    low, high = c, next_c
    if t % stride == 0:
        low, high = a, next_a
    elif t % stride == 1:
        low, high = b, next_b
    distance = t // stride
    if distance == 1:
        return lanes.following1(low, high)
    if distance == 2:
        return lanes.following2(low, high)
    if distance == 3:
        return lanes.following3(low, high)
    if distance == 4:
        return lanes.following4(low, high)
    return low


@inlined
def _line(
    op, taps, stride, careful, x, rows, row, width, before, out, n, kind, divisor, divisors,
    factor, nothing,
):
    """One row of windows; marks say whether there was a NaN, and ``out`` is not to be used."""
    across, size = simd.lanes(nothing), simd.itemsize(nothing)
    marks = simd.constant(nothing, 0.0)
    a, b, c, marks = _cells(
        op, stride, careful, x, -before, width, rows, row, marks, nothing
    )
    e = 0
    while e < n:
        next_a, next_b, next_c = a, b, c
        if e + across < n or taps > stride:
            next_a, next_b, next_c, marks = _cells(
                op, stride, careful, x, (e + across) * stride - before, width, rows, row, marks,
                nothing,
            )
        total = _take(op, careful, a, _tap(1, stride, a, b, c, next_a, next_b, next_c))
        if taps > 2:
            v = _tap(2, stride, a, b, c, next_a, next_b, next_c)
            total = _take(op, careful, total, v)
        if taps > 3:
            v = _tap(3, stride, a, b, c, next_a, next_b, next_c)
            total = _take(op, careful, total, v)
        if taps > 4:
            v = _tap(4, stride, a, b, c, next_a, next_b, next_c)
            total = _take(op, careful, total, v)
        if op == SUM:  # one that starts from 0 is never −0
            total = simd.add(total, simd.constant(nothing, 0.0))
        count = min(across, n - e)
        if op == SUM and divisors:
            by = simd.load_part(divisors + e * size, count, simd.constant(nothing, 1.0))
            total = simd.div(total, simd.mul(by, simd.constant(nothing, factor)))
        elif op == SUM:
            total = finished(kind, divisor, total)
        if count == across:
            simd.store(out + e * size, total)
        else:
            simd.store_part(out + e * size, total, count)
        a, b, c = next_a, next_b, next_c
        e += across
    return marks


@cache
def slide(op: int, taps: int, stride: int, high: int, dtype: np.dtype[Any]) -> Any:
    """The native function (x, rows, row, following, width, before, out, n, out_row, count, kind,
    divisor, divisors, factor).

    Of ``count`` rows of n windows that differ in nothing but their place: those in x lie
    ``following`` bytes apart, those in out ``out_row``. ``divisors`` is 0 or the address of
    what each average is divided by, times ``factor``. Windows of ``high`` rows, unless that is 0,
    have straight code.
    """
    zero = dtype.type(0)

    def slide(
        x, rows, row, following, width, before, out, n, out_row, count, kind, divisor, divisors,
        factor,
    ):
        nothing = start_of(op, simd.splat(zero))
        for _ in range(count):
            if high and rows == high:
                marks = _line(
                    op, taps, stride, False, x, high, row, width, before, out, n, kind, divisor,
                    divisors, factor, nothing,
                )
            else:
                marks = _line(
                    op, taps, stride, False, x, rows, row, width, before, out, n, kind, divisor,
                    divisors, factor, nothing,
                )
            if op == MAX and lanes.any_nan(marks):
                _line(
                    op, taps, stride, True, x, rows, row, width, before, out, n, kind, divisor,
                    divisors, factor, nothing,
                )
            x += following
            out += out_row

    word, real = types.intp, types.float64
    name = f"slide_{NAMES[op]}_{taps}_{stride}_{high}_{dtype.name}"
    return native(slide, name, *[word] * 11, real, word, real)
