"""The exponential function on one number or one vector.

Cody and Waite's: x = n·ln 2 + r with |r| ≤ ln 2 / 2 ("Software Manual for the Elementary
Functions", 1980), then the Taylor series of e^r − 1, then 2^n by its bits.
"""

from __future__ import annotations

from math import factorial
from typing import Any, NamedTuple

from llvmlite import ir

from . import simd
from .jit import compiled


class _Exp(NamedTuple):
    """The constants of one type."""

    ln2: float
    """The first part of ln 2, with enough zero bits at its end for n·ln 2 to be exact."""
    ln2_rest: float
    terms: int
    """Of the series, so that the next one no longer counts for |r| ≤ ln 2 / 2."""
    to_integer: float
    """A sum with this has no room for a fraction: adding and subtracting it rounds."""
    integer_bits: int
    exponent_bias: int
    mantissa_bits: int
    underflow: float
    """e to minus this is 0."""


_EXP = {
    32: _Exp(0.693359375, -2.1219444005469057e-4, 8, 1.5 * 2**23, 32, 127, 23, 104.0),
    64: _Exp(0.6931471803691238, 1.9082149292705877e-10, 14, 1.5 * 2**52, 64, 1023, 52, 746.0),
}


def _constants(value: ir.Value) -> _Exp:
    ty = value.type.element if isinstance(value.type, ir.VectorType) else value.type
    return _EXP[32 if isinstance(ty, ir.FloatType) else 64]


def _emit_round(builder: ir.IRBuilder, v: ir.Value) -> ir.Value:
    magic = ir.Constant(v.type, _constants(v).to_integer)
    return builder.fsub(builder.fadd(v, magic), magic)


def _emit_rest(builder: ir.IRBuilder, x: ir.Value, n: ir.Value) -> ir.Value:
    of = _constants(x)
    r = simd.emit_fma(builder, n, ir.Constant(x.type, -of.ln2), x)
    return simd.emit_fma(builder, n, ir.Constant(x.type, -of.ln2_rest), r)


def _emit_series(builder: ir.IRBuilder, r: ir.Value) -> ir.Value:
    terms = _constants(r).terms
    p = ir.Constant(r.type, 1 / factorial(terms))
    for k in range(terms - 1, 0, -1):
        p = simd.emit_fma(builder, p, r, ir.Constant(r.type, 1 / factorial(k)))
    return builder.fmul(p, r)


def _emit_power_of_two(builder: ir.IRBuilder, n: ir.Value) -> ir.Value:
    of = _constants(n)
    ty: ir.Type = ir.IntType(of.integer_bits)
    if isinstance(n.type, ir.VectorType):
        ty = ir.VectorType(ty, n.type.count)
    biased = builder.add(builder.fptosi(n, ty), ir.Constant(ty, of.exponent_bias))
    return builder.bitcast(builder.shl(biased, ir.Constant(ty, of.mantissa_bits)), n.type)


def _emit_bounded(builder: ir.IRBuilder, a: ir.Value) -> ir.Value:
    most = ir.Constant(a.type, _constants(a).underflow)
    return builder.select(builder.fcmp_ordered("<", a, most), a, most)


_round = simd.elementwise(1, _emit_round)
rest = simd.elementwise(2, _emit_rest)
"""rest(x, n): x − n·ln 2."""
series = simd.elementwise(1, _emit_series)
"""e^r − 1 for |r| ≤ ln 2 / 2."""
power_of_two = simd.elementwise(1, _emit_power_of_two)
"""2^n for integral n, where that is a normal number."""
_bounded = simd.elementwise(1, _emit_bounded)
"""No larger than it takes for e^−a to be 0; a number also for NaN."""


@compiled
def nearest_power(x: Any) -> Any:
    """The integer n for which n·ln 2 is nearest to x."""
    return _round(simd.mul(x, simd.constant(x, 1.4426950408889634)))


@compiled
def exp_of_minus(a: Any) -> Any:
    """e^−a for a ≥ 0, down to the subnormal numbers; NaN for NaN."""
    x = simd.sub(simd.constant(a, 0.0), _bounded(a))
    n = nearest_power(x)
    y = simd.add(series(rest(x, n)), simd.constant(a, 1.0))
    half = _round(simd.mul(n, simd.constant(a, 0.5)))  # 2^n may be subnormal: in two steps
    y = simd.mul(simd.mul(y, power_of_two(half)), power_of_two(simd.sub(n, half)))
    return simd.select(simd.is_nan(a), a, y)
