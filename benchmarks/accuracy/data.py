"""Inputs and weights on which a convolution may lose digits; all of the dtype that is tried."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from ..layers import Array, Layer

Filled = tuple[Array, Array]
"""Input and weights."""


def normal(rng: np.random.Generator, layer: Layer, dtype: str) -> Filled:
    """Normal numbers; the weights scaled so that the result's values are around 1."""
    x = rng.standard_normal(layer.x_shape).astype(dtype)
    w = rng.standard_normal(layer.w_shape) / layer.w_shape[1] ** 0.5
    return x, w.astype(dtype)


def large_mean(rng: np.random.Generator, layer: Layer, dtype: str) -> Filled:
    """Inputs around 1000."""
    x, w = normal(rng, layer, dtype)
    return x + x.dtype.type(1000), w


def cancelling(rng: np.random.Generator, layer: Layer, dtype: str) -> Filled:
    """Inputs around 1000 and kernels that add up to 0, as edge filters do: terms cancel."""
    x, w = large_mean(rng, layer, dtype)
    return x, w - w.mean(axis=(2, 3), keepdims=True)


def uneven_channels(rng: np.random.Generator, layer: Layer, dtype: str) -> Filled:
    """Channels of x whose sizes are 12 decades apart, and weights that make up for it."""
    x, w = normal(rng, layer, dtype)
    scales = 10 ** rng.uniform(-6, 6, layer.IC)
    back = (1 / scales).reshape(layer.groups, 1, -1)
    weights = w.reshape(layer.groups, -1, *layer.w_shape[1:]) * back[..., None, None]
    return (
        (x * scales[:, None, None]).astype(dtype), weights.reshape(layer.w_shape).astype(dtype)
    )


def one_channel(rng: np.random.Generator, layer: Layer, dtype: str) -> Filled:
    """One channel is a million times as large as the others."""
    x, w = normal(rng, layer, dtype)
    x[:, layer.IC // 2] *= 1e6
    return x, w


def bright_spots(rng: np.random.Generator, layer: Layer, dtype: str) -> Filled:
    """One cell of a hundred is ten thousand times as large as the others."""
    x, w = normal(rng, layer, dtype)
    return np.where(rng.random(x.shape) < 0.01, x * x.dtype.type(1e4), x), w


def subnormal(rng: np.random.Generator, layer: Layer, dtype: str) -> Filled:
    """Inputs, and so results, below the smallest normal number."""
    x, w = normal(rng, layer, dtype)
    return (x * (np.finfo(dtype).tiny / 100)).astype(dtype), w


def near_overflow(rng: np.random.Generator, layer: Layer, dtype: str) -> Filled:
    """Results up to about a tenth of the largest number."""
    x, w = normal(rng, layer, dtype)
    factor = float(np.finfo(dtype).max) / 10 / (5 * (layer.KH * layer.KW) ** 0.5)
    return (x * x.dtype.type(factor)).astype(dtype), w


SCALINGS: tuple[Callable[[np.random.Generator, Layer, str], Filled], ...] = (
    normal, large_mean, cancelling, uneven_channels, one_channel, bright_spots, subnormal,
    near_overflow,
)


def fill(
    how: Callable[[np.random.Generator, Layer, str], Filled], layer: Layer, dtype: str
) -> Filled:
    """The same data in every run."""
    return how(np.random.default_rng(zlib.crc32(layer.name.encode())), layer, dtype)
