"""Every row, on every case that it accepts, against the reference in float64.

The kernels are called as the contract of ``fastconv.registry`` says, without the public
functions: what the rows promise is tested, not what dispatch asks of them today.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import harness
import numpy as np
import pytest
from cases import CASES, EPILOGUES, EXACT_INTEGERS, Case, tolerance

from fastconv.registry import NATIVE_FLOATS, ROWS, Kernel
from fastconv.spec import ACTIVATIONS, ActivationSpec, Conv2dSpec, Pool2dSpec

THREADS = 2


def _rows_and_cases(
    cases: tuple[Case, ...], dtypes: tuple[str, ...] = ("float32",), **spec: Any
) -> list[Any]:
    """Each with a dtype, if there are several."""
    return [
        pytest.param(row, case, *([dtype] if dtypes[1:] else []),
                     id="-".join([row.name, case.name, *([dtype] if dtypes[1:] else [])]))
        for row in ROWS
        for case in cases
        for dtype in dtypes
        if harness.serves(row, case.with_spec(**{"dtype": dtype, **spec}))
        and harness.affordable(row, case)
    ]


@pytest.mark.parametrize(("row", "case", "dtype"), _rows_and_cases(CASES, NATIVE_FLOATS))
def test_row_is_right(row: Kernel, case: Case, dtype: str) -> None:
    harness.kernel(row)
    for order in harness.orders(row):
        harness.check_row(row, case, dtype, order, THREADS)


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("bias", [False, True], ids=["no_bias", "bias"])
@pytest.mark.parametrize(("row", "case"), _rows_and_cases(EPILOGUES))
def test_epilogue(row: Kernel, case: Case, bias: bool, activation: str | None) -> None:
    harness.kernel(row)
    case = case.with_spec(bias=bias, activation=activation)
    for dtype in NATIVE_FLOATS:
        if harness.serves(row, case.with_spec(dtype=dtype)):
            for order in harness.orders(row)[:2]:
                harness.check_row(row, case, dtype, order, THREADS)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
@pytest.mark.parametrize(("row", "case"), _rows_and_cases(EXACT_INTEGERS, dtype="int32"))
def test_integers_are_exact(row: Kernel, case: Case, dtype: str) -> None:
    harness.kernel(row)
    for order in ("NCHW", "strided"):
        harness.check_row(row, case, dtype, order, THREADS)


# ---------------------------------------------------------------- activations, value by value

POINTS = np.concatenate([
    [0.0, -0.0, np.inf, -np.inf, np.nan, 3.0, -3.0, 6.0],
    [1e-40, -1e-40, 1e-30, -1e-30, 1e-8, -1e-8, 3e38, -3e38],
    np.linspace(-110, 110, 1201), np.linspace(-10, 10, 1201), np.geomspace(1e-12, 1, 200),
    -np.geomspace(1e-12, 1, 200),
]).astype(np.float32)


@pytest.mark.parametrize("dtype", NATIVE_FLOATS)
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(
    "row", [r for r in ROWS if r.op == "activation"], ids=lambda row: row.name
)
def test_activation_keeps_its_digits(row: Kernel, name: str, dtype: str) -> None:
    """Each value is right to a few units in its own last place, far tails included."""
    module = harness.kernel(row)
    x = POINTS.astype(dtype)
    out = np.full_like(x, np.nan)
    module.run(ActivationSpec(name, x.size, dtype), x, out, 1)
    right = _by_definition(name, POINTS.astype(np.longdouble))
    np.testing.assert_array_equal(np.isnan(out), np.isnan(right))
    real = np.isfinite(right)
    np.testing.assert_array_equal(out[~real], right[~real].astype(dtype))
    info = np.finfo(dtype)  # below the smallest normal number digits are lost by nature
    allowed = np.maximum(8 * info.eps * np.abs(right[real]), info.tiny)
    wrong = np.abs(out[real].astype(np.longdouble) - right[real]) > allowed
    assert not wrong.any(), (x[real][wrong][:5], out[real][wrong][:5], right[real][wrong][:5])


def _by_definition(name: str, x: Any) -> Any:
    with np.errstate(all="ignore"):
        sigmoid = np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x)))
        return {
            "relu": lambda: np.where(x > 0, x, np.where(np.isnan(x), x, 0)),
            "relu6": lambda: np.where(np.isnan(x), x, np.clip(x, 0, 6)),
            "leaky_relu": lambda: np.where(x > 0, x, x * np.longdouble(0.01)),
            "sigmoid": lambda: sigmoid,
            "tanh": lambda: np.tanh(x),
            "silu": lambda: x * sigmoid,
            "hardswish": lambda: x * np.clip(x + 3, 0, 6) / 6,
        }[name]()


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(
    "row", [r for r in ROWS if r.op == "activation"], ids=lambda row: row.name
)
def test_activation_in_place(row: Kernel, name: str) -> None:
    module = harness.kernel(row)
    for dtype in NATIVE_FLOATS:
        x = np.random.default_rng(1).standard_normal((3, 37)).astype(dtype)
        spec = ActivationSpec(name, x.size, dtype)
        apart, within = np.empty_like(x), x.copy()
        module.run(spec, x, apart, THREADS)
        module.run(spec, within, within, THREADS)
        assert harness.same_bits(apart, within)


@pytest.mark.parametrize("dtype", NATIVE_FLOATS)
@pytest.mark.parametrize(
    "row",
    [r for r in ROWS if r.op == "activation" and r.backend not in ("reference", "cuda")],  # slow
    ids=lambda row: row.name,
)
def test_activation_of_more_than_caches_hold(row: Kernel, dtype: str) -> None:
    """Such results may be written past them, between ends that fill no line."""
    module = harness.kernel(row)
    size = (17 << 20) // np.dtype(dtype).itemsize + 3
    x = np.resize(np.linspace(-1, 1, 1009, dtype=dtype), size)
    memory = np.full(size + 10, np.nan, dtype)
    for offset in (0, 5):
        out = memory[offset : offset + size]
        module.run(ActivationSpec("relu", size, dtype), x, out, 1)
        assert np.isnan(memory[:offset]).all()
        assert np.isnan(memory[offset + size :]).all()
        np.testing.assert_array_equal(out, np.maximum(x, 0))
        out[...] = np.nan


# ---------------------------------------------------------------- the rest of the contract

CONV_ROWS = [row for row in ROWS if row.op in ("conv2d", "conv2d_input_grad")]


@pytest.mark.parametrize("row", CONV_ROWS, ids=lambda row: row.name)
def test_packed_weights_serve_any_picture(row: Kernel) -> None:
    """Packing knows the weights only, so one packing serves every batch and size."""
    module = harness.kernel(row)
    for case in EPILOGUES:
        spec = case.spec
        assert isinstance(spec, Conv2dSpec)
        if not harness.serves(row, case):
            continue
        given = harness.data(case)
        x, w = given.x, given.w
        other = Conv2dSpec.of(
            (4, spec.IC, spec.IH + 9, spec.IW + 3), spec.w_shape, stride=(spec.SH, spec.SW),
            padding=((spec.PT, spec.PB), (spec.PL, spec.PR)), groups=spec.G, bias=True,
        )
        results = []
        for packing in (spec, other):
            packed = module.pack(packing, w, 1)
            for _ in range(2):  # a packing can be used again
                out = np.full(harness.out_shape(case), np.nan, np.float32)
                module.run(spec, x, packed, given.bias, out, 1)
                results.append(out)
        assert all(harness.same_bits(results[0], r) for r in results), case.name
        bound = tolerance(row, "float32", case)
        harness.check(results[0], harness.expected(case).out, bound, case.name)


@pytest.mark.parametrize(
    "row", [r for r in CONV_ROWS if r.backend != "reference"], ids=lambda row: row.name
)
def test_weights_for_a_single_call(row: Kernel) -> None:
    """Where packing is left to the call it changes no bit, for any number of threads and any
    order of the weights. Only a direct row of pixels may be added in another order than a plan's:
    its last ones are dot products of weights as they are, where a plan has panels."""
    module = harness.kernel(row)
    once = getattr(module, "once", module.pack)
    for case in (c for c in CASES if harness.serves(row, c) and harness.affordable(row, c)):
        spec, given = case.spec, harness.data(case)
        results = []
        for pack, threads, w in (
            (once, 1, given.w), (once, 2, given.w), (once, 1, np.asfortranarray(given.w)),
            (module.pack, 1, given.w),
        ):
            out = np.full(harness.out_shape(case), np.nan, np.float32)
            module.run(spec, given.x, pack(spec, w, threads), given.bias, out, threads)
            results.append(out)
        one_row = spec.OH == 1 or spec.KH * spec.KW == 1
        if row.name == "conv2d.direct@cython" and one_row:
            results.pop()
            bound = tolerance(row, "float32", case)
            harness.check(results[0], harness.expected(case).out, bound, case.name)
        assert all(harness.same_bits(results[0], r) for r in results), case.name


@pytest.mark.parametrize("terms", [31, 160], ids=["few terms", "many terms"])
@pytest.mark.parametrize("side", [256, 255], ids=["whole lines", "parts of lines"])
@pytest.mark.parametrize(
    "row", [r for r in CONV_ROWS if r.algorithm in ("direct", "im2col")
            and r.backend in ("cython", "numba")], ids=lambda row: row.name
)
def test_pixel_by_pixel_into_large_results(row: Kernel, side: int, terms: int) -> None:
    """Results that would fill the caches may be written past them."""
    shape = (1, terms, side, side)
    spec = replace(Conv2dSpec.of(shape, (67, terms, 1, 1)), activation="relu").kernel_spec
    rng = np.random.default_rng(terms)
    x, w, bias = (
        rng.standard_normal(s).astype("f4") for s in (shape, (67, terms, 1, 1), (67,))
    )
    expected = w.reshape(67, terms).astype("f8") @ x.reshape(terms, -1).astype("f8")
    expected = np.maximum(expected + bias[:, None], 0).reshape(1, 67, side, side)
    module = harness.kernel(row)
    results = []
    for threads in (1, 2, 3):
        memory = np.full(expected.size + 16, np.nan, np.float32)
        start = -memory.ctypes.data % 64 // 4  # where a line begins, as in results of our own
        out = memory[start : start + expected.size].reshape(expected.shape)
        assert out.nbytes > 16 << 20
        module.run(spec, x, module.pack(spec, w, threads), bias, out, threads)
        results.append(out)
    assert all(harness.same_bits(results[0], r) for r in results)
    harness.check(results[0], expected, 1e-6, row.name)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_workspace_is_a_count_of_bytes(row: Kernel) -> None:
    module = harness.kernel(row)
    for case in CASES:
        if harness.serves(row, case):
            for threads in (1, 2, 7):
                size = module.workspace_bytes(case.spec, threads)
                assert type(size) is int, (case.name, threads, size)
                assert size >= 0, (case.name, threads, size)


@pytest.mark.parametrize("row", [r for r in ROWS if r.op == "pool2d"], ids=lambda row: row.name)
def test_pool_windows_reach_every_cell(row: Kernel) -> None:
    """A single large value is found by exactly the windows that hold it, wherever it is."""
    module = harness.kernel(row)
    spec = Pool2dSpec.of("max", (1, 1, 5, 18), 3, stride=2, padding=1, return_indices=True)
    (h0, h1, _), (w0, w1, _) = spec.rows(), spec.columns()
    for h in range(spec.IH):
        for w in range(spec.IW):
            x = np.zeros((1, 1, 5, 18), np.float32)
            x[0, 0, h, w] = 9
            out, indices = np.empty(spec.out_shape, np.float32), np.empty(spec.out_shape, np.int64)
            module.run(spec, x, out, indices, 1)
            held = ((h0 <= h) & (h < h1))[:, None] & ((w0 <= w) & (w < w1))[None]
            np.testing.assert_array_equal(out[0, 0] == 9, held)
            np.testing.assert_array_equal(indices[0, 0] == h * spec.IW + w, held)
