"""Weights as the register tile reads them: panels of up to ``MOST_UNITS`` units.

The channels of a group are cut into units (a vector of channels, or one channel where pixels
are in the lanes), the units into panels of nearly equal width, the input channels into chunks.
Memory holds [group][chunk][panel][k][unit of the panel], k running over (channel, KH, KW).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...spec import Conv2dSpec, itemsize
from . import simd
from .buffers import Buffer, address, buffer
from .gemm_tile import MOST_UNITS
from .jit import Kernel, Plan, carray, compiled, take

_DEPTH = 288
"""Products of a chunk: a panel of four vectors then takes 72 KB, a part of the second cache."""
_FEW_TERMS = 160
"""Terms of a sum that may be worth pixels in the lanes where channels would fill them."""


class Weights(NamedTuple):
    """How the weights of a convolution are cut."""

    dtype: np.dtype[Any]
    G: int
    OCG: int
    """Output channels of a group."""
    ICG: int
    KH: int
    KW: int
    channels_in_lanes: bool
    unit: int
    """Output channels of a unit."""
    units: int
    """Units of a group."""
    panels: int
    """Panels of a group; panel i has units i·units//panels … (i+1)·units//panels."""
    chunk: int
    """Input channels of a chunk."""
    chunks: int
    lanes: int
    """Numbers of a vector."""

    @property
    def zero(self) -> Any:
        """A number of this type."""
        return self.dtype.type(0)

    @property
    def numbers(self) -> dict[str, int]:
        """All but the type."""
        return {name: int(value) for name, value in self._asdict().items() if name != "dtype"}

    @property
    def size(self) -> int:
        """Bytes of a number."""
        return self.dtype.itemsize

    @property
    def vector(self) -> int:
        """Bytes of a vector."""
        return self.lanes * self.size

    @property
    def widest(self) -> int:
        """Units of the widest panel."""
        return -(-self.units // self.panels)

    @property
    def widths(self) -> tuple[int, int]:
        """Units of the widest panels, and of those that are one unit narrower, if any are."""
        return self.widest, self.widest - (self.units % self.panels > 0)

    @property
    def nbytes(self) -> int:
        """Bytes of all panels."""
        channels = self.G * self.units * self.unit
        return channels * self.ICG * self.KH * self.KW * self.dtype.itemsize


def weights_of(spec: Conv2dSpec) -> Weights:
    """The cut for a convolution; of the picture it knows no more than what is in the lanes."""
    lanes = simd.BITS // (8 * itemsize(spec.dtype))
    return _weights(
        spec.OC // spec.G, spec.IC // spec.G, spec.KH, spec.KW, spec.G, spec.dtype, lanes,
        _channels_in_lanes(spec, lanes),
    )


def _channels_in_lanes(spec: Conv2dSpec, lanes: int) -> bool:
    """Whether that takes less: then results must be turned to rows of pixels, which is worth half
    a term on every number of a vector; but pixels in the lanes are gathered first, and what does
    not fill a vector leaves lanes idle."""
    channels, taps = spec.OC // spec.G, spec.KH * spec.KW
    terms = spec.IC // spec.G * taps
    if 2 * channels <= lanes:
        return False
    if spec.layout != "NCHW" or taps == 1 or terms > _FEW_TERMS or lanes > spec.OW:
        return True
    across = spec.OW * (-(-channels // lanes) * lanes * terms + channels * lanes / 2)
    return across < channels * -(-spec.OW // lanes) * lanes * terms


@lru_cache(maxsize=512)
def _weights(
    ocg: int, icg: int, kh: int, kw: int, g: int, dtype: str, lanes: int, channels_in_lanes: bool
) -> Weights:
    unit = lanes if channels_in_lanes else 1
    units = -(-ocg // unit)
    chunks = -(-icg // max(1, _DEPTH // (kh * kw)))
    chunk = -(-icg // chunks)
    return Weights(
        np.dtype(dtype), g, ocg, icg, kh, kw, channels_in_lanes, unit, units,
        -(-units // MOST_UNITS), chunk, -(-icg // chunk), lanes,
    )


class PackedWeights:
    """The panels of ``w`` in either order, each packed when it is first asked for. Threads that
    ask at once do it twice."""

    def __init__(self, w: npt.NDArray[Any]) -> None:
        self._w = w
        self._panels: dict[bool, Buffer] = {}

    def panels(self, spec: Conv2dSpec, threads: int) -> Buffer:
        """In the order that this spec's pictures need."""
        weights = weights_of(spec)
        panels = self._panels.get(weights.channels_in_lanes)
        if panels is None:
            panels = pack_panels(weights, self._w, threads)
            self._panels[weights.channels_in_lanes] = panels
        return panels


def pack(spec: Conv2dSpec, w: npt.NDArray[Any], threads: int) -> PackedWeights:
    """The weights with the panels that this spec's pictures need."""
    packed = PackedWeights(w)
    packed.panels(spec, threads)
    return packed


def pack_panels(weights: Weights, w: npt.NDArray[Any], threads: int) -> Buffer:
    """The panels of ``w``, cut in some way."""
    packed = buffer(weights.nbytes)
    tasks = weights.G * weights.chunks * weights.panels
    memory = (address(w), packed.address)
    _pack(threads, tasks, memory, _plan(weights, w.strides))
    return packed


@lru_cache(maxsize=512)
def _plan(weights: Weights, strides: tuple[int, ...]) -> Plan:
    taps = weights.KH * weights.KW
    dense = tuple(weights.size * n for n in (taps, weights.KW, 1))
    steps = dict(zip(("w_oc", "w_ic", "w_kh", "w_kw"), strides, strict=True))
    return Plan(weights.zero, dense=int(strides[1:] == dense), **steps, **weights.numbers)


@Kernel
def _pack(worker, tasks, memory, plan):
    """Panel after panel."""
    w, packed = memory[0], memory[1]
    q = carray(plan, 1)[0]
    task = take(tasks)
    while task < q.G * q.chunks * q.panels:
        _pack_panel(task, w, packed, q)
        task = take(tasks)


@compiled
def panel_bounds(panel, units, panels):
    """First unit and number of units of a panel."""
    first = panel * units // panels
    return first, (panel + 1) * units // panels - first


@compiled
def panel_start(packed, g, channel, depth, first, q):
    """Where the panel with unit ``first`` begins in the chunk from ``channel`` on."""
    before = (g * q.ICG + channel) * q.KH * q.KW * q.units + depth * first
    return packed + before * q.unit * simd.itemsize(q.zero)


@compiled
def _pack_panel(task, w, packed, q):
    panel, task = task % q.panels, task // q.panels
    chunk, g = task % q.chunks, task // q.chunks
    first, units = panel_bounds(panel, q.units, q.panels)
    channel = chunk * q.chunk
    channels = min(q.chunk, q.ICG - channel)
    depth = channels * q.KH * q.KW
    target = panel_start(packed, g, channel, depth, first, q)
    size = simd.itemsize(q.zero)
    lanes = simd.lanes(q.zero)
    row = units * q.unit * size
    for u in range(units):
        oc = (first + u) * q.unit
        valid = min(q.unit, q.OCG - oc)
        source = w + (g * q.OCG + oc) * q.w_oc + channel * q.w_ic
        to = target + u * q.unit * size
        done = 0
        if q.dense and valid == lanes:
            done = depth // lanes * lanes
            for k in range(0, done, lanes):
                simd.transpose(source + k * size, q.w_oc, to + k * row, row, simd.splat(q.zero))
        for lane in range(q.unit):
            if lane < valid:
                at = source + lane * q.w_oc
                _copy_taps(at, to + lane * size, row, done, channels, q)
            else:
                for k in range(depth):
                    simd.store(to + lane * size + k * row, q.zero)


@compiled
def _copy_taps(source, target, row, done, channels, q):
    """The weights of one output channel from number ``done`` on, into a column of the panel."""
    taps = q.KH * q.KW
    for c in range(done // taps, channels):
        for kh in range(q.KH):
            for kw in range(q.KW):
                k = c * taps + kh * q.KW + kw
                if k >= done:
                    at = source + c * q.w_ic + kh * q.w_kh + kw * q.w_kw
                    simd.store(target + k * row, simd.load(at, q.zero))
