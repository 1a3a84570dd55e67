"""A row's errors on one layer, through the kernel contract."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from fastconv import registry
from fastconv.dispatch import absent
from fastconv.registry import Kernel
from fastconv.spec import Conv2dSpec

from .. import judge
from ..layers import Array, Layer
from .data import Filled

JUDGES: dict[str, Any] = {"float32": np.float64, "float64": np.longdouble}
"""What the results of each dtype are compared in."""


@dataclass(frozen=True, slots=True)
class Errors:
    """All relative; infinite where a number is missing."""

    rms: float
    """Root mean square, to that of the result: what the rows state."""
    largest: float
    """Of any cell, to the largest of the result."""
    local: float
    """Of any cell, to √Σ(w·x)² of its own terms: what a dark cell suffers from a bright one."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A layer with its data, and what is right."""

    layer: Layer
    dtype: str
    x: Array
    w: Array
    right: Array
    scale: Array
    """√Σ(w·x)² of each cell."""

    @classmethod
    def of(cls, layer: Layer, filled: Filled, dtype: str) -> Sample:
        """Judge in more digits than ``dtype`` has."""
        x, w = (a.astype(JUDGES[dtype]) for a in filled)
        squares = judge.convolution(layer, x**2, w**2, JUDGES[dtype])
        right = judge.convolution(layer, x, w, JUDGES[dtype])
        return cls(layer, dtype, *filled, right, np.sqrt(squares))


def rows(backends: list[str]) -> list[Kernel]:
    """The conv2d rows of the backends that can be used here."""
    return [
        row for row in registry.rows("conv2d")
        if row.backend in backends and absent(row) is None
    ]


def spec_for(row: Kernel, layer: Layer, dtype: str) -> Conv2dSpec | None:
    """The layer as ``row`` may be asked for it, or None if it cannot serve it."""
    precision = "fast" if registry.too_inexact(row, "default") else "default"
    spec = layer.spec(dtype=dtype, precision=precision)
    return None if row.why_not(spec.kernel_spec) else spec


def errors(row: Kernel, sample: Sample) -> Errors | None:
    """None where the row cannot serve the layer."""
    spec = spec_for(row, sample.layer, sample.dtype)
    if spec is None:
        return None
    right = sample.right
    got = _run(row, spec.kernel_spec, sample.x, sample.w).astype(right.dtype)
    if not np.isfinite(got).all():
        return Errors(np.inf, np.inf, np.inf)
    tiny = float(np.finfo(sample.dtype).tiny)  # below it digits are lost by nature
    error = np.abs(got - right)
    return Errors(
        rms=float(np.sqrt(np.mean(error**2)) / max(np.sqrt(np.mean(right**2)), tiny)),
        largest=float(error.max() / max(np.abs(right).max(), tiny)),
        local=float((error / np.maximum(sample.scale, tiny)).max()),
    )


def _run(row: Kernel, spec: Conv2dSpec, x: Array, w: Array) -> Array:
    kernel: Any = import_module(row.module)
    out = np.full(spec.out_shape, np.nan, x.dtype)
    kernel.run(spec, x, kernel.pack(spec, w, 1), None, out, 1)
    return out
