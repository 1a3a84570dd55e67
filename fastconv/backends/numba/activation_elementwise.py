"""``activation.elementwise@numba``: out[i] = f(x[i]) over arrays of any shape and strides."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...spec import ActivationSpec
from . import lanes, simd
from .activations import CODES, activate
from .buffers import address
from .jit import Kernel, Plan, carray, compiled, inlined, take
from .reductions import store_every

Array = npt.NDArray[Any]
Strides = tuple[int, ...]

_PIECE, _LEAST = 1 << 16, 1 << 12
"""Elements of a row that one task computes: as many as make it worth while, but some tasks for
every thread."""


def run(spec: ActivationSpec, x: Array, out: Array, threads: int) -> None:
    """Write f(x) to ``out``, which may be ``x``."""
    cut = _cut(float(spec.slope), out.dtype, out.shape, x.strides, out.strides)
    memory = (address(x), address(out), cut.axes_address)
    _KERNELS[spec.name](threads, cut.tasks, memory, cut.plan)


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
    slope: float, dtype: np.dtype[Any], shape: Strides, x: Strides, out: Strides
) -> _Cut:
    axes = np.array(_merged(shape, x, out), np.int64)
    row = int(axes[0, 0])
    piece = max(_LEAST, min(_PIECE, row // 16 // _LEAST * _LEAST))
    tasks = int(axes[1:, 0].prod()) * -(-row // piece)
    plan = Plan(
        dtype.type(0), tasks=tasks, axes=len(axes), piece=piece, slope=slope,
        far=int(math.prod(shape) * dtype.itemsize >= lanes.FAR_BYTES),
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


def _elementwise(name: str) -> Kernel:
    """Piece after piece of the rows along the densest axis."""
    code = CODES[name]

    def elementwise(worker, tasks, memory, plan):
        x, out, axes = memory[0], memory[1], memory[2]
        q = carray(plan, 1)[0]
        size, x_step, out_step = _axis(axes, 0)
        pieces = (size + q.piece - 1) // q.piece
        task = take(tasks)
        while task < q.tasks:
            row, start = task // pieces, task % pieces * q.piece
            x_at, out_at = x + start * x_step, out + start * out_step
            for i in range(1, q.axes):
                n, x_outer, out_outer = _axis(axes, i)
                x_at += row % n * x_outer
                out_at += row % n * out_outer
                row //= n
            count = min(q.piece, size - start)
            if not x_step == out_step == simd.itemsize(q.zero):
                _strided(code, q.slope, x_at, x_step, out_at, out_step, count, q.zero)
            elif q.far and x != out:
                _dense(code, q.slope, True, x_at, out_at, count, q.zero)
            else:
                _dense(code, q.slope, False, x_at, out_at, count, q.zero)
            task = take(tasks)
        if q.far:
            lanes.fence()

    return Kernel(elementwise, name)


_KERNELS = {name: _elementwise(name) for name in CODES if name}


@compiled
def _axis(axes, i):
    """Row ``i`` of the table of axes."""
    at = axes + 24 * i
    return simd.load(at, 0), simd.load(at + 8, 0), simd.load(at + 16, 0)


_activate = inlined(activate.py_func)
"""Each kernel has one activation: no other is compiled into it."""


@inlined
def _dense(code, slope, past, x, out, count, zero):
    """Four vectors at a time, past the caches or through them.

    Loads come before stores: a load waits for an earlier store whose address ends alike. No
    store spans two cache lines, but for the first and the last.
    """
    nothing = simd.splat(zero)
    across, size = simd.lanes(nothing), simd.itemsize(nothing)
    pitch = across * size
    first = min(-out % pitch // size, count)
    if first:
        v = simd.load_part(x, first, nothing)
        simd.store_part(out, _activate(code, slope, v), first)
    i = first
    while i + 4 * across <= count:
        at, to = x + i * size, out + i * size
        a, b = simd.load(at, nothing), simd.load(at + pitch, nothing)
        c, d = simd.load(at + 2 * pitch, nothing), simd.load(at + 3 * pitch, nothing)
        a, b = _activate(code, slope, a), _activate(code, slope, b)
        c, d = _activate(code, slope, c), _activate(code, slope, d)
        if past:
            lanes.stream(to, a)
            lanes.stream(to + pitch, b)
            lanes.stream(to + 2 * pitch, c)
            lanes.stream(to + 3 * pitch, d)
        else:
            simd.store(to, a)
            simd.store(to + pitch, b)
            simd.store(to + 2 * pitch, c)
            simd.store(to + 3 * pitch, d)
        i += 4 * across
    while i < count:
        part = min(across, count - i)
        v = simd.load_part(x + i * size, part, nothing)
        simd.store_part(out + i * size, _activate(code, slope, v), part)
        i += across


@inlined
def _strided(code, slope, x, x_step, out, out_step, count, zero):
    """Any steps in bytes, vector after vector."""
    nothing = simd.splat(zero)
    across = simd.lanes(nothing)
    for i in range(0, count, across):
        part = min(across, count - i)
        v = _activate(code, slope, lanes.gather(x + i * x_step, x_step, part, nothing))
        store_every(out + i * out_step, out_step, part, v)
