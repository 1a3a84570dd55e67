"""Bad and odd calls of every public function: the right error, saying why, or the right result.

A message must name what was given and the rule or the way out; each row states a part of it.
Whatever happens, the arrays that were given stay as they were.
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastconv as fc

F32 = np.float32
X = (np.arange(2 * 4 * 6 * 7) % 11).astype(F32).reshape(2, 4, 6, 7)  # sums of these are exact
W = np.ones((6, 4, 3, 3), F32)
WT = np.ones((4, 6, 3, 3), F32)
BIAS = np.zeros(6, F32)
IMAGE = X[0, 0]
KERNEL = W[0, 0]
VALUES, INDICES = X[:, :, :3, :3], np.zeros((2, 4, 3, 3), np.int64)
INTERFACE = {"shape": (1,), "typestr": "<f4", "data": (0, False), "version": 3}
DEVICE = type("DeviceArray", (), {"__cuda_array_interface__": INTERFACE})()
BROKEN = type("DeviceArray", (), {"__cuda_array_interface__": {"shape": (1,), "version": 3}})()
NESTED = X.tolist()
MASKED = np.ma.masked_less(X, 1)
FLOATS = "accepted are float16, bfloat16, float32, float64"
HUGE = 10**8
"""A padding whose result is larger than any address space."""

Row = tuple[str, tuple[Any, ...], dict[str, Any], type[BaseException], str]


def bad(
    function: str, *args: Any, error: type[BaseException] = ValueError, says: str, **kwargs: Any
) -> Row:
    return function, args, kwargs, error, says


NO_ARRAYS: tuple[tuple[Any, type[Exception], str], ...] = (
    (None, TypeError, "must be a NumPy array; got builtins.NoneType"),
    (NESTED, TypeError, "must be a NumPy array; got builtins.list (convert it with numpy.asarray)"),
    ("picture.png", TypeError, "must be a NumPy array; got builtins.str"),
    (3.5, TypeError, "must be a NumPy array; got builtins.float"),
    (b"\0" * 8, TypeError, "must be a NumPy array; got builtins.bytes"),
    (memoryview(b"\0" * 8), TypeError, "must be a NumPy array"),
    (MASKED, TypeError, "is a masked array, whose mask would be lost; fill it first"),
    (BROKEN, TypeError, "has a broken __cuda_array_interface__"),
)
NO_FLOATS: tuple[Any, ...] = (
    X.astype(np.complex64), X.astype(bool), X.astype(object), X.astype("U4"), X.astype("S4"),
    X.astype("m8[s]"), X.astype(np.longdouble), X.astype([("a", "f4")]),
)
NO_INTEGERS: tuple[tuple[Any, type[Exception], str], ...] = (
    (0, ValueError, "must be at least 1; got 0"),
    (-2, ValueError, "must be at least 1; got -2"),
    (1.0, TypeError, "must be an integer; got float"),
    (np.float32(2), TypeError, "must be an integer; got float32"),
    ("2", TypeError, "must be an integer; got str"),
    (True, TypeError, "must be an integer, not a boolean"),
    (decimal.Decimal(2), TypeError, "must be an integer; got Decimal"),
    (1j, TypeError, "must be an integer; got complex"),
    (b"2", TypeError, "must be an integer; got bytes"),
)
NO_PAIRS: tuple[tuple[Any, type[Exception], str], ...] = (
    ((), ValueError, "must be an int or a pair (height, width); got ()"),
    ((1,), ValueError, "must be an int or a pair (height, width); got (1,)"),
    ((1, 1, 1), ValueError, "must be an int or a pair (height, width); got (1, 1, 1)"),
    ((1, 0), ValueError, "must be at least 1; got 0"),
    ((1, None), TypeError, "must be an integer; got NoneType"),
    ({"height": 1}, TypeError, "must be an integer; got dict"),
    (range(2), TypeError, "must be an integer; got range"),
)

ARRAYS = (
    *(bad("conv2d", x, W, error=e, says=f"x {m}") for x, e, m in NO_ARRAYS),
    *(bad("conv2d", X, w, error=e, says=f"w {m}") for w, e, m in NO_ARRAYS[:3]),
    *(bad("conv2d", X, W, b, error=e, says=f"bias {m}") for b, e, m in NO_ARRAYS[1:4]),
    *(bad("conv_transpose2d", x, WT, error=e, says=f"x {m}") for x, e, m in NO_ARRAYS),
    *(bad("conv2d_pool2d", x, W, error=e, says=f"x {m}") for x, e, m in NO_ARRAYS),
    *(bad("max_pool2d", x, 2, error=e, says=f"x {m}") for x, e, m in NO_ARRAYS),
    *(bad("global_avg_pool2d", x, error=e, says=f"x {m}") for x, e, m in NO_ARRAYS[:2]),
    *(bad("relu", x, error=e, says=f"x {m}") for x, e, m in NO_ARRAYS),
    *(bad("filter2d", x, KERNEL, error=e, says=f"image {m}") for x, e, m in NO_ARRAYS),
    *(bad("plan_conv2d", w, error=e, says=f"w {m}") for w, e, m in NO_ARRAYS),
    bad("max_unpool2d", VALUES, INDICES.tolist(), 2, error=TypeError, says="indices must be a"),
    bad("max_unpool2d", None, INDICES, 2, error=TypeError, says="x must be a NumPy array"),
)

DTYPES = (
    *(bad("conv2d", x, W, error=TypeError, says=FLOATS) for x in NO_FLOATS),
    bad("conv2d", X.astype(np.int32), W.astype(np.int32), error=TypeError, says=FLOATS),
    bad("conv2d", X.astype(np.uint8), W, error=TypeError, says=f"x has dtype uint8; {FLOATS}"),
    bad("conv2d", X, W.astype(np.int64), error=TypeError, says=f"w has dtype int64; {FLOATS}"),
    bad("conv2d", X, W.astype(np.float64), error=TypeError,
        says="x has dtype float32 but w has float64; they must be equal"),
    bad("conv2d", X.astype(np.float16), W, error=TypeError, says="float16 but w has float32"),
    bad("conv2d", X, W, BIAS.astype(np.float64), error=TypeError, says="but bias has float64"),
    *(bad("relu", x, error=TypeError, says="x has dtype") for x in NO_FLOATS),
    *(bad("relu6", x, error=TypeError, says="x has dtype") for x in NO_FLOATS[:3]),
    *(
        bad(name, X.astype(np.int32), *size, error=TypeError, says=f"x has dtype int32; {FLOATS}")
        for name, size in (
            ("avg_pool2d", (2,)), ("sum_pool2d", (2,)), ("lp_pool2d", (2, 2)),
            ("adaptive_avg_pool2d", (2,)), ("global_avg_pool2d", ()), ("global_sum_pool2d", ()),
            ("sigmoid", ()), ("tanh", ()), ("leaky_relu", ()),
        )
    ),
    bad("max_pool2d", X.astype(bool), 2, error=TypeError, says="x has dtype bool; accepted are"),
    bad("max_pool2d", X.astype(np.complex128), 2, error=TypeError, says="complex128"),
    bad("global_max_pool2d", X.astype(object), error=TypeError, says="object"),
    bad("conv_transpose2d", X, WT.astype(np.float16), error=TypeError, says="but w has float16"),
    bad("conv2d_pool2d", X.astype(np.float16), W, error=TypeError, says="but w has float32"),
    bad("filter2d", IMAGE.astype(np.uint8), KERNEL, error=TypeError, says="image has dtype uint8"),
    bad("filter2d", IMAGE, KERNEL.astype(np.float64), error=TypeError, says="float64"),
    bad("filter2d", IMAGE, KERNEL * 1j, error=TypeError, says="complex64"),
    bad("max_unpool2d", VALUES, INDICES.astype(np.int32), 2, error=TypeError,
        says="indices has dtype int32; accepted are int64"),
    bad("max_unpool2d", VALUES, VALUES, 2, error=TypeError, says="indices has dtype float32"),
    bad("plan_conv2d", W.astype(np.int8), error=TypeError, says=FLOATS),
)

SHAPES = (
    bad("conv2d", X[0], W, says="x must have the 4 axes NCHW; got shape (4, 6, 7); one image "
        "needs a batch axis, x[None]"),
    bad("conv2d", X[None], W, says="x must have the 4 axes NCHW; got shape (1, 2, 4, 6, 7)"),
    bad("conv2d", X[0, 0, 0, 0, ...], W, says="x must have the 4 axes"),
    bad("conv2d", X, W[0], says="w must have the 4 axes (OC, IC/groups, KH, KW)"),
    bad("conv2d", X, W[:, :3], says="x (2, 4, 6, 7) has 4 channels but w (6, 3, 3, 3) with "
        "groups=1 takes 3×1 = 3"),
    bad("conv2d", X, W, layout="NHWC", says="x (2, 4, 6, 7) has 7 channels but w (6, 4, 3, 3)"),
    bad("conv2d", X, W[:0], says="w has an empty axis: shape (0, 4, 3, 3)"),
    bad("conv2d", X, W[:, :0], says="w has an empty axis"),
    bad("conv2d", X, W[..., :0], says="w has an empty axis"),
    bad("conv2d", X[:, :0], W, says="x has no channels: shape (2, 0, 6, 7)"),
    bad("conv2d", X[:, :, :0], W, says="x has an empty picture (0×7)"),
    bad("conv2d", X[..., :0], W, padding=5, says="x has an empty picture (6×0)"),
    bad("conv2d", X, W, BIAS[:5], says="bias must have shape (6,), one value for each output "
        "channel; got (5,)"),
    bad("conv2d", X, W, BIAS[None], says="bias must have shape (6,)"),
    bad("conv2d", X, W, BIAS[0, ...], says="bias must have shape (6,)"),
    bad("conv2d", X, np.ones((6, 4, 7, 3), F32), says="the kernel is larger than the padded "
        "input: height 7 (size 7, dilation 1) > 0 + 6 + 0"),
    bad("conv2d", X, W, dilation=4, says="height 9 (size 3, dilation 4) > 0 + 6 + 0"),
    bad("conv2d", X, np.ones((6, 4, 1, 10), F32), padding=1, says="width 10"),
    bad("conv_transpose2d", X, W, says="x (2, 4, 6, 7) has 4 channels but w (6, 4, 3, 3) takes 6"),
    bad("conv_transpose2d", X, WT, BIAS[:4], says="bias must have shape (6,)"),
    bad("conv_transpose2d", X[0], WT, says="4 axes NCHW"),
    bad("conv_transpose2d", X, WT, padding=9, says="result of this transposed convolution would "
        "be empty"),
    bad("conv_transpose2d", X[:, :, :0], WT, says="x has an empty picture"),
    bad("conv2d_pool2d", X, W[:, :1], says="takes 1×1 = 1"),
    bad("conv2d_pool2d", X, W, pool_size=9, says="pool window is larger than the padded input"),
    *(
        bad(name, x, *size, says=says)
        for name, size in (
            ("max_pool2d", (2,)), ("avg_pool2d", (2,)), ("adaptive_max_pool2d", (2,)),
            ("global_sum_pool2d", ()),
        )
        for x, says in (
            (X[0], "x must have the 4 axes NCHW; got shape (4, 6, 7)"),
            (X[:, :0], "x has an empty axis: shape (2, 0, 6, 7); only the batch may be empty"),
            (X[:, :, :0], "x has an empty axis"),
        )
    ),
    bad("max_pool2d", X, 7, says="the pool window is larger than the padded input: height 7"),
    bad("lp_pool2d", X, 2, (1, 8), says="width 8"),
    bad("max_unpool2d", VALUES, INDICES[:1], 2, says="indices have shape (1, 4, 3, 3) but x has "
        "shape (2, 4, 3, 3)"),
    bad("max_unpool2d", VALUES, INDICES + 36, 2, says="indices must lie in 0 … 35, the cells of a "
        "6×6 plane; got 36"),
    bad("max_unpool2d", VALUES, INDICES - 1, 2, says="indices must lie in 0 … 35"),
    bad("max_unpool2d", VALUES, INDICES, 2, output_size=(9, 6), says="output_size height must lie "
        "between 4 and 8, both excluded; got 9"),
    bad("max_unpool2d", VALUES, INDICES, 1, padding=2, says="the result would be empty"),
    bad("filter2d", IMAGE[0], KERNEL, says="image must have the axes (H, W) or (H, W, C)"),
    bad("filter2d", X, KERNEL, says="image must have the axes (H, W) or (H, W, C)"),
    bad("filter2d", IMAGE, KERNEL[0], says="kernels must be one 2-D array or a list of them; got "
        "shape (3,)"),
    bad("filter2d", IMAGE, W, says="got shape (6, 4, 3, 3)"),
    bad("filter2d", IMAGE, [KERNEL, KERNEL[:2]], says="all kernels must have one shape"),
    bad("filter2d", IMAGE, [[1, 2], [3]], says="kernels must be 2-D arrays of one shape"),
    bad("filter2d", IMAGE, [], says="kernels must be"),
    bad("filter2d", IMAGE, KERNEL[:0], says="empty axis"),
    bad("filter2d", IMAGE, W[:0, 0], says="empty axis"),
    bad("filter2d", IMAGE[:0], KERNEL, says="empty"),
    bad("filter2d", X[0, :, :, :0], KERNEL, says="channels"),
    bad("filter2d", IMAGE, np.ones((7, 3), F32), padding="valid", says="kernel is larger"),
    bad("plan_conv2d", W[0], says="w must have the 4 axes"),
    bad("plan_conv2d", W, BIAS[:2], says="bias must have shape (6,)"),
    bad("plan_conv2d", W, x_shape=(4, 6, 7), says="4 axes"),
    bad("plan_conv2d", W, x_shape=(2, 3, 6, 7), says="has 3 channels"),
    bad("plan_conv2d", W, x_shape="2467", error=TypeError, says="must be a tuple"),
    bad("explain", "conv2d", (2, 4, 6, 7), (6, 3, 3, 3), says="has 4 channels"),
    bad("explain", "conv2d", (2, 4, 6, -7), (6, 4, 3, 3), says="at least 0; got -7"),
    bad("explain", "max_pool2d", (2, 4, 6), 2, says="4 axes"),
    bad("explain", "relu", (2, -4), says="at least 0"),
)

NUMBERS = (
    *(bad("conv2d", X, W, stride=s, error=e, says=m) for s, e, m in NO_INTEGERS + NO_PAIRS),
    *(bad("conv2d", X, W, dilation=d, error=e, says=m) for d, e, m in NO_INTEGERS[:4]),
    *(bad("conv2d", X, W, groups=g, error=e, says=m) for g, e, m in NO_INTEGERS),
    bad("conv2d", X, W, groups=(1, 1), error=TypeError, says="groups must be an integer"),
    bad("conv2d", X, W, groups=None, error=TypeError, says="groups must be an integer"),
    bad("conv2d", X, W, groups=3, says="groups=3 does not divide the 4 channels of x (2, 4, 6, 7)"
        "; choose groups that divide both 4 and 6"),
    bad("conv2d", X, W[:, :1], groups=4, says="groups=4 does not divide the 6 output channels"),
    bad("conv2d", X, W, groups=2, says="w must have shape (OC, 2, KH, KW)"),
    bad("conv_transpose2d", X, WT, groups=3, says="groups=3 does not divide the 4 channels"),
    *(
        bad("conv2d", X, W, padding=p, error=e, says=m)
        for p, e, m in (
            (-1, ValueError, "padding must be at least 0; got -1"),
            ((1, -1), ValueError, "padding must be at least 0; got -1"),
            (((0, 0), (-3, 0)), ValueError, "padding must be at least 0; got -3"),
            ((1, 1, 1, 1), ValueError, "padding must be an int or a pair"),
            (((1, 1), 1), ValueError, "padding must be an int, (PH, PW), ((PT, PB), (PL, PR)) or"),
            (((1, 1, 1), (1, 1)), ValueError, "((PT, PB), (PL, PR))"),
            ("SAME", ValueError, "unknown padding 'SAME'; valid are valid, same, same_lower, full"),
            ("", ValueError, "unknown padding ''"),
            (0.5, TypeError, "padding must be an integer; got float"),
            (None, TypeError, "padding must be an integer; got NoneType"),
            (True, TypeError, "not a boolean"),
            ((1, "1"), TypeError, "padding must be an integer; got str"),
        )
    ),
    bad("conv2d", X, W, padding=6, padding_mode="reflect", says="'reflect' needs padding < height; "
        "got 6 for height 6"),
    bad("conv2d", X, W, padding=7, padding_mode="circular", says="'circular' needs padding ≤ "
        "height; got 7 for height 6"),
    bad("conv_transpose2d", X, WT, output_padding=1, says="output_padding must be smaller than "
        "stride or dilation; got 1"),
    bad("conv_transpose2d", X, WT, stride=2, output_padding=-1, says="output_padding must be at "
        "least 0"),
    bad("conv_transpose2d", X, WT, stride=2, output_padding=0.0, error=TypeError, says="integer"),
    bad("conv_transpose2d", X, WT, stride=2, padding="same", output_padding=1,
        says="cannot be combined"),
    bad("conv_transpose2d", X, WT, stride=0, says="stride must be at least 1"),
    *(bad("max_pool2d", X, k, error=e, says=f"pool_size {m}") for k, e, m in NO_INTEGERS),
    bad("max_pool2d", X, None, error=TypeError, says="pool_size must be an integer"),
    bad("avg_pool2d", X, (2, 2, 2), says="pool_size must be an int or a pair"),
    bad("avg_pool2d", X, 2, stride=0, says="stride must be at least 1"),
    bad("sum_pool2d", X, 2, stride=-1, says="stride must be at least 1"),
    bad("max_pool2d", X, 2, padding=2, says="pool padding may be at most half of the window"),
    bad("max_pool2d", X, 3, padding=((2, 2), (0, 0)), says="at most half of the window"),
    bad("avg_pool2d", X, 2, padding=-1, says="padding must be at least 0"),
    bad("max_pool2d", X, 2, dilation=0, says="dilation must be at least 1"),
    bad("max_pool2d", X, 2, ceil_mode="yes", error=TypeError, says="ceil_mode"),
    bad("max_pool2d", X, 2, return_indices="no", error=TypeError, says="return_indices"),
    bad("avg_pool2d", X, 2, count_include_pad="no", error=TypeError, says="count_include_pad"),
    bad("avg_pool2d", X, 2, divisor_override=0, says="divisor_override must be at least 1"),
    bad("avg_pool2d", X, 2, divisor_override=1.5, error=TypeError, says="divisor_override"),
    *(
        bad("lp_pool2d", X, p, 2, error=e, says=m)
        for p, e, m in (
            (0, ValueError, "norm_type must be positive and finite; got 0"),
            (-2.0, ValueError, "norm_type must be positive"), (np.nan, ValueError, "got nan"),
            (np.inf, ValueError, "got inf"), ("2", TypeError, "norm_type must be a number"),
            (None, TypeError, "got NoneType"), (True, TypeError, "norm_type must be a number"),
            (2j, TypeError, "norm_type must be a number"),
        )
    ),
    *(
        bad("adaptive_avg_pool2d", X, size, error=e, says=f"output_size {m}")
        for size, e, m in (*NO_INTEGERS[:6], *NO_PAIRS[:4])
    ),
    bad("max_unpool2d", VALUES, INDICES, 0, says="pool_size must be at least 1"),
    bad("max_unpool2d", VALUES, INDICES, 2, stride=0, says="stride must be at least 1"),
    bad("max_unpool2d", VALUES, INDICES, 2, padding=-1, says="padding must be at least 0"),
    bad("max_unpool2d", VALUES, INDICES, 2, output_size="6", error=TypeError, says="output_size"),
    bad("leaky_relu", X, "steep", error=TypeError, says="negative_slope must be a number; got str"),
    bad("leaky_relu", X, None, error=TypeError, says="negative_slope must be a number"),
    bad("leaky_relu", X, 1j, error=TypeError, says="negative_slope must be a number"),
    bad("leaky_relu", X, [0.1], error=TypeError, says="negative_slope must be a number"),
    bad("conv2d_pool2d", X, W, pool_size=0, says="pool_size must be at least 1"),
    bad("conv2d_pool2d", X, W, pool_stride=0, says="stride must be at least 1"),
    bad("conv2d_pool2d", X, W, pool_padding=5, says="at most half"),
    bad("filter2d", IMAGE, KERNEL, stride=0, says="stride must be at least 1"),
    bad("plan_conv2d", W, stride=0, says="stride must be at least 1"),
    bad("plan_conv2d", W, groups=4, says="groups=4 does not divide the 6 output channels"),
    bad("set_num_threads", 0, says="number of threads must be at least 1; got 0"),
    bad("set_num_threads", 1.0, error=TypeError, says="number of threads must be an integer"),
    bad("set_num_threads", True, error=TypeError, says="not a boolean"),
    bad("set_num_threads", None, error=TypeError, says="integer"),
    bad("options", threads=0, says="threads must be at least 1"),
    bad("options", threads="2", error=TypeError, says="threads must be an integer"),
)

WORDS = (
    bad("conv2d", X, W, layout="nchw", says="unknown layout 'nchw'; valid are NCHW, NHWC"),
    bad("conv2d", X, W, layout="CHWN", says="valid are NCHW, NHWC"),
    bad("conv2d", X, W, layout=None, error=TypeError, says="layout must be one of NCHW, NHWC"),
    bad("max_pool2d", X, 2, layout="HWC", says="unknown layout 'HWC'"),
    bad("global_max_pool2d", X, layout=4, error=TypeError, says="layout must be one of"),
    bad("conv2d", X, W, padding_mode="mirror", says="valid are zeros, reflect, replicate"),
    bad("conv2d", X, W, padding_mode=0, error=TypeError, says="padding_mode must be one of"),
    bad("conv2d", X, W, activation="gelu", says="unknown activation 'gelu'; valid are relu, relu6"),
    bad("conv2d", X, W, activation=np.tanh, error=TypeError, says="activation must be one of"),
    bad("conv_transpose2d", X, WT, activation="softmax", says="unknown activation 'softmax'"),
    bad("conv2d", X, W, precision="high", says="valid are strict, default, fast"),
    bad("conv2d", X, W, precision=1e-6, error=TypeError, says="precision must be one of"),
    bad("conv2d", X, W, algorithm="winograd9", says="valid are auto, direct, im2col"),
    bad("conv2d", X, W, algorithm="", says="unknown algorithm ''"),
    bad("conv2d", X, W, algorithm=None, error=TypeError, says="algorithm must be one of"),
    bad("conv_transpose2d", X, WT, algorithm="fft", says="unknown algorithm 'fft'"),
    bad("conv2d", X, W, backend="gpu", says="valid are auto, cython, numba, numpy, reference"),
    bad("conv2d", X, W, backend=3, error=TypeError, says="backend must be one of"),
    bad("relu", X, backend="tpu", says="unknown backend 'tpu'"),
    bad("max_pool2d", X, 2, backend="torch", says="unknown backend 'torch'"),
    *(
        bad(name, *args, backend="cuda", error=fc.BackendUnavailableError, says="cuda")
        for name, args in (
            ("conv2d", (X, W)), ("conv_transpose2d", (X, WT)), ("relu", (X,)),
            ("max_pool2d", (X, 2)), ("max_unpool2d", (VALUES, INDICES, 2)),
            ("filter2d", (IMAGE, KERNEL)), ("conv2d_pool2d", (X, W)),
            ("global_avg_pool2d", (X,)), ("adaptive_max_pool2d", (X, 2)),
            ("plan_conv2d", (W, BIAS)),
        )
    ),
    bad("conv2d", X, W, algorithm="fft", precision="strict", says="admits only direct summation"),
    bad("conv2d", X, W, algorithm="fft", backend="reference", says="no such kernel"),
    bad("conv2d_pool2d", X, W, pool="median", says="unknown pool 'median'; valid are max, avg"),
    bad("conv2d_pool2d", X, W, pool=max, error=TypeError, says="pool must be one of"),
    bad("explain", "conv3d", says="unknown operation 'conv3d'; valid are conv2d"),
    bad("explain", None, error=TypeError, says="operation must be one of"),
    bad("explain", "conv2d", (1, 1, 4, 4), (1, 1, 3, 3), dtype="int8", says="int8"),
    bad("tune", "conv3d", says="unknown operation 'conv3d'; valid are conv2d"),
    bad("tune", 3, error=TypeError, says="tune takes the name of a function"),
    bad("tune", "conv2d", (1, 3, 4, 4), (1, 2, 3, 3), progress=False, says="channels"),
    bad("tune", "conv2d", (1, 1, 4, 4), (1, 1, 3, 3), seconds=0, says="seconds"),
    bad("options", precision="best", says="valid are strict, default, fast"),
    bad("options", backend=1, error=TypeError, says="backend must be"),
    bad("warmup", "gcc", says="unknown backend 'gcc'"),
    bad("warmup", "numpy", dtypes=["int8"], says="unknown dtype 'int8'"),
    bad("warmup", "cuda", error=fc.BackendUnavailableError, says="cuda"),
    bad("conv2d", X, W, strides=2, error=TypeError, says="unexpected keyword argument 'strides'"),
    bad("conv2d", X, W, BIAS, 2, error=TypeError, says="positional arguments"),
    bad("conv2d", X, error=TypeError, says="missing 1 required positional argument: 'w'"),
    bad("max_pool2d", X, error=TypeError, says="missing 1 required positional argument"),
    bad("relu", X, X, error=TypeError, says="positional argument"),
)

MEMORY = (
    bad("conv2d", X, W, padding=HUGE, error=MemoryError, says=""),
    bad("conv2d", X, W, padding=2**70, error=MemoryError, says="too large"),
    bad("conv2d", X, W, padding=HUGE, padding_mode="replicate", error=MemoryError, says=""),
    bad("conv_transpose2d", X, WT, stride=HUGE, error=MemoryError, says=""),
    bad("conv2d_pool2d", X, W, padding=HUGE, error=MemoryError, says=""),
    bad("adaptive_avg_pool2d", X, HUGE, error=MemoryError, says=""),
    bad("max_unpool2d", VALUES, INDICES, HUGE, error=MemoryError, says=""),
    bad("filter2d", IMAGE, KERNEL, padding=HUGE, error=MemoryError, says=""),
    bad("relu", np.broadcast_to(F32(1), (HUGE, HUGE)), error=MemoryError, says=""),
)

ROWS = ARRAYS + DTYPES + SHAPES + NUMBERS + WORDS + MEMORY


def _label(row: Row) -> str:
    function, _, _, error, says = row
    return f"{function}-{error.__name__}-{re.sub('[^0-9a-zA-Z_=]+', '_', says)[:40]}"


@pytest.mark.usefixtures("free_choice")
@pytest.mark.parametrize("row", ROWS, ids=_label)
def test_bad_call(row: Row) -> None:
    function, args, kwargs, error, says = row
    if error is fc.BackendUnavailableError and fc.backends()["cuda"] is None:
        pytest.skip("there is a GPU here, or its simulator")
    given = [a for a in args if isinstance(a, np.ndarray) and a.nbytes < 1e6]
    before = [a.tobytes() for a in given]
    with pytest.raises(error) as caught:
        getattr(fc, function)(*args, **kwargs)
    assert type(caught.value) is error or error is MemoryError, repr(caught.value)
    assert says in str(caught.value)
    assert [a.tobytes() for a in given] == before


def test_there_are_enough_of_them() -> None:
    assert len(ROWS) >= 150
    tried = {function for function, *_ in ROWS}
    takes_arguments = {n for n in fc.__all__ if callable(getattr(fc, n)) and n[0].islower()} - {
        "backends", "get_num_threads", "show_config",
    }
    assert tried == takes_arguments


def test_plan_refuses_what_conv2d_refuses() -> None:
    plan = fc.plan_conv2d(W, BIAS)
    for x, error, says in (
        (NESTED, TypeError, "x must be a NumPy array"),
        (MASKED, TypeError, "masked array"),
        (X.astype(np.float64), TypeError, "w has dtype float32 but x has float64"),
        (X[0], ValueError, "4 axes"),
        (X[:, :2], ValueError, "has 2 channels but w"),
        (X[:, :, :2], ValueError, "kernel is larger than the padded input"),
    ):
        with pytest.raises(error, match=re.escape(says)):
            plan(x)
    with pytest.raises(RuntimeError, match="seen no input shape"):
        fc.plan_conv2d(W).explain()
    np.testing.assert_array_equal(plan(X), fc.conv2d(X, W, BIAS))


# ---------------------------------------------------------------- odd, but defined


def odd(call: Callable[[], Any], wanted: Any) -> tuple[Callable[[], Any], Any]:
    return call, wanted


NAN, INF = np.nan, np.inf
ONE = np.ones((1, 1, 1, 1), F32)
LINE = np.array([[[[1, NAN, 3, INF, 5, 6]]]], F32)
ODD = {
    "empty_batch": odd(lambda: fc.conv2d(X[:0], W), np.empty((0, 6, 4, 5), F32)),
    "empty_batch_nhwc": odd(
        lambda: fc.global_max_pool2d(X[:0], layout="NHWC"), np.empty((0, 1, 1, 7), F32)
    ),
    "empty_activation": odd(lambda: fc.relu(X[:, :0]), np.empty((2, 0, 6, 7), F32)),
    "list_for_a_pair": odd(lambda: fc.conv2d(X, W, stride=[2, 2]), fc.conv2d(X, W, stride=2)),
    "numpy_integer": odd(lambda: fc.conv2d(X, W, stride=np.int8(2)), fc.conv2d(X, W, stride=2)),
    "0d_integer_array": odd(lambda: fc.max_pool2d(X, np.array(2)), fc.max_pool2d(X, 2)),
    "stride_beyond_the_picture": odd(
        lambda: fc.conv2d(X, W, stride=2**40), fc.conv2d(X, W)[:, :, :1, :1]
    ),
    "dilation_of_one_tap": odd(
        lambda: fc.conv2d(X, W[:, :, :1, :1], dilation=2**40), fc.conv2d(X, W[:, :, :1, :1])
    ),
    "only_padding_in_reach": odd(
        lambda: fc.conv2d(ONE, ONE, padding=2)[0, 0, :, 2], np.array([0, 0, 1, 0, 0], F32)
    ),
    "nan_stays_in_its_window": odd(
        lambda: fc.conv2d(LINE, np.ones((1, 1, 1, 2), F32), precision="strict")[0, 0, 0],
        np.array([NAN, NAN, INF, INF, 11], F32),
    ),
    "inf_minus_inf": odd(
        lambda: fc.conv2d(LINE[..., 3:4], ONE, np.array([-INF], F32)).ravel(),
        np.array([NAN], F32),
    ),
    "nan_bias": odd(
        lambda: fc.conv2d(ONE, ONE, np.array([NAN], F32)).ravel(), np.array([NAN], F32)
    ),
    "nan_through_fused_relu": odd(
        lambda: fc.conv2d(LINE, ONE, activation="relu", precision="strict"), LINE
    ),
    "nan_wins_the_maximum": odd(
        lambda: fc.max_pool2d(LINE, (1, 2))[0, 0, 0], np.array([NAN, INF, 6], F32)
    ),
    "nan_mean": odd(lambda: fc.avg_pool2d(LINE, (1, 2))[0, 0, 0], np.array([NAN, INF, 5.5], F32)),
    "overflow_to_infinity": odd(
        lambda: fc.sum_pool2d(np.full((1, 1, 1, 2), 3e38, F32), (1, 2)).ravel(),
        np.array([INF], F32),
    ),
    "half_overflow_to_infinity": odd(
        lambda: fc.sum_pool2d(np.full((1, 1, 1, 2), 6e4, np.float16), (1, 2)).ravel(),
        np.array([INF], np.float16),
    ),
    "half_sum_beyond_half": odd(  # 4 · 60000 is no float16, but its mean is
        lambda: fc.avg_pool2d(np.full((1, 1, 2, 2), 6e4, np.float16), 2).ravel(),
        np.array([6e4], np.float16),
    ),
    "numpy_scalar": odd(lambda: fc.relu(F32(-1)), np.array(0, F32)),
    "0d_array": odd(lambda: fc.relu(np.array(-1.5)), np.array(0.0)),
    "integer_relu": odd(lambda: fc.relu(np.array([-3, 4], np.int16)), np.array([0, 4], np.int16)),
    "integer_kernel": odd(
        lambda: fc.filter2d(IMAGE, [[0, 0, 0], [0, 1, 0], [0, 0, 0]]), np.ascontiguousarray(IMAGE)
    ),
    "negative_zero_slope": odd(
        lambda: fc.leaky_relu(np.array([-2.0, 3.0]), -0.5), np.array([1.0, 3.0])
    ),
    "adaptive_pool_enlarges": odd(
        lambda: fc.adaptive_avg_pool2d(ONE, (2, 3)), np.ones((1, 1, 2, 3), F32)
    ),
    "threads_beyond_the_machine": odd(lambda: _with_threads(64), fc.conv2d(X, W)),
}


def _with_threads(n: int) -> Any:
    with fc.options(threads=n):
        return fc.conv2d(X, W)


@pytest.mark.usefixtures("free_choice")
@pytest.mark.parametrize("name", ODD)
def test_odd_call(name: str) -> None:
    call, wanted = ODD[name]
    got = call()
    np.testing.assert_array_equal(got, wanted)
    if isinstance(wanted, np.ndarray):
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
