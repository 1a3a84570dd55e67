"""Winograd's F(4×4, 3×3) with tiles in the lanes: how it is cut, for all wings.

A row of tiles is four rows of pixels; a vector of them is four vectors of pixels. A task is a block
of such vectors, whose transformed inputs stay in the first cache while they meet the weights of all
output channels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..spec import Conv2dSpec
from .winograd import transforms

SIDE, TAPS = 4, 3
ALPHA = SIDE + TAPS - 1

APART = 1.25
"""What it takes to write rows of pixels that shared vectors."""
BLOCK = 36 * 1024
"""Bytes of the transformed inputs of a task, if one vector of tiles is not more."""


class TileRows(NamedTuple):
    """One convolution; it decides no bit of the result."""

    rows: int
    """Of tiles."""
    vectors: int
    """Of tiles, in a row."""
    blocks: int
    """That a row is cut into: block i has the vectors from vectors · i // blocks on."""
    most: int
    """Vectors of a block."""
    tasks: int
    """Blocks of all rows, groups and images."""
    together: int = 1
    """Rows of a task, side by side in the lanes,"""
    lanes: int = 0
    """each of which has so many of them: an idle one keeps it apart from the next."""


@lru_cache(maxsize=512)
def tile_rows_of(spec: Conv2dSpec, vector_bits: int, narrow: bool = False) -> TileRows:
    """The cut for vectors of so many bits; whether several rows may share vectors that narrow maps
    do not fill."""
    lanes = vector_bits // (8 * np.dtype(spec.dtype).itemsize)
    rows, tiles = -(-spec.OH // SIDE), -(-spec.OW // SIDE)
    vectors = -(-tiles // lanes)
    inputs = ALPHA * ALPHA * (spec.IC // spec.G) * vector_bits // 8
    most = max(1, BLOCK // inputs)
    blocks = -(-vectors // most)
    if narrow:
        together = _together(rows, tiles, lanes, most)
        if together > 1:
            filled = -(-together * (tiles + 1) // lanes)
            tasks = spec.N * spec.G * -(-rows // together)
            return TileRows(rows, filled, 1, filled, tasks, together, tiles + 1)
    return TileRows(rows, vectors, blocks, -(-vectors // blocks), spec.N * spec.G * rows * blocks)


def _together(rows: int, tiles: int, lanes: int, most: int) -> int:
    """How many rows of tiles fill ``most`` vectors best, if that gains more than it costs to take
    them apart again."""

    def of_task(n: int) -> int:
        return -(-n * (tiles + 1) // lanes)

    def vectors(n: int) -> int:
        """Of all rows, n by n."""
        return rows // n * of_task(n) + of_task(rows % n)

    able = range(1, min(rows, most * lanes // (tiles + 1)) + 1)
    best = min(able, key=vectors, default=1)
    return best if APART * vectors(best) < rows * -(-tiles // lanes) else 1


_LINE = 64
"""Bytes of a cache line; no vector is wider."""


class TileWeights:
    """The transformed weights, [output channel][column point][input channel][row point], and what
    is made of them when it is first asked for: vectors of output channels of each group. Threads
    that ask at once make it twice."""

    def __init__(self, w: npt.NDArray[Any], groups: int) -> None:
        self.points = _at_points(w)
        self._groups = groups
        self._panels: npt.NDArray[Any] | None = None

    def along_channels(self, lanes: int) -> npt.NDArray[Any]:
        """[group][vector][…][lane], zero beyond the last channel; vectors do not straddle lines."""
        if self._panels is None:
            points = self.points.reshape(self._groups, len(self.points) // self._groups, -1)
            vectors = -(-points.shape[1] // lanes)
            panels = _aligned((self._groups, vectors, points.shape[2], lanes), points.dtype)
            panels[...] = 0
            for lane in range(lanes):
                these = points[:, lane::lanes]
                panels[:, : these.shape[1], :, lane] = these
            self._panels = panels
        return self._panels


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """An array that starts on a cache line."""
    nbytes = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(nbytes + _LINE, np.uint8)
    first = -memory.ctypes.data % _LINE
    return memory[first : first + nbytes].view(dtype).reshape(shape)


def _at_points(w: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The transformed weights, [output channel][column point][input channel][row point]."""
    matrix = transforms(SIDE, TAPS).G_mat
    points = np.einsum("jk,il,oclk->ojci", matrix, matrix, w, optimize=True)
    return np.ascontiguousarray(points, w.dtype)
