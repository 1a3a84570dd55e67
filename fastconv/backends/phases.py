"""The input gradient of a strided convolution as stride-1 convolutions, one per phase.

dx[ih] = Σ dout[oh]·w[kh] over all oh·S − P + kh·D = ih. Rows ih with the same remainder
r = (ih + P) mod S meet the same taps kh (those with kh·D ≡ r mod S), so each of the S² phases
of the picture is an ordinary stride-1 convolution with a part of the flipped kernel, written
to every S-th row and column of dx. No zero is inserted and none is multiplied; see Dumoulin
and Visin, "A guide to convolution arithmetic for deep learning" (2016), for the relation.

Each wing runs the phases on its own convolution; this module only cuts. Where a phase's
kernel hangs over the border of dout it meets zeros, which a scatter would not: an infinite or
NaN weight gives NaN there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import gcd
from types import ModuleType
from typing import Any

import numpy.typing as npt

from ..spec import ActivationSpec, Conv2dSpec

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Axis:
    """One phase along one axis; ``taps`` is empty where no output cell meets the phase."""

    into: slice
    """Which cells of dx."""
    taps: slice
    """Which taps of the kernel, in the order of a correlation (flipped)."""
    count: int
    source: slice
    """Which cells of dout the phase reads."""
    cells: int
    before: int
    after: int
    dilation: int
    size: int


def _axis_phases(n: int, out: int, k: int, s: int, d: int, before: int) -> Iterator[_Axis]:
    g = gcd(s, d)
    step = s // g
    for first in range(min(s, n)):  # the phase's first cell
        r = (first + before) % s
        size = len(range(first, n, s))
        into = slice(first, n, s)
        nothing = _Axis(into, slice(0, 0), 0, slice(0, 0), 0, 0, 0, 1, size)
        taps = [kh for kh in range(k) if kh * d % s == r]
        if not taps:
            yield nothing
            continue
        # The cell at first + i·s reads dout[lead + i − j·dilation] through its j-th tap.
        lead = (first + before - taps[0] * d) // s
        dilation = d // g
        reach = dilation * (len(taps) - 1)
        start, stop = lead - reach, lead + size  # cells of dout met, padding included
        low, high = max(start, 0), min(stop, out)
        if low >= high:
            yield nothing
            continue
        # From the last tap to the first: the correlation's order.
        flipped = slice(taps[-1], taps[0] - 1 if taps[0] else None, -step)
        yield _Axis(
            into, flipped, len(taps), slice(low, high), high - low, low - start, stop - high,
            dilation, size,
        )


def cut(spec: Conv2dSpec) -> list[tuple[_Axis, _Axis]]:
    rows = list(_axis_phases(spec.IH, spec.OH, spec.KH, spec.SH, spec.DH, spec.PT))
    columns = list(_axis_phases(spec.IW, spec.OW, spec.KW, spec.SW, spec.DW, spec.PL))
    return [(h, w) for h in rows for w in columns]


def phase_spec(spec: Conv2dSpec, h: _Axis, w: _Axis) -> Conv2dSpec:
    """The forward convolution that computes one phase: dout's channels in, dx's out."""
    return replace(
        spec, IC=spec.OC, IH=h.cells, IW=w.cells, OC=spec.IC, OH=h.size, OW=w.size,
        KH=h.count, KW=w.count, SH=1, SW=1, DH=h.dilation, DW=w.dilation,
        PT=h.before, PB=h.after, PL=w.before, PR=w.after,
    )


def _phase_weights(spec: Conv2dSpec, w: Array, rows: slice, columns: slice) -> Array:
    """(OC, IC/G, KH, KW) cut to the phase's taps, with the two channel axes exchanged."""
    part = w[:, :, rows, columns]
    oc, icg, kh, kw = part.shape
    part = part.reshape(spec.G, oc // spec.G, icg, kh, kw).swapaxes(1, 2)
    return part.reshape(spec.G * icg, oc // spec.G, kh, kw)


def pack(conv: ModuleType, spec: Conv2dSpec, w: Array, threads: int) -> dict[Any, Any]:
    """The weights of every set of taps, packed by ``conv``.

    Which taps form a phase depends on stride, dilation and padding, not on sizes; the
    sizes only decide which phases are met. So all residues are packed.
    """
    return {
        (rows.start, columns.start): conv.pack(
            part_spec, _phase_weights(spec, w, rows, columns), threads
        )
        for rows, columns, part_spec in tap_sets(spec)
    }


def tap_sets(spec: Conv2dSpec) -> Iterator[tuple[slice, slice, Conv2dSpec]]:
    """The taps of each kind of phase, and a convolution that has their weights."""
    for rows in _residues(spec.KH, spec.SH, spec.DH):
        for columns in _residues(spec.KW, spec.SW, spec.DW):
            yield rows, columns, replace(
                spec, IC=spec.OC, OC=spec.IC, KH=len(range(spec.KH)[rows]),
                KW=len(range(spec.KW)[columns]), SH=1, SW=1,
                DH=spec.DH // gcd(spec.SH, spec.DH), DW=spec.DW // gcd(spec.SW, spec.DW),
            )


def _residues(k: int, s: int, d: int) -> list[slice]:
    step = s // gcd(s, d)
    return [
        slice(range(first, k, step)[-1], first - 1 if first else None, -step)
        for first in range(min(step, k))
    ]


def run(
    conv: ModuleType, activation: ModuleType, spec: Conv2dSpec, dout: Array,
    packed: dict[Any, Any], bias: Array | None, dx: Array, threads: int,
) -> None:
    """Compute every phase of dx with the wing's forward convolution."""
    for h, w in cut(spec):
        part = dx[:, :, h.into, w.into]
        if h.count and w.count:
            conv.run(
                phase_spec(spec, h, w), dout[:, :, h.source, w.source],
                packed[h.taps.start, w.taps.start], bias, part, threads,
            )
            continue
        part[...] = 0 if bias is None else bias[:, None, None]
        if spec.activation is not None:
            activation.run(
                ActivationSpec(spec.activation, part.size, spec.dtype), part, part, threads
            )


def workspace_bytes(conv: ModuleType, spec: Conv2dSpec, threads: int) -> int:
    """The largest scratch of any phase: they run one after the other."""
    return max(
        (
            conv.workspace_bytes(phase_spec(spec, h, w), threads)
            for h, w in cut(spec)
            if h.count and w.count
        ),
        default=0,
    )
