"""The tile of whole planes: some rows of neighbouring pixels, of a few output channels.

Vectors run along the pixels of a row and weights are broadcast. An input vector is loaded once
for each kernel column and meets all output rows of the tile that its row belongs to; shifted
neighbours are unaligned loads of the picture itself. What a tile does not know when it is
compiled it reads from a *job*: see :class:`Job`.

The sum of an output starts with the bias and goes over the input channels, then the kernel's
rows, then its columns, in every tile: so the cut into tiles changes no bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from . import simd
from .emitter import Emitter
from .jit import intrinsic, native

SUMS = 24 if simd.REGISTERS == 32 else 12
"""Vectors of sums that leave registers for weights and pixels."""
SPARE = 3
"""Registers that pixels and the next weight need at least."""
WIDEST = 6 if simd.REGISTERS == 32 else 3
"""Vectors of a tile's row. Memory is read in runs of so many: the longer the better."""
TALLEST = 14
"""Rows of a tile."""
TOGETHER = 4
"""Output channels of a tile, at most."""
MOST_TAPS = 8
"""Rows and columns of a kernel for which code is straight; of larger ones it is looped."""
_KEPT = 256
"""Native functions; what is asked for again later comes from disk."""


class Job(NamedTuple):
    """Numbers that the tiles of one call share, as 64-bit integers in this order."""

    channels: int
    """Input channels,"""
    x_channel: int
    """the bytes between them,"""
    x_row: int
    """and between rows."""
    x_group: int
    """Bytes from the input of one block of output channels to that of the next,"""
    w_block: int
    """and so for the weights"""
    out_block: int
    """and for out."""
    IH: int
    IW: int
    DH: int
    """Input rows from one kernel row to the next,"""
    hop: int
    """and from an output row to the next one of a tile."""
    DW: int
    columns: int
    """Address of the offsets of the kernel's columns in a row."""
    zeros: int
    """Address of zeros, which stand for any row outside the picture."""
    KH: int
    KW: int
    out_channel: int
    out_row: int
    """Bytes between output channels, and between the output rows of a tile."""
    limits: int
    """Address of the least and the greatest result."""


