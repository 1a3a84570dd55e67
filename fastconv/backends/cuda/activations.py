"""What each activation does to one number in a register; the definitions are those of
``backends/reference/activations.py``, NaN and infinities included.

Each is made for a type that numbers are computed in: a Python constant would make them float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from .primitives import inlined


@cache
def activation(name: str | None, dtype: str) -> Callable[..., Any]:
    """``f(v, slope)`` for float32 or float64 numbers; half types are computed as float32."""
    real = np.float64 if dtype == "float64" else np.float32
    zero, one, three, six = real(0), real(1), real(3), real(6)

    @inlined
    def identity(v, slope):
        return v

    @inlined
    def relu(v, slope):
        return zero if v <= zero else v

    @inlined
    def relu6(v, slope):
        return six if v >= six else (zero if v <= zero else v)

    @inlined
    def leaky_relu(v, slope):
        return v if v > zero else real(slope) * v

    @inlined
    def sigmoid(v, slope):
        e = real(math.exp(-abs(v)))
        return (e if v < zero else one) / (one + e)

    @inlined
    def tanh(v, slope):
        return real(math.tanh(v))

    @inlined
    def silu(v, slope):
        e = real(math.exp(-abs(v)))
        return v * ((e if v < zero else one) / (one + e))

    @inlined
    def hardswish(v, slope):
        u = v + three
        return v * ((six if u >= six else (zero if u <= zero else u)) / six)

    named: dict[str | None, Callable[..., Any]] = {
        None: identity, "relu": relu, "relu6": relu6, "leaky_relu": leaky_relu,
        "sigmoid": sigmoid, "tanh": tanh, "silu": silu, "hardswish": hardswish,
    }
    return named[name]
