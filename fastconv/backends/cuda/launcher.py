"""From a kernel's source to a launch: compiled once for its constants, on the caller's stream.

A *builder* is a function of compile-time constants (tile, window, activation …) that returns a
:class:`Source`: a Python function over them, for numba to compile. Its arguments are addresses
and integers, all int64, and float64 numbers: cheap to hand over. What else a kernel must know of
a call (sizes, strides) stands in a small array on the card, kept for later calls alike.

Launches go straight to the driver: numba's own take tens of microseconds. A :class:`Launch` has its
arguments packed and can be repeated with other addresses.

Source: cuLaunchKernel, CUDA Driver API, which takes a CUkernel for its function.
"""

from __future__ import annotations

import ctypes
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from threading import Lock
from typing import Any

import numpy as np
from numba import cuda, types

from ...device import SIMULATED, DeviceArray, _address
from ...streams import DEFAULT, PER_THREAD, numba_stream

MOST_KERNELS = 512
MOST_GEOMETRIES = 512


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
    """What to launch (in the simulator, the function itself), what must live as long, and the
    source."""
    source = build(*constants)
    if SIMULATED:
        return source.function, None, source
    kernel = cuda.jit(
        source.signature, launch_bounds=(source.threads, source.blocks)
    )(source.function)
    (only,) = kernel.overloads.values()
    function = only.library.get_cufunc()
    return int(function.handle), (kernel, function), source


class Launch:
    """A kernel with its arguments packed for the driver; calling it runs it, in any thread."""

    __slots__ = (
        "_addresses", "_arguments", "_blocks", "_device", "_doubles", "_function", "_keeps",
        "_lock", "_places", "_stream", "_threads", "_values",
    )

    def __init__(
        self, build: Callable[..., Source], constants: tuple[Any, ...], blocks: int,
        arguments: tuple[Any, ...], on: DeviceArray, places: tuple[int, ...] = (),
        keeps: Any = None,
    ) -> None:
        self._device, self._blocks, self._places = on.device, blocks, places
        with _on(on.device):
            self._function, kept, source = _compiled(build, constants, on.device)
        self._threads, self._keeps, self._lock = source.threads, (kept, keeps), Lock()
        self._stream = on.stream or OWN_DEFAULT
        self._arguments = arguments
        self._values = (ctypes.c_int64 * len(arguments))()
        self._doubles = (ctypes.c_double * len(arguments)).from_buffer(self._values)
        for i, (letter, value) in enumerate(zip(source.arguments, arguments, strict=True)):
            (self._doubles if letter == "f" else self._values)[i] = value
        start = ctypes.addressof(self._values)
        self._addresses = (ctypes.c_void_p * len(arguments))(
            *(start + 8 * i for i in range(len(arguments)))
        )

    def __call__(self, *pointers: int) -> None:
        """Run it where it was prepared for; ``pointers`` replace the arguments at its places."""
        if SIMULATED:
            arguments = list(self._arguments)
            for place, pointer in zip(self._places, pointers, strict=False):
                arguments[place] = pointer
            import_module("fastconv.backends.cuda.simulator").run(
                self._function, self._blocks, self._threads, tuple(arguments)
            )
            return
        with self._lock, _on(self._device):
            for place, pointer in zip(self._places, pointers, strict=False):
                self._values[place] = pointer
            error = _driver().cuLaunchKernel(
                self._function, self._blocks, 1, 1, self._threads, 1, 1, 0, self._stream,
                self._addresses, None,
            )
        if error:
            raise RuntimeError(f"the GPU's driver refused to launch a kernel: CUDA error {error}")


def launch(
    build: Callable[..., Source], constants: tuple[Any, ...], blocks: int,
    arguments: tuple[Any, ...], on: DeviceArray,
) -> None:
    """Run ``blocks`` blocks of a kernel where ``on`` lives, on its stream."""
    Launch(build, constants, blocks, arguments, on)()


OWN_DEFAULT = PER_THREAD if os.environ.get("NUMBA_CUDA_PER_THREAD_DEFAULT_STREAM", "0") not in (
    "", "0") else DEFAULT
"""The stream of arrays that name none: numba's default, where it allocates and copies."""
_here: AbstractContextManager[Any] = nullcontext()


@cache
def _driver() -> Any:
    """The driver's library, with the types of the two functions that every call needs."""
    library = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    word, pointer = ctypes.c_uint, ctypes.c_void_p
    library.cuLaunchKernel.argtypes = [pointer, *[word] * 7, pointer, pointer, pointer]
    library.cuCtxGetDevice.argtypes = [pointer]
    return library


def _on(device: int) -> AbstractContextManager[Any]:
    """Enter a device, which takes time, only if another is current."""
    if SIMULATED:
        return _here
    current = ctypes.c_int(-1)
    failed = _driver().cuCtxGetDevice(ctypes.byref(current))
    if not failed and current.value == device:
        return _here
    there: AbstractContextManager[Any] = cuda.gpus[device]
    return there


# ---------------------------------------------------------------- geometry

_geometries: OrderedDict[Any, tuple[int, Any]] = OrderedDict()
_lock = Lock()


def geometry(
    key: tuple[Any, ...], on: DeviceArray, numbers: Callable[[], Iterable[int]] | None = None
) -> int:
    """The address on the card of an int64 array of ``numbers``, which ``key`` stands for; of the
    key's own without. Each stream has its own: what copies it there runs before its kernels."""
    return kept_geometry(key, on, numbers)[0]


def kept_geometry(
    key: tuple[Any, ...], on: DeviceArray, numbers: Callable[[], Iterable[int]] | None = None
) -> tuple[int, Any]:
    """The same, and the array, for who uses the address later."""
    made_for, key = key, (key, on.device, on.stream)
    with _lock:
        found = _geometries.get(key)
        if found is not None:
            _geometries.move_to_end(key)
            return found
    with _on(on.device):
        stream = numba_stream(on.device, on.stream)
        made = cuda.to_device(np.array(list(numbers() if numbers else made_for), np.int64), stream)
    found = _address(made), made
    with _lock:
        _geometries[key] = found
        # What a kernel under way still reads goes back only when numba frees it, which waits.
        while len(_geometries) > MOST_GEOMETRIES:
            _geometries.popitem(last=False)
    return found


def last_cell(a: DeviceArray) -> int:
    """The last cell of an int32 array that :func:`fastconv.device.scratch` made; waits for it."""
    with _on(a.device):
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