class Shape(NamedTuple):
    """What a tile knows when it is compiled."""

    dtype: np.dtype[Any]
    channels: int
    """Of output."""
    rows: int
    """At most; what is left over is computed by tiles of half as many, and so on."""
    vectors: int
    KH: int
    """0 for any number from ``rows`` on."""
    KW: int
    """0 for any."""
    row_stride: int
    """Input rows, in steps of the kernel's, from one output row to the next."""
    column_stride: int
    """2 where every second cell is picked out of x itself."""
    within: bool
    """Whether all cells of a row that is read are inside the picture; else loads are masked."""
    whole: bool
    """Whether all lanes are results; else stores are masked."""
    single: bool
    """Whether there is one input channel: then output rows are complete one after the other."""
    limited: bool
    """Whether results are limited."""

    @property
    def live(self) -> int:
        """Rows of sums that are in registers at a time."""
        if self.single and self.KH:
            return min(self.rows, -(-self.KH // self.row_stride))
        return self.rows


@lru_cache(maxsize=_KEPT)
def plane_code(shape: Shape) -> Any:
    """The native function that computes tiles below each other.

    Its arguments: the address of a :class:`Job`; how many blocks of output channels; the address
    of the first window's first column in row 0 and the number of that column; the first input
    row; rows of output; weights ``[ic][kw][kh][channel]``; bias, and the bytes from a block's to
    the next; out; columns of out that exist.
    """
    channels, most, vectors, KH, KW, row_stride, column_stride, within, whole, single, limited = (
        map(int, shape[1:])
    )
    zero = shape.dtype.type(0)

    def plane(
        job, blocks, x, column, first_row, rows, weights, bias, next_bias, first_out, count
    ):
        for _ in range(blocks):
            _tiles(
                channels, most, vectors, KH, KW, row_stride, column_stride, within, whole, single,
                limited, zero, job, x, column, first_row, weights, bias, first_out, count, rows,
            )
            x += simd.load(job + 8 * _X_GROUP, 0)
            weights += simd.load(job + 8 * _W_BLOCK, 0)
            bias += next_bias
            first_out += simd.load(job + 8 * _OUT_BLOCK, 0)

    name = "_".join(str(int(n)) for n in shape[1:])
    return native(plane, f"plane_{shape.dtype.name}_{name}", *[types.intp] * 11)


_X_GROUP, _W_BLOCK, _OUT_BLOCK = map(Job._fields.index, ("x_group", "w_block", "out_block"))


@intrinsic(prefer_literal=True)
def _tiles(
    typingctx, channels, most, vectors, KH, KW, row_stride, column_stride, within, whole, single,
    limited, like, job, x, column, row, weights, bias, out, count, rows,
):
    """Tiles below each other, of ``rows`` rows in all; the arguments before ``like`` are
    constants of the compiled code: see Shape."""
    constants = (
        channels, most, vectors, KH, KW, row_stride, column_stride, within, whole, single, limited,
    )
    if not all(isinstance(constant, types.IntegerLiteral) for constant in constants):
        return None

    def codegen(context, builder, signature, args):
        numbers = [constant.literal_value for constant in constants]
        shape = Shape._make((np.dtype(f"f{like.bitwidth // 8}"), *numbers))
        job, x, column, row, weights, bias, out, count, left = args[12:]
        words = Emitter(builder, shape.dtype, job, Job._fields).job

        def below(rows):
            """Row and out so many rows of output further down."""
            return (
                builder.add(row, builder.mul(rows, words["hop"])),
                builder.add(out, builder.mul(rows, words["out_row"])),
            )

        for height in dict.fromkeys(max(1, shape.rows // part) for part in (1, 2, 4, shape.rows)):
            tiles = builder.udiv(left, simd.INT(height))
            with cgutils.for_range(builder, tiles) as loop:
                at, to = below(builder.mul(loop.index, simd.INT(height)))
                tile = _Emitter(builder, shape._replace(rows=height), job)
                tile.emit(x, column, at, weights, bias, to, count)
            done = builder.mul(tiles, simd.INT(height))
            row, out = below(done)
            left = builder.sub(left, done)
        return context.get_dummy_value()

    return types.void(*constants, like, *[types.intp] * 9), codegen


class _Emitter(Emitter):
    """Emits one tile: sums start with the bias, meet row after row, are limited and stored."""

    def __init__(self, builder: ir.IRBuilder, shape: Shape, job: ir.Value) -> None:
        super().__init__(builder, shape.dtype, job, Job._fields)
        self.shape = shape

    def _all(self) -> Iterator[tuple[int, int, int]]:
        """Channel, row and vector of every sum."""
        for m in range(self.shape.channels):
            for r in range(self.shape.rows):
                for v in range(self.shape.vectors):
                    yield m, r, v

    def emit(
        self, x: ir.Value, column: ir.Value, row: ir.Value, weights: ir.Value, bias: ir.Value,
        out: ir.Value, count: ir.Value,
    ) -> None:
        b, shape = self.builder, self.shape
        self.weights: list[ir.Value] = []
        self.out, self.count = out, count
        self.sums = {at: cgutils.alloca_once(b, self.vector) for at in self._all()}
        starts = [self.splat(bias, m * self.size) for m in range(shape.channels)]
        for (m, _, _), place in self.sums.items():
            b.store(starts[m], place)
        self._find_masks(column)
        if shape.single and shape.KH:
            self._straight(x, row, weights)
            return
        taps = b.mul(self.job["KH"], self.job["KW"])
        of_channel = b.mul(taps, simd.INT(shape.channels * self.size))
        with cgutils.for_range(b, self.job["channels"]) as loop:
            plane = b.add(x, b.mul(loop.index, self.job["x_channel"]))
            w = b.add(weights, b.mul(loop.index, of_channel))
            if shape.KH:
                self._straight(plane, row, w)
            else:
                self._looped(plane, row, w)
        for r in range(shape.rows):
            self._store(r)

    def _find_masks(self, column: ir.Value) -> None:
        """Of each vector and each of its loads, the lanes inside the picture."""
        self.masks: dict[tuple[int, int], ir.Value] = {}
        if self.shape.within:
            return
        for v in range(self.shape.vectors):
            for load, cells in enumerate(self._loads()):
                first = self.plus(column, self.job["DW"], cells[0])
                first = self.builder.add(
                    first, simd.INT(v * self.lanes * self.shape.column_stride + cells[1])
                )
                self.masks[v, load] = simd.emit_between(
                    self.builder, self.builder.neg(first),
                    self.builder.sub(self.job["IW"], first), self.lanes,
                )

    def _loads(self) -> list[tuple[int, int]]:
        """(kernel column, cells beyond it) of the loads that one vector of pixels needs."""
        KW = self.shape.KW
        if self.shape.column_stride == 1:
            return [(kw, 0) for kw in range(KW)]
        loads = [(kw // 2 * 2, kw % 2 * self.lanes) for kw in range(KW + KW % 2)]
        if KW % 2 and self.shape.within:  # nothing beyond the last cell that is needed
            loads[-1] = (KW - 1, self.lanes - 1)
        return loads

    def _row(self, plane: ir.Value, row: ir.Value, i: ir.Value | int) -> ir.Value:
        """Where input row ``row`` + i·DH begins, or zeros."""
        b = self.builder
        step = b.mul(self.job["DH"], simd.INT(i) if isinstance(i, int) else i)
        h = b.add(row, step)
        inside = b.icmp_unsigned("<", h, self.job["IH"])
        return b.select(inside, b.add(plane, b.mul(h, self.job["x_row"])), self.job["zeros"])

    def _straight(self, plane: ir.Value, row: ir.Value, weights: ir.Value) -> None:
        """All input rows, one after the other in the code."""
        shape = self.shape
        taps = shape.KH * shape.KW * shape.channels
        sums = shape.live * shape.vectors * shape.channels
        if shape.KW and taps + sums + SPARE <= simd.REGISTERS:
            self.weights = [self.splat(weights, i * self.size) for i in range(taps)]
        for i in range((shape.rows - 1) * shape.row_stride + shape.KH):
            meets = [
                (r, i - r * shape.row_stride) for r in range(shape.rows)
                if 0 <= i - r * shape.row_stride < shape.KH
            ]
            self._meet(self._row(plane, row, i), weights, meets)
            if shape.single and meets and meets[0][1] == shape.KH - 1:
                self._store(meets[0][0])

    def _looped(self, plane: ir.Value, row: ir.Value, weights: ir.Value) -> None:
        """Input rows that meet only the first output rows; those that meet all; the last ones."""
        b, rows = self.builder, self.shape.rows
        for i in range(rows - 1):
            self._meet(self._row(plane, row, i), weights, [(r, i - r) for r in range(i + 1)])
        start, end = simd.INT(rows - 1), self.job["KH"]
        step = simd.INT(self.shape.channels * self.size)
        with cgutils.for_range(b, end, start=start, intp=simd.INT) as loop:
            i = loop.index
            self._meet(
                self._row(plane, row, i), b.add(weights, b.mul(i, step)),
                [(r, -r) for r in range(rows)],
            )
        for i in range(rows - 1):
            last = b.add(self.job["KH"], simd.INT(i))
            self._meet(
                self._row(plane, row, last), b.add(weights, b.mul(last, step)),
                [(r, -r) for r in range(i + 1, rows)],
            )

    def _meet(self, x: ir.Value, weights: ir.Value, meets: list[tuple[int, int]]) -> None:
        """One input row meets the output rows r with the kernel's rows kh."""
        if not meets:
            return
        b, shape = self.builder, self.shape
        step = b.mul(self.job["KH"], simd.INT(shape.channels * self.size))
        if shape.KW:
            if shape.KH:
                step = simd.INT(shape.KH * shape.channels * self.size)
            for kw, vectors in enumerate(self._columns(x)):
                self._products(vectors, self.plus(weights, step, kw), meets, kw)
            return
        with cgutils.for_range(b, self.job["KW"], intp=simd.INT) as loop:
            at = b.add(x, self._column(loop.index))
            vectors = [
                self.load(b.add(at, simd.INT(v * self.lanes * self.size)), None)
                for v in range(shape.vectors)
            ]
            self._products(vectors, b.add(weights, b.mul(loop.index, step)), meets, 0)

    def _column(self, kw: ir.Value) -> ir.Value:
        at = self.builder.add(self.job["columns"], self.builder.mul(kw, simd.INT(8)))
        return self.builder.load(simd.emit_pointer(self.builder, at, simd.INT), align=8)

    def _columns(self, x: ir.Value) -> Iterator[list[ir.Value]]:
        """The vectors that each column of the kernel meets in a row."""
        b, shape = self.builder, self.shape
        if shape.column_stride == 1:
            for kw in range(shape.KW):
                at = b.add(x, self._column(simd.INT(kw)))
                yield [
                    self.load(
                        b.add(at, simd.INT(v * self.lanes * self.size)), self.masks.get((v, kw))
                    )
                    for v in range(shape.vectors)
                ]
            return
        loads = self._loads()
        for kw in range(0, shape.KW, 2):
            pairs = []
            for v in range(shape.vectors):
                pair = []
                for load in (kw, kw + 1):
                    cells = loads[load][0] + loads[load][1] + 2 * v * self.lanes
                    at = b.add(x, simd.INT(cells * self.size))
                    pair.append(self.load(at, self.masks.get((v, load))))
                pairs.append(pair)
            early = int(loads[kw + 1][1] < self.lanes)
            yield [simd.emit_every_second(b, low, high, 0, early) for low, high in pairs]
            if kw + 1 < shape.KW:
                yield [simd.emit_every_second(b, low, high, 1, 0) for low, high in pairs]

    def _products(
        self, vectors: list[ir.Value], weights: ir.Value, meets: list[tuple[int, int]], kw: int
    ) -> None:
        b, channels = self.builder, self.shape.channels
        met = {}
        for r, kh in meets:
            for m in range(channels):
                if self.weights:
                    weight = self.weights[(kw * self.shape.KH + kh) * channels + m]
                else:
                    weight = self.splat(weights, (kh * channels + m) * self.size)
                for v, vector in enumerate(vectors):
                    at = m, r, v
                    met[at] = simd.emit_fma(b, weight, vector, b.load(self.sums[at]))
        for at, value in zip(met, simd.emit_fence(b, list(met.values())), strict=True):
            b.store(value, self.sums[at])

    def _store(self, r: int) -> None:
        """Row r of every channel."""
        b, shape = self.builder, self.shape
        for m in range(shape.channels):
            row = self.plus(self.plus(self.out, self.job["out_channel"], m),
                            self.job["out_row"], r)
            values = [b.load(self.sums[m, r, v]) for v in range(shape.vectors)]
            if shape.limited:
                values = self.limited(values)
            for v, value in enumerate(values):
                mask = None
                if not shape.whole:
                    rest = b.sub(self.count, simd.INT(v * self.lanes))
                    mask = simd.emit_between(b, simd.INT(0), rest, self.lanes)
                self.store(b.add(row, simd.INT(v * self.lanes * self.size)), value, mask)
