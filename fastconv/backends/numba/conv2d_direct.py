"""``conv2d.direct@numba``: the sum as it is defined, on pixels read where they lie.

A block's input is read in place where no window leaves the picture; else the stretch that the
block covers is copied once, with its padding, and all taps read the copy.
"""

from __future__ import annotations

from ...spec import Conv2dSpec
from .blocks import Array, convolve
from .panels import PackedWeights, pack
from .plan import scratch_bytes

__all__ = ["pack", "run", "workspace_bytes"]


def run(
    spec: Conv2dSpec, x: Array, packed: PackedWeights, bias: Array | None, out: Array,
    threads: int,
) -> None:
    """Write conv2d(x) to ``out``; ``packed`` is what :func:`pack` made of the weights."""
    convolve(spec, x, packed, bias, out, threads, by_tap=False)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """Tables, sums and gathered input of each thread's block."""
    return scratch_bytes(spec, threads, by_tap=False)
