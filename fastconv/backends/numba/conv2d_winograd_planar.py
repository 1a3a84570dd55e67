"""``conv2d.winograd_planar@numba``: Winograd's F(4×4, 3×3), with tiles in the lanes, for 3×3
kernels on few input channels.

A row of tiles is computed from the picture to its outputs (:mod:`.tile_rows`). Rows, cut into
blocks of columns whose transformed inputs stay in the first cache, are shared out
(:mod:`fastconv.backends.tile_rows`). Every output is computed by the same operations in the same
order whatever the cut is.

A NaN or infinity spreads over its tiles.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...spec import LEAKY_SLOPE, Conv2dSpec
from ..tile_rows import ALPHA, SIDE, TileWeights, tile_rows_of
from . import simd
from .activations import CODES, LIMITS, NO_LIMITS, activate_line
from .buffers import LINE, Scratch, address, whole_lines
from .jit import Kernel, Plan, call, carray, compiled, inlined, strides, take
from .lanes import FAR_BYTES, fence
from .moves import copy, copy_past
from .padded import padded_row
from .tile_rows import ZERO, Shape, channels_out, numbers, tiles_in, tiles_out

Array = npt.NDArray[Any]
Strides = tuple[int, ...]

_POINTS = ALPHA * ALPHA
_FILLED = 2
"""Output channels must fill more than one of so many parts of a vector."""


def pack(spec: Conv2dSpec, w: Array, threads: int) -> TileWeights:
    """The transformed weights."""
    return TileWeights(w, spec.G)


def run(
    spec: Conv2dSpec, x: Array, packed: TileWeights, bias: Array | None, out: Array, threads: int,
    pooled: bool = False,
) -> None:
    """Write conv2d(x) to ``out``; or, of its activated maps, the maxima of windows of 2×2 side by
    side. ``packed`` is what :func:`pack` made of the weights."""
    cut = _make_cut(spec, x.strides, out.strides, pooled)
    weights = packed.along_channels(cut.lanes) if cut.along_channels else packed.points
    with Scratch(min(threads, cut.tasks) * cut.share) as own:
        memory = (address(x), address(weights), address(bias), address(out), own, *cut.memory)
        _tile_rows(threads, cut.tasks, memory, cut.plan)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """For each thread the transformed inputs of a task, the rows that they come from, and the
    outputs of a row of tiles or of a vector of channels."""
    return LINE + min(threads, tile_rows_of(spec, simd.BITS).tasks) * _Layout(spec).share


# ---------------------------------------------------------------- cutting


class _Layout:
    """The memory that a worker takes."""

    def __init__(self, spec: Conv2dSpec) -> None:
        size = np.dtype(spec.dtype).itemsize
        lanes = simd.BITS // (8 * size)
        most, channels = tile_rows_of(spec, simd.BITS).most, spec.IC // spec.G
        cells = most * SIDE * lanes + SIDE
        self.row = (-(-cells // lanes) | 1) * lanes * size
        """Of cells: rows of a power of two would push each other out of the first cache."""
        self.values = most * _POINTS * channels * lanes * size
        self.patch = channels * ALPHA * self.row
        self.planes = max(most, lanes) * SIDE * SIDE * lanes * size
        tile = SIDE * SIDE * lanes * size  # no less than a square of lanes
        self.share = whole_lines(self.values + self.patch + self.planes + tile + lanes * size)


class _Cut(NamedTuple):
    tasks: int
    lanes: int
    along_channels: bool
    """Whether lanes hold output channels, which lie side by side."""
    share: int
    """Bytes of each worker's scratch memory."""
    plan: Plan
    memory: tuple[int, ...]
    kept: tuple[Any, ...]
    """What addresses of the memory need alive."""


