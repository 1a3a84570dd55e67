"""How Winograd's convolution is cut into blocks of tiles, and where everything lies.

``csrc/simd/winograd.h`` has the stages and their memory; what is cut here is cut there alike, by
the sizes in :mod:`fastconv.backends.winograd`. The cut decides no bit of the result but for the
chunks of channels, and these depend on the weights alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ...spec import LEAKY_SLOPE, Conv2dSpec
from .. import winograd as shared
from . import simd
from .activations import CODES
from .buffers import whole_lines
from .gemm_tile import MOST_UNITS, SHAPES
from .jit import Plan, strides
from .panels import Weights

Strides = tuple[int, ...]


def _up(a: int, b: int) -> int:
    return -(-a // b)


# ---------------------------------------------------------------- weights


class Shape(NamedTuple):
    """What the weights of a convolution F(m, r) are cut into; it knows nothing of the picture.

    A stride cuts the kernel into phases, each with input channels of its own: here these are
    `taps.ICG`, phase after phase.
    """

    m: int
    r: int
    phases: int
    IC: int
    """Input channels of a group."""
    taps: Weights
    """The panels of taps, of all phases as one kernel of r × r."""
    chunk: int
    """Input channels whose products are summed at once; those of a phase."""
    transformed: bool
    """Whether the panels hold transformed weights, else taps."""

    @property
    def alpha(self) -> int:
        """Points of an axis."""
        return self.m + self.r - 1

    @property
    def points(self) -> int:
        """Points of a tile."""
        return self.alpha**2

    @property
    def slabs(self) -> int:
        """Vectors of input channels of all phases."""
        return self.phases * _up(self.IC, self.taps.lanes)

    @property
    def chunks(self) -> int:
        """Chunks of all phases."""
        return self.phases * _up(self.IC, self.chunk)

    @property
    def chunk_bytes(self) -> int:
        """Of a chunk's transformed weights in the widest panel."""
        return self.points * (self.chunk * self.taps.widest | 1) * self.taps.vector

    @property
    def transformed_bytes(self) -> int:
        """Of a whole panel."""
        return self.chunks * self.chunk_bytes

    @property
    def numbers(self) -> dict[str, int]:
        """What kernels read of this."""
        taps = self.taps
        return {
            "m": self.m, "r": self.r, "alpha": self.alpha, "IC": self.IC, "G": taps.G,
            "phases": self.phases, "chunk": self.chunk, "transformed": int(self.transformed),
            "slabs": self.slabs, "chunks": self.chunks, "widest": taps.widest,
            "tile_points": SHAPES[taps.widest].points,
            "transformed_bytes": self.transformed_bytes,
            # as :func:`.panels.panel_start` reads them
            "OCG": taps.OCG, "ICG": taps.ICG, "KH": taps.KH, "KW": taps.KW, "unit": taps.unit,
            "units": taps.units, "panels": taps.panels,
        }


def shape_of(m: int, spec: Conv2dSpec) -> Shape:
    """The cut of the weights for tiles of m × m outputs."""
    return _shape(
        m, spec.OC // spec.G, spec.IC // spec.G, spec.G, max(spec.KH, spec.KW), spec.SH, spec.dtype
    )


@lru_cache(maxsize=512)
def _shape(m: int, oc: int, ic: int, groups: int, taps: int, stride: int, dtype: str) -> Shape:
    number = np.dtype(dtype)
    lanes = simd.BITS // (8 * number.itemsize)
    phases, r = stride * stride, _up(taps, stride)
    units = _up(oc, lanes)
    panels = _up(units, MOST_UNITS)
    if 1 < panels < units:
        panels += panels % 2  # two threads find as many each
    weights = Weights(
        number, groups, oc, phases * ic, r, r, True, lanes, units, panels, phases * ic, 1, lanes
    )
    chunk = shared.LONGEST_CHUNK
    points_bytes = (m + r - 1) ** 2 * weights.widest * weights.vector
    while chunk > shared.SHORTEST_CHUNK and points_bytes * chunk > shared.CHUNK_BYTES:
        chunk //= 2
    shape = Shape(m, r, phases, ic, weights, chunk, False)
    kept = groups * panels * shape.transformed_bytes <= shared.KEPT_BYTES
    return shape._replace(transformed=kept)


# ---------------------------------------------------------------- blocks


WHOLE, SLABS, PANELS = range(3)
"""What a task is: a block; a slab of a block's input; a panel of its output."""


class Cut(NamedTuple):
    """One convolution on arrays with given strides."""

    shape: Shape
    stages: tuple[tuple[int, int], ...]
    """What is a task, and how many there are, one after the other."""
    scratch: int
    """Bytes for all workers, at most one a thread."""
    plan: Plan


class _Blocks(NamedTuple):
    pictures: int
    """The images of the batch; with dilation, for each the interleaved ones."""
    together: int
    """Whole pictures of one block."""
    tile_rows: int
    tile_cols: int
    """Tiles of a picture."""
    row_blocks: int
    col_blocks: int
    """Blocks that a picture is cut into."""

    @property
    def blocks(self) -> int:
        """Of one group."""
        return _up(self.pictures, self.together) * self.row_blocks * self.col_blocks

    @property
    def most_rows(self) -> int:
        """Of a block, in tiles."""
        return _up(self.tile_rows, self.row_blocks)

    @property
    def most_cols(self) -> int:
        """Of a block, in tiles."""
        return _up(self.tile_cols, self.col_blocks)

    def tiles(self, i: int) -> int:
        """Of block ``i``; :func:`.winograd_blocks.block_at` cuts likewise."""
        col, i = i % self.col_blocks, i // self.col_blocks
        row, i = i % self.row_blocks, i // self.row_blocks
        cols = _part(col, self.tile_cols, self.col_blocks)
        rows = _part(row, self.tile_rows, self.row_blocks)
        return rows * cols * min(self.together, self.pictures - i * self.together)


