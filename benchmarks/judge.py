"""What is right, in float64, by code that shares nothing with anything that is timed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.registry import DEFAULT_RMS_ERROR
from fastconv.spec import Pool2dSpec

from .layers import Array, Layer
from .works import Work

RMS_LIMIT = DEFAULT_RMS_ERROR
"""A side whose error is larger is wrong, or computes in less than float32; it is not timed."""


def result(work: Work, x: Array, w: Array | None) -> npt.NDArray[np.float64]:
    """A chain of convolution, relu and pooling."""
    right: npt.NDArray[np.float64] = x.astype(np.float64)
    if work.layer and w is not None:
        right = convolution(work.layer, x, w)
    if work.relu:
        right = np.maximum(right, 0)
    return pooling(work.pool.spec(right.shape), right) if work.pool else right


def convolution(
    layer: Layer, x: Array, w: Array, dtype: type[np.floating[Any]] = np.float64
) -> Array:
    """conv2d by its definition, one tap of the kernel at a time, in ``dtype``."""
    s, p, d, g = layer.stride, layer.padding, layer.dilation, layer.groups
    spec = layer.spec()
    padded = np.pad(x.astype(dtype), ((0, 0), (0, 0), (p, p), (p, p)))
    taps = w.astype(dtype).reshape(g, layer.OC // g, layer.IC // g, layer.KH, layer.KW)
    total = np.zeros((layer.N, g, layer.OC // g, spec.OH * spec.OW), dtype)
    for kh in range(layer.KH):
        for kw in range(layer.KW):
            window = padded[
                :, :,
                kh * d : kh * d + s * (spec.OH - 1) + 1 : s,
                kw * d : kw * d + s * (spec.OW - 1) + 1 : s,
            ]
            pixels = window.reshape(layer.N, g, layer.IC // g, spec.OH * spec.OW)
            total += np.matmul(taps[:, :, :, kh, kw], pixels)
    return total.reshape(spec.out_shape)


def pooling(spec: Pool2dSpec, x: Array) -> npt.NDArray[np.float64]:
    """Maximum, or average with the padding counted, over square windows or whole maps."""
    if spec.adaptive:
        reduce = np.max if spec.mode == "max" else np.mean
        whole: npt.NDArray[np.float64] = reduce(x.astype(np.float64), (2, 3), keepdims=True)
        return whole
    empty = -np.inf if spec.mode == "max" else 0.0
    pads = (0, 0), (0, 0), (spec.PT, spec.PB), (spec.PL, spec.PR)
    padded = np.pad(x.astype(np.float64), pads, constant_values=empty)
    total = np.full(spec.out_shape, empty)
    for kh in range(spec.KH):
        for kw in range(spec.KW):
            cells = padded[
                :, :,
                kh : kh + spec.SH * (spec.OH - 1) + 1 : spec.SH,
                kw : kw + spec.SW * (spec.OW - 1) + 1 : spec.SW,
            ]
            if spec.mode == "max":
                np.maximum(total, cells, out=total)
            else:
                total += cells
    return total if spec.mode == "max" else total / (spec.KH * spec.KW)


def rms_error(got: npt.NDArray[Any], right: npt.NDArray[Any]) -> float:
    """Root mean square of the error, relative to the root mean square of what is right."""
    if got.shape != right.shape:
        return float("inf")
    difference = got.astype(np.float64) - right
    error = float(np.sqrt(np.mean(difference**2) / np.mean(right.astype(np.float64) ** 2)))
    return error if np.isfinite(error) else float("inf")
