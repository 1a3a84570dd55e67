"""The pooling functions."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np

from .. import arrays, config
from ..arrays import FLOATS, Array
from ..registry import INTEGERS
from ..spec import IntPair, PaddingLike, Pool2dSpec, UnpoolSpec
from . import _again, _run

_ORDERED = (*FLOATS, *INTEGERS)


@overload
def max_pool2d(
    x: Array, pool_size: IntPair, *, stride: IntPair | None = ..., padding: PaddingLike = ...,
    dilation: IntPair = ..., ceil_mode: bool = ..., return_indices: Literal[False] = ...,
    layout: str = ..., backend: str = ..., out: Array | None = ...,
) -> Array: ...


@overload
def max_pool2d(
    x: Array, pool_size: IntPair, *, stride: IntPair | None = ..., padding: PaddingLike = ...,
    dilation: IntPair = ..., ceil_mode: bool = ..., return_indices: Literal[True],
    layout: str = ..., backend: str = ..., out: Array | None = ...,
) -> tuple[Array, Array]: ...


@overload
def max_pool2d(
    x: Array, pool_size: IntPair, *, stride: IntPair | None = ..., padding: PaddingLike = ...,
    dilation: IntPair = ..., ceil_mode: bool = ..., return_indices: bool,
    layout: str = ..., backend: str = ..., out: Array | None = ...,
) -> Array | tuple[Array, Array]: ...


def max_pool2d(
    x: Array, pool_size: IntPair, *, stride: IntPair | None = None, padding: PaddingLike = 0,
    dilation: IntPair = 1, ceil_mode: bool = False, return_indices: bool = False,
    layout: str = "NCHW", backend: str = "auto", out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """The largest value of each window.

    Padding counts as −∞ (the smallest value of an integer type). NaN wins; the last NaN of a
    window gives the index, and of equal maxima the first.

    Parameters
    ----------
    x : ndarray, (N, C, IH, IW), or (N, IH, IW, C) with ``layout="NHWC"``
        A floating or integer dtype.
    pool_size : int or (height, width)
    stride : int or (height, width), optional
        The window's size unless stated.
    padding : as for :func:`conv2d`
        At most half of the window.
    dilation : int or (height, width)
    ceil_mode : bool
        Also keep a last window that hangs over the edge, if it starts inside.
    return_indices : bool
        Also return where each maximum was: ``h * IW + w`` within its plane.
    layout, backend, out
        As for :func:`conv2d`.

    Returns
    -------
    ndarray, (N, C, OH, OW) in ``layout`` order, or with indices a pair of such
        The indices are int64.

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As :func:`conv2d`.
    """
    asked = "max_pool2d", config.settings(), (x,), (
        pool_size, stride, padding, dilation, ceil_mode, return_indices, layout, backend,
    )
    result: Array | None = _again.repeat(asked, out)
    if result is not None:
        return result
    x = arrays.array("x", x)
    spec = Pool2dSpec.of(
        "max", x.shape, pool_size, stride=stride, padding=padding, dilation=dilation,
        ceil_mode=ceil_mode, return_indices=return_indices,
        dtype=arrays.dtype_name(_ORDERED, x=x), layout=layout,
    )
    return _run.pool(spec, x, backend, out, asked)


def avg_pool2d(
    x: Array, pool_size: IntPair, *, stride: IntPair | None = None, padding: PaddingLike = 0,
    ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None, layout: str = "NCHW", backend: str = "auto",
    out: Array | None = None,
) -> Array:
    """The mean of each window.

    Parameters
    ----------
    x : ndarray, (N, C, IH, IW), or (N, IH, IW, C) with ``layout="NHWC"``
        A floating dtype.
    pool_size, stride, padding, ceil_mode, layout, backend, out
        As for :func:`max_pool2d`.
    count_include_pad : bool
        True divides by the cells of the window inside the padded picture, False by those
        inside the picture (what TensorFlow's SAME does). Cells that ``ceil_mode`` adds
        beyond the padding never count.
    divisor_override : int, optional
        Divides by this instead.

    Returns
    -------
    ndarray, (N, C, OH, OW) in ``layout`` order

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As :func:`max_pool2d`.
    """
    asked = "avg_pool2d", config.settings(), (x,), (
        pool_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout,
        backend,
    )
    result: Array | None = _again.repeat(asked, out)
    if result is not None:
        return result
    x = arrays.array("x", x)
    spec = Pool2dSpec.of(
        "avg", x.shape, pool_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, divisor_override=divisor_override,
        dtype=arrays.dtype_name(FLOATS, x=x), layout=layout,
    )
    return _single(spec, x, backend, out, asked)


def sum_pool2d(
    x: Array, pool_size: IntPair, *, stride: IntPair | None = None, padding: PaddingLike = 0,
    ceil_mode: bool = False, layout: str = "NCHW", backend: str = "auto",
    out: Array | None = None,
) -> Array:
    """The sum of each window.

    Parameters
    ----------
    x : ndarray, (N, C, IH, IW), or (N, IH, IW, C) with ``layout="NHWC"``
        A floating dtype.
    pool_size, stride, padding, ceil_mode, layout, backend, out
        As for :func:`max_pool2d`.

    Returns
    -------
    ndarray, (N, C, OH, OW) in ``layout`` order

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As :func:`max_pool2d`.
    """
    asked = "sum_pool2d", config.settings(), (x,), (
        pool_size, stride, padding, ceil_mode, layout, backend,
    )
    result: Array | None = _again.repeat(asked, out)
    if result is not None:
        return result
    x = arrays.array("x", x)
    spec = Pool2dSpec.of(
        "sum", x.shape, pool_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        dtype=arrays.dtype_name(FLOATS, x=x), layout=layout,
    )
    return _single(spec, x, backend, out, asked)


def lp_pool2d(
    x: Array, norm_type: float, pool_size: IntPair, *, stride: IntPair | None = None,
    padding: PaddingLike = 0, dilation: IntPair = 1, ceil_mode: bool = False,
    layout: str = "NCHW", backend: str = "auto", out: Array | None = None,
) -> Array:
    """The p-norm of each window, (Σ |x|^p)^(1/p), as ONNX defines LpPool.

    ``torch.nn.functional.lp_pool2d`` takes no absolute value.

    Parameters
    ----------
    x : ndarray, (N, C, IH, IW), or (N, IH, IW, C) with ``layout="NHWC"``
        A floating dtype.
    norm_type : float
        The p, positive and finite.
    pool_size, stride, padding, dilation, ceil_mode, layout, backend, out
        As for :func:`max_pool2d`.

    Returns
    -------
    ndarray, (N, C, OH, OW) in ``layout`` order

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As :func:`max_pool2d`; a norm that is not a positive number.
    """
    asked = "lp_pool2d", config.settings(), (x,), (
        norm_type, pool_size, stride, padding, dilation, ceil_mode, layout, backend,
    )
    result: Array | None = _again.repeat(asked, out)
    if result is not None:
        return result
    x = arrays.array("x", x)
    spec = Pool2dSpec.of(
        "lp", x.shape, pool_size, stride=stride, padding=padding, dilation=dilation,
        ceil_mode=ceil_mode, norm=norm_type, dtype=arrays.dtype_name(FLOATS, x=x), layout=layout,
    )
    return _single(spec, x, backend, out, asked)


@overload
def adaptive_max_pool2d(
    x: Array, output_size: IntPair, *, return_indices: Literal[False] = ..., layout: str = ...,
    backend: str = ..., out: Array | None = ...,
) -> Array: ...


@overload
def adaptive_max_pool2d(
    x: Array, output_size: IntPair, *, return_indices: Literal[True], layout: str = ...,
    backend: str = ..., out: Array | None = ...,
) -> tuple[Array, Array]: ...


@overload
def adaptive_max_pool2d(
    x: Array, output_size: IntPair, *, return_indices: bool, layout: str = ...,
    backend: str = ..., out: Array | None = ...,
) -> Array | tuple[Array, Array]: ...


def adaptive_max_pool2d(
    x: Array, output_size: IntPair, *, return_indices: bool = False, layout: str = "NCHW",
    backend: str = "auto", out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Max pooling to a given size: window i covers ⌊i·IH/OH⌋ … ⌈(i+1)·IH/OH⌉.

    Parameters
    ----------
    x : ndarray, (N, C, IH, IW), or (N, IH, IW, C) with ``layout="NHWC"``
        A floating or integer dtype.
    output_size : int or (height, width)
        ``None`` in the pair keeps that axis as it is.
    return_indices, layout, backend, out
        As for :func:`max_pool2d`.

    Returns
    -------
    ndarray, (N, C, OH, OW) in ``layout`` order, or with indices a pair of such

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As :func:`max_pool2d`.
    """
    asked = "adaptive_max_pool2d", config.settings(), (x,), (
        output_size, return_indices, layout, backend,
    )
    result: Array | None = _again.repeat(asked, out)
    if result is not None:
        return result
    x = arrays.array("x", x)
    spec = Pool2dSpec.of_adaptive(
        "max", x.shape, output_size, return_indices=return_indices,
        dtype=arrays.dtype_name(_ORDERED, x=x), layout=layout,
    )
    return _run.pool(spec, x, backend, out, asked)


def adaptive_avg_pool2d(
    x: Array, output_size: IntPair, *, layout: str = "NCHW", backend: str = "auto",
    out: Array | None = None,
) -> Array:
    """Average pooling to a given size, with the windows of :func:`adaptive_max_pool2d`.

    Parameters
    ----------
    x : ndarray, (N, C, IH, IW), or (N, IH, IW, C) with ``layout="NHWC"``
        A floating dtype.
    output_size, layout, backend, out
        As for :func:`adaptive_max_pool2d`.

    Returns
    -------
    ndarray, (N, C, OH, OW) in ``layout`` order

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As :func:`max_pool2d`.
    """
    return _adaptive("avg", x, output_size, FLOATS, layout, backend, out)


def global_max_pool2d(
    x: Array, *, layout: str = "NCHW", backend: str = "auto", out: Array | None = None
) -> Array:
    """The largest value of each map.

    Parameters
    ----------
    x : ndarray, (N, C, IH, IW), or (N, IH, IW, C) with ``layout="NHWC"``
        A floating or integer dtype.
    layout, backend, out
        As for :func:`max_pool2d`.

    Returns
    -------
    ndarray, (N, C, 1, 1), or (N, 1, 1, C)

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As :func:`max_pool2d`.
    """
    return _adaptive("max", x, 1, _ORDERED, layout, backend, out)


def global_avg_pool2d(
    x: Array, *, layout: str = "NCHW", backend: str = "auto", out: Array | None = None
) -> Array:
    """The mean of each map.

    Parameters
    ----------
    x : ndarray, (N, C, IH, IW), or (N, IH, IW, C) with ``layout="NHWC"``
        A floating dtype.
    layout, backend, out
        As for :func:`max_pool2d`.

    Returns
    -------
    ndarray, (N, C, 1, 1), or (N, 1, 1, C)

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As :func:`max_pool2d`.
    """
    return _adaptive("avg", x, 1, FLOATS, layout, backend, out)


def global_sum_pool2d(
    x: Array, *, layout: str = "NCHW", backend: str = "auto", out: Array | None = None
) -> Array:
    """The sum of each map.

    Parameters
    ----------
    x : ndarray, (N, C, IH, IW), or (N, IH, IW, C) with ``layout="NHWC"``
        A floating dtype.
    layout, backend, out
        As for :func:`max_pool2d`.

    Returns
    -------
    ndarray, (N, C, 1, 1), or (N, 1, 1, C)

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As :func:`max_pool2d`.
    """
    return _adaptive("sum", x, 1, FLOATS, layout, backend, out)


def max_unpool2d(
    x: Array, indices: Array, pool_size: IntPair, *, stride: IntPair | None = None,
    padding: IntPair = 0, output_size: IntPair | None = None, layout: str = "NCHW",
    backend: str = "auto", out: Array | None = None,
) -> Array:
    """Put each value back where :func:`max_pool2d` found it; all other cells are zero.

    Where two values share an index, the last in row-major order stays.

    Parameters
    ----------
    x : ndarray, (N, C, IH, IW), or (N, IH, IW, C) with ``layout="NHWC"``
        A floating or integer dtype.
    indices : ndarray of the shape of ``x``
        int64, ``h * OW + w`` within the result's plane.
    pool_size, stride, padding
        Those of the pooling.
    output_size : int or (height, width), optional
        (IH − 1)·stride − 2·padding + pool_size unless stated; it must lie within one
        stride of that.
    layout, backend, out
        As for :func:`max_pool2d`.

    Returns
    -------
    ndarray, (N, C, OH, OW) in ``layout`` order

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As :func:`max_pool2d`; an index outside the result's plane.

    References
    ----------
    Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014.
    """
    x, indices = arrays.array("x", x), arrays.array("indices", indices)
    spec = UnpoolSpec.of(
        x.shape, pool_size, stride=stride, padding=padding, output_size=output_size,
        dtype=arrays.dtype_name(_ORDERED, x=x), layout=layout,
    )
    arrays.dtype_name(("int64",), indices=indices)
    if indices.shape != x.shape:
        raise ValueError(f"indices have shape {indices.shape} but x has shape {x.shape}")
    known = isinstance(indices, np.ndarray) and indices.size  # on a GPU the kernel will see
    if known and not 0 <= indices.min() <= indices.max() < spec.OH * spec.OW:
        raise ValueError(
            f"indices must lie in 0 … {spec.OH * spec.OW - 1}, the cells of a "
            f"{spec.OH}×{spec.OW} plane; got {indices.min()} … {indices.max()}"
        )
    return _run.unpool(spec, x, indices, backend, out)


def _adaptive(
    mode: str, x: Array, output_size: IntPair, accepted: tuple[str, ...], layout: str,
    backend: str, out: object,
) -> Array:
    asked = f"adaptive {mode}", config.settings(), (x,), (output_size, layout, backend)
    result: Array | None = _again.repeat(asked, out)
    if result is not None:
        return result
    x = arrays.array("x", x)
    spec = Pool2dSpec.of_adaptive(
        mode, x.shape, output_size, dtype=arrays.dtype_name(accepted, x=x), layout=layout
    )
    return _single(spec, x, backend, out, asked)


def _single(
    spec: Pool2dSpec, x: Array, backend: str, out: object, asked: _again.Asked
) -> Array:
    pooled = _run.pool(spec, x, backend, out, asked)
    assert not isinstance(pooled, tuple)
    return pooled
