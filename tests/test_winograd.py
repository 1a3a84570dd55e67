"""The Winograd matrices: minimal filtering gives the correlation, and its errors are as stated."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest

from fastconv.backends.tile_rows import APART, tile_rows_of
from fastconv.backends.winograd import points, transforms
from fastconv.dispatch import available
from fastconv.registry import WINOGRAD
from fastconv.spec import Conv2dSpec

TILES = [(m, r) for m, reaches in WINOGRAD.items() for r in reaches]


@pytest.mark.parametrize(("m", "r"), TILES)
def test_minimal_filtering_is_the_correlation(m: int, r: int) -> None:
    """The trilinear form Σ A^T[j, p]·G[p, k]·B^T[p, i] is 1 where i = j + k, else 0."""
    t = transforms(m, r)
    form = np.einsum("jp,pk,pi->jki", t.AT, t.G_mat, t.BT)
    j, k, i = np.indices(form.shape)
    np.testing.assert_allclose(form, i == j + k, atol=1e-13)


@pytest.mark.parametrize(("m", "r"), TILES)
def test_points_come_in_pairs(m: int, r: int) -> None:
    """The kernels compute the rows of p and −p together."""
    finite = points(m + r - 1)
    assert len(set(finite)) == len(finite) == m + r - 2
    assert finite[0] == 0
    pairs = (m + r - 3) // 2
    assert all(finite[1 + 2 * i] == -finite[2 + 2 * i] > 0 for i in range(pairs))


ABSENT = available("cython") or available("numba")


@pytest.mark.skipif(ABSENT is not None, reason=str(ABSENT))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "r"), TILES)
def test_wings_sum_in_the_same_order(m: int, r: int, dtype: str) -> None:
    """The same operations one by one, whole tiles and ends, several chunks of channels: the bits
    differ only where a C compiler chose which of two products to fuse with their sum."""
    rng = np.random.default_rng(1)
    w = rng.standard_normal((40, 150, r, r)).astype(dtype)
    for size in (25, 26, 27):
        x = rng.standard_normal((1, 150, size, size)).astype(dtype)
        spec = Conv2dSpec.of(x.shape, w.shape, padding=1, dtype=dtype)
        results = []
        for wing in ("cython", "numba"):
            module = import_module(f"fastconv.backends.{wing}.conv2d_winograd{m}")
            out = np.empty(spec.out_shape, dtype)
            module.run(spec, x, module.pack(spec, w, 1), None, out, 1)
            results.append(out)
        one, other = results
        rms = np.sqrt(np.mean((one - other) ** 2) / np.mean(one**2))
        assert rms <= np.finfo(dtype).eps, (size, rms)


# ---------------------------------------------------------------- tiles in the lanes


@pytest.mark.skipif(ABSENT is not None, reason=str(ABSENT))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
@pytest.mark.parametrize("pooled", [False, True])
def test_wings_compute_tiles_in_the_lanes_alike(
    channels: int, dtype: str, order: str, pooled: bool
) -> None:
    """The same operations one by one in whole tiles and ends, the lanes being tiles or output
    channels; where a C compiler writes the sum over few channels out, it chooses which of the
    first two products it fuses with the other."""
    rng = np.random.default_rng(2)
    w = rng.standard_normal((20, channels, 3, 3)).astype(dtype)
    for height, width in ((25, 150), (12, 64)):
        x = rng.standard_normal((2, channels, height, width)).astype(dtype)
        spec = Conv2dSpec.of(x.shape, w.shape, padding=1, dtype=dtype)
        results = []
        for wing in ("cython", "numba"):
            module = import_module(f"fastconv.backends.{wing}.conv2d_winograd_planar")
            side = 2 if pooled else 1
            out = _empty(order, *spec.out_shape[:2], spec.OH // side, spec.OW // side, dtype=dtype)
            module.run(spec, x, module.pack(spec, w, 1), None, out, 1, pooled)
            results.append(out)
        one, other = results
        rms = np.sqrt(np.mean((one - other) ** 2) / np.mean(one**2))
        assert rms <= (1 if channels > 4 else 4) * np.finfo(dtype).eps, (height, width, rms)


def _empty(order: str, n: int, c: int, h: int, w: int, dtype: str) -> Any:
    """No zeros, for all must be written."""
    if order == "NCHW":
        return np.full((n, c, h, w), np.nan, dtype)
    return np.full((n, h, w, c), np.nan, dtype).transpose(0, 3, 1, 2)


def test_rows_share_vectors_only_where_that_gains() -> None:
    shared = 0
    for channels in (1, 3, 8):
        for height in range(1, 60):
            for width in range(1, 100, 3):
                spec = Conv2dSpec.of((1, channels, height, width), (4, channels, 3, 3), padding=1)
                wide, narrow = (tile_rows_of(spec, 512, may) for may in (False, True))
                if narrow.together == 1:
                    continue
                tasks = [
                    -(-min(narrow.together, narrow.rows - row) * narrow.lanes // 16)
                    for row in range(0, narrow.rows, narrow.together)
                ]
                context = (channels, height, width)
                assert len(tasks) == narrow.tasks, context
                assert max(tasks) == narrow.most, context
                assert APART * sum(tasks) < wide.rows * wide.vectors, context
                shared += 1
    assert shared


@pytest.mark.parametrize("wing", ["cython", "numba"])
@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
@pytest.mark.parametrize("activation", [None, "tanh"])
@pytest.mark.parametrize("shape", [(130, 127), (18, 1100)], ids=["one_block", "blocks"])
def test_results_past_the_caches(
    shape: tuple[int, int], activation: str | None, order: str, wing: str
) -> None:
    """They take another way, row by row: last rows and columns, and blocks side by side."""
    if reason := available(wing):
        pytest.skip(reason)
    rng = np.random.default_rng(3)
    x = rng.standard_normal((1, 2, *shape)).astype(np.float32)
    w = (rng.standard_normal((256, 2, 3, 3)) / 18**0.5).astype(np.float32)
    bias = rng.standard_normal(256).astype(np.float32)
    spec = Conv2dSpec.of(x.shape, w.shape, padding=1, bias=True, activation=activation)
    assert np.prod(spec.out_shape) * 4 >= 16 << 20
    assert (tile_rows_of(spec, 512).blocks > 1) == (shape[1] > 1000)
    direct, tiles = (
        import_module(f"fastconv.backends.{wing}.conv2d_{name}")
        for name in ("direct", "winograd_planar")
    )
    wanted = np.empty(spec.out_shape, np.float32)
    direct.run(spec, x, direct.pack(spec, w, 1), bias, wanted, 1)
    for threads in (1, 2):
        out = _empty(order, *spec.out_shape, dtype="float32")
        tiles.run(spec, x, tiles.pack(spec, w, threads), bias, out, threads)
        rms = np.sqrt(np.mean((out - wanted) ** 2) / np.mean(wanted**2))
        assert rms <= 1e-6, (threads, rms)
