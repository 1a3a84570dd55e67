"""``conv2d.winograd2d@numba``: Winograd's F(4×4, 4×4) of planes, by :mod:`.tap_groups`.

A NaN or infinity spreads over its tiles.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from ...spec import Conv2dSpec
from ..tap_groups import BOTH
from . import tap_groups

Array = npt.NDArray[Any]


def pack(spec: Conv2dSpec, w: Array, threads: int) -> Array:
    """The weights at every point."""
    return tap_groups.pack(BOTH, spec, w, threads)


def run(
    spec: Conv2dSpec, x: Array, packed: Array, bias: Array | None, out: Array, threads: int
) -> None:
    """Write conv2d(x) to ``out``; ``packed`` is what :func:`pack` made of the weights."""
    tap_groups.run(BOTH, spec, x, packed, bias, out, threads)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """Bytes of scratch memory that ``run`` takes."""
    return tap_groups.workspace_bytes(BOTH, spec, threads)
