"""Convolution layers as the tables write them, and their random data."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..spec import Conv2dSpec

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
    """The layers of a JSON file written as ``layers.json`` is.

    Raises
    ------
    OSError, ValueError
        The file cannot be read, is no JSON, or has an entry that is no layer.
    """
    try:
        entries = json.loads(path.read_text("utf-8"))["layers"]
        layers = tuple(_layer(entry) for entry in entries)
    except (ValueError, KeyError, TypeError) as problem:
        raise ValueError(
            f"{path} does not list layers as {{\"layers\": [{{\"name\": …, \"N\": …, \"IC\": …, "
            f"…}}]}}: {type(problem).__name__}: {problem}"
        ) from None
    if not layers:
        raise ValueError(f"{path} lists no layers")
    return layers


def _layer(entry: dict[str, Any]) -> Layer:
    layer = Layer(**entry)
    layer.spec()  # raises where the geometry is impossible
    return layer


LAYERS = read(Path(__file__).with_name("layers.json"))
"""The reference table: what the figures of README and goals are about."""
