"""What is timed against the peers: layers, pictures, pooling, relu, and chains of these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import fastconv
from fastconv.spec import Pool2dSpec

from .layers import LAYERS, Array, Layer, kind, random_inputs

WIDE_KERNEL = 21
"""From the next size on, picture libraries change from sums to transforms."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One pooling with square windows; ``size=None`` is the whole map."""

    name: str
    mode: str
    size: int | None
    stride: int = 1
    padding: int = 0

    def spec(self, x_shape: tuple[int, ...]) -> Pool2dSpec:
        """The geometry on one input shape."""
        if self.size is None:
            return Pool2dSpec.of_adaptive(self.mode, x_shape, 1)
        return Pool2dSpec.of(
            self.mode, x_shape, self.size, stride=self.stride, padding=self.padding
        )

    def on(self, x: Array, backend: str, layout: str = "NCHW") -> Callable[[], Array]:
        """fastconv's public call."""
        options: dict[str, Any] = {"backend": backend, "layout": layout}
        if self.size is None:
            return partial(getattr(fastconv, f"global_{self.mode}_pool2d"), x, **options)
        function = getattr(fastconv, f"{self.mode}_pool2d")
        return partial(
            function, x, self.size, stride=self.stride, padding=self.padding, **options
        )

    def __str__(self) -> str:
        return self.name


POOLS = (
    Pool("max2x2", "max", 2, 2),
    Pool("max3x3s2", "max", 3, 2, 1),
    Pool("avg2x2", "avg", 2, 2),
    Pool("avg3x3s1", "avg", 3, 1, 1),
    Pool("global_avg", "avg", None),
)
POOLED_SHAPES = {"b1": (1, 64, 112, 112), "b16": (16, 64, 112, 112)}


@dataclass(frozen=True, slots=True)
class Work:
    """A convolution, a relu and a pooling, in this order; at least one of them."""

    name: str
    section: str
    """The table that it is printed in."""
    x_shape: tuple[int, int, int, int]
    layer: Layer | None = None
    relu: bool = False
    pool: Pool | None = None
    subnormal: str = ""
    """"weights": every second one is subnormal; "inputs": they decay into subnormals."""

    @property
    def convolution(self) -> Layer | None:
        """The layer, if there is nothing but a convolution."""
        return None if self.relu or self.pool else self.layer

    @property
    def labels(self) -> tuple[str, ...]:
        """What ``goals.json`` selects by."""
        if self.section == "subnormal":
            return self.section, self.subnormal or "normal"
        if self.convolution is None or self.section == "calls":
            return (self.section,)
        layer = self.convolution
        wide = max(layer.KH, layer.KW) > WIDE_KERNEL
        return (
            self.section, kind(layer), "N=1" if layer.N == 1 else "N>1",
            "wide kernel" if wide else "narrow kernel",
        )

    @property
    def conv_shape(self) -> tuple[int, int, int, int]:
        """What comes out of the convolution, if there is one."""
        return self.layer.spec().out_shape if self.layer else self.x_shape

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        """What comes out in the end."""
        return self.pool.spec(self.conv_shape).out_shape if self.pool else self.conv_shape

    @property
    def flops(self) -> int:
        """Operations, by the direct method."""
        total = self.layer.spec().flops if self.layer else 0
        total += int(np.prod(self.conv_shape)) if self.relu else 0
        return total + (self.pool.spec(self.conv_shape).flops if self.pool else 0)

    def inputs(self) -> list[Array]:
        """Different inputs in NCHW order, so that no call finds the answer in a cache."""
        inputs = random_inputs(self.name, self.x_shape)
        if self.subnormal == "inputs":
            decay = np.geomspace(1, 1e-44, self.x_shape[3])
            return [(x * decay).astype(np.float32) for x in inputs]
        return inputs

    def weights(self) -> Array | None:
        """The layer's weights."""
        if self.layer is None:
            return None
        w = self.layer.weights()
        if self.subnormal == "weights":
            w.reshape(-1)[::2] *= np.float32(1e-39)
        return w


def of_layer(layer: Layer, section: str = "layers", subnormal: str = "") -> Work:
    """A convolution alone."""
    return Work(layer.name, section, layer.x_shape, layer, subnormal=subnormal)


def _picture(k: int) -> Layer:
    return Layer(f"picture.{k}x{k}", 1, 1, 1024, 1024, 1, k, k, padding=k // 2)


def _square(name: str, ic: int, size: int, oc: int, k: int, stride: int = 1) -> Layer:
    return Layer(name, 1, ic, size, size, oc, k, k, stride, k // 2)


def _fused(layer: Layer, pool: Pool) -> Work:
    return Work(f"{layer.name}+relu+{pool.name}", "fused", layer.x_shape, layer, True, pool)


def _subnormal(what: str) -> Work:
    layer = _square(f"subnormal.{what or 'none'}", 64, 56, 64, 3)
    return of_layer(layer, "subnormal", what)


PICTURES = tuple(of_layer(_picture(k), "pictures") for k in (3, 5, 7, 11, 21, 31))
POOLING = tuple(
    Work(f"{name}.{shape}", "pooling", x_shape, relu=pool is None, pool=pool)
    for shape, x_shape in POOLED_SHAPES.items()
    for name, pool in (*((pool.name, pool) for pool in POOLS), ("relu", None))
)
FUSED = (
    _fused(_square("3to64@300", 3, 300, 64, 3), POOLS[0]),
    _fused(_square("3to32@224", 3, 224, 32, 3), POOLS[0]),
    _fused(_square("resnet50.conv1", 3, 224, 64, 7, 2), POOLS[1]),
    _fused(_square("vgg16.1_2", 64, 224, 64, 3), POOLS[0]),
    _fused(_square("16to33@75", 16, 75, 33, 5), POOLS[2]),
)
CALLS = (of_layer(_square("1x1x8x8", 1, 8, 1, 3), "calls"),)
SUBNORMAL = tuple(_subnormal(what) for what in ("", "weights", "inputs"))

WORKS = (*(of_layer(layer) for layer in LAYERS), *PICTURES, *POOLING, *FUSED, *CALLS, *SUBNORMAL)
"""What the goals are about."""
