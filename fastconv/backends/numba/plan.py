"""How one convolution is cut into blocks, and where everything lies: all in Python, cached.

A block is a rectangle of output pixels of one image, with some panels of one group's output
channels. Blocks are what threads share out; each is computed by one thread in the same order of
terms whatever its size, so the cut changes no bit of the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from ...spec import LEAKY_SLOPE, Conv2dSpec
from .activations import CODES
from .buffers import LINE, whole_lines
from .gather import Axis, axis
from .gemm_tile import SPARE_POINTS
from .jit import Plan, strides
from .panels import Weights, weights_of

Strides = tuple[int, ...]

_POINTS, _COLUMNS = 512, 128
"""Pixels of a block, and of one of its rows, where channels are in the lanes: enough to make
a panel worth loading, and several rows, which share the input that their windows cover."""
_VECTORS, _VECTOR_COLUMNS = 128, 16
"""The same in vectors of pixels, where those are in the lanes."""
_ROW_VECTORS = 32
"""Vectors of a row of a block whose sums go straight to ``out``,"""
_NEAR = 64 * 1024
"""bytes of its gathered input,"""
_FEW_ROWS = 4
"""and rows that are worth more than long ones."""
_GATHERED = 256 * 1024
"""Bytes of gathered input that a block should not exceed,"""
_SUMS = 256 * 1024
"""and of sums: the second cache holds them with a panel."""
_BLOCKS_PER_THREAD = 4
"""So that a thread that was held up leaves work to the others."""
_FEWEST_POINTS = 48
"""Blocks are not cut further for more threads."""
_PAGE = 4096
"""Channels at this distance meet in one set of the first cache."""


class Cut(NamedTuple):
    """One convolution on arrays with given strides."""

    tasks: int
    scratch: int
    """Bytes for all workers, at most one a thread."""
    straight: bool
    """Whether sums go straight to ``out``: see :mod:`.pixel_rows`."""
    plan: Plan
    """What the kernel reads, by name."""


class _Block(NamedTuple):
    rows: int
    columns: int
    panels: int


@lru_cache(maxsize=512)
def make_cut(
    spec: Conv2dSpec, x_strides: Strides, out_strides: Strides, threads: int, by_tap: bool
) -> Cut:
    """The cut for up to ``threads`` threads; ``by_tap`` as :func:`.gather.axis` has it."""
    weights = weights_of(spec)
    straight = (
        not weights.channels_in_lanes and weights.chunks == 1 and weights.lanes <= spec.OW
        and out_strides[3] == weights.size
    )
    block = _block(spec, weights, threads, by_tap, straight)
    fields = {
        name: getattr(spec, name)
        for name in ("N", "IH", "IW", "OH", "OW", "SH", "SW", "DH", "DW", "PT", "PL")
    }
    fields.update(weights.numbers, widest=weights.widest, activation=CODES[spec.activation])
    fields.update(strides("x", x_strides))
    fields.update(strides("out", out_strides))
    fields.update(_tasks(spec, weights, block))
    fields.update(_sources(spec, weights, block, x_strides, by_tap))
    fields.update(_scratch(spec, weights, block, fields, straight))
    tasks = fields["tasks"]
    plan = Plan(weights.zero, slope=LEAKY_SLOPE, **fields)
    return Cut(tasks, min(threads, tasks) * fields["share"], straight, plan)


# ---------------------------------------------------------------- blocks


def _even(n: int, most: int) -> int:
    """The share of ``n`` in as many nearly equal shares of up to ``most`` as it takes."""
    return -(-n // -(-n // max(1, most)))


def _block(
    spec: Conv2dSpec, weights: Weights, threads: int, by_tap: bool, straight: bool
) -> _Block:
    if straight:
        block = _near_block(spec, weights, by_tap)
    elif weights.channels_in_lanes:
        columns = _even(spec.OW, _COLUMNS)
        block = _with_sums(spec, weights, by_tap, _even(spec.OH, _POINTS // columns), columns)
    else:
        vectors = _even(-(-spec.OW // weights.lanes), _VECTOR_COLUMNS)
        rows = _even(spec.OH, _VECTORS // vectors)
        block = _with_sums(spec, weights, by_tap, rows, vectors * weights.lanes)
    while threads > 1 and _tasks(spec, weights, block)["tasks"] < threads * _BLOCKS_PER_THREAD:
        if block.panels > 1:
            block = block._replace(panels=_even(weights.panels, block.panels // 2))
        elif _points(weights, block) >= 2 * _FEWEST_POINTS and block.rows > 1:
            block = block._replace(rows=_even(spec.OH, block.rows // 2))
        else:
            break
    return block


def _with_sums(
    spec: Conv2dSpec, weights: Weights, by_tap: bool, rows: int, columns: int
) -> _Block:
    """A block of up to so many pixels whose sums wait in memory."""
    block = _Block(rows, columns, weights.panels)
    while _gathered_bytes(spec, weights, block, by_tap) > _GATHERED:
        smaller = _fewer_pixels(spec, weights, block)
        if smaller == block:
            break
        block = smaller
    sums = _points(weights, block) * weights.widest * weights.vector
    return block._replace(panels=_even(weights.panels, _SUMS // sums))


def _near_block(spec: Conv2dSpec, weights: Weights, by_tap: bool) -> _Block:
    """A block whose input stays near; no fewer columns than a vector has lanes."""
    block = _Block(spec.OH, _even(spec.OW, _ROW_VECTORS * weights.lanes), weights.panels)
    while _gathered_bytes(spec, weights, block, by_tap) > _NEAR:
        if block.rows > _FEW_ROWS or (block.rows > 1 and block.columns < 4 * weights.lanes):
            block = block._replace(rows=_even(spec.OH, block.rows - 1))
        elif block.columns >= 4 * weights.lanes:
            block = block._replace(columns=_even(spec.OW, block.columns // 2))
        else:
            break
    return block


def _fewer_pixels(spec: Conv2dSpec, weights: Weights, block: _Block) -> _Block:
    """About half the block: the longer side is cut, as that saves more input."""
    unit = 1 if weights.channels_in_lanes else weights.lanes
    vectors = block.columns // unit
    if vectors > 1 and (block.columns > block.rows or block.rows == 1):
        return block._replace(columns=_even(-(-spec.OW // unit), vectors // 2) * unit)
    return block._replace(rows=_even(spec.OH, block.rows // 2))


def _points(weights: Weights, block: _Block) -> int:
    return block.rows * block.columns // (1 if weights.channels_in_lanes else weights.lanes)


def _tasks(spec: Conv2dSpec, weights: Weights, block: _Block) -> dict[str, int]:
    block_rows, block_columns = -(-spec.OH // block.rows), -(-spec.OW // block.columns)
    panel_groups = -(-weights.panels // block.panels)
    return {
        "rows": block.rows, "columns": block.columns, "block_rows": block_rows,
        "block_columns": block_columns, "panel_group": block.panels,
        "tasks": panel_groups * spec.G * spec.N * block_rows * block_columns,
    }


# ---------------------------------------------------------------- where the input is read


def _axes(spec: Conv2dSpec, weights: Weights, block: _Block, by_tap: bool) -> tuple[Axis, Axis]:
    dense = not weights.channels_in_lanes  # a vector of pixels is read at once
    return (
        axis(block.rows, spec.KH, spec.SH, spec.DH, by_tap),
        axis(block.columns, spec.KW, spec.SW, spec.DW, by_tap, dense),
    )


def _gathered_bytes(spec: Conv2dSpec, weights: Weights, block: _Block, by_tap: bool) -> int:
    rows, columns = _axes(spec, weights, block, by_tap)
    return weights.chunk * rows.cells * columns.cells * weights.size


def _in_place(spec: Conv2dSpec, weights: Weights, x_strides: Strides, by_tap: bool) -> bool:
    """Whether tiles can read x itself: no window leaves the picture."""
    return (
        not by_tap and weights.channels_in_lanes
        and spec.PT <= 0 and (spec.OH - 1) * spec.SH - spec.PT + (spec.KH - 1) * spec.DH < spec.IH
        and spec.PL <= 0 and (spec.OW - 1) * spec.SW - spec.PL + (spec.KW - 1) * spec.DW < spec.IW
        and (x_strides[1] % _PAGE != 0 or weights.ICG == 1)
    )


def _sources(
    spec: Conv2dSpec, weights: Weights, block: _Block, x_strides: Strides, by_tap: bool
) -> Mapping[str, int]:
    """The buffer of the gathered input, and the steps from pixel to pixel and tap to tap."""
    size = weights.size
    rows, columns = _axes(spec, weights, block, by_tap)
    channels_last = weights.channels_in_lanes and x_strides[1] == size != x_strides[3]
    column = weights.chunk * size if channels_last else size
    row = columns.cells * column
    nbytes = whole_lines(rows.cells * row)
    if channels_last:
        channel = size
    else:
        channel = (nbytes // LINE | 1) * LINE  # an odd number: see _PAGE
        nbytes = weights.chunk * channel
    steps = {
        "buffer_channel": channel, "buffer_row": row, "buffer_column": column,
        "channels_last": int(channels_last), "in_place": 0, "gathered": nbytes,
        "channel_step": channel,
        "pixel_row": rows.pixel_step * row, "pixel_column": columns.pixel_step * column,
        "tap_row": rows.tap_step * row, "tap_column": columns.tap_step * column,
        **{f"row_{name}": value for name, value in rows._asdict().items()},
        **{f"column_{name}": value for name, value in columns._asdict().items()},
    }
    if _in_place(spec, weights, x_strides, by_tap):
        _, channel, row, column = x_strides
        steps.update(
            in_place=1, gathered=0, row_groups=1, column_groups=1,
            channel_step=channel, pixel_row=spec.SH * row,
            pixel_column=spec.SW * column, tap_row=spec.DH * row, tap_column=spec.DW * column,
        )
    return steps


def _scratch(
    spec: Conv2dSpec, weights: Weights, block: _Block, fields: Mapping[str, int], straight: bool
) -> Mapping[str, int]:
    """Bytes of each part of a thread's scratch memory, in their order."""
    points = _points(weights, block) + max(SPARE_POINTS, weights.lanes)
    parts = {
        "steps_bytes": whole_lines(8 * weights.chunk * spec.KH * spec.KW),
        "offsets_bytes": 0, "sums_bytes": 0, "square_bytes": 0,
    }
    if not straight:
        parts.update(
            offsets_bytes=whole_lines(8 * points), square_bytes=weights.lanes * weights.vector,
            sums_bytes=block.panels * weights.widest * points * weights.vector,
        )
    share = sum(parts.values()) + fields["gathered"]
    return {**parts, "points": points, "share": share}


def scratch_bytes(spec: Conv2dSpec, threads: int, by_tap: bool) -> int:
    """The most that any strides may take: the input gathered in either order."""
    size = weights_of(spec).size
    return LINE + max(
        make_cut(spec, x, out, threads, by_tap).scratch
        for x in ((0, 0, 0, 0), (0, size, 0, 0)) for out in ((0, 0, 0, 0), (0, 0, 0, size))
    )
