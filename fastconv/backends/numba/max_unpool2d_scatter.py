"""``max_unpool2d.scatter@numba``: zeros, and every value where its index says.

A plane is one task: of several values with one index the last in row-major order remains.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...spec import UnpoolSpec
from . import simd
from .buffers import address
from .jit import Kernel, Plan, carray

Array = npt.NDArray[Any]


def run(
    spec: UnpoolSpec, x: Array, indices: npt.NDArray[np.int64], out: Array, threads: int
) -> None:
    """Write all of ``out``."""
    strides = {
        f"{name}_{axis}": step
        for name, array in (("x", x), ("index", indices), ("out", out))
        for axis, step in zip(("image", "channel", "row", "column"), array.strides, strict=True)
    }
    planes = spec.N * spec.C
    plan = Plan(
        out.dtype.type(0), planes=planes, C=spec.C, IH=spec.IH, IW=spec.IW, OH=spec.OH,
        OW=spec.OW, **strides,
    )
    memory = (address(x), address(indices), address(out))
    _scatter(threads, min(threads, planes), memory, plan)


def workspace_bytes(spec: UnpoolSpec, threads: int) -> int:
    """Nothing."""
    return 0


@Kernel
def _scatter(chunk, chunks, memory, plan):
    """Plane after plane."""
    x, indices, out = memory[0], memory[1], memory[2]
    q = carray(plan, 1)[0]
    for plane in range(q.planes * chunk // chunks, q.planes * (chunk + 1) // chunks):
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
