"""The FFT row of the GPU wing in numba's simulator, on a stand-in for CuPy.

CuPy computes on a card only. What is held here is the row itself: what it cuts, what it asks CuPy
for, where it reads and writes. ``cupy_stand_in.py`` says what that leaves unproven.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cupy_stand_in
import harness
import numpy as np
import pytest
from cases import CASES, Case
from processes import python
from simulated import simulated

import fastconv as fc
from fastconv import device, dispatch, warm
from fastconv.backends import fft_plan
from fastconv.registry import rows
from fastconv.spec import Conv2dSpec

RNG = np.random.default_rng(11)
ROW, POOLED = (
    next(row for row in rows(op) if row.name == f"{op}.fft@cuda")
    for op in ("conv2d", "conv2d_pool2d")
)
NAMES = (
    "one_cell", "whole_picture", "3x3", "7x7_s2", "3x3_s2x1", "stride_over_kernel", "even_4x6_same",
    "asymmetric_pads", "padding_over_kernel", "dilation2", "dilation3x2_s2", "groups4_s2",
    "depthwise_multiplier", "picture_21x21", "tiles_of_pictures",
)


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """The stand-in instead of CuPy; the devices and streams that it was told to work on."""
    yield cupy_stand_in.install(monkeypatch)
    dispatch.lacking.cache_clear()
    dispatch.choose_anew()


def case(name: str) -> Case:
    return next(c for c in CASES if c.op == "conv2d" and c.name == name)


@simulated
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_row_is_right(entered: Any, name: str, dtype: str) -> None:
    assert harness.serves(ROW, case(name).with_spec(dtype=dtype))
    for order in harness.orders(ROW):
        harness.check_row(ROW, case(name), dtype, order)
    assert entered


@simulated
def test_pooled_row_is_right(entered: Any) -> None:
    served = [c for c in CASES if harness.serves(POOLED, c)]
    for pooled in served[::9]:
        harness.check_row(POOLED, pooled, "float32", "NCHW")
    assert len(served) > 9


@simulated
@pytest.mark.parametrize("padding_mode", ["circular", "reflect", "replicate"])
@pytest.mark.parametrize("options", [
    {}, {"stride": (2, 3)}, {"dilation": 2, "groups": 2}, {"activation": "silu"},
], ids=str)
def test_paddings(entered: Any, padding_mode: str, options: dict[str, Any]) -> None:
    x = RNG.standard_normal((3, 4, 9, 12))
    w = RNG.standard_normal((6, 4 // options.get("groups", 1), 3, 5))
    options = {**options, "padding": ((1, 4), (3, 2)), "padding_mode": padding_mode}
    bias = RNG.standard_normal(6)
    got = fc.conv2d(x, w, bias, algorithm="fft", backend="cuda", **options)
    np.testing.assert_allclose(got, fc.conv2d(x, w, bias, backend="reference", **options),
                               atol=1e-12)


@simulated
@pytest.mark.parametrize("options", [
    {}, {"stride": 2}, {"dilation": 3}, {"groups": 4}, {"padding_mode": "circular"},
], ids=str)
def test_many_tiles_and_blocks(
    entered: Any, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """Several tiles along each axis, several batches of them, and several blocks of channels."""
    from fastconv.backends.cuda import conv2d_fft

    small = replace(fft_plan.CARD, scratch=60_000, cache=20_000, batch=20_000, kept=1000,
                    run_seconds=0.0)
    monkeypatch.setattr(conv2d_fft, "CARD", small)
    x = RNG.standard_normal((2, 8, 45, 52))
    w = RNG.standard_normal((12, 8 // options.get("groups", 1), 5, 4))
    options = {**options, "padding": 2}
    spec = Conv2dSpec.of(x.shape, w.shape, dtype="float64", **options)
    plan = fft_plan.plan_for(spec, small)
    assert plan.rows.count * plan.columns.count >= 4 or plan.rows.periodic
    assert plan.tiles < 2 * plan.rows.count * plan.columns.count
    assert (plan.groups, plan.outputs, plan.inputs) != (spec.G, 12 // spec.G, 8 // spec.G)
    out = np.full(spec.out_shape, np.nan)
    there = [device.borrowed(a) for a in (x, w, out)]
    packed = conv2d_fft.pack(spec, there[1], 1)
    conv2d_fft.run(spec, there[0], packed, None, there[2], 1)
    wanted = fc.conv2d(x, w, backend="numpy", algorithm="im2col", **options)
    np.testing.assert_allclose(out, wanted, atol=1e-12)


@simulated
@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "silu"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_are_widened_and_rounded_once(
    entered: Any, dtype: str, activation: str | None
) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kind = getattr(ml_dtypes, dtype, None) or np.dtype(dtype)
    x, w, bias = (
        RNG.standard_normal(n).astype(np.float32).astype(kind)
        for n in ((2, 3, 9, 11), (4, 3, 5, 5), (4,))
    )
    got = fc.conv2d(x, w, bias, padding=2, activation=activation, algorithm="fft", backend="cuda")
    assert got.dtype == kind
    right = fc.conv2d(*(a.astype(np.float64) for a in (x, w, bias)), padding=2,
                      activation=activation, backend="numpy")
    half_a_place = np.abs(right) * {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    assert (np.abs(got.astype(np.float64) - right) <= half_a_place + 4e-5).all()


@simulated
def test_activations_and_bias(entered: Any) -> None:
    for epilogue in ({"bias": False}, {"activation": "tanh"}, {"activation": "leaky_relu"}):
        for order in ("NCHW", "NHWC", "strided"):
            harness.check_row(ROW, case("groups2").with_spec(**epilogue), "float32", order)


@simulated
def test_work_is_done_on_the_stream_of_the_call(entered: Any) -> None:
    """Spectra are made once for each stream: nobody has said that another may read them."""
    x, w = (RNG.standard_normal(n).astype(np.float32) for n in ((1, 2, 9, 9), (3, 2, 5, 5)))
    from fastconv.backends.cuda import conv2d_fft

    spec = Conv2dSpec.of(x.shape, w.shape)
    out = np.empty(spec.out_shape, np.float32)
    there = [device.borrowed(a) for a in (x, w, out)]
    packed = conv2d_fft.pack(spec, there[1], 1)
    assert entered == [(0, 0)]
    for stream, places, kept in ((None, (0, 0), 1), (1, (0, 0), 2), (7, (0, 7), 3), (2, (0, 2), 4),
                                 (7, (0, 7), 4)):
        on = [replace(a, stream=stream) for a in there]
        conv2d_fft.run(spec, on[0], packed, None, on[2], 1)
        assert entered[-1] == places
        assert len(packed._kept) == kept
        np.testing.assert_allclose(out, fc.conv2d(x, w, backend="numpy"), atol=1e-5)


@simulated
def test_a_plan_keeps_its_spectra(entered: Any) -> None:
    w = RNG.standard_normal((3, 2, 9, 9))
    plan = fc.plan_conv2d(w, algorithm="fft", backend="cuda")
    for shape in ((2, 2, 30, 31), (1, 2, 12, 10), (2, 2, 30, 31)):
        x = RNG.standard_normal(shape)
        np.testing.assert_allclose(plan(x), fc.conv2d(x, w, backend="numpy"), atol=1e-12)
    assert plan.workspace_bytes > 0


@simulated
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_arrays_of_a_gpu_in_and_out(entered: Any, layout: str) -> None:
    from numba import cuda

    x, w, bias = (RNG.standard_normal(n).astype(np.float32) for n in (
        (2, 9, 8, 7) if layout == "NHWC" else (2, 7, 9, 8), (4, 7, 5, 5), (4,)))
    there, options = [cuda.to_device(a) for a in (x, w, bias)], {"layout": layout, "padding": 2}
    wanted = fc.conv2d(x, w, bias, backend="numpy", algorithm="im2col", **options)
    got = fc.conv2d(*there, algorithm="fft", **options)
    np.testing.assert_allclose(got.copy_to_host(), wanted, atol=3e-5)
    plan = fc.plan_conv2d(*there[1:], algorithm="fft", **options)
    for _ in range(3):
        out = cuda.to_device(np.full_like(wanted, np.nan))
        assert plan(there[0], out=out) is out
        np.testing.assert_allclose(out.copy_to_host(), wanted, atol=3e-5)


@simulated
def test_it_is_taken_for_large_kernels_only(entered: Any) -> None:
    for side, taken in ((3, False), (7, False), (11, True), (31, True)):
        told = fc.explain("conv2d", (32, 64, 56, 56), (64, 64, side, side), padding=side // 2,
                          backend="cuda")
        assert (told.algorithm == "fft") == taken, side


# ---------------------------------------------------------------- without CuPy


@simulated
def test_without_cupy_the_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    dispatch.lacking.cache_clear()
    dispatch.choose_anew()
    try:
        x, w = np.ones((1, 2, 9, 9), np.float32), np.ones((3, 2, 5, 5), np.float32)
        with pytest.raises(ValueError, match="CuPy is not installed; pip install cupy-cuda13x"):
            fc.conv2d(x, w, algorithm="fft", backend="cuda")
        told = fc.explain("conv2d", (32, 64, 56, 56), (64, 64, 11, 11), padding=5, backend="cuda")
        assert "pip install cupy" in told.rejected["conv2d.fft@cuda"]
        assert told.backend == "cuda"  # with another row
        warmed: list[str] = []
        monkeypatch.setattr(warm, "_calls", lambda row, dtype: warmed.append(row.name) or ())
        fc.warmup("cuda")
        assert "conv2d.direct@cuda" in warmed
        assert "conv2d.fft@cuda" not in warmed
    finally:
        dispatch.lacking.cache_clear()
        dispatch.choose_anew()


def test_nobody_imports_cupy_for_the_host(tmp_path: Any) -> None:
    (tmp_path / "cupy.py").write_text("raise RuntimeError('imported')")
    done = python(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import numpy as np, fastconv as fc
        fc.conv2d(np.ones((1, 2, 9, 9), "f4"), np.ones((3, 2, 5, 5), "f4"))
        fc.explain("conv2d", (1, 2, 9, 9), (3, 2, 5, 5))
        fc.backends()
        print([m for m in sys.modules if m.startswith("cupy")])
    """)
    assert done.stdout.strip() == "[]"
