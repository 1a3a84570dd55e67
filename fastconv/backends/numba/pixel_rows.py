"""Convolution by rows of pixels, whose sums go from registers to where they belong.

For sums of few terms, and with pixels in the lanes: a block's input is gathered once and stays
near while panel after panel of weights passes over it, so that each panel writes its few output
channels in long runs.
"""

from __future__ import annotations

from functools import cache

from ...spec import Conv2dSpec
from . import simd
from .activations import LIMITS, activate_line, limits_of
from .block_loop import block_at, fill_steps
from .buffers import address
from .gather import gather
from .jit import Kernel, call, carray, take
from .panels import Weights, panel_bounds, panel_start
from .row_tile import row_sweep


def words(spec: Conv2dSpec, weights: Weights) -> tuple[int, ...]:
    """What :data:`convolve_rows` finds in its memory behind the scratch memory's address."""
    limits = limits_of(spec.activation, weights.dtype)
    return (*_sweeps(weights), address(limits) if spec.activation in LIMITS else 0)


@cache
def _sweeps(weights: Weights) -> tuple[int, ...]:
    return tuple(row_sweep(width, weights.dtype).address for width in weights.widths)


@Kernel
def convolve_rows(worker, tasks, memory, plan):
    """Block after block."""
    x, packed, bias, out = memory[0], memory[1], memory[2], memory[3]
    q = carray(plan, 1)[0]
    steps = memory[4] + worker * q.share
    gathered = steps + q.steps_bytes
    size = simd.itemsize(q.zero)
    depth = q.ICG * q.KH * q.KW
    fill_steps(steps, q)
    task = take(tasks)
    while task < q.tasks:
        image, g, first_panel, last_panel, oh, ow, rows, columns = block_at(task, q)
        source = x + image * q.x_image + g * q.ICG * q.x_channel
        gather(gathered, source, q.ICG, oh * q.SH - q.PT, ow * q.SW - q.PL, rows, q)
        for panel in range(first_panel, last_panel):
            first, units = panel_bounds(panel, q.units, q.panels)
            weights = panel_start(packed, g, 0, depth, first, q)
            sweep = memory[5] if units == q.widest else memory[6]
            channel = g * q.OCG + first
            to = (
                out + image * q.out_image + channel * q.out_channel + oh * q.out_row
                + ow * q.out_column
            )
            for row in range(rows):
                call(sweep, (
                    gathered + row * q.pixel_row, columns, steps, weights, depth,
                    bias + channel * size if bias else 0, memory[7], to, q.out_channel,
                ))
                if q.activation and not memory[7]:
                    for u in range(units):
                        line = to + u * q.out_channel
                        activate_line(q.activation, q.slope, line, line, columns, q.zero)
                to += q.out_row
        task = take(tasks)
