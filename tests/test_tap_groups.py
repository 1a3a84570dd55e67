"""Winograd's convolution by groups of taps: its weights, its limits, and when it is chosen."""

from __future__ import annotations

import harness
import numpy as np
import pytest

from fastconv import heuristics
from fastconv.backends.tap_groups import BOTH, DOWN, POINTS, TAPS, tap_groups_of, weights_at_points
from fastconv.backends.winograd import transforms
from fastconv.dispatch import available
from fastconv.registry import GROUPS_OF_TAPS, Kernel, rows, too_inexact
from fastconv.spec import Conv2dSpec

SQUARES = [row for row in rows("conv2d") if row.algorithm == "winograd2d"]


@pytest.mark.parametrize("axes", [DOWN, BOTH])
def test_weights_at_points_are_those_of_each_group(axes: int) -> None:
    spec = Conv2dSpec.of((1, 6, 30, 30), (4, 3, 9, 6), groups=2, dtype="float64")
    w = np.random.default_rng(1).standard_normal(spec.w_shape)
    found = weights_at_points(spec, axes, w)
    down, across = (3, 2) if axes == BOTH else (3, 6)
    assert found.shape == (2, POINTS**axes, 2, 3, down, across)
    matrix = transforms(TAPS, TAPS).G_mat
    taps = np.pad(w[3, 1], ((0, 3), (0, 2)))  # output channel 1 of group 1
    if axes == BOTH:
        wanted = matrix @ taps[4:8, 4:8] @ matrix.T
        np.testing.assert_allclose(found[1, :, 1, 1, 1, 1], wanted.ravel(), rtol=1e-13)
    else:
        np.testing.assert_allclose(found[1, :, 1, 1, 1, :], matrix @ w[3, 1, 4:8], rtol=1e-13)


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("axes", [DOWN, BOTH])
def test_bands_and_blocks_are_the_whole_picture(axes: int, threads: int) -> None:
    for height, width, k in ((1, 1, 1), (29, 257, 9), (1030, 1029, 31), (4000, 5, 3)):
        spec = Conv2dSpec.of((2, 3, height, width), (3, 1, k, k), padding=k // 2, groups=3)
        cut = tap_groups_of(spec, axes, 512, threads)
        assert (cut.bands - 1) * cut.tiles < cut.all_tiles <= cut.bands * cut.tiles
        assert (cut.blocks - 1) * cut.cols < cut.all_cols <= cut.blocks * cut.cols
        assert cut.all_tiles * 4 >= height
        assert cut.all_cols * cut.side >= width
        assert cut.tasks == 2 * 3 * cut.bands * cut.blocks


@pytest.mark.parametrize("row", SQUARES, ids=lambda row: row.name)
@pytest.mark.parametrize(("channels", "kh", "kw"), [
    (1, 52, 52), (1, 2, 676), (1, 676, 2), (4, 27, 21), (8, 20, 16),
])
def test_the_longest_sums_keep_to_the_stated_error(
    row: Kernel, channels: int, kh: int, kw: int
) -> None:
    if reason := available(row.backend):
        pytest.skip(reason)
    module = harness.kernel(row)
    spec = Conv2dSpec.of((1, channels, kh + 11, kw + 23), (1, channels, kh, kw))
    assert row.why_not(spec.kernel_spec) is None
    rng = np.random.default_rng(2)
    x = rng.standard_normal(spec.x_shape).astype(np.float32)
    w = rng.standard_normal(spec.w_shape).astype(np.float32)
    out = np.empty(spec.out_shape, np.float32)
    module.run(spec, x, module.pack(spec, w, 1), None, out, 1)
    windows = np.lib.stride_tricks.sliding_window_view(x[0].astype(np.float64), (kh, kw), (1, 2))
    truth = np.einsum("chwij,cij->hw", windows, w[0], optimize=True)
    rms = np.sqrt(np.mean((out[0, 0] - truth) ** 2) / np.mean(truth**2))
    assert rms <= row.bound(channels * kh * kw)


@pytest.mark.parametrize(("kernel", "why"), [
    ((1, 1, 53, 53), f"{GROUPS_OF_TAPS} are not"), ((1, 1, 1, 9), "several rows"),
    ((1, 1, 9, 1), "several rows"),
])
def test_what_would_be_inexact_is_refused(kernel: tuple[int, ...], why: str) -> None:
    spec = Conv2dSpec.of((1, kernel[1], 80, 80), kernel)
    for row in SQUARES:
        assert why in str(row.why_not(spec))
    for options in ({"stride": 2}, {"dilation": 2}):
        spec = Conv2dSpec.of((1, 1, 80, 80), (1, 1, 9, 9), **options)
        assert all("without a stride or a dilation" in str(row.why_not(spec)) for row in SQUARES)


@pytest.mark.parametrize("processor", heuristics.measured())
@pytest.mark.parametrize(("k", "wanted"), [
    (5, "planar"), (21, "winograd2d"), (31, "winograd2d"), (127, "fft"),
])
def test_pictures_get_it_for_large_kernels(k: int, wanted: str, processor: str) -> None:
    spec = Conv2dSpec.of((1, 1, 1024, 1024), (1, 1, k, k), padding=k // 2)
    able = [
        row for row in rows("conv2d") if row.backend in ("cython", "numpy")
        and row.why_not(row.sees(spec)) is None and too_inexact(row, "default") is None
    ]
    ranked = heuristics.rank(able, spec.kernel_spec, packed=True, processor=processor)
    assert ranked[0].algorithm == wanted
