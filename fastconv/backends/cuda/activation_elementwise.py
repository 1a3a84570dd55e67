"""out[i] = f(x[i]): a stream of 16-byte loads and stores where both arrays are dense and alike.

Other arrays, and those of two types, are walked by at most four merged axes; what has more goes
slice by slice.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from numba import cuda

from ...device import DeviceArray
from ...spec import ActivationSpec
from . import launcher
from .activations import activation
from .launcher import Source
from .primitives import (
    BYTES,
    loader,
    pushed,
    quotient,
    remainder,
    storer,
    vector_loader,
    vector_storer,
)
from .staging import staged

THREADS = 256
VECTORS = 4
"""Of a thread: their loads are under way together."""
AXES = 4
MOST_CELLS = (1 << 31) - 1
"""Of a launch that walks: it divides 32-bit numbers."""


def stream(name: str | None, dtype: str, in_place: bool) -> Source:
    """Dense arrays of one order, at aligned addresses."""
    space = "mutable" if in_place else "global"
    load, store = loader(dtype, space=space), storer(dtype)
    load_vector, store_vector = vector_loader(dtype, space=space), vector_storer(dtype)
    f = activation(name, dtype)
    lanes = BYTES // {"float64": 8, "float32": 4}.get(dtype, 2)

    push = pushed(lanes, dtype)

    def kernel(x, out, n, slope):
        first = (cuda.blockIdx.x * VECTORS * THREADS + cuda.threadIdx.x) * lanes
        if first + (VECTORS - 1) * THREADS * lanes + lanes <= n:
            for i in range(VECTORS):
                at = first + i * THREADS * lanes
                values = load_vector(x, at)
                for _ in range(lanes):
                    values = push(values, f(values[0], slope))
                store_vector(out, at, values)
            return
        for i in range(VECTORS):
            at = first + i * THREADS * lanes
            if at + lanes <= n:
                values = load_vector(x, at)
                for _ in range(lanes):
                    values = push(values, f(values[0], slope))
                store_vector(out, at, values)
            else:
                for j in range(at, n):
                    store(out, j, f(load(x, j), slope))

    return Source(kernel, "iiif", THREADS, wide=True)


def walk(name: str | None, dtype: str, into: str) -> Source:
    """Any strides, four axes: sizes of the last three, then steps of x and of out, in geometry.
    What has been computed in the type of x is written in that of out."""
    load, store, number = loader(dtype, space="mutable"), storer(into), loader("int64")
    f = activation(name, dtype)

    def kernel(x, out, n, slope, geometry):
        cell = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if cell < n:
            rest, source, target = cell, 0, 0
            for i in range(AXES - 1):
                size = number(geometry, i)
                at = remainder(rest, size)
                rest = quotient(rest, size)
                source += at * number(geometry, 3 + i)
                target += at * number(geometry, 7 + i)
            source += rest * number(geometry, 6)
            target += rest * number(geometry, 10)
            store(out, target, f(load(x, source), slope))

    return Source(kernel, "iiifi", THREADS)


@staged
def run(spec: ActivationSpec, x: DeviceArray, out: DeviceArray, threads: int) -> None:
    """Write f of each element of x into out, which may be x."""
    apply(spec.name, spec.slope, x, out)


def apply(name: str | None, slope: float, x: DeviceArray, out: DeviceArray) -> None:
    """The same for any two arrays of one shape; None copies. Half types and float32 are widened
    or rounded to one another."""
    dtype, into = x.dtype.name, out.dtype.name
    size = x.size
    if not size:
        return
    axes = _merged(x, out)
    dense = len(axes) == 1 and axes[0][1:] == (1, 1) and not (x.pointer | out.pointer) % BYTES
    if dense and dtype == into:
        cells = VECTORS * THREADS * BYTES // x.itemsize
        launcher.launch(
            stream, (name, dtype, x.pointer == out.pointer), -(-size // cells),
            (x.pointer, out.pointer, size, float(slope)), out,
        )
        return
    while len(axes) < AXES or _cells(axes[-AXES:]) > MOST_CELLS:
        axes.insert(len(axes) - AXES + 1 if len(axes) >= AXES else 0, (1, 0, 0))
    *outer, a, b, c, d = axes
    numbers = (
        d[0], c[0], b[0], d[1], c[1], b[1], a[1], d[2], c[2], b[2], a[2],
    )
    cells = _cells(axes[-AXES:])
    for place in product(*(range(n) for n, _, _ in outer)):
        source = sum(i * axis[1] for i, axis in zip(place, outer, strict=True))
        target = sum(i * axis[2] for i, axis in zip(place, outer, strict=True))
        launcher.launch(
            walk, (name, dtype, into), -(-cells // THREADS),
            (
                x.pointer + source * x.itemsize, out.pointer + target * x.itemsize, cells,
                float(slope), launcher.geometry(numbers, out),
            ), out,
        )


def _cells(axes: list[tuple[int, int, int]]) -> int:
    return prod(n for n, _, _ in axes)


def _merged(x: DeviceArray, out: DeviceArray) -> list[tuple[int, int, int]]:
    """(size, step of x, step of out) of each axis, the slowest of out first, with neighbours
    that are one in both arrays joined."""
    axes = sorted(
        (axis for axis in zip(x.shape, x.steps, out.steps, strict=True) if axis[0] > 1),
        key=lambda axis: -abs(axis[2]),
    )
    merged: list[tuple[int, int, int]] = []
    for n, source, target in axes:
        if merged and merged[-1][1] == n * source and merged[-1][2] == n * target:
            n *= merged.pop()[0]
        merged.append((n, source, target))
    return merged or [(1, 1, 1)]


def workspace_bytes(spec: ActivationSpec, threads: int) -> int:
    """Nothing."""
    return 0


def sources() -> list[tuple[str, Any, tuple[Any, ...]]]:
    """What ``benchmarks.cuda_compile`` compiles: a label, a builder, its constants."""
    names, dtypes = ("relu", "tanh", "silu"), ("float32", "float64", "float16", "bfloat16")
    cast = [("bfloat16", "float32"), ("float32", "bfloat16")]
    return [
        *((f"stream {name} {dtype}", stream, (name, dtype, False))
          for name in names for dtype in dtypes),
        *((f"walk {name} {dtype}", walk, (name, dtype, dtype))
          for name in names for dtype in dtypes),
        *((f"walk {dtype} to {into}", walk, (None, dtype, into)) for dtype, into in cast),
    ]
