"""The register tile that all products of the wing share: sizes, shared memory, who holds what.

A block computes ``rows`` × ``columns`` sums; a thread of it ``per_row`` × ``per_column``, taken
as vectors of 16 bytes that lie apart, so that the threads of a warp read shared memory without
conflicts. ``stages`` buffers of ``depth`` terms are filled by asynchronous copies while one is
multiplied (the scheme of NVIDIA's CUTLASS, "Efficient GEMM in CUDA").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from .primitives import BYTES, i32, inlined, tile_product, vector_copier, vector_of, zeros


@dataclass(frozen=True)
class Tile:
    """``pixels`` × ``channels`` sums of a block."""

    pixels: int
    channels: int
    depth: int = 8
    per_pixel: int = 8
    """Pixels of a thread."""
    per_channel: int = 8
    """Output channels of a thread."""
    stages: int = 3
    blocks: int = 2
    """Of a multiprocessor at once."""

    @property
    def threads(self) -> int:
        """Of a block."""
        return (self.pixels // self.per_pixel) * (self.channels // self.per_channel)

    def scheme(self, dtype: str, pixels_last: bool) -> Scheme:
        """How a block's threads multiply."""
        return _scheme(self, dtype, pixels_last)


FLOAT32 = (
    Tile(128, 128), Tile(128, 64, per_pixel=8, per_channel=4, blocks=2),
    Tile(64, 64, per_pixel=4, per_channel=4, blocks=3),
    Tile(128, 32, per_pixel=8, per_channel=4, blocks=3),
    Tile(32, 32, per_pixel=4, per_channel=4, blocks=8),
)
"""From the largest to the smallest; a guess, until they are timed on a card."""
FLOAT64 = (
    Tile(64, 64, per_pixel=4, per_channel=4, blocks=2),
    Tile(32, 32, per_pixel=4, per_channel=4, blocks=4),
)


