"""Winograd's convolution by groups of taps: how it is cut, for all wings.

The taps of an axis are groups of four, the last filled up with zeros. Tile t of outputs has rows
4t … of the result, and group g of its taps reads what group 0 reads for tile t + g: so all inputs
are transformed once, and at each point what is left is a convolution by a kernel of as many rows
as there are groups. That is done down the columns (``winograd1d``), or along both axes
(``winograd2d``), where one of planes of tiles is left.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..spec import Conv2dSpec
from .winograd import transforms

TILE, TAPS = 4, 4
POINTS = TILE + TAPS - 1
"""Of one axis."""

DOWN, BOTH = 1, 2
"""How many axes are transformed."""
BLOCK = {DOWN: 2048, BOTH: 256}
"""Bytes of a block of columns at one point,"""
BAND_BYTES = {DOWN: 640 * 1024, BOTH: 850 * 1024}
"""and of the values and products of a band at all of them."""
FEWEST = 6
"""Rows of tiles of a band: its neighbours transform rows again."""
SHARE = {DOWN: 4, BOTH: 2}
"""Tasks that a thread should find, at least."""
LINE = 64
"""Bytes of a cache line."""


class TapGroups(NamedTuple):
    """One convolution; distances count elements."""

    points: int
    """Of all transformed axes."""
    side: int
    """Outputs of a tile along a row."""
    down: int
    across: int
    """Taps of the kernel at a point: groups, or what they are along an axis that stays."""
    tiles: int
    """Rows of tiles of a band, the last of which may have fewer."""
    cols: int
    """Tiles of a block's rows, in whole vectors."""
    bands: int
    blocks: int
    all_tiles: int
    all_cols: int
    tasks: int
    """Bands and blocks of all groups and images."""
    values_row: int
    values_plane: int
    products_row: int
    products_plane: int


@lru_cache(maxsize=512)
def tap_groups_of(spec: Conv2dSpec, axes: int, vector_bits: int, threads: int) -> TapGroups:
    """The cut for ``threads`` threads; it decides no bit of the result."""
    size = np.dtype(spec.dtype).itemsize
    lanes = vector_bits // (8 * size)
    icg, ocg = spec.IC // spec.G, spec.OC // spec.G
    side, points = (TILE, POINTS**2) if axes == BOTH else (1, POINTS)
    down, across = -(-spec.KH // TAPS), -(-spec.KW // TAPS) if axes == BOTH else spec.KW
    reach = (across - 1) * spec.DW
    all_tiles, all_cols = -(-spec.OH // TILE), -(-spec.OW // side)
    # The blocks of a wide kernel are wide too: neighbours transform its extent twice.
    blocks = max(1, all_cols // max(BLOCK[axes] // size, 4 * reach))
    cols = _up(-(-all_cols // blocks), lanes)
    blocks = -(-all_cols // cols)
    values_row = _odd_lines(cols + _up(reach, lanes), size)
    products_row = _odd_lines(cols, size)
    row = points * size * (icg * values_row + ocg * products_row)
    tiles = BAND_BYTES[axes] // row - down + 1
    others = spec.N * spec.G * blocks
    if threads > 1:
        tiles = min(tiles, all_tiles * others // (SHARE[axes] * threads))
    tiles = -(-all_tiles // -(-all_tiles // max(FEWEST, tiles)))
    bands = -(-all_tiles // tiles)
    return TapGroups(
        points, side, down, across, tiles, cols, bands, blocks, all_tiles, all_cols,
        others * bands, values_row, values_row * (tiles + down - 1), products_row,
        products_row * tiles,
    )


def _up(n: int, step: int) -> int:
    return -(-n // step) * step


def _odd_lines(cells: int, size: int) -> int:
    """Cells of an odd number of cache lines: rows and planes do not push each other out."""
    return (-(-cells * size // LINE) | 1) * LINE // size


def weights_at_points(spec: Conv2dSpec, axes: int, w: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[group][point][output channel][input channel][down][across]."""
    side, matrix = 1, transforms(TILE, TAPS).G_mat
    if axes == BOTH:
        side, matrix = TAPS, np.asarray(np.kron(matrix, matrix), np.float64)
    down, across = -(-spec.KH // TAPS), -(-spec.KW // side)
    pairs = w.shape[0] * w.shape[1]
    taps = np.zeros((pairs, down * TAPS, across * side))
    taps[:, : spec.KH, : spec.KW] = w.reshape(pairs, spec.KH, spec.KW)
    # The taps of a group as the rows of one matrix, whose columns are all groups.
    groups = taps.reshape(pairs, down, TAPS, across, side).transpose(2, 4, 0, 1, 3)
    points = matrix @ groups.reshape(TAPS * side, -1)
    points = points.reshape(len(matrix), spec.G, -1, w.shape[1], down, across)
    return np.ascontiguousarray(points.swapaxes(0, 1), w.dtype)
