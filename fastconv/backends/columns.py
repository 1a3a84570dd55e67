"""Winograd's convolution down the columns of planes: how it is cut, for all wings.

The KH taps of a column are groups of four, the last filled up with zeros. Tile t of outputs has
rows 4t … of the result, and group g of its taps reads what group 0 reads for tile t + g: so all
inputs are transformed once, and at each point what is left is a convolution by a kernel of as many
rows as there are groups.
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

BLOCK = 2048
"""Bytes of a block of columns,"""
BAND_BYTES = 640 * 1024
"""and of the values and products of a band."""
FEWEST = 6
"""Tiles of a band: its neighbours transform rows again."""
SHARE = 4
"""Tasks that a thread should find, at least."""
LINE = 64
"""Bytes of a cache line."""


class Columns(NamedTuple):
    """One convolution; distances count elements."""

    groups: int
    """Of taps of a column."""
    tiles: int
    """Of a band, the last of which may have fewer."""
    cols: int
    """Of a block, in whole vectors."""
    bands: int
    blocks: int
    all_tiles: int
    tasks: int
    """Bands and blocks of all groups and images."""
    values_row: int
    values_plane: int
    products_row: int
    products_plane: int


@lru_cache(maxsize=512)
def columns_of(spec: Conv2dSpec, vector_bits: int, threads: int) -> Columns:
    """The cut for ``threads`` threads; it decides no bit of the result."""
    size = np.dtype(spec.dtype).itemsize
    lanes = vector_bits // (8 * size)
    icg, ocg, reach = spec.IC // spec.G, spec.OC // spec.G, (spec.KW - 1) * spec.DW
    groups, all_tiles = -(-spec.KH // TAPS), -(-spec.OH // TILE)
    # The blocks of a wide kernel are wide too: neighbours transform its extent twice.
    blocks = max(1, spec.OW // max(BLOCK // size, 4 * reach))
    cols = _up(-(-spec.OW // blocks), lanes)
    blocks = -(-spec.OW // cols)
    values_row = _odd_lines(cols + _up(reach, lanes) + lanes, size)
    products_row = _odd_lines(cols, size)
    tiles = BAND_BYTES // (POINTS * size * (icg * values_row + ocg * products_row)) - groups + 1
    others = spec.N * spec.G * blocks
    if threads > 1:
        tiles = min(tiles, all_tiles * others // (SHARE * threads))
    tiles = -(-all_tiles // -(-all_tiles // max(FEWEST, tiles)))
    bands = -(-all_tiles // tiles)
    return Columns(
        groups, tiles, cols, bands, blocks, all_tiles, others * bands, values_row,
        values_row * (tiles + groups - 1), products_row, products_row * tiles,
    )


def _up(n: int, step: int) -> int:
    return -(-n // step) * step


def _odd_lines(cells: int, size: int) -> int:
    """Cells of an odd number of cache lines: rows and planes do not push each other out."""
    return (-(-cells * size // LINE) | 1) * LINE // size


def weights_at_points(spec: Conv2dSpec, w: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[group][point][output channel][input channel][group of taps][KW]."""
    groups = -(-spec.KH // TAPS)
    taps = np.zeros((*w.shape[:2], groups * TAPS, spec.KW))
    taps[:, :, : spec.KH] = w
    taps = taps.reshape(spec.G, -1, w.shape[1], groups, TAPS, spec.KW)
    points = np.einsum("at,goirtk->gaoirk", transforms(TILE, TAPS).G_mat, taps)
    return np.ascontiguousarray(points, w.dtype)
