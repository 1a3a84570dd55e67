"""Max unpooling: one indexed assignment for a block of planes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...spec import UnpoolSpec

_BLOCK = 1 << 17
"""Values moved by one assignment, unless one plane alone has more."""


def run(
    spec: UnpoolSpec, x: NDArray[Any], indices: NDArray[np.int64], out: NDArray[Any], threads: int
) -> None:
    """Zeros, then each value to its index."""
    out[...] = 0
    channels = _channels(spec)
    for n in range(spec.N):
        for c in range(0, spec.C, channels):
            # In row-major order, so that of several values with one index the last remains.
            places = np.ascontiguousarray(indices[n, c : c + channels])
            planes = np.arange(c, c + len(places))[:, None, None]
            rows, columns = np.divmod(places, spec.OW)
            out[n][planes, rows, columns] = x[n, c : c + channels]


def workspace_bytes(spec: UnpoolSpec, threads: int) -> int:
    """Indices, rows and columns of one block, and the values as the assignment reads them."""
    cells = _channels(spec) * spec.IH * spec.IW
    return cells * (3 * 8 + np.dtype(spec.dtype).itemsize) + 8 * spec.C


def _channels(spec: UnpoolSpec) -> int:
    return max(1, min(spec.C, _BLOCK // (spec.IH * spec.IW)))
