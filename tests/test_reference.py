"""Outside judges of the judge: values computed by hand, SciPy, and PyTorch when it is there.

Everything goes through the public functions with ``backend="reference"`` and with the
backend that fastconv would choose, so that both are held to the same meaning.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import scipy.special

import fastconv as fc

BACKENDS = ("reference", "auto")
RNG = np.random.default_rng(5)
both = pytest.mark.parametrize("backend", BACKENDS)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape)


def close(actual: Any, wanted: Any) -> None:
    """Equal to float64's rounding."""
    np.testing.assert_allclose(actual, wanted, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------- by hand

HALVES = np.where(np.arange(6) < 3, 10.0, -3.0) * np.ones((6, 1))
EDGE = np.array([[1.0, 0.0, -1.0]] * 3)


@both
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_an_edge_is_found_and_its_transpose_is_not(backend: str, dtype: str) -> None:
    x, w = HALVES.astype(dtype)[None, None], EDGE.astype(dtype)[None, None]
    found = fc.conv2d(x, w, backend=backend)[0, 0]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, [[0, 39, 39, 0]] * 4)
    np.testing.assert_array_equal(fc.conv2d(x, w.swapaxes(2, 3), backend=backend), 0)


@both
def test_several_filters_channels_and_layers(backend: str) -> None:
    """Three channels are summed, two filters stand apart, one layer feeds the next; integers
    are exact in any direct sum."""
    options = {"backend": backend, "precision": "strict"}
    x = np.stack([HALVES, HALVES, HALVES])[None]
    w = np.stack([np.stack([EDGE] * 3), np.stack([EDGE.T] * 3)])
    y = fc.conv2d(x, w, np.array([0.0, 1.0]), **options)
    np.testing.assert_array_equal(y[0, 0], [[0, 117, 117, 0]] * 4)
    np.testing.assert_array_equal(y[0, 1], np.ones((4, 4)))
    again = fc.conv2d(y, np.ones((1, 2, 4, 4)), **options)
    assert again.item() == 117 * 8 + 16


@both
def test_conv_by_hand(backend: str) -> None:
    x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    w = np.array([[1.0, 2], [3, 4]])[None, None]  # not symmetric: a flip would show
    options = {"backend": backend}
    assert fc.conv2d(x, w, **options).tolist() == [[[[37, 47], [67, 77]]]]
    assert fc.conv2d(x, w, stride=2, **options).tolist() == [[[[37]]]]
    assert fc.conv2d(x, w, dilation=2, **options).tolist() == [[[[1 + 6 + 21 + 36]]]]
    same = fc.conv2d(x, w, padding="same", **options)[0, 0]  # the odd cell goes after
    assert same.tolist() == [[37, 47, 21], [67, 77, 33], [23, 26, 9]]
    lower = fc.conv2d(x, w, padding="same_lower", **options)[0, 0]
    assert lower.tolist() == [[4, 11, 18], [18, 37, 47], [36, 67, 77]]
    full = fc.conv2d(x, w, padding="full", **options)[0, 0]
    assert full.tolist() == [[4, 11, 18, 9], [18, 37, 47, 21], [36, 67, 77, 33], [14, 23, 26, 9]]
    asymmetric = fc.conv2d(x, w, padding=((0, 1), (2, 0)), **options)[0, 0]
    assert asymmetric.tolist() == [[0, 18, 37, 47], [0, 36, 67, 77], [0, 14, 23, 26]]


@both
def test_transposed_conv_by_hand(backend: str) -> None:
    x = np.array([[1.0, 2], [3, 4]])[None, None]
    w = np.array([[1.0, 10], [100, 1000]])[None, None]
    stamped = fc.conv_transpose2d(x, w, stride=2, backend=backend)[0, 0]
    assert stamped.tolist() == np.kron(x[0, 0], w[0, 0]).tolist()
    overlapping = fc.conv_transpose2d(x, w, backend=backend)[0, 0]
    assert overlapping.tolist() == [[1, 12, 20], [103, 1234, 2040], [300, 3400, 4000]]
    longer = fc.conv_transpose2d(x, w, stride=2, output_padding=(1, 0), backend=backend)
    assert longer.shape == (1, 1, 5, 4)
    assert not longer[0, 0, 4].any()