def fitting(
    tiles: tuple[Tile, ...], channels: int, pixels: int, products: int, processors: int
) -> Tile:
    """The largest tile that channels fill and that still gives every multiprocessor a block of
    ``products`` alike; else the smallest."""
    for tile in tiles:
        blocks = -(-channels // tile.channels) * -(-pixels // tile.pixels) * products
        if channels > tile.channels // 2 and blocks >= processors:
            return tile
    return tiles[-1]


@dataclass(frozen=True)
class Sharing:
    """A tile's places in shared memory, in numbers of ``dtype``, and its inlined functions.

    ``pixels_last`` says which factor's vectors end up side by side in the result: pixels, where
    planes are contiguous, or channels.
    """

    tile: Tile
    dtype: str
    pixels_last: bool
    pixel_row: int
    """Numbers from a term of the pixels' factor to the next, padding included."""
    channel_row: int
    stage: int
    """Numbers of a stage: the pixels' factor, then the channels'."""
    lanes: int

    @property
    def nbytes(self) -> int:
        """Of all stages."""
        return self.stage * self.tile.stages * (8 if self.dtype == "float64" else 4)


def sharing(tile: Tile, dtype: str, pixels_last: bool) -> Sharing:
    """How ``tile`` lies in shared memory for numbers computed in ``dtype``."""
    lanes = BYTES // (8 if dtype == "float64" else 4)
    pixel_row = tile.pixels + (0 if pixels_last else lanes)
    channel_row = tile.channels
    return Sharing(
        tile, dtype, pixels_last, pixel_row, channel_row,
        tile.depth * (pixel_row + channel_row), lanes,
    )


@cache
def row_copier(shape: Sharing, *, channels: bool) -> Any:
    """``fetch(memory, stage, k0, factor, at0, row, terms, reach, thread)``: copies a stage's rows
    of one factor, the channels' or the pixels', which are whole vectors: terms from ``k0`` on,
    numbers of a row from ``at0`` on, 0 beyond ``terms`` and ``reach``."""
    tile, lanes = shape.tile, shape.lanes
    size = 8 if shape.dtype == "float64" else 4
    of_row = (tile.channels if channels else tile.pixels) // lanes
    shared_row = shape.channel_row if channels else shape.pixel_row
    start = tile.depth * shape.pixel_row if channels else 0
    threads, vectors, stage = tile.threads, tile.depth * of_row, shape.stage
    turns, whole = -(-vectors // threads), vectors % threads == 0
    copy = vector_copier(shape.dtype)

    @inlined
    def fetch(memory, slot, k0, factor, at0, row, terms, reach, thread):
        base = factor + size * (k0 * row + at0)
        for i in range(turns):
            e = i32(thread + i * threads)
            if whole or e < vectors:
                k, at = i32(e // of_row), i32(e % of_row * lanes)
                there = (i32(k0 + k) < terms) & (i32(at0 + at) < reach)
                copy(
                    memory, i32(slot * stage + start + k * shared_row + at),
                    base, i32(k * row + at), there,
                )

    return fetch


@cache
def thread_places(tile: Tile, pixels_last: bool) -> Any:
    """``place(thread)``: the thread's position among those along columns and along rows, in
    warps of 8 × 4 where the tile is wide enough."""
    columns = (
        tile.pixels // tile.per_pixel if pixels_last else tile.channels // tile.per_channel
    )
    rows = tile.threads // columns
    if columns % 8 or rows % 4:
        @inlined
        def place(thread):
            return thread % columns, thread // columns
    else:
        warps = columns // 8

        @inlined
        def place(thread):
            warp, lane = thread // 32, thread % 32
            return warp % warps * 8 + lane % 8, warp // warps * 4 + lane // 8

    return place


@cache
def product(shape: Sharing) -> Any:
    """``multiply(sums, memory, stage, column, row, thread)``: one stage added to the sums of a
    thread whose first stands at ``column`` and ``row``."""
    tile, lanes = shape.tile, shape.lanes
    pixels = (shape.pixel_row, tile.pixels // (tile.per_pixel // lanes))
    channels = (shape.channel_row, tile.channels // (tile.per_channel // lanes))
    stage, apart = shape.stage, tile.depth * shape.pixel_row
    if shape.pixels_last:
        inner = tile_product(
            tile.per_channel, tile.per_pixel, tile.depth, channels, pixels, shape.dtype
        )

        @inlined
        def multiply(sums, memory, slot, column, row, thread):
            base = slot * stage
            return inner(sums, memory, base + apart + row, memory, base + column)
    else:
        inner = tile_product(
            tile.per_pixel, tile.per_channel, tile.depth, pixels, channels, shape.dtype
        )

        @inlined
        def multiply(sums, memory, slot, column, row, thread):
            base = slot * stage
            return inner(sums, memory, base + row, memory, base + apart + column)

    return multiply


@dataclass(frozen=True)
class Scheme:
    """What a kernel must know of a tile: where the factors lie in shared memory, who holds which
    sums, and the functions that make them."""

    shape: Sharing
    place: Any
    """``place(thread)``: the column and the row of the thread's first sum."""
    multiply: Any
    """``multiply(sums, memory, stage, column, row, thread)``: one stage added."""
    zero: Any
    take: Any
    """``take(sums, i)``: the i-th vector: of a vector of columns, row after row."""
    lanes: int
    """Numbers of such a vector."""
    vectors: int
    """Of columns."""
    rows: int
    next_column: int
    """From one vector of columns to the next."""
    row_of: Any
    """``row_of(r)``: the thread's r-th row, counted from its first."""


@cache
def _scheme(tile: Tile, dtype: str, pixels_last: bool) -> Scheme:
    shape = sharing(tile, dtype, pixels_last)
    lanes = shape.lanes
    columns, rows, wide, tall = tile.per_pixel, tile.per_channel, tile.pixels, tile.channels
    if not pixels_last:
        columns, rows, wide, tall = rows, columns, tall, wide
    count, row_gap = columns * rows, tall // (rows // lanes)
    place = thread_places(tile, pixels_last)

    @inlined
    def first(thread):
        column, row = place(thread)
        return column * lanes, row * lanes

    @inlined
    def row_of(r):
        return r // lanes * row_gap + r % lanes

    return Scheme(
        shape, first, product(shape), zeros(count, dtype), vector_of(count, lanes, dtype), lanes,
        columns // lanes, rows, wide // (columns // lanes), row_of,
    )
