"""How kernels are launched: arguments packed for the driver, and calls of a plan that repeat.

The driver here is a stand-in that reads what it is handed; that the real one runs it is for a card
to show.
"""

from __future__ import annotations

import contextlib
import ctypes
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv as fc
from fastconv import device, streams
from fastconv.device import DeviceArray
from fastconv.dispatch import available

simulated = pytest.mark.skipif(
    available("cuda") is not None or not device.SIMULATED, reason="NUMBA_ENABLE_CUDASIM is not set"
)
RNG = np.random.default_rng(6)
X = RNG.standard_normal((1, 4, 5, 6)).astype(np.float32)
W = RNG.standard_normal((5, 4, 3, 3)).astype(np.float32)
BIAS = RNG.standard_normal(5).astype(np.float32)


class Driver:
    """Reads the arguments of each launch as a kernel of these kinds would."""

    def __init__(self, kinds: str, current: int = 0, answer: int = 0) -> None:
        self.kinds, self.current, self.answer, self.seen = kinds, current, answer, []

    def cuCtxGetDevice(self, place: Any) -> int:
        place._obj.value = self.current
        return 0 if self.current >= 0 else 201  # no context in this thread

    def cuLaunchKernel(self, function: int, *more: Any) -> int:
        *grid, stream, values, extra = more
        assert extra is None
        found = [
            (ctypes.c_double if kind == "f" else ctypes.c_int64).from_address(values[i]).value
            for i, kind in enumerate(self.kinds)
        ]
        self.seen.append((function, tuple(grid), stream, found))
        return self.answer


@pytest.fixture
def launcher(monkeypatch: Any) -> Any:
    found = import_module("fastconv.backends.cuda.launcher")
    monkeypatch.setattr(found, "SIMULATED", False)
    monkeypatch.setattr(
        found, "_compiled",
        lambda build, constants, device: (77, None, found.Source(print, "iif", 96)),
    )
    return found


def _somewhere(stream: int | None, index: int = 0) -> DeviceArray:
    return DeviceArray(0, (1,), (4,), np.dtype("f4"), "numba", index, stream)


@simulated
def test_arguments_reach_the_driver(launcher: Any, monkeypatch: Any) -> None:
    driver = Driver("iif")
    monkeypatch.setattr(launcher, "_driver", lambda: driver)
    launch = launcher.Launch(print, (), 5, (1 << 40, -3, 0.25), _somewhere(4096), (1,))
    launch()
    launch(1 << 41)
    grid = 5, 1, 1, 96, 1, 1, 0
    assert driver.seen == [
        (77, grid, 4096, [1 << 40, -3, 0.25]), (77, grid, 4096, [1 << 40, 1 << 41, 0.25]),
    ]
    for stream, handle in ((None, streams.DEFAULT), (streams.LEGACY, 1), (streams.PER_THREAD, 2)):
        launcher.launch(print, (), 1, (0, 0, 0.0), _somewhere(stream))
        assert driver.seen[-1][2] == handle
    with pytest.raises(ValueError, match="zip"):
        launcher.launch(print, (), 1, (0, 0), _somewhere(None))


