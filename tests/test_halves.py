"""float16 and bfloat16 to float32 and back, bit for bit as NumPy and ml_dtypes have it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import fastconv as fc
from fastconv import halves
from fastconv.spec import HALF, dtype_of

TIE = {"float16": 1 << 12, "bfloat16": 1 << 15}
"""Half a unit in the last place, in bits of float32."""

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in cast:RuntimeWarning")


def every(dtype: str) -> npt.NDArray[Any]:
    return np.arange(1 << 16, dtype=np.uint16).view(dtype_of(dtype))


def numbers(dtype: str) -> npt.NDArray[np.float32]:
    """Every number of the half type, its neighbours, the ties beside it, and random bits."""
    exact = every(dtype).astype(np.float32).view(np.uint32).astype(np.int64)
    near = [exact + step for step in (-1, 0, 1, *(TIE[dtype] + d for d in (-1, 0, 1)))]
    rng = np.random.default_rng(3)
    bits = np.concatenate([*near, rng.integers(0, 1 << 32, 200_000)])
    return bits.astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", HALF)
def test_widening_is_exact(dtype: str, threads: int) -> None:
    x = every(dtype)
    out = np.empty(x.size, np.float32)
    halves.widen(x, out, threads)
    expected = x.astype(np.float32)
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(out), nan)
    np.testing.assert_array_equal(out[~nan].view(np.uint32), expected[~nan].view(np.uint32))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", HALF)
def test_rounding_is_to_nearest_ties_to_even(dtype: str, threads: int) -> None:
    x = numbers(dtype)
    out = np.empty(x.size, dtype_of(dtype))
    halves.narrow(x, out, threads)
    nan = np.isnan(x)
    assert np.isnan(out[nan].astype(np.float32)).all()
    expected = x[~nan].astype(out.dtype)
    np.testing.assert_array_equal(out[~nan].view(np.uint16), expected.view(np.uint16))


@pytest.mark.parametrize("view", [
    lambda a: a, lambda a: a.transpose(0, 3, 1, 2), lambda a: a[:, ::2], lambda a: a[..., ::-1],
    lambda a: np.broadcast_to(a[:1], a.shape), lambda a: a.astype(a.dtype.newbyteorder()),
], ids=["dense", "NHWC", "gaps", "backwards", "broadcast", "byte order"])
def test_any_memory_order(view: Any) -> None:
    x = np.random.default_rng(5).standard_normal((3, 8, 9, 10)).astype(np.float16)
    x = view(x)
    wide = np.empty_like(x, np.float32)
    halves.widen(x, wide, 2)
    np.testing.assert_array_equal(wide, x.astype(np.float32))
    back = np.zeros_like(x)
    halves.narrow(wide, back, 2)
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize("dtype", HALF)
def test_a_call_rounds_once(dtype: str) -> None:
    rng = np.random.default_rng(7)
    x, w = (
        rng.standard_normal(shape).astype(dtype_of(dtype))
        for shape in ((2, 12, 24, 24), (8, 12, 3, 3))
    )
    single = fc.conv2d(x.astype(np.float32), w.astype(np.float32), padding=1)
    out = fc.conv2d(x, w, padding=1)
    np.testing.assert_array_equal(out.view(np.uint16), single.astype(out.dtype).view(np.uint16))
