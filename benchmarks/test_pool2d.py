"""Every pool2d row on the pooling layers of classic networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import attrgetter

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fastconv
from fastconv import registry
from fastconv.registry import Kernel
from fastconv.spec import Pool2dSpec

from . import judge
from .admission import skip_unless_timed
from .layers import Array

SHAPES = {"b1": (1, 64, 112, 112), "b16": (16, 64, 112, 112)}


@dataclass(frozen=True, slots=True)
class Pool:
    """One pooling; ``size=None`` is the whole map."""

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

    def on(self, x: Array, backend: str) -> Callable[[], Array]:
        """The public call."""
        if self.size is None:
            function = getattr(fastconv, f"global_{self.mode}_pool2d")
            return partial(function, x, backend=backend)
        function = getattr(fastconv, f"{self.mode}_pool2d")
        return partial(
            function, x, self.size, stride=self.stride, padding=self.padding, backend=backend
        )

    def __str__(self) -> str:
        return self.name


POOLS = (
    Pool("max2x2", "max", 2, 2),
    Pool("max3x3s2", "max", 3, 2, 1),
    Pool("avg2x2", "avg", 2, 2),
    Pool("avg3x3s1", "avg", 3, 1, 1),
    Pool("global_avg", "avg", None),
    Pool("global_max", "max", None),
)


@lru_cache(maxsize=1)
def _input(shape: str) -> Array:
    return np.random.default_rng(7).standard_normal(SHAPES[shape], dtype=np.float32)


@lru_cache(maxsize=1)  # the rows of a pool follow each other
def _right(pool: Pool, shape: str) -> Array:
    return judge.pooling(pool.spec(SHAPES[shape]), _input(shape))


@pytest.mark.benchmark(min_rounds=3, max_time=0.5, warmup=True, disable_gc=True)
@pytest.mark.parametrize("row", registry.rows("pool2d"), ids=attrgetter("name"))
@pytest.mark.parametrize("layer", POOLS, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_pool2d(benchmark: BenchmarkFixture, shape: str, layer: Pool, row: Kernel) -> None:
    skip_unless_timed(row, layer.spec(SHAPES[shape]))
    call = layer.on(_input(shape), row.backend)
    assert judge.rms_error(call(), _right(layer, shape)) <= judge.RMS_LIMIT

    benchmark.group = f"{layer.name}, {shape}"
    benchmark(call)
