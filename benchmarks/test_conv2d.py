"""Every conv2d row on every layer: im2col, direct, FFT …, weights packed beforehand."""

from __future__ import annotations

from functools import lru_cache
from itertools import cycle
from operator import attrgetter

import numpy as np
import numpy.typing as npt
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fastconv
from fastconv import registry
from fastconv.registry import Kernel

from . import judge
from .about import about
from .admission import skip_unless_timed
from .layers import LAYERS, Layer


@lru_cache(maxsize=1)  # the rows of a layer follow each other
def _right(layer: Layer) -> npt.NDArray[np.float64]:
    return judge.convolution(layer, layer.inputs()[0], layer.weights())


@pytest.mark.benchmark(min_rounds=3, max_time=0.5, warmup=True, disable_gc=True)
@pytest.mark.parametrize("row", registry.rows("conv2d"), ids=attrgetter("name"))
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_conv2d(benchmark: BenchmarkFixture, layer: Layer, row: Kernel) -> None:
    spec = layer.spec()
    skip_unless_timed(row, spec)
    inputs = layer.inputs()
    plan = fastconv.plan_conv2d(
        layer.weights(), x_shape=layer.x_shape, **layer.geometry, algorithm=row.algorithm,
        backend=row.backend,
    )
    assert judge.rms_error(plan(inputs[0]), _right(layer)) <= judge.RMS_LIMIT

    benchmark.group = layer.name
    benchmark.extra_info.update(about(spec, row, layer.name, layer.N))
    turn = cycle(inputs)
    benchmark(lambda: plan(next(turn)))
