"""The FFT row's own promises: periodic pictures, spectra that are kept, cuts that fit the case."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import fastconv as fc
from fastconv.backends import fft_convolution
from fastconv.backends.fft_plan import CARD, HOST, plan_for
from fastconv.backends.numpy import conv2d_fft
from fastconv.spec import Conv2dSpec

RNG = np.random.default_rng(3)

pytestmark = pytest.mark.usefixtures("free_choice")


@pytest.mark.parametrize("shape", [(2, 4, 9, 12), (1, 2, 70, 33)])
@pytest.mark.parametrize("k", [1, 3, 12])
def test_a_circular_picture_is_its_own_period(shape: tuple[int, ...], k: int) -> None:
    """Strides that divide the picture and others, kernels wider than it, results longer."""
    x = RNG.standard_normal(shape)
    served = 0
    for padding, stride, dilation, groups in product(
        (2, (3, 0), ((9, 9), (0, 7))), (1, 2, 3), (1, 2, 3), (1, 2)
    ):
        w = RNG.standard_normal((4, shape[1] // groups, k, min(k, 5)))
        geometry = {
            "padding": padding, "stride": stride, "dilation": dilation, "groups": groups,
            "padding_mode": "circular",
        }
        try:
            wanted = fc.conv2d(x, w, algorithm="im2col", backend="numpy", **geometry)
        except ValueError:  # dilated, the kernel is larger than the padded picture
            continue
        served += 1
        np.testing.assert_allclose(fc.conv2d(x, w, algorithm="fft", **geometry), wanted, atol=1e-11)
    assert served >= 18


def test_a_circular_picture_is_not_written_out() -> None:
    spec = Conv2dSpec.of((1, 1, 64, 60), (1, 1, 64, 60), padding=(32, 30), padding_mode="circular")
    assert plan_for(spec).shape == (64, 60)
    told = fc.explain("conv2d", spec.x_shape, spec.w_shape, padding=(32, 30),
                      padding_mode="circular", algorithm="fft")
    assert not told.copies


def test_spectra_are_made_once_for_a_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make = fft_convolution._made
    monkeypatch.setattr(fft_convolution, "_made", lambda *a: made.append(1) or make(*a))
    w = RNG.standard_normal((3, 2, 9, 9))
    plan = fc.plan_conv2d(w, x_shape=(1, 2, 50, 50), algorithm="fft")
    assert len(made) == 1
    large, small = RNG.standard_normal((2, 2, 50, 50)), RNG.standard_normal((1, 2, 20, 19))
    for x in (large, small, large[:1], small):
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(plan, [x] * 8))
        wanted = fc.conv2d(x, w, algorithm="direct")
        assert all(np.abs(f - wanted).max() < 1e-11 for f in found)
    assert len(made) <= 3


def test_kept_spectra_are_bounded() -> None:
    weights = fft_convolution.Weights(np.ones((1, 1, 1, 1)), 1000)
    for key in (*range(9), 8):
        weights.spectra(key, lambda: np.zeros(50, np.complex64))
    assert list(weights._kept) == [7, 8]


def test_weights_too_large_to_keep_are_transformed_in_each_call() -> None:
    library = replace(conv2d_fft.LIBRARY, machine=replace(HOST, kept=0))
    spec = Conv2dSpec.of((2, 2, 21, 20), (3, 2, 5, 5), dtype="float64")
    x, w = RNG.standard_normal(spec.x_shape), RNG.standard_normal(spec.w_shape)
    packed, out = fft_convolution.pack(library, spec, w), np.empty(spec.out_shape)
    fft_convolution.run(library, spec, x, packed, None, out)
    assert not packed._kept
    np.testing.assert_allclose(out, fc.conv2d(x, w, algorithm="direct"), atol=1e-12)


def test_strides_and_dilation_shrink_the_transforms() -> None:
    strided = plan_for(Conv2dSpec.of((1, 1, 400, 400), (1, 1, 40, 40), stride=4))
    assert strided.rows.back * 4 == strided.rows.size
    dilated = plan_for(Conv2dSpec.of((1, 64, 160, 160), (64, 64, 5, 5), dilation=8))
    assert dilated.rows.phases == dilated.columns.phases == 8


def test_a_card_transforms_many_tiles_at_once() -> None:
    """Each of its steps costs a launch, however small it is."""
    spec = Conv2dSpec.of((32, 64, 56, 56), (64, 64, 11, 11), padding=5)
    assert plan_for(spec, CARD).tiles > 4 * plan_for(spec, HOST).tiles
    assert plan_for(spec, CARD).scratch() <= CARD.scratch
