"""Tiles whose products are taken on tensor cores, for the kernels that :mod:`.tiles` serves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from .fragments import COLUMNS, FORMATS, ROWS, WarpTile
from .primitives import inlined, tensor_product, vector_of, zeros
from .tiles import Scheme, Sharing, Tile

GAP = 8
"""Numbers between the rows of a factor in shared memory, whose length is a multiple of 32: the
lanes of a warp read four rows at eight places each, and so all 32 banks."""


@dataclass(frozen=True)
class TensorTile(Tile):
    """``pixels`` × ``channels`` sums of a block, of warps that have ``warp_rows`` ×
    ``warp_columns`` of them; columns are what lies side by side in the result."""

    depth: int = 16
    stages: int = 2
    format: str = "tf32x3"
    warp_rows: int = 64
    warp_columns: int = 32

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.pixels * self.channels // (self.warp_rows * self.warp_columns) * 32

    def scheme(self, dtype: str, pixels_last: bool) -> Scheme:
        """How a block's warps multiply."""
        return _scheme(self, pixels_last)


def tiles(format: str) -> tuple[TensorTile, ...]:
    """From the largest to the smallest; a guess, until they are timed on a card."""
    # What a stage's sums take beside the others leaves room for one block of 255 registers.
    blocks = 1 if FORMATS[format].rounds_apart else 2
    return (
        TensorTile(128, 128, format=format, blocks=blocks),
        TensorTile(128, 64, format=format, blocks=2 * blocks),
        TensorTile(64, 64, format=format, warp_rows=32, blocks=3),
        TensorTile(32, 32, format=format, warp_rows=16, warp_columns=16, blocks=4),
    )


@cache
def _scheme(tile: TensorTile, pixels_last: bool) -> Scheme:
    pixel_row, channel_row = tile.pixels + GAP, tile.channels + GAP
    stage, apart = tile.depth * (pixel_row + channel_row), tile.depth * pixel_row
    wide, row_step, column_step = tile.channels, pixel_row, channel_row
    if pixels_last:
        wide, row_step, column_step = tile.pixels, channel_row, pixel_row
    warp_rows, warp_columns = tile.warp_rows, tile.warp_columns
    warps = wide // warp_columns
    down = warp_rows // ROWS
    whole = WarpTile(tile.format, warp_rows, warp_columns, tile.depth, row_step, column_step)
    inner, count = tensor_product(whole), whole.count
    rows_at, columns_at = (apart, 0) if pixels_last else (0, apart)

    @inlined
    def place(thread):
        # Where the lane's first sum stands: PTX gives it two columns of row l // 4.
        warp, lane = thread // 32, thread % 32
        return (
            warp % warps * warp_columns + lane % 4 * 2,
            warp // warps * warp_rows + lane // 4,
        )

    @inlined
    def row_of(r):
        return r // 2 * ROWS + r % 2 * 8

    @inlined
    def multiply(sums, memory, slot, column, row, thread):
        base, term = slot * stage, thread % 4
        # Of the second factor a lane holds column l // 4, not that of its sums.
        second = column - thread % 4 * 2 + thread % 32 // 4
        return inner(
            sums, memory, base + rows_at + term * row_step + row,
            memory, base + columns_at + term * column_step + second, thread,
        )

    shape = Sharing(tile, "float32", pixels_last, pixel_row, channel_row, stage, 4)
    return Scheme(
        shape, place, multiply, zeros(count, "float32"), vector_of(count, 2, "float32"), 2,
        warp_columns // COLUMNS, 2 * down, COLUMNS, row_of,
    )
