"""Convolution of few channels, depthwise ones above all: a thread sums the taps of its results.

Where every channel is a group of its own and channels lie side by side, a thread has 16 bytes of
them; else one result.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numba import cuda

from ...device import DeviceArray
from ...spec import LEAKY_SLOPE, Conv2dSpec
from . import conv2d_direct, launcher
from .activations import activation
from .conv2d_direct import Packed
from .implicit_gemm import padding
from .launcher import Launch, Source
from .primitives import (
    BYTES,
    i32,
    loader,
    pushed,
    quotient,
    remainder,
    vector_loader,
    vector_storer,
    zeros,
)
from .staging import dense, staged

THREADS = 256


def taps(
    dtype: str, lanes: int, last: bool, KH: int, KW: int, mode: str, name: str | None, bias: bool
) -> Source:
    """``(x, w, bias, out, slope, geometry)``; weights (terms, row) as ``packing`` makes them."""
    computed = "float64" if dtype == "float64" else "float32"
    number, load_bias = loader("int64"), loader(dtype)
    load, store = vector_loader(dtype, lanes), vector_storer(dtype, lanes)
    weight = loader(computed)
    push, zero = pushed(lanes, computed), zeros(lanes, computed)
    cell_of, there_is = padding(mode)
    f = activation(name, computed)
    nothing = (np.float64 if computed == "float64" else np.float32)(0)

    def kernel(x, w, bias_of, out, slope, geometry):
        cell = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if cell < number(geometry, 0):
            OC, OH, OW = number(geometry, 1), number(geometry, 2), number(geometry, 3)
            if last:
                c, rest = remainder(cell, OC), quotient(cell, OC)
                ow, rest = remainder(rest, OW), quotient(rest, OW)
                oh, n = remainder(rest, OH), quotient(rest, OH)
            else:
                ow, rest = remainder(cell, OW), quotient(cell, OW)
                oh, rest = remainder(rest, OH), quotient(rest, OH)
                c, n = remainder(rest, OC), quotient(rest, OC)
            c = c * lanes
            IH, IW = i32(number(geometry, 4)), i32(number(geometry, 5))
            top = i32(oh * number(geometry, 6) - number(geometry, 10))
            left = i32(ow * number(geometry, 7) - number(geometry, 11))
            DH, DW = i32(number(geometry, 8)), i32(number(geometry, 9))
            IC, row = number(geometry, 12), number(geometry, 13)
            first = quotient(c, number(geometry, 14)) * IC
            base = n * number(geometry, 15) + first * number(geometry, 16)
            xc, xh, xw = number(geometry, 16), number(geometry, 17), number(geometry, 18)
            sums = zero()
            at = c
            for ic in range(IC):
                for kh in range(KH):
                    h = i32(top + kh * DH)
                    for kw in range(KW):
                        wide = i32(left + kw * DW)
                        values = zero()
                        if there_is(h, IH) & there_is(wide, IW):
                            values = load(x, (
                                base + ic * xc + cell_of(h, IH) * xh + cell_of(wide, IW) * xw
                            ))
                        for e in range(lanes):
                            v = values[0]
                            sums = push(sums, sums[0] + v * weight(w, at + e))
                            values = push(values, v)
                        at += row
            for e in range(lanes):
                b = nothing
                if bias:
                    b = load_bias(bias_of, c + e)
                sums = push(sums, f(sums[0] + b, slope))
            store(out, (
                n * number(geometry, 19) + c * number(geometry, 20)
                + oh * number(geometry, 21) + ow * number(geometry, 22)
            ), sums)

    return Source(kernel, "iiiifi", THREADS, wide=lanes > 1)


@staged
def pack(spec: Conv2dSpec, w: DeviceArray, threads: int) -> Packed:
    """Weights (terms, output channels) of all groups side by side."""
    whole = replace(spec, G=1, IC=spec.IC // spec.G)
    return conv2d_direct.packed_from(whole, w, "planes", 0, w.steps)


@staged
def run(
    spec: Conv2dSpec, x: DeviceArray, packed: Packed, bias: DeviceArray | None, out: DeviceArray,
    threads: int,
) -> None:
    """Write the convolution of x into out."""
    bound(spec, x, packed, bias, out)()


def bound(
    spec: Conv2dSpec, x: DeviceArray, packed: Packed, bias: DeviceArray | None, out: DeviceArray
) -> Launch:
    """``run`` for later calls with such arrays: of other addresses, which it is given."""
    conv2d_direct.check_places(spec, x, packed, out)
    lanes, last = BYTES // x.itemsize, x.steps[1] == 1 and spec.IC > 1
    whole = (
        last and spec.G == spec.IC == spec.OC and out.steps[1] == 1 and spec.OC % lanes == 0
        and not (x.pointer | out.pointer) % BYTES
        and not any(step % lanes for a in (x, out) for i, step in enumerate(a.steps) if i != 1)
    )
    lanes = lanes if whole else 1
    work = spec.N * spec.OC * spec.OH * spec.OW // lanes
    numbers = (
        work, spec.OC // lanes, spec.OH, spec.OW, spec.IH, spec.IW, spec.SH, spec.SW, spec.DH,
        spec.DW, spec.PT, spec.PL, spec.IC // spec.G, packed.row, spec.OC // spec.G,
        *x.steps, *out.steps,
    )
    constants = (
        spec.dtype, lanes, last, spec.KH, spec.KW, spec.padding_mode, spec.activation,
        bias is not None,
    )
    address, kept = launcher.kept_geometry(numbers, out)
    values = None if bias is None else dense(bias)
    return Launch(
        taps, constants, -(-work // THREADS),
        (
            x.pointer, packed.weights.pointer, 0 if values is None else values.pointer,
            out.pointer, LEAKY_SLOPE, address,
        ), out, (0, 3), (packed, values, kept),
    )


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """Nothing beyond the packed weights."""
    return 0


def sources() -> list[tuple[str, Any, tuple[Any, ...]]]:
    """What ``benchmarks.cuda_compile`` compiles: a label, a builder, its constants."""
    found: list[tuple[str, Any, tuple[Any, ...]]] = []
    for dtype, lanes in (("float32", 4), ("float64", 2), ("float16", 8), ("bfloat16", 8)):
        for k in (3, 5):
            more = (k, k, "zeros", "relu", True)
            found += [(f"planar {dtype} last {k}×{k}", taps, (dtype, lanes, True, *more)),
                      (f"planar {dtype} {k}×{k}", taps, (dtype, 1, False, *more))]
    return found
