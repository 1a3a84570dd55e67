"""``conv2d.planar@numba``: planes one by one, for groups of few channels.

Vectors run along the pixels of a row, which are read where they lie (:mod:`.plane_tile`), or, in
a depthwise layer whose channels lie side by side, along these (:mod:`.depthwise_tile`).
Workers share out the planes, and chunks of rows where the planes are few; whoever computes a
cell adds its terms in the same order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...spec import Conv2dSpec
from . import simd
from .activations import activate_line
from .buffers import Scratch, address
from .depthwise import along_channels, convolve_channels, pack_channels
from .jit import Kernel, call, carray, compiled, take
from .moves import clear, copy
from .planes import FILL, IN_PLACE, make_cut, scratch_bytes, together

Array = npt.NDArray[Any]


class PlaneWeights:
    """The weights in the two orders that the tiles walk over them, each made when it is first
    asked for. Threads that ask at once make it twice."""

    def __init__(self, w: Array) -> None:
        self._w = w
        self._planes: Array | None = None
        self._channels: Array | None = None

    def planes(self, spec: Conv2dSpec) -> Array:
        """[block][ic][kw][kh][channel of the block]."""
        if self._planes is None:
            blocks = self._w.reshape(-1, together(spec), *self._w.shape[1:])
            self._planes = np.ascontiguousarray(blocks.transpose(0, 2, 4, 3, 1))
        return self._planes

    def channels(self) -> Array:
        """[kh][kw][channel]."""
        if self._channels is None:
            self._channels = pack_channels(self._w)
        return self._channels


def pack(spec: Conv2dSpec, w: Array, threads: int) -> PlaneWeights:
    """The weights in the order that this spec's pictures need."""
    weights = PlaneWeights(w)
    if spec.layout == "NHWC" and spec.IC == spec.OC == spec.G:
        weights.channels()
    else:
        weights.planes(spec)
    return weights


def run(
    spec: Conv2dSpec, x: Array, packed: PlaneWeights, bias: Array | None, out: Array, threads: int
) -> None:
    """Write conv2d(x) to ``out``; ``packed`` is what :func:`pack` made of the weights."""
    x_strides, out_strides = x.strides, out.strides
    if along_channels(spec, x_strides, out_strides):
        convolve_channels(spec, x, packed.channels(), bias, out, threads)
        return
    cut = make_cut(spec, x_strides, out_strides, threads)
    weights = packed.planes(spec)
    with Scratch(min(threads, cut.tasks) * cut.share) as own:
        memory = (
            address(x), address(weights), address(bias), address(out), own, *cut.memory,
        )
        convolve_planes(threads, cut.tasks, memory, cut.plan)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """For each thread the patch that it works on."""
    return scratch_bytes(spec, threads)


# ---------------------------------------------------------------- the kernel


@Kernel
def convolve_planes(worker, tasks, memory, plan):
    """Task after task: some items, each a chunk of slabs of one block of channels."""
    x, weights, bias, out = memory[0], memory[1], memory[2], memory[3]
    q = carray(plan, 1)[0]
    patch = memory[4] + worker * q.share
    size = simd.itemsize(q.zero)
    zeros = memory[8]
    task = take(tasks)
    while task < q.tasks:
        item, stop = task * q.items // q.tasks, (task + 1) * q.items // q.tasks
        chunk, rest = item % q.chunks, item // q.chunks
        block, image = rest % q.blocks, rest // q.blocks
        while item < stop:
            oc = block * q.together
            group = block // q.group_blocks
            count = min(q.at_once, min(stop - item, q.blocks - block))
            _chunk(
                chunk, count, x + image * q.x_image + group * q.ICG * q.x_channel,
                weights + block * q.weights_bytes, bias + oc * size if bias else zeros,
                q.together * size if bias else 0,
                out + image * q.out_image + oc * q.out_channel, patch, memory, q,
            )
            item += count
            chunk += 1
            if chunk == q.chunks:
                chunk = 0
                block += count
                if block == q.blocks:
                    block = 0
                    image += 1
        task = take(tasks)


@compiled
def _chunk(chunk, blocks, x, weights, bias, next_bias, out, patch, memory, q):
    """Some slabs of one block, or of several."""
    slabs = q.residues * q.slabs
    first, last = chunk * slabs // q.chunks, (chunk + 1) * slabs // q.chunks
    for number in range(first, last):
        residue, i = number // q.slabs, number % q.slabs
        row = i * q.slab
        rows = min(q.slab, (q.OH - residue + q.jump - 1) // q.jump - row)
        if rows > 0:
            oh = residue + row * q.jump
            _slab(
                oh, rows, blocks, x, weights, bias, next_bias, out + oh * q.out_row, patch,
                memory, q,
            )


@compiled
def _slab(oh, rows, blocks, x, weights, bias, next_bias, out, patch, memory, q):
    """Output rows oh, oh + jump, …"""
    entry, in_place, patched = memory[5], memory[6], memory[7]
    size = simd.itemsize(q.zero)
    ih = oh * q.SH - q.PT
    for _ in range(q.entries):
        kind, code = simd.load(entry, 0), simd.load(entry + 8, 0)
        column, count = simd.load(entry + 16, 0), simd.load(entry + 24, 0)
        if kind == FILL:
            _fill(patch, x, ih, (rows - 1) * q.row_stride + q.KH, column * q.SW - q.PL, q)
        else:
            to = out + column * q.out_column if q.dense else patch + q.patch_bytes
            if kind == IN_PLACE:
                first = column * q.SW - q.PL
                call(code, (
                    in_place, blocks, x + first * size, first, ih, rows, weights, bias, next_bias,
                    to, count,
                ))
            else:
                first = simd.load(entry + 32, 0)
                call(code, (
                    patched, 1, patch + first * size, first, 0, rows, weights, bias, 0, to, count,
                ))
            if q.activation or not q.dense:
                for block in range(blocks):
                    step = block * q.together * q.out_channel
                    _finish(to + step, out + column * q.out_column + step, rows, count, q)
        entry += 40


@compiled
def _fill(patch, x, ih, rows, iw, q):
    """The cells that a slab's tiles meet, from column ``iw`` on; zeros outside the picture."""
    size = simd.itemsize(q.zero)
    for c in range(q.ICG):
        plane = x + c * q.x_channel
        for i in range(rows):
            to = patch + c * q.patch_channel + i * q.patch_row
            h = ih + i * q.DH
            for slot in range(q.slots):
                w = iw + slot * q.DW % q.SW
                # The first and the last + 1 of the slot's cells that lie inside the picture.
                begin = min(max(0, -(w // q.SW)), q.slot)
                end = min(max(begin, -((w - q.IW) // q.SW)), q.slot)
                if h < 0 or h >= q.IH:
                    begin = end = 0
                clear(to, begin, q.zero)
                copy(
                    to + begin * size, size,
                    plane + h * q.x_row + (w + begin * q.SW) * q.x_column, q.SW * q.x_column,
                    end - begin, q.zero,
                )
                clear(to + end * size, q.slot - end, q.zero)
                to += q.slot * size


@compiled
def _finish(sums, out, rows, count, q):
    """The activation, and the way to ``out`` where its rows are not dense."""
    for m in range(q.together):
        for r in range(rows):
            to = out + m * q.out_channel + r * q.jump * q.out_row
            at = to if q.dense else sums + m * q.sums_channel + r * q.sums_row
            if q.activation:
                activate_line(q.activation, q.slope, at, at, count, q.zero)
            if not q.dense:
                copy(to, q.out_column, at, simd.itemsize(q.zero), count, q.zero)
