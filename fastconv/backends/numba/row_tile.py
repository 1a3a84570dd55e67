"""The register tile whose sums are complete: bias, limits and the way to rows of ``out`` included.

Pixels are in the lanes (:mod:`.gemm_tile`): a few vectors of a row of pixels, a vector apart, meet
the weights of a few output channels. The last tile of a row moves back so that it ends with the
row: it computes some pixels again, and nothing beyond the row is read or written.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from . import simd
from .gemm_tile import SHAPES, TileEmitter
from .jit import intrinsic, native


class _Emitter(TileEmitter):
    """Emits one tile: sums from nothing, the bias added last, then the limits."""

    def emit_row(
        self, x: ir.Value, steps: ir.Value, panel: ir.Value, depth: ir.Value, bias: ir.Value,
        limits: ir.Value, out: ir.Value, out_channel: ir.Value,
    ) -> None:
        values = [ir.Constant(self.vector, 0.0)] * (self.points * self.units)
        values = self.chain(values, self.dense_starts(x), steps, panel, depth)
        values = self._where(bias, values, self._plus_bias)
        values = self._where(limits, values, self._limited)
        for u in range(self.units):
            row = self.builder.add(out, self.builder.mul(out_channel, simd.INT(u)))
            for place, value in zip(self.dense_starts(row), values[u :: self.units], strict=True):
                place = self.builder.bitcast(place, self.vector.as_pointer())
                self.builder.store(value, place, align=self.size)

    def _where(self, address: ir.Value, values: list[ir.Value], change: Any) -> list[ir.Value]:
        """The changed ``values``, unless the address is 0."""
        b = self.builder
        before = b.block
        with b.if_then(b.icmp_signed("!=", address, simd.INT(0))):
            changed = change(address, values)
            after = b.block
        return [
            self.either(value, before, new, after)
            for value, new in zip(values, changed, strict=True)
        ]

    def _plus_bias(self, bias: ir.Value, values: list[ir.Value]) -> list[ir.Value]:
        of_units = [self._number(bias, u) for u in range(self.units)]
        return [
            self.builder.fadd(value, of_units[i % self.units]) for i, value in enumerate(values)
        ]

    def _limited(self, limits: ir.Value, values: list[ir.Value]) -> list[ir.Value]:
        return simd.emit_limited(
            self.builder, values, self._number(limits, 0), self._number(limits, 1)
        )

    def _number(self, address: ir.Value, i: int) -> ir.Value:
        at = self.builder.add(address, simd.INT(i * self.size))
        return self.read(self.builder.inttoptr(at, self.number.as_pointer()), as_vector=False)


@intrinsic(prefer_literal=True)
def _row_tile(
    typingctx, most, units, points, x, steps, panel, depth, bias, limits, out, out_channel, like,
):
    """One tile of up to ``most`` vectors; the first two arguments are constants of the compiled
    code."""
    constants = (most, units)
    if not all(isinstance(constant, types.IntegerLiteral) for constant in constants):
        return None

    def codegen(context, builder, signature, args):
        after = builder.append_basic_block("stored")
        choice = builder.switch(args[2], after)
        for width in range(1, most.literal_value + 1):
            block = builder.append_basic_block(f"of_{width}")
            choice.add_case(simd.INT(width), block)
            builder.position_at_end(block)
            _Emitter(builder, like, width, units.literal_value, False).emit_row(*args[3:-1])
            builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(*constants, *[types.intp] * 9, like), codegen


@cache
def row_sweep(units: int, dtype: np.dtype[Any]) -> Any:
    """The native function that computes a row of pixels of ``units`` output channels.

    Its arguments are (first pixel, columns, steps, panel, depth, bias, limits, out, bytes between
    channels of out). There is at least a vector of columns; bias and limits may be 0. Compiled on
    first use, one for each number of units.
    """
    most = SHAPES[units].points
    zero = dtype.type(0)

    def row_sweep(x, columns, steps, panel, depth, bias, limits, out, out_channel):
        lanes, size = simd.lanes(zero), simd.itemsize(zero)
        vectors = (columns + lanes - 1) // lanes
        widest = min(most, columns // lanes)
        tiles = (vectors + widest - 1) // widest
        for tile in range(tiles):
            first = vectors * tile // tiles
            points = vectors * (tile + 1) // tiles - first
            at = min(first * lanes, columns - points * lanes) * size
            _row_tile(
                most, units, points, x + at, steps, panel, depth, bias, limits, out + at,
                out_channel, zero,
            )

    return native(row_sweep, f"row_sweep_{units}_{dtype.name}", *[types.intp] * 9)
