"""The register tile: the small matrix product at the core of every convolution.

``sums[p][u] += Σ_k points[p][k] · panel[k][u]`` for a few points p and units u, with all sums in
registers. A point is read at ``base + offsets[p] + steps[k]``, so pixels may lie anywhere; the
panel is contiguous. One of the two sides is a vector and the other is broadcast:

- *channels in lanes*: a point is one pixel, broadcast; a unit is a vector of output channels.
- *pixels in lanes*: a point is a vector of neighbouring pixels; a unit is one output channel,
  its weight broadcast. For groups with fewer output channels than half a vector, and for sums of
  few terms, whose results would have to be turned for every few products (:mod:`.row_tile`).

Every sum is one chain of fused multiply-adds over k in ascending order, so neither the tile's
size nor a cut of k into chunks changes a bit of it.

Winograd's products are many small ones, of points that lie one vector apart: :func:`dense_sweep`
needs no offsets, and its tiles leave no remainder. There a chunk of k is summed by itself and then
added to the others: rounding errors grow with the length of a chunk and with the number of chunks
instead of with their product.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types

from . import simd
from .buffers import LINE
from .jit import intrinsic, native

MOST_UNITS = 4 if simd.REGISTERS == 32 else 2


class Shape(NamedTuple):
    """The points of a tile."""

    points: int
    rest: int
    """Points of the tiles that finish the remainder."""


SHAPES = (
    {4: Shape(6, 2), 3: Shape(8, 2), 2: Shape(10, 4), 1: Shape(10, 4)}
    if simd.REGISTERS == 32
    else {2: Shape(6, 2), 1: Shape(8, 4)}
)
"""By units. The sums, a row of the panel and a point fill the registers: 6×4, 8×3 and 10×2
vectors reach the peak, 12×2 spills."""
SPARE_POINTS = max(shape.rest for shape in SHAPES.values()) - 1
"""Points beyond the last one that a tile may touch."""

_BYTE = ir.IntType(8)


@intrinsic(prefer_literal=True)
def _tile(
    typingctx, points, units, channels_in_lanes, base, offsets, steps, panel, depth, sums, fresh,
    like,
):
    """One tile; the first three arguments are constants of the compiled code."""
    constants = (points, units, channels_in_lanes)
    if not all(isinstance(constant, types.IntegerLiteral) for constant in constants):
        return None
    word = types.intp

    def codegen(context, builder, signature, args):
        emitter = TileEmitter(builder, like, *(constant.literal_value for constant in constants))
        base, offsets, *rest = args[3:-1]
        emitter.emit(emitter.starts_at(base, offsets), *rest)
        return context.get_dummy_value()

    return types.void(*constants, word, word, word, word, word, word, word, like), codegen


class TileEmitter:
    """Emits one tile: sums from memory, the loop over k, sums to memory."""

    def __init__(
        self, builder: ir.IRBuilder, dtype: types.Float, points: int, units: int,
        channels_in_lanes: int,
    ) -> None:
        self.builder = builder
        self.number = simd.llvm_float(dtype)
        self.vector = simd.llvm_vector(dtype)
        self.size = dtype.bitwidth // 8
        self.points, self.units = points, units
        self.channels_in_lanes = bool(channels_in_lanes)
        self.ahead: ir.Value | None = None

    def starts_at(self, base: ir.Value, offsets: ir.Value) -> list[ir.Value]:
        """Where the points begin, from a table."""
        b = self.builder
        table = b.inttoptr(offsets, simd.INT.as_pointer())
        return [
            b.inttoptr(
                b.add(base, b.load(b.gep(table, [simd.INT(p)]), align=8)), _BYTE.as_pointer()
            )
            for p in range(self.points)
        ]

    def dense_starts(self, base: ir.Value) -> list[ir.Value]:
        """Where the points begin, a vector apart: distances that instructions can hold."""
        vector = int(self.vector.count) * self.size
        first = self.builder.inttoptr(base, _BYTE.as_pointer())
        return [self.builder.gep(first, [simd.INT(p * vector)]) for p in range(self.points)]

    def emit(
        self, starts: list[ir.Value], steps: ir.Value, panel: ir.Value, depth: ir.Value,
        sums: ir.Value, fresh: ir.Value, ahead: ir.Value | None = None,
    ) -> None:
        """``ahead`` makes a chunk's sums a chain of their own; with each k a cache line from
        there on is asked for."""
        b = self.builder
        self.ahead = ahead
        values = [ir.Constant(self.vector, 0.0)] * (self.points * self.units)
        if ahead is None:
            values = self._with_old(values, sums, fresh)
        values = self.chain(values, starts, steps, panel, depth)
        if ahead is not None:
            values = self._with_old(values, sums, fresh)
        for i, value in enumerate(values):
            b.store(value, self._sum(sums, i), align=self.size)

    def _sum(self, sums: ir.Value, i: int) -> ir.Value:
        lanes = int(self.vector.count)
        at = self.builder.add(sums, simd.INT(i * lanes * self.size))
        return self.builder.inttoptr(at, self.vector.as_pointer())

    def _with_old(
        self, values: list[ir.Value], sums: ir.Value, fresh: ir.Value
    ) -> list[ir.Value]:
        """Just ``values`` if ``fresh``; else the sums so far, and ``values`` are zeros or are
        added to them."""
        b = self.builder
        before = b.block
        with b.if_then(b.icmp_signed("==", fresh, simd.INT(0))):
            old = [b.load(self._sum(sums, i), align=self.size) for i in range(len(values))]
            if self.ahead is not None:
                old = [b.fadd(total, value) for total, value in zip(old, values, strict=True)]
            loaded = b.block
        return [
            self.either(value, before, total, loaded)
            for value, total in zip(values, old, strict=True)
        ]

    def chain(
        self, values: list[ir.Value], starts: list[ir.Value], steps: ir.Value, panel: ir.Value,
        depth: ir.Value,
    ) -> list[ir.Value]:
        """``values``, one for each unit of each point, and their products for every k."""
        b = self.builder
        self.starts = starts
        self.steps = b.inttoptr(steps, simd.INT.as_pointer())
        self.panel = b.inttoptr(panel, self.number.as_pointer())
        before = b.block
        loop, after = b.append_basic_block("step"), b.append_basic_block("summed")
        b.cbranch(b.icmp_signed("<", simd.INT(0), depth), loop, after)
        b.position_at_end(loop)
        k = b.phi(simd.INT)
        k.add_incoming(simd.INT(0), before)
        phis = []
        for value in values:
            phis.append(b.phi(value.type))
            phis[-1].add_incoming(value, before)
        sums = self._step(phis, k)
        next_k = b.add(k, simd.INT(1))
        k.add_incoming(next_k, loop)
        for phi, value in zip(phis, sums, strict=True):
            phi.add_incoming(value, loop)
        b.cbranch(b.icmp_signed("<", next_k, depth), loop, after)
        b.position_at_end(after)
        return [
            self.either(value, before, total, loop)
            for value, total in zip(values, sums, strict=True)
        ]

    def either(
        self, a: ir.Value, from_a: ir.Block, b: ir.Value, from_b: ir.Block
    ) -> ir.Value:
        phi = self.builder.phi(a.type)
        phi.add_incoming(a, from_a)
        phi.add_incoming(b, from_b)
        return phi

    def _step(self, values: list[ir.Value], k: ir.Value) -> list[ir.Value]:
        """One k: a row of the panel in registers, then point after point."""
        b = self.builder
        step = b.load(b.gep(self.steps, [k]), align=8)
        if self.ahead is not None:
            simd.emit_prefetch(b, b.add(self.ahead, b.mul(k, simd.INT(LINE))))
        row = b.mul(k, simd.INT(self.units * (self.vector.count if self.channels_in_lanes else 1)))
        weights = []
        for u in range(self.units):
            unit = simd.INT(u * self.vector.count if self.channels_in_lanes else u)
            pointer = b.gep(self.panel, [b.add(row, unit)])
            weights.append(self.read(pointer, self.channels_in_lanes))
        sums = []
        for p, start in enumerate(self.starts):
            point = self.read(b.gep(start, [step]), not self.channels_in_lanes)
            for u, weight in enumerate(weights):
                sums.append(simd.emit_fma(b, point, weight, values[p * self.units + u]))
        # Else LLVM takes several k at once and loads so far ahead that it spills sums: 64 bytes
        # each, on a stack that is aligned to 16.
        return simd.emit_fence(b, sums)

    def read(self, pointer: ir.Value, as_vector: bool) -> ir.Value:
        b = self.builder
        to = self.vector if as_vector else self.number
        value = b.load(b.bitcast(pointer, to.as_pointer()), align=self.size)
        return value if as_vector else simd.emit_splat(b, value, self.vector.count)


@intrinsic(prefer_literal=True)
def _dense_tile(
    typingctx, most, units, points, base, steps, panel, depth, sums, fresh, ahead, like,
):
    """One tile of up to ``most`` points that lie a vector apart; the first two arguments are
    constants of the compiled code."""
    constants = (most, units)
    if not all(isinstance(constant, types.IntegerLiteral) for constant in constants):
        return None

    def codegen(context, builder, signature, args):
        points, base, *rest = args[2:-1]
        after = builder.append_basic_block("multiplied")
        choice = builder.switch(points, after)
        for height in range(1, most.literal_value + 1):
            block = builder.append_basic_block(f"of_{height}")
            choice.add_case(simd.INT(height), block)
            builder.position_at_end(block)
            emitter = TileEmitter(builder, like, height, units.literal_value, True)
            emitter.emit(emitter.dense_starts(base), *rest)
            builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(*constants, *[types.intp] * 8, like), codegen


@cache
def dense_sweep(units: int, dtype: np.dtype[Any]) -> Any:
    """The native function that multiplies points a vector apart with a panel of ``units`` units.

    Its arguments are (first point, points, steps, panel, depth, sums, fresh, ahead): those of
    :func:`sweep` without offsets, and memory of which a cache line is asked for with each k.
    """
    most = SHAPES[units].points
    zero = dtype.type(0)

    def dense_sweep(base, count, steps, panel, depth, sums, fresh, ahead):
        vector = simd.lanes(zero) * simd.itemsize(zero)
        pieces = (count + most - 1) // most
        for piece in range(pieces):
            p = count * piece // pieces
            points = count * (piece + 1) // pieces - p
            _dense_tile(
                most, units, points, base + p * vector, steps, panel, depth,
                sums + p * units * vector, fresh, ahead + piece * depth * LINE, zero,
            )

    return native(dense_sweep, f"dense_sweep_{units}_{dtype.name}", *[types.intp] * 8)


@cache
def sweep(units: int, channels_in_lanes: bool, dtype: np.dtype[Any]) -> Any:
    """The native function that multiplies many points with a panel of ``units`` units.

    Its arguments are (base, offsets, points, steps, panel, depth, sums, fresh): it adds the
    products to ``sums``, a vector for each unit of each point, or starts them ``fresh``. Up to
    ``SPARE_POINTS`` more points are computed: ``offsets`` must lead somewhere readable for them,
    and ``sums`` have room. Compiled on first use, one for each shape.
    """
    many, few = SHAPES[units]
    lanes_of_channels = int(channels_in_lanes)
    zero = dtype.type(0)

    def sweep(base, offsets, count, steps, panel, depth, sums, fresh):
        point = units * simd.lanes(zero) * simd.itemsize(zero)
        p = 0
        while p + many <= count:
            _tile(
                many, units, lanes_of_channels, base, offsets + p * 8, steps, panel, depth,
                sums + p * point, fresh, zero,
            )
            p += many
        while p < count:
            _tile(
                few, units, lanes_of_channels, base, offsets + p * 8, steps, panel, depth,
                sums + p * point, fresh, zero,
            )
            p += few

    lanes = "channels" if channels_in_lanes else "pixels"
    name = f"sweep_{units}_{lanes}_{dtype.name}"
    return native(sweep, name, *[types.intp] * 8)
