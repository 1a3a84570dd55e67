"""Winograd's convolution with tiles of 6×6 outputs: see :mod:`.winograd`."""

from __future__ import annotations

from ...spec import Conv2dSpec
from . import winograd, winograd_weights
from .buffers import Buffer
from .winograd import Array


def pack(spec: Conv2dSpec, w: Array, threads: int) -> Buffer:
    """The weights in panels, transformed where that pays."""
    return winograd_weights.pack(6, spec, w, threads)


def run(
    spec: Conv2dSpec, x: Array, packed: Buffer, bias: Array | None, out: Array, threads: int
) -> None:
    """Write conv2d(x) to ``out``. A non-finite input spreads over its tiles."""
    winograd.run(6, spec, x, packed, bias, out, threads)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """Bytes of scratch memory that ``run`` takes."""
    return winograd.workspace_bytes(6, spec, threads)
