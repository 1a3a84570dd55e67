"""Arrays as callers have them: any strides, byte order, alignment, subclass; and ``out=``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from buffers import ORDERS, place_input, place_output

import fastconv as fc

RNG = np.random.default_rng(11)
X = RNG.standard_normal((2, 4, 7, 8)).astype(np.float32)
W = RNG.standard_normal((6, 4, 3, 3)).astype(np.float32)
BIAS = RNG.standard_normal(6).astype(np.float32)
WT = RNG.standard_normal((4, 6, 3, 3)).astype(np.float32)
SMALL = np.ascontiguousarray(X[:, :, :4, :4])
INDICES = np.broadcast_to(np.arange(16).reshape(4, 4) * 4, SMALL.shape).copy()

CALLS: dict[str, Callable[..., Any]] = {
    "conv2d": lambda x, **k: fc.conv2d(x, W.astype(x.dtype), BIAS.astype(x.dtype), **k),
    "conv2d_1x1": lambda x, **k: fc.conv2d(x, W[:, :, :1, :1].astype(x.dtype), **k),
    "conv2d_reflect": lambda x, **k: fc.conv2d(
        x, W.astype(x.dtype), padding=1, padding_mode="reflect", **k),
    "conv_transpose2d": lambda x, **k: fc.conv_transpose2d(x, WT.astype(x.dtype), stride=2, **k),
    "conv2d_pool2d": lambda x, **k: fc.conv2d_pool2d(x, W.astype(x.dtype), **k),
    "max_pool2d": lambda x, **k: fc.max_pool2d(x, 2, **k),
    "avg_pool2d": lambda x, **k: fc.avg_pool2d(x, 3, stride=2, padding=1, **k),
    "sum_pool2d": lambda x, **k: fc.sum_pool2d(x, 2, **k),
    "lp_pool2d": lambda x, **k: fc.lp_pool2d(x, 2, 2, **k),
    "adaptive_max_pool2d": lambda x, **k: fc.adaptive_max_pool2d(x, 3, **k),
    "adaptive_avg_pool2d": lambda x, **k: fc.adaptive_avg_pool2d(x, (2, 3), **k),
    "global_max_pool2d": lambda x, **k: fc.global_max_pool2d(x, **k),
    "global_avg_pool2d": lambda x, **k: fc.global_avg_pool2d(x, **k),
    "global_sum_pool2d": lambda x, **k: fc.global_sum_pool2d(x, **k),
}
ELEMENTWISE: dict[str, Callable[..., Any]] = {
    name: getattr(fc, name) for name in ("relu", "relu6", "leaky_relu", "sigmoid", "tanh")
}
every_call = pytest.mark.parametrize("call", (CALLS | ELEMENTWISE).values(),
                                     ids=CALLS | ELEMENTWISE)
every_layered_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
every_elementwise = pytest.mark.parametrize("call", ELEMENTWISE.values(), ids=ELEMENTWISE)


@pytest.fixture(autouse=True)
def direct_sums() -> Iterator[None]:
    """Where arrays lie decides which kernel is the fastest: of these, two differ in the order of
    their sums only."""
    with fc.options(precision="strict"):
        yield


def same(actual: Any, wanted: Any) -> None:
    """Equal up to the rounding that another order of summation may bring."""
    assert actual.dtype == wanted.dtype
    np.testing.assert_allclose(actual, wanted, rtol=2e-6, atol=2e-6)


# ---------------------------------------------------------------- inputs


@every_call
@pytest.mark.parametrize("order", ORDERS)
def test_any_memory_order(call: Callable[..., Any], order: str) -> None:
    placed = place_input(X, order)
    before = placed.memory.tobytes()
    same(call(placed.array), call(X))
    assert placed.memory.tobytes() == before


@every_call
def test_negative_and_zero_strides(call: Callable[..., Any]) -> None:
    same(call(X[::-1, ::-1, ::-1, ::-1]), call(X[::-1, ::-1, ::-1, ::-1].copy()))
    repeated = np.broadcast_to(X[:1, :, :, :1], X.shape)
    same(call(repeated), call(repeated.copy()))
    assert repeated.strides[0] == 0


@every_call
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_swapped_bytes(call: Callable[..., Any], dtype: str) -> None:
    x = X.astype(dtype)
    swapped = x.astype(x.dtype.newbyteorder())
    y = call(swapped)
    assert y.dtype == np.dtype(dtype)
    assert y.dtype.isnative
    same(y, call(x))


@every_call
def test_misaligned_and_read_only(call: Callable[..., Any]) -> None:
    memory = np.zeros(X.nbytes + 1, np.uint8)
    crooked = memory[1:].view(np.float32).reshape(X.shape)
    crooked[...] = X
    crooked.flags.writeable = False
    assert not crooked.flags.aligned
    same(call(crooked), call(X))


@every_call
def test_strides_that_are_no_multiple_of_the_element(call: Callable[..., Any]) -> None:
    records = np.zeros(X.shape, np.dtype([("value", "f4"), ("flag", "u1")]))
    records["value"] = X
    assert records["value"].strides[-1] == 5
    same(call(records["value"]), call(X))


@every_call
def test_subclasses_give_plain_arrays(call: Callable[..., Any]) -> None:
    class Tagged(np.ndarray):
        pass

    y = call(X.view(Tagged))
    assert type(y) is np.ndarray
    same(y, call(X))


@every_call
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_stay_half(call: Callable[..., Any], dtype: str) -> None:
    half = np.dtype(getattr(pytest.importorskip("ml_dtypes"), dtype, dtype))
    x = X.astype(half)
    y = call(x)
    assert y.dtype == half
    # Weights are rounded too, so compare with the same rounded numbers in float32.
    unit = 2.0**-10 if dtype == "float16" else 2.0**-7
    wide = call(x.astype(np.float32)).astype(np.float64)
    assert np.abs(y.astype(np.float64) - wide).max() <= 4 * unit * max(1, np.abs(wide).max())


def test_the_inputs_of_every_call_are_left_alone() -> None:
    w, bias, indices = W.copy(), BIAS.copy(), INDICES.copy()
    x = X.copy()
    for a in (x, w, bias, indices):
        a.flags.writeable = False
    fc.conv2d(x, w, bias, padding=1, activation="relu")
    fc.conv2d_pool2d(x, w, bias)
    fc.conv_transpose2d(x, w[:4, :4], bias[:4])
    fc.max_unpool2d(SMALL, indices, 4)
    fc.filter2d(x[0, 0], w[0, 0])
    fc.plan_conv2d(w, bias)(x)
    for now, before in ((x, X), (w, W), (bias, BIAS), (indices, INDICES)):
        np.testing.assert_array_equal(now, before)


@pytest.mark.parametrize("order", ORDERS)
def test_weights_in_any_memory_order(order: str) -> None:
    placed = place_input(W, order)
    same(fc.conv2d(X, placed.array, padding=1), fc.conv2d(X, W, padding=1))
    same(fc.conv_transpose2d(X, place_input(WT, order).array), fc.conv_transpose2d(X, WT))


def test_empty_batches_give_empty_results() -> None:
    x = X[:0]
    for call in (CALLS | ELEMENTWISE).values():
        y = call(x)
        assert y.shape == (0, *call(X).shape[1:])
        assert y.dtype == np.float32
        assert call(x, out=y) is y
    values, indices = fc.max_pool2d(x, 2, return_indices=True)
    assert values.shape == indices.shape == (0, 4, 3, 4)
    assert fc.max_unpool2d(values, indices, 2).shape == (0, 4, 6, 8)


@every_elementwise
def test_elementwise_takes_any_shape(call: Callable[..., Any]) -> None:
    scalar = call(np.array(-2.0))
    assert isinstance(scalar, np.ndarray)
    assert scalar.shape == ()
    assert scalar == call(np.array([-2.0]))[0]
    assert call(np.empty((3, 0, 2))).shape == (3, 0, 2)
    y = call(X.transpose(0, 2, 3, 1))
    same(y, call(X).transpose(0, 2, 3, 1))


# ---------------------------------------------------------------- layouts


@every_layered_call
def test_nhwc_is_a_matter_of_order(call: Callable[..., Any]) -> None:
    x = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
    y = call(x, layout="NHWC")
    same(y, call(X).transpose(0, 2, 3, 1))
    assert y.flags.c_contiguous  # channels last in memory too
    assert call(X).flags.c_contiguous


def test_indices_do_not_depend_on_the_layout() -> None:
    _, nchw = fc.max_pool2d(X, 2, return_indices=True)
    _, nhwc = fc.max_pool2d(X.transpose(0, 2, 3, 1), 2, return_indices=True, layout="NHWC")
    np.testing.assert_array_equal(nhwc.transpose(0, 3, 1, 2), nchw)
    values = fc.max_pool2d(X, 2)
    back = fc.max_unpool2d(values, nchw, 2, output_size=(7, 8))
    np.testing.assert_array_equal(
        fc.max_unpool2d(values.transpose(0, 2, 3, 1), nhwc, 2, output_size=(7, 8), layout="NHWC"),
        back.transpose(0, 2, 3, 1),
    )


# ---------------------------------------------------------------- out=


@every_call
@pytest.mark.parametrize("order", ORDERS)
def test_out_is_written_in_full_and_returned(call: Callable[..., Any], order: str) -> None:
    wanted = call(X)
    placed = place_output(wanted.shape, np.float32, order)
    guards = placed.surroundings()
    assert call(X, out=placed.array) is placed.array
    same(placed.array, wanted)
    assert placed.surroundings() == guards


@every_layered_call
def test_out_in_nhwc(call: Callable[..., Any]) -> None:
    x = X.transpose(0, 2, 3, 1)
    wanted = call(X).transpose(0, 2, 3, 1)
    for memory in (np.empty(wanted.shape, np.float32), np.empty(call(X).shape, np.float32)):
        out = memory if memory.shape == wanted.shape else memory.transpose(0, 2, 3, 1)
        out[...] = np.nan
        assert call(x, layout="NHWC", out=out) is out
        same(out, wanted)


@every_call
def test_out_with_odd_memory(call: Callable[..., Any]) -> None:
    """Reversed, byte-swapped, misaligned and subclassed outs get the same numbers."""
    wanted = call(X)
    reversed_ = np.full(wanted.shape, np.nan, np.float32)[::-1, ::-1, ::-1, ::-1]
    swapped = np.full(wanted.shape, np.nan, np.dtype(np.float32).newbyteorder())
    crooked = np.zeros(wanted.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(wanted.shape)
    tagged = np.full(wanted.shape, np.nan, np.float32).view(type("Tagged", (np.ndarray,), {}))
    for out in (reversed_, swapped, crooked, tagged):
        assert call(X, out=out) is out
        np.testing.assert_allclose(np.asarray(out, np.float32), wanted, rtol=2e-6, atol=2e-6)


@every_call
def test_out_that_does_not_fit(call: Callable[..., Any]) -> None:
    y = call(X)
    locked = np.zeros_like(y)
    locked.flags.writeable = False
    for out, error, message in (
        (np.zeros((1, *y.shape), y.dtype), ValueError, "shape"),
        (np.zeros(y.shape, np.float64), TypeError, "float64"),
        (np.zeros(y.shape, np.int32), TypeError, "int32"),
        (locked, ValueError, "read-only"),
        (np.broadcast_to(np.float32(0), y.shape), ValueError, "read-only|overlaps itself"),
        (y.tolist(), TypeError, "NumPy array"),
        (np.ma.zeros(y.shape, y.dtype), TypeError, "NumPy array"),
    ):
        with pytest.raises(error, match=message):
            call(X, out=out)
    assert not locked.any()


@every_call
def test_out_that_overlaps_an_input_is_refused(call: Callable[..., Any]) -> None:
    size = call(X).size
    memory = np.zeros(X.size + size, np.float32)
    x = memory[: X.size].reshape(X.shape)
    x[...] = X
    out = memory[X.size - 1 : X.size - 1 + size].reshape(call(X).shape)
    before = memory.copy()
    with pytest.raises(ValueError, match=r"out overlaps .* in memory"):
        call(x, out=out)
    np.testing.assert_array_equal(memory, before)
    beside = memory[X.size :].reshape(out.shape)
    same(call(x, out=beside), call(X))


def test_out_may_not_overlap_weights_bias_or_indices() -> None:
    memory = np.ones(X.size * 2, np.float32)
    w, bias = memory[: W.size].reshape(W.shape), memory[:6]
    shape = fc.conv2d(X, W).shape
    out = memory[: int(np.prod(shape))].reshape(shape)
    with pytest.raises(ValueError, match="out overlaps w in memory"):
        fc.conv2d(X, w, out=out)
    with pytest.raises(ValueError, match="out overlaps bias in memory"):
        fc.conv2d(X, W, bias, out=out)
    with pytest.raises(ValueError, match="out overlaps w in memory"):
        fc.conv2d_pool2d(X, w, pool_size=1, out=out)
    values, cells = SMALL[:, :, :2], INDICES[:, :, :2]
    out = np.zeros(fc.max_unpool2d(values, cells, 4).shape, np.float32)
    cells = out.view(np.int64).reshape(-1)[: values.size].reshape(values.shape)
    with pytest.raises(ValueError, match="out overlaps indices in memory"):
        fc.max_unpool2d(values, cells, 4, out=out)


def test_interleaved_arrays_do_not_overlap() -> None:
    """Arrays that share an address range but no byte are separate."""
    memory = np.zeros((2, 4, 7, 16), np.float32)
    x, out = memory[..., ::2], memory[..., 1::2]
    x[...] = X
    same(fc.relu(x, out=out), fc.relu(X))
    np.testing.assert_array_equal(x, X)


@every_elementwise
def test_elementwise_in_place(call: Callable[..., Any]) -> None:
    for x in (X.copy(), X.copy().transpose(0, 2, 3, 1), X.astype(np.float16)):
        wanted = call(x.copy())
        assert call(x, out=x) is x
        same(x, wanted)
    x = X.copy()
    with pytest.raises(ValueError, match="out overlaps x"):
        call(x, out=x[::-1])
    with pytest.raises(ValueError, match="out overlaps x"):
        call(x[..., 1:], out=x[..., :-1])
    np.testing.assert_array_equal(x, X)
