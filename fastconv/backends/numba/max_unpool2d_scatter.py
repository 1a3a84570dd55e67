"""``max_unpool2d.scatter@numba``: zeros, and every value where its index says.

A plane is one task: of several values with one index the last in row-major order remains.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ...spec import UnpoolSpec
from . import simd
from .buffers import address
from .jit import Kernel, Plan, carray, strides, take

Array = npt.NDArray[Any]
Strides = tuple[int, ...]


def run(
    spec: UnpoolSpec, x: Array, indices: npt.NDArray[np.int64], out: Array, threads: int
) -> None:
    """Write all of ``out``."""
    plan = _plan(spec, x.strides, indices.strides, out.strides)
    memory = (address(x), address(indices), address(out))
    _scatter(threads, min(threads, spec.N * spec.C), memory, plan)


def workspace_bytes(spec: UnpoolSpec, threads: int) -> int:
    """Nothing."""
    return 0


@lru_cache(maxsize=512)
def _plan(spec: UnpoolSpec, x: Strides, index: Strides, out: Strides) -> Plan:
    return Plan(
        np.dtype(spec.dtype).type(0), planes=spec.N * spec.C, C=spec.C, IH=spec.IH, IW=spec.IW,
        OH=spec.OH, OW=spec.OW, **strides("x", x), **strides("index", index),
        **strides("out", out),
    )


@Kernel
def _scatter(worker, tasks, memory, plan):
    """Plane after plane."""
    x, indices, out = memory[0], memory[1], memory[2]
    q = carray(plan, 1)[0]
    plane = take(tasks)
    while plane < q.planes:
        c, n = plane % q.C, plane // q.C
        source = x + n * q.x_image + c * q.x_channel
        index = indices + n * q.index_image + c * q.index_channel
        target = out + n * q.out_image + c * q.out_channel
        for h in range(q.OH):
            for w in range(q.OW):
                simd.store(target + h * q.out_row + w * q.out_column, q.zero)
        for h in range(q.IH):
            for w in range(q.IW):
                i = simd.load(index + h * q.index_row + w * q.index_column, 0)
                v = simd.load(source + h * q.x_row + w * q.x_column, q.zero)
                simd.store(target + i // q.OW * q.out_row + i % q.OW * q.out_column, v)
        plane = take(tasks)
