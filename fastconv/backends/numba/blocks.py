"""The loop that the convolutions share: gather a block's input, multiply, finish.

From the outside: panels, images, pixels; within a block chunks of input channels, then panels,
then register tiles. So the gathered input, the sums and a panel stay in the second cache, and
the panels of a block in the third.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy.typing as npt

from ...spec import Conv2dSpec
from . import simd
from .block_loop import block_at, fill_steps
from .buffers import Scratch, address
from .epilogue import finish
from .gather import gather
from .gemm_tile import SPARE_POINTS, sweep
from .jit import Kernel, call, carray, compiled, take
from .panels import PackedWeights, Weights, panel_bounds, panel_start, weights_of
from .pixel_rows import convolve_rows, words
from .plan import make_cut

Array = npt.NDArray[Any]


def convolve(
    spec: Conv2dSpec, x: Array, packed: PackedWeights, bias: Array | None, out: Array,
    threads: int, by_tap: bool,
) -> None:
    """Write the convolution to ``out``; ``by_tap`` as :func:`.plan.make_cut` has it."""
    cut = make_cut(spec, x.strides, out.strides, threads, by_tap)
    weights = weights_of(spec)
    panels = packed.panels(spec, threads)
    with Scratch(cut.scratch) as own:
        memory = address(x), panels.address, address(bias), address(out), own
        if cut.straight:
            convolve_rows(threads, cut.tasks, (*memory, *words(spec, weights)), cut.plan)
        else:
            _convolve(threads, cut.tasks, (*memory, *_sweeps(weights)), cut.plan)


@cache
def _sweeps(weights: Weights) -> tuple[int, ...]:
    return tuple(
        sweep(width, weights.channels_in_lanes, weights.dtype).address for width in weights.widths
    )


@Kernel
def _convolve(worker, tasks, memory, plan):
    """Block after block."""
    x, packed, bias, out = memory[0], memory[1], memory[2], memory[3]
    widest_sweep, narrow_sweep = memory[5], memory[6]
    q = carray(plan, 1)[0]
    steps = memory[4] + worker * q.share
    offsets = steps + q.steps_bytes
    sums = offsets + q.offsets_bytes
    square = sums + q.sums_bytes
    gathered = square + q.square_bytes
    size = simd.itemsize(q.zero)
    vector = simd.lanes(q.zero) * size
    fill_steps(steps, q)
    task = take(tasks)
    while task < q.tasks:
        image, g, first_panel, last_panel, oh, ow, rows, columns = block_at(task, q)
        ih, iw = oh * q.SH - q.PT, ow * q.SW - q.PL
        points = _fill_offsets(offsets, rows, columns, q)
        for channel in range(0, q.ICG, q.chunk):
            channels = min(q.chunk, q.ICG - channel)
            depth = channels * q.KH * q.KW
            source = x + image * q.x_image + (g * q.ICG + channel) * q.x_channel
            if q.in_place:
                base = source + ih * q.x_row + iw * q.x_column
            else:
                base = gathered
                gather(gathered, source, channels, ih, iw, rows, q)
            to = sums
            for panel in range(first_panel, last_panel):
                first, units = panel_bounds(panel, q.units, q.panels)
                weights = panel_start(packed, g, channel, depth, first, q)
                product = widest_sweep if units == q.widest else narrow_sweep
                call(product, (
                    base, offsets, points, steps, weights, depth, to, channel == 0
                ))
                to += q.points * units * vector
        oc = g * q.OCG
        block = out + image * q.out_image + oc * q.out_channel + oh * q.out_row + ow * q.out_column
        finish(
            sums, points, first_panel, last_panel, block, bias + oc * size if bias else 0, rows,
            columns, square, q,
        )
        task = take(tasks)


@compiled
def _fill_offsets(offsets, rows, columns, q):
    """From the block's first cell to each point; the spare ones repeat the last."""
    lanes = 1 if q.channels_in_lanes else simd.lanes(q.zero)
    p = 0
    offset = 0
    for row in range(rows):
        for column in range(0, columns, lanes):
            offset = row * q.pixel_row + column * q.pixel_column
            simd.store(offsets + 8 * p, offset)
            p += 1
    for spare in range(SPARE_POINTS):
        simd.store(offsets + 8 * (p + spare), offset)
    return p
