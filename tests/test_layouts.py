"""Compiled convolutions between random memory orders: axes permuted, reversed, with gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import fastconv as fc
from fastconv.dispatch import available
from fastconv.registry import Kernel, rows

Array = npt.NDArray[Any]
GAP = 7.0
CALLS = 60
COMPILED = [row for row in rows("conv2d") if row.backend == "cython"]


def laid_out(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> tuple[Array, Array]:
    """An array somewhere within a larger one, and the larger one, filled with ``GAP``."""
    axes = rng.permutation(4) if rng.random() < 0.5 else np.arange(4)
    steps, gaps = rng.choice([1, 1, 1, 2], 4), rng.choice([0, 0, 0, 1, 2], 4)
    whole = np.full([(shape[a] + gaps[a]) * steps[a] for a in axes], GAP, dtype)
    part = whole.transpose(np.argsort(axes))
    part = part[tuple(slice(0, n * step, step) for n, step in zip(shape, steps, strict=True))]
    turned = tuple(slice(None, None, -1 if rng.random() < 0.25 else 1) for _ in range(4))
    return part[turned], whole


def geometry(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Shapes of x and w, and the other arguments."""
    groups = int(rng.choice([1, 1, 1, 2, 16]))
    ic, oc = (1, int(rng.integers(1, 3))) if groups == 16 else (
        int(rng.choice([1, 2, 3, 5, 17, 33])), int(rng.choice([1, 2, 3, 8, 17, 40]))
    )
    side, stride, dilation = (int(rng.choice(some)) for some in (
        [1, 2, 3, 3, 5, 7], [1, 1, 2, 3], [1, 1, 1, 2]
    ))
    kernel = (side, side if rng.random() < 0.8 else int(rng.choice([1, 3])))
    least = (side - 1) * dilation + 1
    height, width = least + int(rng.integers(30)), max(least, 3) + int(rng.integers(120))
    padding = tuple(tuple(map(int, rng.integers(0, 3, 2))) for _ in range(2))
    return (int(rng.integers(1, 4)), groups * ic, height, width), (groups * oc, ic, *kernel), {
        "stride": stride, "dilation": dilation, "groups": groups,
        "padding": padding if rng.random() < 0.6 else 0,
    }


@pytest.mark.parametrize("row", COMPILED, ids=lambda row: row.name)
def test_any_memory_order(row: Kernel) -> None:
    if reason := available(row.backend):
        pytest.skip(reason)
    rng = np.random.default_rng(31)
    served = 0
    for _ in range(40 * CALLS):
        x_shape, w_shape, arguments = geometry(rng)
        dtype = str(rng.choice(["float32", "float64"]))
        w = rng.standard_normal(w_shape).astype(dtype)
        if row.algorithm == "separable":
            w[...] = w[:, :, :1] * w[:, :, :, :1]
        x, _ = laid_out(rng, x_shape, dtype)
        x[...] = rng.standard_normal(x_shape)
        try:
            plain = fc.conv2d(x, w, backend="numpy", algorithm="im2col", **arguments)
            out, whole = laid_out(rng, plain.shape, dtype)
            fc.conv2d(x, w, backend=row.backend, algorithm=row.algorithm, precision="fast",
                      out=out, **arguments)
        except ValueError as refused:
            assert "no kernel can serve" in str(refused)  # noqa: PT017
            continue
        served += 1
        about = (x.shape, w.shape, arguments, x.strides, out.strides)
        atol = (2e-4 if dtype == "float32" else 1e-10) * np.abs(plain).max()
        np.testing.assert_allclose(out, plain, atol=atol, rtol=0, err_msg=str(about))
        out[...] = GAP
        assert (whole == GAP).all(), about
        if served == CALLS:
            break
    assert served >= CALLS // 2
