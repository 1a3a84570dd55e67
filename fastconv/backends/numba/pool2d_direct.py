"""``pool2d.direct@numba``: every output is one window of cells, reduced to a maximum or a sum.

A vector holds neighbouring outputs: channels, where these are neighbours in memory
(:mod:`.pool_channels`), else columns (:mod:`.pool_planes`). The order of every sum is that of
``csrc/simd/pool.h``, but for windows that are long enough to be worth vectors one by one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ...spec import Pool2dSpec
from .buffers import LINE, Scratch, address
from .pool_channels import channels_way
from .pool_maxima import maxima_way
from .pool_planes import FURTHER, norms_way, planes_way, whole_way
from .pool_windows import Axis, IntArray, Strides, Way, pitch, takes_powers

Array = npt.NDArray[Any]


def run(
    spec: Pool2dSpec, x: Array, out: Array, indices: IntArray | None, threads: int
) -> None:
    """Write the pooled ``x`` to ``out``, and where each maximum lies to ``indices``."""
    way = _way(spec, x.strides, out.strides, None if indices is None else indices.strides)
    workers = min(threads, way.tasks)
    with Scratch(workers * way.scratch) as own:
        memory = (address(x), address(out), address(indices), own, *way.memory)
        way.kernel(threads, way.tasks, memory, way.plan)


def workspace_bytes(spec: Pool2dSpec, threads: int) -> int:
    """The joined rows of each thread, in either memory order."""
    columns = Axis.of_columns(spec)
    size = np.dtype(spec.dtype).itemsize
    block = columns.cells_of_block(columns.block(spec.C), spec.C)
    cells = max(columns.cells_of_row() + FURTHER, block)
    return threads * pitch(cells * size) + LINE


@lru_cache(maxsize=512)
def _way(spec: Pool2dSpec, x: Strides, out: Strides, indices: Strides | None) -> Way:
    rows, columns = Axis.of_rows(spec), Axis.of_columns(spec)
    size = np.dtype(spec.dtype).itemsize
    in_channels = spec.C > 1 and x[1] == out[1] == size
    if indices is not None:
        return maxima_way(spec, x, out, indices, rows, columns, in_channels)
    if takes_powers(spec):
        return norms_way(spec, x, out, rows, columns)
    if in_channels:
        return channels_way(spec, x, out, rows, columns)
    if (
        spec.OH == spec.OW == rows.step == columns.step == 1 and x[3] == size
        and x[2] == size * spec.IW and rows.cells[0] == spec.IH and columns.cells[0] == spec.IW
    ):
        return whole_way(spec, x, out, rows, columns)
    return planes_way(spec, x, out, rows, columns)
