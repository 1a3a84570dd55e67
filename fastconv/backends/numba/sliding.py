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
from .buffers import LINE
from .jit import inlined, native
from .reductions import DIVIDE, LEVEL, MAX, NAMES, SUM, finished, start_of

WINDOWS = {(2, 1), (3, 1), (4, 1), (5, 1), (2, 2), (3, 2), (4, 2), (5, 2), (3, 3)}
"""Columns of a window and its stride, for which there is code."""
STRAIGHT = 5
"""Windows up to so large that are as high as wide have straight code."""
AHEAD, AHEAD_OUT = 8192, 4096
"""Bytes by which the next lines of cells and outputs are asked for: several rows side by side are
no stream that the processor would see."""
BY_COLUMN = -1
"""A last step: division by what each column has its own of."""


def slides(op: int, high: int, wide: int, stride: int) -> bool:
    """Whether there is code for such windows: they must be one partial sum each, of cells that
    are neighbours and within two vectors."""
    return (
        op in (MAX, SUM) and high * wide <= LEVEL and (wide, stride) in WINDOWS
        and (wide - 1) // stride <= simd.BITS // 64
    )


def strip_rows(taps: int, stride: int) -> int:
    """Rows of windows that go along together where they share cells: as many as there are
    registers for, and as share many."""
    return 4 if simd.BITS == 512 and taps < 4 and stride == 1 else 2


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
def _join(op, careful, masked, x, up, first, last, rows, row, nothing):
    """The rows from ``up`` on joined."""
    total = _load(masked, x + up * row, first, last, nothing)
    for i in range(1, rows):
        v = _load(masked, x + (up + i) * row, first, last, nothing)
        total = _take(op, careful, total, v)
    return total


@inlined
def _numbers_of_two(numbers, masked, x, i, first, last, rows, row, nothing):
    """``numbers`` less the lanes in which row i or the next one has a NaN, as far as there are
    such rows."""
    if i < rows:
        a = _load(masked, x + i * row, first, last, nothing)
        b = _load(masked, x + (i + 1) * row, first, last, nothing) if i + 1 < rows else a
        return lanes.of_numbers(numbers, a, b)
    return numbers


@inlined
def _numbers(masked, x, first, last, rows, row, nothing):
    """The lanes in which no row has a NaN. Of a few rows without a loop, because LLVM unrolls none
    that carries a mask."""
    numbers = lanes.all_lanes(nothing)
    numbers = _numbers_of_two(numbers, masked, x, 0, first, last, rows, row, nothing)
    numbers = _numbers_of_two(numbers, masked, x, 2, first, last, rows, row, nothing)
    numbers = _numbers_of_two(numbers, masked, x, 4, first, last, rows, row, nothing)
    numbers = _numbers_of_two(numbers, masked, x, 6, first, last, rows, row, nothing)
    for i in range(8, rows, 2):
        numbers = _numbers_of_two(numbers, masked, x, i, first, last, rows, row, nothing)
    return numbers


@inlined
def _join_all(op, careful, masked, count, stride, x, first, last, rows, row, nothing):
    """The rows of ``count`` windows, which share some, and where these have no NaN."""
    second = third = fourth = nothing
    numbers = lanes.all_lanes(nothing)
    top = _join(op, careful, masked, x, 0, first, last, rows, row, nothing)
    if count > 1:
        second = _join(op, careful, masked, x, stride, first, last, rows, row, nothing)
    if count > 2:
        third = _join(op, careful, masked, x, 2 * stride, first, last, rows, row, nothing)
        fourth = _join(op, careful, masked, x, 3 * stride, first, last, rows, row, nothing)
    if op == MAX and not careful:
        high = rows + (count - 1) * stride
        numbers = _numbers(masked, x, first, last, high, row, nothing)
    return (top, second, third, fourth), numbers


