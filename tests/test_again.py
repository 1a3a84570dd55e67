"""Calls like earlier ones: the short way gives what the ordinary way gives, errors included."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from processes import python

import fastconv as fc
from fastconv import dispatch
from fastconv.dispatch import available
from fastconv.ops import _again

if reason := available("cython"):
    pytest.skip(reason, allow_module_level=True)

RNG = np.random.default_rng(7)
X = RNG.standard_normal((2, 4, 9, 11)).astype(np.float32)
W = RNG.standard_normal((6, 4, 3, 3)).astype(np.float32)
BIAS = RNG.standard_normal(6).astype(np.float32)
NHWC = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
LARGE = RNG.standard_normal((1, 2, 400, 401)).astype(np.float32)

CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "conv2d": (fc.conv2d, (X, W), {}),
    "conv2d_all": (fc.conv2d, (X, W, BIAS), {
        "stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": 2, "activation": "relu"}),
    "conv2d_nhwc": (fc.conv2d, (NHWC, W, BIAS), {"layout": "NHWC", "padding": "same"}),
    "conv2d_double": (fc.conv2d, (X.astype("f8"), W.astype("f8")), {"padding": 1}),
    "conv2d_numpy": (fc.conv2d, (X, W, BIAS), {"backend": "numpy"}),
    "conv2d_large": (fc.conv2d, (LARGE, W[:, :2].copy()), {}),
    "transpose": (fc.conv_transpose2d, (X, W.transpose(1, 0, 2, 3).copy()), {"stride": 2}),
    "plan": (fc.plan_conv2d(W, BIAS, padding=1), (X,), {}),
    "plan_nhwc": (fc.plan_conv2d(W, padding=1, layout="NHWC"), (NHWC,), {}),
    "max": (fc.max_pool2d, (X, 2), {"padding": 1}),
    "avg": (fc.avg_pool2d, (X, (3, 2)), {"stride": 1, "count_include_pad": False}),
    "lp": (fc.lp_pool2d, (X, 1.5, 2), {}),
    "adaptive": (fc.adaptive_avg_pool2d, (NHWC, (3, None)), {"layout": "NHWC"}),
    "global": (fc.global_max_pool2d, (X,), {}),
    "relu": (fc.relu, (X,), {}),
    "relu_0d": (fc.relu, (X[0, 0, 0, 0, ...],), {}),
    "relu_large": (fc.relu, (LARGE,), {}),
    "leaky": (fc.leaky_relu, (X, 0.3), {}),
}
every_call = pytest.mark.parametrize(("call", "given", "named"), CALLS.values(), ids=list(CALLS))


@every_call
def test_again_is_the_same(call: Any, given: Any, named: Any) -> None:
    first = call(*given, **named)
    for _ in range(3):
        again = call(*given, **named)
        assert again is not first
        assert not np.shares_memory(again, first)
        assert (again.shape, again.dtype) == (first.shape, first.dtype)
        assert again.strides == first.strides
        assert type(again) is np.ndarray
        assert again.flags.owndata
        assert again.flags.writeable
        np.testing.assert_array_equal(again, first)
    out = np.full_like(first, np.nan)
    assert call(*given, out=out, **named) is out
    np.testing.assert_array_equal(out, first)
    out[...] = np.nan
    assert call(*given, out=out, **named) is out
    np.testing.assert_array_equal(out, first)


@every_call
def test_other_arrays_go_the_ordinary_way(call: Any, given: Any, named: Any) -> None:
    """Any strides, byte order, alignment and subclass give the same after a known call."""
    wanted = call(*given, **named)
    call(*given, **named)
    x, *others = given
    unaligned = np.empty(x.nbytes + 1, "u1")[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    wide = np.repeat(x[..., None], 2, -1)[..., 0] if x.ndim else x
    for other in (
        wide, np.asfortranarray(x), x.astype(x.dtype.newbyteorder()), unaligned, read_only,
        x[..., ::-1][..., ::-1] if x.ndim else x, np.ndarray.view(x, Sub),
    ):
        got = call(other, *others, **named)
        assert type(got) is np.ndarray
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
    if x.ndim:
        spaced = np.full((*wanted.shape, 2), np.nan, wanted.dtype)[..., 0]
        assert call(*given, out=spaced, **named) is spaced
        np.testing.assert_allclose(spaced, wanted, rtol=1e-5, atol=1e-5)


class Sub(np.ndarray):
    """A subclass of arrays."""


@every_call
def test_a_bad_out_is_still_refused(call: Any, given: Any, named: Any) -> None:
    wanted = call(*given, **named)
    call(*given, out=np.empty_like(wanted), **named)
    with pytest.raises(TypeError, match="out must be a NumPy array"):
        call(*given, out=wanted.tolist(), **named)
    with pytest.raises(TypeError, match="out has dtype"):
        call(*given, out=wanted.astype("f2"), **named)
    with pytest.raises(ValueError, match="out has shape"):
        call(*given, out=np.empty((1, *wanted.shape), wanted.dtype), **named)
    locked = wanted.copy()
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        call(*given, out=locked, **named)


@pytest.mark.parametrize("input_index", [0, 1, 2])
def test_an_out_over_an_input_is_still_refused(input_index: int) -> None:
    memory = np.zeros(5000, np.float32)
    x, w = memory[:792].reshape(X.shape), memory[1000:1216].reshape(W.shape)
    bias = memory[1300:1306]
    fc.conv2d(x, w, bias, padding=1)
    fc.conv2d(x, w, bias, padding=1, out=memory[2000:3188].reshape(2, 6, 9, 11))
    end = (x, w, bias)[input_index]
    at = (end.__array_interface__["data"][0] - memory.__array_interface__["data"][0]) // 4
    for start in {max(at - 1187, 0), at, at + end.size - 1}:
        name = ("x", "w", "bias")[input_index] if start == at + end.size - 1 else "(x|w|bias)"
        with pytest.raises(ValueError, match=f"out overlaps {name}"):
            fc.conv2d(x, w, bias, padding=1, out=memory[start:][:1188].reshape(2, 6, 9, 11))
    assert not memory.any()


def test_relu_in_place_and_beside() -> None:
    memory = X.ravel().copy()
    x = memory[:400]
    wanted = fc.relu(x)
    fc.relu(x)
    with pytest.raises(ValueError, match="overlaps"):
        fc.relu(x, out=memory[1:401])
    np.testing.assert_array_equal(memory, X.ravel())
    assert fc.relu(x, out=x) is x
    np.testing.assert_array_equal(x, wanted)


@pytest.mark.parametrize(
    ("call", "known", "wrong"),
    [
        (fc.conv2d, {"stride": 1}, {"stride": True}), (fc.conv2d, {"stride": 1}, {"stride": 1.0}),
        (fc.conv2d, {"stride": (1, 1)}, {"stride": (1, 1.0)}),
        (fc.conv2d, {"stride": (1, 1)}, {"stride": (1, True)}),
        (fc.conv2d, {"padding": ((0, 1), (1, 1))}, {"padding": ((0, 1), (1, True))}),
        (fc.conv2d, {"padding": 0}, {"padding": False}),
        (fc.conv2d, {"groups": 1}, {"groups": 1.0}),
        (fc.max_pool2d, {"ceil_mode": False}, {"ceil_mode": 0}),
        (fc.max_pool2d, {"return_indices": False}, {"return_indices": 0}),
        (fc.avg_pool2d, {"count_include_pad": True}, {"count_include_pad": 1}),
    ],
)
def test_arguments_that_equal_known_ones_are_still_refused(
    call: Any, known: Any, wrong: Any
) -> None:
    given = (X, W) if call is fc.conv2d else (X, 2)
    call(*given, **known)
    call(*given, **known)
    with pytest.raises(TypeError):
        call(*given, **wrong)


def test_other_forms_of_an_argument_mean_the_same() -> None:
    wanted = fc.conv2d(X, W, stride=(1, 2), padding=1)
    for stride in ([1, 2], (np.int64(1), np.int32(2))):
        np.testing.assert_array_equal(fc.conv2d(X, W, stride=stride, padding=1), wanted)


def test_a_slope_of_minus_zero_is_zero() -> None:
    """The two are equal, so whatever is cached could not tell them apart."""
    x = np.full(5, -1.0, np.float32)
    for slope in (-0.0, 0.0, -0.0):
        assert np.signbit(fc.leaky_relu(x, slope)).all()


def test_settings_are_heeded(monkeypatch: Any, capfd: Any) -> None:
    x = X[:, :, :8]
    x = x.copy()
    for _ in range(2):
        fc.conv2d(x, W)
    monkeypatch.setenv("FASTCONV_DEBUG", "1")
    fc.conv2d(x, W)
    assert "conv2d." in capfd.readouterr().err
    with fc.options(backend="numpy"):
        fc.conv2d(x, W)
        assert "@numpy" in capfd.readouterr().err
    monkeypatch.delenv("FASTCONV_DEBUG")
    fc.conv2d(x, W)
    assert not capfd.readouterr().err
    monkeypatch.setenv("FASTCONV_BACKEND", "fpga")
    with pytest.raises(ValueError, match="fpga"):
        fc.conv2d(x, W)
    monkeypatch.delenv("FASTCONV_BACKEND")
    if fc.backends()["cuda"] is not None:
        with fc.options(backend="cuda"), pytest.raises(fc.BackendUnavailableError):
            fc.conv2d(x, W)
    with fc.options(algorithm="nothing"), pytest.raises(ValueError, match="unknown algorithm"):
        fc.conv2d(x, W)


def test_known_calls_are_seen_by_those_who_record() -> None:
    for _ in range(2):
        fc.conv2d(X, W)
        fc.relu(X)
    with dispatch.recorded() as calls:
        fc.conv2d(X, W)
        fc.relu(X)
    assert [op for op, _ in calls] == ["conv2d", "activation"]


def test_threads_are_heeded() -> None:
    """A plan tells with how many threads its last call ran."""
    x = RNG.standard_normal((4, 64, 60, 60)).astype(np.float32)
    plan = fc.plan_conv2d(np.ones((64, 64, 3, 3), np.float32))
    for threads in (1, 3, 1, 3):
        with fc.options(threads=threads):
            plan(x)
            assert plan.explain().threads == threads


def test_a_plan_tells_of_its_last_call() -> None:
    plan = fc.plan_conv2d(W)
    small, other = np.zeros((1, 4, 5, 5), np.float32), np.zeros((2, 4, 7, 7), np.float32)
    for x in (small, other, small, other, small):
        plan(x)
        assert "×".join(map(str, x.shape)) in plan.explain().case
    plan.prepare(X.shape)
    assert "2×4×9×11" in plan.explain().case


def test_threads_share_what_is_known() -> None:
    inputs = [RNG.standard_normal((1, 4, 6 + i, 7)).astype(np.float32) for i in range(8)]
    wanted = [fc.conv2d(x, W) for x in inputs]
    plan = fc.plan_conv2d(W)
    planned = [plan(x) for x in inputs]  # perhaps by another kernel
    wrong: list[int] = []

    def work() -> None:
        for _ in range(60):
            for i, x in enumerate(inputs):
                if not ((fc.conv2d(x, W) == wanted[i]).all() and (plan(x) == planned[i]).all()):
                    wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_is_known_is_bounded() -> None:
    plan = fc.plan_conv2d(W)
    for width in range(3, 200):
        plan(np.ones((1, 4, 3, width), np.float32))
        assert "×".join(map(str, (1, 4, 3, width))) in plan.explain().case
    calls = _again.Calls(5)
    for i in range(50):
        asked: _again.Asked = ("", (), (X,), (i,))
        calls.remember(asked, _again._compiled.Outcome(run=None, spec=None, threads=1))
        assert 1 <= len(calls) <= 6


def test_without_the_compiled_wing() -> None:
    out = python("""
        import sys
        sys.modules["fastconv.backends.cython.isa"] = None
        import numpy as np, fastconv as fc
        x, w = np.ones((1, 1, 8, 8), "f4"), np.ones((1, 1, 3, 3), "f4")
        plan = fc.plan_conv2d(w)
        for _ in range(2):
            assert (fc.conv2d(x, w) == 9).all() and (plan(x) == 9).all()
            assert plan.backend != "cython" and fc.relu(x).all() and fc.max_pool2d(x, 2).all()
        print("ok")
    """).stdout
    assert out.strip() == "ok"


@pytest.mark.parametrize("name", CALLS)
def test_these_calls_are_known(name: str) -> None:
    """Otherwise the tests above would say nothing."""
    call, given, named = CALLS[name]
    if isinstance(call, fc.Conv2dPlan):
        call = fc.plan_conv2d(W, layout="NHWC" if "nhwc" in name else "NCHW")
        assert len(call._calls) == 0
        call(*given)
        assert len(call._calls) == 2  # the call, and what it tells
        return
    dispatch.choose_anew()
    before = len(_again.known)
    call(*given, **named)
    assert len(_again.known) == before + 1
    call(*given, **named)
    assert len(_again.known) == before + 1
