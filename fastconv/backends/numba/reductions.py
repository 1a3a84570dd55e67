"""Reductions: cells of a window to their maximum or their sum, many windows in a vector or one.

A sum of many cells is made of sums of about 64, which bounds its rounding error by their size
plus their number in place of the product (N. J. Higham, "Accuracy and Stability of Numerical
Algorithms", ch. 4.2). The order is that of ``csrc/simd/reduce.h``, except in windows that are
long enough to be one by one worth vectors.

The native functions here are compiled once for each operation, most with the stride as a
constant too; kernels call them by address.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from . import lanes, simd
from .jit import inlined, native

MAX, SUM, ABS, SQUARE = range(4)
"""What becomes of a cell: :data:`NAMES` says it in words."""
NAMES = ("max", "sum", "sum_of_sizes", "sum_of_squares")
NONE, SCALE, DIVIDE, DIVIDE_BY_MANY, ROOT = range(5)
"""The last step: nothing, by a power of two, by an odd number, by another, the square root."""
LEVEL = 64
"""Cells of a partial sum, and partial sums of a larger one."""
LARGEST_DIVISOR = 1 << 20
"""Odd divisors below it are those of DIVIDE."""


def joining(op: int) -> int:
    """What adds up partial results of ``op``."""
    return MAX if op == MAX else SUM


# ---------------------------------------------------------------- one cell more, and the last step


@inlined
def start_of(op, like):
    """What changes no total."""
    return simd.constant(like, -np.inf if op == MAX else 0.0)


@inlined
def with_cell(op, total, v):
    """``total`` and one cell more; a NaN stays, whichever side it comes from."""
    if op == MAX:
        return simd.select(simd.is_nan(total), total, lanes.maximum_of_numbers(total, v))
    if op == ABS:
        return simd.add(total, simd.absolute(v))
    if op == SQUARE:
        return simd.fma(v, v, total)
    return simd.add(total, v)


@inlined
def joined(op, a, b):
    """Two totals."""
    if op == MAX:
        return simd.select(simd.is_nan(a), a, lanes.maximum_of_numbers(a, b))
    return simd.add(a, b)


@inlined
def finished(kind, divisor, total):
    """The total's last step."""
    if kind == SCALE:
        return simd.mul(total, simd.constant(total, 1.0 / divisor))
    if kind == DIVIDE:
        return _quotient(
            total, simd.constant(total, divisor), simd.constant(total, 1.0 / divisor)
        )
    if kind == DIVIDE_BY_MANY:
        return simd.div(total, simd.constant(total, divisor))
    if kind == ROOT:
        return simd.sqrt(total)
    return total


def _emit_quotient(
    builder: ir.IRBuilder, total: ir.Value, divisor: ir.Value, inverse: ir.Value
) -> ir.Value:
    """total / divisor, to the bit, and +0 for −0: the remainder of an approximate quotient
    corrects it (N. Brisebarre, J.-M. Muller and S. K. Raina, "Accelerating correctly rounded
    floating-point division when the divisor is known in advance", 2004). With an integer divisor
    the remainder is exact in subnormal numbers too, and with an odd one no quotient lies half-way
    between two of these. The remainder of infinity is NaN, in place of which any number does."""
    ty = total.type
    if not simd.HAS_FMA or not isinstance(ty, ir.VectorType):
        zero = ir.Constant(ty, [0.0] * ty.count if isinstance(ty, ir.VectorType) else 0.0)
        return builder.fdiv(builder.fadd(total, zero), divisor)
    any_number = 2.0**127 if isinstance(ty.element, ir.FloatType) else 2.0**1023
    any_one = ir.Constant(ty, [any_number] * ty.count)
    near = builder.fmul(total, inverse)
    remainder = simd.emit_fma(builder, builder.fneg(near), divisor, total)
    remainder = builder.select(
        builder.fcmp_ordered("<", remainder, any_one), remainder, any_one
    )
    return simd.emit_fma(builder, remainder, inverse, near)


_quotient = simd.elementwise(3, _emit_quotient)


# ---------------------------------------------------------------- many windows side by side


