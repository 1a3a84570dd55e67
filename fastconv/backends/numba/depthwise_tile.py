"""The tile of depthwise layers whose channels lie side by side: vectors along the channels.

A tile is some rows of some neighbouring pixels, by one vector of channels. Each cell of the
input is loaded once for a row of the kernel, and meets the taps of all output pixels that it
belongs to. The channels of a tile's pixels follow each other, so that memory is read in long
streams. Cells outside the picture are read from zeros: padded zeros are factors like any other.

The sum of an output starts with the bias and goes over the kernel's rows, then its columns.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from . import simd
from .emitter import Emitter
from .jit import intrinsic, native

MOST_TAPS = 7
"""Rows and columns of a kernel for which there is straight code."""
_KEPT = 128
"""Native functions; what is asked for again later comes from disk."""


class Job(NamedTuple):
    """Numbers that the tiles of one call share, as 64-bit integers in this order."""

    vectors: int
    """Whole vectors of channels,"""
    rest: int
    """and the channels beyond."""
    x_row: int
    x_column: int
    IH: int
    IW: int
    KH: int
    KW: int
    DH: int
    DW: int
    SW: int
    tap: int
    """Bytes from the weights of a tap to those of the next."""
    zeros: int
    """Address of a vector of zeros."""
    out_row: int
    out_column: int
    limits: int
    """Address of the least and the greatest result."""


class Shape(NamedTuple):
    """What a tile knows when it is compiled."""

    dtype: np.dtype[Any]
    rows: int
    pixels: int
    KH: int
    """0, as KW, for any; then there is one row."""
    KW: int
    row_stride: int
    column_stride: int
    border: bool
    """Whether columns may lie outside the picture."""
    limited: bool


@lru_cache(maxsize=_KEPT)
def depthwise_code(shape: Shape) -> Any:
    """The native function that computes one tile for all channels.

    Its arguments: the address of a :class:`Job`; the address of row 0 and the first window's
    first column, and the number of that column; the first input row; weights [kh][kw][channel]
    in whole vectors; bias; out.
    """
    rows, pixels, KH, KW, row_stride, column_stride, border, limited = map(int, shape[1:])
    zero = shape.dtype.type(0)

    def depthwise(job, x, column, row, weights, bias, out):
        vector = simd.lanes(zero) * simd.itemsize(zero)
        for _ in range(simd.load(job, 0)):
            _tile(
                rows, pixels, KH, KW, row_stride, column_stride, border, limited, 0, zero,
                job, x, column, row, weights, bias, out,
            )
            x += vector
            weights += vector
            bias += vector
            out += vector
        if simd.load(job + 8, 0):
            _tile(
                rows, pixels, KH, KW, row_stride, column_stride, border, limited, 1, zero,
                job, x, column, row, weights, bias, out,
            )

    name = "_".join(str(int(n)) for n in shape[1:])
    return native(depthwise, f"depthwise_{shape.dtype.name}_{name}", *[types.intp] * 7)


@intrinsic(prefer_literal=True)
def _tile(
    typingctx, rows, pixels, KH, KW, row_stride, column_stride, border, limited, part, like,
    job, x, column, row, weights, bias, out,
):
    """One tile; all arguments before ``like`` are constants of the compiled code."""
    constants = (rows, pixels, KH, KW, row_stride, column_stride, border, limited, part)
    if not all(isinstance(constant, types.IntegerLiteral) for constant in constants):
        return None

    def codegen(context, builder, signature, args):
        *numbers, part = [constant.literal_value for constant in constants]
        shape = Shape(np.dtype(f"f{like.bitwidth // 8}"), *numbers)
        _Emitter(builder, shape, args[10], bool(part)).emit(*args[11:])
        return context.get_dummy_value()

    return types.void(*constants, like, *[types.intp] * 7), codegen


class _Emitter(Emitter):
    """Emits one tile, of a whole vector of channels or of a part of one."""

    def __init__(
        self, builder: ir.IRBuilder, shape: Shape, job: ir.Value, part: bool
    ) -> None:
        super().__init__(builder, shape.dtype, job, Job._fields)
        self.shape = shape
        self.mask: ir.Value | None = None
        if part:
            self.mask = simd.emit_between(builder, simd.INT(0), self.job["rest"], self.lanes)

    def emit(
        self, x: ir.Value, column: ir.Value, row: ir.Value, weights: ir.Value, bias: ir.Value,
        out: ir.Value,
    ) -> None:
        b, shape = self.builder, self.shape
        self.x, self.column, self.row, self.w, self.out = x, column, row, weights, out
        start = self.load(bias, self.mask)
        self.sums = {
            (r, p): cgutils.alloca_once(b, self.vector)
            for r in range(shape.rows) for p in range(shape.pixels)
        }
        for place in self.sums.values():
            b.store(start, place)
        if shape.KH:
            self._straight()
        else:
            self._looped()
            self._store(0)

    # ------------------------------------------------------------ cells

    def _cells(self, i: ir.Value | int) -> tuple[ir.Value, ir.Value]:
        """Where input row ``row`` + i·DH begins, or zeros; and whether it is inside."""
        b = self.builder
        step = b.mul(self.job["DH"], simd.INT(i) if isinstance(i, int) else i)
        h = b.add(self.row, step)
        inside = b.icmp_unsigned("<", h, self.job["IH"])
        address = b.add(self.x, b.mul(h, self.job["x_row"]))
        return b.select(inside, address, self.job["zeros"]), inside

    def _cell(self, address: ir.Value, inside: ir.Value, j: ir.Value) -> ir.Value:
        """The channels of the cell j columns on."""
        b = self.builder
        at = b.add(address, b.mul(b.select(inside, self.job["x_column"], simd.INT(0)), j))
        if self.shape.border:
            exists = b.icmp_unsigned("<", b.add(self.column, j), self.job["IW"])
            at = b.select(exists, at, self.job["zeros"])
        return self.load(at, self.mask)

    def _tap(self, kh: int, kw: int) -> ir.Value:
        return self.load(self.plus(self.w, self.job["tap"], kh * self.shape.KW + kw), None)

    # ------------------------------------------------------------ the sums

    def _straight(self) -> None:
        """All input rows, one after the other in the code."""
        shape = self.shape
        taps: dict[tuple[int, int], ir.Value] = {}
        if shape.rows > 1:  # few taps, which stay in registers
            taps = {
                (kh, kw): self._tap(kh, kw) for kh in range(shape.KH) for kw in range(shape.KW)
            }
        for i in range((shape.rows - 1) * shape.row_stride + shape.KH):
            row = self._cells(i)
            cells = [
                self._cell(*row, simd.INT(j))
                for j in range((shape.pixels - 1) * shape.column_stride + shape.KW)
            ]
            met: dict[tuple[int, int], ir.Value] = {}
            for r in range(shape.rows):
                kh = i - r * shape.row_stride
                if not 0 <= kh < shape.KH:
                    continue
                for kw in range(shape.KW):
                    tap = taps.get((kh, kw)) or self._tap(kh, kw)
                    for p in range(shape.pixels):
                        at = r, p
                        total = met.get(at) or self.builder.load(self.sums[at])
                        cell = cells[p * shape.column_stride + kw]
                        met[at] = simd.emit_fma(self.builder, tap, cell, total)
            self._fence(met)
            for r in range(shape.rows):
                if i - r * shape.row_stride == shape.KH - 1:
                    self._store(r)

    def _looped(self) -> None:
        """One row of output, tap after tap."""
        b, shape = self.builder, self.shape
        with cgutils.for_range(b, self.job["KH"], intp=simd.INT) as rows:
            row = self._cells(rows.index)
            of_row = b.mul(rows.index, self.job["KW"])
            with cgutils.for_range(b, self.job["KW"], intp=simd.INT) as columns:
                number = b.add(of_row, columns.index)
                tap = self.load(b.add(self.w, b.mul(self.job["tap"], number)), None)
                first = b.mul(columns.index, self.job["DW"])
                for p in range(shape.pixels):
                    cell = self._cell(*row, self.plus(first, self.job["SW"], p))
                    total = simd.emit_fma(b, tap, cell, b.load(self.sums[0, p]))
                    b.store(total, self.sums[0, p])

    def _fence(self, met: dict[tuple[int, int], ir.Value]) -> None:
        if met:
            fenced = simd.emit_fence(self.builder, list(met.values()))
            for at, value in zip(met, fenced, strict=True):
                self.builder.store(value, self.sums[at])

    def _store(self, r: int) -> None:
        pixels = range(self.shape.pixels)
        values = [self.builder.load(self.sums[r, p]) for p in pixels]
        if self.shape.limited:
            values = self.limited(values)
        row = self.plus(self.out, self.job["out_row"], r)
        for p, value in zip(pixels, values, strict=True):
            self.store(self.plus(row, self.job["out_column"], p), value, self.mask)
