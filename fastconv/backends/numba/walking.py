"""Windows of a few pixels that walk along a row of them, channels in the vector.

The rows of a window are joined first and then its columns, which stay in registers while they are
in the window: a pixel is loaded once for each pair of rows of windows that it is in. The twin of
``csrc/simd/walk.h``, summing in the same order.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba.core import types

from . import lanes, simd
from .jit import inlined, native
from .reductions import MAX, NAMES, start_of
from .sliding import BY_COLUMN, finish, join, numbers_of, take_one

AHEAD = 8
"""Pixels by which memory is asked for beforehand."""
BYTES = 16384
"""Of the pixels of a row whose channels are all done before others."""
FEWEST = 16
"""Of these pixels, so that little is joined twice."""


@inlined
def _joined(op, careful, both, masked, stride, x, count, rows, row, nothing):
    """A vector of channels of one pixel, of the rows of one or two windows."""
    upper = join(op, careful, masked, x, 0, 0, count, rows, row, nothing)
    lower = upper
    if both:
        lower = join(op, careful, masked, x, stride, 0, count, rows, row, nothing)
    numbers = lanes.all_lanes(nothing)
    if op == MAX and not careful:
        high = rows + stride if both else rows
        numbers = numbers_of(masked, x, 0, count, high, row, nothing)
    return upper, lower, numbers


@inlined
def _pixel(
    op, careful, both, wide, stride, x, column, width, pitch, count, rows, row, nothing
):
    """One or two vectors of channels of a pixel, and where these have no NaN."""
    a = b = c = d = nothing
    numbers = lanes.all_lanes(nothing)
    if column >= 0 and column < width:
        here = x + column * pitch
        for i in range(rows + stride if both else rows):
            lanes.ask(here + AHEAD * pitch + i * row)
        if wide:
            a, b, numbers = _joined(
                op, careful, both, False, stride, here, count, rows, row, nothing
            )
            further = here + simd.lanes(nothing) * simd.itemsize(nothing)
            c, d, fine = _joined(
                op, careful, both, False, stride, further, count, rows, row, nothing
            )
            numbers = lanes.of_both(numbers, fine)
        else:
            a, b, numbers = _joined(
                op, careful, both, True, stride, here, count, rows, row, nothing
            )
    return (a, b, c, d), numbers


@inlined
def _of(t, v0, v1, v2, v3, v4):
    return v0 if t == 0 else v1 if t == 1 else v2 if t == 2 else v3 if t == 3 else v4


@inlined
def _join_taps(op, taps, careful, i, v0, v1, v2, v3, v4):
    total = take_one(op, careful, v0[i], v1[i])
    if taps > 2:
        total = take_one(op, careful, total, v2[i])
    if taps > 3:
        total = take_one(op, careful, total, v3[i])
    if taps > 4:
        total = take_one(op, careful, total, v4[i])
    return total


@inlined
def _vectors(
    op, taps, stride, careful, both, wide, x, rows, row, width, before, pitch, out, first, last,
    out_pitch, out_row, count, kind, divisor, divisors, factor, zero, nothing,
):
    """Windows ``first`` … ``last`` − 1 of one row or two, one or two vectors of their channels;
    the lanes that met no NaN."""
    further = simd.lanes(nothing) * simd.itemsize(nothing)
    fresh = min(taps, stride)
    numbers = lanes.all_lanes(nothing)
    v0 = v1 = v2 = v3 = v4 = nothing, nothing, nothing, nothing
    begin = first * stride - before - fresh
    if taps > 1 and fresh <= 1:
        v1, fine = _pixel(
            op, careful, both, wide, stride, x, begin + 1, width, pitch, count, rows, row,
            nothing,
        )
        numbers = lanes.of_both(numbers, fine)
    if taps > 2 and fresh <= 2:
        v2, fine = _pixel(
            op, careful, both, wide, stride, x, begin + 2, width, pitch, count, rows, row,
            nothing,
        )
        numbers = lanes.of_both(numbers, fine)
    if taps > 3 and fresh <= 3:
        v3, fine = _pixel(
            op, careful, both, wide, stride, x, begin + 3, width, pitch, count, rows, row,
            nothing,
        )
        numbers = lanes.of_both(numbers, fine)
    if taps > 4 and fresh <= 4:
        v4, fine = _pixel(
            op, careful, both, wide, stride, x, begin + 4, width, pitch, count, rows, row,
            nothing,
        )
        numbers = lanes.of_both(numbers, fine)
    for ow in range(first, last):
        for t in range(taps):
            v = v0
            if t + fresh < taps:
                v = _of(t + fresh, v0, v1, v2, v3, v4)
            else:
                v, fine = _pixel(
                    op, careful, both, wide, stride, x, ow * stride - before + t, width, pitch,
                    count, rows, row, nothing,
                )
                numbers = lanes.of_both(numbers, fine)
            if t == 0:
                v0 = v
            elif t == 1:
                v1 = v
            elif t == 2:
                v2 = v
            elif t == 3:
                v3 = v
            else:
                v4 = v
        by = nothing
        if kind == BY_COLUMN:
            number = simd.load(divisors + ow * simd.itemsize(nothing), zero)
            by = simd.mul(simd.splat(number), simd.constant(nothing, factor))
        to = out + ow * out_pitch
        total = _join_taps(op, taps, careful, 0, v0, v1, v2, v3, v4)
        _put(wide, to, finish(op, total, kind, divisor, by), count)
        if both:
            total = _join_taps(op, taps, careful, 1, v0, v1, v2, v3, v4)
            _put(wide, to + out_row, finish(op, total, kind, divisor, by), count)
        if wide:
            total = _join_taps(op, taps, careful, 2, v0, v1, v2, v3, v4)
            _put(wide, to + further, finish(op, total, kind, divisor, by), count)
        if wide and both:
            total = _join_taps(op, taps, careful, 3, v0, v1, v2, v3, v4)
            _put(wide, to + further + out_row, finish(op, total, kind, divisor, by), count)
    return numbers


@inlined
def _put(wide, out, total, count):
    if wide:
        simd.store(out, total)
    else:
        simd.store_part(out, total, count)


@cache
def walk(op: int, taps: int, stride: int, high: int, dtype: np.dtype[Any]) -> Any:
    """The native function (x, rows, row, following, width, before, pitch, channels, out, n,
    out_pitch, out_row, count, kind, divisor, divisors, factor).

    The twin of :func:`.sliding.slide`; pixels lie ``pitch`` bytes apart in x and ``out_pitch`` in
    out, and have ``channels`` neighbours.
    """
    zero = dtype.type(0)

    def walk(
        x, rows, row, following, width, before, pitch, channels, out, n, out_pitch, out_row,
        count, kind, divisor, divisors, factor,
    ):
        nothing = start_of(op, simd.splat(zero))
        across, size = simd.lanes(zero), simd.itemsize(zero)
        block = max(BYTES // size // channels // stride, FEWEST)
        if divisors:
            kind = BY_COLUMN
        i = 0
        while i < count:
            done = 2 if high and rows == high and i + 2 <= count else 1
            numbers = lanes.all_lanes(nothing)
            for first in range(0, n, block):
                last = min(first + block, n)
                c = 0
                while c < channels:
                    some = min(across, channels - c)
                    wide = c + 2 * across <= channels
                    at, to = x + c * size, out + c * size
                    if done == 2 and wide:
                        fine = _vectors(
                            op, taps, stride, False, True, True, at, high, row, width, before,
                            pitch, to, first, last, out_pitch, out_row, some, kind, divisor,
                            divisors, factor, zero, nothing,
                        )
                    elif wide:
                        fine = _vectors(
                            op, taps, stride, False, False, True, at, rows, row, width, before,
                            pitch, to, first, last, out_pitch, out_row, some, kind, divisor,
                            divisors, factor, zero, nothing,
                        )
                    elif done == 2:
                        fine = _vectors(
                            op, taps, stride, False, True, False, at, high, row, width, before,
                            pitch, to, first, last, out_pitch, out_row, some, kind, divisor,
                            divisors, factor, zero, nothing,
                        )
                    else:
                        fine = _vectors(
                            op, taps, stride, False, False, False, at, rows, row, width, before,
                            pitch, to, first, last, out_pitch, out_row, some, kind, divisor,
                            divisors, factor, zero, nothing,
                        )
                    numbers = lanes.of_both(numbers, fine)
                    c += 2 * across if wide else across
            if op == MAX and not lanes.is_full(numbers):
                for r in range(done):
                    for c in range(0, channels, across):
                        _vectors(
                            op, taps, stride, True, False, False, x + r * following + c * size,
                            rows, row, width, before, pitch, out + r * out_row + c * size, 0, n,
                            out_pitch, out_row, min(across, channels - c), kind, divisor,
                            divisors, factor, zero, nothing,
                        )
            x += done * following
            out += done * out_row
            i += done

    word, real = types.intp, types.float64
    name = f"walk_{NAMES[op]}_{taps}_{stride}_{high}_{dtype.name}"
    return native(walk, name, *[word] * 14, real, word, real)
