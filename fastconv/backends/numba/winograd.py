"""Winograd's convolution F(m, r): the loop over blocks of tiles that its rows share.

What a row brings is m, the side of a tile of outputs; the kernel and the stride give r
(``csrc/simd/winograd.h`` says how strides and dilation become plain convolutions). A block of
tiles is transformed in, multiplied and transformed out while it is in the cache; blocks are what
threads share out. Where these are too few, all threads work on each: first on slabs of input
channels, then on panels of output channels. Every output is computed by the same operations in
the same order whatever the blocks are, and in the order of ``csrc/winograd.pyx``.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy.typing as npt

from ...spec import Conv2dSpec
from . import simd
from .buffers import LINE, Buffer, address, buffer
from .gemm_tile import sweep
from .jit import Kernel, carray, compiled, take
from .winograd_blocks import block_at
from .winograd_input import values_in
from .winograd_output import pixels_out
from .winograd_plan import Shape, make_cut
from .winograd_transforms import lines_in, lines_out, taps_in, tiles_out

Array = npt.NDArray[Any]

_WHOLE, _SLABS, _PANELS = 0, 1, 2
"""What a task is: a block; a slab of a block's input; a panel of its output."""


class Codes(NamedTuple):
    """Addresses of native functions."""

    lines_in: int
    tiles_out: int
    lines_out: int
    taps_in: int
    widest_sweep: int
    narrow_sweep: int


class Tables(NamedTuple):
    """Addresses of the tables that the register tile reads."""

    steps: int
    offsets: int


def run(
    m: int, spec: Conv2dSpec, x: Array, packed: Buffer, bias: Array | None, out: Array,
    threads: int,
) -> None:
    """Write the convolution to ``out``; ``packed`` is from :func:`.winograd_weights.pack`."""
    cut = make_cut(m, spec, x.strides, out.strides, threads)
    scratch = buffer(cut.scratch)
    memory = (
        address(x), packed.address, address(bias), address(out), scratch.address,
        *_codes(cut.shape),
    )
    for stage in (_SLABS, _PANELS) if cut.shared else (_WHOLE,):
        _convolve(threads, cut.workers, (stage, *memory), cut.plan)


def workspace_bytes(m: int, spec: Conv2dSpec, threads: int) -> int:
    """Values and products of each thread's block, or of all blocks where these are shared."""
    return LINE + make_cut(m, spec, (0,) * 4, (0,) * 4, threads).scratch


@cache
def _codes(shape: Shape) -> Codes:
    dtype = shape.taps.dtype
    narrow = shape.taps.widest - (shape.taps.units % shape.taps.panels > 0)
    return Codes(
        lines_in(shape.alpha, shape.m, dtype).address,
        tiles_out(shape.alpha, shape.m, dtype).address,
        lines_out(shape.alpha, shape.m, dtype).address,
        taps_in(shape.alpha, shape.r, dtype).address,
        *(sweep(width, True, dtype, apart=True).address for width in (shape.taps.widest, narrow)),
    )


@Kernel
def _convolve(worker, tasks, memory, plan):
    """Task after task of one stage."""
    stage, x, packed, bias, out, scratch = (
        memory[0], memory[1], memory[2], memory[3], memory[4], memory[5],
    )
    codes = Codes(memory[6], memory[7], memory[8], memory[9], memory[10], memory[11])
    q = carray(plan, 1)[0]
    all_values = scratch + q.values_start
    steps = scratch + worker * q.share
    tables = Tables(steps, steps + q.steps_bytes)
    area = tables.offsets + q.offsets_bytes
    _fill_tables(tables, q)
    blocks = q.G * q.blocks
    parts = q.slabs if stage == _SLABS else q.panels if stage == _PANELS else 1
    task = take(tasks)
    while task < blocks * parts:
        # Large blocks, which are the last of a picture, come first.
        block = blocks - 1 - task if stage == _WHOLE else task // parts
        first, last = task % parts, task % parts + 1
        b = block_at(block, q)
        values = all_values + (block if q.shared else worker) * q.values_bytes
        if stage != _PANELS:
            for slab in range(first, last if stage == _SLABS else q.slabs):
                values_in(codes.lines_in, b, slab, x, values, area, q)
        if stage != _SLABS:
            for panel in range(first, last if stage == _PANELS else q.panels):
                pixels_out(codes, b, panel, values, packed, bias, out, tables, area, q)
        task = take(tasks)


@compiled
def _fill_tables(tables, q):
    """The way to each channel of a chunk, and to each tile."""
    lanes, size = simd.lanes(q.zero), simd.itemsize(q.zero)
    for c in range(q.chunk):
        simd.store(tables.steps + 8 * c, c // lanes * q.slab_pitch + c % lanes * size)
    for tile in range(q.tiles):
        simd.store(tables.offsets + 8 * tile, tile * lanes * size)
