"""Runs rows through the kernel contract and judges what they return."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from buffers import CONTIGUOUS, ORDERS, Array, place_input, place_output
from cases import MAX_TO_RMS, Case, products, tolerance

from fastconv import device
from fastconv.dispatch import absent
from fastconv.registry import Kernel, rows
from fastconv.spec import ActivationSpec, Conv2dSpec, ConvPool2dSpec, Pool2dSpec, UnpoolSpec

# ---------------------------------------------------------------- rows


def kernel(row: Kernel) -> ModuleType:
    """The row's module; a skip, with the reason, where its backend, or what it needs, is absent."""
    if reason := absent(row):
        pytest.skip(reason)
    return import_module(row.module)


def judge(op: str) -> Kernel:
    """The row that defines what is right."""
    return next(row for row in rows(op) if row.backend == "reference")


def serves(row: Kernel, case: Case) -> bool:
    """Whether the row promises this case: only direct sums keep a NaN where it belongs.

    The phases of an input gradient are padded, and padded zeros take part in a sum: there an
    infinite weight makes a NaN that the definition does not have, as their docstring says.
    """
    if row.op != case.op or row.why_not(case.spec.kernel_spec) is not None:
        return False
    if case.fill == "inf_weights" and row.algorithm == "phases":
        return False
    return case.finite or row.direct_sum


SIMULATED_WORK, SIMULATED_BLOCKS = 6_000, 3
"""Products of a case that numba's simulator of a GPU computes in a test, at some ten microseconds
each, and blocks of the smallest tile, at some fifty milliseconds."""
SIMULATED_SHARE = {"conv2d": 4, "pool2d": 6, "activation": 5}
"""Of the cases left one in so many: those that cross tiles have tests of their own."""
_WARPS = ("1x1_s2", "oc9", "ic33", "ow17", "pixels33", "3x3_overlapping")
SIMULATED_SLOWLY = {
    "winograd4": ("tiles5", "tiles_dilated_far", "group_of3", "rank1_5", "5x5_avg"),
    **dict.fromkeys(("tf32x3", "tf32", "bf16", "tensor"), _WARPS),
}
"""The cases of algorithms that make dozens of products, or whose lanes wait for one another."""


