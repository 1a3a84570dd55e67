"""Compiled convolution, pooling and activation kernels for NumPy arrays.

>>> import numpy as np, fastconv
>>> x = np.random.rand(1, 3, 224, 224).astype(np.float32)
>>> w = np.random.rand(64, 3, 3, 3).astype(np.float32)
>>> y = fastconv.conv2d(x, w, padding="same", activation="relu")

Arrays that live on a GPU are computed there, NumPy arrays on the CPU.
Layouts are NCHW (default) or NHWC; ``fastconv.explain`` says which kernel runs and why.
"""

# The package of kernels is imported first, so that the function of the same name replaces it
# as an attribute; later imports of its modules find it in sys.modules and leave the name alone.
from . import backends as _kernels  # noqa: F401
from .config import get_num_threads, options, set_num_threads
from .environment import backends, show_config
from .errors import BackendUnavailableError
from .explanation import explain
from .ops.activations import leaky_relu, relu, relu6, sigmoid, tanh
from .ops.convolution import conv2d, conv2d_pool2d, conv_transpose2d, filter2d
from .ops.pooling import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    global_avg_pool2d,
    global_max_pool2d,
    global_sum_pool2d,
    lp_pool2d,
    max_pool2d,
    max_unpool2d,
    sum_pool2d,
)
from .plan import Conv2dPlan, plan_conv2d
from .tuner import tune
from .warm import warmup

__version__ = "0.1.0"

__all__ = [
    "BackendUnavailableError",
    "Conv2dPlan",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "backends",
    "conv2d",
    "conv2d_pool2d",
    "conv_transpose2d",
    "explain",
    "filter2d",
    "get_num_threads",
    "global_avg_pool2d",
    "global_max_pool2d",
    "global_sum_pool2d",
    "leaky_relu",
    "lp_pool2d",
    "max_pool2d",
    "max_unpool2d",
    "options",
    "plan_conv2d",
    "relu",
    "relu6",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "sum_pool2d",
    "tanh",
    "tune",
    "warmup",
]
