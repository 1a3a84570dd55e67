"""Addresses of arrays, and scratch memory that starts on a cache line."""

from __future__ import annotations

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


def address(array: npt.NDArray[Any] | None) -> int:
    """Where the array's first element lies; 0 for None."""
    return 0 if array is None else int(array.ctypes.data)


def whole_lines(size: int) -> int:
    """``size`` rounded up to whole cache lines."""
    return -(-size // LINE) * LINE
