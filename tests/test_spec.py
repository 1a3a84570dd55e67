"""Geometry against windows that are counted one by one."""

from __future__ import annotations

import dataclasses
from itertools import product
from typing import Any

import numpy as np
import pytest

from fastconv.spec import (
    ActivationSpec,
    Conv2dSpec,
    Pool2dSpec,
    UnpoolSpec,
    dtype_of,
    itemsize,
)

LENGTHS = range(1, 10)
KERNELS = range(1, 5)
STRIDES = range(1, 5)
DILATIONS = range(1, 4)
PADS = ((0, 0), (1, 1), (0, 2), (3, 1))


def conv(n: int, k: int, s: int, d: int, before: int, after: int) -> Conv2dSpec:
    """A convolution along the height only."""
    return Conv2dSpec.of(
        (1, 1, n, 1), (1, 1, k, 1), stride=(s, 1), dilation=(d, 1),
        padding=((before, after), (0, 0)),
    )


def window(start: int, k: int, d: int) -> list[int]:
    """The cells that a window meets, beside the picture too."""
    return [start + j * d for j in range(k)]


@pytest.mark.parametrize("pads", PADS)
def test_conv_counts_the_windows_that_fit(pads: tuple[int, int]) -> None:
    before, after = pads
    for n, k, s, d in product(LENGTHS, KERNELS, STRIDES, DILATIONS):
        starts = [
            start for start in range(-before, n + after, s)
            if max(window(start, k, d)) < n + after
        ]
        if starts:
            assert len(starts) == conv(n, k, s, d, before, after).OH, (n, k, s, d)
        else:
            with pytest.raises(ValueError, match="kernel is larger than the padded input"):
                conv(n, k, s, d, before, after)


@pytest.mark.parametrize("name", ["same", "same_lower"])
def test_same_is_the_least_padding_for_one_window_a_stride(name: str) -> None:
    for n, k, s, d in product(LENGTHS, KERNELS, STRIDES, DILATIONS):
        wanted = len(range(0, n, s))
        total = 0
        while sum(start + d * (k - 1) < n + total for start in range(0, n + total, s)) < wanted:
            total += 1
        spec = Conv2dSpec.of((1, 1, n, 1), (1, 1, k, 1), stride=(s, 1), dilation=(d, 1),
                             padding=name)
        assert (wanted, total) == (spec.OH, spec.PT + spec.PB), (n, k, s, d)
        odd_cell = spec.PB - spec.PT if name == "same" else spec.PT - spec.PB
        assert odd_cell == total % 2


def test_full_keeps_every_overlap() -> None:
    for n, k, d in product(LENGTHS, KERNELS, DILATIONS):
        overlaps = [
            start for start in range(-d * k, n + 1)
            if start + d * (k - 1) >= 0 and start < n
        ]
        spec = Conv2dSpec.of((1, 1, n, 1), (1, 1, k, 1), dilation=(d, 1), padding="full")
        assert (-overlaps[0], len(overlaps)) == (spec.PT, spec.OH), (n, k, d)


@pytest.mark.parametrize(
    ("padding", "resolved"),
    [
        (2, (2, 2, 2, 2)), ((1, 2), (1, 1, 2, 2)), ([1, 2], (1, 1, 2, 2)),
        (((1, 2), (3, 4)), (1, 2, 3, 4)), ([[1, 2], [3, 4]], (1, 2, 3, 4)),
        (np.int64(3), (3, 3, 3, 3)), ("valid", (0, 0, 0, 0)), ("full", (4, 4, 2, 2)),
        ("same", (1, 2, 0, 1)), ("same_lower", (2, 1, 1, 0)),
    ],
)
def test_every_form_of_padding(padding: Any, resolved: tuple[int, int, int, int]) -> None:
    spec = Conv2dSpec.of((1, 1, 8, 8), (1, 1, 3, 2), stride=2, dilation=2, padding=padding)
    assert resolved == (spec.PT, spec.PB, spec.PL, spec.PR)


# ---------------------------------------------------------------- transposed convolution


def test_transposed_size_is_the_inverse_of_the_forward_size() -> None:
    for n, k, s, d, p in product(range(1, 6), KERNELS, STRIDES, DILATIONS, range(2)):
        for extra in range(max(s, d)):
            if (n - 1) * s - 2 * p + d * (k - 1) + extra + 1 < 1:
                continue
            spec = Conv2dSpec.of_transpose(
                (1, 1, n, 1), (1, 1, k, 1), stride=(s, 1), dilation=(d, 1), padding=(p, 0),
                output_padding=(extra, 0),
            )
            cells = {start + j * d - p for start in range(0, n * s, s) for j in range(k)}
            assert max(cells) + 1 - p + extra == spec.IH
            assert (n, 1) == (spec.OH, spec.OC)
            if extra < s and spec.IH + 2 * p > d * (k - 1):
                assert n == conv(spec.IH, k, s, d, p, p).OH, (n, k, s, d, p, extra)


