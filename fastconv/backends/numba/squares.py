"""The transforms of Winograd's F(4×4, 4×4) whose lanes are tiles side by side.

Four vectors of pixels are parted into the columns of a vector of tiles; what a tile reads of the
next one is parted from four cells further on. Lines of pixels go to the points of their row first,
and then seven of them to all points. All functions take addresses, and distances in bytes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba.core import types

from ..tap_groups import POINTS, TILE
from ..winograd import POINTS as CHOSEN
from . import simd
from .jit import native
from .parting import joined, parted
from .winograd_transforms import emitted, from_points, to_points


@cache
def line_to_points(dtype: np.dtype[Any]) -> Any:
    """A line of pixels to the points of its row. The arguments are (vectors of tiles, pixels,
    target, to the next point); it reads four cells beyond the last tile."""
    zero = dtype.type(0)

    def line(count, source, target, point):
        _line_to_points(POINTS, TILE, (count, source, target, point), zero)

    return native(line, f"square_line_to_points_{dtype.name}", *[types.intp] * 4)


@cache
def lines_to_points(dtype: np.dtype[Any]) -> Any:
    """Seven lines at one point of their rows to all points of a column. The arguments are (vectors
    of tiles, the lines' addresses, target, to the next point)."""
    zero = dtype.type(0)

    def lines(count, a, b, c, d, e, f, g, target, point):
        _lines_to_points(POINTS, TILE, (count, a, b, c, d, e, f, g, target, point), zero)

    return native(lines, f"square_lines_to_points_{dtype.name}", *[types.intp] * 10)


@cache
def points_to_lines(dtype: np.dtype[Any]) -> Any:
    """Points to four rows of pixels. The arguments are (vectors of tiles, source, to the next
    point, target, to the next row)."""
    zero = dtype.type(0)

    def points(count, source, point, target, row):
        _points_to_lines(POINTS, TILE, (count, source, point, target, row), zero)

    return native(points, f"square_points_to_lines_{dtype.name}", *[types.intp] * 5)


@emitted
def _line_to_points(e, alpha, m, count, source, target, point):
    vector = simd.INT(int(e.vector.count) * e.size)
    pixels = simd.INT(m * int(e.vector.count) * e.size)
    with e.each(count, source, pixels, target, vector) as (at, to):
        after = e.builder.add(at, simd.INT(m * e.size))
        columns = [
            column for start in (at, after)
            for column in parted(e.builder, [e.load(start, vector, i) for i in range(m)])
        ]
        for b, value in enumerate(to_points(e, alpha, columns[:alpha])):
            e.store(value, to, point, b)


@emitted
def _lines_to_points(e, alpha, m, count, *words):
    *lines, target, point = words
    vector = simd.INT(int(e.vector.count) * e.size)
    with e.each(count, simd.INT(0), vector, target, vector) as (at, to):
        cells = [e.load(e.builder.add(line, at), vector, 0) for line in lines]
        for a, value in enumerate(to_points(e, alpha, cells)):
            e.store(value, to, point, alpha * a)


@emitted
def _points_to_lines(e, alpha, m, count, source, point, target, row):
    """Column after column of points, each of which is added to the sixteen outputs at once."""
    vector = simd.INT(int(e.vector.count) * e.size)
    pixels = simd.INT(m * int(e.vector.count) * e.size)
    *pairs, lone = CHOSEN[alpha]
    with e.each(count, source, vector, target, pixels) as (at, to):
        def column(b):
            values = [e.load(at, point, a * alpha + b) for a in range(alpha)]
            return simd.emit_fence(e.builder, from_points(e, alpha, m, values))

        zero, single = column(0), column(alpha - 2)
        outputs = [
            [e.add(first, y), *(e.times(lone**j, y) for j in range(1, m))]
            for first, y in zip(zero, single, strict=True)
        ]
        for k, p in enumerate(pairs):
            plus, minus = column(1 + 2 * k), column(2 + 2 * k)
            for y, a, b in zip(outputs, plus, minus, strict=True):
                terms = e.add(a, b), e.sub(a, b)
                y[0] = e.add(y[0], terms[0])
                y[1:] = [e.plus(y[j], p**j, terms[j % 2]) for j in range(1, m)]
        for i, last in enumerate(column(alpha - 1)):
            outputs[i][m - 1] = e.add(outputs[i][m - 1], last)
            line = e.address(to, row, i)
            for j, cells in enumerate(joined(e.builder, outputs[i])):
                e.store(cells, line, vector, j)
