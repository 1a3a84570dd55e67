"""Convolution as a matrix product (im2col; Chellapilla, Puri and Simard, 2006).

Each output cell's window becomes a column; the weights of a group, one row per output
channel, times these columns are the sums. The columns are laid out in blocks of output cells,
and for large windows in blocks of input channels and kernel rows too, so that memory stays
bounded whatever the sizes are, and rounding errors grow with the square root of the number of
blocks instead of that of the window's cells.

The products run in np.matmul, whose BLAS has its own threads; the blocks, and so the order of
every sum, depend on the spec alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ...spec import Conv2dSpec
from ...spec.arguments import extent
from . import epilogue

_BLOCK_BYTES = 8 << 20
_WINDOW = 1024
"""A product sums at most so many terms, unless one kernel row alone has more."""
_FEW_COLUMNS = 64
"""Fewer output cells than this make the matrix product slow: split the window instead."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Sizes of one block: groups, input channels per group and kernel rows of the window;
    rows and columns of the output."""

    groups: int
    channels: int
    kernel_rows: int
    rows: int
    columns: int

    def halved(self, name: str) -> _Block:
        return replace(self, **{name: (getattr(self, name) + 1) // 2})

    @property
    def row_of_taps(self) -> bool:
        """Whether the window's part is as small as it can be."""
        return self.channels == self.kernel_rows == 1

    def elements(self, spec: Conv2dSpec) -> tuple[int, int, int, int]:
        """Sizes of the columns, the sums, the padded part of the picture and the weights."""
        cells = self.rows * self.columns
        window = self.channels * self.kernel_rows * spec.KW
        height = (self.rows - 1) * spec.SH + extent(self.kernel_rows, spec.DH)
        width = (self.columns - 1) * spec.SW + extent(spec.KW, spec.DW)
        ocg = spec.OC // spec.G
        return (
            self.groups * window * cells, 2 * self.groups * ocg * cells,
            self.groups * self.channels * height * width, self.groups * ocg * window,
        )


