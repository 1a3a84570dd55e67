"""Maxima and where they are: the first of equal ones, the last of several NaN, and the window's
first cell if all of them are −inf. The twin of ``csrc/simd/maxima.h``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba.core import types

from . import lanes, simd
from .jit import inlined, native

WINDOWS = {(2, 2, 2), (3, 3, 1), (3, 3, 2)}
"""Rows, columns and stride of windows that have code of their own."""
LARGEST_STEP = 1 << 24
"""Cells from a window's first to its last that a vector's lanes can count, as numbers."""


@inlined
def _load(stride, masked, x, first, last, nothing):
    """Every stride-th cell from x on; −inf for those outside first … last − 1."""
    across = simd.lanes(nothing)
    if not masked:
        return simd.load_every_second(x, nothing) if stride == 2 else simd.load(x, nothing)
    a = lanes.load_between(x, first, last, nothing)
    if stride == 1:
        return a
    further = x + across * simd.itemsize(nothing)
    return lanes.even(a, lanes.load_between(further, first - across, last - across, nothing))


@inlined
def _best(
    stride, masked, x, rows, row, taps, tap, column, column_tap, width, index_row, index_tap, at,
    nothing,
):
    """The maxima, and by how much further than their windows' starts they are."""
    best = nothing
    for i in range(rows):
        for j in range(taps):
            left = column + j * column_tap
            v = _load(
                stride, masked, x + i * row + j * tap, -left, width - left, nothing
            )
            better = lanes.greater_or_nan(v, best)
            best = simd.select(better, v, best)
            here = simd.constant(nothing, float(i * index_row + j * index_tap))
            at = simd.select(better, here, at)
    return best, at


@cache
def maxima(stride: int, high: int, wide: int, dtype: np.dtype[Any]) -> Any:
    """The native function (x, rows, row, taps, tap, column, column_tap, width, out, indices, n,
    starts, index, index_row, index_tap, index_step).

    Of n neighbouring windows of ``rows`` × ``taps`` cells, ``stride`` cells apart in x. The
    first one's taps are the columns column, column + column_tap … of a line of ``width``, beyond
    which there is nothing. ``starts`` is 0, or has how far each window's first cell in the
    picture is from its start, as numbers; ``index`` is the first window's start, window i's is
    ``i * index_step`` further, the next row's ``index_row`` and the next tap's ``index_tap``.
    Windows of ``high`` × ``wide`` cells, if these are not 0, have straight code.
    """
    zero = dtype.type(0)

    def maxima(
        x, rows, row, taps, tap, column, column_tap, width, out, indices, n, starts, index,
        index_row, index_tap, index_step,
    ):
        nothing = simd.constant(simd.splat(zero), -np.inf)
        across, size = simd.lanes(zero), simd.itemsize(zero)
        for e in range(0, n, across):
            count = min(across, n - e)
            left = column + e * stride
            last = left + (across - 1) * stride + (taps - 1) * column_tap
            at = simd.splat(zero)
            if starts:
                at = simd.load_part(starts + e * size, count, at)
            here = x + e * stride * size
            if left < 0 or last >= width:
                best, at = _best(
                    stride, True, here, rows, row, taps, tap, left, column_tap, width,
                    index_row, index_tap, at, nothing,
                )
            elif high and rows == high and taps == wide:
                best, at = _best(
                    stride, False, here, high, row, wide, tap, left, column_tap, width,
                    index_row, index_tap, at, nothing,
                )
            else:
                best, at = _best(
                    stride, False, here, rows, row, taps, tap, left, column_tap, width,
                    index_row, index_tap, at, nothing,
                )
            if count == across:
                simd.store(out + e * size, best)
            else:
                simd.store_part(out + e * size, best, count)
            lanes.store_integers(
                indices + e * 8, at, index + e * index_step, index_step, count
            )

    return native(
        maxima, f"maxima_{stride}_{high}_{wide}_{dtype.name}", *[types.intp] * 16
    )


@inlined
def maximum(x, rows, row, taps, tap, index, index_row, index_tap, out, to, zero):
    """The same for a single window, whose first cell is in the picture."""
    best = simd.constant(zero, -np.inf)
    at = index
    for i in range(rows):
        for j in range(taps):
            v = simd.load(x + i * row + j * tap, zero)
            if v > best or v != v:
                best = v
                at = index + i * index_row + j * index_tap
    simd.store(out, best)
    simd.store(to, at)