@inlined
def _join_at(op, careful, count, stride, x, at, width, rows, row, nothing):
    """The cells at … at + L − 1 of the rows of one window, two or four, and where these have no
    NaN."""
    across = simd.lanes(nothing)
    here = x + at * simd.itemsize(nothing)
    joined = nothing, nothing, nothing, nothing
    numbers = lanes.all_lanes(nothing)
    if at >= 0 and at + across <= width:
        joined, numbers = _join_all(
            op, careful, False, count, stride, here, 0, 0, rows, row, nothing
        )
    elif at < width and at + across > 0:
        joined, numbers = _join_all(
            op, careful, True, count, stride, here, -at, width - at, rows, row, nothing
        )
    return joined, numbers


@inlined
def _apart(stride, x, y, z):
    """L · stride neighbours by their places modulo the stride."""
    if stride == 1:
        return x, x, x
    if stride == 2:
        return lanes.even(x, y), lanes.odd(x, y), x
    return lanes.third0(x, y, z), lanes.third1(x, y, z), lanes.third2(x, y, z)


@inlined
def _place(i, cells):
    return cells[0] if i == 0 else cells[1] if i == 1 else cells[2]


@inlined
def _cell(to, stride, before, here, following):
    """The cell of every window that is ``to`` columns right of where ``here`` begins."""
    i = (to + 2 * stride) % stride
    distance = (to + 2 * stride - i) // stride - 2
    v, w = _place(i, here), _place(i, following)
    if distance < 0:
        u = _place(i, before)
        return lanes.preceding1(u, v) if distance == -1 else lanes.preceding2(u, v)
    if distance == 1:
        return lanes.following1(v, w)
    if distance == 2:
        return lanes.following2(v, w)
    if distance == 3:
        return lanes.following3(v, w)
    if distance == 4:
        return lanes.following4(v, w)
    return v


@inlined
def _join_taps(op, taps, stride, lead, careful, before, here, following):
    """The columns of the windows joined, ``lead`` of which are left of where ``here`` begins."""
    total = _take(
        op, careful, _cell(-lead, stride, before, here, following),
        _cell(1 - lead, stride, before, here, following),
    )
    if taps > 2:
        total = _take(op, careful, total, _cell(2 - lead, stride, before, here, following))
    if taps > 3:
        total = _take(op, careful, total, _cell(3 - lead, stride, before, here, following))
    if taps > 4:
        total = _take(op, careful, total, _cell(4 - lead, stride, before, here, following))
    return total


@inlined
def _finish(op, total, kind, divisor, by):
    """The total's last step; a sum that starts from 0 is never −0."""
    if op == MAX:
        return total
    if kind == BY_COLUMN:
        return simd.div(simd.add(total, simd.constant(total, 0.0)), by)
    if kind == DIVIDE:
        return finished(kind, divisor, total)
    return finished(kind, divisor, simd.add(total, simd.constant(total, 0.0)))


@inlined
def _store(out, total, count):
    if count == simd.lanes(total):
        simd.store(out, total)
    else:
        simd.store_part(out, total, count)