@both
def test_pools_by_hand(backend: str) -> None:
    x = np.array([[1.0, 5, 2], [7, 3, 8], [4, 9, 6]])[None, None]
    options: dict[str, Any] = {"stride": 1, "backend": backend}
    values, indices = fc.max_pool2d(x, 2, return_indices=True, **options)
    assert values.tolist() == [[[[7, 8], [9, 9]]]]
    assert indices.tolist() == [[[[3, 5], [7, 7]]]]
    assert indices.dtype == np.int64
    assert fc.avg_pool2d(x, 2, **options).tolist() == [[[[4, 4.5], [5.75, 6.5]]]]
    assert fc.sum_pool2d(x, 2, **options).tolist() == [[[[16, 18], [23, 26]]]]
    close(fc.lp_pool2d(-x, 2, 2, **options)[0, 0, 0, 0], np.sqrt(1 + 25 + 49 + 9))
    assert fc.global_sum_pool2d(x, backend=backend).tolist() == [[[[45]]]]
    assert fc.global_avg_pool2d(x, backend=backend).tolist() == [[[[5]]]]
    assert fc.global_max_pool2d(x, backend=backend).tolist() == [[[[9]]]]


@pytest.mark.parametrize("backend", sorted(k for k, reason in fc.backends().items() if not reason))
def test_sums_of_negative_zeros_are_zero(backend: str) -> None:
    x = np.full((1, 2, 9, 40), -0.0, np.float32)
    for size in (2, 3, 9):
        assert not np.signbit(fc.sum_pool2d(x, size, stride=1, backend=backend)).any()
        assert not np.signbit(fc.avg_pool2d(x, size, stride=1, backend=backend)).any()


@both
def test_average_divisors_by_hand(backend: str) -> None:
    """Ones show the divisor: cells inside, cells inside with padding, or whatever is asked."""
    x = np.ones((1, 1, 4, 4))
    options: dict[str, Any] = {"stride": 2, "padding": 1, "backend": backend}
    close(fc.avg_pool2d(x, 3, **options)[0, 0], [[4 / 9, 6 / 9], [6 / 9, 1]])
    close(fc.avg_pool2d(x, 3, count_include_pad=False, **options), 1)
    close(fc.avg_pool2d(x, 3, divisor_override=2, **options)[0, 0], [[2, 3], [3, 4.5]])
    # The third window of a row starts at column 3 and ends at 6: column 4 is padding and
    # counts, column 5 is overhang and does not.
    over = fc.avg_pool2d(x, 3, ceil_mode=True, **options)[0, 0]
    close(over[2], [2 / 6, 3 / 6, 1 / 4])


@both
def test_max_unpool_undoes_max_pool(backend: str) -> None:
    x = np.array([[1.0, 5, 2, 0], [7, 3, 8, 1]])[None, None]
    values, indices = fc.max_pool2d(x, 2, return_indices=True, backend=backend)
    back = fc.max_unpool2d(values, indices, 2, backend=backend)
    assert back.tolist() == [[[[0, 0, 0, 0], [7, 0, 8, 0]]]]


@both
def test_activations_by_hand(backend: str) -> None:
    x = np.array([-8.0, -1, -0.0, 0, 2, 7])
    assert fc.relu(x, backend=backend).tolist() == [0, 0, 0, 0, 2, 7]
    assert fc.relu6(x, backend=backend).tolist() == [0, 0, 0, 0, 2, 6]
    close(fc.leaky_relu(x, backend=backend), [-0.08, -0.01, 0, 0, 2, 7])
    close(fc.leaky_relu(x, 0.5, backend=backend), [-4, -0.5, 0, 0, 2, 7])
    close(fc.sigmoid(x, backend=backend), scipy.special.expit(x))
    close(fc.tanh(x, backend=backend), np.tanh(x))


@both
@pytest.mark.parametrize(
    ("activation", "wanted"),
    [
        (None, lambda v: v), ("relu", lambda v: np.maximum(v, 0)),
        ("relu6", lambda v: np.clip(v, 0, 6)),
        ("leaky_relu", lambda v: np.where(v > 0, v, v / 100)),
        ("sigmoid", scipy.special.expit), ("tanh", np.tanh),
        ("silu", lambda v: v * scipy.special.expit(v)),
        ("hardswish", lambda v: v * np.clip(v + 3, 0, 6) / 6),
    ],
)
def test_fused_activation(backend: str, activation: str | None, wanted: Any) -> None:
    x, w, bias = 3 * normal(2, 3, 5, 6), normal(4, 3, 3, 3), normal(4)
    plain = fc.conv2d(x, w, bias, backend=backend)
    close(fc.conv2d(x, w, bias, activation=activation, backend=backend), wanted(plain))
    widened = fc.conv_transpose2d(x, w.swapaxes(0, 1), bias, backend=backend)
    close(
        fc.conv_transpose2d(x, w.swapaxes(0, 1), bias, activation=activation, backend=backend),
        wanted(widened),
    )


