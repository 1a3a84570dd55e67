"""Convolution as one matrix product whose first factor is gathered on the way: implicit GEMM.

Σ over terms k of x[pixel, k] · w[k, channel], where a pixel is (n, oh, ow) and a term (ic, kh, kw)
(Chetlur et al., "cuDNN: efficient primitives for deep learning", 2014). Cells of x go straight
from global to shared memory, with zeros in place of the padding; the weights were packed with
channels side by side. Bias and activation are applied to the sums in registers.

Terms run ``ic`` first in the order "last" (NHWC: the threads of a warp read neighbouring
channels) and last in the order "planes" (NCHW: they read neighbouring pixels).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from . import patches
from .activations import activation
from .launcher import Source
from .primitives import (
    anew,
    arrived,
    copier,
    i32,
    inlined,
    loader,
    pushed,
    quotient,
    reload,
    remainder,
    rounded_to_tf32,
    sent,
    shared_memory,
    storer,
    vector_storer,
    within,
)
from .tiles import Tile, row_copier

NOWHERE = -(1 << 30)
"""Row of a pixel beyond the last one: no tap reaches the picture from there."""

GEOMETRY = (
    "pixels", "plane", "OW", "IH", "IW", "OC", "IC", "terms", "SH", "SW", "DH", "DW", "PT", "PL",
    "xn", "xc", "xh", "xw", "on", "oc", "oh", "ow", "row", "channel_tiles", "pixel_tiles",
    "vectors",
)
"""What the kernel reads of a call: OC, IC and terms of a group; steps of x and out in cells;
``row``, the numbers from a term of the packed weights to the next; ``vectors``, whether whole
vectors of the result may be stored at once."""
AT = {name: i for i, name in enumerate((*GEOMETRY, *patches.FACTS))}


@cache
def padding(mode: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``cell(i, n)``: which cell of an axis stands at place i; ``there(i, n)``: whether one
    does."""
    @inlined
    def itself(i, n):
        return i

    @inlined
    def reflect(i, n):
        j = -i if i < 0 else i
        return i32(2 * n - 2 - j if j >= n else j)

    @inlined
    def replicate(i, n):
        return i32(0 if i < 0 else (n - 1 if i >= n else i))

    @inlined
    def circular(i, n):
        return i32(i + n if i < 0 else (i - n if i >= n else i))

    @inlined
    def always(i, n):
        return True

    cell = {"zeros": itself, "reflect": reflect, "replicate": replicate, "circular": circular}
    return cell[mode], within if mode == "zeros" else always


@cache
def term(order: str, KH: int, KW: int) -> Callable[..., Any]:
    """``split(k, channels)``: the input channel and the tap's row and column of a term."""
    taps = KH * KW
    if taps == 1:
        @inlined
        def split(k, channels):
            return k, 0, 0
    elif order == "planes":
        @inlined
        def split(k, channels):
            tap = remainder(k, taps)
            return quotient(k, taps), quotient(tap, KW), remainder(tap, KW)
    else:
        @inlined
        def split(k, channels):
            tap = quotient(k, channels)
            return remainder(k, channels), quotient(tap, KW), remainder(tap, KW)

    return split