@inlined
def _line(
    op, taps, stride, lead, careful, count, x, rows, row, width, before, out, n, out_row, kind,
    divisor, divisors, factor, nothing,
):
    """One row of windows, two or four; the lanes that met no NaN, but for which ``out`` is not to
    be used. Vectors of cells begin ``lead`` columns behind the beginning of a window."""
    across, size = simd.lanes(nothing), simd.itemsize(nothing)
    numbers = lanes.all_lanes(nothing)
    none = nothing, nothing, nothing
    last = here = following = none, none, none, none
    ahead = across if taps - lead > stride else 0
    ask, ask_out = x + AHEAD, out + AHEAD_OUT
    e = -ahead
    while e < n:
        at = (e + ahead) * stride - before + lead
        last, here = here, following
        a, fine = _join_at(op, careful, count, stride, x, at, width, rows, row, nothing)
        numbers = lanes.of_both(numbers, fine)
        b = c = nothing, nothing, nothing, nothing
        if stride > 1:
            b, fine = _join_at(
                op, careful, count, stride, x, at + across, width, rows, row, nothing
            )
            numbers = lanes.of_both(numbers, fine)
        if stride > 2:
            c, fine = _join_at(
                op, careful, count, stride, x, at + 2 * across, width, rows, row, nothing
            )
            numbers = lanes.of_both(numbers, fine)
        following = (
            _apart(stride, a[0], b[0], c[0]), _apart(stride, a[1], b[1], c[1]),
            _apart(stride, a[2], b[2], c[2]), _apart(stride, a[3], b[3], c[3]),
        )
        if ahead == 0:
            last, here = here, following
        if e >= 0:
            part = min(across, n - e)
            by = nothing
            if kind == BY_COLUMN:
                by = simd.mul(
                    simd.load_part(divisors + e * size, part, simd.constant(nothing, 1.0)),
                    simd.constant(nothing, factor),
                )
            if count > 1:
                for _ in range(count * stride * stride):
                    lanes.ask(ask)
                    ask += LINE
                for _ in range(count):
                    lanes.ask(ask_out)
                    ask_out += LINE
            to = out + e * size
            total = _join_taps(op, taps, stride, lead, careful, last[0], here[0], following[0])
            _store(to, _finish(op, total, kind, divisor, by), part)
            if count > 1:
                total = _join_taps(
                    op, taps, stride, lead, careful, last[1], here[1], following[1]
                )
                _store(to + out_row, _finish(op, total, kind, divisor, by), part)
            if count > 2:
                total = _join_taps(
                    op, taps, stride, lead, careful, last[2], here[2], following[2]
                )
                _store(to + 2 * out_row, _finish(op, total, kind, divisor, by), part)
                total = _join_taps(
                    op, taps, stride, lead, careful, last[3], here[3], following[3]
                )
                _store(to + 3 * out_row, _finish(op, total, kind, divisor, by), part)
        e += across
    return numbers


@cache
def slide(
    op: int, taps: int, stride: int, lead: int, high: int, strip: int, dtype: np.dtype[Any]
) -> Any:
    """The native function (x, rows, row, following, width, before, out, n, out_row, count, kind,
    divisor, divisors, factor).

    Of ``count`` rows of n windows that differ in nothing but their place: those in x lie
    ``following`` bytes apart, those in out ``out_row``. ``divisors`` is 0 or the address of
    what each average is divided by, times ``factor``. Windows of ``high`` rows, unless that is 0,
    have straight code; with a ``strip`` of more than 1 they lie ``stride`` rows apart, and so
    many go at once. ``lead`` is how many columns are outside the picture before the first window,
    or 0 if that is only known to ``before``.
    """
    zero = dtype.type(0)

    def slide(
        x, rows, row, following, width, before, out, n, out_row, count, kind, divisor, divisors,
        factor,
    ):
        nothing = start_of(op, simd.splat(zero))
        if divisors:
            kind = BY_COLUMN
        i = 0
        while i < count:
            done = 1
            if strip > 1 and rows == high and i + strip <= count:
                done = strip
                numbers = _line(
                    op, taps, stride, lead, False, strip, x, high, row, width, before, out, n,
                    out_row, kind, divisor, divisors, factor, nothing,
                )
            elif high and rows == high:
                numbers = _line(
                    op, taps, stride, lead, False, 1, x, high, row, width, before, out, n,
                    out_row, kind, divisor, divisors, factor, nothing,
                )
            else:
                numbers = _line(
                    op, taps, stride, lead, False, 1, x, rows, row, width, before, out, n,
                    out_row, kind, divisor, divisors, factor, nothing,
                )
            if op == MAX and not lanes.is_full(numbers):
                for r in range(done):
                    _line(
                        op, taps, stride, lead, True, 1, x + r * following, rows, row, width,
                        before, out + r * out_row, n, out_row, kind, divisor, divisors, factor,
                        nothing,
                    )
            x += done * following
            out += done * out_row
            i += done

    word, real = types.intp, types.float64
    name = f"slide_{NAMES[op]}_{taps}_{stride}_{lead}_{high}_{strip}_{dtype.name}"
    return native(slide, name, *[word] * 11, real, word, real)
