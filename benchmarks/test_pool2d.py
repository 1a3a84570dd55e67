"""Every pool2d row on the pooling layers of classic networks."""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastconv import registry
from fastconv.registry import Kernel

from . import judge
from .about import about
from .admission import skip_unless_timed
from .layers import Array
from .works import POOLED_SHAPES, POOLS, Pool

TIMED = (*POOLS, Pool("global_max", "max", None))


@lru_cache(maxsize=1)
def _input(shape: str) -> Array:
    return np.random.default_rng(7).standard_normal(POOLED_SHAPES[shape], dtype=np.float32)


@lru_cache(maxsize=1)  # the rows of a pool follow each other
def _right(pool: Pool, shape: str) -> Array:
    return judge.pooling(pool.spec(POOLED_SHAPES[shape]), _input(shape))


@pytest.mark.benchmark(min_rounds=3, max_time=0.5, warmup=True, disable_gc=True)
@pytest.mark.parametrize("row", registry.rows("pool2d"), ids=attrgetter("name"))
@pytest.mark.parametrize("layer", TIMED, ids=str)
@pytest.mark.parametrize("shape", POOLED_SHAPES)
def test_pool2d(benchmark: BenchmarkFixture, shape: str, layer: Pool, row: Kernel) -> None:
    spec = layer.spec(POOLED_SHAPES[shape])
    skip_unless_timed(row, spec)
    call = layer.on(_input(shape), row.backend)
    assert judge.rms_error(call(), _right(layer, shape)) <= judge.RMS_LIMIT

    benchmark.group = f"{layer.name}, {shape}"
    benchmark.extra_info.update(about(spec, row, layer.name, POOLED_SHAPES[shape][0]))
    benchmark(call)
