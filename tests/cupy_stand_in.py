"""What the FFT row asks of CuPy, from NumPy and SciPy: the simulator's memory is the host's.

Only the functions that the row is known to need are here, with CuPy's arguments: whatever else it
asks for, or SciPy's ``workers``, is an error. What this cannot show is what CuPy itself does on a
card: its copies and work areas, the order of its work on a stream, cuFFT's errors and speed.
"""

from __future__ import annotations

import importlib.machinery
import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.fft

from fastconv import dispatch

FUNCTIONS = (
    "ascontiguousarray", "empty", "empty_like", "matmul", "multiply", "pad", "zeros", "zeros_like",
)


class _Host:
    """An array with the CUDA array interface as one of the host's."""

    def __init__(self, a: Any) -> None:
        told = a.__cuda_array_interface__
        assert told["stream"] is None, "CuPy would wait for that stream"
        self.owner = a
        self.__array_interface__ = {k: told[k] for k in ("shape", "typestr", "data", "strides")}
        self.__array_interface__["version"] = 3


def _transform(name: str) -> Any:
    function = getattr(scipy.fft, name)

    def transform(
        x: Any, n: int | None = None, axis: int = -1, norm: str | None = None,
        overwrite_x: bool = False, *, plan: Any = None,
    ) -> Any:
        return function(x, n, axis, norm, overwrite_x)

    return transform


def install(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Put it in CuPy's place for a test; what is returned lists the devices and streams entered,
    stream 0 for the null stream."""
    entered: list[tuple[int, int]] = []

    def module(name: str, **members: Any) -> ModuleType:
        made = ModuleType(name)
        made.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(made).update(members)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    class Stream:
        def __init__(self, handle: int, device: int = 0) -> None:
            self.place = device, handle

        def __enter__(self) -> None:
            entered.append(self.place)

        def __exit__(self, *_: object) -> None:
            pass

    Stream.null, Stream.ptds = Stream(0), Stream(2)  # type: ignore[attr-defined]
    module(
        "cupy",
        asarray=lambda a: np.asarray(_Host(a)),
        cuda=SimpleNamespace(
            Device=lambda index: nullcontext(), Stream=Stream, ExternalStream=Stream,
            get_current_stream=lambda device: SimpleNamespace(ptr=9),
        ),
        **{name: getattr(np, name) for name in FUNCTIONS},
    )
    transforms = module(
        "cupyx.scipy.fft", **{name: _transform(name) for name in ("fft", "ifft", "rfft", "irfft")}
    )
    module("cupyx", scipy=module("cupyx.scipy", fft=transforms))
    dispatch.lacking.cache_clear()
    monkeypatch.setitem(dispatch._LACKING, "cupy", lambda: None)
    return entered
