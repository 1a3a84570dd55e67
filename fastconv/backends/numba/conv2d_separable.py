"""``conv2d.separable@numba``: kernels of low rank, down the columns, then across the rows.

Σ w[kh][kw] x = Σ_r Σ_kw row_r[kw] (Σ_kh column_r[kh] x): KH + KW products for each term of the
sum in place of KH · KW. Both passes are tiles of planes (:mod:`.plane_tile`), of kernels that
are one column or one row. A strip of a few rows goes through both at a time, so what is between
them stays in the first cache; strips and blocks of columns are shared out.

A NaN or infinity spreads over the rows that are computed together and over a kernel's extent.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...spec import LEAKY_SLOPE, Conv2dSpec
from .. import factors
from . import simd
from .activations import CODES, LIMITS, activate_line, limits_of
from .buffers import LINE, Scratch, address, whole_lines
from .jit import Kernel, Plan, call, carray, compiled, strides, take
from .moves import clear, copy
from .plane_tile import MOST_TAPS, Job, Shape, plane_code

Array = npt.NDArray[Any]
Strides = tuple[int, ...]

_BLOCK = 1024
"""Bytes of a block of columns: rows of a band that meet again stay near."""
_BAND = 5
"""Strips of a band: where x is copied, neighbours copy rows again."""
_ROWS = 6 if simd.REGISTERS == 32 else 4
"""Rows of a strip."""
_DOWN = 4 if simd.REGISTERS == 32 else 2
_ACROSS = 8
"""Vectors of the tiles of each pass; what is left over is taken one by one."""


class Factors(NamedTuple):
    """What the kernels are products of."""

    columns: Array
    rows: Array
    alike: bool
    """Whether all groups have the same."""


def pack(spec: Conv2dSpec, w: Array, threads: int) -> Factors:
    """Each output channel's columns and rows."""
    return Factors(*factors.factors(w, spec.rank), factors.are_alike(spec, w))


def run(
    spec: Conv2dSpec, x: Array, packed: Factors, bias: Array | None, out: Array, threads: int
) -> None:
    """Write conv2d(x) to ``out``; ``packed`` is what :func:`pack` made of the weights."""
    if packed.alike and bias is None and factors.side_by_side(x, out):
        # One picture, wider as many times as there are channels, and taps as far apart.
        spec = factors.widened(spec)
        x, out = factors.in_one_row(x), factors.in_one_row(out)
    cut = _make_cut(spec, x.strides, out.strides)
    workers = min(threads, cut.tasks)
    with Scratch(workers * cut.share) as own:
        memory = (
            address(x), address(packed.columns), address(packed.rows), address(bias),
            address(out), own, *cut.memory,
        )
        _separable(threads, cut.tasks, memory, cut.plan)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """For each thread the rows between the passes, and a copy of what x they need."""
    specs = (spec, factors.widened(spec)) if spec.IC == spec.OC == spec.G else (spec,)
    return LINE + threads * max(_Layout(each).share for each in specs)


