"""The names of ``intrinsics.py`` in plain Python, for numba's simulator.

A pointer is an address of host memory there, so the same int64 serves. What lies at an address is
read and written through ctypes. Copies to shared memory arrive at once; a tuple of sums is an
ndarray, which is as good as one where it is only handed on.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ...spec import dtype_of, itemsize

BYTES = 16
_lock = threading.Lock()


def power(x: Any, y: Any) -> Any:
    """x ** y of floating numbers, infinite where it is too large."""
    with np.errstate(all="ignore"):
        return np.power(x, y)


def i32(value: int) -> int:
    """The lower 32 bits, signed, as on the card."""
    return (int(value) + (1 << 31)) % (1 << 32) - (1 << 31)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Functions are called as they are."""
    return function


def _cells(pointer: int, index: int, dtype: np.dtype[Any], n: int) -> np.ndarray[Any, Any]:
    """``n`` cells of memory as an array over them."""
    address = int(pointer) + int(index) * dtype.itemsize
    buffer = (ctypes.c_char * (n * dtype.itemsize)).from_address(address)
    return np.frombuffer(memoryview(buffer), dtype, n)


def _computed(dtype: str) -> Any:
    """The type that numbers of ``dtype`` are computed in; int for all integers."""
    if dtype.startswith("int"):
        return int
    return np.dtype("float32" if dtype in ("float16", "bfloat16") else dtype).type


_NATIVE: dict[str, Any] = {
    "float32": ctypes.c_float, "float64": ctypes.c_double, "int32": ctypes.c_int32,
    "int64": ctypes.c_int64,
}


@cache
def loader(dtype: str, *, space: str = "global") -> Any:
    stored, value = dtype_of(dtype), _computed(dtype)
    if dtype not in _NATIVE:
        return lambda pointer, index: value(_cells(pointer, index, stored, 1)[0])
    at, size = _NATIVE[dtype].from_address, stored.itemsize
    return lambda pointer, index: value(at(int(pointer + index * size)).value)


@cache
def storer(dtype: str, *, space: str = "global") -> Any:
    stored = dtype_of(dtype)
    if dtype in _NATIVE:
        at, size = _NATIVE[dtype].from_address, stored.itemsize

        def put(pointer: int, index: int, value: Any) -> None:
            at(int(pointer + index * size)).value = value

        return put

    def store(pointer: int, index: int, value: Any) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            _cells(pointer, index, stored, 1)[0] = value

    return store


@cache
def vector_loader(dtype: str, lanes: int = 0, *, space: str = "global") -> Any:
    stored, value = dtype_of(dtype), _computed(dtype)
    lanes = lanes or BYTES // stored.itemsize
    if lanes == 1:
        one = loader(dtype)
        return lambda pointer, index: (one(pointer, index),)

    def load(pointer: int, index: int) -> Any:
        _check_aligned(pointer, index, stored.itemsize, lanes)
        return tuple(value(v) for v in _cells(pointer, index, stored, lanes))

    return load


@cache
def vector_storer(dtype: str, lanes: int = 0, *, space: str = "global") -> Any:
    stored = dtype_of(dtype)
    lanes = lanes or BYTES // stored.itemsize

    def store(pointer: int, index: int, values: Any) -> None:
        _check_aligned(pointer, index, stored.itemsize, lanes)
        with np.errstate(over="ignore", invalid="ignore"):
            _cells(pointer, index, stored, lanes)[:] = values

    return store


def _check_aligned(pointer: int, index: int, size: int, lanes: int) -> None:
    """The card would fail too, without saying where."""
    if (int(pointer) + int(index) * size) % (size * lanes):
        raise ValueError(f"a vector of {lanes} numbers at an address that is not aligned to it")


def shared_memory(nbytes: int) -> Any:
    def memory() -> int:
        block = threading.current_thread()._manager  # type: ignore[attr-defined]
        with _lock:
            if not hasattr(block, "shared"):
                block.shared = np.full(nbytes + BYTES, 0xFF, np.uint8)  # NaN until written
        start = int(block.shared.ctypes.data)
        return -(-start // BYTES) * BYTES

    return memory


@cache
def copier(dtype: str) -> Any:
    value = np.dtype(_computed(dtype))
    load, store = loader(dtype), storer(value.name)

    def copy(to: int, index: int, pointer: int, offset: int, there: bool) -> None:
        store(to, index, load(pointer, offset) if there else 0)

    return copy


@cache
def vector_copier(dtype: str) -> Any:
    stored = dtype_of(dtype)
    lanes = BYTES // itemsize(dtype)

    def copy(to: int, index: int, pointer: int, offset: int, there: bool) -> None:
        _check_aligned(to, index, stored.itemsize, lanes)
        if there:
            _check_aligned(pointer, offset, stored.itemsize, lanes)
        _cells(to, index, stored, lanes)[:] = (
            _cells(pointer, offset, stored, lanes) if there else 0
        )

    return copy


def sent() -> None:
    """Copies arrive at once."""


@cache
def arrived(pending: int) -> Any:
    def wait() -> None:
        """They have."""

    return wait


def quotient(a: int, b: int) -> int:
    """a // b of numbers from 0 to 2³² − 1."""
    return int(a) // int(b)


def remainder(a: int, b: int) -> int:
    """a % b likewise."""
    return int(a) % int(b)


def within(i: int, n: int) -> bool:
    """0 ≤ i < n."""
    return bool(0 <= i < n)


def anew(value: int) -> int:
    """The same number."""
    return int(value)


def reload() -> None:
    """Memory is read whenever it is asked for."""


def raise_to(pointer: int, index: int, value: int) -> None:
    """The i-th int32 becomes the maximum of itself and ``value``."""
    with _lock:
        cell = _cells(pointer, index, np.dtype(np.int32), 1)
        cell[0] = max(int(cell[0]), int(value))


@cache
def zeros(n: int, dtype: str) -> Any:
    value = _computed(dtype)
    return lambda: np.zeros(n, value)


@cache
def vector_of(n: int, count: int, dtype: str) -> Any:
    return lambda values, i: tuple(values[i * count : (i + 1) * count])


@cache
def pushed(n: int, dtype: str) -> Any:
    value_type = _computed(dtype)
    return lambda values, value: (*values[1:], value_type(value))


@cache
def tile_product(
    rows: int, columns: int, depth: int, row_steps: tuple[int, int],
    column_steps: tuple[int, int], dtype: str,
) -> Any:
    stored = dtype_of(dtype)
    lanes = BYTES // stored.itemsize

    def fragments(pointer: int, index: int, n: int, steps: tuple[int, int]) -> Any:
        _check_aligned(pointer, index, stored.itemsize, lanes)
        vectors = n // lanes
        reach = (depth - 1) * steps[0] + (vectors - 1) * steps[1] + lanes
        cells = _cells(pointer, index, stored, reach)
        shape, size = (depth, vectors, lanes), stored.itemsize
        strides = steps[0] * size, steps[1] * size, size
        return np.lib.stride_tricks.as_strided(cells, shape, strides)

    def multiply(sums: Any, a: int, i: int, b: int, j: int) -> Any:
        u = fragments(a, i, rows, row_steps).reshape(depth, 1, rows, 1)
        v = fragments(b, j, columns, column_steps)[:, :, None, :]
        with np.errstate(all="ignore"):
            total = sums.reshape(columns // lanes, rows, lanes)
            for k in range(depth):
                total = total + u[k] * v[k]
        return total.ravel()

    return multiply