@simulated
def test_a_refused_launch_is_an_error(launcher: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(launcher, "_driver", lambda: Driver("iif", answer=1))
    with pytest.raises(RuntimeError, match="CUDA error 1"):
        launcher.launch(print, (), 1, (0, 0, 0.0), _somewhere(None))


@simulated
@pytest.mark.parametrize(("current", "entered"), [(0, [1]), (1, []), (-1, [1])])
def test_the_device_is_entered_if_another_is_current(
    launcher: Any, monkeypatch: Any, current: int, entered: list[int]
) -> None:
    done: list[int] = []

    class GPUs:
        def __getitem__(self, index: int) -> Any:
            done.append(index)
            return contextlib.nullcontext()

    monkeypatch.setattr(launcher, "_driver", lambda: Driver("iif", current))
    monkeypatch.setattr(launcher.cuda, "gpus", GPUs(), raising=False)
    launch = launcher.Launch(print, (), 1, (0, 0, 0.0), _somewhere(None, 1))
    done.clear()
    launch()
    assert done == entered


# ---------------------------------------------------------------- plans


def _put(a: Any, stream: int | None = None) -> DeviceArray:
    there = device.borrowed(a)
    there.stream = stream
    return there


@pytest.fixture
def prepared(monkeypatch: Any) -> list[Any]:
    """A name for every call of a plan that went the ordinary way."""
    from fastconv import plan

    found: list[Any] = []
    convolve = plan.Conv2dPlan._convolve

    def noted(self: Any, x: Any, out: Any) -> Any:
        found.append(x.shape)
        return convolve(self, x, out)

    monkeypatch.setattr(plan.Conv2dPlan, "_convolve", noted)
    return found


@simulated
@pytest.mark.parametrize("algorithm", ["direct", "planar"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_later_calls_of_a_plan_are_only_launched(
    algorithm: str, layout: str, prepared: list[Any]
) -> None:
    plan = fc.plan_conv2d(
        _put(W), _put(BIAS), padding=1, activation="relu", algorithm=algorithm, layout=layout
    )
    for i in range(3):  # other numbers at other addresses
        x = RNG.standard_normal(X.shape).astype(np.float32)
        wanted = fc.conv2d(x, W, BIAS, padding=1, activation="relu", backend="numpy")
        if layout == "NHWC":
            x, wanted = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (x, wanted))
        out = np.full(wanted.shape, np.nan, np.float32)
        assert plan(_put(x), out=_put(out)) is out
        np.testing.assert_allclose(out, wanted, atol=2e-5)
        np.testing.assert_allclose(plan(_put(x)).copy_to_host(), wanted, atol=2e-5)
        assert len(prepared) == 2, f"call {i}"


@simulated
def test_what_differs_is_looked_at_again(prepared: list[Any]) -> None:
    plan = fc.plan_conv2d(_put(W), padding=1, algorithm="direct")
    out = np.empty((1, 5, 5, 6), np.float32)
    plan(_put(X), out=_put(out))
    plan(_put(X), out=_put(out))
    assert len(prepared) == 1
    turned = np.ascontiguousarray(X.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    both = np.zeros(2 * X.size, np.float32)  # x and out in one piece of memory
    overlapping = both[: X.size].reshape(X.shape), both[4 : 4 + out.size].reshape(out.shape)
    for x, target, error, words in (
        (_put(turned), _put(out), None, ""),
        (_put(X, 5), _put(out), None, ""),
        (_put(X), _put(out.astype(np.float64)), TypeError, "out has dtype float64"),
        (_put(X), _put(out[:, :4]), ValueError, "out has shape"),
        (*map(_put, overlapping), ValueError, "out overlaps x"),
        (_put(X.astype(np.float64)), None, TypeError, "dtype"),
        (_put(X), out, TypeError, "out must live on the GPU"),
        (X, _put(out), ValueError, "must live in one place"),
    ):
        before = len(prepared)
        if error is None:
            plan(x, out=target)
        else:
            with pytest.raises(error, match=words):
                plan(x, out=target)
        assert len(prepared) == before + 1
    frozen = _put(out)
    frozen.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        plan(_put(X), out=frozen)
    with fc.options(threads=1):
        plan(_put(X), out=_put(out))
    before = len(prepared)
    with fc.options(stream=9):  # weights were packed on another stream: waited for each time
        plan(_put(X), out=_put(out))
        plan(_put(X), out=_put(out))
    assert len(prepared) == before + 2


@simulated
def test_the_host_is_timed_without_a_card() -> None:
    """The tool's stand-ins keep up with what is asked of arrays and of the driver."""
    from processes import python

    pytest.importorskip("benchmarks.cuda_host")
    out = python(
        """
        import sys
        sys.path.append(sys.argv[1])
        import benchmarks.cuda_host as tool
        tool.ROUNDS, tool.CALLS = 1, 5
        raise SystemExit(tool.main())
        """, str(Path(__file__).parents[1]),
    ).stdout
    assert out.count("µs") == 7
