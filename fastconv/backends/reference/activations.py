"""What each activation is, for one number; NaN passes through all of them.

As in PyTorch, ``silu`` and ``hardswish`` of −∞ are −∞ · 0 = NaN: both are a product.
"""

from __future__ import annotations

import math
from typing import Any


def relu(v: Any) -> Any:
    """max(v, 0)."""
    return 0 if v <= 0 else v


def relu6(v: Any) -> Any:
    """min(max(v, 0), 6)."""
    return 6 if v >= 6 else relu(v)


def leaky_relu(v: float, slope: float) -> float:
    """v for v > 0, slope · v otherwise."""
    return v if v > 0 else slope * v


def sigmoid(v: float) -> float:
    """1 / (1 + e^−v), written so that the exponential cannot overflow."""
    e = math.exp(-abs(v))
    return e / (1 + e) if v < 0 else 1 / (1 + e)


def tanh(v: float) -> float:
    """Hyperbolic tangent."""
    return math.tanh(v)


def silu(v: float) -> float:
    """v · sigmoid(v): Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units" (2017)."""
    return v * sigmoid(v)


def hardswish(v: float) -> float:
    """v · relu6(v + 3) / 6: Howard et al., "Searching for MobileNetV3" (2019)."""
    return v * (relu6(v + 3) / 6)


def activate(name: str | None, slope: float, v: Any) -> Any:
    """The activation called ``name`` of ``v``; None leaves ``v`` as it is."""
    if name is None:
        return v
    if name == "leaky_relu":
        return leaky_relu(v, slope)
    by_name = {
        "relu": relu, "relu6": relu6, "sigmoid": sigmoid, "tanh": tanh, "silu": silu,
        "hardswish": hardswish,
    }
    return by_name[name](v)
