"""The layers that everything here is measured on, and their random data."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.spec import Conv2dSpec

Array = npt.NDArray[Any]

MAX_INPUT_BYTES = 64 << 20
"""All the inputs of one layer together; at least two are made whatever their size."""


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

    def spec(self, **kwargs: Any) -> Conv2dSpec:
        """The geometry; ``kwargs`` as in :meth:`Conv2dSpec.of`."""
        return Conv2dSpec.of(self.x_shape, self.w_shape, **self.geometry, **kwargs)

    def inputs(self, count: int = 3) -> list[Array]:
        """Different random inputs in NCHW order, so that no call finds the answer in a cache."""
        size = 4 * int(np.prod(self.x_shape))
        count = min(count, max(2, MAX_INPUT_BYTES // size))
        rng = self._rng("x")
        return [rng.standard_normal(self.x_shape, dtype=np.float32) for _ in range(count)]

    def weights(self) -> Array:
        """Random weights, scaled so that the result's values are around 1."""
        fan_in = self.IC // self.groups * self.KH * self.KW
        w = self._rng("w").standard_normal(self.w_shape, dtype=np.float32)
        return w / np.float32(fan_in**0.5)

    def _rng(self, what: str) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(f"{self.name}/{what}".encode()))

    def __str__(self) -> str:
        return self.name


def _read() -> tuple[Layer, ...]:
    text = Path(__file__).with_name("layers.json").read_text(encoding="utf-8")
    return tuple(Layer(**entry) for entry in json.loads(text)["layers"])


LAYERS = _read()


def select(patterns: str, layers: Sequence[Layer] = LAYERS) -> list[Layer]:
    """The layers whose name matches one of the comma-separated globs, in table order."""
    globs = [p.strip() for p in patterns.split(",") if p.strip()]
    for glob in globs:
        if not any(fnmatchcase(layer.name, glob) for layer in layers):
            names = ", ".join(layer.name for layer in layers)
            raise ValueError(f"no layer matches {glob!r}; the layers are {names}")
    return [layer for layer in layers if any(fnmatchcase(layer.name, glob) for glob in globs)]
