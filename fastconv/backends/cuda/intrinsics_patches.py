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

NOWHERE = -(1 << 62)
"""An offset of :func:`patch_loader` where there is no cell, but padding."""
Rows = tuple[tuple[float, ...], ...]


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


@cache
def transformer(matrix: Rows, dtype: str) -> Any:
    """``transform(values)``: M · V · Mᵀ of a square patch V, row after row.

    Rows of M that differ by a sign in every other coefficient are computed together, and so are
    columns: those of the points ±p.
    """
    kind = _KINDS[dtype]
    inner, outer = len(matrix[0]), len(matrix)
    given, result = (types.UniTuple(kind.value, n * n) for n in (inner, outer))

    @intrinsic
    def transform(typingctx, values):
        def generate(context, builder, signature, args):
            patch = [
                [builder.extract_value(args[0], i * inner + j) for j in range(inner)]
                for i in range(inner)
            ]
            down = [_applied(builder, matrix, [row[j] for row in patch]) for j in range(inner)]
            across = [
                _applied(builder, matrix, [down[j][i] for j in range(inner)])
                for i in range(outer)
            ]
            return _tuple(context, builder, result, [v for row in across for v in row])

        return _signature(result, given), generate

    return transform


def _applied(builder: Any, matrix: Rows, values: list[Any]) -> list[Any]:
    """M · v, with what neighbouring columns or rows have in common taken once."""
    columns, rows = [list(column) for column in zip(*matrix, strict=True)], len(matrix)
    values = list(values)
    j = 0
    while j + 1 < len(columns):
        a, b = columns[j], columns[j + 1]
        if rows > 1 and any(a[1::2]) and all(
            y == (-x if i % 2 else x) for i, (x, y) in enumerate(zip(a, b, strict=True))
        ):
            total = builder.fadd(values[j], values[j + 1])
            values[j + 1] = builder.fsub(values[j], values[j + 1])
            values[j] = total
            columns[j] = [0.0 if i % 2 else x for i, x in enumerate(a)]
            columns[j + 1] = [x if i % 2 else 0.0 for i, x in enumerate(a)]
            j += 1
        j += 1
    found: list[Any] = []
    i = 0
    lines = list(zip(*columns, strict=True))
    while i < rows:
        line = lines[i]
        mirrored = tuple(-x if k % 2 else x for k, x in enumerate(line))
        if i + 1 < rows and any(line[1::2]) and any(line[::2]) and lines[i + 1] == mirrored:
            odd = _sum(builder, line[1::2], values[1::2])
            even = _sum(builder, line[::2], values[::2])
            found += [builder.fadd(even, odd), builder.fsub(even, odd)]
            i += 1
        elif i + 1 < rows and any(line[1::2]) and any(line[::2]) and lines[i + 1] == tuple(
            -x for x in mirrored
        ):
            odd = _sum(builder, line[1::2], values[1::2])
            even = _sum(builder, line[::2], values[::2])
            found += [builder.fadd(odd, even), builder.fsub(odd, even)]
            i += 1
        else:
            found.append(_sum(builder, line, values))
        i += 1
    return found


def _sum(builder: Any, factors: Any, values: list[Any]) -> Any:
    """Σ factor · value, the plain ones first."""
    terms = sorted(
        ((f, v) for f, v in zip(factors, values, strict=True) if f),
        key=lambda term: abs(term[0]) != 1,
    )
    total = None
    for f, v in terms:
        if total is None:
            total = v if f == 1 else builder.fmul(v, ir.Constant(v.type, f))
        elif abs(f) == 1:
            total = builder.fadd(total, v) if f == 1 else builder.fsub(total, v)
        else:
            total = builder.fma(v, ir.Constant(v.type, f), total)
    return total if total is not None else ir.Constant(values[0].type, 0.0)
