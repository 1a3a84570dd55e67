"""Winograd's convolution on the GPU, in numba's simulator: NUMBA_ENABLE_CUDASIM=1."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from simulated import simulated

import fastconv as fc
from fastconv.backends.cuda.linear import both_axes
from fastconv.backends.winograd import transforms
from fastconv.registry import ROWS, WINOGRAD
from fastconv.spec import Conv2dSpec

RNG = np.random.default_rng(8)


def conv(x: Any, w: Any, bias: Any = None, **options: Any) -> Any:
    return fc.conv2d(x, w, bias, algorithm="winograd4", backend="cuda", **options)


def check(shape: tuple[int, ...], w_shape: tuple[int, ...], **options: Any) -> None:
    """Beside NumPy, in the layout that the options name; shapes are those of NCHW."""
    x, w = (RNG.standard_normal(s).astype(np.float32) for s in (shape, w_shape))
    bias = RNG.standard_normal(w_shape[0]).astype(np.float32)
    if options.get("layout") == "NHWC":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    wanted = fc.conv2d(x, w, bias, backend="numpy", algorithm="im2col", **options)
    scale = float(np.abs(wanted).max())
    np.testing.assert_allclose(conv(x, w, bias, **options), wanted, atol=2e-5 * scale)


class Counting:
    """Plain arithmetic that counts."""

    def __init__(self) -> None:
        self.operations = 0

    def _do(self, operation: Any, *values: Any) -> Any:
        self.operations += 1
        return operation(*values)

    def add(self, a: Any, b: Any) -> Any:
        return self._do(operator.add, a, b)

    def subtract(self, a: Any, b: Any) -> Any:
        return self._do(operator.sub, a, b)

    def scale(self, a: Any, factor: float) -> Any:
        return self._do(operator.mul, a, factor)

    def accumulate(self, a: Any, factor: float, b: Any) -> Any:
        return self._do(lambda: a * factor + b)


@pytest.mark.parametrize(("m", "r"), [(m, r) for m in WINOGRAD for r in WINOGRAD[m]])
@pytest.mark.parametrize("name", ["BT", "AT", "G_mat"])
def test_matrices_are_applied_with_few_operations(m: int, r: int, name: str) -> None:
    matrix = getattr(transforms(m, r), name)
    patch = RNG.standard_normal((matrix.shape[1],) * 2)
    count = Counting()
    rows = tuple(tuple(float(v) for v in row) for row in matrix)
    got = np.reshape(both_axes(count, rows, list(patch.ravel())), (len(rows),) * 2)
    np.testing.assert_allclose(got, matrix @ patch @ matrix.T, atol=1e-11)
    assert count.operations <= np.count_nonzero(matrix) * sum(matrix.shape)
    if (m, r) == (4, 3):
        assert count.operations == {"BT": 180, "AT": 120, "G_mat": 99}[name]


def test_what_has_no_transform_is_refused() -> None:
    row = next(r for r in ROWS if r.name == "conv2d.winograd4@cuda")

    def reason(k: tuple[int, int], dtype: str = "float32", **options: Any) -> Any:
        return row.why_not(Conv2dSpec.of((1, 4, 30, 30), (4, 4, *k), dtype=dtype, **options))

    for k in (2, 3, 4, 5):
        assert reason((k, k), dilation=2) is None
    for dtype in ("float16", "bfloat16", "float64"):
        assert reason((3, 3), dtype) is None
    assert "have no stride" in reason((3, 3), stride=2)
    assert "square kernels" in reason((3, 2))
    assert "no transform to 4×4 outputs" in reason((7, 7))
    assert "int32 is not computed" in reason((3, 3), "int32")


@simulated
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_tiles_cut_by_every_edge(layout: str) -> None:
    check((1, 2, 6, 9), (3, 2, 3, 3), padding=((2, 0), (1, 2)), layout=layout)
    check((2, 2, 4, 4), (4, 2, 3, 3), padding=1, layout=layout, activation="tanh")  # whole vectors


@simulated
def test_groups_of_a_dilated_picture() -> None:
    check((1, 4, 6, 5), (6, 2, 3, 3), padding=2, dilation=(2, 3), groups=2)


@simulated
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_that_is_not_zeros(mode: str) -> None:
    check((1, 1, 4, 5), (2, 1, 3, 3), padding=2, padding_mode=mode)


@simulated
@pytest.mark.parametrize("k", [2, 4])
def test_even_kernels(k: int) -> None:
    check((1, 1, 6, 5), (2, 1, k, k), padding=1)


@simulated
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_tiles_that_go_together_are_some_of_all(layout: str, monkeypatch: Any) -> None:
    """The last ones are fewer, and fill no vector."""
    from fastconv.backends.cuda import winograd_calls

    monkeypatch.setattr(winograd_calls, "FEWEST_TILES", 4)
    monkeypatch.setattr(winograd_calls, "SCRATCH_BYTES", 1)
    shape, w_shape = (1, 1, 5, 11), (2, 1, 3, 3)
    in_order = shape if layout == "NCHW" else (1, 5, 11, 1)
    spec = Conv2dSpec.of(in_order, w_shape, padding=1, layout=layout)
    tiles = winograd_calls.tiling(spec, 4)
    assert (tiles.total, tiles.chunk) == (6, 4)
    assert winograd_calls.workspace_bytes(4, spec) == 36 * (1 + 4) * 4 * 4
    check(shape, w_shape, padding=1, layout=layout)


@simulated
def test_half_types_are_read_and_rounded_once() -> None:
    x, w = (RNG.standard_normal(s).astype(np.float16) for s in ((1, 2, 5, 4), (3, 2, 3, 3)))
    wanted = fc.conv2d(x.astype(np.float64), w.astype(np.float64), backend="reference")
    got = conv(x, w)
    assert got.dtype == np.float16
    np.testing.assert_allclose(got.astype(np.float64), wanted, rtol=2.0**-10, atol=1e-4)


@simulated
def test_a_plan_keeps_transformed_weights() -> None:
    from numba import cuda

    x, w = (RNG.standard_normal(s).astype(np.float32) for s in ((1, 2, 6, 6), (3, 2, 3, 3)))
    on_card = cuda.to_device(w)
    plan = fc.plan_conv2d(on_card, algorithm="winograd4", padding=1)
    on_card.copy_to_device(np.zeros_like(w))  # the plan has its own
    for picture in (x, x[:, :, :4]):  # one packing for pictures of any size
        got = plan(cuda.to_device(np.ascontiguousarray(picture))).copy_to_host()
        wanted = fc.conv2d(picture, w, padding=1, backend="numpy")
        np.testing.assert_allclose(got, wanted, atol=1e-4)
    with pytest.raises(ValueError, match="precision='strict' admits only direct"):
        conv(x, w, precision="strict")
