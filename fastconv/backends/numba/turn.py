"""Planes of pixels to vectors of channels, and back.

A vector's worth of channels lie a constant distance apart, each with its pixels side by side; in
vectors of channels, pixel after pixel. A vector holds lanes of 16 bytes: as many pixels of as many
channels are turned within each, so that half of the shuffles of a whole transposition suffice, and
any number of pixels from a lane on is done without remainders: the last ones are turned twice.
Where planes collide in the caches, a lane's line would have to come again for the next one: there
whole vectors are turned (``csrc/simd/turn.h``).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from . import simd
from .jit import compiled, intrinsic

_LANE_BYTES = 16
_PAGE = 4096
"""Planes at a multiple of this distance collide."""


def _numbers(positions: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(positions)), positions)


@intrinsic
def lane(typingctx: Any, like: Any) -> Any:
    """How many numbers like ``like`` are in 16 bytes."""
    dtype = like.dtype if isinstance(like, simd.VectorType) else like

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return simd.INT(8 * _LANE_BYTES // dtype.bitwidth)

    return types.intp(like), codegen


@intrinsic
def _lanes_in(typingctx: Any, source: Any, plane: Any, target: Any, like: Any) -> Any:
    """A lane of pixels, from planes to vectors one after another."""
    if not isinstance(like, simd.VectorType):
        return None
    size, width = like.dtype.bitwidth // 8, like.lanes
    n = _LANE_BYTES // size

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        start, plane, target, _ = args
        vector = context.get_value_type(like)
        piece = ir.VectorType(vector.element, n)

        def load(channel: int) -> ir.Value:
            at = builder.add(start, builder.mul(plane, simd.INT(channel)))
            return builder.load(simd.emit_pointer(builder, at, piece), align=size)

        rows = []
        for k in range(n):
            parts = [load(k + first) for first in range(0, width, n)]
            while len(parts) > 1:
                both = _numbers(list(range(2 * int(parts[0].type.count))))
                parts = [
                    builder.shuffle_vector(parts[i], parts[i + 1], both)
                    for i in range(0, len(parts), 2)
                ]
            rows.append(parts[0])
        for k, row in enumerate(simd.emit_turned_lanes(builder, rows)):
            at = builder.add(target, simd.INT(k * width * size))
            builder.store(row, simd.emit_pointer(builder, at, vector), align=size)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, like), codegen


@intrinsic
def _lanes_out(typingctx: Any, source: Any, target: Any, plane: Any, like: Any) -> Any:
    """The way back."""
    if not isinstance(like, simd.VectorType):
        return None
    size, width = like.dtype.bitwidth // 8, like.lanes
    n = _LANE_BYTES // size

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        source, target, plane, _ = args
        vector = context.get_value_type(like)
        piece = ir.VectorType(vector.element, n)
        pixels = []
        for k in range(n):
            at = builder.add(source, simd.INT(k * width * size))
            pixels.append(builder.load(simd.emit_pointer(builder, at, vector), align=size))
        for k, row in enumerate(simd.emit_turned_lanes(builder, pixels)):
            for first in range(0, width, n):
                part = builder.shuffle_vector(row, row, _numbers(list(range(first, first + n))))
                at = builder.add(target, builder.mul(plane, simd.INT(k + first)))
                builder.store(part, simd.emit_pointer(builder, at, piece), align=size)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, like), codegen


@compiled
def turn_in(count, source, plane, target, like):
    """``count`` pixels, a lane at least, from dense planes (bytes apart) to vectors of channels."""
    vector = simd.splat(like)
    size = simd.itemsize(like)
    lanes = simd.lanes(like)
    if count >= lanes and plane % _PAGE == 0:
        for i in range(0, count, lanes):
            at = min(i, count - lanes)
            simd.transpose(
                source + at * size, plane, target + at * lanes * size, lanes * size, vector
            )
        return
    step = lane(like)
    for i in range(0, count, step):
        at = min(i, count - step)
        _lanes_in(source + at * size, plane, target + at * lanes * size, vector)


@compiled
def turn_out(count, source, target, plane, like):
    """The way back: vectors of channels, one after another, to dense planes."""
    vector = simd.splat(like)
    size = simd.itemsize(like)
    lanes = simd.lanes(like)
    if count >= lanes and plane % _PAGE == 0:
        for i in range(0, count, lanes):
            at = min(i, count - lanes)
            simd.transpose(
                source + at * lanes * size, lanes * size, target + at * size, plane, vector
            )
        return
    step = lane(like)
    for i in range(0, count, step):
        at = min(i, count - step)
        _lanes_out(source + at * lanes * size, target + at * size, plane, vector)
