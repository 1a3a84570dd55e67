"""On which CUDA stream work goes, and for which it waits, on numba's simulator and with stand-ins.

The simulator has no streams: waits and launches are written down here, with stand-ins for the
arrays and streams of other libraries. That the card keeps this order is for a card to show.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import fastconv as fc
from fastconv import config, device, streams
from fastconv.dispatch import available

RNG = np.random.default_rng(5)
X = RNG.standard_normal((1, 3, 5, 6)).astype(np.float32)
W = RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)
BIAS = RNG.standard_normal(4).astype(np.float32)
RIGHT = fc.conv2d(X, W, BIAS, backend="numpy")

simulated = pytest.mark.skipif(
    available("cuda") is not None or not device.SIMULATED, reason="NUMBA_ENABLE_CUDASIM is not set"
)


class Stream:
    """What speaks the stream protocol."""

    def __init__(self, *told: Any) -> None:
        self.told = told

    def __cuda_stream__(self) -> Any:
        return self.told


# ---------------------------------------------------------------- what stands for a stream


def test_streams_of_any_library() -> None:
    for stream, handle in (
        (Stream(0, 4096), 4096), (Stream(0, 0), streams.LEGACY), (Stream(0, 2), 2), (1, 1),
        (77, 77), (type("Torch", (), {"cuda_stream": 9}), 9), (type("CuPy", (), {"ptr": 0}), 1),
    ):
        assert streams.handle_of(stream) == handle
        with fc.options(stream=stream), fc.options(threads=1):
            assert config.stream() == handle
    assert config.stream() is None


def test_what_is_no_stream_is_said() -> None:
    for stream, error, words in (
        (0, ValueError, "stream=0 names no stream; 1 is the legacy"),
        (-1, ValueError, "names no stream"), (True, TypeError, "got builtins.bool"),
        ("s", TypeError, "an object with __cuda_stream__"),
        (Stream(0, "4096"), TypeError, "must return"), (Stream(1, 5), TypeError, "version 1"),
        (Stream(5), TypeError, "must return"),
    ):
        with pytest.raises(error, match=words):
            fc.options(stream=stream)
    assert config.stream() is None


# ---------------------------------------------------------------- who waits


class Driver:
    """As much of ``numba.cuda`` as waiting needs, writing down what is done."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.gpus = type("GPUs", (), {"__getitem__": lambda _, i: contextlib.nullcontext()})()

    legacy_default_stream = staticmethod(lambda: "legacy")
    per_thread_default_stream = staticmethod(lambda: "thread's")
    external_stream = staticmethod(lambda handle: f"stream {handle}")

    def event(self, timing: bool) -> Any:
        assert not timing
        done = self.done

        class Event:
            def record(self, stream: Any) -> None:
                done.append(("record", stream))

            def wait(self, stream: Any) -> None:
                done.append(("wait", stream))

        return Event()


def test_a_stream_waits_by_events(monkeypatch: Any) -> None:
    driver = Driver()
    monkeypatch.setattr(streams, "SIMULATED", False)
    monkeypatch.setattr(streams, "numba_cuda", lambda: driver)
    streams.numba_stream.cache_clear()
    streams.follow(0, 50, [50, None, 2, 1, 60, 60])
    assert driver.done == [
        ("record", "legacy"), ("wait", "stream 50"), ("record", "thread's"), ("wait", "stream 50"),
        ("record", "stream 60"), ("wait", "stream 50"),
    ]
    driver.done.clear()
    streams.follow(0, None, [None, 0])
    assert not driver.done
    streams.follow(0, None, [7])
    assert driver.done == [("record", "stream 7"), ("wait", 0)]  # numba's own default stream
    streams.numba_stream.cache_clear()


class Foreign:
    """An array with the CUDA array interface, over the simulator's memory."""

    def __init__(self, a: Any, stream: Any) -> None:
        self.array = a
        self.__cuda_array_interface__ = {
            "shape": a.shape, "typestr": a.dtype.str, "data": (a.ctypes.data, False),
            "version": 3, "strides": None, "stream": stream,
        }


class Capsule:
    """An array that speaks DLPack only, and keeps which stream was to wait."""

    def __init__(self, a: Any) -> None:
        self.array, self.asked = a, []

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, *, stream: Any = None) -> Any:
        self.asked.append(stream)
        return self.array.__dlpack__()


@pytest.fixture
def seen(monkeypatch: Any) -> dict[str, list[Any]]:
    """Pairs (who waits, for whom), and the streams of launches."""
    launcher = import_module("fastconv.backends.cuda.launcher")
    found: dict[str, list[Any]] = {"waits": [], "launches": []}
    launch = launcher.Launch.__call__

    def noted(self: Any, *pointers: int) -> None:
        found["launches"].append(self._stream)
        launch(self, *pointers)

    monkeypatch.setattr(launcher.Launch, "__call__", noted)
    monkeypatch.setattr(
        streams, "_wait", lambda device, stream, other: found["waits"].append((stream, other))
    )
    return found