# ---------------------------------------------------------------- not numbers


@both
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_wins_and_the_last_gives_the_index(backend: str, dtype: str) -> None:
    nan = np.nan
    x = np.array([[nan, 5, 1, 1], [nan, 9, 1, 1]], dtype)[None, None]
    values, indices = fc.max_pool2d(x, 2, return_indices=True, backend=backend)
    np.testing.assert_array_equal(values, [[[[nan, 1]]]])
    assert indices.tolist() == [[[[4, 2]]]]


@both
def test_window_of_minus_infinity_has_a_valid_first_index(backend: str) -> None:
    x = np.full((1, 1, 4, 4), -np.inf, np.float32)
    values, indices = fc.max_pool2d(
        x, 3, stride=2, padding=1, return_indices=True, backend=backend
    )
    assert np.isneginf(values).all()
    assert indices.tolist() == [[[[0, 1], [4, 5]]]]


@pytest.mark.usefixtures("free_choice")
@both
@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint8, np.int64])
def test_integer_max_pool_is_exact(backend: str, dtype: Any) -> None:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = np.array([[low, low], [low, low]], dtype)[None, None]
    assert fc.max_pool2d(x, 2, padding=1, backend=backend).tolist() == [[[[low] * 2] * 2]]
    x[0, 0, 1, 1] = high
    assert fc.global_max_pool2d(x, backend=backend).item() == high
    assert fc.relu(x, backend=backend).tolist() == [[[[max(low, 0)] * 2, [max(low, 0), high]]]]


@both
def test_relu_passes_nan(backend: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(fc.relu(x, backend=backend), [np.nan, np.inf, 0])
    np.testing.assert_array_equal(fc.relu6(x, backend=backend), [np.nan, 6, 0])


@both
def test_padded_zeros_take_part_in_the_sum(backend: str) -> None:
    """0 · ∞ is NaN, so an infinite corner weight shows wherever it meets the padding."""
    x = np.ones((1, 1, 4, 4))
    w = np.zeros((1, 1, 3, 3))
    w[0, 0, 0, 0] = np.inf
    y = fc.conv2d(x, w, padding=1, backend=backend, precision="strict")[0, 0]
    assert np.isnan(y[0]).all()
    assert np.isnan(y[:, 0]).all()
    assert np.isposinf(y[1:, 1:]).all()


# ---------------------------------------------------------------- half types


@both
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_types_are_summed_in_single_and_rounded_once(backend: str, half: str) -> None:
    if half == "bfloat16":
        dtype = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    else:
        dtype = np.dtype(half)
    x, w, bias = (normal(*s).astype(dtype) for s in ((2, 40, 6, 7), (5, 40, 3, 3), (5,)))
    wide = fc.conv2d(*(a.astype(np.float64) for a in (x, w, bias)), padding=1, activation="relu",
                     backend="reference")
    y = fc.conv2d(x, w, bias, padding=1, activation="relu", backend=backend)
    assert y.dtype == dtype
    # At most one unit in the last place, and nearly all right: a sum kept in half precision
    # over 360 terms would miss most cells.
    wanted = wide.astype(dtype)
    assert np.mean(y == wanted) > 0.99
    np.testing.assert_allclose(y.astype(np.float64), wide,
                               rtol=2.0**-7 if half == "bfloat16" else 2.0**-10, atol=1e-5)
    means = fc.avg_pool2d(x, 3, backend=backend)
    exact = fc.avg_pool2d(x.astype(np.float64), 3, backend="reference")
    assert means.dtype == dtype
    assert np.mean(means == exact.astype(dtype)) > 0.99
    top, where = fc.max_pool2d(x, 2, return_indices=True, backend=backend)
    np.testing.assert_array_equal(top, x[:, :, :, :6].reshape(2, 40, 3, 2, 3, 2).max((3, 5)))
    np.testing.assert_array_equal(
        np.take_along_axis(x.reshape(2, 40, -1), where.reshape(2, 40, -1), 2),
        top.reshape(2, 40, -1),
    )
    np.testing.assert_array_equal(fc.relu(x, backend=backend), np.maximum(x, dtype.type(0)))


def test_half_fused_pooling_rounds_once() -> None:
    x, w = normal(1, 3, 8, 8).astype(np.float16), normal(4, 3, 3, 3).astype(np.float16)
    wide = fc.conv2d_pool2d(x.astype(np.float32), w.astype(np.float32), pool="avg")
    y = fc.conv2d_pool2d(x, w, pool="avg")
    np.testing.assert_array_equal(y, wide.astype(np.float16))


# ---------------------------------------------------------------- SciPy


@both
@pytest.mark.parametrize(("padding", "mode"), [("valid", "valid"), ("full", "full")])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 4), (5, 2), (7, 9)])
def test_conv_is_scipys_correlate(
    backend: str, padding: str, mode: str, kernel: tuple[int, int]
) -> None:
    x, w = normal(2, 3, 9, 10), normal(4, 3, *kernel)
    wanted = [
        [sum(scipy.signal.correlate2d(x[n, c], w[k, c], mode) for c in range(3)) for k in range(4)]
        for n in range(2)
    ]
    close(fc.conv2d(x, w, padding=padding, backend=backend), wanted)


