"""NumPy arrays convolved by SciPy's Fourier transforms; see ``backends/fft_convolution.py``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ...spec import Conv2dSpec
from .. import fft_convolution
from ..fft_convolution import Library, Weights
from ..fft_plan import HOST, plan_for
from . import epilogue

Array = NDArray[Any]


def _finish(spec: Conv2dSpec, sums: Array, bias: Array | None) -> None:
    """Image by image: small parts of the result stay in the cache."""
    for image in sums:
        epilogue.finish(spec, image, bias)


LIBRARY = Library(np, fft, HOST, _finish)


@contextmanager
def _working(threads: int) -> Iterator[None]:
    with fft.set_workers(threads), np.errstate(all="ignore"):
        yield


def pack(spec: Conv2dSpec, w: Array, threads: int) -> Weights:
    """The weights with their spectra for pictures of this size; others follow in ``run``."""
    with _working(threads):
        return fft_convolution.pack(LIBRARY, spec, w)


def run(
    spec: Conv2dSpec, x: Array, packed: Weights, bias: Array | None, out: Array, threads: int
) -> None:
    """Write the convolution of x into out."""
    with _working(threads):
        fft_convolution.run(LIBRARY, spec, x, packed, bias, out)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """The transforms' scratch, the spectra that the weights keep, NumPy's buffer while it
    multiplies spectra of unequal shapes, and the epilogue's scratch."""
    plan = plan_for(spec, HOST)
    channels = plan.groups * plan.outputs
    rows, columns = min(plan.rows.outputs, spec.OH), min(plan.columns.outputs, spec.OW)
    finish = epilogue.finish_bytes(spec, channels * rows * columns)
    buffer = 0 if plan.by_matrices else np.getbufsize() * 2 * plan.itemsize
    return fft_convolution.workspace_bytes(HOST, spec) + buffer + finish
