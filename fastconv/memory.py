"""Where large results live: in the compiled wing's pool of touched pages, if the wing is there.

Such an array is an ordinary one that owns its memory; only NumPy's allocator is another. Its
pages go back when NumPy frees it. ``csrc/pages.h`` has the pool and ``FASTCONV_POOL_BYTES`` its
bound.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

LARGE = 1 << 18
"""Bytes from which an array comes from the pool: below, NumPy's own allocator is as good."""


@cache
def pages() -> ModuleType | None:
    """The compiled wing's memory, or None where that wing is absent."""
    try:
        return import_module("fastconv.backends.cython.memory")
    except ImportError:
        return None


def make(
    create: Callable[..., Array], arguments: tuple[Any, ...], nbytes: int, beside: Array | None
) -> Array:
    """``create(*arguments)``, an array of ``nbytes``, in touched pages if it is large.

    ``beside`` is what will be read while the array is written.
    """
    if nbytes < LARGE or (pool := pages()) is None:
        return create(*arguments)
    made: Array = pool.pooled(create, arguments, beside)
    return made


def status() -> str:
    """What the pool may hold and holds, for people."""
    pool = pages()
    if pool is None:
        return "none: it belongs to the compiled backend"
    limit = pool.pool_limit()
    return f"{pool.pool_held()} of {limit} bytes" if limit else "off"
