"""From a kernel's source to a launch: compiled once for its constants, on the caller's stream.

A *builder* is a function of compile-time constants (tile, window, activation …) that returns a
:class:`Source`: a Python function over them, for numba to compile. Its arguments are addresses
and integers, all int64, and float64 numbers: cheap to hand over. What else a kernel must know of
a call (sizes, strides) stands in a small array on the card, kept for later calls alike.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from threading import Lock
from typing import Any

import numpy as np
from numba import cuda, types

from ...device import SIMULATED, DeviceArray, _address
from ...streams import numba_stream

MOST_KERNELS = 512
MOST_GEOMETRIES = 512
MOST_CONFIGURATIONS = 2048


@dataclass(frozen=True)
class Source:
    """A kernel before it is compiled."""

    function: Callable[..., None]
    arguments: str
    """A letter for each: ``i`` int64, ``f`` float64."""
    threads: int
    """Of a block."""
    blocks: int = 1
    """Of a multiprocessor at once, at least: bounds the registers."""
    wide: bool = False
    """Whether it moves 16 bytes at a time: ``benchmarks.cuda_compile`` looks for that."""
    products: bool = False
    """Whether its inner loop is one of fused multiplications and additions."""

    @property
    def signature(self) -> Any:
        """As numba writes it."""
        kinds = {"i": types.int64, "f": types.float64}
        return types.void(*(kinds[letter] for letter in self.arguments))


@lru_cache(maxsize=MOST_KERNELS)
def _compiled(build: Callable[..., Source], constants: tuple[Any, ...], device: int) -> Any:
    source = build(*constants)
    if SIMULATED:
        return source.function, source.threads
    kernel = cuda.jit(
        source.signature, launch_bounds=(source.threads, source.blocks)
    )(source.function)
    return kernel, source.threads


def launch(
    build: Callable[..., Source], constants: tuple[Any, ...], blocks: int,
    arguments: tuple[Any, ...], on: DeviceArray,
) -> None:
    """Run ``blocks`` blocks of a kernel where ``on`` lives, on its stream."""
    if SIMULATED:
        kernel, threads = _compiled(build, constants, 0)
        import_module("fastconv.backends.cuda.simulator").run(kernel, blocks, threads, arguments)
        return
    with _on(on.device):
        kernel, threads = _compiled(build, constants, on.device)
        _configured(kernel, blocks, threads, numba_stream(on.device, on.stream))(*arguments)


@lru_cache(maxsize=MOST_CONFIGURATIONS)
def _configured(kernel: Any, blocks: int, threads: int, stream: Any) -> Any:
    """numba's launch configuration, which warns of every grid that does not fill a card."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kernel[blocks, threads, stream]


def _on(device: int) -> AbstractContextManager[Any]:
    """Enter a device, which takes time, only if another is current."""
    current = cuda.current_context().device.id
    return nullcontext() if current == device else cuda.gpus[device]


# ---------------------------------------------------------------- geometry

_geometries: OrderedDict[Any, tuple[int, Any]] = OrderedDict()
_lock = Lock()


def geometry(
    key: tuple[Any, ...], on: DeviceArray, numbers: Callable[[], Iterable[int]] | None = None
) -> int:
    """The address on the card of an int64 array of ``numbers``, which ``key`` stands for; of the
    key's own without. Each stream has its own: what copies it there runs before its kernels."""
    made_for, key = key, (key, on.device, on.stream)
    with _lock:
        found = _geometries.get(key)
        if found is not None:
            _geometries.move_to_end(key)
            return found[0]
    with nullcontext() if SIMULATED else _on(on.device):
        stream = numba_stream(on.device, on.stream)
        made = cuda.to_device(np.array(list(numbers() if numbers else made_for), np.int64), stream)
    with _lock:
        _geometries[key] = _address(made), made
        # What a kernel under way still reads goes back only when numba frees it, which waits.
        while len(_geometries) > MOST_GEOMETRIES:
            _geometries.popitem(last=False)
    return _address(made)


def last_cell(a: DeviceArray) -> int:
    """The last cell of an int32 array that :func:`fastconv.device.scratch` made; waits for it."""
    with nullcontext() if SIMULATED else _on(a.device):
        if not SIMULATED:
            stream = numba_stream(a.device, a.stream)
            stream.synchronize() if stream else cuda.synchronize()
        return int(a.owner[a.size - 1 :].copy_to_host()[0])


def processors(device: int) -> int:
    """Streaming multiprocessors of a device; of the simulator, a few."""
    return 4 if SIMULATED else _processors(device)


@lru_cache(maxsize=16)
def _processors(device: int) -> int:
    with _on(device):
        return int(cuda.current_context().device.MULTIPROCESSOR_COUNT)
