"""The weights of Winograd's convolution: their panels, and from taps to points.

Panels hold the transformed weights U = G g G^T, [group][panel][chunk][point][channel][vectors of
the panel]. U is (α / r)² times as large as g. Where all of it would not stay in the second cache,
reading it again for each block takes longer than transforming g again: there the panels hold the
taps as :mod:`.panels` packs them, and a chunk of channels is transformed right before its use.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ...spec import Conv2dSpec
from . import simd
from .buffers import Buffer, buffer
from .jit import Kernel, Plan, call, carray, compiled, take
from .panels import pack_panels, panel_bounds, panel_start
from .winograd_plan import Shape, shape_of
from .winograd_transforms import taps_in

Array = npt.NDArray[Any]


def pack(m: int, spec: Conv2dSpec, w: Array, threads: int) -> Buffer:
    """The weights in the order of their use, transformed where that pays."""
    shape = shape_of(m, spec)
    taps = pack_panels(shape.taps, _of_phases(spec, shape, w), threads)
    if not shape.transformed:
        return taps
    panels = shape.taps.G * shape.taps.panels
    packed = buffer(panels * shape.transformed_bytes)
    tasks = panels * shape.chunks
    code = taps_in(shape.alpha, shape.r, shape.taps.dtype).address
    _transform(threads, tasks, (taps.address, packed.address, code), _plan(shape))
    return packed


def _of_phases(spec: Conv2dSpec, shape: Shape, w: Array) -> Array:
    """The taps of each phase as input channels of their own, short ones ending in zeros."""
    if shape.phases == 1:
        return w
    split = np.zeros((spec.OC, shape.phases, shape.IC, shape.r, shape.r), w.dtype)
    for phase in range(shape.phases):
        h, c = divmod(phase, spec.SW)
        part = w[:, :, h :: spec.SH, c :: spec.SW]
        split[:, phase, :, : part.shape[2], : part.shape[3]] = part
    return split.reshape(spec.OC, shape.phases * shape.IC, shape.r, shape.r)


@lru_cache(maxsize=512)
def _plan(shape: Shape) -> Plan:
    return Plan(shape.taps.zero, **shape.numbers)


@Kernel
def _transform(worker, tasks, memory, plan):
    """Chunk after chunk."""
    taps, packed, taps_in = memory[0], memory[1], memory[2]
    q = carray(plan, 1)[0]
    task = take(tasks)
    while task < q.G * q.panels * q.chunks:
        chunk, rest = task % q.chunks, task // q.chunks
        panel, group = rest % q.panels, rest // q.panels
        first, units = panel_bounds(panel, q.units, q.panels)
        to = chunk_start(packed, group, panel, chunk, units, q)
        transform_chunk(taps_in, taps, group, first, units, chunk, to, q)
        task = take(tasks)


@compiled
def chunk_pitch(units, q):
    """Bytes between the points of a chunk: an odd number of vectors."""
    return (q.chunk * units | 1) * q.unit * simd.itemsize(q.zero)


@compiled
def chunk_start(packed, group, panel, chunk, units, q):
    """Where a chunk begins in the transformed weights."""
    before = (group * q.panels + panel) * q.transformed_bytes
    return packed + before + chunk * q.alpha * q.alpha * chunk_pitch(units, q)


@compiled
def taps_start(packed, group, first, units, i, q):
    """Where the taps of chunk i begin, those of the panel with unit ``first``."""
    chunks, taps = q.chunks // q.phases, q.r * q.r
    channel = i // chunks * q.IC + i % chunks * q.chunk
    source = panel_start(packed, group, 0, q.ICG * taps, first, q)
    return source + channel * taps * units * q.unit * simd.itemsize(q.zero)


@compiled
def transform_chunk(taps_in, packed, group, first, units, i, target, q):
    """Chunk i of the panel with unit ``first`` from its taps, ``packed``, to U.

    ``taps_in`` is the address of :func:`.winograd_transforms.taps_in`.
    """
    vector = q.unit * simd.itemsize(q.zero)
    chunks, taps = q.chunks // q.phases, q.r * q.r
    source = taps_start(packed, group, first, units, i, q)
    for c in range(min(q.chunk, q.IC - i % chunks * q.chunk)):
        call(
            taps_in,
            (
                units, source + c * taps * units * vector, vector, units * vector,
                target + c * units * vector, vector, chunk_pitch(units, q),
            ),
        )
