"""Which row is the fastest: a cost model of seconds, and the threads that work is worth.

Pure functions of the spec. The constants are effective rates of this kind of machine, one
thread, as ``python -m benchmarks.calibrate`` prints them; only their ratios decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .registry import Kernel
from .spec import Conv2dSpec, Spec

# GFLOP/s of the direct method's operations, float32; float64 runs at half of it.
_CONV_RATE = {
    "direct@cython": 100.0,
    "im2col@cython": 80.0,
    "direct@numba": 95.0,
    "im2col@numba": 75.0,
    "im2col@numpy": 25.0,
    "direct@reference": 0.01,
    "phases@cython": 80.0,
    "phases@numba": 75.0,
    "phases@numpy": 20.0,
}
_FFT_RATE = 5.0
# Giga-cells per second that pooling, unpooling and activations visit.
_CELL_RATE = {"cython": 2.0, "numba": 2.0, "numpy": 0.3, "reference": 1e-4}
# Seconds that a call costs before it computes.
_CALL = {"cython": 3e-6, "numba": 15e-6, "numpy": 40e-6, "reference": 50e-6}
# Work, in operations, under which a second thread costs more than it saves.
SERIAL_FLOPS = 1_000_000


def threads_for(spec: Spec, threads: int) -> int:
    """At most ``threads``, and one for work that is too small to share."""
    return 1 if spec.flops < SERIAL_FLOPS else threads


def seconds(row: Kernel, spec: Spec, threads: int) -> float:
    """Predicted time of one call."""
    wide = 2.0 if spec.dtype == "float64" else 1.0
    if not isinstance(spec, Conv2dSpec):
        return _CALL[row.backend] + wide * spec.flops / _CELL_RATE[row.backend] / 1e9 / threads
    if row.algorithm == "fft":
        work = wide * _fft_flops(spec) / _FFT_RATE
    else:
        work = wide * spec.flops / _CONV_RATE[f"{row.algorithm}@{row.backend}"]
    return _CALL[row.backend] + work / 1e9 / threads


def rank(rows: Sequence[Kernel], spec: Spec, threads: int) -> list[Kernel]:
    """``rows`` from the fastest to the slowest; the table's order decides a tie."""
    return sorted(rows, key=lambda row: seconds(row, spec, threads))


def _fft_flops(spec: Conv2dSpec) -> float:
    """Real transforms of x, w and out (2.5·n·log2 n each) and the complex products."""
    plane = (spec.IH + spec.PT + spec.PB) * (spec.IW + spec.PL + spec.PR)
    transforms = spec.N * (spec.IC + spec.OC) + spec.OC * spec.IC // spec.G
    products = 4 * spec.N * spec.OC * (spec.IC // spec.G) * plane
    return 2.5 * plane * math.log2(max(plane, 2)) * transforms + products
