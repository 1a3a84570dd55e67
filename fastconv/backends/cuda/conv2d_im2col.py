"""A column of cells is written out for every pixel, then multiplied with the weights.

The columns are an image with more channels and a 1×1 kernel (Chellapilla, Puri and Simard, "High
performance convolutional neural networks for document processing", 2006). Images are taken some
at a time, so that their columns stay bounded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numba import cuda

from ... import device
from ...device import DeviceArray
from ...spec import Conv2dSpec, dtype_of, itemsize
from . import conv2d_direct, launcher
from .conv2d_direct import Packed
from .implicit_gemm import padding
from .launcher import Source
from .primitives import loader, quotient, remainder, storer
from .staging import staged

THREADS = 256
MOST_BYTES = 256 << 20
"""Of columns at a time, unless those of one image are more."""


def columns(dtype: str, mode: str) -> Source:
    """``(x, columns, geometry)``: a thread for each cell of (terms, images, OH, OW)."""
    load, store, number = loader(dtype), storer(dtype), loader("int64")
    cell_of, there_is = padding(mode)
    nothing = (np.float64 if dtype == "float64" else np.float32)(0)

    def kernel(x, out, geometry):
        cell = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if cell < number(geometry, 0):
            OW, OH, N = number(geometry, 1), number(geometry, 2), number(geometry, 3)
            KW, KH = number(geometry, 4), number(geometry, 5)
            ow, rest = remainder(cell, OW), quotient(cell, OW)
            oh, rest = remainder(rest, OH), quotient(rest, OH)
            n, rest = remainder(rest, N), quotient(rest, N)
            kw, rest = remainder(rest, KW), quotient(rest, KW)
            kh, c = remainder(rest, KH), quotient(rest, KH)
            IH, IW = number(geometry, 6), number(geometry, 7)
            h = oh * number(geometry, 8) - number(geometry, 12) + kh * number(geometry, 10)
            w = ow * number(geometry, 9) - number(geometry, 13) + kw * number(geometry, 11)
            inside = there_is(h, IH) & there_is(w, IW)
            value = nothing
            if inside:
                value = load(x, (
                    n * number(geometry, 14) + c * number(geometry, 15)
                    + cell_of(h, IH) * number(geometry, 16)
                    + cell_of(w, IW) * number(geometry, 17)
                ))
            store(out, cell, value)

    return Source(kernel, "iii", THREADS)


def _flat(spec: Conv2dSpec, n: int) -> Conv2dSpec:
    """The 1×1 convolution of the columns of ``n`` images."""
    return replace(
        spec, N=n, IC=spec.IC * spec.KH * spec.KW, IH=spec.OH, IW=spec.OW, KH=1, KW=1, SH=1, SW=1,
        DH=1, DW=1, PT=0, PB=0, PL=0, PR=0, padding_mode="zeros",
    )


def _images(spec: Conv2dSpec) -> int:
    cells = spec.IC * spec.KH * spec.KW * spec.OH * spec.OW
    return max(1, min(spec.N, MOST_BYTES // (cells * itemsize(spec.dtype)), (1 << 31) // cells))


@staged
def pack(spec: Conv2dSpec, w: DeviceArray, threads: int) -> Packed:
    """Weights as the direct convolution has them, terms in the order of the columns."""
    return conv2d_direct.packed_from(
        spec, w, "planes", spec.OC // spec.G * w.steps[0], w.steps
    )


@staged
def run(
    spec: Conv2dSpec, x: DeviceArray, packed: Packed, bias: DeviceArray | None, out: DeviceArray,
    threads: int,
) -> None:
    """Write the convolution of x into out."""
    images, dtype = _images(spec), dtype_of(spec.dtype)
    terms = spec.IC * spec.KH * spec.KW
    store = device.empty((terms, images, spec.OH, spec.OW), dtype, out)
    for first in range(0, spec.N, images):
        n = min(images, spec.N - first)
        some = x[first : first + n]
        room = store if n == images else device.empty((terms, n, spec.OH, spec.OW), dtype, out)
        numbers = (
            room.size, spec.OW, spec.OH, n, spec.KW, spec.KH, spec.IH, spec.IW, spec.SH, spec.SW,
            spec.DH, spec.DW, spec.PT, spec.PL, *some.steps,
        )
        launcher.launch(
            columns, (spec.dtype, spec.padding_mode), -(-room.size // THREADS),
            (some.pointer, room.pointer, launcher.geometry(numbers, out)), out,
        )
        conv2d_direct.run(
            _flat(spec, n), room.transpose(1, 0, 2, 3), packed, bias, out[first : first + n],
            threads,
        )


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """The columns of some images."""
    columns = spec.IC * spec.KH * spec.KW * spec.OH * spec.OW
    return _images(spec) * columns * itemsize(spec.dtype)


def sources() -> list[tuple[str, Any, tuple[Any, ...]]]:
    """What ``benchmarks.cuda_compile`` compiles: a label, a builder, its constants."""
    return [
        (f"columns {dtype} {mode}", columns, (dtype, mode))
        for dtype in ("float32", "float64", "float16", "bfloat16") for mode in ("zeros", "reflect")
    ]