def _check(result: Any, wanted: Any = RIGHT) -> None:
    got = result.copy_to_host() if hasattr(result, "copy_to_host") else result.a
    np.testing.assert_allclose(got, wanted, atol=2e-5)


@simulated
def test_work_goes_where_x_is_and_waits_for_the_rest(seen: Any) -> None:
    _check(fc.conv2d(Foreign(X, 11), Foreign(W, 12), Foreign(BIAS, None)))
    assert seen == {"waits": [(11, 12)], "launches": [11, 11]}  # packing, convolution


@simulated
def test_a_named_stream_takes_the_work(seen: Any) -> None:
    with fc.options(stream=Stream(0, 99)):
        _check(fc.conv2d(Foreign(X, 11), Foreign(W, 1), Foreign(BIAS, 99)))
        fc.max_pool2d(Foreign(X, 13), 2)
        fc.relu(Foreign(X, None))
    assert seen["waits"] == [(99, 1), (99, 11), (99, 13)]
    assert seen["launches"] == [99, 99, 99, 99]


@simulated
def test_what_out_is_busy_with_is_waited_for(seen: Any) -> None:
    out = np.full(RIGHT.shape, np.nan, np.float32)
    fc.conv2d(Foreign(X, 11), Foreign(W, 11), Foreign(BIAS, 11), out=Foreign(out, 14))
    np.testing.assert_allclose(out, RIGHT, atol=2e-5)
    assert seen == {"waits": [(11, 14)], "launches": [11, 11]}
    x = X.copy()
    fc.relu(Foreign(x, 11), out=Foreign(x, 15))
    assert seen["waits"][1:] == [(11, 15)]
    assert seen["launches"][2:] == [11]


@simulated
def test_numbers_of_the_interface(seen: Any) -> None:
    for told, stream in ((1, 1), (2, 2), (0, 1), (5, 5), (None, None)):
        found = device.read("x", Foreign(X, told))
        assert found is not None
        assert found.stream == stream
    for told in ("11", -1, 2.5):
        with pytest.raises(TypeError, match=r"x has a broken __cuda_array_interface__: stream"):
            fc.relu(Foreign(X, told))


@simulated
def test_dlpack_is_told_who_will_read(seen: Any) -> None:
    x, w, bias = (Capsule(a) for a in (X, W, BIAS))
    _check(fc.conv2d(x, w, bias))
    assert x.asked == w.asked == bias.asked == [streams.LEGACY]
    assert seen == {"waits": [], "launches": [1, 1]}
    with fc.options(stream=31):
        fc.relu(x)
    assert x.asked == [1, 31]
    assert seen == {"waits": [], "launches": [1, 1, 31]}


@simulated
def test_a_plan_on_other_streams_than_its_weights(seen: Any) -> None:
    plan = fc.plan_conv2d(Foreign(W, 11), Foreign(BIAS, 12), x_shape=X.shape)
    assert seen == {"waits": [(11, 12)], "launches": [11]}
    _check(plan(Foreign(X, 13)))
    assert seen["launches"] == [11, 13]
    assert set(seen["waits"][1:]) == {(13, 11)}
    host = fc.plan_conv2d(W, BIAS, x_shape=X.shape, backend="cuda")  # packed on numba's default
    seen["waits"].clear()
    _check(host(Foreign(X, 13)))
    assert seen["waits"] == [(13, 0)]


@simulated
def test_sizes_on_the_card_are_those_of_a_stream() -> None:
    launcher = import_module("fastconv.backends.cuda.launcher")
    here, there = (device.read("x", Foreign(X, stream)) for stream in (21, 22))
    first = launcher.geometry((1, 2, 3), here)
    assert launcher.geometry((1, 2, 3), here) == first
    assert launcher.geometry((1, 2, 3), there) != first


@simulated
def test_a_result_of_numba_names_its_stream(monkeypatch: Any) -> None:
    monkeypatch.setattr(streams, "numba_stream", lambda device, handle: f"stream {handle}")
    assert fc.relu(Foreign(X, 11)).stream == "stream 11"
    with fc.options(stream=12):
        assert fc.relu(Foreign(X, 11)).stream == "stream 12"


# ---------------------------------------------------------------- pools of other libraries


class Pool:
    """A library's current stream, and the streams that it was asked to allocate for."""

    def __init__(self, current: int) -> None:
        self.now, self.made_on, self.kept_for = current, [], []

    @contextlib.contextmanager
    def entered(self, stream: int) -> Iterator[None]:
        before, self.now = self.now, stream
        yield
        self.now = before

    def made(self, array: Any) -> Any:
        self.made_on.append(self.now)
        return array


