"""warmup(): pay for just-in-time compilation before the first real call."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import numpy as np

from . import config, registry
from .dispatch import require
from .registry import NATIVE_FLOATS, Kernel
from .spec import (
    ACTIVATIONS,
    POOL_MODES,
    ActivationSpec,
    Conv2dSpec,
    Pool2dSpec,
    UnpoolSpec,
    dtype_of,
    one_of,
)


def warmup(backend: str = "numba", dtypes: Sequence[str] = NATIVE_FLOATS) -> None:
    """Compile every kernel of ``backend``, so that no later call waits for it.

    What is compiled is kept on disk; a second process only loads it. Backends that are
    compiled beforehand return at once.

    Parameters
    ----------
    backend : str
    dtypes : sequence of {"float32", "float64"}

    Raises
    ------
    BackendUnavailableError
        The backend is absent.
    ValueError, TypeError
        An unknown backend or dtype.
    """
    backend = one_of("backend", backend, registry.BACKENDS)
    dtypes = [one_of("dtype", dtype, NATIVE_FLOATS) for dtype in dtypes]
    require(backend)
    for row in registry.ROWS:
        if row.backend == backend:
            for dtype in dtypes:
                # One thread and several are launched by different code.
                for threads in sorted({1, min(2, config.get_num_threads())}):
                    _run_once(row, dtype, threads)


def _run_once(row: Kernel, dtype: str, threads: int) -> None:
    """Run one kernel on a small case of each kind that it compiles separately."""
    module = import_module(row.module)
    x = np.ones((1, 4, 12, 12), dtype_of(dtype))
    if row.op == "conv2d":
        for oc in (1, 2, 3, 8, 16, 32, 48, 64):
            w = np.ones((oc, 4, 3, 3), x.dtype)
            conv = Conv2dSpec.of(x.shape, w.shape, padding=1, dtype=dtype, bias=True)
            out = np.empty(conv.out_shape, x.dtype)
            bias = np.ones(oc, x.dtype)
            module.run(conv, x, module.pack(conv, w, threads), bias, out, threads)
    elif row.op == "pool2d":
        for mode in POOL_MODES:
            pool = Pool2dSpec.of(mode, x.shape, 2, return_indices=mode == "max", dtype=dtype)
            out = np.empty(pool.out_shape, x.dtype)
            for indices in (None, np.empty(pool.out_shape, np.int64)):
                module.run(pool, x, out, indices if mode == "max" else None, threads)
    elif row.op == "max_unpool2d":
        unpool = UnpoolSpec.of(x.shape, 2, dtype=dtype)
        out = np.empty(unpool.out_shape, x.dtype)
        module.run(unpool, x, np.zeros(x.shape, np.int64), out, threads)
    elif row.op == "activation":
        for name in ACTIVATIONS:
            module.run(ActivationSpec(name, x.size, dtype), x, np.empty_like(x), threads)
