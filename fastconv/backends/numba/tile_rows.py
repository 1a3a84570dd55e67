"""The tile of Winograd's F(4×4, 3×3) whose lanes are tiles side by side, or output channels.

With few input channels the products at a point are too short for a stage of their own. So one
output channel of a vector of tiles is computed from the transformed inputs to its sixteen outputs
in registers: the products of one column of points, summed over the channels, go through A^T at
once, and each pair of columns ±p is added to the outputs as its even and odd part. Every operation
stands in the order in which ``csrc/simd/winograd_planar.h`` has it.

Where output channels lie side by side the lanes hold these instead, and the transformed inputs of
one tile are the numbers. The same registers take the maxima of windows of 2×2, if asked.

Transformed inputs are [column point][input channel][row point][vector], weights the same of
numbers, or of vectors of output channels. All functions take addresses, and distances in bytes.
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
from .lanes import emit_stream
from .parting import joined, parted, zipped
from .winograd_transforms import Arithmetic, Values, from_points, to_points


class Shape(NamedTuple):
    """What the code of :func:`tiles_out` knows when it is compiled."""

    dtype: np.dtype[Any]
    channels: int
    """Of input, of a group."""
    limited: bool
    """Whether results are limited."""
    pooled: bool
    """Whether they are maxima of windows of 2×2, side by side."""
    past: bool = False
    """Whether those of :func:`channels_out` go past the caches, to whole cache lines."""


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
    zero, form = shape.dtype.type(0), _form(shape)

    def tiles(values, weights, bias, numbers, target, row):
        _tiles_out(form, values, weights, bias, numbers, target, row, zero)

    return native(tiles, _name("tile_rows_out", shape), *[types.intp] * 6)


@cache
def channels_out(shape: Shape) -> Any:
    """A vector of output channels of one tile. The arguments are (its first input, weights, a
    vector of biases, :func:`numbers`, target, to the next row, to the next pixel)."""
    zero, form = shape.dtype.type(0), _form(shape)

    def channels(values, weights, bias, numbers, target, row, column):
        _channels_out(form, values, weights, bias, numbers, target, row, column, zero)

    return native(channels, _name("tile_rows_channels_out", shape), *[types.intp] * 7)


def _name(function: str, shape: Shape) -> str:
    flags = "".join(str(int(flag)) for flag in (shape.limited, shape.pooled, shape.past))
    return f"{function}_{shape.dtype.name}_{shape.channels}_{flags}"


def _form(shape: Shape) -> int:
    """A shape as one number, which code can be compiled for."""
    return shape.channels << 3 | shape.limited << 2 | shape.pooled << 1 | shape.past


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
                for cell in parted(self.builder, [self.load(start, vector, i) for i in range(SIDE)])
            ]
            points = simd.emit_fence(self.builder, to_points(self, ALPHA, columns[:ALPHA]))
            for to, point in zip(targets, points, strict=True):
                self.store(point, to, vector, k)
            cells = self.builder.add(cells, row)
        for to in targets:
            points = to_points(self, ALPHA, [self.load(to, vector, k) for k in range(ALPHA)])
            for i, point in enumerate(simd.emit_fence(self.builder, points)):
                self.store(point, to, vector, i)


# ---------------------------------------------------------------- products and out


@intrinsic(prefer_literal=True)
def _tiles_out(typingctx, form, values, weights, bias, numbers, target, row, like):
    """The first argument is a constant of the compiled code."""
    if not isinstance(form, types.IntegerLiteral):
        return None

    def codegen(context, builder, signature, args):
        values, weights, bias, numbers, target, row = args[1:-1]
        tile = _AlongTiles(builder, like, numbers, form.literal_value)
        tile.emit(values, weights, tile.number(bias, 0), target, row)
        return context.get_dummy_value()

    return types.void(form, *[types.intp] * 6, like), codegen


@intrinsic(prefer_literal=True)
def _channels_out(typingctx, form, values, weights, bias, numbers, target, row, column, like):
    """The first argument is a constant of the compiled code."""
    if not isinstance(form, types.IntegerLiteral):
        return None

    def codegen(context, builder, signature, args):
        values, weights, bias, numbers, target, row, column = args[1:-1]
        tile = _AlongChannels(builder, like, numbers, form.literal_value, column)
        tile.emit(values, weights, tile.load(bias, column, 0), target, row)
        return context.get_dummy_value()

    return types.void(form, *[types.intp] * 7, like), codegen


class _Out(Arithmetic):
    """Emits the code of :func:`tiles_out` or :func:`channels_out`.

    Sixteen outputs, the sums of one column and what a second one came to leave no registers for
    constants: all but 1 come from memory each time, as operands. Numba does not align its stack,
    where a vector that is written across two lines makes those who read it wait for all stores
    before it; so nothing must be kept there.
    """

    def __init__(
        self, builder: ir.IRBuilder, dtype: types.Float, numbers: ir.Value, form: int
    ) -> None:
        super().__init__(builder, dtype)
        self.numbers, self.channels = numbers, form >> 3
        self.limited, self.pooled, self.past = (bool(form >> i & 1) for i in (2, 1, 0))
        self.lanes = int(self.vector.count)

    def weight(self, weights: ir.Value, i: int) -> ir.Value:
        """Weight ``i``, in every lane or a vector of them."""
        raise NotImplementedError

    def value(self, values: ir.Value, i: int) -> ir.Value:
        """Transformed input ``i``, a vector of them or in every lane."""
        raise NotImplementedError

    def store_row(self, pixels: Values, target: ir.Value) -> None:
        """A row of results: a vector for each column of the tile."""
        raise NotImplementedError

    def emit(
        self, values: ir.Value, weights: ir.Value, start: ir.Value, target: ir.Value,
        row: ir.Value,
    ) -> None:
        """Columns of points, then rows of pixels."""
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
            if self.limited:
                least, most = self.number(self.numbers, LEAST), self.number(self.numbers, MOST)
                y[:] = simd.emit_limited(self.builder, y, least, most)
            if not self.pooled:
                self.store_row(y, target)
                target = self.builder.add(target, row)
        for upper, lower in zip(out[::2], out[1::2], strict=True) if self.pooled else ():
            windows = [(*upper[k : k + 2], *lower[k : k + 2]) for k in range(0, SIDE, 2)]
            self.store_row([self.greatest(*window) for window in windows], target)
            target = self.builder.add(target, row)

    def greatest(self, a: ir.Value, b: ir.Value, c: ir.Value, d: ir.Value) -> ir.Value:
        """The maximum; a NaN wins."""
        e = self.builder
        is_nan = e.or_(e.fcmp_unordered("uno", a, b), e.fcmp_unordered("uno", c, d))
        best = self.greater(self.greater(a, b), self.greater(c, d))
        return e.select(is_nan, e.fadd(e.fadd(a, b), e.fadd(c, d)), best)

    def greater(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def column(self, values: ir.Value, weights: ir.Value, j: int) -> Values:
        """Column ``j`` of points, through A^T; what follows is read after it."""
        sums: Values = []
        for ic in range(self.channels):
            first = (j * self.channels + ic) * ALPHA
            for i in range(ALPHA):
                weight, value = self.weight(weights, first + i), self.value(values, first + i)
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

    def vector_at(self, address: ir.Value, i: int) -> ir.Value:
        """Vector ``i`` of aligned ones."""
        width = self.lanes * self.size
        at = self.builder.add(address, simd.INT(i * width))
        return self.builder.load(simd.emit_pointer(self.builder, at, self.vector), align=width)


class _AlongTiles(_Out):
    """The lanes are tiles."""

    def weight(self, weights: ir.Value, i: int) -> ir.Value:
        return self.number(weights, i)

    def value(self, values: ir.Value, i: int) -> ir.Value:
        return self.vector_at(values, i)

    def store_row(self, pixels: Values, target: ir.Value) -> None:
        b = self.builder
        vectors = joined(b, pixels) if len(pixels) == SIDE else zipped(b, *pixels)
        for k, vector in enumerate(vectors):
            self.store(vector, target, simd.INT(self.lanes * self.size), k)


class _AlongChannels(_Out):
    """The lanes are output channels; pixels lie ``column`` bytes apart."""

    def __init__(
        self, builder: ir.IRBuilder, dtype: types.Float, numbers: ir.Value, form: int,
        column: ir.Value,
    ) -> None:
        super().__init__(builder, dtype, numbers, form)
        self.column_step = column

    def weight(self, weights: ir.Value, i: int) -> ir.Value:
        return self.vector_at(weights, i)

    def value(self, values: ir.Value, i: int) -> ir.Value:
        return self.number(values, i * self.lanes)

    def store_row(self, pixels: Values, target: ir.Value) -> None:
        for k, pixel in enumerate(pixels):
            if self.past:
                at = self.address(target, self.column_step, k)
                pointer = simd.emit_pointer(self.builder, at, self.vector)
                emit_stream(self.builder, pixel, pointer)
            else:
                self.store(pixel, target, self.column_step, k)
