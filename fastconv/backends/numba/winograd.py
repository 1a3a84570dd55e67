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
from typing import Any

import numpy as np
import numpy.typing as npt

from ...spec import Conv2dSpec
from .buffers import LINE, Buffer, Scratch, address
from .gemm_tile import dense_sweep
from .jit import Kernel, call, carray, part, take
from .winograd_blocks import block_at
from .winograd_input import values_in
from .winograd_output import Codes, fill_steps, pixels_out
from .winograd_plan import PANELS, SLABS, WHOLE, Shape, make_cut
from .winograd_transforms import lines_in, lines_out, taps_in, tiles_out

Array = npt.NDArray[Any]

def run(
    m: int, spec: Conv2dSpec, x: Array, packed: Buffer, bias: Array | None, out: Array,
    threads: int,
) -> None:
    """Write the convolution to ``out``; ``packed`` is from :func:`.winograd_weights.pack`."""
    cut = make_cut(m, spec, x.strides, out.strides, threads)
    with Scratch(cut.scratch) as own:
        memory = (
            address(x), packed.address, address(bias), address(out), own,
            *_codes(cut.shape, cut.plan.dtype),
        )
        for stage, tasks in cut.stages:
            _convolve(threads, tasks, (*memory, stage), cut.plan)


def workspace_bytes(m: int, spec: Conv2dSpec, threads: int) -> int:
    """Values and products of each thread's block, or of all blocks where these are shared."""
    return LINE + make_cut(m, spec, (0,) * 4, (0,) * 4, threads).scratch


@cache
def _codes(shape: Shape, record: np.dtype[Any]) -> tuple[int, ...]:
    """Addresses of the native functions that a kernel finds in its memory."""
    dtype = shape.taps.dtype
    codes = (
        part(_values_of_block, "winograd_values", 5, record),
        part(_pixels_of_block, "winograd_pixels", 5, record),
        lines_in(shape.alpha, shape.m, dtype), tiles_out(shape.alpha, shape.m, dtype),
        lines_out(shape.alpha, shape.m, dtype), taps_in(shape.alpha, shape.r, dtype),
        *(dense_sweep(width, dtype) for width in shape.taps.widths),
    )
    return tuple(code.address for code in codes)


@Kernel
def _convolve(worker, tasks, memory, plan):
    """Task after task of one stage."""
    values_of_block, pixels_of_block, stage = memory[5], memory[6], memory[13]
    q = carray(plan, 1)[0]
    scratch = memory[4] + worker * q.share
    all_values = memory[4] + q.values_start
    fill_steps(scratch, q)
    blocks = q.G * q.blocks
    parts = q.slabs if stage == SLABS else q.panels if stage == PANELS else 1
    task = take(tasks)
    while task < blocks * parts:
        # Large blocks, which are the last of a picture, come first.
        block = blocks - 1 - task if stage == WHOLE else task // parts
        values = all_values + (block if q.shared else worker) * q.values_bytes
        first = task % parts
        if stage != PANELS:
            last = first + 1 if stage == SLABS else q.slabs
            call(values_of_block, (memory, plan, block, first, last, values, scratch))
        if stage != SLABS:
            last = first + 1 if stage == PANELS else q.panels
            call(pixels_of_block, (memory, plan, block, first, last, values, scratch))
        task = take(tasks)


def _values_of_block(memory, plan, block, first, last, values, scratch):
    """Some slabs of a block's input."""
    q = carray(plan, 1)[0]
    b = block_at(block, q)
    for slab in range(first, last):
        values_in(memory[7], b, slab, memory[0], values, scratch + q.steps_bytes, q)


def _pixels_of_block(memory, plan, block, first, last, values, scratch):
    """Some panels of a block's output."""
    q = carray(plan, 1)[0]
    b = block_at(block, q)
    codes = Codes(memory[8], memory[9], memory[10], memory[11], memory[12])
    for panel in range(first, last):
        pixels_out(
            codes, b, panel, values, memory[1], memory[2], memory[3], scratch,
            scratch + q.steps_bytes, q,
        )
