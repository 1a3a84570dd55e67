"""What a public function would be asked to compute, from its arguments given as shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from . import config
from .arrays import FLOATS
from .registry import INTEGERS
from .spec import (
    ACTIVATIONS,
    LAYOUTS,
    LEAKY_SLOPE,
    ActivationSpec,
    Conv2dSpec,
    ConvPool2dSpec,
    Pool2dSpec,
    Spec,
    UnpoolSpec,
    filter_spec,
    integer,
    one_channel,
    one_of,
)


def _activation(
    name: str, x_shape: Any, negative_slope: float = LEAKY_SLOPE, *, dtype: str = "float32"
) -> ActivationSpec:
    if not isinstance(x_shape, (tuple, list)):
        raise TypeError(f"the shape of x must be a tuple; got {type(x_shape).__name__}")
    size = math.prod(integer("each size of x", cells, least=0) for cells in x_shape)
    return ActivationSpec(name, size, dtype, negative_slope)


def _global(mode: str, x_shape: Any, **options: Any) -> Pool2dSpec:
    return Pool2dSpec.of_adaptive(mode, x_shape, 1, **options)


def _lp(x_shape: Any, norm_type: float, pool_size: Any, **options: Any) -> Pool2dSpec:
    return Pool2dSpec.of("lp", x_shape, pool_size, norm=norm_type, **options)


def _filter(image_shape: Any, kernels_shape: Any, **options: Any) -> Conv2dSpec:
    """A picture whose channels lie side by side, as :func:`filter2d` has it."""
    spec = filter_spec(image_shape, kernels_shape, **options)
    return one_channel(spec, in_one_row=spec.SW == 1)


# Public function → the operation of its rows, and the spec of its arguments as shapes.
_SPEC_OF: dict[str, tuple[str, Callable[..., Spec]]] = {
    "conv2d": ("conv2d", Conv2dSpec.of),
    "filter2d": ("conv2d", _filter),
    "conv_transpose2d": ("conv2d_input_grad", Conv2dSpec.of_transpose),
    "conv2d_pool2d": ("conv2d_pool2d", ConvPool2dSpec.of),
    "max_pool2d": ("pool2d", partial(Pool2dSpec.of, "max")),
    "avg_pool2d": ("pool2d", partial(Pool2dSpec.of, "avg")),
    "sum_pool2d": ("pool2d", partial(Pool2dSpec.of, "sum")),
    "lp_pool2d": ("pool2d", _lp),
    "adaptive_max_pool2d": ("pool2d", partial(Pool2dSpec.of_adaptive, "max")),
    "adaptive_avg_pool2d": ("pool2d", partial(Pool2dSpec.of_adaptive, "avg")),
    "global_max_pool2d": ("pool2d", partial(_global, "max")),
    "global_avg_pool2d": ("pool2d", partial(_global, "avg")),
    "global_sum_pool2d": ("pool2d", partial(_global, "sum")),
    "max_unpool2d": ("max_unpool2d", UnpoolSpec.of),
    **{
        name: ("activation", partial(_activation, name))
        for name in ACTIVATIONS
        if name not in ("silu", "hardswish")  # these two have no function of their own
    },
}


def described(operation: str, *shapes: Any, **options: Any) -> tuple[str, Spec]:
    """The registry's operation and the spec of a public function's arguments, see explain()."""
    op, spec_of = _SPEC_OF[one_of("operation", operation, tuple(_SPEC_OF))]
    if "layout" in options:
        one_of("layout", options["layout"], LAYOUTS)
    if "precision" in options:
        options["precision"] = config.precision_for(options["precision"])
    elif op in ("conv2d", "conv2d_input_grad", "conv2d_pool2d"):
        options["precision"] = config.precision_for("default")
    if "dtype" in options:
        options["dtype"] = _dtype(operation, options["dtype"])
    if "bias" in options:
        options["bias"] = options["bias"] is not None and options["bias"] is not False
    return op, spec_of(*shapes, **options)


def _dtype(operation: str, dtype: Any) -> str:
    """The name of a dtype that the operation accepts."""
    exact = operation in ("relu", "relu6", "max_unpool2d") or "max_pool" in operation
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    return one_of("dtype", name, (*FLOATS, *INTEGERS) if exact else FLOATS)
