"""``conv2d.winograd1d@numba``: Winograd's F(4, 4) down columns of planes, by :mod:`.tap_groups`.

A NaN or infinity spreads over the rows of a tile.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from ...spec import Conv2dSpec
from ..tap_groups import DOWN
from . import tap_groups

Array = npt.NDArray[Any]


def pack(spec: Conv2dSpec, w: Array, threads: int) -> Array:
    """The weights at every point."""
    return tap_groups.pack(DOWN, spec, w, threads)


def run(
    spec: Conv2dSpec, x: Array, packed: Array, bias: Array | None, out: Array, threads: int
) -> None:
    """Write conv2d(x) to ``out``; ``packed`` is what :func:`pack` made of the weights."""
    tap_groups.run(DOWN, spec, x, packed, bias, out, threads)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """Bytes of scratch memory that ``run`` takes."""
    return tap_groups.workspace_bytes(DOWN, spec, threads)
