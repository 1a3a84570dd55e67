"""conv2d, conv_transpose2d, the fused conv2d_pool2d and filter2d."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import arrays, config
from ..arrays import FLOATS, Array
from ..dispatch import asked_for, select
from ..rank import with_rank
from ..spec import (
    Conv2dSpec,
    ConvPool2dSpec,
    IntPair,
    PaddingLike,
    filter_spec,
    in_layout,
    one_channel,
    one_of,
)
from . import _again, _run

_POOLS = ("max", "avg", "sum")


def conv2d(
    x: Array, w: Array, bias: Array | None = None, *, stride: IntPair = 1,
    padding: PaddingLike = 0, dilation: IntPair = 1, groups: int = 1, padding_mode: str = "zeros",
    activation: str | None = None, layout: str = "NCHW", algorithm: str = "auto",
    backend: str = "auto", precision: str = "default", out: Array | None = None,
) -> Array:
    """2-D convolution as neural networks define it: cross-correlation, summed over channels.

    out[n, oc, oh, ow] = act(bias[oc] + Σ x[n, ic, oh·SH − PT + kh·DH, ow·SW − PL + kw·DW] ·
    w[oc, ic, kh, kw]), the sum over ic of the group, kh and kw.

    Parameters
    ----------
    x : ndarray, (N, IC, IH, IW), or (N, IH, IW, IC) with ``layout="NHWC"``
        float32 or float64; float16 and bfloat16 are summed in float32 and rounded once.
        Any strides, byte order and alignment. Never written.
    w : ndarray, (OC, IC/groups, KH, KW)
        The same dtype, in any memory order, whatever the layout.
    bias : ndarray, (OC,), optional
    stride, dilation : int or (height, width)
    padding : int, (PH, PW), ((PT, PB), (PL, PR)), "valid", "same", "same_lower" or "full"
        Cells added around the picture. "same" is TensorFlow's SAME for any stride (the odd
        cell goes after, with "same_lower" before); "full" keeps every overlap.
    groups : int
        Splits the channels into independent convolutions; divides IC and OC.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
    activation : {None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "hardswish"}
        Applied to the sum; the slope of "leaky_relu" is 0.01.
    layout : {"NCHW", "NHWC"}
        The order of ``x``, ``out`` and the result.
    algorithm, backend : str
        A name, or "auto" for the predicted fastest; see :func:`fastconv.explain`. Arrays that
        live on a GPU (CuPy, PyTorch, Numba, DLPack) are computed there, and give one of their
        library; with ``backend="cuda"`` NumPy arrays are copied there and the result back.
    precision : {"strict", "default", "fast"}
        "strict" admits only direct summation. Under "default" an FFT or Winograd's transforms may
        be chosen, which spread a NaN or an infinity in ``x`` over its tile; kernels that are sums
        of few products of a column and a row may be run as such ("separable"), which spreads it
        over a few rows; and on a GPU tensor cores may take each float32 product as three
        ("tf32x3"), which makes a NaN of an infinity. "fast" admits larger errors: large tiles,
        and on a GPU tensor cores that round float32 to TF32 or bfloat16.
    out : ndarray, optional
        Receives the result; must not overlap an input.

    Returns
    -------
    ndarray, (N, OC, OH, OW) in ``layout`` order
        OH = ⌊(IH + PT + PB − DH(KH−1) − 1)/SH⌋ + 1, and OW likewise. Empty if N is 0.

    Raises
    ------
    TypeError
        Arrays that are no NumPy arrays, dtypes that are not accepted or differ.
    ValueError
        Shapes, strides, paddings or groups that do not fit; the message has the rule and a fix.
    BackendUnavailableError
        The backend asked for is absent.

    References
    ----------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
    """
    asked = "conv2d", config.settings(), (x, w, bias), (
        stride, padding, dilation, groups, padding_mode, activation, layout, algorithm, backend,
        precision,
    )
    result: Array | None = _again.repeat(asked, out)
    if result is not None:
        return result
    x, w = arrays.array("x", x), arrays.array("w", w)
    bias = None if bias is None else arrays.array("bias", bias)
    spec = Conv2dSpec.of(
        x.shape, w.shape, stride=stride, padding=padding, dilation=dilation, groups=groups,
        padding_mode=padding_mode, dtype=arrays.dtype_name(FLOATS, x=x, w=w, bias=bias),
        layout=layout, bias=bias is not None, activation=activation,
        precision=config.precision_for(precision),
    )
    return _call("conv2d", spec, spec.out_shape, x, w, bias, algorithm, backend, out, asked)


def conv_transpose2d(
    x: Array, w: Array, bias: Array | None = None, *, stride: IntPair = 1,
    padding: PaddingLike = 0, output_padding: IntPair = 0, dilation: IntPair = 1,
    groups: int = 1, activation: str | None = None, layout: str = "NCHW",
    algorithm: str = "auto", backend: str = "auto", precision: str = "default",
    out: Array | None = None,
) -> Array:
    """Transposed 2-D convolution: the gradient of conv2d with respect to its input.

    Each cell of ``x`` adds its multiple of the kernel to the result; where conv2d with this
    stride and padding shrinks a picture, this enlarges it again. Kernels may add zeros where
    the kernel hangs over the border of ``x``: an infinite or NaN weight then gives NaN there.

    Parameters
    ----------
    x : ndarray, (N, IC, IH, IW), or (N, IH, IW, IC) with ``layout="NHWC"``
        float32, float64, float16 or bfloat16, as for :func:`conv2d`.
    w : ndarray, (IC, OC/groups, KH, KW)
        As in ``torch.nn.functional.conv_transpose2d``.
    bias : ndarray, (OC,), optional
    stride, dilation, groups, activation, layout, algorithm, backend, precision, out
        As for :func:`conv2d`.
    padding : as for :func:`conv2d`
        Cells cut off around the result; with "same" the result has IH·SH rows.
    output_padding : int or (height, width)
        Extra rows and columns after; smaller than stride or dilation.

    Returns
    -------
    ndarray, (N, OC, OH, OW) in ``layout`` order
        OH = (IH − 1)·SH − PT − PB + DH(KH − 1) + output_padding + 1, and OW likewise.

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As :func:`conv2d`.

    References
    ----------
    Zeiler et al., "Deconvolutional networks", CVPR 2010; Dumoulin and Visin, 2016.
    """
    asked = "conv_transpose2d", config.settings(), (x, w, bias), (
        stride, padding, output_padding, dilation, groups, activation, layout, algorithm, backend,
        precision,
    )
    result: Array | None = _again.repeat(asked, out)
    if result is not None:
        return result
    x, w = arrays.array("x", x), arrays.array("w", w)
    bias = None if bias is None else arrays.array("bias", bias)
    spec = Conv2dSpec.of_transpose(
        x.shape, w.shape, stride=stride, padding=padding, output_padding=output_padding,
        dilation=dilation, groups=groups, dtype=arrays.dtype_name(FLOATS, x=x, w=w, bias=bias),
        layout=layout, bias=bias is not None, activation=activation,
        precision=config.precision_for(precision),
    )
    return _call(
        "conv2d_input_grad", spec, spec.x_shape, x, w, bias, algorithm, backend, out, asked
    )


def _call(
    op: str, spec: Conv2dSpec | ConvPool2dSpec, result_shape: tuple[int, int, int, int],
    x: Array, w: Array, bias: Array | None, algorithm: str, backend: str, out: object,
    asked: _again.Asked,
) -> Array:
    """Choose, pack and run: the part that all convolutions share."""
    bias = arrays.bias_of(bias, result_shape[1])
    x, w, bias = arrays.together(x=x, w=w, bias=bias)
    on_gpu = arrays.on_gpu(x)
    if op == "conv2d" and not on_gpu and isinstance(spec, Conv2dSpec):
        spec = with_rank(spec, w, asked_for(op, algorithm, backend)[0])
    choice = select(op, spec, algorithm, backend, on_gpu=on_gpu)
    result = arrays.result(out, result_shape, spec.dtype, spec.layout, x=x, w=w, bias=bias)
    if result.size:
        _run.convolve(choice, spec, x, _run.pack(choice, w, once=True), bias, result)
        if not getattr(spec, "rank", 0):  # else the next call must look at its own weights
            _again.remember(
                asked, choice, spec, result_shape, pack=_run.packer(choice, once=True),
                convolving=True,
            )
    return arrays.handed_back(result)


def conv2d_pool2d(
    x: Array, w: Array, bias: Array | None = None, *, stride: IntPair = 1,
    padding: PaddingLike = 0, dilation: IntPair = 1, groups: int = 1, padding_mode: str = "zeros",
    activation: str | None = "relu", pool: str = "max", pool_size: IntPair = 2,
    pool_stride: IntPair | None = None, pool_padding: PaddingLike = 0, layout: str = "NCHW",
    algorithm: str = "auto", backend: str = "auto", precision: str = "default",
    out: Array | None = None,
) -> Array:
    """Convolution, activation and pooling: one layer of a classic network, in one pass.

    The convolution's maps are pooled band by band while they lie in the cache.

    Parameters
    ----------
    x, w, bias, stride, padding, dilation, groups, padding_mode, layout
        As for :func:`conv2d`.
    activation : str or None
        As for :func:`conv2d`, "relu" unless stated.
    pool : {"max", "avg", "sum"}
    pool_size, pool_stride, pool_padding
        As for :func:`max_pool2d`; the stride is the window's size unless stated.
    algorithm, backend, precision, out
        As for :func:`conv2d`; the algorithm is the convolution's.

    Returns
    -------
    ndarray, (N, OC, pooled height, pooled width) in ``layout`` order

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As :func:`conv2d` and :func:`max_pool2d`.
    """
    asked = "conv2d_pool2d", config.settings(), (x, w, bias), (
        stride, padding, dilation, groups, padding_mode, activation, pool, pool_size, pool_stride,
        pool_padding, layout, algorithm, backend, precision,
    )
    result: Array | None = _again.repeat(asked, out)
    if result is not None:
        return result
    x, w = arrays.array("x", x), arrays.array("w", w)
    bias = None if bias is None else arrays.array("bias", bias)
    spec = ConvPool2dSpec.of(
        x.shape, w.shape, stride=stride, padding=padding, dilation=dilation, groups=groups,
        padding_mode=padding_mode, dtype=arrays.dtype_name(FLOATS, x=x, w=w, bias=bias),
        layout=layout, bias=bias is not None, activation=activation,
        precision=config.precision_for(precision), pool=one_of("pool", pool, _POOLS),
        pool_size=pool_size, pool_stride=pool_stride, pool_padding=pool_padding,
    )
    return _call("conv2d_pool2d", spec, spec.out_shape, x, w, bias, algorithm, backend, out, asked)


def _refuse_overlap(out: object, **inputs: Any) -> None:
    """For inputs that the last step, which checks ``out``, does not see as they were given."""
    for name, a in inputs.items():
        if isinstance(out, np.ndarray) and isinstance(a, np.ndarray) and arrays.overlap(out, a):
            raise ValueError(f"out overlaps {name} in memory; pass a separate array")


def filter2d(
    image: Array, kernels: Any, *, padding: PaddingLike = "same", padding_mode: str = "zeros",
    stride: IntPair = 1, dilation: IntPair = 1, algorithm: str = "auto", backend: str = "auto",
    precision: str = "default", out: Array | None = None,
) -> Array:
    """Filter a picture with one kernel or several, each channel by itself.

    The kernel is not flipped (correlation), as in :func:`conv2d` and OpenCV's ``filter2D``.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, C)
        float32, float64, float16 or bfloat16; divide integers by their range first.
    kernels : 2-D array, or a list of 2-D arrays of one shape
        Python numbers and integer arrays take the image's dtype; a floating array must
        have it.
    padding, padding_mode, stride, dilation, algorithm, backend, precision
        As for :func:`conv2d`; the size is kept unless stated.
    out : ndarray, optional
        Receives the result; must not overlap an input.

    Returns
    -------
    ndarray, (OH, OW) or (OH, OW, C); a list of K kernels adds a last axis of length K

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As :func:`conv2d`.
    """
    image = arrays.array("image", image)
    if arrays.on_gpu(image):
        raise TypeError("filter2d takes NumPy arrays; on a GPU call conv2d with groups=channels")
    dtype = arrays.dtype_name(FLOATS, image=image)
    if image.ndim not in (2, 3):
        raise ValueError(f"image must have the axes (H, W) or (H, W, C); got shape {image.shape}")
    bank, several = _bank(kernels, image)
    given = kernels if isinstance(kernels, (list, tuple)) else [kernels]
    _refuse_overlap(out, **{f"kernel {i}": kernel for i, kernel in enumerate(given)})
    spec = filter_spec(
        image.shape, bank.shape, stride=stride, padding=padding, dilation=dilation,
        padding_mode=padding_mode, dtype=dtype, precision=config.precision_for(precision),
    )
    shape = spec.OH, spec.OW, *image.shape[2:], *([len(bank)] if several else [])
    if out is None:
        result = arrays.empty(shape, image.dtype.newbyteorder("="), image)
    else:
        result = arrays.checked_out(out, shape, dtype, image=image)
    x = image[None] if image.ndim == 3 else image[None, :, :, None]
    if spec.padding_mode in ("reflect", "replicate"):  # of pixels, where one row has cells
        x, spec = arrays.padded(x, spec), spec.padded_spec
    in_one_row = spec.SW == 1 and all(a[0].flags.c_contiguous for a in (x[0], result))
    one = one_channel(spec, in_one_row)
    one = with_rank(one, bank[:, None], asked_for("conv2d", algorithm, backend)[0])
    choice = select("conv2d", one, algorithm, backend)
    if in_one_row:
        x = x.reshape(in_layout(one.x_shape, one.layout))
        maps = result.reshape(in_layout(one.out_shape, one.layout))
    else:
        x = x.transpose(3, 0, 1, 2)
        maps = result.reshape(spec.OH, spec.OW, one.N, one.OC).transpose(2, 3, 0, 1)
    packed = _run.pack(choice, bank.reshape(one.w_shape), once=True)
    _run.convolve(choice, one, x, packed, None, maps)
    return result


def _bank(kernels: Any, image: Array) -> tuple[Array, bool]:
    """The kernels as (K, KH, KW) in the image's dtype, and whether a list was given."""
    if isinstance(kernels, (list, tuple)) and kernels and isinstance(kernels[0], np.ndarray):
        shapes = {np.shape(k) for k in kernels}
        if len(shapes) > 1:
            raise ValueError(f"all kernels must have one shape; got {sorted(shapes)}")
        given = np.stack([arrays.array("each kernel", k) for k in kernels])
    elif isinstance(kernels, (list, tuple)):
        try:
            given = np.asarray(kernels)
        except ValueError:
            raise ValueError("kernels must be 2-D arrays of one shape") from None
        if given.dtype.kind == "f":  # Python floats have no dtype of their own
            given = given.astype(image.dtype)
    else:
        given = arrays.array("kernels", kernels)
    if given.ndim not in (2, 3):
        raise ValueError(
            f"kernels must be one 2-D array or a list of them; got shape {given.shape}"
        )
    if given.dtype.kind in "iu":
        given = given.astype(image.dtype)
    arrays.dtype_name(FLOATS, image=image, kernels=given)
    return (given, True) if given.ndim == 3 else (given[None], False)
