"""Winograd's convolution in three launches: transform of the pictures, products, transform back.

Y = Aᵀ [Σ_ic (G g Gᵀ) ⊙ (Bᵀ d B)] A for every tile of m×m outputs (``backends/winograd.py``;
A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", 2016, §4.1 on the α²
products). A dilated convolution is several, each on every DH-th row and DW-th column: their tiles
stand one after the other.

Between the launches lie, for each of the α² points, V (groups · IC, tiles) and M, which is
(groups · OC, tiles) in the order "planes", for neighbouring threads there take neighbouring tiles,
and (tiles, groups · OC) in the order "last".
"""

from __future__ import annotations

import numpy as np
from numba import cuda

from ..winograd import Matrix, transforms
from .activations import activation
from .implicit_gemm import padding
from .launcher import Source
from .primitives import (
    NOWHERE,
    inlined,
    loader,
    offsets,
    patch_loader,
    pushed,
    quotient,
    remainder,
    spaced_loader,
    spaced_storer,
    storer,
    transformer,
    vector_of,
    vector_storer,
)

THREADS = 256
VECTORS = (2, 4)
"""Sides of tiles whose rows can be stored at once."""

GEOMETRY = (
    "plane", "across", "tiles_h", "tiles_w", "IH", "IW", "OH", "OW", "DH", "DW", "PT", "PL",
    "IC", "OC", "xn", "xc", "xh", "xw", "on", "oc", "oh", "ow", "v_row", "v_point",
    "m_row", "m_point", "of_group", "row_of_group", "vectors", "channel_blocks_in",
    "channel_blocks_out",
)
"""Tiles of a picture and of a row of it, of a phase of the dilation down and across; IC and OC of
all groups; steps of x and out in cells; numbers from a row of V and M to the next and from a point
to the next; output channels of a group and numbers of its row in M; whether m results may be
stored at once; blocks along the channels of x and of out."""
AT = {name: i for i, name in enumerate(GEOMETRY)}


def _rows(matrix: Matrix) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(v) for v in row) for row in matrix)


def block(order: str) -> tuple[int, int]:
    """Tiles and channels of a block's threads; in the order "last" four channels lie side by
    side for a warp's loads of x, and eight tiles for its stores of V."""
    return (32, 8) if order == "planes" else (8, 32)


def places(m: int):  # type: ignore[no-untyped-def]
    """``place(tile, geometry)``: its picture, and the row and the column of its first output."""
    number = loader("int64")
    g_plane, g_across, g_down, g_right = (AT[n] for n in ("plane", "across", "tiles_h", "tiles_w"))
    g_DH, g_DW = AT["DH"], AT["DW"]

    @inlined
    def place(tile, geometry):
        plane, across = number(geometry, g_plane), number(geometry, g_across)
        n, rest = quotient(tile, plane), remainder(tile, plane)
        down, right = quotient(rest, across), remainder(rest, across)
        tiles_h, tiles_w = number(geometry, g_down), number(geometry, g_right)
        top = quotient(down, tiles_h) + remainder(down, tiles_h) * m * number(geometry, g_DH)
        left = quotient(right, tiles_w) + remainder(right, tiles_w) * m * number(geometry, g_DW)
        return n, top, left

    return place


def into(m: int, r: int, dtype: str, order: str, mode: str) -> Source:
    """``(x, v, first, count, geometry)``: Bᵀ d B of ``count`` tiles from the ``first`` on."""
    computed = "float64" if dtype == "float64" else "float32"
    side = m + r - 1
    number = loader("int64")
    none, push = offsets(side)
    load = patch_loader(dtype, computed, side)
    transform = transformer(_rows(transforms(m, r).BT), computed)
    store = spaced_storer(computed, side * side, computed)
    cell, there_is = padding(mode)
    place = places(m)
    width = {"float64": 8, "float32": 4}.get(dtype, 2)
    planes, mapped = order == "planes", mode != "zeros"
    G = AT
    g_IH, g_IW, g_OH, g_OW = G["IH"], G["IW"], G["OH"], G["OW"]
    g_DH, g_DW, g_PT, g_PL = G["DH"], G["DW"], G["PT"], G["PL"]
    g_xn, g_xc, g_xh, g_xw = G["xn"], G["xc"], G["xh"], G["xw"]
    g_IC, g_row, g_point = G["IC"], G["v_row"], G["v_point"]
    g_blocks = G["channel_blocks_in"]
    tiles, channels = block(order)

    @inlined
    def axis(start, pad, step, n, outputs, stride):
        found = none()
        for i in range(side):
            # Tiles may reach beyond what any output needs, where no padding is defined.
            at = start + i * step
            needed = at < outputs + (r - 1) * step
            at -= pad
            offset = NOWHERE
            if there_is(at, n) & (needed or not mapped):
                offset = cell(at, n) * stride
            found = push(found, offset)
        return found

    def kernel(x, v, first, count, geometry):
        thread, where = cuda.threadIdx.x, cuda.blockIdx.x
        channel_blocks = number(geometry, g_blocks)
        warp, lane = thread // 32, thread % 32
        if planes:
            t, c = lane, warp
        else:
            t, c = lane % 8, warp * 4 + lane // 8
        ic = remainder(where, channel_blocks) * channels + c
        tile = quotient(where, channel_blocks) * tiles + t
        IC = number(geometry, g_IC)
        if tile < count and ic < IC:
            n, top, left = place(first + tile, geometry)
            rows = axis(
                top, number(geometry, g_PT), number(geometry, g_DH), number(geometry, g_IH),
                number(geometry, g_OH), number(geometry, g_xh),
            )
            columns = axis(
                left, number(geometry, g_PL), number(geometry, g_DW), number(geometry, g_IW),
                number(geometry, g_OW), number(geometry, g_xw),
            )
            picture = x + width * (n * number(geometry, g_xn) + ic * number(geometry, g_xc))
            at = ic * number(geometry, g_row) + tile
            store(v, at, number(geometry, g_point), transform(load(picture, rows, columns)))

    return Source(kernel, "iiiii", THREADS)