@lru_cache(maxsize=256)
def _block(spec: Conv2dSpec) -> _Block:
    """The largest block within the bound, halved where it costs the least speed."""
    block = _Block(spec.G, spec.IC // spec.G, spec.KH, spec.OH, spec.OW)
    while block.channels * block.kernel_rows * spec.KW > _WINDOW and not block.row_of_taps:
        # Part of a window stands for one group only.
        name = "channels" if block.channels > 1 else "kernel_rows"
        block = replace(block.halved(name), groups=1)
    size = np.dtype(spec.dtype).itemsize
    while sum(block.elements(spec)) * size > _BLOCK_BYTES:
        if block.groups > 1:
            block = block.halved("groups")
        elif block.rows > 1 and block.rows * block.columns > _FEW_COLUMNS:
            block = block.halved("rows")
        elif block.columns > _FEW_COLUMNS:
            block = block.halved("columns")
        elif block.channels > 1:
            block = block.halved("channels")
        elif block.kernel_rows > 1:
            block = block.halved("kernel_rows")
        elif block.columns > 1:
            block = block.halved("columns")
        else:
            break
    return block


def pack(spec: Conv2dSpec, w: NDArray[Any], threads: int) -> NDArray[Any]:
    """The weights, contiguous, as (G, OC/G, IC/G, KH, KW)."""
    shape = (spec.G, spec.OC // spec.G, spec.IC // spec.G, spec.KH, spec.KW)
    return np.ascontiguousarray(w).reshape(shape)


def run(
    spec: Conv2dSpec, x: NDArray[Any], packed: NDArray[Any], bias: NDArray[Any] | None,
    out: NDArray[Any], threads: int,
) -> None:
    """Block after block: columns, product, bias and activation, store."""
    block = _block(spec)
    ocg = spec.OC // spec.G
    columns_size, sums_size, _, _ = block.elements(spec)
    columns = np.empty(columns_size, x.dtype)
    sums = np.empty(sums_size, x.dtype)
    with np.errstate(all="ignore"):
        for n in range(spec.N):
            for groups in _parts(spec.G, block.groups):
                outputs = slice(groups.start * ocg, groups.stop * ocg)
                for rows in _parts(spec.OH, block.rows):
                    for cols in _parts(spec.OW, block.columns):
                        total = _product(spec, block, x[n], packed, groups, rows, cols,
                                         columns, sums)
                        part_bias = None if bias is None else bias[outputs].reshape(-1, ocg, 1)
                        epilogue.finish(spec, total, part_bias)
                        target = out[n, outputs, rows, cols]
                        target[...] = total.reshape(target.shape)


def _parts(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def _product(
    spec: Conv2dSpec, block: _Block, x: NDArray[Any], w: NDArray[Any], groups: slice,
    rows: slice, cols: slice, columns: NDArray[Any], sums: NDArray[Any],
) -> NDArray[Any]:
    """(groups, OC/G, cells): the sums over the whole window, part of a window after part."""
    shape = (
        groups.stop - groups.start, spec.OC // spec.G,
        (rows.stop - rows.start) * (cols.stop - cols.start),
    )
    size = shape[0] * shape[1] * shape[2]
    total, addend = (s[:size].reshape(shape) for s in (sums[:size], sums[size:]))
    target = total
    for channels in _parts(spec.IC // spec.G, block.channels):
        for taps in _parts(spec.KH, block.kernel_rows):
            matrix = _columns(spec, x, groups, channels, taps, rows, cols, columns)
            weights = w[groups, :, channels, taps].reshape(shape[0], shape[1], -1)
            np.matmul(weights, matrix, out=target)
            if target is addend:
                total += addend
            target = addend
    return total


def _columns(
    spec: Conv2dSpec, x: NDArray[Any], groups: slice, channels: slice, taps: slice, rows: slice,
    cols: slice, columns: NDArray[Any],
) -> NDArray[Any]:
    """(groups, window, cells): one column for each output cell."""
    icg = spec.IC // spec.G
    first = groups.start * icg + channels.start
    # Either whole groups or, within one group, some channels: always a run of channels.
    last = (groups.stop - 1) * icg + channels.stop
    height = extent(taps.stop - taps.start, spec.DH)
    width = extent(spec.KW, spec.DW)
    top = rows.start * spec.SH - spec.PT + taps.start * spec.DH
    left = cols.start * spec.SW - spec.PL
    bottom = top + (rows.stop - rows.start - 1) * spec.SH + height
    right = left + (cols.stop - cols.start - 1) * spec.SW + width
    picture = _with_padding(x[first:last], top, bottom, left, right)
    windows = sliding_window_view(picture, (height, width), axis=(1, 2))
    windows = windows[:, :: spec.SH, :: spec.SW, :: spec.DH, :: spec.DW].transpose(0, 3, 4, 1, 2)
    matrix = columns[: windows.size]
    np.copyto(matrix.reshape(windows.shape), windows)
    cells = windows.shape[3] * windows.shape[4]
    return matrix.reshape(groups.stop - groups.start, -1, cells)


def _with_padding(
    x: NDArray[Any], top: int, bottom: int, left: int, right: int
) -> NDArray[Any]:
    """x[:, top:bottom, left:right], zero outside the picture; a view if it lies within."""
    height, width = x.shape[1:]
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        return x[:, top:bottom, left:right]
    padded = np.zeros((len(x), bottom - top, right - left), x.dtype)
    low, high = max(top, 0), min(bottom, height)
    near, far = max(left, 0), min(right, width)
    if low < high and near < far:
        padded[:, low - top : high - top, near - left : far - left] = x[:, low:high, near:far]
    return padded


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """One block and the epilogue's temporaries; :func:`pack` may copy the weights besides."""
    block = _block(spec)
    columns, sums, picture, weights = block.elements(spec)
    total = (columns + sums + picture + weights) * np.dtype(spec.dtype).itemsize
    return total + epilogue.finish_bytes(spec, sums // 2)
