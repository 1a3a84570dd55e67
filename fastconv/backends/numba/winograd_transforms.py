"""Winograd's one-dimensional transforms B^T, A^T and G as native functions over many lines.

A line is some vectors of channels at a constant distance: the cells or points of one axis. The
points of α are 0, pairs ±p, one without a partner where α is odd, and infinity:
:mod:`fastconv.backends.winograd` says why. Rows of ±p differ in the sign of their odd
coefficients, E ± p·O, and share both sums. Every operation stands in the order in which
``csrc/simd/winograd_transforms.h`` has it, so both wings give the same bits.

F(4, 3) has transforms of its own for the last tiles of an axis, with `some` < 4 outputs: those
have only the points that so few outputs need, as ``csrc/simd/winograd_edges.h`` says.

All functions take addresses, steps in bytes, and counts. They are compiled on first use, one for
each (α, m) or (α, r) and type; all that is done around them is compiled once for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from ..winograd import POINTS, has_ends, serves, transforms
from . import simd
from .jit import intrinsic, native

Values = list[ir.Value]


class Arithmetic:
    """Emits arithmetic on vectors, with constants of the code."""

    def __init__(self, builder: ir.IRBuilder, dtype: types.Float) -> None:
        self.builder = builder
        self.vector = simd.llvm_vector(dtype)
        self.size = dtype.bitwidth // 8
        self.round = np.float32 if dtype.bitwidth == 32 else np.float64

    def splat(self, number: float) -> ir.Constant:
        rounded = float(self.round(number))
        return ir.Constant(self.vector, [rounded] * int(self.vector.count))

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fadd(a, b)

    def sub(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fsub(a, b)

    def times(self, s: float, a: ir.Value) -> ir.Value:
        return self.builder.fmul(self.splat(s), a)

    def plus(self, x: ir.Value, s: float, y: ir.Value) -> ir.Value:
        """x + s·y"""
        return simd.emit_fma(self.builder, self.splat(s), y, x)

    def minus(self, x: ir.Value, s: float, y: ir.Value) -> ir.Value:
        """x − s·y"""
        return self.plus(x, -s, y)

    def plus_and_minus(self, s: float, x: ir.Value, y: ir.Value) -> Values:
        """s·x + y and s·x − y"""
        return [self.plus(y, s, x), self.plus(self.builder.fneg(y), s, x)]

    def address(self, base: ir.Value, step: ir.Value, i: int) -> ir.Value:
        return self.builder.add(base, self.builder.mul(step, simd.INT(i)))

    @contextmanager
    def each(
        self, count: ir.Value, source: ir.Value, next_source: ir.Value, target: ir.Value,
        next_target: ir.Value,
    ) -> Iterator[tuple[ir.Value, ir.Value]]:
        """A loop; where its turns read and write."""
        b = self.builder
        with cgutils.for_range(b, count) as loop:
            yield (
                b.add(source, b.mul(loop.index, next_source)),
                b.add(target, b.mul(loop.index, next_target)),
            )

    def load(self, base: ir.Value, step: ir.Value, i: int) -> ir.Value:
        pointer = simd.emit_pointer(self.builder, self.address(base, step, i), self.vector)
        return self.builder.load(pointer, align=self.size)

    def store(self, value: ir.Value, base: ir.Value, step: ir.Value, i: int) -> None:
        pointer = simd.emit_pointer(self.builder, self.address(base, step, i), self.vector)
        self.builder.store(value, pointer, align=self.size)


# ---------------------------------------------------------------- v = B^T d


def _even_points(e: Arithmetic, pairs: int, points: Sequence[float], d: Values) -> Values:
    """Rows of 0, ±p of ``pairs`` pairs, and infinity."""
    if pairs == 0:
        return [d[0], d[1]]
    a, aa = points[0], points[0] * points[0]
    if pairs == 1:
        return [
            e.minus(d[2], aa, d[0]), e.plus(d[2], a, d[1]), e.minus(d[2], a, d[1]),
            e.minus(d[3], aa, d[1]),
        ]
    b, bb = points[1], points[1] * points[1]
    if pairs == 2:
        even_a, odd_a = e.minus(d[4], bb, d[2]), e.minus(d[3], bb, d[1])
        even_b, odd_b = e.minus(d[4], aa, d[2]), e.minus(d[3], aa, d[1])
        return [
            e.plus(e.minus(d[4], aa + bb, d[2]), aa * bb, d[0]),
            e.plus(even_a, a, odd_a), e.minus(even_a, a, odd_a),
            e.plus(even_b, b, odd_b), e.minus(even_b, b, odd_b),
            e.plus(e.minus(d[5], aa + bb, d[3]), aa * bb, d[1]),
        ]
    c, cc = points[2], points[2] * points[2]
    total, pairwise = aa + bb + cc, aa * bb + bb * cc + cc * aa

    def without(p: float, qq: float, rr: float) -> Values:
        even = e.plus(e.minus(d[6], qq + rr, d[4]), qq * rr, d[2])
        odd = e.plus(e.minus(d[5], qq + rr, d[3]), qq * rr, d[1])
        return [e.plus(even, p, odd), e.minus(even, p, odd)]

    def all_of(d: Values) -> ir.Value:
        return e.minus(e.plus(e.minus(d[6], total, d[4]), pairwise, d[2]), aa * bb * cc, d[0])

    return [
        all_of(d), *without(a, bb, cc), *without(b, aa, cc), *without(c, aa, bb), all_of(d[1:]),
    ]


def to_points(e: Arithmetic, alpha: int, d: Values) -> Values:
    """A lone point c multiplies every other row by x − c: these are the rows of the even case, on
    the differences; its own row is that of infinity in the even case."""
    points, pairs = POINTS[alpha], (alpha - 2) // 2
    if alpha % 2 == 0:
        return _even_points(e, pairs, points, d)
    differences = [e.minus(d[i + 1], points[pairs], d[i]) for i in range(alpha - 1)]
    *rows, infinity = _even_points(e, pairs, points, differences)
    return [*rows, _even_points(e, pairs, points, d)[-1], infinity]


def _to_some_points(e: Arithmetic, some: int, d: Values) -> Values:
    """For the points of ``some`` < 4 outputs, each by the factor of the points left out."""
    a, b = POINTS[6]
    aa, bb = a * a, b * b
    if some == 1:  # 0, a
        return [
            e.times(-a * bb, e.minus(d[1], a, d[0])), e.times(2 * a * (aa - bb), d[1]),
            e.minus(d[2], a, d[1]),
        ]
    if some == 2:  # 0, ±a
        odd = e.times(a * (aa - bb), d[1])
        return [
            e.times(-bb, e.minus(d[2], aa, d[0])), *e.plus_and_minus(aa - bb, d[2], odd),
            e.minus(d[3], aa, d[1]),
        ]
    # 0, ±a, b: x − b times the rows without it
    f = [e.minus(d[i + 1], b, d[i]) for i in range(4)]
    return [
        e.times(b, e.minus(f[2], aa, f[0])), e.times(a + b, e.plus(f[2], a, f[1])),
        e.times(b - a, e.minus(f[2], a, f[1])), e.times(2 * b, e.minus(d[3], aa, d[1])),
        e.minus(f[3], aa, f[1]),
    ]


def _points_of(e: Arithmetic, alpha: int, m: int, some: int, d: Values) -> Values:
    return to_points(e, alpha, d) if some == m else _to_some_points(e, some, d)


# ---------------------------------------------------------------- y = A^T v


def from_points(e: Arithmetic, alpha: int, m: int, v: Values) -> Values:
    """y[j] is the sum of p^j·v over the points, infinity counting in the last."""
    points, pairs = POINTS[alpha], (alpha - 2) // 2
    sums = [e.add(v[1 + 2 * i], v[2 + 2 * i]) for i in range(pairs)]
    differences = [e.sub(v[1 + 2 * i], v[2 + 2 * i]) for i in range(pairs)]
    ends = {0: v[0], m - 1: v[alpha - 1]}
    y, powers = [], [1.0] * len(points)
    for j in range(m):
        terms = list(zip(powers, differences if j % 2 else sums, strict=False))
        if alpha % 2:
            terms.append((powers[pairs], v[alpha - 2]))
        total = ends[j] if j in ends else e.times(*terms.pop(0))
        for s, term in terms:
            total = e.plus(total, s, term)
        y.append(total)
        powers = [power * point for power, point in zip(powers, points, strict=True)]
    return y


def _from_some_points(e: Arithmetic, some: int, v: Values) -> Values:
    """The same of the points of ``some`` < 4 outputs."""
    a, b = POINTS[6]
    aa, bb = a * a, b * b
    if some == 1:
        return [e.add(e.add(v[0], v[1]), v[-1])]
    total, difference = e.add(v[1], v[2]), e.sub(v[1], v[2])
    if some == 2:
        return [e.add(v[0], total), e.plus(v[-1], a, difference)]
    return [
        e.add(e.add(v[0], total), v[3]), e.plus(e.times(b, v[3]), a, difference),
        e.plus(e.plus(v[-1], bb, v[3]), aa, total),
    ]


def _outputs_of(e: Arithmetic, alpha: int, m: int, some: int, v: Values) -> Values:
    return from_points(e, alpha, m, v) if some == m else _from_some_points(e, some, v)


# ---------------------------------------------------------------- u = G g


def _weight_points(e: Arithmetic, alpha: int, r: int, g: Values) -> Values:
    """Where α is even the rows of ±p have the same divisor."""
    rows = transforms(alpha - r + 1, r).G_mat
    paired = alpha % 2 == 0
    u = [e.times(rows[0][0], g[0])]
    for row in rows[1:-1 : 2 if paired else 1]:
        u += _taps_at_pair(e, row, g)[: 2 if paired else 1]
    return [*u, g[r - 1]]


def _taps_at_pair(e: Arithmetic, row: Sequence[float], g: Values) -> Values:
    """The sums of even and odd taps, added and subtracted."""
    terms = list(zip(row, g, strict=True))
    if len(g) == 2:
        return e.plus_and_minus(row[0], g[0], e.times(row[1], g[1]))
    even = _sum(e, terms[::2])
    if len(g) == 3:
        return [e.plus(even, row[1], g[1]), e.minus(even, row[1], g[1])]
    odd = _sum(e, terms[1::2])
    return [e.add(even, odd), e.sub(even, odd)]


def _sum(e: Arithmetic, terms: list[tuple[float, ir.Value]]) -> ir.Value:
    """Of each s·v; the second product is rounded by itself."""
    (s, v), second, *others = terms
    total = e.plus(e.times(*second), s, v)
    for s, v in others:
        total = e.plus(total, s, v)
    return total


# ---------------------------------------------------------------- loops over lines


def emitted(emit: Callable[..., None]) -> Any:
    """The intrinsic (α, n, words, like) whose code is ``emit(arithmetic, α, n, *words)``. The
    first two are constants of the code, words are a tuple."""

    @intrinsic(prefer_literal=True)
    def intrinsic_of(typingctx, alpha, n, words, like):
        if not all(isinstance(constant, types.IntegerLiteral) for constant in (alpha, n)):
            return None

        def codegen(context, builder, signature, args):
            values = cgutils.unpack_tuple(builder, args[2])
            emit(Arithmetic(builder, like), alpha.literal_value, n.literal_value, *values)
            return context.get_dummy_value()

        return types.void(alpha, n, words, like), codegen

    return intrinsic_of


def _each_length(
    builder: ir.IRBuilder, alpha: int, m: int, some: ir.Value, emit: Callable[[int], None]
) -> None:
    """``emit`` for every number of outputs that has a transform, chosen at run time."""
    if not has_ends(alpha, m):
        emit(m)
        return
    after = builder.append_basic_block("transformed")
    whole = builder.append_basic_block("whole")
    choice = builder.switch(some, whole)
    for length in range(1, m + 1):
        block = whole if length == m else builder.append_basic_block(f"of_{length}")
        if length < m:
            choice.add_case(simd.INT(length), block)
        builder.position_at_end(block)
        emit(length)
        builder.branch(after)
    builder.position_at_end(after)


@emitted
def _lines_in(
    e, alpha, m, some, count, source, next_source, cell, target, next_target, point
):
    """From cells to points: ``count`` lines of ``some`` outputs each."""
    def lines(length):
        with e.each(count, source, next_source, target, next_target) as (at, to):
            cells = [e.load(at, cell, k) for k in range(alpha + length - m)]
            served = [k for k in range(alpha) if serves(alpha, m, length, k)]
            for k, value in zip(served, _points_of(e, alpha, m, length, cells), strict=True):
                e.store(value, to, point, k)

    _each_length(e.builder, alpha, m, some, lines)


@emitted
def _lines_out(
    e, alpha, m, some, count, source, next_source, point, target, next_target, output
):
    """From points to outputs: ``count`` lines of ``some`` outputs each."""
    def lines(length):
        with e.each(count, source, next_source, target, next_target) as (at, to):
            served = [k for k in range(alpha) if serves(alpha, m, length, k)]
            values = [e.load(at, point, k) for k in served]
            for k, value in enumerate(_outputs_of(e, alpha, m, length, values)):
                e.store(value, to, output, k)

    _each_length(e.builder, alpha, m, some, lines)


@emitted
def _tiles_out(
    e, alpha, m, count, source, next_source, point, bias, target, next_target, row
):
    """Whole tiles, from α² points to m × m outputs with their bias, all between in registers."""
    vector = simd.INT(int(e.vector.count) * e.size)
    biases = e.load(bias, vector, 0)
    with e.each(count, source, next_source, target, next_target) as (at, to):
        columns = [
            from_points(e, alpha, m, [e.load(at, point, i * alpha + j) for i in range(alpha)])
            for j in range(alpha)
        ]
        for i in range(m):
            line = e.address(to, row, i)
            outputs = from_points(e, alpha, m, [column[i] for column in columns])
            for j, output in enumerate(outputs):
                e.store(e.add(output, biases), line, vector, j)


@emitted
def _taps_in(e, alpha, r, count, source, next_source, tap, target, next_target, point):
    """From r × r taps to α² points, of ``count`` vectors."""
    with e.each(count, source, next_source, target, next_target) as (at, to):
        columns = [
            _weight_points(e, alpha, r, [e.load(at, tap, i * r + j) for i in range(r)])
            for j in range(r)
        ]
        for i in range(alpha):
            values = _weight_points(e, alpha, r, [column[i] for column in columns])
            for j, value in enumerate(values):
                e.store(value, to, point, i * alpha + j)


# ---------------------------------------------------------------- native functions


@cache
def lines_in(alpha: int, m: int, dtype: np.dtype[Any]) -> Any:
    """Cells to points; the arguments are (outputs of a line, lines, source, to the next line's,
    to the next cell, target, to the next line's, to the next point)."""
    zero = dtype.type(0)

    def lines(some, count, source, next_source, cell, target, next_target, point):
        words = some, count, source, next_source, cell, target, next_target, point
        _lines_in(alpha, m, words, zero)

    return native(lines, f"winograd_lines_in_{alpha}_{m}_{dtype.name}", *[types.intp] * 8)


@cache
def lines_out(alpha: int, m: int, dtype: np.dtype[Any]) -> Any:
    """Points to outputs, with arguments like those of :func:`lines_in`."""
    zero = dtype.type(0)

    def lines(some, count, source, next_source, point, target, next_target, output):
        words = some, count, source, next_source, point, target, next_target, output
        _lines_out(alpha, m, words, zero)

    return native(lines, f"winograd_lines_out_{alpha}_{m}_{dtype.name}", *[types.intp] * 8)


@cache
def tiles_out(alpha: int, m: int, dtype: np.dtype[Any]) -> Any:
    """Whole tiles to pixels; the arguments are (tiles, source, to the next tile's, to the next
    point, bias, target, to the next tile's, to the next row of pixels)."""
    zero = dtype.type(0)

    def tiles(count, source, next_source, point, bias, target, next_target, row):
        words = count, source, next_source, point, bias, target, next_target, row
        _tiles_out(alpha, m, words, zero)

    return native(tiles, f"winograd_tiles_out_{alpha}_{m}_{dtype.name}", *[types.intp] * 8)


@cache
def taps_in(alpha: int, r: int, dtype: np.dtype[Any]) -> Any:
    """Taps to points; the arguments are (vectors, source, to the next vector's, to the next tap,
    target, to the next vector's, to the next point)."""
    zero = dtype.type(0)

    def taps(count, source, next_source, tap, target, next_target, point):
        words = count, source, next_source, tap, target, next_target, point
        _taps_in(alpha, r, words, zero)

    return native(taps, f"winograd_taps_in_{alpha}_{r}_{dtype.name}", *[types.intp] * 7)
