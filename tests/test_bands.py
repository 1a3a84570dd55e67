"""Pooling band by band: what is kept from band to band, and bands of a single row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastconv as fc
from fastconv.backends import bands
from fastconv.dispatch import available
from fastconv.spec import ConvPool2dSpec

RNG = np.random.default_rng(12)
ROWS = [("cython", "direct"), ("cython", "winograd4"), ("numba", "winograd4"), ("numpy", "im2col")]
POOLING: list[dict[str, Any]] = [
    {"pool_size": 3, "pool_stride": 2, "pool_padding": 1},
    {"pool_size": 3, "pool_stride": 1},  # several bands may share a row
    {"pool_size": 1, "pool_stride": 1},  # bands of a single row of maps
    {"pool_size": 2, "pool_stride": 3, "pool": "avg"},  # rows that no window needs
    {"pool_size": 4, "pool_stride": 1, "pool_padding": 2, "pool": "avg"},
]


@pytest.fixture(params=[1, 1000])
def _small_bands(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of one row of the result, and of a few."""
    monkeypatch.setattr(bands, "BAND_BYTES", request.param)
    monkeypatch.setattr(bands, "STEP", 1)
    bands._bands.cache_clear()
    yield
    bands._bands.cache_clear()


@pytest.mark.usefixtures("_small_bands")
@pytest.mark.parametrize(("backend", "algorithm"), ROWS)
@pytest.mark.parametrize("pooling", POOLING, ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_bands_join(backend: str, algorithm: str, pooling: dict[str, Any], stride: int) -> None:
    if reason := available(backend):
        pytest.skip(reason)
    w = RNG.standard_normal((7, 3, 3, 3)).astype(np.float32)
    for layout, shape in (("NCHW", (2, 3, 19, 11)), ("NHWC", (2, 19, 11, 3))):
        call = {**pooling, "stride": stride, "padding": 1, "layout": layout}
        x = RNG.standard_normal(shape).astype(np.float32)
        found = fc.conv2d_pool2d(x, w, algorithm=algorithm, backend=backend, **call)
        wanted = fc.conv2d_pool2d(x, w, backend="reference", **call)
        np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.usefixtures("_small_bands")
def test_no_row_of_maps_is_computed_twice() -> None:
    spec = ConvPool2dSpec.of(
        (1, 3, 40, 40), (8, 3, 3, 3), pool="max", pool_size=3, pool_stride=2, pool_padding=1,
        padding=1,
    )
    found = bands._bands(spec.kernel_spec, 1)
    assert len(found) > 5
    assert sum(band.conv.OH for band in found if band.conv) == spec.conv.OH
    assert [band.kept for band in found[1:]] == [1] * (len(found) - 1)