class _Layout:
    """How the picture is cut, and the memory that a worker takes."""

    def __init__(self, spec: Conv2dSpec) -> None:
        size = np.dtype(spec.dtype).itemsize
        self.lanes = simd.BITS // (8 * size)
        self.phases = min(spec.DH, spec.OH)
        rows = -(-spec.OH // spec.DH)  # of the first phase
        self.high = min(rows, _ROWS)
        self.strips = -(-rows // self.high)
        self.bands = -(-self.strips // _BAND)
        halo = (spec.KW - 1) * spec.DW
        # The blocks of a wide kernel are wide too: neighbours compute its extent twice.
        self.blocks = max(1, spec.OW // max(_BLOCK // size, 4 * halo))
        columns = -(-spec.OW // self.blocks)
        cells = (-(-columns // self.lanes) + 1) * self.lanes + halo
        self.pitch = whole_lines(cells * size)
        self.terms = (spec.IC // spec.G) * spec.rank
        self.between = self.terms * self.high * self.pitch
        self.sums = self.high * self.pitch
        self.patch_channel = (spec.KH + _BAND * self.high) * self.pitch
        self.share = self.between + self.sums + (spec.IC // spec.G) * self.patch_channel


class _Cut(NamedTuple):
    tasks: int
    share: int
    plan: Plan
    memory: tuple[int, ...]
    kept: tuple[Any, ...]
    """What addresses of the memory and the plan need alive."""


@lru_cache(maxsize=512)
def _make_cut(spec: Conv2dSpec, x_strides: Strides, out_strides: Strides) -> _Cut:
    dtype = np.dtype(spec.dtype)
    size = dtype.itemsize
    layout = _Layout(spec)
    dense = out_strides[3] == size
    limited = spec.activation in LIMITS
    down = [
        plane_code(Shape(
            dtype, 1, _ROWS, vectors, KH=spec.KH if spec.KH <= MOST_TAPS else 0, KW=1,
            row_stride=1, column_stride=1, within=True, whole=True, single=True, limited=False,
        ))
        for vectors in (_DOWN, 1)
    ]
    across = [
        plane_code(Shape(
            dtype, 1, 1, vectors, KH=1, KW=spec.KW if spec.KW <= MOST_TAPS else 0, row_stride=1,
            column_stride=1, within=True, whole=whole, single=False, limited=limited,
        ))
        for vectors, whole in ((_ACROSS, True), (1, not dense or layout.lanes <= spec.OW))
    ]
    zeros = np.zeros(layout.pitch // size + (_DOWN + 1) * layout.lanes, dtype)
    columns = np.arange(spec.KW) * spec.DW * size
    none = {"x_group": 0, "w_block": 0, "out_block": 0, "DW": 0, "IW": 1 << 62, "out_channel": 0}
    first = {
        **none, "channels": 1, "x_channel": 0, "KH": spec.KH, "KW": 1,
        "columns": address(columns), "zeros": address(zeros), "out_row": layout.pitch,
        "limits": address(limits_of(spec.activation, dtype)),
    }
    jobs = np.array([
        Job(**first, x_row=x_strides[2], IH=spec.IH, DH=spec.DH, hop=spec.DH),
        Job(**first, x_row=layout.pitch, IH=1 << 62, DH=1, hop=1),
        Job(
            **none, channels=layout.terms, x_channel=layout.high * layout.pitch,
            x_row=layout.pitch, IH=1 << 62, DH=1, hop=1, columns=address(columns),
            zeros=address(zeros), KH=1, KW=spec.KW,
            out_row=spec.DH * out_strides[2] if dense else layout.pitch,
            limits=address(limits_of(spec.activation, dtype)),
        ),
    ], np.int64)
    tasks = spec.N * spec.OC * layout.phases * layout.bands * layout.blocks
    plan = Plan(
        dtype.type(0), tasks=tasks, phases=layout.phases, strips=layout.strips,
        high=layout.high, bands=layout.bands, blocks=layout.blocks, pitch=layout.pitch,
        between=layout.between, sums=layout.sums, patch_channel=layout.patch_channel,
        share=layout.share, terms=layout.terms, rank=spec.rank, dense=int(dense),
        ICG=spec.IC // spec.G, OCG=spec.OC // spec.G, OC=spec.OC, IH=spec.IH, IW=spec.IW,
        OH=spec.OH, OW=spec.OW, KH=spec.KH, KW=spec.KW, DH=spec.DH, DW=spec.DW, PT=spec.PT,
        PL=spec.PL, slope=LEAKY_SLOPE, activation=0 if limited else CODES[spec.activation],
        **strides("x", x_strides), **strides("out", out_strides),
    )
    step = jobs.strides[0]
    memory = (
        *(address(jobs) + i * step for i in range(3)), address(zeros),
        *(code.address for code in (*down, *across)),
    )
    return _Cut(tasks, layout.share, plan, memory, (jobs, zeros, columns, down, across))


# ---------------------------------------------------------------- the kernel


@Kernel
def _separable(worker, tasks, memory, plan):
    """Task after task: a band of one output channel, and a block of its columns."""
    q = carray(plan, 1)[0]
    between = memory[5] + worker * q.share
    size = simd.itemsize(q.zero)
    task = take(tasks)
    while task < q.tasks:
        block, rest = task % q.blocks, task // q.blocks
        phase, rest = rest % q.phases, rest // q.phases
        band, rest = rest % q.bands, rest // q.bands
        oc, image = rest % q.OC, rest // q.OC
        ow = q.OW * block // q.blocks
        columns = memory[1] + oc * q.terms * q.KH * size
        rows = memory[2] + oc * q.terms * q.KW * size
        bias = memory[3] + oc * size if memory[3] else memory[9]
        _band(
            phase, band, ow, q.OW * (block + 1) // q.blocks - ow,
            memory[0] + image * q.x_image + oc // q.OCG * q.ICG * q.x_channel, columns, rows,
            bias, memory[4] + image * q.out_image + oc * q.out_channel, between, memory, q,
        )
        task = take(tasks)


@compiled
def _band(phase, band, ow, cols, x, columns, rows, bias, out, between, memory, q):
    """Some strips of a phase of the dilation, through both passes one after the other."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    height = (q.OH - phase + q.DH - 1) // q.DH
    begin, end = band * q.strips // q.bands, (band + 1) * q.strips // q.bands
    first, last = begin * q.high, min(end * q.high, height)
    # Columns of x that the block reads, and how many zeros there are before and after them.
    left, reads = ow - q.PL, cols + (q.KW - 1) * q.DW
    start = min(max(left, 0), q.IW)
    n = min(max(left + reads, start), q.IW) - start
    before = min(max(start - left, 0), reads)
    sums = between + q.between
    patch = sums + q.sums
    copied = n > 0 and (q.x_column != size or n < lanes)
    source = x + start * q.x_column
    if copied:
        _copy(patch, source, phase + first * q.DH - q.PT, last - first + q.KH - 1, n, q)
    for strip in range(begin, end):
        row = strip * q.high
        count = min(q.high, height - row)
        if count <= 0:
            break
        ih = phase + row * q.DH - q.PT
        for term in range(q.terms):
            place = between + term * q.high * q.pitch
            weights = columns + term * q.KH * size
            channel = term // q.rank
            if copied:
                _down(memory[7], patch + channel * q.patch_channel, row - first, count,
                      max(n, lanes), weights, place + before * size, memory, q)
            elif n > 0:
                _down(memory[6], source + channel * q.x_channel, ih, count, n, weights,
                      place + before * size, memory, q)
            if n < reads:
                for i in range(count):
                    clear(place + i * q.pitch, before, q.zero)
                    clear(place + i * q.pitch + (before + n) * size, reads - before - n, q.zero)
        to = out + (phase + row * q.DH) * q.out_row + ow * q.out_column
        at = to if q.dense else sums
        _across(between, count, cols, rows, bias, at, memory, q)
        if q.activation or not q.dense:
            _finish(at, to, count, cols, q)


@compiled
def _copy(patch, x, ih, rows, n, q):
    """Rows of x, DH apart, and zeros in place of those outside the picture."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    for channel in range(q.ICG):
        for i in range(rows):
            h = ih + i * q.DH
            to = patch + channel * q.patch_channel + i * q.pitch
            if 0 <= h < q.IH:
                copy(to, size, x + channel * q.x_channel + h * q.x_row, q.x_column, n, q.zero)
                if n < lanes:
                    clear(to + n * size, lanes - n, q.zero)
            else:
                clear(to, max(n, lanes), q.zero)


@compiled
def _down(job, x, row, rows, n, weights, out, memory, q):
    """The first pass for n columns, at least a vector."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    wide = _DOWN * lanes
    column = 0
    while column < n:
        code, step = memory[10], wide
        if column + wide > n:
            code, step = memory[11], lanes
            column = min(column, n - lanes)  # the last one computes some columns again
        call(code, (
            job, 1, x + column * size, 0, row, rows, weights, memory[9], 0, out + column * size,
            step,
        ))
        column += step


@compiled
def _across(between, rows, n, weights, bias, out, memory, q):
    """The second pass."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    wide = _ACROSS * lanes
    column = 0
    while column < n:
        code, step = memory[12], wide
        if column + wide > n:
            code, step = memory[13], lanes
            column = max(0, min(column, n - lanes))
        call(code, (
            memory[8], 1, between + column * size, 0, 0, rows, weights, bias, 0,
            out + column * size, min(step, n - column),
        ))
        column += step


@compiled
def _finish(sums, out, rows, n, q):
    """The activation, and the way to ``out`` where its rows are not dense."""
    for i in range(rows):
        to = out + i * q.DH * q.out_row
        at = to if q.dense else sums + i * q.pitch
        if q.activation:
            activate_line(q.activation, q.slope, at, at, n, q.zero)
        if not q.dense:
            copy(to, q.out_column, at, simd.itemsize(q.zero), n, q.zero)
