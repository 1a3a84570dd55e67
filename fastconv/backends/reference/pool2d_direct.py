"""The definition of pooling. With the cells of the window of out[n, c, oh, ow] that lie
inside the picture, in row-major order:

max  the largest, −∞ (the type's least number) if there is none. A NaN wins over every
     number, and a later NaN over an earlier one; of equal maxima the first gives the index.
sum  Σ cell          avg  Σ cell / divisor          lp  (Σ |cell|^norm)^(1/norm)

The divisor is ``divisor_override`` or the count of the window's row times that of its column.
A maximum is exact in the input's type; the others are summed in float64 and rounded once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...spec import Pool2dSpec


def run(
    spec: Pool2dSpec, x: NDArray[Any], out: NDArray[Any], indices: NDArray[np.int64] | None,
    threads: int,
) -> None:
    """One window after the other."""
    rows = list(zip(*spec.rows(), strict=True))
    columns = list(zip(*spec.columns(), strict=True))
    with np.errstate(all="ignore"):
        for n, c, oh, ow in np.ndindex(spec.out_shape):
            top, bottom, row_count = rows[oh]
            left, right, column_count = columns[ow]
            if spec.mode == "max":
                best, index = _maximum(spec, x[n, c], range(top, bottom, spec.DH),
                                       range(left, right, spec.DW))
                out[n, c, oh, ow] = best
                if indices is not None:
                    indices[n, c, oh, ow] = index
                continue
            cells = x[n, c, top : bottom : spec.DH, left : right : spec.DW].astype(np.float64)
            if spec.mode == "lp":
                out[n, c, oh, ow] = np.sum(np.abs(cells) ** spec.norm) ** (1 / spec.norm)
                continue
            total = np.sum(cells)
            if spec.mode == "avg":
                total /= spec.divisor_override or row_count * column_count
            out[n, c, oh, ow] = total


def _maximum(spec: Pool2dSpec, plane: NDArray[Any], hs: range, ws: range) -> tuple[Any, int]:
    best = -np.inf if plane.dtype.kind == "f" else np.iinfo(plane.dtype).min
    index = min(hs.start, spec.IH - 1) * spec.IW + min(ws.start, spec.IW - 1)
    for h in hs:
        for w in ws:
            v = plane[h, w]
            if v > best or v != v:
                best, index = v, h * spec.IW + w
    return best, index


def workspace_bytes(spec: Pool2dSpec, threads: int) -> int:
    """One window's cells in float64, and their powers."""
    window = int(np.max(spec.rows()[1] - spec.rows()[0])) * int(
        np.max(spec.columns()[1] - spec.columns()[0])
    )
    return 0 if spec.mode == "max" else 3 * 8 * max(window, 1)
