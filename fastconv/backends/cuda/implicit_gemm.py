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

from .activations import activation
from .launcher import Source
from .primitives import (
    arrived,
    copier,
    inlined,
    loader,
    pushed,
    quotient,
    remainder,
    sent,
    shared_memory,
    storer,
    vector_copier,
    vector_storer,
)
from .tiles import Tile, product, sharing, sums, thread_places

GEOMETRY = (
    "pixels", "plane", "OW", "IH", "IW", "OC", "IC", "terms", "SH", "SW", "DH", "DW", "PT", "PL",
    "xn", "xc", "xh", "xw", "on", "oc", "oh", "ow", "row", "channel_tiles", "pixel_tiles",
    "vectors", "OH",
)
"""What the kernel reads of a call: OC, IC and terms of a group; steps of x and out in cells;
``row``, the numbers from a term of the packed weights to the next; ``vectors``, whether whole
vectors of the result may be stored at once."""
AT = {name: i for i, name in enumerate(GEOMETRY)}


@cache
def padding(mode: str) -> Callable[..., Any]:
    """``cell(i, n)``: which cell of an axis stands at place i, −1 for none."""
    @inlined
    def zeros(i, n):
        return i if 0 <= i < n else -1

    @inlined
    def reflect(i, n):
        j = -i if i < 0 else i
        return 2 * n - 2 - j if j >= n else j

    @inlined
    def replicate(i, n):
        return 0 if i < 0 else (n - 1 if i >= n else i)

    @inlined
    def circular(i, n):
        return i + n if i < 0 else (i - n if i >= n else i)

    return {
        "zeros": zeros, "reflect": reflect, "replicate": replicate, "circular": circular
    }[mode]


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
) -> Source:
    """The kernel ``(x, w, bias, out, slope, geometry)``; ``order`` is "planes" or "last"."""
    computed = "float64" if dtype == "float64" else "float32"
    planes = order == "planes"
    shape = sharing(tile, computed, planes)
    lanes, threads, depth, stages = shape.lanes, tile.threads, tile.depth, tile.stages
    table = -(-shape.nbytes // 16) * 16  # of pixels: the base of each, its first row and column
    memory = shared_memory(table + 24 * tile.pixels)
    place, multiply, held = thread_places(tile, planes), product(shape), sums(shape)
    zero, first, rotate = held.zero, held.first, held.rotate
    copy, copy_vector = copier(dtype), vector_copier(computed)
    wait = arrived(stages - 2)
    number, load, store = loader("int64"), loader(dtype), storer(dtype)
    store_vector, push = vector_storer(dtype, lanes), pushed(lanes, computed)
    put, get = storer("int64", space="shared"), loader("int64", space="shared")
    cell, split, f = padding(mode), term(order, KH, KW), activation(name, computed)
    P, C = tile.pixels, tile.channels
    stage_size, apart = shape.stage, depth * shape.pixel_row
    pixel_row, channel_row = shape.pixel_row, shape.channel_row
    vectors_of_row = C // lanes
    weight_copies = -(-depth * vectors_of_row // threads)
    per_pass = threads // depth if not planes else threads // P
    pixel_copies = -(-P // per_pass) if not planes else -(-depth // per_pass)
    column_vectors, rows = held.vectors, held.rows
    pixel_gap = P // (tile.per_pixel // lanes)
    channel_gap = C // (tile.per_channel // lanes)
    nothing = (np.float64 if computed == "float64" else np.float32)(0)
    G = AT
    g_pixels, g_plane, g_OW, g_IH, g_IW = (G[n] for n in ("pixels", "plane", "OW", "IH", "IW"))
    g_OC, g_IC, g_terms, g_SH, g_SW = (G[n] for n in ("OC", "IC", "terms", "SH", "SW"))
    g_DH, g_DW, g_PT, g_PL = (G[n] for n in ("DH", "DW", "PT", "PL"))
    g_xn, g_xc, g_xh, g_xw = (G[n] for n in ("xn", "xc", "xh", "xw"))
    g_on, g_oc, g_oh, g_ow = (G[n] for n in ("on", "oc", "oh", "ow"))
    g_row, g_channel_tiles, g_pixel_tiles = (G[n] for n in ("row", "channel_tiles", "pixel_tiles"))
    g_vectors, g_OH = G["vectors"], G["OH"]

    @inlined
    def fetch_weights(s, slot, k0, w, group, oc0, thread, geometry):
        terms, row = number(geometry, g_terms), number(geometry, g_row)
        for i in range(weight_copies):
            e = thread + i * threads
            if e < depth * vectors_of_row:
                k, at = e // vectors_of_row, e % vectors_of_row * lanes
                there = k0 + k < terms and oc0 + at < row
                source = ((group * terms + k0 + k) * row + oc0 + at) if there else 0
                copy_vector(s, slot * stage_size + apart + k * channel_row + at, w, source, there)

    if planes:
        @inlined
        def fetch_pixels(s, slot, k0, x, group, thread, geometry):
            # One pixel for each thread, the terms of a stage in turn.
            p, k_first = thread % P, thread // P
            base = get(s + table, 3 * p)
            top, left = get(s + table, 3 * p + 1), get(s + table, 3 * p + 2)
            IC, terms = number(geometry, g_IC), number(geometry, g_terms)
            IH, IW = number(geometry, g_IH), number(geometry, g_IW)
            for i in range(pixel_copies):
                k = k_first + i * per_pass
                ic, kh, kw = split(k0 + k, IC)
                ih = cell(top + kh * number(geometry, g_DH), IH)
                iw = cell(left + kw * number(geometry, g_DW), IW)
                there = base >= 0 and k0 + k < terms and ih >= 0 and iw >= 0
                source = (
                    base + (group * IC + ic) * number(geometry, g_xc)
                    + ih * number(geometry, g_xh) + iw * number(geometry, g_xw)
                ) if there else 0
                copy(s, slot * stage_size + k * pixel_row + p, x, source, there)
    else:
        @inlined
        def fetch_pixels(s, slot, k0, x, group, thread, geometry):
            # One term for each thread, pixels in turn.
            k, p_first = thread % depth, thread // depth
            IC, terms = number(geometry, g_IC), number(geometry, g_terms)
            IH, IW = number(geometry, g_IH), number(geometry, g_IW)
            ic, kh, kw = split(k0 + k, IC)
            down, across = kh * number(geometry, g_DH), kw * number(geometry, g_DW)
            channel = (group * IC + ic) * number(geometry, g_xc)
            for i in range(pixel_copies):
                p = p_first + i * per_pass
                base = get(s + table, 3 * p)
                ih = cell(get(s + table, 3 * p + 1) + down, IH)
                iw = cell(get(s + table, 3 * p + 2) + across, IW)
                there = base >= 0 and k0 + k < terms and ih >= 0 and iw >= 0
                source = (
                    base + channel + ih * number(geometry, g_xh) + iw * number(geometry, g_xw)
                ) if there else 0
                copy(s, slot * stage_size + k * pixel_row + p, x, source, there)

    def kernel(x, w, bias_of, out, slope, geometry):
        thread = cuda.threadIdx.x
        block = cuda.blockIdx.x
        s = memory()
        channel_tiles = number(geometry, g_channel_tiles)
        oc0 = remainder(block, channel_tiles) * C
        block = quotient(block, channel_tiles)
        pixel_tiles = number(geometry, g_pixel_tiles)
        p0 = remainder(block, pixel_tiles) * P
        group = quotient(block, pixel_tiles)
        pixels, plane = number(geometry, g_pixels), number(geometry, g_plane)
        OW = number(geometry, g_OW)

        for p in range(thread, P, threads):
            n = quotient(p0 + p, plane)
            rest = remainder(p0 + p, plane)
            oh = quotient(rest, OW)
            ow = remainder(rest, OW)
            inside = p0 + p < pixels
            put(s + table, 3 * p, n * number(geometry, g_xn) if inside else -1)
            put(s + table, 3 * p + 1, oh * number(geometry, g_SH) - number(geometry, g_PT))
            put(s + table, 3 * p + 2, ow * number(geometry, g_SW) - number(geometry, g_PL))
        cuda.syncthreads()

        column, row = place(thread)
        blocks = (number(geometry, g_terms) + depth - 1) // depth
        for i in range(stages - 1):
            if i < blocks:
                fetch_weights(s, i, i * depth, w, group, oc0, thread, geometry)
                fetch_pixels(s, i, i * depth, x, group, thread, geometry)
            sent()
        total = zero()
        slot, ahead = 0, stages - 1
        for i in range(blocks):
            wait()
            cuda.syncthreads()
            if i + stages - 1 < blocks:
                k0 = (i + stages - 1) * depth
                fetch_weights(s, ahead, k0, w, group, oc0, thread, geometry)
                fetch_pixels(s, ahead, k0, x, group, thread, geometry)
            sent()
            total = multiply(total, s, slot, column, row)
            slot = slot + 1 if slot + 1 < stages else 0
            ahead = ahead + 1 if ahead + 1 < stages else 0

        OC, OH = number(geometry, g_OC), number(geometry, g_OH)
        on, oc_step = number(geometry, g_on), number(geometry, g_oc)
        oh_step, ow_step = number(geometry, g_oh), number(geometry, g_ow)
        whole = number(geometry, g_vectors) != 0
        for q in range(column_vectors):
            for r in range(rows):
                values = first(total)
                total = rotate(total)
                if planes:
                    p = p0 + column * lanes + q * pixel_gap
                    oc = oc0 + row * lanes + r // lanes * channel_gap + r % lanes
                else:
                    p = p0 + row * lanes + r // lanes * pixel_gap + r % lanes
                    oc = oc0 + column * lanes + q * channel_gap
                if p < pixels and oc < OC:
                    n = quotient(p, plane)
                    rest = remainder(p, plane)
                    oh, ow = quotient(rest, OW), remainder(rest, OW)
                    at = (
                        n * on + (group * OC + oc) * oc_step + oh * oh_step + ow * ow_step
                    )
                    if planes:
                        b = nothing
                        if bias:
                            b = load(bias_of, group * OC + oc)
                        for _ in range(lanes):
                            values = push(values, f(values[0] + b, slope))
                    else:
                        for e in range(lanes):
                            b = nothing
                            if bias and oc + e < OC:
                                b = load(bias_of, group * OC + oc + e)
                            values = push(values, f(values[0] + b, slope))
                    if whole and (p + lanes <= pixels if planes else oc + lanes <= OC):
                        store_vector(out, at, values)
                    else:
                        for e in range(lanes):
                            if planes:
                                if p + e < pixels:
                                    store(out, at, values[0])
                                ow += 1
                                at += ow_step
                                if ow == OW:
                                    ow = 0
                                    oh += 1
                                    at += oh_step - OW * ow_step
                                    if oh == OH:
                                        oh = 0
                                        at += on - OH * oh_step
                            elif oc + e < OC:
                                store(out, at + e * oc_step, values[0])
                            values = push(values, values[0])

    return Source(kernel, "iiiifi", threads, tile.blocks)


def packing(dtype: str, order: str) -> Source:
    """``(w, packed, geometry)``: weights (G, terms, row) from any (OC, IC, KH, KW) strides.

    The geometry is all of row, terms, OC and IC of a group, KH · KW, KW, steps of w, count.
    """
    computed = "float64" if dtype == "float64" else "float32"
    load, store, number = loader(dtype), storer(computed), loader("int64")
    nothing = (np.float64 if computed == "float64" else np.float32)(0)
    planes = order == "planes"

    def kernel(w, packed, geometry):
        cell = cuda.blockIdx.x * 256 + cuda.threadIdx.x
        if cell < number(geometry, 10):
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
                    (group * OC + oc) * number(geometry, 6) + ic * number(geometry, 7)
                    + quotient(tap, KW) * number(geometry, 8)
                    + remainder(tap, KW) * number(geometry, 9)
                )
                value = load(w, at)
            store(packed, cell, value)

    return Source(kernel, "iii", 256)
