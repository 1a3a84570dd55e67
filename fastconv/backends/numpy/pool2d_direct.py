"""Pooling in two passes, first down the rows and then along the columns of each window.

A pass goes over the taps of the windows, not over the windows: the t-th cells of all windows
are one strided slice of the picture. Two passes take KH + KW steps instead of KH·KW.

Sums are accumulated in float64, because a global average adds very many cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...spec import Pool2dSpec
from ...spec.pooling import IntArray

_BLOCK = 1 << 16
"""Cells of the array between the passes, unless one row of one plane has more."""

Index: TypeAlias = slice | IntArray


@dataclass(frozen=True, slots=True)
class _Windows:
    """The windows of some output cells along one axis; the cells are range(start, stop, step)
    without the negative ones."""

    start: IntArray
    stop: IntArray
    step: int
    count: int
    first: IntArray
    """The first cell inside the picture, or the last cell of the picture."""

    def __getitem__(self, part: slice) -> _Windows:
        return _Windows(
            self.start[part], self.stop[part], self.step, self.count, self.first[part]
        )

    def taps(self) -> Iterator[tuple[Index, Index]]:
        """(outputs, inputs) for each t: which windows have a t-th cell, and which cell it is."""
        # Windows may reach far outside the picture; only taps that can meet it are tried.
        low = max(0, -int(self.start.max()) // self.step)
        high = (int(self.stop.max()) - int(self.start.min())) // self.step + 1
        for t in range(low, min(self.count, high)):
            cells = self.start + t * self.step
            outputs = np.flatnonzero((cells >= 0) & (cells < self.stop))
            if outputs.size:
                yield _as_slice(outputs), _as_slice(cells[outputs])


def _as_slice(numbers: IntArray) -> Index:
    """An arithmetic progression as a slice, which NumPy need not gather."""
    if numbers.size == 1:
        return slice(int(numbers[0]), int(numbers[0]) + 1)
    step = int(numbers[1] - numbers[0])
    if step > 0 and np.all(np.diff(numbers) == step):
        return slice(int(numbers[0]), int(numbers[-1]) + 1, step)
    return numbers


def _row_windows(spec: Pool2dSpec) -> _Windows:
    first, stop, _ = spec.rows()
    inside = np.minimum(first, spec.IH - 1)
    if spec.adaptive:
        return _Windows(first, stop, 1, int(np.max(stop - first)), inside)
    return _Windows(np.arange(spec.OH) * spec.SH - spec.PT, stop, spec.DH, spec.KH, inside)


def _column_windows(spec: Pool2dSpec) -> _Windows:
    first, stop, _ = spec.columns()
    inside = np.minimum(first, spec.IW - 1)
    if spec.adaptive:
        return _Windows(first, stop, 1, int(np.max(stop - first)), inside)
    return _Windows(np.arange(spec.OW) * spec.SW - spec.PL, stop, spec.DW, spec.KW, inside)


def run(
    spec: Pool2dSpec, x: NDArray[Any], out: NDArray[Any], indices: NDArray[np.int64] | None,
    threads: int,
) -> None:
    """Pool block after block of some channels and some output rows."""
    all_rows, columns = _row_windows(spec), _column_windows(spec)
    channels, height = _block(spec)
    with np.errstate(all="ignore"):
        for n in range(spec.N):
            for c in range(0, spec.C, channels):
                planes = x[n, c : c + channels]
                for oh in range(0, spec.OH, height):
                    part = slice(oh, oh + height)
                    rows, target = all_rows[part], out[n, c : c + channels, part]
                    if spec.mode != "max":
                        _sums(spec, planes, rows, columns, target, part)
                    elif indices is None:
                        _maxima(planes, rows, columns, target)
                    else:
                        places = indices[n, c : c + channels, part]
                        _maxima_and_indices(spec, planes, rows, columns, target, places)


def _fold(
    combine: Callable[[Any, Any], Any], total: NDArray[Any], x: NDArray[Any], windows: _Windows
) -> None:
    """Combine the cells of each window along the last axis."""
    for outputs, inputs in windows.taps():
        total[..., outputs] = combine(total[..., outputs], x[..., inputs])


def _sums(
    spec: Pool2dSpec, x: NDArray[Any], rows: _Windows, columns: _Windows, out: NDArray[Any],
    part: slice,
) -> None:
    def add_power(total: NDArray[Any], cells: NDArray[Any]) -> NDArray[Any]:
        powers: NDArray[Any] = np.abs(cells, dtype=np.float64)
        powers **= spec.norm
        powers += total
        return powers

    between = np.zeros((len(x), len(rows.start), spec.IW))
    combine = add_power if spec.mode == "lp" else np.add
    _fold(combine, between.swapaxes(1, 2), x.swapaxes(1, 2), rows)
    total = np.zeros(out.shape)
    _fold(np.add, total, between, columns)
    if spec.mode == "lp":
        total **= 1 / spec.norm
    elif spec.mode == "avg":
        total /= spec.divisor_override or spec.rows()[2][part, None] * spec.columns()[2]
    out[...] = total


def _least(dtype: np.dtype[Any]) -> float | int:
    return -np.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def _maxima(x: NDArray[Any], rows: _Windows, columns: _Windows, out: NDArray[Any]) -> None:
    # np.maximum lets NaN win, from either side.
    between = np.full((len(x), len(rows.start), x.shape[2]), _least(x.dtype), x.dtype)
    _fold(np.maximum, between.swapaxes(1, 2), x.swapaxes(1, 2), rows)
    out[...] = _least(x.dtype)
    _fold(np.maximum, out, between, columns)


def _maxima_and_indices(
    spec: Pool2dSpec, x: NDArray[Any], rows: _Windows, columns: _Windows, out: NDArray[Any],
    indices: NDArray[np.int64],
) -> None:
    """The first of equal maxima and the last NaN in row-major order, as one pass finds them.

    The first pass meets each column's cells in order. The second meets columns, whose winners
    lie in any rows: there the indices decide.
    """
    between = np.full((len(x), spec.IW, len(rows.start)), _least(x.dtype), x.dtype)
    places = np.empty(between.shape, np.int64)
    places[...] = rows.first * spec.IW + np.arange(spec.IW)[:, None]
    cells_of_row = np.arange(spec.IH) * spec.IW
    for outputs, inputs in rows.taps():
        best, place = between[..., outputs], places[..., outputs]
        cell = x.swapaxes(1, 2)[..., inputs]
        wins = (cell > best) | (cell != cell)
        between[..., outputs] = np.where(wins, cell, best)
        here = cells_of_row[inputs] + np.arange(spec.IW)[:, None]
        places[..., outputs] = np.where(wins, here, place)
    out[...] = _least(x.dtype)
    indices[...] = rows.first[:, None] * spec.IW + columns.first
    for outputs, inputs in columns.taps():
        best, place = out[..., outputs], indices[..., outputs]
        cell = between.swapaxes(1, 2)[..., inputs]
        at = places.swapaxes(1, 2)[..., inputs]
        earlier = (cell == best) & (at < place)
        later_nan = (cell != cell) & ((best == best) | (at > place))
        wins = (cell > best) | earlier | later_nan
        out[..., outputs] = np.where(wins, cell, best)
        indices[..., outputs] = np.where(wins, at, place)


def _block(spec: Pool2dSpec) -> tuple[int, int]:
    """(channels, output rows) of one block."""
    height = max(1, min(spec.OH, _BLOCK // spec.IW))
    return max(1, min(spec.C, _BLOCK // (spec.IW * height))), height


def workspace_bytes(spec: Pool2dSpec, threads: int) -> int:
    """The array between the passes, its temporaries, and the index arrays of the taps."""
    channels, height = _block(spec)
    between = channels * height * spec.IW
    results = channels * height * spec.OW
    indices = 8 * 16 * (spec.OH + spec.OW + spec.IH + spec.IW)
    size = np.dtype(spec.dtype).itemsize
    if spec.mode != "max":
        return 8 * (3 * between + 4 * max(between, results)) + indices
    if not spec.return_indices:
        return size * (between + 3 * max(between, results)) + indices
    return (size + 8) * between + (3 * (size + 8) + 8) * max(between, results) + indices
