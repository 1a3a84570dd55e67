"""Winograd's convolution by groups of taps, down the columns of planes or along both axes.

At each point a convolution by a KH×KW kernel becomes one by a kernel of a quarter of its rows, or
of its rows and columns (:mod:`fastconv.backends.tap_groups`): :mod:`.conv2d_planar` computes these,
the points being groups of its channels. A band of tiles and a block of columns are transformed,
convolved and transformed back while they are in the cache; bands and blocks are shared out. Every
output is computed by the same operations in the same order whatever the cut is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...spec import LEAKY_SLOPE, Conv2dSpec
from ..tap_groups import BOTH, POINTS, TILE, TapGroups, tap_groups_of, weights_at_points
from . import simd
from .activations import CODES, activate
from .buffers import LINE, Scratch, address, whole_lines
from .conv2d_planar import PlaneWeights, convolve_planes
from .jit import Kernel, Plan, call, carray, compiled, strides, take
from .moves import copy
from .padded import padded_row
from .planes import Cut as PlanesCut
from .planes import make_cut as cut_planes
from .squares import line_to_points, lines_to_points, points_to_lines
from .winograd_transforms import lines_in, lines_out

Array = npt.NDArray[Any]
Strides = tuple[int, ...]

_WORDS = 16
"""Of the memory that the kernel of planes finds: a count of tasks, and addresses."""
_HELD = 8
"""Lines at their points, the last of which the next row of tiles needs."""


def pack(axes: int, spec: Conv2dSpec, w: Array, threads: int) -> Array:
    """The weights at every point, [group][point · block of channels][…] as planes have them."""
    inner = _at_points(spec, tap_groups_of(spec, axes, simd.BITS, 1), 1)
    groups = [
        PlaneWeights(points.reshape(-1, *points.shape[2:])).planes(inner)
        for points in weights_at_points(spec, axes, w)
    ]
    return np.stack(groups)


def run(
    axes: int, spec: Conv2dSpec, x: Array, packed: Array, bias: Array | None, out: Array,
    threads: int,
) -> None:
    """Write conv2d(x) to ``out``; ``packed`` is what :func:`pack` made of the weights."""
    cut = _make_cut(axes, spec, x.strides, out.strides, threads)
    workers = min(threads, cut.tasks)
    with Scratch(workers * cut.share) as own:
        memory = (address(x), address(packed), address(bias), address(out), own, *cut.memory)
        _convolve(threads, cut.tasks, memory, cut.plan)


def workspace_bytes(axes: int, spec: Conv2dSpec, threads: int) -> int:
    """Values, products and lines of each thread's band."""
    size = np.dtype(spec.dtype).itemsize
    dense = tuple(size * n for n in (1, spec.IH * spec.IW, spec.IW, 1))
    cut = _make_cut(axes, spec, dense, dense, threads)
    return LINE + min(threads, cut.tasks) * cut.share


# ---------------------------------------------------------------- cutting


class _Cut(NamedTuple):
    tasks: int
    share: int
    """Bytes of each worker's scratch memory."""
    plan: Plan
    memory: tuple[int, ...]
    kept: tuple[Any, ...]
    """What addresses of the memory need alive."""


