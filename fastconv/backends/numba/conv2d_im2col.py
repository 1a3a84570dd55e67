"""``conv2d.im2col@numba``: the matrix of columns, block by block, times the weights.

For each tap a block holds the cells that its pixels meet through it: im2col as in Chellapilla,
Puri and Simard, "High performance convolutional neural networks for document processing"
(2006), but never more of the matrix than the second cache takes.
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
    convolve(spec, x, packed, bias, out, threads, by_tap=True)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """Tables, sums and the columns of each thread's block."""
    return scratch_bytes(spec, threads, by_tap=True)
