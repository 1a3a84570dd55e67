"""Addresses of arrays, and scratch memory that starts on a cache line."""

from __future__ import annotations

import threading
from ctypes import c_size_t
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

LINE = 64
"""Bytes of a cache line, and of the widest vector: an aligned one never straddles two lines."""


class Buffer(NamedTuple):
    """Memory that lives as long as this object does."""

    address: int
    owner: npt.NDArray[np.uint8]


def buffer(size: int) -> Buffer:
    """``size`` uninitialised bytes from a cache line on; MemoryError if there are none."""
    owner = np.empty(size + LINE, np.uint8)
    return Buffer(-(-address(owner) // LINE) * LINE, owner)


MOST_KEPT = 16 << 20
"""Bytes of scratch memory that a thread keeps between two calls."""


class _Kept(threading.local):
    owner: npt.NDArray[np.uint8] | None = None


_kept = _Kept()


class Scratch:
    """``with Scratch(size) as address``: memory for one call, in pages that this thread has touched
    before where it can: fresh ones cost more than many a kernel. Calls within a call get their own.
    """

    __slots__ = ("_owner", "_size")

    def __init__(self, size: int) -> None:
        self._size = size

    def __enter__(self) -> int:
        owner, _kept.owner = _kept.owner, None
        if owner is None or owner.size < self._size + LINE:
            owner = np.empty(self._size + LINE, np.uint8)
        self._owner = owner
        return -(-address(owner) // LINE) * LINE

    def __exit__(self, *error: object) -> None:
        if self._owner.size <= MOST_KEPT:
            _kept.owner = self._owner


_FIRST_FIELD = object.__basicsize__


def address(array: npt.NDArray[Any] | None) -> int:
    """Where the array's first element lies; 0 for None."""
    return 0 if array is None else c_size_t.from_address(id(array) + _FIRST_FIELD).value


def _slow_address(array: npt.NDArray[Any] | None) -> int:
    return 0 if array is None else int(array.ctypes.data)


# The first field of an array in memory is the address of its data, in every NumPy so far: asking
# for it by name takes longer than a small kernel.
_probe = np.zeros(3)[1:]
if address(_probe) != _slow_address(_probe):
    address = _slow_address


def whole_lines(size: int) -> int:
    """``size`` rounded up to whole cache lines."""
    return -(-size // LINE) * LINE
