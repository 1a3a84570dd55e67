"""warmup(): pay for just-in-time compilation before the first real call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from . import config, registry
from .dispatch import absent, require
from .progress import bar
from .registry import NATIVE_FLOATS, Kernel
from .spec import (
    ACTIVATIONS,
    LAYOUTS,
    POOL_MODES,
    ActivationSpec,
    Conv2dSpec,
    Pool2dSpec,
    UnpoolSpec,
    dtype_of,
    in_layout,
    one_of,
)
from .spec.arguments import boolean


def warmup(
    backend: str = "numba", dtypes: Sequence[str] = NATIVE_FLOATS, progress: bool = True
) -> None:
    """Compile the kernels that common calls of ``backend`` need, so that these do not wait.

    Those of every convolution and activation, of pooling with windows of 2×2 and 3×3 and of whole
    planes; what else a call needs is compiled when it is first made, which ``explain()`` tells.
    What is compiled is kept on disk; a second process only loads it. Backends that are
    compiled beforehand return at once.

    Parameters
    ----------
    backend : str
    dtypes : sequence of {"float32", "float64"}
    progress : bool
        Show a progress bar, if the package ``rich`` is there and stderr is a terminal.

    Raises
    ------
    BackendUnavailableError
        The backend is absent.
    ValueError, TypeError
        An unknown backend or dtype.
    """
    backend = one_of("backend", backend, registry.BACKENDS)
    dtypes = [one_of("dtype", dtype, NATIVE_FLOATS) for dtype in dtypes]
    progress = boolean("progress", progress)
    require(backend)
    # One thread and several are launched by different code.
    counts = sorted({1, min(2, config.get_num_threads())})
    rows = [row for row in registry.ROWS if row.backend == backend and absent(row) is None]
    calls = [
        partial(call, threads)
        for row in rows for dtype in dtypes for call in _calls(row, dtype) for threads in counts
    ]
    with bar("Compiling kernels", len(calls), progress) as advance:
        for call in calls:
            call()
            advance()


_Call = Callable[[int], object]
"""Takes the number of threads."""

_WINDOWS = ((2, 2, 0), (3, 2, 1), (3, 1, 1))
"""Size, stride and padding."""


def _calls(row: Kernel, dtype: str) -> Iterator[_Call]:
    """One kernel on a small case of each kind that it compiles separately."""
    module = import_module(row.module)
    x = np.ones((1, 4, 12, 12), dtype_of(dtype))
    if row.op == "conv2d":
        for oc in (1, 2, 3, 8, 16, 32, 48, 64):
            w = np.ones((oc, 4, 3, 3), x.dtype)
            conv = Conv2dSpec.of(x.shape, w.shape, padding=1, dtype=dtype, bias=True)
            if row.why_not(conv) is None:
                yield partial(_convolve, module, conv, x, w)
    elif row.op == "pool2d":
        for layout in LAYOUTS:
            for spec in _poolings(layout, dtype):
                yield partial(_pool, module, spec)
    elif row.op == "max_unpool2d":
        unpool = UnpoolSpec.of(x.shape, 2, dtype=dtype)
        out, indices = np.empty(unpool.out_shape, x.dtype), np.zeros(x.shape, np.int64)
        yield partial(module.run, unpool, x, indices, out)
    elif row.op == "activation":
        for name in ACTIVATIONS:
            yield partial(module.run, ActivationSpec(name, x.size, dtype), x, np.empty_like(x))


def _convolve(module: Any, spec: Conv2dSpec, x: Any, w: Any, threads: int) -> None:
    out, bias = np.empty(spec.out_shape, x.dtype), np.ones(spec.OC, x.dtype)
    module.run(spec, x, module.pack(spec, w, threads), bias, out, threads)


def _poolings(layout: str, dtype: str) -> Iterator[Pool2dSpec]:
    shape = in_layout((1, 4, 12, 12), layout)
    for mode in POOL_MODES:
        for size, stride, padding in _WINDOWS:
            for indices in (False, True) if mode == "max" else (False,):
                yield Pool2dSpec.of(
                    mode, shape, size, stride=stride, padding=padding, return_indices=indices,
                    dtype=dtype, layout=layout,
                )
        yield Pool2dSpec.of_adaptive(mode, shape, 1, dtype=dtype, layout=layout)


def _pool(module: Any, spec: Pool2dSpec, threads: int) -> None:
    def array(shape: tuple[int, int, int, int], dtype: Any) -> Any:
        stored = np.ones(in_layout(shape, spec.layout), dtype)
        return stored if spec.layout == "NCHW" else stored.transpose(0, 3, 1, 2)

    indices = array(spec.out_shape, np.int64) if spec.return_indices else None
    x, out = (array(shape, dtype_of(spec.dtype)) for shape in (spec.x_shape, spec.out_shape))
    module.run(spec, x, out, indices, threads)
