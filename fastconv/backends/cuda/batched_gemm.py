"""Many products of matrices at once: C[b] = A[b]ᵀ · B[b], by the register tile.

A[b] has a row of pixels for each term, B[b] a row of channels; both rows are whole vectors, so
all copies to shared memory are. C[b] lies (channels, pixels) in the order "planes", else
(pixels, channels), its rows whole vectors too. What stands in a row beyond its pixels or channels
is computed and never read.
"""

from __future__ import annotations

from numba import cuda

from .launcher import Source
from .primitives import (
    arrived,
    i32,
    loader,
    quotient,
    remainder,
    sent,
    shared_memory,
    vector_storer,
)
from .tiles import Tile, row_copier

GEOMETRY = ("terms", "pixel_row", "channel_row", "out_row", "out_point", "out_group",
            "channel_tiles", "groups")
"""Numbers from a term of A and of B to the next, and of C from a row to the next, from ``groups``
products to the next ones, and from one of these to the next: they may lie side by side."""
AT = {name: i for i, name in enumerate(GEOMETRY)}


def products(tile: Tile, dtype: str, order: str) -> Source:
    """``(a, b, c, pixels, pixel_tiles, geometry)``: a block for each tile of each product.

    ``pixels`` is how many of a row of A are wanted, a multiple of the vector's numbers.
    """
    planes = order == "planes"
    scheme = tile.scheme(dtype, planes)
    shape, depth, stages = scheme.shape, tile.depth, tile.stages
    memory = shared_memory(shape.nbytes)
    place, multiply, zero, take = scheme.place, scheme.multiply, scheme.zero, scheme.take
    wait, number = arrived(stages - 2), loader("int64")
    store = vector_storer(dtype, scheme.lanes)
    P, C = tile.pixels, tile.channels
    vectors, rows = scheme.vectors, scheme.rows
    next_column, row_of = scheme.next_column, scheme.row_of
    size = 8 if dtype == "float64" else 4
    g_terms, g_pixel_row, g_channel_row = AT["terms"], AT["pixel_row"], AT["channel_row"]
    g_out_row, g_point, g_group = AT["out_row"], AT["out_point"], AT["out_group"]
    g_tiles, g_groups = AT["channel_tiles"], AT["groups"]

    fetch_pixels = row_copier(shape, channels=False)
    fetch_channels = row_copier(shape, channels=True)

    def kernel(a, b, c, pixels, pixel_tiles, geometry):
        thread, block = cuda.threadIdx.x, cuda.blockIdx.x
        s = memory()
        terms, tiles = i32(number(geometry, g_terms)), number(geometry, g_tiles)
        a_row, b_row = i32(number(geometry, g_pixel_row)), i32(number(geometry, g_channel_row))
        oc0 = i32(remainder(block, tiles) * C)
        block = quotient(block, tiles)
        p0 = i32(remainder(block, pixel_tiles) * P)
        batch = quotient(block, pixel_tiles)
        reach = i32(pixels)
        a += size * (batch * terms * a_row)
        b += size * (batch * terms * b_row)
        column, row = place(thread)
        blocks = i32((terms + depth - 1) // depth)
        for i in range(stages - 1):
            if i < blocks:
                fetch_pixels(s, i, i32(i * depth), a, p0, a_row, terms, reach, thread)
                fetch_channels(s, i, i32(i * depth), b, oc0, b_row, terms, b_row, thread)
            sent()
        total = zero()
        slot, ahead, k0 = i32(0), i32(stages - 1), i32((stages - 1) * depth)
        for _ in range(blocks):
            wait()
            cuda.syncthreads()
            if k0 < terms:
                fetch_pixels(s, ahead, k0, a, p0, a_row, terms, reach, thread)
                fetch_channels(s, ahead, k0, b, oc0, b_row, terms, b_row, thread)
            sent()
            total = multiply(total, s, slot, column, row, thread)
            slot = i32(slot + 1 if slot + 1 < stages else 0)
            ahead = i32(ahead + 1 if ahead + 1 < stages else 0)
            k0 = i32(k0 + depth)

        out_row = number(geometry, g_out_row)
        groups = number(geometry, g_groups)
        base = quotient(batch, groups) * number(geometry, g_point)
        base += remainder(batch, groups) * number(geometry, g_group)
        for q in range(vectors):
            for r in range(rows):
                values = take(total, q * rows + r)
                if planes:
                    p = i32(p0 + column + q * next_column)
                    oc = i32(oc0 + row + row_of(r))
                    if p < reach and oc < b_row:
                        store(c, base + oc * out_row + p, values)
                else:
                    p = i32(p0 + row + row_of(r))
                    oc = i32(oc0 + column + q * next_column)
                    if p < reach and oc < b_row:
                        store(c, base + p * out_row + oc, values)

    return Source(kernel, "iiiiii", tile.threads, tile.blocks, wide=True, products=True)
