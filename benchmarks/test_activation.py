"""Every activation row on small and large maps, into a new array and into one that is there."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from operator import attrgetter

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fastconv
from fastconv import registry
from fastconv.registry import Kernel
from fastconv.spec import ActivationSpec

from . import judge
from .about import about
from .admission import skip_unless_timed
from .layers import Array

SHAPES = {"b1": (1, 64, 112, 112), "b16": (16, 64, 112, 112)}
RIGHT: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


@lru_cache(maxsize=1)
def _input(shape: str) -> Array:
    return np.random.default_rng(7).standard_normal(SHAPES[shape], dtype=np.float32)


@pytest.mark.benchmark(min_rounds=3, max_time=0.5, warmup=True, disable_gc=True)
@pytest.mark.parametrize("row", registry.rows("activation"), ids=attrgetter("name"))
@pytest.mark.parametrize("result", ["new", "out"])
@pytest.mark.parametrize("layer", RIGHT)
@pytest.mark.parametrize("shape", SHAPES)
def test_activation(
    benchmark: BenchmarkFixture, shape: str, layer: str, result: str, row: Kernel
) -> None:
    x = _input(shape)
    spec = ActivationSpec(layer, x.size)
    skip_unless_timed(row, spec)
    out = np.zeros_like(x) if result == "out" else None
    call = partial(getattr(fastconv, layer), x, out=out, backend=row.backend)
    assert judge.rms_error(call(), RIGHT[layer](x.astype(np.float64))) <= judge.RMS_LIMIT

    benchmark.group = f"{layer}, {shape}, {result}"
    benchmark.extra_info.update(about(spec, row, f"{layer}, {result}", SHAPES[shape][0]))
    benchmark(call)