def affordable(row: Kernel, case: Case) -> bool:
    """Whether a test can wait for it: all that do not run in numba's simulator."""
    if row.backend != "cuda" or not device.SIMULATED:
        return True
    if row.algorithm in SIMULATED_SLOWLY:
        return case.name in SIMULATED_SLOWLY[row.algorithm]
    n, channels, *picture = (*out_shape(case), 1, 1)[:4]
    blocks = 1
    if row.algorithm in ("direct", "im2col", "phases") and isinstance(
        case.spec, (Conv2dSpec, ConvPool2dSpec)
    ):
        groups = getattr(case.spec, "conv", case.spec).G
        pixels = n * int(np.prod(picture))
        blocks = groups * -(-(channels // groups) // 32) * -(-pixels // 32)
    work = int(np.prod(out_shape(case))) * products(case)
    share = SIMULATED_SHARE.get(row.op, 1)
    chosen = case.fill != "normal" or zlib.crc32(case.name.encode()) % share == 0
    return blocks <= SIMULATED_BLOCKS and work <= SIMULATED_WORK and chosen


def orders(row: Kernel) -> tuple[str, ...]:
    """The memory orders that the row takes."""
    return ORDERS if "strided" in row.layouts else tuple(o for o in CONTIGUOUS if o in row.layouts)


# ---------------------------------------------------------------- data


@dataclass(frozen=True)
class Data:
    """What a kernel reads; float32 values, so that every float dtype holds them exactly."""

    x: Array
    w: Array | None = None
    bias: Array | None = None
    indices: Array | None = None


@cache
def data(case: Case) -> Data:
    """The case's inputs: the same in every run."""
    rng = np.random.default_rng(zlib.crc32(f"{case.op} {case.name}".encode()))
    spec = case.spec
    x = _values(rng, in_shape(case), case)
    if isinstance(spec, (Conv2dSpec, ConvPool2dSpec)):
        fan = products(case)
        if case.op == "conv2d_input_grad":
            fan /= spec.SH * spec.SW
        w = rng.standard_normal(spec.w_shape).astype(np.float32) / np.float32(fan**0.5)
        if isinstance(spec, Conv2dSpec) and spec.rank:
            w = _of_rank(rng, spec)
        if case.fill == "inf_weights":
            _sprinkle(rng, w, (np.inf, -np.inf))
        bias = rng.standard_normal(out_shape(case)[1]).astype(np.float32)
        return Data(x, w, bias if spec.bias else None)
    if isinstance(spec, UnpoolSpec):
        cells = [rng.permutation(spec.OH * spec.OW)[: spec.IH * spec.IW] for _ in
                 range(spec.N * spec.C)]
        return Data(x, indices=np.array(cells, np.int64).reshape(spec.x_shape))
    return Data(x)


def _of_rank(rng: np.random.Generator, spec: Conv2dSpec) -> Array:
    """Kernels of exactly that rank in every dtype: products of small integers."""
    columns = rng.integers(-9, 10, (*spec.w_shape[:2], spec.KH, spec.rank))
    rows = rng.integers(-9, 10, (*spec.w_shape[:2], spec.rank, spec.KW))
    products = (columns @ rows).astype(np.float32)
    return products * np.float32(2.0 ** -round(np.log2(30 * (products[0].size * spec.rank) ** 0.5)))


def _values(rng: np.random.Generator, shape: tuple[int, ...], case: Case) -> Array:
    base = tuple(1 if a in case.same_along else n for a, n in enumerate(shape))
    if case.fill == "ties":
        x = rng.integers(-3, 4, base).astype(np.float32)
    else:
        x = np.asarray(rng.standard_normal(base), np.float32)
    if case.fill == "positive":
        x = np.asarray(rng.random(base), np.float32)
    elif case.fill == "wide":
        x = x * np.float32(10) ** np.asarray(rng.uniform(-3, 1.2, base), np.float32)
    elif case.fill == "nan":
        _sprinkle(rng, x, (np.nan,))
    elif case.fill == "inf":
        _sprinkle(rng, x, (np.inf, -np.inf))
    elif case.fill == "lowest":
        x = np.where(np.asarray(rng.random(base)) < 0.9, np.float32(-np.inf), x)
    return np.broadcast_to(x, shape)


def _sprinkle(rng: np.random.Generator, a: Array, values: tuple[float, ...]) -> None:
    """Put each value into about one cell of sixty, and into one at least."""
    flat = a.reshape(-1)
    for value in values:
        flat[rng.integers(0, a.size, max(1, a.size // 60))] = value


def in_shape(case: Case) -> tuple[int, ...]:
    """Shape of the kernel's first array."""
    if isinstance(case.spec, ActivationSpec):
        return case.shape
    return case.spec.out_shape if case.op == "conv2d_input_grad" else case.spec.x_shape


def out_shape(case: Case) -> tuple[int, ...]:
    """Shape of the kernel's result."""
    if isinstance(case.spec, ActivationSpec):
        return case.shape
    return case.spec.x_shape if case.op == "conv2d_input_grad" else case.spec.out_shape


# ---------------------------------------------------------------- running


@dataclass(frozen=True)
class Result:
    """What a kernel wrote."""

    out: Array
    indices: Array | None = None


@cache
def expected(case: Case, dtype: str = "float64") -> Result:
    """What the reference gives, on contiguous copies."""
    row = judge(case.op)
    case = case.with_spec(dtype=dtype)
    given = data(case)
    out = np.empty(out_shape(case), dtype)
    result = Result(out, np.empty(out.shape, np.int64) if wants_indices(case) else None)
    call(import_module(row.module), case, _cast(given, dtype), result, 1)
    return result


def _itself(a: Array) -> Any:
    return a


def run(row: Kernel, case: Case, dtype: str, order: str = "NCHW", threads: int = 1) -> Result:
    """Call the row on poisoned memory; fail if it touches what it must not."""
    module = kernel(row)
    place = device.borrowed if row.backend == "cuda" and device.SIMULATED else _itself
    layout = "NHWC" if order.startswith("NHWC") else "NCHW"
    case = case.with_spec(dtype=dtype)
    if not isinstance(case.spec, ActivationSpec):
        case = case.with_spec(layout=layout)
    given = _cast(data(case), dtype)
    x = place_input(given.x, order, case.same_along if order == "strided" else ())
    w = place_input(given.w, order) if given.w is not None else None
    bias = place_input(given.bias, "NCHW") if given.bias is not None else None
    indices = place_input(given.indices, order) if given.indices is not None else None
    out = place_output(out_shape(case), dtype, order)
    where = place_output(out_shape(case), np.int64, order) if wants_indices(case) else None

    inputs = {"x": x, "w": w, "bias": bias, "indices": indices}
    memory_before = {name: p.memory.tobytes() for name, p in inputs.items() if p}
    guards_before = [p.surroundings() for p in (out, where) if p]
    placed = Data(*(place(p.array) if p else None for p in (x, w, bias, indices)))
    call(module, case, placed, Result(*(place(p.array) if p else None for p in (out, where))),
         threads)

    for name, before in memory_before.items():
        same = inputs[name].memory.tobytes() == before
        assert same, f"{name} or its surroundings were written ({order})"
    for name, before, p in zip(("out", "indices"), guards_before, (out, where), strict=False):
        assert p.surroundings() == before, f"bytes beside {name} were written ({order})"
    return Result(out.array, where and where.array)


def call(
    module: ModuleType, case: Case, given: Data, result: Result, threads: int,
) -> None:
    """Pack and run as the contract says."""
    spec = case.spec
    if isinstance(spec, (Conv2dSpec, ConvPool2dSpec)):
        packed = module.pack(spec, given.w, threads)
        module.run(spec, given.x, packed, given.bias, result.out, threads)
    elif isinstance(spec, Pool2dSpec):
        module.run(spec, given.x, result.out, result.indices, threads)
    elif isinstance(spec, UnpoolSpec):
        module.run(spec, given.x, given.indices, result.out, threads)
    else:
        module.run(spec, given.x, result.out, threads)


def _cast(given: Data, dtype: str) -> Data:
    def cast(a: Array | None) -> Array | None:
        return None if a is None else a.astype(dtype)

    x = given.x if np.dtype(dtype).kind == "f" else np.round(given.x)
    if np.dtype(dtype).kind == "u":
        x = np.abs(x)
    x = x.astype(dtype)
    return Data(x, cast(given.w), cast(given.bias), given.indices)


def wants_indices(case: Case) -> bool:
    """Whether the kernel also says where each maximum was."""
    return isinstance(case.spec, Pool2dSpec) and case.spec.return_indices


# ---------------------------------------------------------------- judging


def check(actual: Array, wanted: Array, bound: float, context: object = "") -> None:
    """``actual`` has the judge's infinities and NaN in place, and its numbers within ``bound``.

    ``bound`` is on the root-mean-square error, relative to that of the result (or to 1, the
    size that the data are made to have); the worst cell may be ``MAX_TO_RMS`` times as bad,
    relative to the largest.
    """
    assert actual.shape == wanted.shape
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(actual[~finite], wanted[~finite], f"not finite: {context}")
    assert np.isfinite(actual[finite]).all(), f"NaN or infinity where a number belongs: {context}"
    if not finite.any():
        return
    right = wanted[finite].astype(np.float64)
    error = np.abs(actual[finite].astype(np.float64) - right)
    scale = max(1.0, float(np.sqrt(np.mean(right**2))))
    rms = float(np.sqrt(np.mean(error**2))) / scale
    worst = float(error.max()) / max(scale, float(np.abs(right).max()))
    assert rms <= bound, f"rms error {rms:.2e} exceeds {bound:.2e}: {context}"
    assert worst <= MAX_TO_RMS * bound, f"worst error {worst:.2e}, bound {bound:.2e}: {context}"


def check_row(row: Kernel, case: Case, dtype: str, order: str, threads: int = 1) -> None:
    """Run the row and compare it with the judge."""
    got = run(row, case, dtype, order, threads)
    context = f"{row.name} {case.name} {dtype} {order} threads={threads}"
    if np.dtype(dtype).kind == "f":
        wanted = expected(case)
        check(got.out, wanted.out, tolerance(row, dtype, case), context)
    else:
        wanted = expected(case, dtype)
        np.testing.assert_array_equal(got.out, wanted.out, context)
    if wanted.indices is not None:
        np.testing.assert_array_equal(got.indices, wanted.indices, f"indices: {context}")


def same_bits(a: Any, b: Any) -> bool:
    """Whether two arrays hold the same bytes, NaN included."""
    return np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()