@inlined
def load_every(stride, address, step, count, nothing):
    """``count`` cells ``step`` bytes apart, where a known stride says how many cells that is.

    Strides of 3 and 4 read whole vectors, up to the cell before the next one to come.
    """
    full = simd.lanes(nothing)
    if stride == 1:
        if count == full:
            return simd.load(address, nothing)
        return simd.load_part(address, count, nothing)
    if stride == 2:
        if count == full:
            return simd.load_every_second(address, nothing)
        # The second vector starts one cell early, so that nothing behind the last is read.
        a = lanes.load_between(address, 0, 2 * count - 1, nothing)
        b = lanes.load_between(
            address + full * simd.itemsize(nothing), 0, 2 * count - 1 - full, nothing
        )
        return lanes.even(a, b)
    if stride == 3 or stride == 4:
        pitch = full * simd.itemsize(nothing)
        a, b = simd.load(address, nothing), simd.load(address + pitch, nothing)
        c = simd.load(address + 2 * pitch, nothing)
        if stride == 3:
            return lanes.third0(a, b, c)
        d = simd.load(address + 3 * pitch, nothing)
        return lanes.even(lanes.even(a, b), lanes.even(c, d))
    return lanes.gather(address, step, count, nothing)


@inlined
def store_every(address, step, count, v):
    """The first ``count`` lanes to cells ``step`` bytes apart."""
    if step == simd.itemsize(v):
        if count == simd.lanes(v):
            simd.store(address, v)
        else:
            simd.store_part(address, v, count)
    else:
        for i in range(count):
            simd.store(address + i * step, lanes.lane(v, i))


@inlined
def _piece(op, stride, x, rows, row, taps, tap, step, count, nothing):
    """One vector of windows, or of parts of them, cell after cell."""
    part = nothing
    while rows > 0:
        cell, t = x, taps
        while t > 0:
            part = with_cell(op, part, load_every(stride, cell, step, count, nothing))
            cell += tap
            t -= 1
        x += row
        rows -= 1
    return part


@inlined
def _many(op, stride, x, rows, row, taps, tap, step, count, nothing):
    """One vector of windows of more than :data:`LEVEL` cells."""
    together = LEVEL // taps if taps < LEVEL else 1
    total = sums = nothing
    pieces = 0
    for i in range(0, rows, together):
        for j in range(0, taps, LEVEL):
            part = _piece(
                op, stride, x + i * row + j * tap, min(together, rows - i), row,
                min(LEVEL, taps - j), tap, step, count, nothing,
            )
            sums = joined(op, sums, part)
            pieces += 1
            if pieces % LEVEL == 0:
                total, sums = joined(op, total, sums), nothing
    return joined(op, total, sums)


@inlined
def _four_pieces(op, x, rows, row, taps, tap, nothing):
    """Four vectors of neighbours."""
    pitch = simd.lanes(nothing) * simd.itemsize(nothing)
    a = b = c = d = nothing
    while rows > 0:
        cell, t = x, taps
        while t > 0:
            a = with_cell(op, a, simd.load(cell, nothing))
            b = with_cell(op, b, simd.load(cell + pitch, nothing))
            c = with_cell(op, c, simd.load(cell + 2 * pitch, nothing))
            d = with_cell(op, d, simd.load(cell + 3 * pitch, nothing))
            cell += tap
            t -= 1
        x += row
        rows -= 1
    return a, b, c, d


@inlined
def _four_of_many(op, x, rows, row, taps, tap, nothing):
    """Four vectors of windows of more than :data:`LEVEL` cells."""
    together = LEVEL // taps if taps < LEVEL else 1
    total0 = total1 = total2 = total3 = nothing
    sums0 = sums1 = sums2 = sums3 = nothing
    pieces = 0
    for i in range(0, rows, together):
        for j in range(0, taps, LEVEL):
            a, b, c, d = _four_pieces(
                op, x + i * row + j * tap, min(together, rows - i), row, min(LEVEL, taps - j),
                tap, nothing,
            )
            sums0, sums1 = joined(op, sums0, a), joined(op, sums1, b)
            sums2, sums3 = joined(op, sums2, c), joined(op, sums3, d)
            pieces += 1
            if pieces % LEVEL == 0:
                total0, sums0 = joined(op, total0, sums0), nothing
                total1, sums1 = joined(op, total1, sums1), nothing
                total2, sums2 = joined(op, total2, sums2), nothing
                total3, sums3 = joined(op, total3, sums3), nothing
    return (
        joined(op, total0, sums0), joined(op, total1, sums1), joined(op, total2, sums2),
        joined(op, total3, sums3),
    )


