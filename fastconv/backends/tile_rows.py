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


@lru_cache(maxsize=512)
def tile_rows_of(spec: Conv2dSpec, vector_bits: int) -> TileRows:
    """The cut for vectors of so many bits."""
    lanes = vector_bits // (8 * np.dtype(spec.dtype).itemsize)
    rows, vectors = -(-spec.OH // SIDE), -(-spec.OW // (SIDE * lanes))
    inputs = ALPHA * ALPHA * (spec.IC // spec.G) * vector_bits // 8
    blocks = -(-vectors // max(1, BLOCK // inputs))
    return TileRows(rows, vectors, blocks, -(-vectors // blocks), spec.N * spec.G * rows * blocks)


def weights_at_points(w: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The transformed weights, [output channel][column point][input channel][row point]."""
    matrix = transforms(SIDE, TAPS).G_mat
    points = np.einsum("jk,il,oclk->ojci", matrix, matrix, w, optimize=True)
    return np.ascontiguousarray(points, w.dtype)