def convolution(
    tile: Tile, dtype: str, order: str, KH: int, KW: int, mode: str, name: str | None, bias: bool,
    window: patches.Window | None = None,
) -> Source:
    """The kernel ``(x, w, bias, out, slope, geometry)``; ``order`` is "planes" or "last". With a
    ``window`` the maps are pooled at once, and the geometry goes on with the facts of patches."""
    computed = "float64" if dtype == "float64" else "float32"
    planes = order == "planes"
    scheme = tile.scheme(computed, planes)
    shape, lanes = scheme.shape, scheme.lanes
    threads, depth, stages = tile.threads, tile.depth, tile.stages
    # After the stages: for each pixel where its image begins, and the row and the column of its
    # first tap; then the geometry again, read when it is needed, for it would fill registers.
    pooled = window is not None
    entries = len(AT) if pooled else len(GEOMETRY)
    bases = max(-(-shape.nbytes // 16) * 16, patches.maps_bytes(tile, computed) if pooled else 0)
    tops = bases + 8 * tile.pixels
    lefts = tops + 4 * tile.pixels
    facts = lefts + 4 * tile.pixels
    memory = shared_memory(facts + 4 * entries)
    place, multiply, zero, take = scheme.place, scheme.multiply, scheme.zero, scheme.take
    copy, fetch_rows = copier(dtype), row_copier(shape, channels=True)
    wait = arrived(stages - 2)
    number, load, store = loader("int32", space="shared"), loader(dtype), storer(dtype)
    store_vector, push = vector_storer(dtype, lanes), pushed(lanes, computed)
    put, put_base = storer("int32", space="shared"), storer("int64", space="shared")
    base_of, fact = loader("int64", space="shared"), loader("int64")
    cell, there_is = padding(mode)
    split, f = term(order, KH, KW), activation(name, computed)
    P, C = tile.pixels, tile.channels
    stage_size, pixel_row = shape.stage, shape.pixel_row
    per_pass = threads // depth if not planes else threads // P
    pixel_copies = -(-P // per_pass) if not planes else -(-depth // per_pass)
    column_vectors, rows = scheme.vectors, scheme.rows
    next_column, row_of = scheme.next_column, scheme.row_of
    nothing = (np.float64 if computed == "float64" else np.float32)(0)
    size, width = (8 if computed == "float64" else 4), {"float64": 8, "float32": 4}.get(dtype, 2)
    mapped = mode != "zeros"
    G = AT
    g_pixels, g_plane, g_OW, g_IH, g_IW = (G[n] for n in ("pixels", "plane", "OW", "IH", "IW"))
    g_OC, g_IC, g_terms, g_SH, g_SW = (G[n] for n in ("OC", "IC", "terms", "SH", "SW"))
    g_DH, g_DW, g_PT, g_PL = (G[n] for n in ("DH", "DW", "PT", "PL"))
    g_xn, g_xc, g_xh, g_xw = (G[n] for n in ("xn", "xc", "xh", "xw"))
    g_on, g_oc, g_oh, g_ow = (G[n] for n in ("on", "oc", "oh", "ow"))
    g_row, g_channel_tiles, g_pixel_tiles = (G[n] for n in ("row", "channel_tiles", "pixel_tiles"))
    g_vectors = G["vectors"]

    @inlined
    def fetch_weights(s, slot, k0, w, group, oc0, thread, geometry):
        terms, row = number(geometry, g_terms), number(geometry, g_row)
        of_group = w + size * (group * terms * row)
        fetch_rows(s, slot, k0, of_group, oc0, row, terms, row, thread)

    if planes:
        @inlined
        def fetch_pixels(s, slot, k0, x, group, thread, geometry):
            # One pixel for each thread, the terms of a stage in turn.
            p, first_term = i32(thread % P), i32(thread // P)
            base = x + width * base_of(s + bases, p)
            top, left = number(s + tops, p), number(s + lefts, p)
            beyond = top == NOWHERE
            IC, terms = number(geometry, g_IC), number(geometry, g_terms)
            IH, IW = number(geometry, g_IH), number(geometry, g_IW)
            xc, xh, xw = number(geometry, g_xc), number(geometry, g_xh), number(geometry, g_xw)
            DH, DW = number(geometry, g_DH), number(geometry, g_DW)
            channel0 = i32(group * IC)
            for i in range(pixel_copies):
                k = i32(first_term + i * per_pass)
                ic, kh, kw = split(i32(k0 + k), IC)
                ih, iw = i32(top + kh * DH), i32(left + kw * DW)
                there = there_is(ih, IH) & there_is(iw, IW) & (i32(k0 + k) < terms)
                if mapped:
                    there = there & (not beyond)
                ih, iw = cell(ih, IH), cell(iw, IW)
                copy(
                    s, i32(slot * stage_size + k * pixel_row + p),
                    base, i32((channel0 + ic) * xc + ih * xh + iw * xw), there,
                )
    else:
        @inlined
        def fetch_pixels(s, slot, k0, x, group, thread, geometry):
            # One term for each thread, pixels in turn.
            k, p_first = i32(thread % depth), i32(thread // depth)
            IC, terms = number(geometry, g_IC), number(geometry, g_terms)
            IH, IW = number(geometry, g_IH), number(geometry, g_IW)
            xh, xw = number(geometry, g_xh), number(geometry, g_xw)
            ic, kh, kw = split(i32(k0 + k), IC)
            down, across = i32(kh * number(geometry, g_DH)), i32(kw * number(geometry, g_DW))
            channel = i32((group * IC + ic) * number(geometry, g_xc))
            term_there = i32(k0 + k) < terms
            for i in range(pixel_copies):
                p = i32(p_first + i * per_pass)
                top = number(s + tops, p)
                ih, iw = i32(top + down), i32(number(s + lefts, p) + across)
                there = there_is(ih, IH) & there_is(iw, IW) & term_there
                if mapped:
                    there = there & (top != NOWHERE)
                ih, iw = cell(ih, IH), cell(iw, IW)
                copy(
                    s, i32(slot * stage_size + k * pixel_row + p),
                    x + width * base_of(s + bases, p), i32(channel + ih * xh + iw * xw), there,
                )

    pixel: Any = patches.pixel_of(window, AT) if window else None
    keep: Any = patches.keeping(tile, computed, planes, lanes) if window else None
    pool: Any = patches.pooling(tile, window, dtype, planes, AT) if window else None
    parts = patches.parts(tile, computed)

    @inlined
    def finished(values, bias_of, channel, left, slope):
        # A vector of one channel's pixels, or of one pixel's channels, of which some are left.
        if planes:
            b = nothing
            if bias and left > 0:
                b = load(bias_of, channel)
            for _ in range(lanes):
                values = push(values, f(values[0] + b, slope))
        else:
            for e in range(lanes):
                b = nothing
                if bias and e < left:
                    b = load(bias_of, channel + e)
                values = push(values, f(values[0] + b, slope))
        return values

    def kernel(x, w, bias_of, out, slope, numbers):
        thread = cuda.threadIdx.x
        block = cuda.blockIdx.x
        s = memory()
        geometry = s + facts
        for i in range(thread, entries, threads):
            put(geometry, i, i32(fact(numbers, i)))
        cuda.syncthreads()
        channel_tiles = number(geometry, g_channel_tiles)
        oc0 = i32(remainder(block, channel_tiles) * C)
        block = quotient(block, channel_tiles)
        pixel_tiles = number(geometry, g_pixel_tiles)
        patch = i32(remainder(block, pixel_tiles))
        p0 = i32(patch * P)
        group = i32(quotient(block, pixel_tiles))
        OW = number(geometry, g_OW)

        for p in range(thread, P, threads):
            if pooled:
                n, oh, ow, inside = pixel(geometry, patch, p)
            else:
                plane = number(geometry, g_plane)
                n, rest = quotient(p0 + p, plane), remainder(p0 + p, plane)
                oh, ow = quotient(rest, OW), remainder(rest, OW)
                inside = p0 + p < number(geometry, g_pixels)
            top = oh * number(geometry, g_SH) - number(geometry, g_PT)
            put_base(s + bases, p, n * fact(numbers, g_xn) if inside else 0)
            put(s + tops, p, i32(top if inside else NOWHERE))
            put(s + lefts, p, i32(ow * number(geometry, g_SW) - number(geometry, g_PL)))
        cuda.syncthreads()

        column, row = place(thread)
        blocks = i32((number(geometry, g_terms) + depth - 1) // depth)
        for i in range(stages - 1):
            if i < blocks:
                fetch_weights(s, i, i32(i * depth), w, group, oc0, thread, geometry)
                fetch_pixels(s, i, i32(i * depth), x, group, thread, geometry)
            sent()
        total = zero()
        slot, ahead, k0 = i32(0), i32(stages - 1), i32((stages - 1) * depth)
        for _ in range(blocks):
            wait()
            cuda.syncthreads()
            if k0 < number(geometry, g_terms):
                again = anew(thread)
                fetch_weights(s, ahead, k0, w, group, oc0, again, geometry)
                fetch_pixels(s, ahead, k0, x, group, again, geometry)
            sent()
            total = multiply(total, s, slot, column, row, thread)
            slot = i32(slot + 1 if slot + 1 < stages else 0)
            ahead = i32(ahead + 1 if ahead + 1 < stages else 0)
            k0 = i32(k0 + depth)

        if pooled:
            for part in range(parts):
                cuda.syncthreads()
                for q in range(column_vectors):
                    for r in range(rows):
                        if planes:
                            p, c = i32(column + q * next_column), i32(row + row_of(r))
                        else:
                            p, c = i32(row + row_of(r)), i32(column + q * next_column)
                        OC = number(geometry, g_OC)
                        values = finished(
                            take(total, q * rows + r), bias_of, i32(group * OC + oc0 + c),
                            i32(OC - oc0 - c), slope,
                        )
                        keep(s, part, p, c, values)
                cuda.syncthreads()
                pool(s, part, geometry, numbers, patch, oc0, group, out, thread)
            return

        for q in range(column_vectors):
            for r in range(rows):
                reload()
                values = take(total, q * rows + r)
                if planes:
                    p = i32(p0 + column + q * next_column)
                    oc = i32(oc0 + row + row_of(r))
                else:
                    p = i32(p0 + row + row_of(r))
                    oc = i32(oc0 + column + q * next_column)
                pixels, OC = number(geometry, g_pixels), number(geometry, g_OC)
                channel = i32(group * OC + oc)
                if p < pixels and oc < OC:
                    values = finished(values, bias_of, channel, i32(OC - oc), slope)
                    # Whole vectors are stored only where the cells of a plane follow one another.
                    if planes and number(geometry, g_vectors) != 0 and p + lanes <= pixels:
                        plane = number(geometry, g_plane)
                        at = quotient(p, plane) * fact(numbers, g_on)
                        at += channel * fact(numbers, g_oc)
                        store_vector(out, at + remainder(p, plane), values)
                    else:
                        for e in range(lanes):
                            pe, ce = (i32(p + e), channel) if planes else (p, i32(channel + e))
                            if pe < pixels and (planes or oc + e < OC):
                                rest = remainder(pe, number(geometry, g_plane))
                                at = quotient(pe, number(geometry, g_plane)) * fact(numbers, g_on)
                                at += ce * fact(numbers, g_oc)
                                at += quotient(rest, OW) * fact(numbers, g_oh)
                                at += remainder(rest, OW) * fact(numbers, g_ow)
                                if not planes and number(geometry, g_vectors) != 0:
                                    if e == 0:
                                        store_vector(out, at, values)
                                else:
                                    store(out, at, values[0])
                            if planes or number(geometry, g_vectors) == 0:
                                values = push(values, values[0])

    return Source(kernel, "iiiifi", threads, tile.blocks, wide=True, products=True)


def packing(dtype: str, order: str, tf32: bool) -> Source:
    """``(w, packed, geometry)``: weights (G, terms, row) from any (OC, IC, KH, KW) strides.

    The geometry is all of row, terms, OC and IC of a group, KH · KW, KW, steps of w from a group,
    an output channel, an input channel, a tap's row and column to the next, and the count.
    """
    computed = "float64" if dtype == "float64" else "float32"
    load, store, number = loader(dtype), storer(computed), loader("int64")
    nothing = (np.float64 if computed == "float64" else np.float32)(0)
    planes = order == "planes"

    def kernel(w, packed, geometry):
        cell = cuda.blockIdx.x * 256 + cuda.threadIdx.x
        if cell < number(geometry, 11):
            row, terms = number(geometry, 0), number(geometry, 1)
            OC, IC = number(geometry, 2), number(geometry, 3)
            taps, KW = number(geometry, 4), number(geometry, 5)
            oc = remainder(cell, row)
            rest = quotient(cell, row)
            k, group = remainder(rest, terms), quotient(rest, terms)
            if planes:
                ic, tap = quotient(k, taps), remainder(k, taps)
            else:
                tap, ic = quotient(k, IC), remainder(k, IC)
            value = nothing
            if oc < OC:
                at = (
                    group * number(geometry, 6) + oc * number(geometry, 7)
                    + ic * number(geometry, 8) + quotient(tap, KW) * number(geometry, 9)
                    + remainder(tap, KW) * number(geometry, 10)
                )
                value = load(w, at)
                if tf32:
                    value = rounded_to_tf32(value)
            store(packed, cell, value)

    return Source(kernel, "iii", 256)
