"""A seeded spread of layers: all kinds and odd sizes, each size drawn by its logarithm."""

from __future__ import annotations

import math

import numpy as np

from ..layers import Layer

SMALLEST, LARGEST = 3e6, 6e8
"""Operations of a layer: below, calls cost more than work; above, they only take longer."""


def spread(count: int, seed: int) -> list[Layer]:
    """``count`` random layers, the same for the same seed."""
    rng = np.random.default_rng(seed)
    layers: list[Layer] = []
    while len(layers) < count:
        layer = _random(rng)
        if layer.IH > layer.KH and SMALLEST < layer.spec().flops < LARGEST:
            layers.append(layer)
    return layers


def _random(rng: np.random.Generator) -> Layer:
    def size(least: int, most: int) -> int:
        return round(math.exp(rng.uniform(math.log(least), math.log(most))))

    k = int(rng.choice([1, 3, 5, 7, 11], p=[0.2, 0.4, 0.2, 0.1, 0.1]))
    channels, outputs, groups = size(3, 512), size(8, 512), 1
    match rng.choice(["full", "depthwise", "picture"], p=[0.7, 0.15, 0.15]):
        case "depthwise":
            outputs = groups = channels
        case "picture":
            channels, outputs = 1, size(1, 8)
    hw = size(7, 512 if channels <= 8 else 128)
    n, stride = int(rng.choice([1, 1, 4])), int(rng.choice([1, 1, 1, 2]))
    name = f"{n}×{channels}×{hw}² → {outputs}, {k}×{k}"
    name += f" s{stride}" * (stride > 1) + f" g{groups}" * (groups > 1)
    return Layer(name, n, channels, hw, hw, outputs, k, k, stride, k // 2, 1, groups)
