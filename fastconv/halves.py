"""float16 and bfloat16 widened to float32 and rounded back, by the compiled wing if it is there.

Only whole arrays that are dense, in any memory order, go there; NumPy converts the others.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from .spec import HALF

Array = npt.NDArray[Any]

FEWEST = 1024
"""Numbers that NumPy converts as fast."""


@cache
def _compiled() -> ModuleType | None:
    try:
        return import_module("fastconv.backends.cython.halves")
    except ImportError:
        return None


def widen(x: Array, out: Array, threads: int) -> None:
    """``out``, of any dtype, = ``x``, of any dtype: exact if that is the wider."""
    if (convert := _compiled()) is None or not _alike(x, out):
        out[...] = x
        return
    convert.widen(x, out, x.dtype.name == "bfloat16", threads)


def narrow(x: Array, out: Array, threads: int) -> None:
    """``out``, of any dtype, = ``x``, of any dtype, rounded once to nearest."""
    if (convert := _compiled()) is None or not _alike(out, x):
        with np.errstate(over="ignore", invalid="ignore"):
            out[...] = x
        return
    convert.narrow(x, out, out.dtype.name == "bfloat16", threads)


def _alike(half: Array, single: Array) -> bool:
    """Whether one loop over memory meets the same cells in both: all of a half type's."""
    return (
        half.size >= FEWEST and half.dtype.name in HALF and half.dtype.isnative
        and single.dtype == np.float32 and half.flags.aligned and single.flags.aligned
        and _dense(half) and single.strides == tuple(2 * step for step in half.strides)
    )


def _dense(a: Array) -> bool:
    """Whether the cells fill the memory from the first to the last, in some order of axes."""
    reach = a.itemsize
    for step, n in sorted(zip(a.strides, a.shape, strict=True)):
        if n > 1:
            if step != reach:
                return False
            reach *= n
    return True
