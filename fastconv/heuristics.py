"""Which row is the fastest: a cost model of seconds, and the threads that work is worth.

Pure functions of the spec. The constants belong to one kind of machine (an AVX-512 server
core): rounded means of what ``python -m benchmarks.calibrate`` prints. Only their ratios
decide, and ``explain()`` shows the seconds that they predict. float32; float64 takes twice as
long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .registry import Kernel
from .spec import Conv2dSpec, Spec

# conv2d, one thread: seconds for 10⁹ operations, and for 10⁹ cells gathered before they are
# multiplied (see work()).
_CONV = {
    "direct@cython": (0.0083, 0.28),
    "im2col@cython": (0.0081, 0.20),
    "direct@numba": (0.0083, 0.60),
    "im2col@numba": (0.0110, 0.28),
    "im2col@numpy": (0.0085, 0.65),
    "fft@numpy": (0.0300, 0.0),
    "direct@reference": (100.0, 0.0),  # not fitted: never near the others
}
# An input gradient is a few convolutions by these rows.
_PHASES = {"cython": "direct@cython", "numba": "direct@numba", "numpy": "im2col@numpy"}
# Giga-cells per second that pooling, unpooling and activations visit, one thread.
_CELL_RATE = {"cython": 6.0, "numba": 4.0, "numpy": 0.7, "reference": 1e-4}
# Seconds that a call costs before it computes.
_CALL = {"cython": 4e-6, "numba": 15e-6, "numpy": 60e-6, "reference": 300e-6}
# Less than this is done by one thread: operations of a convolution, bytes of anything else.
SERIAL_FLOPS = 2_000_000
SERIAL_BYTES = 1_000_000


def threads_for(spec: Spec, threads: int) -> int:
    """At most ``threads``, and one for work that is too small to share."""
    if isinstance(spec, Conv2dSpec):
        return 1 if spec.flops < SERIAL_FLOPS else threads
    return 1 if spec.bytes < SERIAL_BYTES else threads


def work(algorithm: str, spec: Conv2dSpec) -> tuple[float, float]:
    """Operations of a convolution and the cells that are gathered for them.

    The FFT's operations are those of its transforms (2.5·n·log2 n each, for x, w and out) and
    of the complex products. im2col gathers a column per output cell, the others x once.
    """
    if algorithm == "fft":
        plane = (spec.IH + spec.PT + spec.PB) * (spec.IW + spec.PL + spec.PR)
        pairs = spec.OC * (spec.IC // spec.G)
        transforms = spec.N * (spec.IC + spec.OC) + pairs
        products = 4 * spec.N * pairs * plane
        return 2.5 * plane * math.log2(max(plane, 2)) * transforms + products, 0.0
    if algorithm == "im2col":
        return spec.flops, spec.N * spec.IC * spec.KH * spec.KW * spec.OH * spec.OW
    return spec.flops, spec.N * spec.IC * spec.IH * spec.IW


def seconds(row: Kernel, spec: Spec, threads: int) -> float:
    """Predicted time of one call."""
    wide = 2.0 if spec.dtype == "float64" else 1.0
    if not isinstance(spec, Conv2dSpec):
        busy = spec.flops / _CELL_RATE[row.backend]
    else:
        name = f"{row.algorithm}@{row.backend}"
        if row.algorithm == "phases":
            name = _PHASES[row.backend]
        algorithm = name.partition("@")[0]
        busy = sum(a * b for a, b in zip(work(algorithm, spec), _CONV[name], strict=True))
    return _CALL[row.backend] + wide * busy / 1e9 / threads


def rank(rows: Sequence[Kernel], spec: Spec, threads: int) -> list[Kernel]:
    """``rows`` from the fastest to the slowest; the table's order decides a tie."""
    return sorted(rows, key=lambda row: seconds(row, spec, threads))