@pytest.mark.parametrize("name", ["same", "same_lower"])
def test_transposed_same_multiplies_the_size(name: str) -> None:
    for n, k, s, d in product(range(1, 6), KERNELS, STRIDES, DILATIONS):
        spec = Conv2dSpec.of_transpose(
            (1, 1, n, 1), (1, 1, k, 1), stride=(s, 1), dilation=(d, 1), padding=name
        )
        forward = Conv2dSpec.of(
            (1, 1, n * s, 1), (1, 1, k, 1), stride=(s, 1), dilation=(d, 1), padding=name
        )
        assert n * s == spec.IH
        assert (n, spec.PT, spec.PB) == (forward.OH, forward.PT, forward.PB)


# ---------------------------------------------------------------- pooling


def pool(n: int, k: int, s: int, d: int, before: int, after: int, **kwargs: Any) -> Pool2dSpec:
    """A pooling along the height only."""
    return Pool2dSpec.of(
        "avg", (1, 1, n, 1), (k, 1), stride=(s, 1), dilation=(d, 1),
        padding=((before, after), (0, 0)), **kwargs,
    )


def pooling_cases() -> list[tuple[int, int, int, int, int, int]]:
    return [
        (n, k, s, d, before, after)
        for n, k, s, d in product(LENGTHS, KERNELS, STRIDES, DILATIONS)
        for before, after in ((0, 0), (1, 1), (0, 1), (2, 1))
        if before + after <= d * (k - 1) + 1 <= n + before + after
        and max(before, after) <= d * (k - 1)
    ]


def test_ceil_mode_covers_the_padded_picture() -> None:
    """Windows go on until one reaches the padded end, but none starts in the padding after."""
    for n, k, s, d, before, after in pooling_cases():
        starts = [-before]
        while starts[-1] + d * (k - 1) + 1 < n + after:
            starts.append(starts[-1] + s)
        starts = [start for start in starts if start < n]
        ceil = pool(n, k, s, d, before, after, ceil_mode=True)
        assert len(starts) == ceil.OH, (n, k, s, d, before, after)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("include", [False, True])
def test_pool_windows_cell_by_cell(ceil_mode: bool, include: bool) -> None:
    for n, k, s, d, before, after in pooling_cases():
        spec = pool(n, k, s, d, before, after, ceil_mode=ceil_mode, count_include_pad=include)
        first, stop, count = spec.rows()
        for o in range(spec.OH):
            cells = window(o * s - before, k, d)
            inside = [c for c in cells if 0 <= c < n]
            assert list(range(first[o], stop[o], d)) == inside
            padded = [c for c in cells if c < n + after]
            assert count[o] == len(padded if include else inside), (n, k, s, d, before, after, o)


def test_adaptive_windows_cover_the_picture() -> None:
    for n, out in product(range(1, 14), range(1, 14)):
        first, stop, count = Pool2dSpec.of_adaptive("avg", (1, 1, n, 1), (out, 1)).rows()
        for i in range(out):
            # Cell c belongs to window i if their stretches of [0, n) overlap.
            cells = [c for c in range(n) if c * out < (i + 1) * n and (c + 1) * out > i * n]
            assert list(range(first[i], stop[i])) == cells
            assert count[i] == len(cells)


def test_adaptive_none_keeps_a_size() -> None:
    spec = Pool2dSpec.of_adaptive("max", (1, 2, 5, 7), (None, 3))
    assert spec.out_shape == (1, 2, 5, 3)
    assert Pool2dSpec.of_adaptive("max", (1, 2, 5, 7), None).out_shape == (1, 2, 5, 7)


def test_unpool_size() -> None:
    assert UnpoolSpec.of((1, 2, 4, 5), 2).out_shape == (1, 2, 8, 10)
    assert UnpoolSpec.of((1, 2, 4, 5), 3, stride=2, padding=1).out_shape == (1, 2, 7, 9)
    assert UnpoolSpec.of((1, 2, 4, 5), 2, output_size=(9, 11)).out_shape == (1, 2, 9, 11)
    with pytest.raises(ValueError, match="between 6 and 10"):
        UnpoolSpec.of((1, 2, 4, 5), 2, output_size=(10, 10))


# ---------------------------------------------------------------- specs as values


def test_layout_changes_the_order_of_the_shape_only() -> None:
    a = Conv2dSpec.of((2, 3, 8, 9), (4, 3, 3, 3))
    b = Conv2dSpec.of((2, 8, 9, 3), (4, 3, 3, 3), layout="NHWC")
    assert dataclasses.replace(b, layout="NCHW") == a
    assert a.x_shape == b.x_shape == (2, 3, 8, 9)
    assert a.out_shape == b.out_shape == (2, 4, 6, 7)
    assert a.w_shape == (4, 3, 3, 3)


def test_specs_are_frozen_and_hashable() -> None:
    specs = [
        Conv2dSpec.of((1, 1, 3, 3), (1, 1, 1, 1)), Pool2dSpec.of("max", (1, 1, 4, 4), 2),
        UnpoolSpec.of((1, 1, 2, 2), 2), ActivationSpec("relu", 4),
    ]
    assert len(set(specs)) == 4
    for spec in specs:
        assert spec == dataclasses.replace(spec)
        assert hash(spec) == hash(dataclasses.replace(spec))
        with pytest.raises(dataclasses.FrozenInstanceError):
            spec.dtype = "float64"  # type: ignore[misc]


