"""Planes of pixels to vectors of channels, and back.

A vector's worth of channels lie a constant distance apart, each with its pixels side by side; in
vectors of channels, pixel after pixel. A vector holds lanes of 16 bytes: as many pixels of as many
channels are turned within each, so that half of the shuffles of a whole transposition suffice, and
any number of pixels from a lane on is done without remainders: the last ones are turned twice.
Where planes collide in the caches, a lane's line would have to come again for the next one: there
whole vectors are turned (``csrc/simd/turn.h``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types

from . import simd
from .jit import compiled, inlined, intrinsic

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


def _on_lanes(emit: Callable[..., None]) -> Any:
    """The intrinsic (planes, plane, vectors, like) whose code is ``emit(turner, planes, plane,
    vectors)``: a lane of pixels in planes, these bytes apart, and in vectors one after another."""

    @intrinsic
    def of_lanes(typingctx: Any, planes: Any, plane: Any, vectors: Any, like: Any) -> Any:
        if not isinstance(like, simd.VectorType):
            return None

        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
            emit(_Turner(builder, like), *args[:3])
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.intp, like), codegen

    return of_lanes


class _Turner:
    """Emits what both ways consist of."""

    def __init__(self, builder: ir.IRBuilder, like: simd.VectorType) -> None:
        self.builder = builder
        self.size, self.width = like.dtype.bitwidth // 8, like.lanes
        self.numbers = _LANE_BYTES // self.size
        self.vector = simd.llvm_vector(like.dtype)
        self.piece = ir.VectorType(self.vector.element, self.numbers)

    def piece_at(self, planes: ir.Value, plane: ir.Value, channel: int) -> ir.Value:
        """Where a lane of one channel's pixels lies."""
        b = self.builder
        at = b.add(planes, b.mul(plane, simd.INT(channel)))
        return simd.emit_pointer(b, at, self.piece)

    def vector_at(self, vectors: ir.Value, pixel: int) -> ir.Value:
        """Where the vector of one pixel lies."""
        at = self.builder.add(vectors, simd.INT(pixel * self.width * self.size))
        return simd.emit_pointer(self.builder, at, self.vector)


@_on_lanes
def _lanes_in(turner: _Turner, planes: ir.Value, plane: ir.Value, vectors: ir.Value) -> None:
    """From planes to vectors."""
    b, n = turner.builder, turner.numbers
    rows = []
    for k in range(n):
        parts = [
            b.load(turner.piece_at(planes, plane, k + first), align=turner.size)
            for first in range(0, turner.width, n)
        ]
        while len(parts) > 1:
            both = _numbers(list(range(2 * int(parts[0].type.count))))
            parts = [
                b.shuffle_vector(parts[i], parts[i + 1], both) for i in range(0, len(parts), 2)
            ]
        rows.append(parts[0])
    for k, row in enumerate(simd.emit_turned_lanes(b, rows)):
        b.store(row, turner.vector_at(vectors, k), align=turner.size)


@_on_lanes
def _lanes_out(turner: _Turner, planes: ir.Value, plane: ir.Value, vectors: ir.Value) -> None:
    """The way back."""
    b, n = turner.builder, turner.numbers
    pixels = [b.load(turner.vector_at(vectors, k), align=turner.size) for k in range(n)]
    for k, row in enumerate(simd.emit_turned_lanes(b, pixels)):
        for first in range(0, turner.width, n):
            part = b.shuffle_vector(row, row, _numbers(list(range(first, first + n))))
            b.store(part, turner.piece_at(planes, plane, k + first), align=turner.size)


@inlined
def _turn(inwards, count, planes, plane, vectors, like):
    vector = simd.splat(like)
    size, lanes = simd.itemsize(like), simd.lanes(like)
    pixel = lanes * size
    whole = count >= lanes and plane % _PAGE == 0
    step = lanes if whole else lane(like)
    for i in range(0, count, step):
        at = min(i, count - step)
        there, here = planes + at * size, vectors + at * pixel
        if whole and inwards:
            simd.transpose(there, plane, here, pixel, vector)
        elif whole:
            simd.transpose(here, pixel, there, plane, vector)
        elif inwards:
            _lanes_in(there, plane, here, vector)
        else:
            _lanes_out(there, plane, here, vector)


@compiled
def turn_in(count, planes, plane, vectors, like):
    """``count`` pixels, a lane at least, from dense planes (bytes apart) to vectors of channels,
    one after another."""
    _turn(True, count, planes, plane, vectors, like)


@compiled
def turn_out(count, planes, plane, vectors, like):
    """The way back, with the same arguments."""
    _turn(False, count, planes, plane, vectors, like)
