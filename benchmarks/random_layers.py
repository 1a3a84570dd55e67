"""Plausible layers that nobody has tuned for: odd sizes, drawn by their logarithm.

Drawn otherwise than the calls that ``benchmarks.calibrate`` fits the cost model to.
"""

from __future__ import annotations

import math

import numpy as np

from .layers import Layer

SMALLEST, LARGEST = 2e6, 8e8
"""Operations of a layer: below, calls cost more than work; above, they only take longer."""

KINDS = {"dense": 0.6, "depthwise": 0.12, "grouped": 0.08, "first": 0.1, "picture": 0.1}
KERNELS = {
    (3, 3): 0.4, (1, 1): 0.2, (5, 5): 0.12, (7, 7): 0.06, (1, 7): 0.04, (7, 1): 0.04, (2, 2): 0.04,
    (4, 4): 0.03, (3, 5): 0.03, (11, 11): 0.04,
}


def draw(count: int, seed: int) -> list[Layer]:
    """``count`` layers, the same for the same seed."""
    rng = np.random.default_rng(seed)
    layers: list[Layer] = []
    while len(layers) < count:
        layer = _candidate(rng, f"r{seed}.{len(layers)}")
        fits = min(layer.IH - layer.dilation * (layer.KH - 1), layer.IW - layer.KW) > 1
        if fits and SMALLEST < layer.spec().flops < LARGEST:
            layers.append(layer)
    return layers


def _candidate(rng: np.random.Generator, name: str) -> Layer:
    def size(least: int, most: int) -> int:
        return round(math.exp(rng.uniform(math.log(least), math.log(most))))

    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    KH, KW = list(KERNELS)[int(rng.choice(len(KERNELS), p=list(KERNELS.values())))]
    IC, OC, groups = size(4, 700), size(4, 700), 1
    if kind == "depthwise":
        OC = groups = IC
    elif kind == "grouped":
        groups = size(2, 40)
        IC, OC = groups * size(2, 24), groups * size(2, 24)
    elif kind == "first":
        IC = int(rng.integers(1, 5))
    elif kind == "picture":
        IC, OC = 1, int(rng.integers(1, 9))
    large = kind in ("first", "picture")
    IH = size(60, 900) if large else size(5, 160)
    IW = max(2, round(IH * math.exp(rng.normal(0, 0.2))))
    N = 1 if large else int(rng.choice([1, 1, 1, 2, 5, 16]))
    stride = int(rng.choice([1, 2, 3], p=[0.76, 0.21, 0.03]))
    dilation = 2 if stride == 1 and KH > 1 and rng.random() < 0.06 else 1
    padding = int(rng.choice([0, dilation * (min(KH, KW) // 2)], p=[0.2, 0.8]))
    label = f"{name} {N}×{IC}×{IH}×{IW} to {OC} {KH}×{KW}"
    label += f" s{stride}" * (stride > 1) + f" d{dilation}" * (dilation > 1)
    label += f" g{groups}" * (groups > 1)
    return Layer(label, N, IC, IH, IW, OC, KH, KW, stride, padding, dilation, groups)
