"""Max unpooling: the last value of each index wins, in whatever order the threads come.

First the highest source cell of every target is found (an integer maximum, which no order of
threads changes), then each target reads its source or is zero: every cell is written once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from ... import device
from ...device import DeviceArray
from ...spec import UnpoolSpec
from . import launcher
from .launcher import Source
from .primitives import loader, quotient, raise_to, remainder, storer
from .staging import staged

THREADS = 256


def clear() -> Source:
    """``(cells, n)``: int32 cells become −1."""
    put = storer("int32")

    def kernel(cells, n):
        cell = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if cell < n:
            put(cells, cell, np.int32(-1))

    return Source(kernel, "ii", THREADS)


def claim() -> Source:
    """``(indices, owners, geometry)``: each source cell bids for its target; indices beyond the
    plane are counted in the cell after the last."""
    number = loader("int64")

    def kernel(indices, owners, geometry):
        cell = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if cell < number(geometry, 0):
            plane, at = quotient(cell, number(geometry, 1)), remainder(cell, number(geometry, 1))
            n, c = quotient(plane, number(geometry, 3)), remainder(plane, number(geometry, 3))
            h, w = quotient(at, number(geometry, 2)), remainder(at, number(geometry, 2))
            target = number(indices, (
                n * number(geometry, 5) + c * number(geometry, 6) + h * number(geometry, 7)
                + w * number(geometry, 8)
            ))
            size = number(geometry, 4)
            if 0 <= target < size:
                raise_to(owners, plane * size + target, at)
            else:
                raise_to(owners, number(geometry, 9), 0)

    return Source(kernel, "iii", THREADS)


def fill(dtype: str) -> Source:
    """``(x, owners, out, geometry)``: each target takes the value of its owner."""
    load, store, number = loader(dtype), storer(dtype), loader("int64")
    owner_of = loader("int32")
    nothing = (np.float64 if dtype == "float64" else np.float32)(0)

    def kernel(x, owners, out, geometry):
        cell = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if cell < number(geometry, 0):
            plane, at = quotient(cell, number(geometry, 1)), remainder(cell, number(geometry, 1))
            n, c = quotient(plane, number(geometry, 3)), remainder(plane, number(geometry, 3))
            owner = owner_of(owners, cell)
            value = nothing
            if owner >= 0:
                h = quotient(owner, number(geometry, 4))
                w = remainder(owner, number(geometry, 4))
                value = load(x, (
                    n * number(geometry, 5) + c * number(geometry, 6) + h * number(geometry, 7)
                    + w * number(geometry, 8)
                ))
            h, w = quotient(at, number(geometry, 2)), remainder(at, number(geometry, 2))
            store(out, (
                n * number(geometry, 9) + c * number(geometry, 10) + h * number(geometry, 11)
                + w * number(geometry, 12)
            ), value)

    return Source(kernel, "iiii", THREADS)


@staged
def run(
    spec: UnpoolSpec, x: DeviceArray, indices: DeviceArray, out: DeviceArray, threads: int
) -> None:
    """Write x where the indices say, zero elsewhere.

    Indices on the card cannot be looked at beforehand without waiting for them; those beyond
    the plane write nothing and are reported by an error afterwards, for which the call waits.
    """
    sources = spec.N * spec.C * spec.IH * spec.IW
    targets = spec.N * spec.C * spec.OH * spec.OW
    owners = device.scratch((targets + 1,), np.dtype(np.int32), out)
    launcher.launch(
        clear, (), -(-(targets + 1) // THREADS), (owners.pointer, targets + 1), out
    )
    numbers = (
        sources, spec.IH * spec.IW, spec.IW, spec.C, spec.OH * spec.OW, *indices.steps, targets,
    )
    launcher.launch(
        claim, (), -(-sources // THREADS),
        (indices.pointer, owners.pointer, launcher.geometry(numbers, out)), out,
    )
    numbers = (
        targets, spec.OH * spec.OW, spec.OW, spec.C, spec.IW, *x.steps, *out.steps,
    )
    launcher.launch(
        fill, (spec.dtype,), -(-targets // THREADS),
        (x.pointer, owners.pointer, out.pointer, launcher.geometry(numbers, out)), out,
    )
    if launcher.last_cell(owners) >= 0:
        raise ValueError(
            f"indices must lie in 0 … {spec.OH * spec.OW - 1}, the cells of a "
            f"{spec.OH}×{spec.OW} plane"
        )


def workspace_bytes(spec: UnpoolSpec, threads: int) -> int:
    """The owner of each target."""
    return 4 * (spec.N * spec.C * spec.OH * spec.OW + 1)


def sources() -> list[tuple[str, Any, tuple[Any, ...]]]:
    """What ``benchmarks.cuda_compile`` compiles: a label, a builder, its constants."""
    return [("unpool clear", clear, ()), ("unpool claim", claim, ())] + [
        (f"unpool fill {dtype}", fill, (dtype,))
        for dtype in ("float32", "float64", "float16", "bfloat16")
    ]