@lru_cache(maxsize=512)
def _make_cut(
    spec: Conv2dSpec, x_strides: Strides, out_strides: Strides, pooled: bool
) -> _Cut:
    dtype = np.dtype(spec.dtype)
    size = dtype.itemsize
    lanes = simd.BITS // (8 * size)
    c, layout = tile_rows_of(spec, simd.BITS), _Layout(spec)
    icg, ocg = spec.IC // spec.G, spec.OC // spec.G
    limited = spec.activation in LIMITS
    along_channels = out_strides[1] == size != out_strides[3] and _FILLED * ocg >= lanes
    side = SIDE // 2 if pooled else SIDE
    height, width = spec.OH * side // SIDE, spec.OW * side // SIDE
    past = spec.N * spec.OC * height * width * size >= FAR_BYTES
    # Only whole cache lines should go past the caches.
    whole = lanes * size == LINE and out_strides[2] % LINE == out_strides[3] % LINE == 0
    plan = Plan(
        dtype.type(0), tasks=c.tasks, rows=c.rows, vectors=c.vectors, blocks=c.blocks, G=spec.G,
        ICG=icg, OCG=ocg, IH=spec.IH, IW=spec.IW, OH=height, OW=width, PT=spec.PT, PL=spec.PL,
        side=side, along_channels=int(along_channels), weights=_POINTS * icg * size,
        weights_group=_POINTS * icg * size * (-(-ocg // lanes) * lanes if along_channels else ocg),
        values=layout.values, patch=layout.patch, row=layout.row,
        planes=layout.planes, share=layout.share, past=int(past), whole=int(whole),
        activation=0 if limited else CODES[spec.activation], slope=LEAKY_SLOPE,
        **strides("x", x_strides), **strides("out", out_strides),
    )
    shape = Shape(dtype, icg, limited, pooled)
    out = channels_out(shape) if along_channels else tiles_out(shape)
    far = channels_out(shape._replace(past=True)) if along_channels and past and whole else out
    codes = tiles_in(dtype), out, far
    constants = numbers(LIMITS.get(spec.activation or "", NO_LIMITS), dtype)
    memory = *(code.address for code in codes), address(constants)
    return _Cut(
        c.tasks, lanes, along_channels, layout.share, plan, memory, (codes, constants)
    )


# ---------------------------------------------------------------- the kernel


class _Memory(NamedTuple):
    """Addresses that one task needs."""

    values: int
    patch: int
    planes: int
    tile: int
    start: int
    code: int
    far: int
    """The code for results that go past the caches."""
    numbers: int


@Kernel
def _tile_rows(worker, tasks, memory, plan):
    """Task after task: a block of a row of tiles of one group."""
    q = carray(plan, 1)[0]
    size = simd.itemsize(q.zero)
    values = memory[4] + worker * q.share
    patch = values + q.values
    planes = patch + q.patch
    tile = planes + q.planes
    start = tile + SIDE * SIDE * simd.lanes(q.zero) * size
    m = _Memory(values, patch, planes, tile, start, memory[6], memory[7], memory[8])
    task = take(tasks)
    while task < q.tasks:
        block, rest = task % q.blocks, task // q.blocks
        row, rest = rest % q.rows, rest // q.rows
        group, image = rest % q.G, rest // q.G
        first = q.vectors * block // q.blocks
        vectors = q.vectors * (block + 1) // q.blocks - first
        oh, ow = row * q.side, first * q.side * simd.lanes(q.zero)
        rows, cols = min(q.side, q.OH - oh), min(vectors * q.side * simd.lanes(q.zero), q.OW - ow)
        if rows <= 0 or cols <= 0:  # what is left of a window is not pooled
            task = take(tasks)
            continue
        _transform(
            memory[5], memory[0] + image * q.x_image + group * q.ICG * q.x_channel, row * SIDE,
            first * SIDE * simd.lanes(q.zero), vectors, m, q,
        )
        weights = memory[1] + group * q.weights_group
        bias = memory[2] + group * q.OCG * size if memory[2] else 0
        out = memory[3] + image * q.out_image + group * q.OCG * q.out_channel
        out += oh * q.out_row + ow * q.out_column
        if q.along_channels:
            _of_channels(rows, cols, weights, bias, out, m, q)
        elif q.out_column == size:
            _in_place(vectors, rows, cols, weights, bias, out, m, q)
        else:
            _elsewhere(vectors, rows, cols, weights, bias, out, m, q)
        task = take(tasks)
    if q.past:
        fence()


@compiled
def _transform(code, x, oh, ow, vectors, m, q):
    """What the tiles need of each channel of x, at every point."""
    vector = simd.lanes(q.zero) * simd.itemsize(q.zero)
    cells = q.row // simd.itemsize(q.zero)
    for ic in range(q.ICG):
        patch = m.patch + ic * ALPHA * q.row
        for k in range(ALPHA):
            padded_row(patch + k * q.row, x + ic * q.x_channel, oh + k - q.PT, ow - q.PL, cells, q)
        for v in range(vectors):
            values = m.values + (v * _POINTS * q.ICG + ic * ALPHA) * vector
            call(code, (
                patch + v * SIDE * vector, q.row, values, q.ICG * ALPHA * vector,
            ))


@inlined
def _channel(v, oc, weights, bias, target, row, m, q):
    """One output channel of a vector of tiles."""
    size = simd.itemsize(q.zero)
    values = m.values + v * _POINTS * q.ICG * simd.lanes(q.zero) * size
    call(m.code, (
        values, weights + oc * q.weights, bias + oc * size if bias else m.numbers + ZERO * size,
        m.numbers, target, row,
    ))


@compiled
def _in_place(vectors, rows, cols, weights, bias, out, m, q):
    """Rows of pixels that lie side by side. What goes past the caches is written in the longest
    runs there are."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    width = q.side * lanes
    row = cols * size if q.past else q.out_row
    run = rows * cols if q.out_row == row else cols
    for oc in range(q.OCG):
        to = out + oc * q.out_channel
        at = m.planes if q.past else to
        for v in range(vectors):
            first, n = at + v * width * size, min(width, cols - v * width)
            if rows == q.side and n == width:
                _channel(v, oc, weights, bias, first, row, m, q)
            else:
                _channel(v, oc, weights, bias, m.tile, width * size, m, q)
                for i in range(rows):
                    copy(first + i * row, size, m.tile + i * width * size, size, n, q.zero)
        if q.activation:
            for i in range(rows):
                activate_line(q.activation, q.slope, at + i * row, at + i * row, cols, q.zero)
        if q.past:
            for i in range(0, rows * cols, run):
                copy_past(to + i // cols * q.out_row, at + i * size, run, q.zero)


@compiled
def _of_channels(rows, cols, weights, bias, out, m, q):
    """Pixels whose channels lie side by side."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    vector = lanes * size
    nothing = simd.splat(q.zero)
    far = q.past and q.whole and out % vector == 0 and not q.activation
    for first in range(0, q.OCG, lanes):
        channels = min(lanes, q.OCG - first)
        start = nothing
        if bias:
            start = simd.load_part(bias + first * size, channels, nothing)
        simd.store(m.start, start)
        panel = weights + first * q.weights
        code = m.far if far else m.code
        for col in range(0, cols, q.side):
            v, lane = col // q.side // lanes, col // q.side % lanes
            values = m.values + v * _POINTS * q.ICG * vector + lane * size
            to = out + first * size + col * q.out_column
            if rows == q.side and cols - col >= q.side and channels == lanes:
                call(code, (
                    values, panel, m.start, m.numbers, to, q.out_row, q.out_column,
                ))
                continue
            call(m.code, (
                values, panel, m.start, m.numbers, m.tile, q.side * vector, vector,
            ))
            for i in range(rows):
                for k in range(min(q.side, cols - col)):
                    pixel = simd.load(m.tile + (i * q.side + k) * vector, nothing)
                    simd.store_part(to + i * q.out_row + k * q.out_column, pixel, channels)
    if q.activation:
        for i in range(rows):
            for col in range(cols):
                at = out + i * q.out_row + col * q.out_column
                activate_line(q.activation, q.slope, at, at, q.OCG, q.zero)


@compiled
def _elsewhere(vectors, rows, cols, weights, bias, out, m, q):
    """Any other memory order: a vector of channels at a time is computed in planes, and moved."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    width = q.side * lanes
    plane = q.side * width * size
    for v in range(vectors):
        for first in range(0, q.OCG, lanes):
            channels = min(lanes, q.OCG - first)
            for c in range(channels):
                _channel(v, first + c, weights, bias, m.planes + c * plane, width * size, m, q)
            if q.activation:
                activate_line(
                    q.activation, q.slope, m.planes, m.planes, channels * q.side * width, q.zero
                )
            to = out + first * q.out_channel + v * width * q.out_column
            for i in range(rows if cols > v * width else 0):
                _move(
                    channels, min(width, cols - v * width), m.planes + i * width * size, plane,
                    to + i * q.out_row, m.tile, q,
                )


@compiled
def _move(channels, cols, source, plane, out, square, q):
    """A row of pixels, from planes to where it belongs."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    if q.out_channel != size:
        for c in range(channels):
            copy(out + c * q.out_channel, q.out_column, source + c * plane, size, cols, q.zero)
        return
    nothing = simd.splat(q.zero)
    for i in range(0, cols, lanes):
        to, n = out + i * q.out_column, min(lanes, cols - i)
        if channels == n == lanes:
            simd.transpose(source + i * size, plane, to, q.out_column, nothing)
        else:
            simd.transpose(source + i * size, plane, square, lanes * size, nothing)
            for k in range(n):
                pixel = simd.load(square + k * lanes * size, nothing)
                simd.store_part(to + k * q.out_column, pixel, channels)