@simulated
def test_memory_of_torch_is_that_of_the_stream(monkeypatch: Any, seen: Any) -> None:
    pool = Pool(7)

    class Tensor:
        __module__ = "torch"
        is_cuda, requires_grad = True, False
        device = type("device", (), {"index": 0})()

        def __init__(self, a: Any) -> None:
            self.a, self.shape, self.dtype = a, a.shape, f"torch.{a.dtype.name}"

        element_size = lambda self: self.a.itemsize  # noqa: E731
        data_ptr = lambda self: self.a.ctypes.data  # noqa: E731
        record_stream = lambda self, stream: pool.kept_for.append(stream)  # noqa: E731

        def stride(self) -> tuple[int, ...]:
            return tuple(s // self.a.itemsize for s in self.a.strides)

    class Torch:
        float32 = np.float32
        is_grad_enabled = staticmethod(lambda: True)
        empty = staticmethod(
            lambda shape, dtype, device: pool.made(Tensor(np.empty(shape, dtype)))
        )
        empty_like = staticmethod(lambda t: pool.made(Tensor(np.empty_like(t.a))))

        class cuda:
            current_stream = staticmethod(
                lambda index: type("Stream", (), {"cuda_stream": pool.now})
            )
            default_stream = staticmethod(lambda index: 1)
            ExternalStream = staticmethod(lambda handle, device: handle)
            stream = staticmethod(pool.entered)

    monkeypatch.setitem(sys.modules, "torch", Torch)
    x, w, bias = (Tensor(a) for a in (X, W, BIAS))
    _check(fc.conv2d(x, w, bias))
    assert seen == {"waits": [], "launches": [7, 7]}
    assert set(pool.made_on) == {7}
    assert not pool.kept_for
    with fc.options(stream=8):
        _check(fc.conv2d(x, w, bias))
        _check(fc.relu(x), np.maximum(X, 0))
    assert seen == {"waits": [(8, 7), (8, 7)], "launches": [7, 7, 8, 8, 8]}
    assert pool.made_on[-2:] == [8, 8]
    assert pool.kept_for == [8] * 4  # x, w, bias; x
    with fc.options(stream=1):
        fc.relu(x)
    assert pool.made_on[-1] == 1
    assert pool.now == 7


@simulated
def test_memory_of_cupy_is_that_of_the_stream(monkeypatch: Any, seen: Any) -> None:
    pool = Pool(9)

    class Array:
        __module__ = "cupy"
        device = type("Device", (), {"id": 0})

        def __init__(self, a: Any) -> None:
            self.a, self.data = a, type("Memory", (), {"ptr": a.ctypes.data})
            self.__cuda_array_interface__ = Foreign(a, 9).__cuda_array_interface__

    class CuPy:
        empty = staticmethod(lambda shape, dtype: pool.made(Array(np.empty(shape, dtype))))

        class cuda:
            Device = staticmethod(lambda index: contextlib.nullcontext())
            ExternalStream = staticmethod(lambda handle, device: pool.entered(handle))
            get_current_stream = staticmethod(
                lambda index: type("Stream", (), {"ptr": pool.now})
            )

    monkeypatch.setitem(sys.modules, "cupy", CuPy)
    x, w, bias = (Array(a) for a in (X, W, BIAS))
    _check(fc.conv2d(x, w, bias))
    assert set(pool.made_on) == {9}
    with fc.options(stream=10):
        _check(fc.conv2d(x, w, bias))
    assert seen == {"waits": [(10, 9)], "launches": [9, 9, 10, 10]}
    assert pool.made_on[-1] == 10
    assert pool.now == 9


# ---------------------------------------------------------------- several GPUs


@simulated
def test_arrays_of_several_gpus_are_refused() -> None:
    elsewhere = device.borrowed(X.copy())
    elsewhere.device = 1
    with pytest.raises(ValueError, match="x on GPU 1, w on GPU 0"):
        fc.conv2d(elsewhere, Foreign(W, None))
    with pytest.raises(ValueError, match="x on GPU 0, out on GPU 1"):
        fc.relu(Foreign(X, None), out=elsewhere)
    with pytest.raises(ValueError, match="x on GPU 1, w on GPU 0"):
        fc.plan_conv2d(Foreign(W, None))(elsewhere)
    plan = fc.plan_conv2d(W, backend="cuda", algorithm="direct")
    plan(Foreign(X, None))
    beside = device.borrowed(np.empty((1, 4, 3, 4), np.float32))
    beside.device = 1
    with pytest.raises(ValueError, match="the plan's weights are on GPU 0, x on GPU 1"):
        plan(elsewhere, out=beside)
