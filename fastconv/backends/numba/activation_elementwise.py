"""``activation.elementwise@numba``: out[i] = f(x[i]) over arrays of any shape and strides."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...spec import ActivationSpec
from . import simd
from .activations import CODES, activate, activate_line
from .buffers import address
from .jit import Kernel, Plan, carray, compiled, take

Array = npt.NDArray[Any]
Strides = tuple[int, ...]

_PIECE = 1 << 14
"""Elements of a row that one task computes."""


def run(spec: ActivationSpec, x: Array, out: Array, threads: int) -> None:
    """Write f(x) to ``out``, which may be ``x``."""
    cut = _cut(spec.name, float(spec.slope), out.dtype, out.shape, x.strides, out.strides)
    memory = (address(x), address(out), cut.axes_address)
    _elementwise(threads, min(threads, cut.tasks), memory, cut.plan)


def workspace_bytes(spec: ActivationSpec, threads: int) -> int:
    """Nothing."""
    return 0


class _Cut(NamedTuple):
    tasks: int
    """Pieces of rows."""
    plan: Plan
    axes: npt.NDArray[np.int64]
    """(size, step in x, step in out) of each axis, the densest first."""
    axes_address: int


@lru_cache(maxsize=512)
def _cut(
    name: str, slope: float, dtype: np.dtype[Any], shape: Strides, x: Strides, out: Strides
) -> _Cut:
    axes = np.array(_merged(shape, x, out), np.int64)
    tasks = int(axes[1:, 0].prod()) * -(-int(axes[0, 0]) // _PIECE)
    plan = Plan(
        dtype.type(0), tasks=tasks, axes=len(axes), activation=CODES[name], slope=slope
    )
    return _Cut(tasks, plan, axes, address(axes))


def _merged(shape: Strides, x: Strides, out: Strides) -> list[tuple[int, int, int]]:
    """As few axes as describe both arrays."""
    axes = [axis for axis in zip(shape, x, out, strict=True) if axis[0] != 1] or [(1, 0, 0)]
    axes.sort(key=lambda axis: (abs(axis[2]), abs(axis[1])))
    merged = [axes[0]]
    for size, x_step, out_step in axes[1:]:
        inner, x_inner, out_inner = merged[-1]
        if (x_step, out_step) == (inner * x_inner, inner * out_inner):
            merged[-1] = (inner * size, x_inner, out_inner)
        else:
            merged.append((size, x_step, out_step))
    return merged


@Kernel
def _elementwise(worker, tasks, memory, plan):
    """Piece after piece of the rows along the densest axis."""
    x, out, axes = memory[0], memory[1], memory[2]
    q = carray(plan, 1)[0]
    size, x_step, out_step = _axis(axes, 0)
    pieces = (size + _PIECE - 1) // _PIECE
    task = take(tasks)
    while task < q.tasks:
        row, start = task // pieces, task % pieces * _PIECE
        x_at, out_at = x + start * x_step, out + start * out_step
        for i in range(1, q.axes):
            n, x_outer, out_outer = _axis(axes, i)
            x_at += row % n * x_outer
            out_at += row % n * out_outer
            row //= n
        count = min(_PIECE, size - start)
        if x_step == out_step == simd.itemsize(q.zero):
            activate_line(q.activation, q.slope, x_at, out_at, count, q.zero)
        else:
            for i in range(count):
                v = simd.load(x_at + i * x_step, q.zero)
                simd.store(out_at + i * out_step, activate(q.activation, q.slope, v))
        task = take(tasks)


@compiled
def _axis(axes, i):
    """Row ``i`` of the table of axes."""
    at = axes + 24 * i
    return simd.load(at, 0), simd.load(at + 8, 0), simd.load(at + 16, 0)
