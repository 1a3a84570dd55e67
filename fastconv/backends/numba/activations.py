"""The activations on one number or one vector; NaN passes through all of them."""

from __future__ import annotations

from functools import cache
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from . import simd
from .exponential import exp_of_negative, expm1_of_negative
from .jit import compiled

CODES = {
    None: 0, "relu": 1, "relu6": 2, "leaky_relu": 3, "sigmoid": 4, "tanh": 5, "silu": 6,
    "hardswish": 7,
}
"""What kernels know the activations by."""
LIMITS = {"relu": (0.0, inf), "relu6": (0.0, 6.0)}
"""The activations that are limits of a sum: they cost next to nothing before it is stored."""
NO_LIMITS = -inf, inf


@cache
def limits_of(activation: str | None, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The least and the greatest result, in memory that stays."""
    return np.array(LIMITS.get(activation or "", NO_LIMITS), dtype)


@compiled
def activate(code: int, slope: float, v: Any) -> Any:
    """The activation of ``v``, a number or a vector."""
    zero = simd.constant(v, 0.0)
    if code == 1:
        v = simd.select(simd.less(v, zero), zero, v)
    elif code == 2:
        v = _clip6(v)
    elif code == 3:
        below = simd.mul(v, simd.constant(v, slope))
        v = simd.select(simd.less(zero, v), v, below)
    elif code == 4:
        v = _sigmoid(v)
    elif code == 5:
        v = _tanh(v)
    elif code == 6:
        v = simd.mul(v, _sigmoid(v))
    elif code == 7:
        share = _clip6(simd.add(v, simd.constant(v, 3.0)))
        v = simd.mul(v, simd.mul(share, simd.constant(v, 1 / 6)))
    return v


@compiled
def activate_line(code, slope, x, out, count, like):
    """The activation of ``count`` dense numbers: vector after vector, the last one in part."""
    nothing = simd.splat(like)
    lanes, size = simd.lanes(nothing), simd.itemsize(nothing)
    i = 0
    while i + lanes <= count:
        v = simd.load(x + i * size, nothing)
        simd.store(out + i * size, activate(code, slope, v))
        i += lanes
    if i < count:
        v = simd.load_part(x + i * size, count - i, nothing)
        simd.store_part(out + i * size, activate(code, slope, v), count - i)


@compiled
def _clip6(v: Any) -> Any:
    zero, six = simd.constant(v, 0.0), simd.constant(v, 6.0)
    return simd.select(simd.less(v, zero), zero, simd.select(simd.less(six, v), six, v))


@compiled
def _sigmoid(v: Any) -> Any:
    """1 / (1 + e^−v), or for v < 0 the equal e^v / (1 + e^v), which keeps its digits."""
    zero, one = simd.constant(v, 0.0), simd.constant(v, 1.0)
    e = exp_of_negative(simd.sub(simd.constant(v, -0.0), simd.absolute(v)))
    return simd.div(simd.select(simd.less(v, zero), e, one), simd.add(e, one))


@compiled
def _tanh(v: Any) -> Any:
    """−m / (2 + m) with m = e^−2|v| − 1, which keeps every digit near 0."""
    m = expm1_of_negative(simd.mul(simd.constant(v, -2.0), simd.absolute(v)))
    return simd.copysign(simd.div(m, simd.add(m, simd.constant(v, 2.0))), v)