def test_flops_and_bytes_count_what_is_there() -> None:
    spec = Conv2dSpec.of((2, 6, 8, 9), (4, 3, 3, 3), groups=2, stride=2, padding=1)
    outputs = 2 * 4 * 4 * 5
    assert spec.flops == 2 * outputs * 3 * 3 * 3
    assert spec.bytes == 4 * (2 * 6 * 8 * 9 + 4 * 3 * 3 * 3 + outputs)
    half = dataclasses.replace(spec, dtype="bfloat16")
    assert half.bytes * 2 == spec.bytes
    assert ActivationSpec("relu", 10, "float64").bytes == 160


@pytest.mark.parametrize(("dtype", "size"), [("bfloat16", 2), ("float16", 2), ("float64", 8)])
def test_dtypes_by_name(dtype: str, size: int) -> None:
    assert itemsize(dtype) == size
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    assert dtype_of(dtype).name == dtype


def test_kernel_spec_is_what_memory_holds() -> None:
    """Kernels never see half types, nor a padding mode: those are written out before."""
    half = Conv2dSpec.of((1, 1, 5, 5), (1, 1, 3, 3), dtype="float16")
    assert half.kernel_spec == dataclasses.replace(half, dtype="float32")
    mirrored = Conv2dSpec.of((1, 1, 5, 6), (1, 1, 3, 3), padding=((1, 2), (3, 0)),
                             padding_mode="reflect")
    seen = mirrored.kernel_spec
    assert (seen.IH, seen.IW, seen.PT, seen.PB, seen.PL, seen.PR) == (8, 9, 0, 0, 0, 0)
    assert (seen.OH, seen.OW, seen.padding_mode) == (mirrored.OH, mirrored.OW, "zeros")
    assert Conv2dSpec.of((1, 1, 5, 5), (1, 1, 3, 3), padding_mode="circular").padding_mode == (
        "zeros"  # nothing is padded, so the mode is no difference
    )


def test_specs_print_their_geometry() -> None:
    spec = Conv2dSpec.of((1, 4, 8, 9), (6, 2, 3, 3), stride=(2, 1), groups=2, dilation=2,
                         padding=((1, 2), (3, 4)))
    for part in ("1×4×8×9", "6×2×3×3", "stride (2,1)", "(1,2,3,4)", "dilation 2", "groups 2",
                 "float32", "NCHW"):
        assert part in str(spec)
    assert "window 2×2" in str(Pool2dSpec.of("max", (1, 1, 4, 4), 2))
    assert "3×3" in str(Pool2dSpec.of_adaptive("avg", (1, 1, 4, 4), 3))


# ---------------------------------------------------------------- what no kernel could do


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"groups": 2}, ValueError, r"groups=2 does not divide the 3 channels of x \(1, 3, 8, 9\)"),
        ({"w": (4, 2, 3, 3)}, ValueError, r"\(OC, 3, KH, KW\)"),
        ({"w": (4, 1, 3, 3), "groups": 3}, ValueError, "does not divide the 4 output channels"),
        ({"w": (0, 3, 3, 3)}, ValueError, "empty axis"),
        ({"w": (4, 3, 0, 3)}, ValueError, "empty axis"),
        ({"w": (4, 3, 3)}, ValueError, "4 axes"),
        ({"x": (3, 8, 9)}, ValueError, r"x\[None\]"),
        ({"x": (1, 3, 0, 9)}, ValueError, "empty picture"),
        ({"x": (1, 0, 8, 9)}, ValueError, "no channels"),
        ({"stride": 0}, ValueError, "stride must be at least 1"),
        ({"stride": (1, 2, 3)}, ValueError, "pair"),
        ({"dilation": 0}, ValueError, "dilation must be at least 1"),
        ({"padding": -1}, ValueError, "padding must be at least 0"),
        ({"padding": ((1, 1), 1)}, ValueError, "padding must be an int"),
        ({"padding": "some"}, ValueError, "valid, same, same_lower, full"),
        ({"padding": 1.5}, TypeError, "padding must be an integer; got float"),
        ({"stride": True}, TypeError, "not a boolean"),
        ({"layout": "CHWN"}, ValueError, "NCHW, NHWC"),
        ({"layout": None}, TypeError, "layout must be one of"),
        ({"padding_mode": "mirror"}, ValueError, "reflect"),
        ({"activation": "gelu"}, ValueError, "hardswish"),
        ({"precision": "exact"}, ValueError, "strict"),
        ({"padding": 9, "padding_mode": "reflect"}, ValueError, "'reflect' needs padding <"),
        ({"padding": 9, "padding_mode": "circular"}, ValueError, "'circular' needs padding ≤"),
    ],
)
def test_conv_errors_say_the_rule(changes: dict[str, Any], error: type, message: str) -> None:
    shapes = [changes.pop("x", (1, 3, 8, 9)), changes.pop("w", (4, 3, 3, 3))]
    with pytest.raises(error, match=message):
        Conv2dSpec.of(*shapes, **changes)