def _at_points(spec: Conv2dSpec, c: TapGroups, tiles: int) -> Conv2dSpec:
    """The convolution of planes of one task: the points of one group are its groups."""
    return Conv2dSpec.of(
        (1, c.points * (spec.IC // spec.G), tiles + c.down - 1,
         c.cols + (c.across - 1) * spec.DW),
        (c.points * (spec.OC // spec.G), spec.IC // spec.G, c.down, c.across),
        dilation=(1, spec.DW), groups=c.points, dtype=spec.dtype,
    )


@lru_cache(maxsize=512)
def _make_cut(
    axes: int, spec: Conv2dSpec, x_strides: Strides, out_strides: Strides, threads: int
) -> _Cut:
    dtype = np.dtype(spec.dtype)
    size = dtype.itemsize
    c = tap_groups_of(spec, axes, simd.BITS, threads)
    icg, ocg = spec.IC // spec.G, spec.OC // spec.G
    value_row, value_plane = c.values_row * size, c.values_plane * size
    product_row, product_plane = c.products_row * size, c.products_plane * size
    cuts: list[PlanesCut] = []
    last = c.all_tiles - (c.bands - 1) * c.tiles
    for tiles in (c.tiles, last):
        cuts.append(cut_planes(
            _at_points(spec, c, tiles), (0, value_plane, value_row, size),
            (0, product_plane, product_row, size), 1,
        ))
    values, products = c.points * icg * value_plane, c.points * ocg * product_plane
    lines = (_HELD * POINTS + TILE + 1 if axes == BOTH else POINTS) * value_row
    planes_scratch = whole_lines(max(cut.share for cut in cuts))
    words = whole_lines(8 * _WORDS)
    plan = Plan(
        dtype.type(0), tasks=c.tasks, bands=c.bands, blocks=c.blocks, G=spec.G,
        side=c.side, down=c.down, tiles=c.tiles, last=last, cols=c.cols, all_cols=c.all_cols,
        lanes=simd.BITS // (8 * size), ICG=icg, OCG=ocg,
        IH=spec.IH, IW=spec.IW, OH=spec.OH, OW=spec.OW, PT=spec.PT, PL=spec.PL,
        reach=(c.across - 1) * spec.DW,
        group_weights=c.points * ocg * icg * c.down * c.across * size,
        values_row=value_row, values_plane=value_plane, products_row=product_row,
        products_plane=product_plane, values_bytes=values, products_bytes=products,
        lines_bytes=lines, planes_bytes=planes_scratch,
        share=values + products + lines + planes_scratch + words,
        activation=CODES[spec.activation], slope=LEAKY_SLOPE,
        **strides("x", x_strides), **strides("out", out_strides),
    )
    transforms = (
        (lines_to_points(dtype), points_to_lines(dtype), line_to_points(dtype)) if axes == BOTH
        else (lines_in(POINTS, TILE, dtype), lines_out(POINTS, TILE, dtype))
    )
    codes = (*(convolve_planes.code(cut.plan) for cut in cuts), *transforms)
    memory: tuple[int, ...] = ()
    for cut in cuts:
        memory += (cut.plan.address, *cut.memory)
    memory += tuple(code.address for code in codes)
    return _Cut(c.tasks, int(plan.record["share"][0]), plan, memory, (cuts, codes))


# ---------------------------------------------------------------- the kernel


@Kernel
def _convolve(worker, tasks, memory, plan):
    """Task after task: a band of tiles of one group, and a block of its columns."""
    q = carray(plan, 1)[0]
    scratch = memory[4] + worker * q.share
    size = simd.itemsize(q.zero)
    task = take(tasks)
    while task < q.tasks:
        band, rest = task % q.bands, task // q.bands
        block, rest = rest % q.blocks, rest // q.blocks
        group, image = rest % q.G, rest // q.G
        col = block * q.cols
        _task(
            band, col, min(q.cols, q.all_cols - col),
            memory[0] + image * q.x_image + group * q.ICG * q.x_channel,
            memory[1] + group * q.group_weights,
            memory[2] + group * q.OCG * size if memory[2] else 0,
            memory[3] + image * q.out_image + group * q.OCG * q.out_channel, scratch, memory, q,
        )
        task = take(tasks)


@compiled
def _task(band, col, cols, x, weights, bias, out, scratch, memory, q):
    is_last = band == q.bands - 1
    tiles = q.last if is_last else q.tiles
    values = scratch
    products = values + q.values_bytes
    lines = products + q.products_bytes
    planes = lines + q.lines_bytes
    words = planes + q.planes_bytes
    cut = 10 if is_last else 5  # see _make_cut
    if q.side == 1:
        _columns_in(band * q.tiles, tiles, col, cols, x, values, lines, memory[17], q)
    else:
        _squares_in(band * q.tiles, tiles, col, cols, x, values, lines, memory, q)
    simd.store(words, 0)
    simd.store(words + 8, values)
    simd.store(words + 16, weights)
    simd.store(words + 24, 0)
    simd.store(words + 32, products)
    simd.store(words + 40, planes)
    for i in range(4):
        simd.store(words + 48 + 8 * i, memory[cut + 1 + i])
    call(memory[16 if is_last else 15], (0, words, words + 8, memory[cut]))
    _pixels(band * q.tiles, tiles, col, cols, products, bias, out, lines, memory[18], q)


@compiled
def _columns_in(tile, tiles, col, cols, x, values, lines, code, q):
    """What the tiles need of x, at every point, by whole vectors."""
    size = simd.itemsize(q.zero)
    vector = q.lanes * size
    left = col - q.PL
    n = ((cols + q.lanes - 1) // q.lanes + (q.reach + q.lanes - 1) // q.lanes) * q.lanes
    inside = q.x_column == size and left >= 0 and left + n <= q.IW
    for ic in range(q.ICG):
        plane = x + ic * q.x_channel
        for i in range(tiles + q.down - 1):
            h = (tile + i) * TILE - q.PT
            if inside and h >= 0 and h + POINTS <= q.IH:
                source, row = plane + h * q.x_row + left * size, q.x_row
            else:
                source, row = lines, q.values_row
                for k in range(POINTS):
                    padded_row(lines + k * row, plane, h + k, left, n, q)
            call(code, (
                TILE, n // q.lanes, source, vector, row,
                values + ic * q.values_plane + i * q.values_row, vector, q.ICG * q.values_plane,
            ))


@compiled
def _squares_in(tile, tiles, col, cols, x, values, lines, memory, q):
    """The same of tiles of both axes: line after line to the points of its row, and the lines of
    a tile to all points."""
    size = simd.itemsize(q.zero)
    left = col * TILE - q.PL
    count = (cols + q.lanes - 1) // q.lanes + (q.reach + q.lanes - 1) // q.lanes
    n = count * q.lanes * TILE + TILE
    inside = q.x_column == size and left >= 0 and left + n <= q.IW
    held = POINTS * q.values_row
    pixels = lines + _HELD * held
    for ic in range(q.ICG):
        plane = x + ic * q.x_channel
        for i in range(tiles + q.down - 1):
            first = i * TILE
            for k in range(first + (POINTS - TILE if i else 0), first + POINTS):
                h = tile * TILE + k - q.PT
                source = plane + h * q.x_row + left * size
                if not inside or h < 0 or h >= q.IH:
                    source = pixels
                    padded_row(pixels, plane, h, left, n, q)
                call(memory[19], (count, source, lines + k % _HELD * held, q.values_row))
            for b in range(POINTS):
                line = lines + b * q.values_row
                call(memory[17], (
                    count, line + first % _HELD * held, line + (first + 1) % _HELD * held,
                    line + (first + 2) % _HELD * held, line + (first + 3) % _HELD * held,
                    line + (first + 4) % _HELD * held, line + (first + 5) % _HELD * held,
                    line + (first + 6) % _HELD * held,
                    values + (b * q.ICG + ic) * q.values_plane + i * q.values_row,
                    q.ICG * q.values_plane,
                ))


@compiled
def _pixels(tile, tiles, col, cols, products, bias, out, lines, code, q):
    """From products to outputs."""
    size = simd.itemsize(q.zero)
    vector = q.lanes * size
    vectors = (cols + q.lanes - 1) // q.lanes
    point = q.OCG * q.products_plane
    row = q.side * q.products_row
    width = min(cols * q.side, q.OW - col * q.side)
    for oc in range(q.OCG):
        start = simd.splat(simd.load(bias + oc * size, q.zero) if bias else q.zero)
        for i in range(tiles):
            oh = (tile + i) * TILE
            source = products + oc * q.products_plane + i * q.products_row
            if q.side == 1:
                call(code, (TILE, vectors, source, vector, point, lines, vector, row))
            else:
                call(code, (vectors, source, point, lines, row))
            for k in range(min(TILE, q.OH - oh)):
                to = out + oc * q.out_channel + (oh + k) * q.out_row + (
                    col * q.side * q.out_column)
                _store(lines + k * row, start, width, to, q)


@compiled
def _store(line, start, cols, out, q):
    """Sums with their bias and activation, to a row of out."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    nothing = simd.splat(q.zero)
    dense = q.out_column == size
    for i in range(0, cols, lanes):
        v = simd.add(simd.load(line + i * size, nothing), start)
        if q.activation:
            v = activate(q.activation, q.slope, v)
        if dense:
            simd.store_part(out + i * size, v, min(lanes, cols - i))
        else:
            simd.store(line + i * size, v)
    if not dense:
        copy(out, q.out_column, line, size, cols, q.zero)
