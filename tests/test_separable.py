"""Kernels of low rank: found where it pays, refused with their rank, never confused."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv as fc
from fastconv.dispatch import available
from fastconv.rank import rank, with_rank, worth_knowing
from fastconv.spec import Conv2dSpec

pytestmark = pytest.mark.skipif(
    available("cython") is not None, reason="the row is one of the compiled wing"
)

RNG = np.random.default_rng(8)
GAUSS = np.exp(-np.linspace(-2, 2, 11) ** 2)
LOW = np.outer(GAUSS, GAUSS).astype(np.float32)
FULL = RNG.standard_normal((11, 11)).astype(np.float32)
PICTURE = RNG.standard_normal((1, 1, 600, 500), dtype=np.float32)


def near(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.abs(a - b).max() < 2e-5 * np.abs(b).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_does_not_count(dtype: str) -> None:
    filters = [np.outer(GAUSS, GAUSS), np.outer(GAUSS, FULL[0]) + np.outer(FULL[1], GAUSS), FULL]
    for wanted, kernel in zip((1, 2, 11), filters, strict=True):
        normalised = (kernel / kernel.sum()).astype(dtype)
        assert rank(normalised[None, None]) == wanted
    assert rank(np.zeros((1, 1, 5, 5), dtype)) == 1


def test_the_largest_rank_of_a_bank_counts() -> None:
    assert rank(np.stack([LOW, FULL])[:, None]) == 11


def test_weights_that_are_not_finite_have_no_low_rank() -> None:
    w = LOW[None, None].copy()
    w[0, 0, 3, 4] = np.inf
    assert rank(w) == 11
    with pytest.raises(ValueError, match="its rank is 11"):
        fc.conv2d(PICTURE, w, algorithm="separable")
    assert np.isinf(fc.conv2d(PICTURE, w, backend="cython", algorithm="direct")).any()


def test_a_full_rank_asked_for_by_name_is_told() -> None:
    with pytest.raises(ValueError, match="its rank is 11: so many passes cost more than the"):
        fc.conv2d(PICTURE, FULL[None, None], algorithm="separable")
    with pytest.raises(ValueError, match="without a stride"):
        fc.conv2d(PICTURE, LOW[None, None], algorithm="separable", stride=2)


def test_nobody_looks_where_it_cannot_pay() -> None:
    def spec(x: tuple[int, ...], w: tuple[int, ...], **options: object) -> Conv2dSpec:
        return Conv2dSpec.of(x, w, **options)

    assert worth_knowing(spec((1, 1, 1024, 1024), (1, 1, 11, 11)))
    for other in (
        spec((1, 1, 1024, 1024), (1, 1, 3, 3)),
        spec((1, 1, 60, 60), (1, 1, 11, 11)),
        spec((1, 64, 56, 56), (64, 64, 5, 5)),
        spec((1, 1, 1024, 1024), (1, 1, 11, 11), precision="strict"),
        spec((1, 1, 1024, 1024), (1, 1, 11, 11), stride=2),
    ):
        assert not worth_knowing(other)
        assert with_rank(other, np.zeros(other.w_shape), "auto").rank == 0


def test_each_call_looks_at_its_own_weights() -> None:
    """Shapes alone do not tell which kernel is right."""
    for _ in range(2):
        for kernel in (LOW, FULL, LOW.copy()):
            w = kernel[None, None]
            wanted = fc.conv2d(PICTURE, w, precision="strict")
            assert near(fc.conv2d(PICTURE, w), wanted)
            assert near(fc.filter2d(PICTURE[0, 0], kernel, padding=0), wanted[0, 0])
            assert near(fc.plan_conv2d(w)(PICTURE), wanted)
    plan = fc.plan_conv2d(LOW[None, None], x_shape=PICTURE.shape, backend="cython")
    assert plan.algorithm == "separable"
    assert "rank 1" in str(plan.explain())


def test_explain_takes_the_rank() -> None:
    shapes = PICTURE.shape, (1, 1, 11, 11)
    assert fc.explain("conv2d", *shapes, backend="cython", rank=1).algorithm == "separable"
    told = fc.explain("conv2d", *shapes)
    assert "rank of its weights is not known" in told.rejected["conv2d.separable@cython"]


@pytest.mark.parametrize("channels", [2, 3, 5])
@pytest.mark.parametrize("dilation", [1, (2, 3)])
def test_channels_side_by_side_share_a_kernel(channels: int, dilation: int) -> None:
    """One wide row of all channels, and what differs: kernels, bias, memory order."""
    x = np.ascontiguousarray(PICTURE[0, 0].reshape(1, 150, -1, channels)[:, :, :90]) if (
        PICTURE.size % (150 * channels) == 0
    ) else RNG.standard_normal((1, 150, 90, channels), np.float32)
    same = np.repeat(LOW[None, None, :7], channels, 0)
    other = same * np.arange(1, channels + 1, dtype=np.float32)[:, None, None, None]
    options = {
        "padding": (3, 8), "dilation": dilation, "groups": channels, "layout": "NHWC",
    }
    for w in (same, other):
        for bias in (None, np.arange(channels, dtype=np.float32)):
            wanted = fc.conv2d(x, w, bias, algorithm="direct", activation="relu", **options)
            found = fc.conv2d(x, w, bias, algorithm="separable", activation="relu", **options)
            assert near(found, wanted)


@pytest.mark.parametrize("backend", ["cython", "numba"])
@pytest.mark.parametrize("channels", [1, 3])
def test_groups_that_share_a_kernel(backend: str, channels: int) -> None:
    """Side by side they are one wide picture, unless a group has several input channels."""
    if reason := available(backend):
        pytest.skip(reason)
    w = np.tile(LOW, (5, channels, 1, 1))
    x = RNG.standard_normal((2, 30, 37, 5 * channels), dtype=np.float32)
    call = {"groups": 5, "padding": 5, "layout": "NHWC"}
    separable = fc.conv2d(x, w, algorithm="separable", backend=backend, **call)
    assert near(separable, fc.conv2d(x, w, precision="strict", **call))
