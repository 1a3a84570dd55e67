"""Addresses of arrays, and scratch memory that starts on a cache line."""

from __future__ import annotations

import threading
from collections.abc import Callable
from ctypes import c_size_t, string_at
from functools import cache
from struct import Struct
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


_NOTHING = Buffer(0, np.empty(0, np.uint8))


class _Kept(threading.local):
    block = _NOTHING


_kept = _Kept()


class Scratch:
    """``with Scratch(size) as address``: memory for one call, in pages that this thread has touched
    before where it can: fresh ones cost more than many a kernel. Calls within a call get their own.
    """

    __slots__ = ("_block", "_size")

    def __init__(self, size: int) -> None:
        self._size = size

    def __enter__(self) -> int:
        if not self._size:
            return 0
        block, _kept.block = _kept.block, _NOTHING
        if block.owner.nbytes < self._size + LINE:
            block = buffer(self._size)
        self._block = block
        return block.address

    def __exit__(self, *error: object) -> None:
        if self._size and self._block.owner.nbytes <= MOST_KEPT:
            _kept.block = self._block


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


_FIRST_BYTE = bytes.__basicsize__ - 1  # which counts the zero at the end


def words(numbers: tuple[int, ...]) -> tuple[int, object]:
    """The address of a row of 64-bit integers, for reading, and what keeps them there."""
    owner = _packer(len(numbers))(*numbers)
    return id(owner) + _FIRST_BYTE, owner


def _slow_words(numbers: tuple[int, ...]) -> tuple[int, object]:
    owner = np.array(numbers, np.int64)
    return address(owner), owner


@cache
def _packer(count: int) -> Callable[..., bytes]:
    return Struct(f"{count}q").pack


# In the same way the bytes that CPython packs lie behind its record of them.
_probe_words = words((-3, 5))
if string_at(_probe_words[0], 16) != _probe_words[1]:
    words = _slow_words
