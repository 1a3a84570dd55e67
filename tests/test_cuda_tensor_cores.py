"""Convolution on tensor cores without one: the compiled instructions lane by lane, the kernels in
numba's simulator (NUMBA_ENABLE_CUDASIM=1), and the errors that the rows state."""

from __future__ import annotations

import json
import threading
from functools import cache
from typing import Any

import numpy as np
import ptx
import pytest
from processes import python
from simulated import simulated

import fastconv as fc
from fastconv import device
from fastconv.backends.cuda import twins_tensor
from fastconv.backends.cuda.fragments import FORMATS, WarpTile
from fastconv.dispatch import available
from fastconv.registry import ROWS, too_inexact
from fastconv.spec import Conv2dSpec

ERROR = {"tf32x3": 1e-6, "tf32": 2e-3, "bfloat16": 4e-3, "float16": 6e-4, "bfloat16 apart": 4e-3,
         "float16 apart": 6e-4}
"""Of float32 factors that a format rounds."""


def warp_tile(format: str) -> WarpTile:
    """Two instructions down, across and along; rows of shared memory as the block's tile has."""
    return WarpTile(format, 32, 16, 2 * FORMATS[format].width, 40, 24)


COMPILE = """
    import json
    from numba import cuda, types
    from fastconv.backends.cuda.fragments import FORMATS, WarpTile
    from fastconv.backends.cuda.primitives import tensor_product, vector_of, vector_storer, zeros

    def compiled(tile):
        multiply, zero = tensor_product(tile), zeros(tile.count, "float32")
        take, store = vector_of(tile.count, 4, "float32"), vector_storer("float32", 4)
        count = tile.count

        def kernel(a, i, b, j, out):
            lane = cuda.threadIdx.x
            sums = multiply(zero(), a, i + (lane & 3) * {row} + (lane >> 2),
                            b, j + (lane & 3) * {column} + (lane >> 2), lane)
            for n in range(count // 4):
                store(out, lane * count + n * 4, take(sums, n))

        signature = types.void(*[types.int64] * 5)
        return cuda.compile(kernel, signature, device=False, abi="numba", cc=(8, 0))[0]

    print(json.dumps({{
        f: compiled(WarpTile(f, 32, 16, 2 * FORMATS[f].width, {row}, {column})) for f in FORMATS
    }}))
"""


@cache
def listings() -> dict[str, str]:
    """Format → the PTX of a warp's product."""
    tile = warp_tile("tf32")
    code = COMPILE.format(row=tile.row_step, column=tile.column_step)
    found: dict[str, str] = json.loads(python(code, NUMBA_ENABLE_CUDASIM="0").stdout)
    return found


def factors(tile: WarpTile, *, whole: bool) -> tuple[Any, Any, Any]:
    """Both factors (terms, rows) and (terms, columns), and shared memory with them in it."""
    rng = np.random.default_rng(5)
    shapes = (tile.depth, tile.rows), (tile.depth, tile.columns)
    a, b = (
        (rng.integers(-9, 10, s) if whole else rng.standard_normal(s)).astype(np.float32)
        for s in shapes
    )
    shared = np.full((2, tile.depth * tile.row_step), np.nan, np.float32)
    for place, values, step in ((0, a, tile.row_step), (1, b, tile.column_step)):
        rows = shared[place, : tile.depth * step].reshape(tile.depth, step)
        rows[:, : values.shape[1]] = values
    return a, b, shared


