"""The definition of conv2d_pool2d: conv2d, its maps rounded to their type, and pool2d of these."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...spec import ConvPool2dSpec
from . import conv2d_direct, pool2d_direct


def pack(spec: ConvPool2dSpec, w: NDArray[Any], threads: int) -> NDArray[Any]:
    """The weights as they are."""
    return conv2d_direct.pack(spec.conv, w, threads)


def run(
    spec: ConvPool2dSpec, x: NDArray[Any], packed: NDArray[Any], bias: NDArray[Any] | None,
    out: NDArray[Any], threads: int,
) -> None:
    """One after the other."""
    maps = np.empty(spec.conv.out_shape, spec.dtype)
    conv2d_direct.run(spec.conv, x, packed, bias, maps, threads)
    pool2d_direct.run(spec.pool, maps, out, None, threads)


def workspace_bytes(spec: ConvPool2dSpec, threads: int) -> int:
    """The maps, and what the two take."""
    maps = int(np.prod(spec.conv.out_shape)) * np.dtype(spec.dtype).itemsize
    return maps + max(
        conv2d_direct.workspace_bytes(spec.conv, threads),
        pool2d_direct.workspace_bytes(spec.pool, threads),
    )
