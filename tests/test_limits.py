"""Absurd numbers and shared state: nothing may overflow, hang, freeze or leak into other calls."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import fastconv as fc

PRESENT = [name for name, absent in fc.backends().items() if absent is None]
X = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype("f4")
W = np.random.default_rng(1).standard_normal((8, 4, 3, 3)).astype("f4")


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize("backend", PRESENT)
def test_a_stride_beyond_the_only_window_means_nothing(backend: str) -> None:
    for step in (2**31, 2**40):
        y = fc.conv2d(ones(1, 4, 4, 2), ones(3, 2, 3, 3), stride=step, layout="NHWC",
                      backend=backend)
        assert y.shape == (1, 1, 1, 3)
        assert np.all(y == 18)
        assert fc.max_pool2d(X, 8, stride=step, backend=backend).shape == (1, 4, 1, 1)


@pytest.mark.parametrize("backend", PRESENT)
def test_a_transposed_stride_that_no_second_cell_uses(backend: str) -> None:
    y = fc.conv_transpose2d(ones(1, 1, 1, 1), ones(1, 1, 3, 3), stride=10**9, backend=backend)
    assert np.all(y == ones(1, 1, 3, 3))


@pytest.mark.parametrize("backend", [b for b in PRESENT if b != "reference"])
def test_windows_far_wider_than_the_picture(backend: str) -> None:
    size = 2**19
    y = fc.sum_pool2d(ones(1, 1, 4, 4), size, stride=1, padding="same", backend=backend)
    assert np.all(y == 16)
    y = fc.conv2d(
        ones(1, 2, 2, 4), ones(4, 4, 2, 2), dilation=size, padding=((size, 0), (size, 0)),
        layout="NHWC", backend=backend,
    )
    assert np.all(y == 4)


@pytest.mark.parametrize("number", [2**41, 2**63, 2**70])
def test_numbers_beyond_the_bound_are_refused(number: int) -> None:
    for call in (
        lambda: fc.conv2d(X, W, stride=number),
        lambda: fc.conv2d(X, W, dilation=number),
        lambda: fc.max_pool2d(X, 2, stride=number),
        lambda: fc.avg_pool2d(X, 2, divisor_override=number),
    ):
        with pytest.raises(ValueError, match="must be at most"):
            call()


@pytest.mark.parametrize("padding", [2**30, 2**70])
def test_a_padded_picture_that_no_memory_holds(padding: int) -> None:
    with pytest.raises(MemoryError, match="padded input would be too large"):
        fc.conv2d(X, W, padding=padding, stride=2**31)


def test_too_many_threads_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 1024"), fc.options(threads=50_000):
        pass
    with pytest.raises(ValueError, match="at most 1024"):
        fc.set_num_threads(2**31)


def test_a_plan_is_not_changed_by_options_around_its_calls() -> None:
    plan = fc.plan_conv2d(W, backend="numpy")
    free = fc.plan_conv2d(W)
    free.prepare(X.shape)
    usual = free.backend
    other = fc.plan_conv2d(W)
    with fc.options(backend="reference"):
        plan(X)
        other(X)
    assert plan.backend == "numpy"
    assert other.backend == usual
    assert other.explain().backend == usual


def test_a_plan_does_not_follow_the_lists_it_was_made_from() -> None:
    stride = [1, 1]
    plan = fc.plan_conv2d(W, stride=stride)
    stride[0] = 2
    assert plan(X).shape == (1, 8, 6, 6)
    assert fc.plan_conv2d(W, x_shape=list(X.shape)).algorithm is not None


def test_one_options_object_in_two_threads() -> None:
    shared, barrier, seen = fc.options(threads=3), threading.Barrier(2), []

    def work() -> None:
        with shared:
            barrier.wait()
            seen.append(fc.get_num_threads())
        barrier.wait()
        seen.append(fc.get_num_threads())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen[:2] == [3, 3]
    assert seen[2:] == [fc.get_num_threads()] * 2


def test_filter2d_refuses_an_out_that_holds_its_kernel() -> None:
    out = np.zeros((8, 8, 1), np.float32)
    kernel = out[:3, :3, 0]
    with pytest.raises(ValueError, match="overlaps kernel"):
        fc.filter2d(X[0, 0], [kernel], out=out)


def test_conv2d_pool2d_wants_one_dtype_in_halves_too() -> None:
    with pytest.raises(TypeError, match="bias has float64"):
        fc.conv2d_pool2d(X.astype("f2"), W.astype("f2"), np.ones(8))


def test_an_out_whose_rows_share_cells_is_refused() -> None:
    out = as_strided(np.zeros(20, np.float32), (3, 2), (4, 4))
    with pytest.raises(ValueError, match="overlaps itself"):
        fc.tanh(X[0, 0, :3, :2], out=out)


@pytest.mark.parametrize("backend", PRESENT)
def test_unpooling_takes_halves_everywhere(backend: str) -> None:
    x = np.array([[[[1.5, 2.5]]]], np.float16)
    y = fc.max_unpool2d(x, np.array([[[[3, 4]]]]), 2, backend=backend)
    assert y.dtype == np.float16
    assert y.ravel().tolist() == [0, 0, 0, 1.5, 2.5, 0, 0, 0]


def test_an_unknown_algorithm_in_options_is_reported() -> None:
    with fc.options(algorithm="bogus"), pytest.raises(ValueError, match="bogus"):
        fc.relu(X)
