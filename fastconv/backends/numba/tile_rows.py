"""The tile of Winograd's F(4×4, 3×3) whose lanes are tiles side by side.

With few input channels the products at a point are too short for a stage of their own. So one
output channel of a vector of tiles is computed from the transformed inputs to its sixteen outputs
in registers: the products of one column of points, summed over the channels, go through A^T at
once, and each pair of columns ±p is added to the outputs as its even and odd part. Every operation
stands in the order in which ``csrc/simd/winograd_planar.h`` has it.

Transformed inputs are [column point][input channel][row point][vector], weights the same of
numbers. All functions take addresses, and distances in bytes.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types

from ..tile_rows import ALPHA, SIDE
from ..winograd import POINTS
from . import simd
from .jit import intrinsic, native
from .winograd_transforms import Arithmetic, Values, from_points, to_points


class Shape(NamedTuple):
    """What the code of :func:`tiles_out` knows when it is compiled."""

    dtype: np.dtype[Any]
    channels: int
    """Of input, of a group."""
    limited: bool
    """Whether results are limited."""


@cache
def tiles_in(dtype: np.dtype[Any]) -> Any:
    """One channel of a vector of tiles, from cells to points. The arguments are (first cell, to the
    next row of cells, target, to the next column of points)."""
    zero = dtype.type(0)

    def tiles(cells, row, target, column):
        _tiles_in(cells, row, target, column, zero)

    return native(tiles, f"tile_rows_in_{dtype.name}", *[types.intp] * 4)


@cache
def tiles_out(shape: Shape) -> Any:
    """One output channel of a vector of tiles, from the points of its inputs to pixels. The
    arguments are (inputs, weights, bias, :func:`numbers`, target, to the next row)."""
    zero = shape.dtype.type(0)
    channels, limited = shape.channels, int(shape.limited)

    def tiles(values, weights, bias, numbers, target, row):
        _tiles_out(channels, limited, values, weights, bias, numbers, target, row, zero)

    name = f"tile_rows_out_{shape.dtype.name}_{channels}_{limited}"
    return native(tiles, name, *[types.intp] * 6)


_POWERS = [power for p in POINTS[ALPHA] for power in (p, p * p, p * p * p)]
"""The factors of A^T."""


def numbers(limits: tuple[float, float], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """What the code of :func:`tiles_out` reads: the powers of the points, the least and the
    greatest result; and last a zero for those who have no bias."""
    return np.array([*_POWERS, *limits, 0.0], dtype)


LEAST, MOST, ZERO = range(len(_POWERS), len(_POWERS) + 3)
"""Places among them."""


# ---------------------------------------------------------------- in


@intrinsic
def _tiles_in(typingctx, cells, row, target, column, like):
    def codegen(context, builder, signature, args):
        _In(builder, like).emit(*args[:-1])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4, like), codegen


class _In(Arithmetic):
    """Emits the code of :func:`tiles_in`."""

    def emit(self, cells: ir.Value, row: ir.Value, target: ir.Value, column: ir.Value) -> None:
        """Rows of cells, then columns of what they become, which lie meanwhile where the points
        will: there are more of them than registers."""
        vector = simd.INT(int(self.vector.count) * self.size)
        targets = [self.address(target, column, j) for j in range(ALPHA)]
        for k in range(ALPHA):
            after = self.builder.add(cells, simd.INT(SIDE * self.size))
            columns = [
                cell for start in (cells, after)
                for cell in self.parted([self.load(start, vector, i) for i in range(SIDE)])
            ]
            points = simd.emit_fence(self.builder, to_points(self, ALPHA, columns[:ALPHA]))
            for to, point in zip(targets, points, strict=True):
                self.store(point, to, vector, k)
            cells = self.builder.add(cells, row)
        for to in targets:
            points = to_points(self, ALPHA, [self.load(to, vector, k) for k in range(ALPHA)])
            for i, point in enumerate(simd.emit_fence(self.builder, points)):
                self.store(point, to, vector, i)

    def parted(self, x: Values) -> Values:
        """Of four vectors end to end numbers 0, 4, 8 …; 1, 5, 9 …; and so on."""
        a, b, c, d = x
        even, odd = (
            (simd.emit_every_second(self.builder, a, b, i, 0),
             simd.emit_every_second(self.builder, c, d, i, 0))
            for i in (0, 1)
        )
        return [
            simd.emit_every_second(self.builder, low, high, i, 0)
            for i in (0, 1) for low, high in (even, odd)
        ]


# ---------------------------------------------------------------- products and out


@intrinsic(prefer_literal=True)
def _tiles_out(typingctx, channels, limited, values, weights, bias, numbers, target, row, like):
    """The first two arguments are constants of the compiled code."""
    if not all(isinstance(constant, types.IntegerLiteral) for constant in (channels, limited)):
        return None

    def codegen(context, builder, signature, args):
        values, weights, bias, numbers, target, row = args[2:-1]
        tile = _Out(builder, like, numbers, channels.literal_value)
        tile.emit(values, weights, bias, limited.literal_value, target, row)
        return context.get_dummy_value()

    return types.void(channels, limited, *[types.intp] * 6, like), codegen


class _Out(Arithmetic):
    """Emits the code of :func:`tiles_out`.

    Sixteen outputs, the sums of one column and what a second one came to leave no registers for
    constants: all but 1 come from memory each time, as operands. Numba does not align its stack,
    where a vector that is written across two lines makes those who read it wait for all stores
    before it; so nothing must be kept there.
    """

    def __init__(
        self, builder: ir.IRBuilder, dtype: types.Float, numbers: ir.Value, channels: int
    ) -> None:
        super().__init__(builder, dtype)
        self.numbers, self.channels = numbers, channels
        self.lanes = int(self.vector.count)

    def emit(
        self, values: ir.Value, weights: ir.Value, bias: ir.Value, limited: int,
        target: ir.Value, row: ir.Value,
    ) -> None:
        """Columns of points, then rows of pixels."""
        start = self.number(bias, 0)
        zero = self.column(values, weights, 0)
        out = [[self.add(start, y), start, start, start] for y in zero]
        for pair, p in enumerate(POINTS[ALPHA]):
            plus = self.column(values, weights, 1 + 2 * pair)
            minus = self.column(values, weights, 2 + 2 * pair)
            for y, a, b in zip(out, plus, minus, strict=True):
                even, odd = self.add(a, b), self.sub(a, b)
                y[0] = self.add(y[0], even)
                y[1] = self.plus(y[1], p, odd)
                y[2] = self.plus(y[2], p * p, even)
                y[3] = self.plus(y[3], p * p * p, odd)
        infinity = self.column(values, weights, ALPHA - 1)
        for y, last in zip(out, infinity, strict=True):
            y[3] = self.add(y[3], last)
            vectors = self.joined(y)
            if limited:
                least, most = self.number(self.numbers, LEAST), self.number(self.numbers, MOST)
                vectors = simd.emit_limited(self.builder, vectors, least, most)
            for k, vector in enumerate(vectors):
                self.store(vector, target, simd.INT(self.lanes * self.size), k)
            target = self.builder.add(target, row)

    def column(self, values: ir.Value, weights: ir.Value, j: int) -> Values:
        """Column ``j`` of points, through A^T; what follows is read after it."""
        sums: Values = []
        for ic in range(self.channels):
            first = (j * self.channels + ic) * ALPHA
            for i in range(ALPHA):
                weight, value = self.number(weights, first + i), self.value(values, first + i)
                if ic:
                    sums[i] = simd.emit_fma(self.builder, weight, value, sums[i])
                else:
                    sums.append(self.builder.fmul(weight, value))
        return simd.emit_fence(self.builder, from_points(self, ALPHA, SIDE, sums))

    def splat(self, number: float) -> ir.Value:
        """A constant."""
        if number in _POWERS:
            return self.number(self.numbers, _POWERS.index(number))
        return super().splat(number)

    def number(self, address: ir.Value, i: int) -> ir.Value:
        """Number ``i`` from memory, in every lane."""
        at = self.builder.add(address, simd.INT(i * self.size))
        pointer = simd.emit_pointer(self.builder, at, self.vector.element)
        return simd.emit_splat(
            self.builder, self.builder.load(pointer, align=self.size), self.lanes
        )

    def value(self, values: ir.Value, i: int) -> ir.Value:
        """Vector ``i`` of the inputs, which are aligned."""
        width = self.lanes * self.size
        at = self.builder.add(values, simd.INT(i * width))
        return self.builder.load(simd.emit_pointer(self.builder, at, self.vector), align=width)

    def joined(self, columns: Values) -> Values:
        """The numbers of four vectors in turn."""
        even = self.zipped(columns[0], columns[2])
        odd = self.zipped(columns[1], columns[3])
        return [v for pair in zip(even, odd, strict=True) for v in self.zipped(*pair)]

    def zipped(self, a: ir.Value, b: ir.Value) -> Values:
        """The numbers of two vectors in turn."""
        lanes = [i // 2 + i % 2 * self.lanes for i in range(2 * self.lanes)]
        kind = ir.VectorType(ir.IntType(32), self.lanes)
        return [
            self.builder.shuffle_vector(a, b, ir.Constant(kind, lanes[i : i + self.lanes]))
            for i in (0, self.lanes)
        ]
