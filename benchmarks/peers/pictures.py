"""SciPy and OpenCV, which filter pictures: one plane and one kernel at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ..layers import Array, Layer
from .side import PICTURE, Case, Runner, Side, needs

Planes = list[tuple[Array, Array]]
"""(plane of the picture, kernel) for each output channel."""


def _planes(layer: Layer, x: Array, w: Array) -> Iterator[tuple[Array, Array]]:
    per_group = layer.OC // layer.groups
    for oc in range(layer.OC):
        yield x[0, oc // per_group], w[oc, 0]


def _stack(planes: list[Array]) -> Array:
    return np.stack(planes)[None]


# ---------------------------------------------------------------- SciPy


def _scipy_mode(layer: Layer) -> str | None:
    """SciPy's name for this padding, if it has one."""
    for name, padding in (("valid", 0.0), ("same", 0.5), ("full", 1.0)):
        if all(layer.padding == padding * (k - 1) for k in (layer.KH, layer.KW)):
            return name
    return None


def _scipy_why_not(layer: Layer) -> str | None:
    if not layer.is_picture:
        return "SciPy filters single planes: pictures only"
    if _scipy_mode(layer) is None:
        return "SciPy pads for valid, same or full only"
    return None


def _scipy_prepare(function: str, case: Case) -> Runner:
    import scipy.fft
    import scipy.signal

    convolve = getattr(scipy.signal, function)
    mode = _scipy_mode(case.layer)

    def run(planes: Planes) -> list[Array]:
        with scipy.fft.set_workers(case.threads):
            return [convolve(plane, kernel, mode) for plane, kernel in planes]

    # SciPy convolves in the mathematical sense: the kernel is turned beforehand.
    turned = np.ascontiguousarray(case.w[:, :, ::-1, ::-1])
    calls = [partial(run, list(_planes(case.layer, x, turned))) for x in case.inputs]
    return Runner(calls, _stack)


# ---------------------------------------------------------------- OpenCV


def _opencv_why_not(layer: Layer) -> str | None:
    if not layer.is_picture:
        return "OpenCV filters single planes: pictures only"
    if layer.KH % 2 == 0 or layer.KW % 2 == 0:
        return "filter2D centres kernels of odd size only"
    if _opencv_crop(layer) is None:
        return "filter2D pads for the same size only"
    return None


def _opencv_crop(layer: Layer) -> tuple[slice, slice] | None:
    """The part of the same-size result that the layer asks for."""
    rows, columns = (k // 2 - layer.padding for k in (layer.KH, layer.KW))
    if rows < 0 or columns < 0:
        return None
    return slice(rows, layer.IH - rows), slice(columns, layer.IW - columns)


def _opencv_prepare(case: Case) -> Runner:
    import cv2

    cv2.setNumThreads(case.threads)
    crop = _opencv_crop(case.layer)

    def run(planes: Planes) -> list[Array]:
        return [
            cv2.filter2D(plane, -1, kernel, borderType=cv2.BORDER_CONSTANT)[crop]
            for plane, kernel in planes
        ]

    calls = [partial(run, list(_planes(case.layer, x, case.w))) for x in case.inputs]
    return Runner(calls, _stack)


def _side(
    name: str, title: str, module: str, why_not: Callable[[Layer], str | None],
    prepare: Callable[[Case], Runner],
) -> Side:
    return Side(name, title, PICTURE, needs(module), why_not, prepare)


SCIPY = (
    _side("scipy.convolve2d", "convolve2d", "scipy", _scipy_why_not,
          partial(_scipy_prepare, "convolve2d")),
    _side("scipy.oaconvolve", "oaconvolve", "scipy", _scipy_why_not,
          partial(_scipy_prepare, "oaconvolve")),
)
OPENCV = (_side("opencv", "OpenCV", "cv2", _opencv_why_not, _opencv_prepare),)
