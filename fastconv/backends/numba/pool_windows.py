"""What the ways of pooling share: windows along an axis, the plan, and what kernels ask of both."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...spec import Pool2dSpec
from . import simd
from .buffers import whole_lines
from .jit import Kernel, Plan, compiled, strides
from .reductions import (
    ABS,
    DIVIDE,
    DIVIDE_BY_MANY,
    LARGEST_DIVISOR,
    MAX,
    NONE,
    ROOT,
    SCALE,
    SQUARE,
    SUM,
)

IntArray = npt.NDArray[np.int64]
Strides = tuple[int, ...]

TASK_BYTES = 1 << 16
"""Of cells and outputs that one task is about, so that taking it does not count."""
PART = 64
"""Channels under which a row is not divided further."""
SHORT = 3
"""Cells of a row of a window that are as soon taken again as joined."""
JOINED = 8192
"""Cells of joined rows that stay near."""
FEWEST = 8
"""Columns of a block, so that little is joined twice."""
SLACK = 64
"""Cells by which a row may always be padded."""
APART = 2048
"""Bytes between the scratch of two threads, which prefetching does not cross."""


class Way(NamedTuple):
    """How a pooling is computed, for arrays of certain strides."""

    kernel: Kernel
    plan: Plan
    tasks: int
    scratch: int
    """Bytes for each worker."""
    memory: tuple[int, ...]
    """Addresses of native functions and of tables."""
    owners: tuple[Any, ...]
    """What they are the addresses of."""


class Axis(NamedTuple):
    """The windows along one axis. If they are ``even``, window i has the cells inside the
    picture of i · stride − before + j · step, j < taps."""

    size: int
    first: IntArray
    cells: IntArray
    counts: IntArray
    step: int
    even: bool
    before: int
    taps: int
    stride: int

    @classmethod
    def of_rows(cls, spec: Pool2dSpec) -> Axis:
        """Along the height."""
        return cls._of(
            spec.rows(), spec.adaptive, spec.IH, spec.KH, spec.SH, spec.DH, spec.PT
        )

    @classmethod
    def of_columns(cls, spec: Pool2dSpec) -> Axis:
        """Along the width."""
        return cls._of(
            spec.columns(), spec.adaptive, spec.IW, spec.KW, spec.SW, spec.DW, spec.PL
        )

    @classmethod
    def _of(
        cls, windows: tuple[IntArray, IntArray, IntArray], adaptive: bool, size: int, taps: int,
        stride: int, step: int, before: int,
    ) -> Axis:
        first, stop, counts = windows
        cells = np.maximum(stop - first + step - 1, 0) // step
        n = len(first)
        if adaptive:
            even = size % n == 0
            taps, stride = max(-(-size // n), int(cells.max())), -(-size // n)
        else:
            # Windows that lie mostly outside the picture are better clipped.
            reach = (n - 1) * stride + (taps - 1) * step + 1
            even = before <= size + SLACK and reach - before <= 2 * size + SLACK
        return cls(
            size, first, cells, counts, step, even, before if even else 0, taps, stride
        )

    def cells_of_row(self) -> int:
        """A line of the picture, padded as far as its windows reach."""
        if not self.even:
            return self.size
        reach = (len(self.first) - 1) * self.stride + (self.taps - 1) * self.step + 1
        return max(self.before + self.size, reach)

    def block(self, channels: int) -> int:
        """Columns whose cells are joined together, where windows overlap much or channels are
        few; or 0."""
        reach = (self.taps - 1) * self.step + 1
        if not self.even or (self.taps <= max(self.stride, SHORT) and channels >= PART):
            return 0
        most = (JOINED // channels - reach) // self.stride + 1
        return min(len(self.first), max(FEWEST, most))

    def cells_of_block(self, block: int, channels: int) -> int:
        """What a block reaches, and as much again to choose every stride-th column from."""
        if not block:
            return 0
        return 2 * channels * ((block - 1) * self.stride + (self.taps - 1) * self.step + 1)


def pitch(size: int) -> int:
    """Bytes from the scratch of one thread, of ``size``, to that of the next."""
    return whole_lines(size) + APART


def op_of(spec: Pool2dSpec) -> int:
    """What becomes of a cell, as :mod:`.reductions` knows it."""
    if spec.mode == "lp":
        return ABS if spec.norm == 1.0 else SQUARE
    return MAX if spec.mode == "max" else SUM


def takes_powers(spec: Pool2dSpec) -> bool:
    """Whether its norm needs powers and roots of any order."""
    return spec.mode == "lp" and spec.norm not in (1.0, 2.0)


def table(axis: Axis) -> IntArray:
    """Of each window: the first cell, the number of cells, the count, and how many windows from
    it on differ in nothing but their place."""
    n = len(axis.first)
    alike = np.ones(n, np.int64)
    same = (
        (np.diff(axis.first) == axis.stride) & (np.diff(axis.cells) == 0)
        & (np.diff(axis.counts) == 0)
    )
    for i in range(n - 2, -1, -1):
        if same[i]:
            alike[i] = alike[i + 1] + 1
    return np.stack([axis.first, axis.cells, axis.counts, alike], axis=1)


def make_plan(
    spec: Pool2dSpec, x: Strides, out: Strides, rows: Axis, columns: Axis, items: int,
    item_cells: int, together: int, **more: Any,
) -> tuple[Plan, int]:
    """The plan, and the number of tasks: of items that are ``item_cells`` large, and of which
    ``together`` make a plane."""
    chunk = max(1, TASK_BYTES // (item_cells * np.dtype(spec.dtype).itemsize))
    if chunk > together:
        chunk -= chunk % together
    last = ROOT if spec.mode == "lp" and spec.norm == 2.0 else NONE
    plan = Plan(
        np.dtype(spec.dtype).type(0), items=items, chunk=chunk, C=spec.C, OH=spec.OH, OW=spec.OW,
        IH=spec.IH, IW=spec.IW, op=op_of(spec), last=last, averages=int(spec.mode == "avg"),
        divisor=spec.divisor_override or 0, before=columns.before, taps=columns.taps,
        across=columns.stride, tap=columns.step, x_down=rows.step * x[2],
        x_next=rows.stride * x[2], **strides("x", x), **strides("out", out), **more,
    )
    return plan, -(-items // chunk)


def row_cells(spec: Pool2dSpec, rows: Axis) -> int:
    """Cells that a row of windows is about."""
    return spec.IW * min(rows.taps, 2 * rows.stride) + spec.OW


# ---------------------------------------------------------------- in kernels


@compiled
def window(table, i):
    """The first cell, the number of cells, the count, and how many windows are alike."""
    at = table + 32 * i
    return (
        simd.load(at, 0), simd.load(at + 8, 0), simd.load(at + 16, 0), simd.load(at + 24, 0)
    )


@compiled
def last_step(count, q):
    """What becomes of a total of ``count`` cells, and its divisor. A division by a power of two
    is a multiplication to the bit."""
    if not q.averages:
        return q.last, 1.0
    divisor = q.divisor if q.divisor else count
    if divisor > 0 and divisor & (divisor - 1) == 0:
        return SCALE, float(divisor)
    is_quick = divisor % 2 and divisor < LARGEST_DIVISOR
    return DIVIDE if is_quick else DIVIDE_BY_MANY, float(divisor)


@compiled
def fill(at, count, value):
    """``count`` times the same number."""
    size = simd.itemsize(value)
    for i in range(count):
        simd.store(at + i * size, value)
