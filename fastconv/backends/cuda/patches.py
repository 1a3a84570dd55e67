"""Tiles of pixels that hold whole pooling windows, so that a block pools what it has computed.

A block's pixels are a patch of one image: ``QH`` × ``QW`` windows, each of them complete. Its sums,
biased and activated, go to shared memory, and from there each window to the result: the maps of the
convolution are never written. Pixels that windows of two patches share are computed twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ...spec import Conv2dSpec, ConvPool2dSpec
from .pool2d_direct import LONG_SUM, lowest_of, reduction
from .primitives import i32, inlined, loader, quotient, remainder, storer, vector_storer
from .tiles import Tile

FACTS = ("OH", "patch_rows", "patch_columns", "pool_OH", "pool_OW", "pool_PT", "pool_PL")
"""What a kernel reads of a call beside the convolution's geometry: rows of the maps; patches down
and across an image; rows and columns of the result; padding of the maps before."""
MAPS_BYTES = 32 << 10
"""Of sums in shared memory at a time: with all else they stay below the 48 KB of a block."""
WORTH = 48
"""Products that may be computed twice for each pixel, on average: as long as 8 bytes take to the
second-level cache and back at 5 TB/s, an H100 multiplies so often at 60 TFLOP/s. Modelled, not
measured."""


@dataclass(frozen=True)
class Window:
    """A pooling window, and how many of them lie down and across a patch."""

    mode: str
    KH: int
    KW: int
    SH: int
    SW: int
    QH: int
    QW: int

    @property
    def rows(self) -> int:
        """Of pixels in a patch."""
        return (self.QH - 1) * self.SH + self.KH

    @property
    def columns(self) -> int:
        """Likewise."""
        return (self.QW - 1) * self.SW + self.KW


@dataclass(frozen=True)
class Patches:
    """How a call is cut."""

    window: Window
    down: int
    """Patches of an image."""
    across: int
    count: int
    """Of all images."""
    facts: tuple[int, ...]
    """The values of :data:`FACTS`."""


@lru_cache(maxsize=256)
def patches_for(spec: ConvPool2dSpec, tile: Tile) -> Patches | None:
    """The fewest patches of a tile's pixels, or None where windows do not fit into it, or where
    what is computed twice would cost more than maps in memory."""
    conv, pool = spec.conv, spec.pool
    if pool.mode not in ("max", "avg", "sum") or pool.adaptive or pool.divisor_override:
        return None
    if pool.DH > 1 or pool.DW > 1 or not pool.count_include_pad:
        return None
    if pool.mode != "max" and pool.KH * pool.KW >= LONG_SUM:  # summed in float64
        return None
    best: Patches | None = None
    for QH in range(1, pool.OH + 1):
        rows = (QH - 1) * pool.SH + pool.KH
        if rows * pool.KW > tile.pixels:
            break
        QW = min(pool.OW, (tile.pixels // rows - pool.KW) // pool.SW + 1)
        down, across = -(-pool.OH // QH), -(-pool.OW // QW)
        count = conv.N * down * across
        if best is None or count < best.count:
            window = Window(pool.mode, pool.KH, pool.KW, pool.SH, pool.SW, QH, QW)
            best = Patches(window, down, across, count, (
                conv.OH, down, across, pool.OH, pool.OW, pool.PT, pool.PL,
            ))
    return best if best is not None and _worthwhile(conv, best.count, tile.pixels) else None


def _worthwhile(conv: Conv2dSpec, count: int, pixels: int) -> bool:
    needed = conv.N * conv.OH * conv.OW
    more = count * pixels - -(-needed // pixels) * pixels
    return more * (conv.IC // conv.G * conv.KH * conv.KW) <= WORTH * needed


def parts(tile: Tile, computed: str) -> int:
    """In how many parts, of output channels, the sums of a tile go through shared memory."""
    size = 8 if computed == "float64" else 4
    return -(-tile.pixels * tile.channels * size // MAPS_BYTES)


def maps_bytes(tile: Tile, computed: str) -> int:
    """Shared memory of a part."""
    size = 8 if computed == "float64" else 4
    return tile.pixels * tile.channels * size // parts(tile, computed)


def pixel_of(window: Window, at: dict[str, int]) -> Any:
    """``pixel(geometry, patch, p)``: image, row and column of a block's p-th pixel in the maps, and
    whether there is such a pixel. ``at`` has the places of the facts in the geometry."""
    number = loader("int32", space="shared")
    rows, columns = window.rows, window.columns
    down, across = window.QH * window.SH, window.QW * window.SW
    g_down, g_across, g_OH, g_OW = (at[n] for n in ("patch_rows", "patch_columns", "OH", "OW"))
    g_PT, g_PL = at["pool_PT"], at["pool_PL"]

    @inlined
    def pixel(geometry, patch, p):
        rest = quotient(patch, number(geometry, g_across))
        left = remainder(patch, number(geometry, g_across)) * across - number(geometry, g_PL)
        n = quotient(rest, number(geometry, g_down))
        top = remainder(rest, number(geometry, g_down)) * down - number(geometry, g_PT)
        oh, ow = top + quotient(p, columns), left + remainder(p, columns)
        inside = (
            (p < rows * columns) & (oh >= 0) & (oh < number(geometry, g_OH))
            & (ow >= 0) & (ow < number(geometry, g_OW))
        )
        return n, oh, ow, inside

    return pixel


def keeping(tile: Tile, computed: str, planes: bool, lanes: int) -> Any:
    """``keep(maps, part, p, c, values)``: a vector of finished sums, pixels or channels side by
    side, into shared memory if its channel belongs to the part."""
    store = vector_storer(computed, lanes, space="shared")
    P, C = tile.pixels, tile.channels // parts(tile, computed)

    @inlined
    def keep(maps, part, p, c, values):
        at = i32(c - part * C)
        if (at >= 0) & (at < C):
            store(maps, i32(at * P + p) if planes else i32(p * C + at), values)

    return keep


def pooling(
    tile: Tile, window: Window, dtype: str, planes: bool, at: dict[str, int]
) -> Any:
    """``pool(maps, part, geometry, numbers, patch, oc0, group, out, thread)``: the windows of a
    part's channels, from shared memory to the result."""
    computed = "float64" if dtype == "float64" else "float32"
    load, store = loader(computed, space="shared"), storer(dtype)
    number, fact = loader("int32", space="shared"), loader("int64")
    add, finish = reduction(window.mode, computed)
    maximum, start = window.mode == "max", lowest_of(computed)
    nothing = (np.float64 if computed == "float64" else np.float32)(0)
    P, C, threads = tile.pixels, tile.channels // parts(tile, computed), tile.threads
    KH, KW, SH, SW, QH, QW = (
        window.KH, window.KW, window.SH, window.SW, window.QH, window.QW
    )
    columns, results, divisor = window.columns, QH * QW * C, KH * KW
    g_down, g_across, g_OH, g_OW = (at[n] for n in ("patch_rows", "patch_columns", "OH", "OW"))
    g_PT, g_PL, g_OC = at["pool_PT"], at["pool_PL"], at["OC"]
    g_pool_OH, g_pool_OW = at["pool_OH"], at["pool_OW"]
    g_on, g_oc, g_oh, g_ow = (at[n] for n in ("on", "oc", "oh", "ow"))

    @inlined
    def pool(maps, part, geometry, numbers, patch, oc0, group, out, thread):
        rest = quotient(patch, number(geometry, g_across))
        qw0 = i32(remainder(patch, number(geometry, g_across)) * QW)
        n = quotient(rest, number(geometry, g_down))
        qh0 = i32(remainder(rest, number(geometry, g_down)) * QH)
        OH, OW = number(geometry, g_OH), number(geometry, g_OW)
        for e in range(thread, results, threads):
            if planes:
                j, above = i32(remainder(e, QW)), quotient(e, QW)
                i, c = i32(remainder(above, QH)), i32(quotient(above, QH))
            else:
                c, above = i32(remainder(e, C)), quotient(e, C)
                j, i = i32(remainder(above, QW)), i32(quotient(above, QW))
            qh, qw = i32(qh0 + i), i32(qw0 + j)
            oc = i32(oc0 + part * C + c)
            if (
                (qh < number(geometry, g_pool_OH)) & (qw < number(geometry, g_pool_OW))
                & (oc < number(geometry, g_OC))
            ):
                top = i32(qh * SH - number(geometry, g_PT))
                left = i32(qw * SW - number(geometry, g_PL))
                value = start if maximum else nothing
                for kh in range(KH):
                    for kw in range(KW):
                        h, w = i32(top + kh), i32(left + kw)
                        if (h >= 0) & (h < OH) & (w >= 0) & (w < OW):
                            p = i32((i * SH + kh) * columns + j * SW + kw)
                            v = load(maps, i32(c * P + p) if planes else i32(p * C + c))
                            if maximum:
                                value = v if (v > value) | (v != v) else value
                            else:
                                value = add(value, v, nothing)
                if not maximum:
                    value = finish(value, divisor, nothing)
                channel = i32(group * number(geometry, g_OC) + oc)
                store(out, (
                    n * fact(numbers, g_on) + channel * fact(numbers, g_oc)
                    + qh * fact(numbers, g_oh) + qw * fact(numbers, g_ow)
                ), value)

    return pool

