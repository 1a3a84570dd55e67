"""Kernels of low rank as columns and rows, and pictures whose channels share a kernel."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..spec import Conv2dSpec

Array = npt.NDArray[Any]


def factors(w: Array, rank: int) -> tuple[Array, Array]:
    """Columns (OC, IC/G, rank, KH) and rows (OC, IC/G, rank, KW) whose products sum up to ``w``,
    by a singular value decomposition of every pair of channels."""
    u, s, v = np.linalg.svd(w.astype(np.float64), full_matrices=False)
    roots = np.sqrt(s[..., :rank])
    columns = np.swapaxes(u[..., :rank] * roots[..., None, :], -1, -2)
    rows = v[..., :rank, :] * roots[..., None]
    return np.ascontiguousarray(columns, w.dtype), np.ascontiguousarray(rows, w.dtype)


def are_alike(spec: Conv2dSpec, w: Array) -> bool:
    """Whether every channel of a picture has a kernel of its own, and all of these are the same."""
    return spec.IC == spec.OC == spec.G > 1 and bool((w == w[:1]).all())


def side_by_side(x: Array, out: Array) -> bool:
    """Whether the channels of a pixel, and the pixels of a row, follow one another in memory."""
    return all(
        a.strides[1] == a.itemsize and a.strides[3] == a.shape[1] * a.itemsize for a in (x, out)
    )


@lru_cache(maxsize=64)
def widened(spec: Conv2dSpec) -> Conv2dSpec:
    """The picture with its channels, which lie side by side, as one channel."""
    C = spec.G
    return replace(
        spec, IC=1, OC=1, G=1, IW=spec.IW * C, OW=spec.OW * C, DW=spec.DW * C, PL=spec.PL * C,
        PR=spec.PR * C,
    )


def in_one_row(a: Array) -> Array:
    """(N, C, H, W) as (N, 1, H, W·C)."""
    shape, strides = (a.shape[0], 1, a.shape[2], a.shape[3] * a.shape[1]), a.strides
    return np.lib.stride_tricks.as_strided(
        a, shape, (strides[0], 0, strides[2], a.itemsize), writeable=a.flags.writeable
    )
