"""Blocks of tiles, and the tiles at the lower and right end of a picture.

F(4, 3) gives the last tiles of an axis only the points that their outputs need. Tiles are counted
so that those which a point serves follow one another: those at the right, in the interior, at the
bottom, and in the corner (``csrc/simd/winograd_edges.h``).
"""

from __future__ import annotations

from typing import NamedTuple

from .jit import compiled


class Block(NamedTuple):
    """Tiles of a rectangle of one picture, or of several whole pictures."""

    group: int
    picture: int
    pictures: int
    row: int
    rows: int
    col: int
    cols: int
    """Counted in tiles."""
    whole_rows: int
    whole_cols: int
    """Tiles with m outputs along that axis."""
    height: int
    width: int
    """Outputs of the others, m where there are none."""
    interior: int
    bottom: int
    corner: int
    all: int
    """Where each kind of tiles begins, and the end."""


@compiled
def part_of(i, n, parts):
    """Where part i of n things begins, and how many it has."""
    first = n * i // parts
    return first, n * (i + 1) // parts - first


@compiled
def block_at(i, q):
    """Block ``i`` of all groups."""
    group, i = i // q.blocks, i % q.blocks
    j, i = i % q.col_blocks, i // q.col_blocks
    col, cols = part_of(j, q.tile_cols, q.col_blocks)
    j, i = i % q.row_blocks, i // q.row_blocks
    row, rows = part_of(j, q.tile_rows, q.row_blocks)
    picture = i * q.together
    pictures = min(q.together, q.pictures - picture)
    height = _last_outputs((q.OH + q.DH - 1) // q.DH, row + rows, q)
    width = _last_outputs((q.OW + q.DW - 1) // q.DW, col + cols, q)
    low, right = int(height < q.m), int(width < q.m)
    whole_rows, whole_cols = rows - low, cols - right
    interior = right * pictures * whole_rows
    bottom = interior + pictures * whole_rows * whole_cols
    corner = bottom + low * pictures * whole_cols
    return Block(
        group, picture, pictures, row, rows, col, cols, whole_rows, whole_cols, height, width,
        interior, bottom, corner, pictures * rows * cols,
    )


@compiled
def _last_outputs(outputs, tiles, q):
    """Outputs of the last of ``tiles`` tiles."""
    return min(outputs - (tiles - 1) * q.m, q.m) if q.m == 4 and q.r == 3 else q.m


@compiled
def tile_at(b, picture, row, col):
    """The number of a picture's tile; all counted within the block."""
    if col < b.whole_cols:
        if row < b.whole_rows:
            return b.interior + (picture * b.whole_rows + row) * b.whole_cols + col
        return b.bottom + picture * b.whole_cols + col
    if row < b.whole_rows:
        return picture * b.whole_rows + row
    return b.corner + picture


@compiled
def serves(some, point, q):
    """Whether tiles of ``some`` outputs have the point of that number."""
    return some == q.m or point <= some or point == q.alpha - 1


@compiled
def served_by(b, i, j, q):
    """The first of the tiles that have the points i and j of the two axes, and their number."""
    low, right = serves(b.height, i, q), serves(b.width, j, q)
    first = 0 if right else b.interior
    stop = b.bottom if not low else b.all if right else b.corner
    return first, stop - first


@compiled
def picture_at(i, q):
    """The image that picture ``i`` belongs to, and its place among the interleaved ones."""
    height, width = min(q.DH, q.OH), min(q.DW, q.OW)
    return i // (height * width), i // width % height, i % width