def matrix(tile: WarpTile, sums: Any) -> Any:
    """The sums of all lanes where :mod:`.tensor_tiles` says that they belong."""
    made = np.full((tile.rows, tile.columns), np.nan, np.float32)
    down = tile.rows // 16
    for lane in range(32):
        for n, value in enumerate(sums[lane]):
            vector, e = divmod(n, 2)
            q, r = divmod(vector, 2 * down)
            made[r // 2 * 16 + r % 2 * 8 + lane // 4, q * 8 + lane % 4 * 2 + e] = value
    return made


def by_ptx(tile: WarpTile, shared: Any) -> Any:
    out = np.full(32 * tile.count, np.nan, np.float32)
    second = 4 * shared.shape[1]
    ptx.run(listings()[tile.format], [0, 0, second, 0, 0], shared.ravel(), out)
    return out.reshape(32, tile.count)


def by_twin(tile: WarpTile, shared: Any) -> Any:
    multiply, sums = twins_tensor.tensor_product(tile), [None] * 32
    block = type("Block", (), {})()

    class Lane(threading.Thread):
        _manager = block

        def __init__(self, lane: int) -> None:
            super().__init__()
            self.lane = lane

        def run(self) -> None:
            a, b = shared[0].ctypes.data, shared[1].ctypes.data
            term, at = self.lane % 4, self.lane // 4
            sums[self.lane] = multiply(
                np.zeros(tile.count, np.float32), a, term * tile.row_step + at,
                b, term * tile.column_step + at, self.lane,
            )

    lanes = [Lane(lane) for lane in range(32)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    return np.array(sums)


needs_compiler = pytest.mark.skipif(
    "not installed" in str(available("cuda")), reason=str(available("cuda"))
)


@needs_compiler
@pytest.mark.parametrize("format", FORMATS)
def test_compiled_products_are_right_by_the_fragments_of_ptx(format: str) -> None:
    tile = warp_tile(format)
    a, b, shared = factors(tile, whole=True)
    np.testing.assert_array_equal(matrix(tile, by_ptx(tile, shared)), a.T @ b)
    a, b, shared = factors(tile, whole=False)
    right = a.astype(np.float64).T @ b
    error = matrix(tile, by_ptx(tile, shared)) - right
    assert np.sqrt(np.mean(error**2)) <= ERROR[format] * np.sqrt(np.mean(right**2))


@needs_compiler
@pytest.mark.parametrize("format", FORMATS)
def test_twins_compute_the_bits_of_the_instructions(format: str) -> None:
    tile = warp_tile(format)
    *_, shared = factors(tile, whole=False)
    np.testing.assert_array_equal(by_ptx(tile, shared), by_twin(tile, shared))


@pytest.mark.parametrize("format", FORMATS)
def test_lanes_add_up_to_the_product(format: str) -> None:
    tile = warp_tile(format)
    a, b, shared = factors(tile, whole=True)
    np.testing.assert_array_equal(matrix(tile, by_twin(tile, shared)), a.T @ b)


def test_numbers_are_rounded_to_tf32() -> None:
    step = 2.0**-10
    for value, wanted in (
        (1, 1), (1 + 0.49 * step, 1), (1 + 0.5 * step, 1 + step), (-1 - 0.7 * step, -1 - step),
        (2.0**127, 2.0**127), (np.inf, np.inf), (0, 0),
    ):
        assert twins_tensor.rounded_to_tf32(value) == np.float32(wanted)
    assert np.isnan(twins_tensor.rounded_to_tf32(np.nan))


def test_small_terms_are_cut_off_beside_large_ones() -> None:
    """As measured on Ampere: 24 bits behind the largest, then float32, towards zero."""
    zero, one = np.zeros(1, np.float32), np.ones((1, 8))
    terms = np.array([[1.0, 2.0**-24, 2.0**-25, 2.0**-25, 0, 0, 0, 0]])
    assert twins_tensor.added(zero, terms, one)[0] == 1  # each half is rounded
    terms[0, 4:6] = 2.0**-24
    assert twins_tensor.added(zero, terms, one)[0] == np.float32(1 + 2.0**-23)
    terms[0, 6:8] = 2.0**-25
    assert twins_tensor.added(zero, terms, one)[0] == np.float32(1 + 2.0**-23)
    assert twins_tensor.added(np.float32([-1]), -terms, one)[0] == -2
    with np.errstate(invalid="ignore"):
        assert np.isnan(twins_tensor.added(np.float32([np.inf]), -np.inf * one, one)[0])


# ---------------------------------------------------------------- the rows


@pytest.mark.parametrize("row", [r for r in ROWS if r.algorithm in ("tf32x3", "tf32", "bf16",
                                                                    "tensor", "winograd4")
                                 and r.backend == "cuda"], ids=lambda row: row.name)
def test_precision_admits_what_it_says(row: Any) -> None:
    assert too_inexact(row, "strict")
    assert too_inexact(row, "fast") is None
    assert bool(too_inexact(row, "default")) == (row.algorithm in ("tf32", "bf16"))


def _spec(dtype: str = "float32", oc: int = 8, ic: int = 4, k: int = 3) -> Conv2dSpec:
    return Conv2dSpec.of((1, ic, 9, 9), (oc, ic, k, k), dtype=dtype, precision="fast")


def test_what_a_format_does_not_hold_is_refused() -> None:
    by_name = {row.name: row for row in ROWS}
    takes = {"tf32x3": ("float32",), "tf32": ("float32",), "bf16": ("float32",),
             "tensor": ("float16", "bfloat16")}
    for algorithm, dtypes in takes.items():
        row = by_name[f"conv2d.{algorithm}@cuda"]
        for dtype in ("float16", "bfloat16", "float32", "float64", "int32"):
            reason = row.why_not(_spec(dtype))
            assert (reason is None) == (dtype in dtypes), (algorithm, dtype)
            assert reason is None or f"not {dtype}" in reason
        assert "7 output channels in a group" in row.why_not(_spec(dtypes[0], oc=7))
        assert "sums of 32805 products" in row.why_not(_spec(dtypes[0], ic=405, k=9))


@simulated
@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
def test_every_tensor_tile(order: str) -> None:
    """On more pixels and channels than it has: tiles of several warps, and ends of both."""
    from fastconv.backends.cuda import conv2d_direct, conv2d_tf32x3
    from fastconv.backends.cuda.tensor_tiles import tiles

    rng = np.random.default_rng(2)
    for tile in tiles("tf32x3")[1:]:  # the largest takes seconds, and has the warps of the next
        oc, width = tile.channels + 3, tile.pixels // 2 + 1
        shape = (1, 2, 2, width) if order == "NCHW" else (1, 2, width, 2)
        spec = Conv2dSpec.of(
            shape, (oc, 2, 1, 3), padding=(0, 1), layout=order, bias=True, activation="relu"
        )
        x, w, bias = (
            rng.standard_normal(s).astype(np.float32) for s in (spec.x_shape, spec.w_shape, (oc,))
        )
        out = np.full(spec.out_shape, np.nan, np.float32)
        if order == "NHWC":
            x, out = (
                np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
                for a in (x, out)
            )
        there = [device.borrowed(a) for a in (x, w, bias, out)]
        packed = conv2d_tf32x3.pack(spec, there[1], 1)
        conv2d_direct.launch(spec, there[0], packed, there[2], there[3], tile)
        wanted = fc.conv2d(x, w, bias, padding=(0, 1), activation="relu", backend="numpy")
        np.testing.assert_allclose(out, wanted, atol=1e-5)


@simulated
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_lose_nothing_but_the_last_rounding(dtype: str, layout: str) -> None:
    kind = getattr(pytest.importorskip("ml_dtypes"), dtype, None) or np.dtype(dtype)
    rng = np.random.default_rng(4)
    x = rng.standard_normal((1, 5, 6, 5) if layout == "NCHW" else (1, 6, 5, 5)).astype(kind)
    w, bias = rng.standard_normal((17, 5, 3, 3)).astype(kind), rng.standard_normal(17).astype(kind)
    options: dict[str, Any] = {"padding": 1, "stride": (1, 2), "dilation": (2, 1), "layout": layout}
    got = fc.conv2d(x, w, bias, algorithm="tensor", backend="cuda", **options)
    wide = [a.astype(np.float64) for a in (x, w, bias)]
    wanted = fc.conv2d(*wide, backend="reference", **options)
    assert got.dtype == kind
    np.testing.assert_allclose(
        got.astype(np.float64), wanted, rtol={"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype],
        atol=1e-5,
    )


@simulated
@pytest.mark.parametrize(
    ("algorithm", "least"), [("tf32x3", 1e-9), ("tf32", 1e-4), ("bf16", 1e-3)]
)
def test_long_sums_keep_to_the_stated_error(algorithm: str, least: float) -> None:
    """And the rounding to fewer digits is seen at all."""
    row = next(r for r in ROWS if r.name == f"conv2d.{algorithm}@cuda")
    rng = np.random.default_rng(6)
    x = np.abs(rng.standard_normal((1, 300, 1, 7)).astype(np.float32))
    w = rng.standard_normal((8, 300, 1, 1)).astype(np.float32)
    w[4:] = np.abs(w[4:])  # sums that only grow
    got = fc.conv2d(x, w, algorithm=algorithm, backend="cuda", precision="fast")
    right = np.einsum("nchw,oc->nohw", x.astype(np.float64), w[:, :, 0, 0])
    for some in (slice(4), slice(4, 8)):
        error = got[:, some] - right[:, some]
        rms = np.sqrt(np.mean(error**2) / np.mean(right[:, some] ** 2))
        assert rms <= row.bound(300)
        assert rms >= least or some.start  # errors of positive terms may cancel


@simulated
def test_a_plan_keeps_its_weights_for_tensor_cores() -> None:
    from numba import cuda

    rng = np.random.default_rng(7)
    x = rng.standard_normal((1, 4, 5, 5)).astype(np.float32)
    w = rng.standard_normal((9, 4, 3, 3)).astype(np.float32)
    on_card = cuda.to_device(w)
    plan = fc.plan_conv2d(on_card, algorithm="tf32x3")
    on_card.copy_to_device(np.zeros_like(w))  # the plan has its own
    got = plan(cuda.to_device(x)).copy_to_host()
    np.testing.assert_allclose(got, fc.conv2d(x, w, backend="numpy"), atol=1e-4)
    with pytest.raises(ValueError, match="precision='strict' admits only direct"):
        fc.conv2d(x, w, algorithm="tf32x3", backend="cuda", precision="strict")
