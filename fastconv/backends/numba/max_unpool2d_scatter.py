"""``max_unpool2d.scatter@numba``: zeros, and every value where its index says.

A plane is one task, or a group of planes whose channels are neighbours in memory: of several
values with one index the last in row-major order remains.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ...spec import UnpoolSpec
from . import simd
from .buffers import address
from .jit import Kernel, Plan, carray, compiled, strides, take
from .moves import clear

Array = npt.NDArray[Any]
Strides = tuple[int, ...]


def run(
    spec: UnpoolSpec, x: Array, indices: npt.NDArray[np.int64], out: Array, threads: int
) -> None:
    """Write all of ``out``."""
    plan = _plan(spec, x.strides, indices.strides, out.strides)
    memory = (address(x), address(indices), address(out))
    _scatter(threads, int(plan.record["tasks"][0]), memory, plan)


def workspace_bytes(spec: UnpoolSpec, threads: int) -> int:
    """Nothing."""
    return 0


GROUP = 16
"""Channels that are neighbours: a cache line of float32."""


@lru_cache(maxsize=512)
def _plan(spec: UnpoolSpec, x: Strides, index: Strides, out: Strides) -> Plan:
    size = np.dtype(spec.dtype).itemsize
    group = GROUP if spec.C > 1 and out[1] == size else 1
    groups = -(-spec.C // group)
    return Plan(
        np.dtype(spec.dtype).type(0), tasks=spec.N * groups, group=group, groups=groups, C=spec.C,
        IH=spec.IH, IW=spec.IW, OH=spec.OH, OW=spec.OW,
        # Without a jump from row to row an index is a distance and needs no division.
        even=int(out[2] == spec.OW * out[3]), **strides("x", x), **strides("index", index),
        **strides("out", out),
    )


@Kernel
def _scatter(worker, tasks, memory, plan):
    """Group after group."""
    x, indices, out = memory[0], memory[1], memory[2]
    q = carray(plan, 1)[0]
    # Read once: for all that is known, a value could be stored over the plan.
    even, x_channel, index_channel = q.even, q.x_channel, q.index_channel
    out_channel, out_column, zero = q.out_channel, q.out_column, q.zero
    task = take(tasks)
    while task < q.tasks:
        n, first = task // q.groups, task % q.groups * q.group
        channels = min(q.group, q.C - first)
        source = x + n * q.x_image + first * q.x_channel
        index = indices + n * q.index_image + first * q.index_channel
        target = out + n * q.out_image + first * q.out_channel
        _clear(target, channels, q)
        for h in range(q.IH):
            for w in range(q.IW):
                i_at = index + h * q.index_row + w * q.index_column
                x_at = source + h * q.x_row + w * q.x_column
                for c in range(channels):
                    i = simd.load(i_at + c * index_channel, 0)
                    v = simd.load(x_at + c * x_channel, zero)
                    to = target + c * out_channel
                    if even:
                        to += i * out_column
                    else:
                        to += i // q.OW * q.out_row + i % q.OW * q.out_column
                    simd.store(to, v)
        task = take(tasks)


@compiled
def _clear(out, channels, q):
    """Zeros in a group of planes."""
    size = simd.itemsize(q.zero)
    for h in range(q.OH):
        row = out + h * q.out_row
        if channels == 1 and q.out_column == size:
            clear(row, q.OW, q.zero)
        else:  # several channels are neighbours
            for w in range(q.OW):
                clear(row + w * q.out_column, channels, q.zero)
