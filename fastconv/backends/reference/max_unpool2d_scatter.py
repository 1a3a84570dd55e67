"""The definition of max unpooling: out is 0, except that for each cell of x in row-major order

out[n, c, i // OW, i % OW] = x[n, c, h, w]   with i = indices[n, c, h, w]

so that of several values with one index the last remains.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...spec import UnpoolSpec


def run(
    spec: UnpoolSpec, x: NDArray[Any], indices: NDArray[np.int64], out: NDArray[Any], threads: int
) -> None:
    """One value after the other."""
    out[...] = 0
    for n, c, h, w in np.ndindex(spec.x_shape):
        row, column = divmod(int(indices[n, c, h, w]), spec.OW)
        out[n, c, row, column] = x[n, c, h, w]


def workspace_bytes(spec: UnpoolSpec, threads: int) -> int:
    """Nothing."""
    return 0
