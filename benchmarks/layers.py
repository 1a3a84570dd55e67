"""The layers that everything here is measured on, and their random data."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.spec import Conv2dSpec

Array = npt.NDArray[Any]

MAX_INPUT_BYTES = 64 << 20
"""All the inputs of one layer together; at least two are made whatever their size."""

LARGE_PICTURE, LARGE_MAP = 200**2, 13**2
"""Pixels of a result from which on it counts as a large picture, or as a large map."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution layer, as ``layers.json`` writes it."""

    name: str
    N: int
    IC: int
    IH: int
    IW: int
    OC: int
    KH: int
    KW: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """(N, IC, IH, IW)."""
        return self.N, self.IC, self.IH, self.IW

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        """(OC, IC/groups, KH, KW)."""
        return self.OC, self.IC // self.groups, self.KH, self.KW

    @property
    def geometry(self) -> dict[str, Any]:
        """The keyword arguments of ``conv2d``."""
        return {
            "stride": self.stride, "padding": self.padding, "dilation": self.dilation,
            "groups": self.groups,
        }

    @property
    def is_picture(self) -> bool:
        """One picture of few channels, each filtered on its own: what picture libraries do."""
        return (
            self.N == 1 and self.IC <= 4 and self.groups == self.IC
            and self.stride == 1 and self.dilation == 1
        )

    @property
    def is_depthwise(self) -> bool:
        """One input channel for each group of several."""
        return self.groups > 1 and self.groups == self.IC

    @property
    def kind(self) -> str:
        """The class of the goals that the layer belongs to; "other" belongs to none."""
        spec = self.spec()
        kernel = f"{self.KH}x{self.KW}"
        if self.IC <= 3 and self.OC <= 8 and spec.OH * spec.OW >= LARGE_PICTURE:
            return "picture"
        if self.groups > 1:
            return "grouped"
        if self.IC <= 4 and kernel != "1x1":
            return "first"
        if kernel == "1x1" or (kernel == "5x5" and self.stride == 1):
            return kernel
        if kernel == "3x3" and self.stride == 1:
            return "3x3" if spec.OH * spec.OW >= LARGE_MAP else "3x3 small"
        if kernel == "3x3" and self.stride == 2 and min(self.IC, self.OC) >= 64:
            return "3x3 s2"
        return "other"

    def spec(self, **kwargs: Any) -> Conv2dSpec:
        """The geometry; ``kwargs`` as in :meth:`Conv2dSpec.of`."""
        return Conv2dSpec.of(self.x_shape, self.w_shape, **self.geometry, **kwargs)

    def inputs(self, count: int = 3) -> list[Array]:
        """Different random inputs in NCHW order, so that no call finds the answer in a cache."""
        return random_inputs(self.name, self.x_shape, count)

    def weights(self) -> Array:
        """Random weights, scaled so that the result's values are around 1."""
        fan_in = self.IC // self.groups * self.KH * self.KW
        w = _generator(self.name, "w").standard_normal(self.w_shape, dtype=np.float32)
        return w / np.float32(fan_in**0.5)

    def __str__(self) -> str:
        return self.name


def random_inputs(name: str, shape: tuple[int, ...], count: int = 3) -> list[Array]:
    """Different normal numbers, the same for the same name."""
    count = min(count, max(2, MAX_INPUT_BYTES // (4 * math.prod(shape))))
    rng = _generator(name, "x")
    return [rng.standard_normal(shape, dtype=np.float32) for _ in range(count)]


def _generator(name: str, what: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"{name}/{what}".encode()))


def read(path: Path) -> tuple[Layer, ...]:
    """The layers of a JSON file written as ``layers.json`` is."""
    return tuple(Layer(**entry) for entry in json.loads(path.read_text("utf-8"))["layers"])


LAYERS = read(Path(__file__).with_name("layers.json"))