MODES = {"zeros": "constant", "reflect": "mirror", "replicate": "nearest", "circular": "wrap"}


@both
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [3, 5, 7])
def test_padding_modes_are_scipys(backend: str, mode: str, size: int) -> None:
    image, kernel = normal(8, 9), normal(size, size)
    wanted = scipy.ndimage.correlate(image, kernel, mode=MODES[mode])
    close(fc.filter2d(image, kernel, padding_mode=mode, backend=backend), wanted)
    y = fc.conv2d(image[None, None], kernel[None, None], padding=size // 2, padding_mode=mode,
                  backend=backend)
    close(y[0, 0], wanted)


@both
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_asymmetric_padding_modes_are_numpys(backend: str, mode: str) -> None:
    x, w = normal(2, 3, 6, 7), normal(4, 3, 3, 3)
    pads = ((2, 1), (0, 3))
    numpys = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    padded = np.pad(x, ((0, 0), (0, 0), *pads), mode=numpys)
    for layout in ("NCHW", "NHWC"):
        a = x if layout == "NCHW" else x.transpose(0, 2, 3, 1)
        y = fc.conv2d(a, w, padding=pads, padding_mode=mode, layout=layout, backend=backend)
        y = y if layout == "NCHW" else y.transpose(0, 3, 1, 2)
        close(y, fc.conv2d(padded, w, backend="reference"))


@both
def test_filter2d_filters_each_channel(backend: str) -> None:
    image, kernels = normal(7, 8, 3), [normal(3, 3) for _ in range(2)]
    wanted = np.stack(
        [
            np.stack([scipy.ndimage.correlate(image[..., c], k, mode="constant")
                      for k in kernels], axis=-1)
            for c in range(3)
        ],
        axis=2,
    )
    close(fc.filter2d(image, kernels, backend=backend), wanted)
    close(fc.filter2d(image, kernels[0], backend=backend), wanted[..., 0])
    close(fc.filter2d(image[..., 0], kernels, backend=backend), wanted[:, :, 0])
    close(fc.filter2d(image[..., 0], kernels[0].tolist(), backend=backend), wanted[:, :, 0, 0])


@both
def test_max_pool_is_scipys_maximum_filter(backend: str) -> None:
    x = normal(1, 1, 9, 11)
    wanted = scipy.ndimage.maximum_filter(x[0, 0], 3, mode="constant", cval=-np.inf)
    y = fc.max_pool2d(x, 3, stride=1, padding=1, backend=backend)
    np.testing.assert_array_equal(y[0, 0], wanted)


def test_fused_pooling_is_its_steps() -> None:
    x, w, bias = normal(2, 3, 9, 10), normal(4, 3, 3, 3), normal(4)
    maps = fc.conv2d(x, w, bias, padding=1, activation="relu")
    close(fc.conv2d_pool2d(x, w, bias, padding=1), fc.max_pool2d(maps, 2))
    for pool, function in (("max", fc.max_pool2d), ("avg", fc.avg_pool2d), ("sum", fc.sum_pool2d)):
        fused = fc.conv2d_pool2d(x, w, bias, padding=1, pool=pool, pool_size=3, pool_stride=2,
                                 pool_padding=1)
        close(fused, function(maps, 3, stride=2, padding=1))
    plain = fc.conv2d(x, w, bias)
    close(fc.conv2d_pool2d(x, w, bias, activation=None, pool="avg"), fc.avg_pool2d(plain, 2))


