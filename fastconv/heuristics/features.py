"""What a call consists of, counted: one small function for each algorithm.

Each gives names and counts; a row's prices say which of them it uses, and what one costs. A
name that begins with ``pack`` is paid only where the weights are packed in the call. Counts are
those of the whole call on one thread. ``lanes`` is the number of elements of a vector, so that
counts of vector operations hold for every instruction set and element type.

To add an algorithm: a function from ``(spec, lanes)`` to such a dict, its line in ``_OF``, and
prices for its rows in ``prices.json`` (guess, then ``python -m benchmarks.calibrate``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ..spec import Conv2dSpec, ConvPool2dSpec, Pool2dSpec, Spec, itemsize

Features = dict[str, float]

PACK = "pack"
NARROWEST_PANEL = 8
"""Output channels of a panel of weights: one vector, and so many at least."""
NARROWEST_TILE = 32
"""Output channels of the smallest tile of a GPU's block."""
SHORT_SUM = 160
"""Terms of a sum."""
FEW_PIXELS = 4
"""Of a plane, beyond whole vectors."""
PICKED = 40
"""Lanes of a term in the time that gathering a cell of a strided plane takes."""
CACHE_BYTES = 1 << 20
"""What stays near a core between two uses."""
PACKING_BYTES = 8 << 20
"""Of weights and their packed copy, what the last cache holds beside all else."""


def counts(op: str, algorithm: str, spec: Spec, lanes: int) -> Features:
    """The counts of one call; those of :func:`plain` for what has no function of its own."""
    return _OF.get(f"{op}.{algorithm}", plain)(spec, lanes)


def plain(spec: Spec, lanes: int) -> Features:
    """Operations and bytes: enough where nothing else matters."""
    return {"operations": spec.flops, "bytes": spec.bytes, "bytes_far": beyond(spec.bytes)}


# ---------------------------------------------------------------- helpers


