"""Convolution of planes, cut into slabs of rows and tiles of columns: the plan, in Python.

The columns whose windows lie inside the picture are read where they are. Narrow kernels read
the left and right borders there too, under masks; for wide ones, other strides and other memory
orders the cells are copied to a patch, with the padding written out. Rows above and below the
picture are one row of zeros: padded zeros are factors like any other.

A slab is some rows of output, each a step of the dilation after the one before, so that they
share their input rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import gcd
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...spec import LEAKY_SLOPE, Conv2dSpec
from . import simd
from .activations import CODES, LIMITS, limits_of
from .buffers import LINE, address, whole_lines
from .jit import Plan, strides
from .plane_tile import MOST_TAPS, SUMS, TALLEST, TOGETHER, WIDEST, Job, Shape, plane_code

Strides = tuple[int, ...]
Words = npt.NDArray[np.int64]

_SLAB = 24 * 1024
"""Bytes of a slab's input rows, or of its patch, unless those of one tile are more: most of the
first cache."""
_FAR = 4 << 20
"""Bytes of x and out from which on they come from far,"""
_FAR_ROWS = 9
"""where tiles that read more rows than this read from too many places at a time."""
_MOST_PATCHED = 16
"""Vectors of output columns that a patch serves."""
_NARROW = 4 if simd.REGISTERS == 32 else 2
"""Vectors of a tile's row where all of its sums are held until the end."""
_FEWEST_IN_PLACE = 8
"""Vectors that are worth reading in place beside patches for the borders."""
_ITEMS_PER_THREAD = 4
"""So that a thread that was held up leaves work to the others."""
FILL, IN_PLACE, PATCHED = range(3)
"""What an entry of :attr:`Cut.entries` asks for."""


class Cut(NamedTuple):
    """One convolution on arrays with given strides."""

    tasks: int
    share: int
    """Bytes of each worker's scratch memory."""
    plan: Plan
    memory: tuple[int, ...]
    """Addresses of what follows: entries, jobs, zeros."""
    kept: tuple[Any, ...]
    """What these addresses need alive: code too."""


class _Columns(NamedTuple):
    """How the columns of a row of output are covered: (kind, first column, how many, vectors of
    its tile) one after the other. A patch is filled before the tiles that read it."""

    entries: tuple[tuple[int, int, int, int], ...]
    width: int
    """Columns of the largest patch."""


