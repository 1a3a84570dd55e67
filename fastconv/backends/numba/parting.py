"""Rows of pixels as the columns of tiles four wide, a vector of tiles at once, and back."""

from __future__ import annotations

from llvmlite import ir

from . import simd

Values = list[ir.Value]


def parted(builder: ir.IRBuilder, x: Values) -> Values:
    """Of four vectors end to end numbers 0, 4, 8 …; 1, 5, 9 …; and so on."""
    a, b, c, d = x
    even, odd = (
        (simd.emit_every_second(builder, a, b, i, 0), simd.emit_every_second(builder, c, d, i, 0))
        for i in (0, 1)
    )
    return [
        simd.emit_every_second(builder, low, high, i, 0)
        for i in (0, 1) for low, high in (even, odd)
    ]


def joined(builder: ir.IRBuilder, columns: Values) -> Values:
    """The numbers of four vectors in turn."""
    even = zipped(builder, columns[0], columns[2])
    odd = zipped(builder, columns[1], columns[3])
    return [v for pair in zip(even, odd, strict=True) for v in zipped(builder, *pair)]


def zipped(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> Values:
    """The numbers of two vectors in turn."""
    count = a.type.count
    lanes = [i // 2 + i % 2 * count for i in range(2 * count)]
    kind = ir.VectorType(ir.IntType(32), count)
    return [
        builder.shuffle_vector(a, b, ir.Constant(kind, lanes[i : i + count]))
        for i in (0, count)
    ]