@cache
def reduction(op: int, stride: int, dtype: np.dtype[Any]) -> Any:
    """The native function (x, rows, row, taps, tap, step, out, out_step, n, kind, divisor).

    Of n windows of ``rows`` × ``taps`` cells, ``step`` bytes apart in x and ``out_step`` in
    out; ``stride`` is 1 … 4 where that are so many cells, else 0; 3 and 4 read up to the next
    window to come. Rows and taps lie ``row`` and ``tap`` bytes apart.
    """
    zero = dtype.type(0)

    def reduce(x, rows, row, taps, tap, step, out, out_step, n, kind, divisor):
        nothing = start_of(op, simd.splat(zero))
        width = simd.lanes(zero)
        many = rows * taps > LEVEL
        e = 0
        if stride == 1:
            pitch = width * out_step
            while e + 4 * width <= n:
                at, to = x + e * step, out + e * out_step
                if many:
                    a, b, c, d = _four_of_many(op, at, rows, row, taps, tap, nothing)
                else:
                    a, b, c, d = _four_pieces(op, at, rows, row, taps, tap, nothing)
                store_every(to, out_step, width, finished(kind, divisor, a))
                store_every(to + pitch, out_step, width, finished(kind, divisor, b))
                store_every(to + 2 * pitch, out_step, width, finished(kind, divisor, c))
                store_every(to + 3 * pitch, out_step, width, finished(kind, divisor, d))
                e += 4 * width
        while e < n:
            count = min(width, n - e)
            at, to = x + e * step, out + e * out_step
            if many:
                v = _many(op, stride, at, rows, row, taps, tap, step, count, nothing)
            elif count == width:
                v = _piece(op, stride, at, rows, row, taps, tap, step, width, nothing)
            else:
                v = _piece(op, stride, at, rows, row, taps, tap, step, count, nothing)
            store_every(to, out_step, count, finished(kind, divisor, v))
            e += width

    word = types.intp
    return native(
        reduce, f"reduce_{NAMES[op]}_{stride}_{dtype.name}", *[word] * 10, types.float64
    )


# ---------------------------------------------------------------- one window


@inlined
def total_of_line(op, x, n, like):
    """Of ``n`` neighbouring cells."""
    nothing = start_of(op, simd.splat(like))
    width, size = simd.lanes(like), simd.itemsize(like)
    total = start_of(op, like)
    i = 0
    while i + 4 * width <= n:
        end = min(n, i + 4 * width * LEVEL)
        part0 = part1 = part2 = part3 = nothing
        while i + 4 * width <= end:
            at = x + i * size
            part0 = with_cell(op, part0, simd.load(at, nothing))
            part1 = with_cell(op, part1, simd.load(at + width * size, nothing))
            part2 = with_cell(op, part2, simd.load(at + 2 * width * size, nothing))
            part3 = with_cell(op, part3, simd.load(at + 3 * width * size, nothing))
            i += 4 * width
        part0 = joined(op, joined(op, part0, part1), joined(op, part2, part3))
        total = joined(op, total, _fold(op, part0))
    if i < n:
        part0 = nothing
        while i + width <= n:
            part0 = with_cell(op, part0, simd.load(x + i * size, nothing))
            i += width
        if i < n:
            v = simd.load_part(x + i * size, n - i, nothing)
            part0 = with_cell(op, part0, v)
        total = joined(op, total, _fold(op, part0))
    return total


@inlined
def _fold(op, v):
    return simd.fold_maximum(v) if op == MAX else simd.fold_sum(v)


@cache
def windows_apart(op: int, dtype: np.dtype[Any]) -> Any:
    """The native function (line, columns, tap, out, out_step, n, kind, divisor).

    ``columns`` has four words for each of the n windows of a line, of which the first two are its
    first cell and its number of cells; cells lie ``tap`` bytes apart.
    """
    zero = dtype.type(0)

    def reduce_apart(line, columns, tap, out, out_step, n, kind, divisor):
        size, width = simd.itemsize(zero), simd.lanes(zero)
        for i in range(n):
            x = line + simd.load(columns + 32 * i, 0) * size
            cells = simd.load(columns + 32 * i + 8, 0)
            if tap == size and cells >= 2 * width:
                total = total_of_line(op, x, cells, zero)
            else:
                total = start_of(op, zero)
                for t in range(cells):
                    total = with_cell(op, total, simd.load(x + t * tap, zero))
            simd.store(out + i * out_step, finished(kind, divisor, total))

    word = types.intp
    return native(
        reduce_apart, f"reduce_apart_{NAMES[op]}_{dtype.name}", *[word] * 7, types.float64
    )