# ---------------------------------------------------------------- PyTorch


class TestAgainstTorch:
    """``torch.nn.functional`` in float64, wherever the interface promises its meaning."""

    @pytest.fixture(autouse=True)
    def _torch(self) -> None:
        self.torch = pytest.importorskip("torch")
        self.f = self.torch.nn.functional

    def t(self, a: Any) -> Any:
        return self.torch.from_numpy(np.ascontiguousarray(a))

    @both
    @pytest.mark.parametrize("groups", [1, 2, 4])
    def test_conv2d(self, backend: str, groups: int) -> None:
        x, w, bias = normal(2, 4, 11, 12), normal(8, 4 // groups, 3, 2), normal(8)
        for stride, padding, dilation in product((1, 2, (3, 1)), (0, 1, (2, 1)), (1, 2)):
            given = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
            wanted = self.f.conv2d(self.t(x), self.t(w), self.t(bias), **given)
            close(fc.conv2d(x, w, bias, backend=backend, **given), wanted.numpy())

    @both
    @pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
    def test_conv2d_same(self, backend: str) -> None:
        x = normal(1, 3, 9, 10)
        for kernel, dilation in product(((3, 3), (2, 4), (5, 1)), (1, 2)):
            w = normal(2, 3, *kernel)
            wanted = self.f.conv2d(self.t(x), self.t(w), padding="same", dilation=dilation)
            y = fc.conv2d(x, w, padding="same", dilation=dilation, backend=backend)
            close(y, wanted.numpy())

    @both
    @pytest.mark.parametrize("groups", [1, 2])
    def test_conv_transpose2d(self, backend: str, groups: int) -> None:
        x, w, bias = normal(2, 4, 5, 6), normal(4, 6 // groups, 3, 4), normal(6)
        for stride, padding, dilation, extra in product(
            (1, 2, (3, 2)), (0, 1, (1, 2)), (1, 2), (0, 1)
        ):
            if extra and stride == 1 and dilation == 1:
                continue
            given = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
                     "output_padding": extra}
            wanted = self.f.conv_transpose2d(self.t(x), self.t(w), self.t(bias), **given)
            close(fc.conv_transpose2d(x, w, bias, backend=backend, **given), wanted.numpy())

    @both
    @pytest.mark.parametrize("ceil_mode", [False, True])
    def test_pools(self, backend: str, ceil_mode: bool) -> None:
        for shape in ((2, 3, 10, 11), (1, 2, 7, 8)):
            x = normal(*shape)
            for size, stride, padding in product((2, 3, (3, 2)), (None, 1, 2, 3), (0, 1)):
                given = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
                for dilation in (1, 2):
                    wanted = self.f.max_pool2d(self.t(x), size, **given, dilation=dilation,
                                               return_indices=True)
                    got = fc.max_pool2d(x, size, **given, dilation=dilation, return_indices=True,
                                        backend=backend)
                    for a, b in zip(got, wanted, strict=True):
                        np.testing.assert_array_equal(a, b.numpy())
                for more in ({}, {"count_include_pad": False}, {"divisor_override": 3}):
                    wanted = self.f.avg_pool2d(self.t(x), size, **given, **more)
                    close(fc.avg_pool2d(x, size, **given, **more, backend=backend),
                          wanted.numpy())

    @both
    def test_lp_pool(self, backend: str) -> None:
        x = np.abs(normal(2, 3, 9, 10))  # for these PyTorch and ONNX mean the same
        for norm, size, stride, ceil in product((1, 2, 3.5), (2, (3, 2)), (None, 2), (False, True)):
            wanted = self.f.lp_pool2d(self.t(x), float(norm), size, stride=stride, ceil_mode=ceil)
            y = fc.lp_pool2d(x, norm, size, stride=stride, ceil_mode=ceil, backend=backend)
            if not ceil:  # PyTorch scales a clipped window as if it were whole
                close(y, wanted.numpy())
            assert y.shape == tuple(wanted.shape)

    @both
    def test_adaptive_pools(self, backend: str) -> None:
        x = normal(2, 3, 7, 10)
        for size in (1, 3, (7, 10), (2, 9), (9, 13), (None, 4)):
            wanted = self.f.adaptive_avg_pool2d(self.t(x), size)
            close(fc.adaptive_avg_pool2d(x, size, backend=backend), wanted.numpy())
            wanted = self.f.adaptive_max_pool2d(self.t(x), size, return_indices=True)
            got = fc.adaptive_max_pool2d(x, size, return_indices=True, backend=backend)
            for a, b in zip(got, wanted, strict=True):
                np.testing.assert_array_equal(a, b.numpy())

    @both
    def test_max_unpool(self, backend: str) -> None:
        x = normal(2, 3, 8, 9)
        for size, stride, padding in ((2, None, 0), (3, 3, 1), ((2, 3), None, 0)):
            values, indices = self.f.max_pool2d(
                self.t(x), size, stride=stride, padding=padding, return_indices=True
            )
            wanted = self.f.max_unpool2d(values, indices, size, stride=stride, padding=padding,
                                         output_size=(8, 9))
            y = fc.max_unpool2d(values.numpy(), indices.numpy(), size, stride=stride,
                                padding=padding, output_size=(8, 9), backend=backend)
            np.testing.assert_array_equal(y, wanted.numpy())

    @both
    def test_nan_rules(self, backend: str) -> None:
        x = normal(2, 3, 8, 9)
        x.reshape(-1)[RNG.integers(0, x.size, 60)] = np.nan
        x.reshape(-1)[RNG.integers(0, x.size, 60)] = -np.inf
        for size, stride, padding in ((2, 2, 0), (3, 1, 1), (3, 2, 1)):
            wanted = self.f.max_pool2d(self.t(x), size, stride=stride, padding=padding,
                                       return_indices=True)
            got = fc.max_pool2d(x, size, stride=stride, padding=padding, return_indices=True,
                                backend=backend)
            for a, b in zip(got, wanted, strict=True):
                np.testing.assert_array_equal(a, b.numpy())

    @both
    @pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu", "sigmoid", "tanh"])
    def test_activations(self, backend: str, name: str) -> None:
        x = np.concatenate([10 * normal(100), [0, -0.0, np.inf, -np.inf, np.nan]])
        wanted = getattr(self.torch if name in ("sigmoid", "tanh") else self.f, name)(self.t(x))
        np.testing.assert_allclose(getattr(fc, name)(x, backend=backend), wanted.numpy(),
                                   rtol=1e-14, atol=1e-300)

    @both
    @pytest.mark.parametrize("half", ["float16", "bfloat16"])
    def test_half_types(self, backend: str, half: str) -> None:
        dtype = getattr(pytest.importorskip("ml_dtypes"), half, np.dtype("float16"))
        x, w = normal(1, 16, 6, 7).astype(np.float32), normal(4, 16, 3, 3).astype(np.float32)
        kind = getattr(self.torch, half)
        wanted = self.f.conv2d(self.t(x).to(kind).float(), self.t(w).to(kind).float()).to(kind)
        y = fc.conv2d(x.astype(dtype), w.astype(dtype), backend=backend)
        assert np.mean(y.astype(np.float32) == wanted.float().numpy()) > 0.97


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("count", [None, 1, 2])
@pytest.mark.parametrize("strided", [False, True])
def test_filter2d_is_a_convolution_of_groups(
    mode: str, channels: int | None, count: int | None, strided: bool
) -> None:
    """Channels run as one wide row or as a batch; neither may be seen in the result."""
    rng = np.random.default_rng(5)
    axes = [] if channels is None else [channels]
    image = rng.integers(-8, 9, (9, 22, *axes)).astype(np.float64)
    if strided:
        image = image[:, ::2]
    bank = rng.integers(-3, 4, (count or 1, 3, 5)).astype(np.float64)
    kernels = bank[0] if count is None else list(bank)
    w = np.tile(bank[:, None], (channels or 1, 1, 1, 1))
    x = image.reshape(1, *image.shape[:2], channels or 1)
    for options in ({}, {"stride": (2, 1)}, {"stride": (1, 2)}, {"dilation": 2},
                    {"padding": ((2, 0), (3, 1))}):
        geometry = {"padding": "same", **options, "padding_mode": mode}
        wanted = fc.conv2d(
            x, w, groups=channels or 1, layout="NHWC", backend="reference", **geometry
        )[0]
        shape = *wanted.shape[:2], *axes, *([] if count is None else [count])
        out = np.empty((*shape, 2))[..., 0] if strided else None
        found = fc.filter2d(image, kernels, out=out, **geometry)
        np.testing.assert_allclose(found, wanted.reshape(shape), atol=1e-11)
