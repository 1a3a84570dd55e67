"""The matrices of Winograd's minimal filtering F(m, r), shared by the wings.

m outputs of a correlation with r taps are Y = A^T [(G g) ⊙ (B^T d)], where d are α = m + r − 1
inputs (S. Winograd, "Arithmetic complexity of computations", 1980, ch. IV; A. Lavin and S. Gray,
"Fast algorithms for convolutional neural networks", 2016). The construction is Cook and Toom's:
both factors are evaluated at α − 1 points and at infinity. In two dimensions every matrix is
applied to the rows and to the columns.

Row p of B^T holds the coefficients of Π (x − q) over the other points q, that of infinity those
of the product over all. So rows of points ±p differ by a sign in their odd coefficients, and are
computed together. What normalises them stands in G, which meets the weights once.

The points decide how rounding errors grow; these gave the least among pairs of opposite numbers
(B. Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution for deep
neural networks", 2020, on why they come in pairs and near 1). B^T depends only on α.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

POINTS: dict[int, tuple[float, ...]] = {
    3: (1.0,),
    4: (1.0,),
    5: (0.75, 2.0),
    6: (0.5**0.5, 2.0**0.5),
    7: (0.5, 1.125, 2.25),
    8: (0.5, 1.0, 2.0),
}
"""α → the positive ones of the pairs ±p, and last, where α is odd, the point without a partner.
0 and infinity are always points."""


# ---------------------------------------------------------------- sizes of blocks

KEPT_BYTES = 1024 * 1024
"""Of transformed weights that stay near from block to block:"""
BLOCK_BYTES = 1024 * 1024
"""then these for the values and products of a block,"""
LARGE_BLOCK_BYTES = 3 << 20
"""else many tiles, that the weights be transformed less often."""
CHUNK_BYTES = 640 * 1024
"""Of transformed weights whose products are summed before they are added to the others': they
are transformed together where they are not kept."""
LONGEST_CHUNK, SHORTEST_CHUNK = 64, 16
"""Channels of a chunk, whole vectors of every type; rounding errors grow with the length of a chunk
and with the number of chunks instead of with their product."""
FEWEST = 12
"""Tiles that make a panel of weights worth loading."""
MOST_COLUMNS = 32
"""Tiles of a block side by side."""
SHARING = 17
"""Sixteenths of the time of work of one's own: what is shared passes from core to core."""


# ---------------------------------------------------------------- the last tiles


def has_ends(alpha: int, m: int) -> bool:
    """Whether tiles with fewer outputs at the end of an axis have transforms of their own."""
    return (alpha, m) == (6, 4)


def serves(alpha: int, m: int, some: int, point: int) -> bool:
    """Whether tiles of ``some`` outputs have the point of that number."""
    return some == m or point <= some or point == alpha - 1


# ---------------------------------------------------------------- the matrices


@dataclass(frozen=True)
class Transforms:
    """B^T (α×α), G (α×r) and A^T (m×α)."""

    BT: Matrix
    G_mat: Matrix
    AT: Matrix


def points(alpha: int) -> tuple[float, ...]:
    """The finite points, in the order of the matrices' rows: 0, p, −p, …, and a lone one."""
    chosen = POINTS[alpha]
    pairs, lone = chosen[: (alpha - 2) // 2], chosen[(alpha - 2) // 2 :]
    return (0.0, *(sign * p for p in pairs for sign in (1, -1)), *lone)


@cache
def transforms(m: int, r: int) -> Transforms:
    """The matrices of F(m, r)."""
    alpha = m + r - 1
    finite = points(alpha)
    bt, g, at = np.zeros((alpha, alpha)), np.zeros((alpha, r)), np.zeros((m, alpha))
    for i, p in enumerate(finite):
        row = _product(q for q in finite if q != p)
        bt[i, : alpha - 1] = row
        g[i] = p ** np.arange(r) / np.polyval(row[::-1], p)
        at[:, i] = p ** np.arange(m)
    bt[-1] = _product(finite)
    g[-1, -1] = at[-1, -1] = 1
    return Transforms(bt, g, at)


def _product(roots: Iterable[float]) -> Matrix:
    """Coefficients of Π (x − root), the constant one first."""
    row = np.ones(1)
    for root in roots:
        row = np.convolve(row, [-root, 1.0])
    return row