class _Layout:
    """Slabs, tiles and patches, and how much memory they take: all but code and addresses."""

    def __init__(self, spec: Conv2dSpec, x_dense: bool, out_dense: bool) -> None:
        size = np.dtype(spec.dtype).itemsize
        self.lanes = simd.BITS // (8 * size)
        self.channels = together(spec)
        self.single = spec.IC == spec.G
        self.steps = _Steps(spec)
        cells = spec.N * (spec.IC * spec.IH * spec.IW + spec.OC * spec.OH * spec.OW)
        self.most_rows = TALLEST
        if cells * size > _FAR and spec.IH * spec.IW * size > _SLAB:
            self.most_rows = max(4, _FAR_ROWS - spec.KH + 1)
        live = -(-spec.KH // self.steps.stride) if self.single else 2
        self.widest = max(_NARROW, min(WIDEST, SUMS // (live * self.channels)))
        if spec.KH > MOST_TAPS or not self.single:
            self.widest = _NARROW
        self.columns = _columns(spec, self.lanes, x_dense, self.widest)
        self.patch = _Patch(spec, self.lanes, self.columns.width)
        rows = -(-spec.OH // self.steps.jump)  # of the first residue
        self.slab = min(rows, self._most_rows(spec))
        self.slabs = -(-rows // self.slab)
        taken = (self.slab - 1) * self.steps.stride + spec.KH
        self.patch_row = self.patch.pitch * size
        self.patch_channel = taken * self.patch_row
        self.patch_bytes = 0
        if self.columns.width:
            self.patch_bytes = whole_lines(self.patch_channel * (spec.IC // spec.G))
        self.sums_row = 0 if out_dense else self.widest * self.lanes * size
        self.sums_channel = self.slab * self.sums_row
        self.share = self.patch_bytes + whole_lines(self.channels * self.sums_channel)

    def _most_rows(self, spec: Conv2dSpec) -> int:
        """Rows of a slab: its input, or its patch, fits the first cache."""
        if not self.steps.shared:
            return 1
        cells = self.patch.pitch if self.columns.width else spec.IW
        row = cells * np.dtype(spec.dtype).itemsize * (spec.IC // spec.G) * self.steps.stride
        tile = self.tallest(spec, max(entry[3] for entry in self.columns.entries))
        return max(1, _SLAB // (row * tile)) * tile

    def tallest(self, spec: Conv2dSpec, vectors: int) -> int:
        """The most rows of a tile."""
        if not vectors or not self.steps.shared:
            return 1
        if spec.KH > MOST_TAPS and self.steps.stride > 1:
            return 1
        held = SUMS // (self.channels * vectors)
        if spec.KH > MOST_TAPS:
            return max(1, min(held, spec.KH))
        if self.single and -(-spec.KH // self.steps.stride) <= held:
            return self.most_rows
        return max(1, min(held, self.most_rows))

    def block_weights(self, spec: Conv2dSpec) -> int:
        """Bytes of the weights of channels that are computed together."""
        cells = spec.KH * spec.KW * self.channels * (spec.IC // spec.G)
        return cells * np.dtype(spec.dtype).itemsize

    def at_once(self, spec: Conv2dSpec, out_dense: bool) -> int:
        """Blocks of channels that one call of a tile's code computes: small planes."""
        whole = self.slabs * self.steps.jump == 1 and not self.columns.width and out_dense
        if not whole or self.channels * spec.G != spec.OC:
            return 1
        if len(self.columns.entries) == 1:
            return spec.G
        plane = spec.IH * spec.IW * (spec.IC // spec.G) * np.dtype(spec.dtype).itemsize
        return max(1, _SLAB // plane)

    def shape(self, spec: Conv2dSpec, kind: int, vectors: int) -> Shape:
        """The tile of an entry. Few shapes serve many pictures: a single vector is always masked
        where it may have to be, and no other ever is."""
        rows = self.tallest(spec, vectors)
        return Shape(
            np.dtype(spec.dtype), self.channels, rows, vectors,
            KH=spec.KH if spec.KH <= MOST_TAPS else 0,
            KW=spec.KW if spec.KW <= MOST_TAPS else 0,
            row_stride=self.steps.stride if rows > 1 else 1,
            column_stride=spec.SW if kind == IN_PLACE else 1,
            within=kind == PATCHED or vectors > 1 or spec.KW > MOST_TAPS, whole=vectors > 1,
            single=self.single, limited=spec.activation in LIMITS,
        )


@lru_cache(maxsize=512)
def make_cut(spec: Conv2dSpec, x_strides: Strides, out_strides: Strides, threads: int) -> Cut:
    """The cut for up to ``threads`` threads."""
    dtype = np.dtype(spec.dtype)
    size = dtype.itemsize
    dense = out_strides[3] == size
    layout = _Layout(spec, x_strides[3] == size, dense)
    steps, patch = layout.steps, layout.patch
    entries, codes = _entries(spec, layout)
    zeros = _zeros(_zero_bytes(spec, layout.lanes))
    in_place, patched = np.arange(spec.KW) * spec.DW * size, patch.columns(spec) * size
    common = {
        "channels": spec.IC // spec.G, "x_group": x_strides[1] * (spec.IC // spec.G),
        "w_block": layout.block_weights(spec), "out_block": out_strides[1] * layout.channels,
        "KH": spec.KH, "KW": spec.KW, "DW": spec.DW, "IW": spec.IW, "zeros": address(zeros),
        "limits": address(limits_of(spec.activation, dtype)),
        "out_channel": out_strides[1] if dense else layout.sums_channel,
        "out_row": steps.jump * out_strides[2] if dense else layout.sums_row,
    }
    jobs = np.array([
        Job(**common, x_channel=x_strides[1], x_row=x_strides[2], IH=spec.IH, DH=spec.DH,
            hop=steps.hop, columns=address(in_place)),
        Job(**common, x_channel=layout.patch_channel, x_row=layout.patch_row, IH=1 << 62, DH=1,
            hop=steps.stride, columns=address(patched)),
    ], np.int64)
    blocks, residues = spec.OC // layout.channels, min(steps.jump, spec.OH)
    units, chunks = spec.N * blocks, 1
    if threads > 1 and units < _ITEMS_PER_THREAD * threads:
        chunks = min(residues * layout.slabs, -(-_ITEMS_PER_THREAD * threads // units))
    items = units * chunks
    tasks = 1 if threads == 1 else min(items, _ITEMS_PER_THREAD * threads)
    plan = Plan(
        dtype.type(0), tasks=tasks, items=items, chunks=chunks, blocks=blocks,
        group_blocks=blocks // spec.G, together=layout.channels, slabs=layout.slabs,
        slab=layout.slab, residues=residues, jump=steps.jump, entries=len(entries),
        ICG=spec.IC // spec.G, IH=spec.IH, IW=spec.IW, OH=spec.OH, KH=spec.KH, SH=spec.SH,
        SW=spec.SW, DH=spec.DH, DW=spec.DW, PT=spec.PT, PL=spec.PL, row_stride=steps.stride,
        weights_bytes=layout.block_weights(spec), at_once=layout.at_once(spec, dense),
        slots=patch.slots, slot=patch.slot, patch_row=layout.patch_row,
        patch_channel=layout.patch_channel, patch_bytes=layout.patch_bytes, share=layout.share,
        dense=int(dense), sums_row=layout.sums_row, sums_channel=layout.sums_channel,
        activation=0 if spec.activation in LIMITS else CODES[spec.activation],
        slope=LEAKY_SLOPE, **strides("x", x_strides), **strides("out", out_strides),
    )
    memory = (address(entries), address(jobs), address(jobs) + jobs.strides[0], address(zeros))
    kept = (entries, jobs, zeros, in_place, patched, codes)
    return Cut(tasks, layout.share, plan, memory, kept)


def _entries(spec: Conv2dSpec, layout: _Layout) -> tuple[Words, list[Any]]:
    """What the kernel does for a slab, one row each: kind, address of the code, first column,
    columns, first column in the patch. And the code."""
    rows, codes, patch = [], [], 0
    for kind, column, count, vectors in layout.columns.entries:
        code = 0
        if kind == FILL:
            patch = column
        else:
            codes.append(plane_code(layout.shape(spec, kind, vectors)))
            code = codes[-1].address
        rows.append((kind, code, column, count, column - patch))
    return np.array(rows, np.int64), codes


def together(spec: Conv2dSpec) -> int:
    """Output channels that are computed together: they share a group evenly."""
    of_group = spec.OC // spec.G
    return max(n for n in range(1, TOGETHER + 1) if of_group % n == 0)


# ---------------------------------------------------------------- rows


class _Steps:
    """How input rows and output rows follow each other."""

    def __init__(self, spec: Conv2dSpec) -> None:
        self.shared = spec.SH == 1 or spec.DH == 1
        """Whether rows of a slab share input rows; else a slab is a single row."""
        self.jump = spec.DH if spec.SH == 1 else 1
        """From an output row of a slab to the next,"""
        self.hop = spec.SH * self.jump
        """in input rows,"""
        self.stride = self.hop // spec.DH if self.shared else 1
        """and in steps of the kernel's rows."""


# ---------------------------------------------------------------- columns


def _columns(spec: Conv2dSpec, lanes: int, dense: bool, widest: int) -> _Columns:
    narrow, reach = spec.KW <= MOST_TAPS, (spec.KW - 1) * spec.DW
    readable = dense and (spec.SW == 1 or (spec.SW == 2 and spec.DW == 1 and narrow))
    first = -(-max(0, -(-spec.PL // spec.SW)) // lanes) * lanes
    last = min(spec.OW, (spec.IW - 1 - reach + spec.PL) // spec.SW + 1)
    vectors = max(0, last - first) // lanes
    if not readable or (not narrow and vectors < _FEWEST_IN_PLACE):
        entries = tuple(_patched(0, spec.OW, lanes, widest))
        return _Columns(entries, min(spec.OW, _MOST_PATCHED * lanes))
    if not vectors:
        first = spec.OW
    bands = list(_bands(IN_PLACE, first, vectors, lanes, widest))
    border = [(0, min(first, spec.OW)), (first + vectors * lanes, spec.OW)]
    if narrow:
        edges = [
            (IN_PLACE, at, min(lanes, spec.OW - at), 1)
            for begin, end in border for i in range(begin, end, lanes)
            for at in [max(0, min(i, spec.OW - lanes))]
        ]
        return _Columns((*edges, *bands), 0)
    patched = [entry for begin, end in border for entry in _patched(begin, end, lanes, widest)]
    width = min(_MOST_PATCHED * lanes, max(end - begin for begin, end in border))
    return _Columns((*patched, *bands), width)


def _bands(
    kind: int, first: int, vectors: int, lanes: int, widest: int
) -> Iterator[tuple[int, int, int, int]]:
    """Whole vectors from column ``first`` on, in tiles of nearly equal width."""
    tiles = -(-vectors // widest)
    for i in range(tiles):
        begin, end = vectors * i // tiles, vectors * (i + 1) // tiles
        yield kind, first + begin * lanes, (end - begin) * lanes, end - begin


def _patched(
    begin: int, end: int, lanes: int, widest: int
) -> Iterator[tuple[int, int, int, int]]:
    """Columns begin … end − 1, patch after patch."""
    most = _MOST_PATCHED * lanes
    for first in range(begin, end, most):
        count = min(most, end - first)
        yield FILL, first, count, 0
        yield from _bands(PATCHED, first, count // lanes, lanes, widest)
        if rest := count % lanes:
            # The last vector moves back where it can: it computes some columns again.
            at = max(first, first + count - lanes)
            yield PATCHED, at, rest if at == first else lanes, 1


class _Patch:
    """How the cells that some columns of output meet lie in a patch: those with the same rest
    modulo the stride side by side, in a slot of a row."""

    def __init__(self, spec: Conv2dSpec, lanes: int, width: int) -> None:
        line = LINE // np.dtype(spec.dtype).itemsize
        self.period = spec.SW // gcd(spec.SW, spec.DW)
        self.slots = min(self.period, spec.KW)
        cells = -(-width // lanes) * lanes + (spec.KW - 1) * spec.DW // spec.SW
        self.slot = -(-cells // line) * line
        lines = self.slots * self.slot // line
        self.pitch = (lines + (lines % 2 == 0)) * line  # an odd number: rows do not collide

    def columns(self, spec: Conv2dSpec) -> Words:
        """Where the cells for each column of the kernel begin."""
        kw = np.arange(spec.KW)
        columns: Words = kw % self.period * self.slot + kw * spec.DW // spec.SW
        return columns


# ---------------------------------------------------------------- zeros


def _zero_bytes(spec: Conv2dSpec, lanes: int) -> int:
    """A row of zeros as far as any tile reads."""
    reach = min((spec.KW - 1) * spec.DW, spec.IW + max(0, spec.PL))
    return (reach + (2 * WIDEST + 2) * lanes) * np.dtype(spec.dtype).itemsize


def _zeros(nbytes: int) -> npt.NDArray[np.uint8]:
    return _kept_zeros(1 << (nbytes - 1).bit_length())


@lru_cache(maxsize=8)
def _kept_zeros(nbytes: int) -> npt.NDArray[np.uint8]:
    return np.zeros(nbytes, np.uint8)


def scratch_bytes(spec: Conv2dSpec, threads: int) -> int:
    """The most that any strides may take."""
    cases = ((x, out) for x in (True, False) for out in (True, False))
    return LINE + threads * max(_Layout(spec, *case).share for case in cases)
