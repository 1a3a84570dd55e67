"""The exponential function on one number or one vector, as ``csrc/simd/activation.h`` has it.

With n = round(x / ln 2) and r = x − n·ln 2, |r| ≤ ln 2 / 2, exp(x) is 2^n·(1 + p) with p = exp(r)
− 1 = r + r²·q(r). ln 2 is subtracted in two parts, of which the first times n is exact (W. J. Cody
and W. Waite, "Software Manual for the Elementary Functions", 1980, ch. 6); n is rounded by adding
1.5·2^(bits of the mantissa), whose low bits then hold it. q minimises the largest error relative
to p (Remez' exchange algorithm on this interval; it is 1.3e-8 for float32, 1.8e-17 for float64).
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from . import simd


class _Exp(NamedTuple):
    """The constants of one type."""

    bits: int
    mantissa: int
    bias: int
    ln2_high: float
    ln2_low: float
    underflows: float
    """e to this power is 0."""
    q: tuple[float, ...]

    @property
    def rounder(self) -> float:
        """A sum with this has no room for a fraction."""
        return 1.5 * 2.0**self.mantissa


_hex = float.fromhex


def _all_hex(*numbers: str) -> tuple[float, ...]:
    return tuple(map(_hex, numbers))


_EXP = {
    32: _Exp(32, 23, 127, _hex("0x1.63p-1"), _hex("-0x1.bd0106p-13"), -104.0, _all_hex(
        "0x1.fffffep-2", "0x1.5554bp-3", "0x1.555674p-5", "0x1.122776p-7", "0x1.6bec06p-10",
    )),
    64: _Exp(64, 52, 1023, _hex("0x1.62e42feep-1"), _hex("0x1.a39ef35793c76p-33"), -746.0, _all_hex(
        "0x1.0000000000005p-1", "0x1.5555555555539p-3", "0x1.55555555522b8p-5",
        "0x1.1111111118fa9p-7", "0x1.6c16c17edba42p-10", "0x1.a01a017515664p-13",
        "0x1.a019a76f56f91p-16", "0x1.71de88058d787p-19", "0x1.28a1dfeb6446cp-22",
        "0x1.ae6ba9c908993p-26",
    )),
}
_LOG2_E = _hex("0x1.71547652b82fep+0")
_VANISHES = -40.0
"""1 − e to this power has long been 1."""


def _number(builder: ir.IRBuilder, like: ir.Value, value: float) -> ir.Value:
    """A constant that is rounded to the type, as llvmlite's are not."""
    vector = isinstance(like.type, ir.VectorType)
    element = like.type.element if vector else like.type
    number = builder.fptrunc(ir.Constant(ir.DoubleType(), value), element)
    return simd.emit_splat(builder, number, like.type.count) if vector else number


def _of(value: ir.Value) -> _Exp:
    element = value.type.element if isinstance(value.type, ir.VectorType) else value.type
    return _EXP[32 if isinstance(element, ir.FloatType) else 64]


def _integers(value: ir.Value) -> ir.Type:
    bits = ir.IntType(_of(value).bits)
    vector = isinstance(value.type, ir.VectorType)
    return ir.VectorType(bits, value.type.count) if vector else bits


def _whole(value: ir.Value, number: int) -> ir.Constant:
    ty = _integers(value)
    lanes = isinstance(ty, ir.VectorType)
    return ir.Constant(ty, [number] * ty.count if lanes else number)


def _emit_power_of_two(builder: ir.IRBuilder, like: ir.Value, n: ir.Value) -> ir.Value:
    """2^n for −bias < n ≤ bias."""
    of = _of(like)
    biased = builder.add(n, _whole(like, of.bias))
    return builder.bitcast(builder.shl(biased, _whole(like, of.mantissa)), like.type)


def _emit_reduced(builder: ir.IRBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """exp(r) − 1 and n where x = n·ln 2 + r; x is NaN or so small that n has few bits."""
    of = _of(x)
    fma = simd.emit_fma
    rounder = _number(builder, x, of.rounder)
    shifted = fma(builder, x, _number(builder, x, _LOG2_E), rounder)
    ty = _integers(x)
    n = builder.sub(builder.bitcast(shifted, ty), builder.bitcast(rounder, ty))
    rounded = builder.fsub(shifted, rounder)
    r = fma(builder, rounded, _number(builder, x, -of.ln2_high), x)
    r = fma(builder, rounded, _number(builder, x, -of.ln2_low), r)
    q = _number(builder, x, of.q[-1])
    for c in of.q[-2::-1]:
        q = fma(builder, q, r, _number(builder, x, c))
    return fma(builder, q, builder.fmul(r, r), r), n


def _emit_at_least(builder: ir.IRBuilder, x: ir.Value, least: float) -> ir.Value:
    """A NaN stays."""
    bound = _number(builder, x, least)
    return builder.select(builder.fcmp_ordered(">", bound, x), bound, x)


def _emit_exp(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    p, n = _emit_reduced(builder, _emit_at_least(builder, x, _of(x).underflows))
    half = builder.ashr(n, _whole(x, 1))  # one factor 2^n would be 0 for a subnormal result
    y = builder.fadd(p, _number(builder, x, 1.0))
    y = builder.fmul(y, _emit_power_of_two(builder, x, half))
    return builder.fmul(y, _emit_power_of_two(builder, x, builder.sub(n, half)))


def _emit_expm1(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    p, n = _emit_reduced(builder, _emit_at_least(builder, x, _VANISHES))
    power = _emit_power_of_two(builder, x, n)
    return simd.emit_fma(builder, p, power, builder.fsub(power, _number(builder, x, 1.0)))


exp_of_negative = simd.elementwise(1, _emit_exp)
"""e^x for x ≤ 0, down to the subnormal numbers; NaN for NaN."""
expm1_of_negative = simd.elementwise(1, _emit_expm1)
"""e^x − 1 for x ≤ 0, with all its digits near 0."""
