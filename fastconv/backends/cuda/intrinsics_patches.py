"""Square patches of numbers as tuples, and matrices applied to both of their axes.

What Winograd's transforms need beside ``intrinsics.py``; ``twins_patches.py`` has the same names
for the simulator. All is unrolled here: registers have no index.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.cuda.extending import intrinsic

from .intrinsics import (
    _GLOBAL,
    _I64,
    _KINDS,
    _load,
    _place,
    _signature,
    _tuple,
    _wide,
)
from .linear import Rows, both_axes

NOWHERE = -(1 << 62)
"""An offset of :func:`patch_loader` where there is no cell, but padding."""


@cache
def offsets(n: int) -> Any:
    """``none()``: a tuple of ``n`` NOWHERE, and ``push(values, value)`` to fill it with."""
    result = types.UniTuple(types.int64, n)

    @intrinsic
    def none(typingctx):
        def generate(context, builder, signature, args):
            return _tuple(context, builder, result, [ir.Constant(_I64, NOWHERE)] * n)

        return result(), generate

    @intrinsic
    def push(typingctx, values, value):
        def generate(context, builder, signature, args):
            kept = [builder.extract_value(args[0], i) for i in range(1, n)]
            return _tuple(context, builder, result, [*kept, args[1]])

        return result(result, types.int64), generate

    return none, push


@cache
def patch_loader(dtype: str, computed: str, side: int) -> Any:
    """``load(pointer, rows, columns)``: side² numbers at the sums of two tuples of offsets, 0
    where one of both is NOWHERE; row after row, as ``computed``.

    Every load is made, at offset 0 where there is no cell: so none waits for a branch.
    """
    kind, value = _KINDS[dtype], _KINDS[computed]
    result = types.UniTuple(value.value, side * side)
    axis = types.UniTuple(types.int64, side)

    @intrinsic
    def load(typingctx, pointer, rows, columns):
        def generate(context, builder, signature, args):
            nowhere = ir.Constant(_I64, NOWHERE)
            wanted, found = context.get_value_type(value.value), []
            at = [
                [builder.extract_value(offsets, i) for i in range(side)] for offsets in args[1:]
            ]
            there = [[builder.icmp_signed("!=", o, nowhere) for o in axis] for axis in at]
            for i in range(side):
                for j in range(side):
                    both = builder.and_(there[0][i], there[1][j])
                    offset = builder.select(
                        both, builder.add(at[0][i], at[1][j]), ir.Constant(_I64, 0)
                    )
                    place = _place(builder, args[0], offset, kind.stored, _GLOBAL)
                    read = kind.widen(builder, _load(builder, place, kind.stored, kind.size, True))
                    zero = ir.Constant(read.type, 0.0)
                    read = builder.select(both, read, zero)
                    if read.type != wanted:
                        read = builder.fpext(read, wanted)
                    found.append(read)
            return _tuple(context, builder, result, found)

        return _signature(result, types.int64, axis, axis), generate

    return load


@cache
def spaced_loader(dtype: str, n: int) -> Any:
    """``load(pointer, i, step)``: ``n`` numbers, ``step`` apart, of memory that an earlier launch
    wrote."""
    kind = _KINDS[dtype]
    result = types.UniTuple(kind.value, n)

    @intrinsic
    def load(typingctx, pointer, index, step):
        def generate(context, builder, signature, args):
            found = []
            for i in range(n):
                offset = builder.add(args[1], builder.mul(args[2], ir.Constant(_I64, i)))
                place = _place(builder, args[0], offset, kind.stored, _GLOBAL)
                found.append(
                    kind.widen(builder, _load(builder, place, kind.stored, kind.size, True))
                )
            return _tuple(context, builder, result, found)

        return _signature(result, *_wide(3)), generate

    return load


@cache
def spaced_storer(dtype: str, n: int, computed: str) -> Any:
    """``store(pointer, i, step, values)``: ``n`` numbers computed so, ``step`` apart."""
    kind, value = _KINDS[dtype], _KINDS[computed]

    @intrinsic
    def store(typingctx, pointer, index, step, values):
        def generate(context, builder, signature, args):
            for i in range(n):
                offset = builder.add(args[1], builder.mul(args[2], ir.Constant(_I64, i)))
                place = _place(builder, args[0], offset, kind.stored, _GLOBAL)
                number = builder.extract_value(args[3], i)
                if value is not kind:
                    number = builder.fptrunc(number, kind.stored)
                builder.store(number, place, align=kind.size)
            return context.get_dummy_value()

        return _signature(types.void, *_wide(3), types.UniTuple(value.value, n)), generate

    return store


class _Building:
    """The arithmetic of :mod:`.linear` as instructions."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder
        self.add, self.subtract = builder.fadd, builder.fsub

    def scale(self, a: Any, factor: float) -> Any:
        return self._builder.fmul(a, ir.Constant(a.type, factor))

    def accumulate(self, a: Any, factor: float, b: Any) -> Any:
        return self._builder.fma(a, ir.Constant(a.type, factor), b)


@cache
def transformer(matrix: Rows, dtype: str) -> Any:
    """``transform(values)``: M · V · Mᵀ of a square patch V, row after row."""
    kind = _KINDS[dtype]
    given, result = (types.UniTuple(kind.value, n * n) for n in (len(matrix[0]), len(matrix)))

    @intrinsic
    def transform(typingctx, values):
        def generate(context, builder, signature, args):
            patch = [builder.extract_value(args[0], i) for i in range(given.count)]
            return _tuple(
                context, builder, result, both_axes(_Building(builder), matrix, patch)
            )

        return _signature(result, given), generate

    return transform