def back(m: int, r: int, dtype: str, order: str, name: str | None, bias: bool) -> Source:
    """``(products, bias, out, slope, first, count, geometry)``: Aᵀ M A, bias and activation."""
    computed = "float64" if dtype == "float64" else "float32"
    side = m + r - 1
    number = loader("int64")
    nothing = (np.float64 if computed == "float64" else np.float32)(0)
    load = spaced_loader(computed, side * side)
    transform = transformer(_rows(transforms(m, r).AT), computed)
    take, push = vector_of(m * m, m, computed), pushed(m, computed)
    load_bias, store = loader(dtype), storer(dtype)
    store_vector = vector_storer(dtype, m) if m in VECTORS else None
    f, place, planes = activation(name, computed), places(m), order == "planes"
    G = AT
    g_OH, g_OW, g_DH, g_DW, g_OC = G["OH"], G["OW"], G["DH"], G["DW"], G["OC"]
    g_on, g_oc, g_oh, g_ow = G["on"], G["oc"], G["oh"], G["ow"]
    g_row, g_point, g_vectors = G["m_row"], G["m_point"], G["vectors"]
    g_blocks = G["channel_blocks_out"]
    g_of_group, g_row_of_group = G["of_group"], G["row_of_group"]
    whole = store_vector is not None
    tiles, channels = block(order)

    def kernel(products, bias_of, out, slope, first, count, geometry):
        thread, where = cuda.threadIdx.x, cuda.blockIdx.x
        channel_blocks = number(geometry, g_blocks)
        warp, lane = thread // 32, thread % 32
        t, c = (lane, warp) if planes else (warp, lane)
        oc = remainder(where, channel_blocks) * channels + c
        tile = quotient(where, channel_blocks) * tiles + t
        OC, row = number(geometry, g_OC), number(geometry, g_row)
        if tile < count and oc < OC:
            of_group, row_of_group = number(geometry, g_of_group), number(geometry, g_row_of_group)
            at = quotient(oc, of_group) * row_of_group + remainder(oc, of_group)
            at = at * row + tile if planes else tile * row + at
            values = transform(load(products, at, number(geometry, g_point)))
            n, top, left = place(first + tile, geometry)
            base = n * number(geometry, g_on) + oc * number(geometry, g_oc)
            OH, OW = number(geometry, g_OH), number(geometry, g_OW)
            b = nothing
            if bias:
                b = load_bias(bias_of, oc)
            for i in range(m):
                oh = top + i * number(geometry, g_DH)
                if oh < OH:
                    line = take(values, i)
                    for _ in range(m):
                        line = push(line, f(line[0] + b, slope))
                    place_of = base + oh * number(geometry, g_oh)
                    if whole and number(geometry, g_vectors) != 0:
                        store_vector(out, place_of + left, line)
                    else:
                        for j in range(m):
                            ow = left + j * number(geometry, g_DW)
                            if ow < OW:
                                store(out, place_of + ow * number(geometry, g_ow), line[0])
                            line = push(line, line[0])

    return Source(kernel, "iiifiii", THREADS)


def packing(m: int, r: int, dtype: str) -> Source:
    """``(w, packed, geometry)``: G g Gᵀ as (α², groups, IC, row) from any (OC, IC, r, r) strides,
    reckoned in float64.

    The geometry is all of row, IC and OC of a group, steps of w, cells of a point.
    """
    computed = "float64" if dtype == "float64" else "float32"
    side = m + r - 1
    load = patch_loader(dtype, "float64", r)
    none, push = offsets(r)
    transform = transformer(_rows(transforms(m, r).G_mat), "float64")
    store, number = spaced_storer(computed, side * side, "float64"), loader("int64")
    width = {"float64": 8, "float32": 4}.get(dtype, 2)

    def kernel(w, packed, geometry):
        at = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        cells = number(geometry, 7)
        if at < cells:
            row, IC, OC = number(geometry, 0), number(geometry, 1), number(geometry, 2)
            oc, rest = remainder(at, row), quotient(at, row)
            ic, group = remainder(rest, IC), quotient(rest, IC)
            rows, columns = none(), none()
            for i in range(r):
                rows = push(rows, i * number(geometry, 5) if oc < OC else NOWHERE)
                columns = push(columns, i * number(geometry, 6))
            base = w
            if oc < OC:
                base = w + width * (
                    (group * OC + oc) * number(geometry, 3) + ic * number(geometry, 4)
                )
            store(packed, at, cells, transform(load(base, rows, columns)))

    return Source(kernel, "iii", THREADS)