def up(n: int, step: int) -> int:
    """``n`` rounded up to a whole number of steps."""
    return -(-n // step) * step


def beyond(nbytes: float) -> float:
    """What of ``nbytes`` does not stay in the cache and is read from farther away again."""
    return max(0.0, nbytes - CACHE_BYTES)


def far(spec: Conv2dSpec) -> bool:
    """Whether a picture leaves the cache before its next channel is read, where the channels
    lie side by side."""
    return spec.IC * spec.IH * spec.IW * itemsize(spec.dtype) > CACHE_BYTES


def traffic(spec: Conv2dSpec) -> Features:
    """What every convolution pays: cells of x, of out and of the weights."""
    size = itemsize(spec.dtype)
    weights = spec.OC * (spec.IC // spec.G) * spec.KH * spec.KW
    x, out = spec.N * spec.IC * spec.IH * spec.IW, spec.N * spec.OC * spec.OH * spec.OW
    return {
        "operations": spec.flops,
        "bytes_in": x * size,
        "bytes_out": out * size,
        "bytes_far": beyond((x + out) * size),
        "weight_bytes": weights * size,
        "weight_bytes_far": beyond(weights * size),
        "pack_calls": 1,
        "pack_bytes": weights * size,
        "pack_bytes_far": max(0.0, 2 * weights * size - PACKING_BYTES),
    }


# ---------------------------------------------------------------- conv2d


def direct(spec: Conv2dSpec, lanes: int) -> Features:
    """The register tile over gathered pixels: vectors run along pixels or along output
    channels, whichever leaves fewer lanes idle."""
    ocg, icg, taps = spec.OC // spec.G, spec.IC // spec.G, spec.KH * spec.KW
    pixels, panel = spec.OH * spec.OW, max(lanes, NARROWEST_PANEL)
    images = spec.N * spec.G
    gap = (spec.KW - 1) * spec.DW // spec.SW  # of idle lanes between rows of pixels
    along_pixels = images * ocg * up(pixels + (spec.OH - 1) * gap, lanes) / lanes
    in_place = taps == 1 and not (spec.PT or spec.PL)
    if in_place and spec.SH * spec.SW == 1 and spec.layout == "NCHW" and lanes <= pixels \
            and pixels % lanes <= FEW_PIXELS:
        along_pixels = images * ocg * pixels / lanes  # the last ones are dot products
    if taps == 1 and spec.SH * spec.SW > 1:
        along_pixels += images * pixels * PICKED / lanes
    along_channels = images * pixels * up(ocg, panel) / lanes
    vectors = min(along_pixels, along_channels)
    found = traffic(spec)
    products = vectors * icg * taps
    found["vectors"], found["vectors_in_place"] = (0.0, products) if in_place else (products, 0.0)
    # Along channels the C wing leaves out what falls on padding.
    found["vectors_met"] = found["vectors"] * (_met(spec) if vectors < along_pixels else 1.0)
    found["sums"] = vectors
    found["turned_sums"] = along_channels if _turned(spec, lanes) else 0.0
    # Along pixels each load serves the output channels of a tile: few, where a group has few.
    found["loads"] = 0.0
    if vectors == along_pixels:
        found["loads"] = products / min(ocg, 8)
        found["pack_bytes"] = found["pack_bytes_far"] = 0.0  # weights are read as they are
    gathered = 0 if in_place else spec.N * spec.IC * (
        (spec.OH * spec.SH + (spec.KH - 1) * spec.DH)
        * (spec.OW * spec.SW + (spec.KW - 1) * spec.DW)
    )
    found["gathered"] = gathered
    found["strided"] = gathered * _picking(spec)
    turned = spec.layout == "NHWC" and spec.IC > 1 and vectors == along_pixels
    found["turned"] = gathered if turned else 0
    found["turned_far"] = gathered if turned and far(spec) else 0
    found["planes"] = spec.N * (spec.IC + spec.OC)
    found["rows"] = 0 if in_place else spec.N * (spec.IC * spec.IH + spec.OC * spec.OH)
    # What a GPU's tiles multiply, the channels that fill them up included.
    found["tile_products"] = images * pixels * up(ocg, NARROWEST_TILE) * icg * taps
    # Every block of some hundred pixels meets all weights again.
    found["weights_again"] = found["weight_bytes_far"] * spec.N * math.ceil(pixels / 256)
    return found


def _met(spec: Conv2dSpec) -> float:
    """The share of the taps of all windows that meet the picture."""
    return _met_along(spec.OH, spec.IH, spec.KH, spec.SH, spec.DH, spec.PT) * _met_along(
        spec.OW, spec.IW, spec.KW, spec.SW, spec.DW, spec.PL
    )


@lru_cache(maxsize=1024)
def _met_along(out: int, size: int, k: int, s: int, d: int, before: int) -> float:
    met = 0
    for tap in range(k):  # meets cell o·s + lead for the windows o
        lead = tap * d - before
        met += max(0, min(out, (size - lead - 1) // s + 1) - max(0, -(lead // s)))
    return met / (out * k)


def _picking(spec: Conv2dSpec) -> int:
    """What it costs to pick cells that are a stride apart: every second or third one by vectors,
    in larger strides one by one."""
    return 0 if spec.SW == 1 else 1 if spec.SW <= 3 else 4


def _turned(spec: Conv2dSpec, lanes: int) -> bool:
    """Whether the Numba wing turns vectors of channels to rows of pixels: what takes longer than
    a few idle lanes of short sums, for which vectors run along pixels there."""
    channels, taps = spec.OC // spec.G, spec.KH * spec.KW
    terms = spec.IC // spec.G * taps
    if spec.layout != "NCHW" or 2 * channels <= lanes:
        return False
    across = spec.OW * (up(channels, lanes) + channels * lanes / (2 * terms))
    return taps == 1 or terms > SHORT_SUM or across < channels * up(spec.OW, lanes)


def im2col(spec: Conv2dSpec, lanes: int) -> Features:
    """The same products after a column of factors has been gathered for every pixel."""
    found = direct(spec, lanes)
    found["columns"] = spec.N * spec.IC * spec.KH * spec.KW * spec.OH * spec.OW
    found["turned_columns"] = found["columns"] if spec.layout == "NHWC" else 0
    found["strided_columns"] = found["columns"] * _picking(spec)
    # A library's product of matrices, image after image.
    pixels = up(spec.OH * spec.OW, lanes) / lanes
    found["column_vectors"] = spec.N * spec.OC * pixels * (spec.IC // spec.G) * spec.KH * spec.KW
    found["calls"] = spec.N * spec.G
    return found


def winograd(m: int) -> Callable[[Conv2dSpec, int], Features]:
    """Tiles of m×m outputs: α² products for each pair of channels, and transforms on vectors of
    channels; a dilated picture is several, a strided kernel has several times the channels."""

    def counted(spec: Conv2dSpec, lanes: int) -> Features:
        ocg, icg, phases = spec.OC // spec.G, spec.IC // spec.G, spec.SH * spec.SW
        r = -(-spec.KH // spec.SH)
        points = (m + r - 1) ** 2
        height, width = min(spec.DH, spec.OH), min(spec.DW, spec.OW)
        pictures = spec.N * spec.G * height * width
        tiles_h, points_h = _winograd_axis(m, r, math.ceil(spec.OH / height))
        tiles_w, points_w = _winograd_axis(m, r, math.ceil(spec.OW / width))
        tiles, all_points = pictures * tiles_h * tiles_w, pictures * points_h * points_w
        ins, outs = phases * math.ceil(icg / lanes), math.ceil(ocg / lanes)
        panel = points * spec.G * phases * icg * outs
        found = traffic(spec)
        found["vectors"] = all_points * phases * icg * outs
        found["transformed_in"] = all_points * ins
        found["transformed_out"] = all_points * outs
        found["gathered"] = spec.N * spec.IC * spec.IH * spec.IW
        # A GPU's tiles are all whole; between its three launches lie cells of all points.
        found["tile_products"] = tiles * points * phases * icg * up(ocg, NARROWEST_TILE)
        found["tile_cells"] = tiles * points * (phases * icg + ocg)
        # Weights that would not stay in the cache are transformed again for each block of tiles.
        size = itemsize(spec.dtype) * lanes
        kept = panel * size <= CACHE_BYTES
        block = max(12.0, (1 if kept else 3) * CACHE_BYTES / (points * (ins + min(outs, 4)) * size))
        blocks = math.ceil(tiles / spec.G / block)
        found["transformed_weights"] = 0 if kept else panel * blocks
        found["weights_read"] = panel * blocks if kept else 0
        found["pack_transformed"] = panel if kept else 0
        found["pack_taps"] = spec.G * phases * icg * outs * (-(-spec.KH // spec.SH)) ** 2
        return found

    return counted


def _winograd_axis(m: int, r: int, outputs: int) -> tuple[int, int]:
    """Tiles along an axis, and the points of all of them: F(4, 3) takes fewer at the end."""
    tiles = -(-outputs // m)
    last = outputs - (tiles - 1) * m if (m, r) == (4, 3) else m
    return tiles, (tiles - 1) * (m + r - 1) + last + r - 1


def planar(spec: Conv2dSpec, lanes: int) -> Features:
    """Planes one by one, vectors along the pixels of a row; along the channels of a depthwise
    layer where these lie side by side."""
    icg, taps = spec.IC // spec.G, spec.KH * spec.KW
    last = spec.layout == "NHWC" and spec.IC > 1
    depthwise_last = last and spec.IC == spec.OC == spec.G
    along_channels = depthwise_last and lanes < 4 * spec.G
    # Few channels and the pixels of a row are one long row of cells.
    interleaved = depthwise_last and not along_channels and spec.SH * spec.SW == 1
    turned = last and not along_channels
    found = traffic(spec)
    if along_channels:
        found["planes"], found["rows"] = spec.N, spec.N * spec.OH
        sums = spec.N * spec.OH * spec.OW * up(spec.OC, lanes) / lanes
    elif interleaved:
        found["planes"], found["rows"] = spec.N, spec.N * spec.OH
        sums = spec.N * spec.OH * up(spec.OC * spec.OW, lanes) / lanes
    else:
        found["planes"], found["rows"] = spec.N * spec.OC, spec.N * spec.OC * spec.OH
        sums = spec.N * spec.OC * spec.OH * up(spec.OW, lanes) / lanes
    # One plane by one 3×3 kernel rolls down the rows, and keeps what it has loaded.
    rolls = icg == 1 and spec.KH == spec.KW == 3 and spec.DH == spec.DW == 1 and spec.SW <= 2 \
        and not interleaved
    found["sums"], found["rolled"] = (0.0, sums) if rolls else (sums, 0.0)
    # Kernels of few rows on one channel each read the picture in place.
    plain_steps = (spec.SH, spec.SW) == (1, 1) or (
        (spec.SH, spec.SW, spec.DH, spec.DW) == (2, 2, 1, 1))
    straight = spec.OC == spec.G and 2 <= spec.KH <= (8 if spec.SH == 1 else 7) and plain_steps \
        and (interleaved or not last)
    products = found["sums"] * icg * taps
    found["vectors"], found["straight"] = (0.0, products) if straight else (products, 0.0)
    # What lies in no vector's order is copied for every tile of a few rows.
    x, out = spec.N * spec.IC * spec.IH * spec.IW, spec.N * spec.OC * spec.OH * spec.OW
    copied = x * (1 + spec.KH / 8)
    strided = spec.SW > 1 and not along_channels and not straight
    found["turned"] = found["turned_few"] = 0.0
    if interleaved:  # which the Numba wing turns
        found["turned_few"] = copied + out
    elif turned or (strided and spec.SW > 2):
        found["turned"] = copied + out * turned
    found["turned_far"] = x + out if turned and not interleaved and far(spec) else 0
    found["strided"] = x if strided else 0
    found["strided_rows"] = spec.N * spec.IC * spec.IH if strided else 0
    return found


def winograd1d(spec: Conv2dSpec, lanes: int) -> Features:
    """Tiles of four rows at seven points, each a convolution of planes by a quarter of the kernel's
    rows."""
    icg = spec.IC // spec.G
    points = 7 * spec.N * -(-spec.OH // 4) * up(spec.OW, lanes) / lanes
    found = traffic(spec)
    found["vectors"] = points * spec.OC * icg * -(-spec.KH // 4) * spec.KW
    found["transformed"] = points * (spec.IC + spec.OC)
    found["strided"] = (
        spec.N * (spec.IC + spec.OC) * spec.OH * spec.OW
        if spec.layout == "NHWC" and spec.IC > 1 else 0.0
    )
    found["pack_points"] = spec.OC * icg * spec.KH * spec.KW
    return found


def winograd2d(spec: Conv2dSpec, lanes: int) -> Features:
    """Tiles of 4×4 at 49 points, each a convolution of planes of tiles by a quarter of the kernel's
    rows and columns. Small planes transform more than they give."""
    icg, rows, across = spec.IC // spec.G, -(-spec.KH // 4), -(-spec.KW // 4)
    vectors = spec.N * up(-(-spec.OW // 4), lanes) / lanes
    points = 49 * vectors * -(-spec.OH // 4)
    wider = up(-(-spec.OW // 4) + across - 1, lanes) / up(-(-spec.OW // 4), lanes)
    found = traffic(spec)
    found["vectors"] = points * spec.OC * icg * rows * across
    found["transformed_in"] = 49 * vectors * wider * (-(-spec.OH // 4) + rows - 1) * spec.IC
    found["transformed_out"] = points * spec.OC
    found["rows"] = 49 * spec.N * -(-spec.OH // 4) * spec.OC  # of products: short ones fill no tile
    found["strided"] = (
        spec.N * (spec.IC + spec.OC) * spec.OH * spec.OW
        if spec.layout == "NHWC" and spec.IC > 1 else 0.0
    )
    found["pack_points"] = spec.OC * icg * rows * across
    return found


def winograd_planar(spec: Conv2dSpec, lanes: int) -> Features:
    """Vectors of 4×4 tiles, or of output channels where these lie side by side: products at 36
    points, and transforms of each channel in and out."""
    ocg, rows, across = spec.OC // spec.G, spec.N * -(-spec.OH // 4), -(-spec.OW // 4)
    tiles: float = rows * math.ceil(across / lanes)
    if spec.layout == "NCHW":  # rows of narrow maps share vectors, if that gains a quarter
        tiles = min(tiles, 1.25 * rows * (across + 1) / lanes)
    along_channels = spec.layout == "NHWC" and spec.OC > 1 and lanes <= 2 * ocg
    outs = tiles * spec.OC
    if along_channels:
        outs = rows * across * spec.G * -(-ocg // lanes)
    found = traffic(spec)
    found["vectors"] = 36 * outs * (spec.IC // spec.G)
    found["transformed_in"], found["transformed_out"] = tiles * spec.IC, outs
    # Cells of channels side by side are moved one by one: rows of x, of which tiles share two out
    # of six, and outputs that fill no vectors.
    found["strided"] = 0.0
    if spec.layout == "NHWC" and spec.IC > 1:
        found["strided"] = 1.5 * spec.N * spec.IC * spec.IH * spec.IW
    if spec.layout == "NHWC" and spec.OC > 1 and not along_channels:
        found["strided"] += spec.N * spec.OC * spec.OH * spec.OW
    found["pack_points"] = spec.OC * (spec.IC // spec.G) * 36
    return found


def fft(spec: Conv2dSpec, lanes: int) -> Features:
    """Tiles of a size that suits each axis: their transforms, and complex products at each of
    their points."""
    rows, height = _tiles((spec.OH - 1) * spec.SH + 1, (spec.KH - 1) * spec.DH + 1)
    columns, width = _tiles((spec.OW - 1) * spec.SW + 1, (spec.KW - 1) * spec.DW + 1)
    tiles, points = spec.N * rows * columns, height * width
    pairs = spec.OC * (spec.IC // spec.G)
    transform = 2.5 * points * math.log2(points + 1)
    found = traffic(spec)
    found["transforms"] = transform * tiles * (spec.IC + spec.OC)
    found["products"] = points * tiles * pairs
    found["tiles"] = tiles
    found["pairs"] = pairs  # of channels: parts of many small matrices
    found["pack_transforms"] = transform * pairs
    found["pack_pairs"] = pairs
    return found


@lru_cache(maxsize=1024)
def _tiles(out: int, extent: int) -> tuple[int, int]:
    """How many tiles an axis needs, and their size: the cheapest of some."""
    need = out + extent - 1
    sizes = [need, *(size for size in _FAST_SIZES if extent <= size < need)]

    def cost(size: int) -> float:
        return math.ceil(out / (size - extent + 1)) * size * math.log2(size + 1)

    best = min(sizes, key=cost)
    return math.ceil(out / (best - extent + 1)), best


_FAST_SIZES = [base << n for n in range(3, 12) for base in (2, 3)]


def separable(spec: Conv2dSpec, lanes: int) -> Features:
    """Down the columns, where four rows are computed together, then across the rows."""
    passes = spec.N * spec.OC * (spec.IC // spec.G) * spec.rank * spec.OH
    found = traffic(spec)
    found["down"] = passes * up(spec.OW, lanes) / lanes * (spec.KH + 3)
    found["across"] = passes * up(spec.OW, lanes) / lanes * spec.KW
    found["sums"] = spec.N * spec.OC * spec.OH * up(spec.OW, lanes) / lanes
    found["strided"] = (
        spec.N * (spec.IC + spec.OC) * spec.OH * spec.OW
        if spec.layout == "NHWC" and spec.IC > 1 else 0.0
    )
    found["factored_weights"] = spec.OC * (spec.IC // spec.G) * spec.KH * spec.KW
    return found


# ---------------------------------------------------------------- conv2d_input_grad


def phases(spec: Conv2dSpec, lanes: int) -> Features:
    """Convolutions without stride from dout to dx, direct ones or of columns."""
    turned = replace(
        spec, IC=spec.OC, IH=spec.OH, IW=spec.OW, OC=spec.IC, OH=spec.IH, OW=spec.IW,
        KH=max(1, spec.KH // spec.SH), KW=max(1, spec.KW // spec.SW), SH=1, SW=1, DH=1, DW=1,
    )
    found = im2col(turned, lanes)
    found["phases"] = min(spec.SH, spec.KH) * min(spec.SW, spec.KW)
    return found


# ---------------------------------------------------------------- pooling


def pool(spec: Pool2dSpec, lanes: int) -> Features:
    """Cells of windows; short rows and small planes cost extra."""
    found = plain(spec, lanes)
    found["planes"] = spec.N * spec.C
    found["rows"] = spec.N * spec.C * spec.OH
    found["cells_last"] = found["operations"] if spec.layout == "NHWC" else 0
    return found


def maps_nearby(spec: ConvPool2dSpec, algorithm: str, lanes: int) -> tuple[Features, Features]:
    """Those of a convolution and of the pooling after it, band by band: the maps between them
    stay in the cache."""
    conv = dict(counts("conv2d", algorithm, spec.conv, lanes))
    pool = dict(counts("pool2d", "direct", spec.pool, lanes))
    size = itemsize(spec.dtype)
    conv["bytes_far"] = beyond((math.prod(spec.x_shape) + math.prod(spec.out_shape)) * size)
    pool["bytes_far"] = 0.0
    return conv, pool


_OF: dict[str, Callable[[Any, int], Features]] = {
    "conv2d.direct": direct,
    **dict.fromkeys(
        ("conv2d.tf32x3", "conv2d.tf32", "conv2d.bf16", "conv2d.tensor"), direct
    ),
    "conv2d.im2col": im2col,
    "conv2d.winograd2": winograd(2),
    "conv2d.winograd4": winograd(4),
    "conv2d.winograd6": winograd(6),
    "conv2d.planar": planar,
    "conv2d.winograd1d": winograd1d,
    "conv2d.winograd2d": winograd2d,
    "conv2d.winograd_planar": winograd_planar,
    "conv2d.fft": fft,
    "conv2d.separable": separable,
    "conv2d_input_grad.phases": phases,
    "pool2d.direct": pool,
}
