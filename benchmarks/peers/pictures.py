"""SciPy and OpenCV, which filter pictures: one plane and one kernel at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ..layers import Array, Layer, is_picture
from ..works import Work
from .side import PICTURE, Case, Runner, Side, needs

Planes = list[tuple[Array, Array]]
"""(plane of the picture, kernel) for each output channel."""


def _planes(layer: Layer, x: Array, w: Array) -> Iterator[tuple[Array, Array]]:
    per_group = layer.OC // layer.groups
    for oc in range(layer.OC):
        yield x[0, oc // per_group], w[oc, 0]


def _layer(work: Work) -> Layer:
    layer = work.convolution
    assert layer is not None
    return layer


def _no_picture(work: Work) -> str | None:
    layer = work.convolution
    if layer is None or not is_picture(layer) or "picture" not in work.labels:
        return "single planes are filtered: pictures only"
    return None


def _stack(planes: list[Array]) -> Array:
    return np.stack(planes)[None]


# ---------------------------------------------------------------- SciPy


def _scipy_mode(layer: Layer) -> str | None:
    """SciPy's name for this padding, if it has one."""
    for name, padding in (("valid", 0.0), ("same", 0.5), ("full", 1.0)):
        if all(layer.padding == padding * (k - 1) for k in (layer.KH, layer.KW)):
            return name
    return None


def _scipy_why_not(work: Work) -> str | None:
    if (reason := _no_picture(work)) is not None:
        return reason
    if _scipy_mode(_layer(work)) is None:
        return "scipy.signal pads for valid, same or full only"
    return None


def _scipy_prepare(function: str, case: Case) -> Runner:
    import scipy.fft
    import scipy.signal

    convolve = getattr(scipy.signal, function)
    layer, w = _layer(case.work), case.w
    assert w is not None
    mode = _scipy_mode(layer)

    def run(planes: Planes) -> list[Array]:
        with scipy.fft.set_workers(case.threads):
            return [convolve(plane, kernel, mode) for plane, kernel in planes]

    # scipy.signal convolves in the mathematical sense: the kernel is turned beforehand.
    turned = np.ascontiguousarray(w[:, :, ::-1, ::-1])
    calls = [partial(run, list(_planes(layer, x, turned))) for x in case.inputs]
    return Runner(calls, _stack)


def _ndimage_prepare(case: Case) -> Runner:
    import scipy.ndimage

    return _cropped(case, partial(scipy.ndimage.correlate, mode="constant"))


# ---------------------------------------------------------------- libraries that keep the size


def _same_size_why_not(work: Work) -> str | None:
    if (reason := _no_picture(work)) is not None:
        return reason
    layer = _layer(work)
    if layer.KH % 2 == 0 or layer.KW % 2 == 0:
        return "only kernels of odd size are centred alike"
    if _crop(layer) is None:
        return "the result is never larger than the picture"
    return None


def _crop(layer: Layer) -> tuple[slice, slice] | None:
    """The part of the same-size result that the layer asks for."""
    rows, columns = (k // 2 - layer.padding for k in (layer.KH, layer.KW))
    if rows < 0 or columns < 0:
        return None
    return slice(rows, layer.IH - rows), slice(columns, layer.IW - columns)


def _cropped(case: Case, correlate: Callable[[Array, Array], Array]) -> Runner:
    layer, w = _layer(case.work), case.w
    assert w is not None
    crop = _crop(layer)

    def run(planes: Planes) -> list[Array]:
        return [correlate(plane, kernel)[crop] for plane, kernel in planes]

    return Runner([partial(run, list(_planes(layer, x, w))) for x in case.inputs], _stack)


def _opencv_prepare(case: Case) -> Runner:
    import cv2

    cv2.setNumThreads(case.threads)

    def correlate(plane: Array, kernel: Array) -> Array:
        return cv2.filter2D(plane, -1, kernel, borderType=cv2.BORDER_CONSTANT)

    return _cropped(case, correlate)


def _side(
    name: str, title: str, module: str, why_not: Callable[[Work], str | None],
    prepare: Callable[[Case], Runner],
) -> Side:
    return Side(name, title, PICTURE, needs(module), why_not, prepare)


SCIPY = (
    *(
        _side(f"scipy.{name}", name, "scipy", _scipy_why_not, partial(_scipy_prepare, name))
        for name in ("convolve2d", "fftconvolve", "oaconvolve")
    ),
    _side("scipy.ndimage", "ndimage", "scipy", _same_size_why_not, _ndimage_prepare),
)
OPENCV = (_side("opencv", "OpenCV", "cv2", _same_size_why_not, _opencv_prepare),)