def _part(i: int, n: int, parts: int) -> int:
    return n * (i + 1) // parts - n * i // parts


def _cut_blocks(shape: Shape, spec: Conv2dSpec, threads: int) -> _Blocks:
    """Blocks that fit in the cache, and enough of them to give every thread its share."""
    height, width = min(spec.DH, spec.OH), min(spec.DW, spec.OW)
    pictures = spec.N * height * width
    rows = _up(_up(spec.OH, spec.DH), shape.m)
    cols = _up(_up(spec.OW, spec.DW), shape.m)
    tiles = pictures * rows * cols
    budget = shared.BLOCK_BYTES if shape.transformed else shared.LARGE_BLOCK_BYTES
    taps = shape.taps
    most = max(
        shared.FEWEST, budget // (shape.points * (shape.slabs + taps.widest) * taps.vector)
    )
    most = max(1, min(most, tiles * taps.G * taps.panels // threads))
    if rows * cols <= most:
        together = _up(pictures, _up(pictures, most // (rows * cols)))
        return _Blocks(pictures, together, rows, cols, 1, 1)
    col_blocks = _up(cols, min(shared.MOST_COLUMNS, most))
    row_blocks = _up(rows, max(1, most // _up(cols, col_blocks)))
    return _Blocks(pictures, 1, rows, cols, row_blocks, col_blocks)


def _is_better_shared(shape: Shape, blocks: _Blocks, threads: int) -> bool:
    """Whether all threads should work on each block: their parts of it, slabs and panels, would
    be more alike than whole blocks are."""
    tasks, panels = shape.taps.G * blocks.blocks, shape.taps.panels
    if threads == 1 or tasks < threads:
        return threads > 1
    if tasks > 4 * threads:
        return False
    loads = [0] * threads
    for i in range(tasks):  # each is taken by the thread that comes to an end first
        loads[loads.index(min(loads))] += blocks.tiles((tasks - 1 - i) % blocks.blocks)
    # Of all products one thread does most / all, or its share of the panels.
    return max(loads) * panels > shared.SHARING * sum(loads) * _up(panels, threads) // 16


@lru_cache(maxsize=512)
def make_cut(
    m: int, spec: Conv2dSpec, x_strides: Strides, out_strides: Strides, threads: int
) -> Cut:
    """The cut for up to ``threads`` threads."""
    shape = shape_of(m, spec)
    blocks = _cut_blocks(shape, spec, threads)
    is_shared = _is_better_shared(shape, blocks, threads)
    all_blocks = shape.taps.G * blocks.blocks
    workers = threads if is_shared else min(threads, all_blocks)
    fields: dict[str, int] = {
        name: getattr(spec, name)
        for name in ("IH", "IW", "OH", "OW", "SH", "SW", "DH", "DW", "PT", "PL")
    }
    fields.update(shape.numbers, kernel=spec.KH, activation=CODES[spec.activation])
    fields.update(strides("x", x_strides))
    fields.update(strides("out", out_strides))
    fields.update(blocks._asdict(), blocks=blocks.blocks, shared=int(is_shared))
    fields.update(_memory(shape, blocks))
    sets = all_blocks if is_shared else workers
    fields["values_start"] = workers * fields["share"]
    stages: tuple[tuple[int, int], ...] = ((WHOLE, all_blocks),)
    if is_shared:
        stages = (SLABS, all_blocks * shape.slabs), (PANELS, all_blocks * shape.taps.panels)
    return Cut(
        shape, stages, fields["values_start"] + sets * fields["values_bytes"],
        Plan(shape.taps.zero, slope=LEAKY_SLOPE, **fields),
    )


def _memory(shape: Shape, blocks: _Blocks) -> dict[str, int]:
    """Bytes of each part of scratch memory; planes of points lie an odd number of vectors apart,
    as a power of two would make them push each other out of the first cache."""
    vector, m = shape.taps.vector, shape.m
    tiles = blocks.together * blocks.most_rows * blocks.most_cols
    tile_pitch = tiles | 1
    values_pitch = shape.slabs * tile_pitch | 1
    products_pitch = tiles * shape.taps.widest | 1
    patch_rows, patch_cols = blocks.most_rows * m + shape.r - 1, blocks.most_cols * m + shape.r - 1
    parts = {
        "products_bytes": whole_lines(shape.points * products_pitch * vector),
        "pixels_bytes": whole_lines(blocks.most_rows * blocks.most_cols * m * m * vector),
        "end_bytes": whole_lines((m * shape.alpha + m * m + 1) * vector),
        "weights_bytes": 0 if shape.transformed else whole_lines(shape.chunk_bytes),
    }
    steps = whole_lines(8 * shape.chunk)
    patch = whole_lines((patch_rows + shape.alpha) * (patch_cols | 1) * vector)
    return {
        **parts, "steps_bytes": steps,
        "slab_pitch": tile_pitch * vector, "values_pitch": values_pitch * vector,
        "products_pitch": products_pitch * vector,
        "share": steps + max(patch, sum(parts.values())),
        "values_bytes": whole_lines(shape.points * values_pitch * vector),
    }
