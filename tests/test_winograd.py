"""The Winograd matrices: minimal filtering gives the correlation, and its errors are as stated."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.backends.winograd import points, transforms
from fastconv.registry import WINOGRAD

TILES = [(m, r) for m, reaches in WINOGRAD.items() for r in reaches]


@pytest.mark.parametrize(("m", "r"), TILES)
def test_minimal_filtering_is_the_correlation(m: int, r: int) -> None:
    """The trilinear form Σ A^T[j, p]·G[p, k]·B^T[p, i] is 1 where i = j + k, else 0."""
    t = transforms(m, r)
    form = np.einsum("jp,pk,pi->jki", t.AT, t.G_mat, t.BT)
    j, k, i = np.indices(form.shape)
    np.testing.assert_allclose(form, i == j + k, atol=1e-13)


@pytest.mark.parametrize(("m", "r"), TILES)
def test_points_come_in_pairs(m: int, r: int) -> None:
    """The kernels compute the rows of p and −p together."""
    finite = points(m + r - 1)
    assert len(set(finite)) == len(finite) == m + r - 2
    assert finite[0] == 0
    pairs = (m + r - 3) // 2
    assert all(finite[1 + 2 * i] == -finite[2 + 2 * i] > 0 for i in range(pairs))
