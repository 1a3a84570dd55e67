"""Convolution by CuPy's Fourier transforms, cuFFT's; see ``backends/fft_convolution.py``.

That is the source of NumPy's row too: here its arrays are CuPy's, over the memory of the caller's,
its transforms those of ``cupyx.scipy.fft``, and its matrix products cuBLAS's. Half types are
widened to float32 and the result is rounded once. Reflected and replicated paddings are written
out. The stated error holds unless ``CUPY_TF32`` asks CuPy for products of fewer digits.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ... import device
from ...device import DeviceArray
from ...spec import HALF, LEAKY_SLOPE, Conv2dSpec, dtype_of, itemsize, with_dtype
from .. import fft_convolution
from ..fft_convolution import Library, Weights
from ..fft_plan import CARD, plan_for
from . import activation_elementwise, cupy_arrays
from .cupy_arrays import viewed
from .staging import staged

WRITTEN_OUT = {"reflect": "reflect", "replicate": "edge"}
"""Paddings, as CuPy calls them."""
COPIES = 2
"""Beside each array in work: CuPy's copy in the order of the axis that it transforms, and cuFFT's
work area. CuPy keeps some of these for later transforms of the same sizes."""


def _library(beside: DeviceArray) -> Library:
    """CuPy's arrays in the order of one stream."""
    transforms = import_module("cupyx.scipy.fft")
    place = beside.device, cupy_arrays.handle_of(beside)
    return Library(cupy_arrays.cupy(), transforms, CARD, place=place)


def _seen(spec: Conv2dSpec) -> Conv2dSpec:
    """What is transformed: full numbers, paddings of zeros or of the picture itself."""
    wide: Any = with_dtype(spec, "float32") if spec.dtype in HALF else spec
    return wide.padded_spec if spec.padding_mode in WRITTEN_OUT else wide


def _widened(a: DeviceArray) -> DeviceArray:
    if a.dtype.name not in HALF:
        return a
    wide = device.empty(a.shape, dtype_of("float32"), a)
    activation_elementwise.apply(None, 0.0, a, wide)
    return wide


def _picture(spec: Conv2dSpec, x: DeviceArray) -> Any:
    """x as CuPy's array, with paddings that are not transformed around it."""
    picture = viewed(_widened(x))
    if spec.padding_mode in WRITTEN_OUT:
        widths = (0, 0), (0, 0), (spec.PT, spec.PB), (spec.PL, spec.PR)
        return cupy_arrays.cupy().pad(picture, widths, mode=WRITTEN_OUT[spec.padding_mode])
    return picture


@staged
def pack(spec: Conv2dSpec, w: DeviceArray, threads: int) -> Weights:
    """The weights with their spectra for pictures of this size; others, and those for other
    streams, follow in ``run``."""
    w = _widened(w)
    with cupy_arrays.working_for(w):
        return fft_convolution.pack(_library(w), _seen(spec), viewed(w))


@staged
def run(
    spec: Conv2dSpec, x: DeviceArray, packed: Weights, bias: DeviceArray | None, out: DeviceArray,
    threads: int,
) -> None:
    """Write the convolution of x into out."""
    seen, sums = _seen(spec), out
    if spec.dtype in HALF:
        sums = device.empty(out.shape, dtype_of(seen.dtype), out)
    with cupy_arrays.working_for(out):
        found = viewed(sums)
        fft_convolution.run(_library(out), seen, _picture(spec, x), packed, None, found)
        if bias is not None:
            found += viewed(_widened(bias))[:, None, None]
    if spec.activation is not None or sums is not out:
        activation_elementwise.apply(spec.activation, LEAKY_SLOPE, sums, out)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """The transforms' scratch with what CuPy and cuFFT take beside it, kept spectra, and copies of
    x and out that are widened or padded."""
    seen = _seen(spec)
    cells = 0
    if seen.dtype != spec.dtype:
        cells += spec.N * (spec.OC * spec.OH * spec.OW + spec.IC * spec.IH * spec.IW) + spec.OC
        cells += spec.OC * (spec.IC // spec.G) * spec.KH * spec.KW
    if spec.padding_mode in WRITTEN_OUT:
        cells += seen.N * seen.IC * seen.IH * seen.IW
    beside = COPIES * plan_for(seen, CARD).scratch() + cells * itemsize(seen.dtype)
    return fft_convolution.workspace_bytes(CARD, seen) + beside
