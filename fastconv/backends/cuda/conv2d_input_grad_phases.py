"""Input gradient (transposed convolution) as stride-1 convolutions, one per phase."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...device import DeviceArray
from ...spec import Conv2dSpec
from .. import phases
from . import conv2d_direct
from .conv2d_direct import Packed
from .staging import staged


@staged
def pack(spec: Conv2dSpec, w: DeviceArray, threads: int) -> dict[Any, Packed]:
    """Weights of each set of taps: read from w where they are, channels exchanged."""
    packed = {}
    oc_step, ic_step = w.steps[:2]
    for rows, columns, part in phases.tap_sets(spec):
        taps = w[:, :, rows, columns]
        packed[rows.start, columns.start] = conv2d_direct.packed_from(
            part, taps, conv2d_direct.order_of(spec), spec.OC // spec.G * oc_step,
            (ic_step, oc_step, *taps.steps[2:]),
        )
    return packed


@staged
def run(
    spec: Conv2dSpec, dout: DeviceArray, packed: dict[Any, Packed], bias: DeviceArray | None,
    dx: DeviceArray, threads: int,
) -> None:
    """dx from dout; see :mod:`fastconv.backends.phases`."""
    for h, w in phases.cut(spec):
        part = dx[:, :, h.into, w.into]
        if h.count and w.count:
            conv2d_direct.run(
                phases.phase_spec(spec, h, w), dout[:, :, h.source, w.source],
                packed[h.taps.start, w.taps.start], bias, part, threads,
            )
        else:  # sums of no terms
            nothing = replace(
                spec, IC=0, IH=h.size, IW=w.size, OC=spec.IC, OH=h.size, OW=w.size, KH=1, KW=1,
                SH=1, SW=1, DH=1, DW=1, PT=0, PB=0, PL=0, PR=0,
            )
            any_weights = next(iter(packed.values()))
            conv2d_direct.run(nothing, dout, any_weights, bias, part, threads)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """Nothing beyond the packed weights."""
    return 0
