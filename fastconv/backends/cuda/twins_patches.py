"""The names of ``intrinsics_patches.py`` in plain Python, for numba's simulator."""

from __future__ import annotations

import operator
from functools import cache
from typing import Any

from ...spec import dtype_of
from .linear import Rows, both_axes
from .twins import _cells, _computed

NOWHERE = -(1 << 62)


@cache
def offsets(n: int) -> Any:
    return (lambda: (NOWHERE,) * n), (lambda values, value: (*values[1:], int(value)))


@cache
def patch_loader(dtype: str, computed: str, side: int) -> Any:
    stored, value = dtype_of(dtype), _computed(computed)

    def load(pointer: int, rows: Any, columns: Any) -> Any:
        return tuple(
            value(0) if NOWHERE in (r, c) else value(_cells(pointer, r + c, stored, 1)[0])
            for r in rows for c in columns
        )

    return load


@cache
def spaced_loader(dtype: str, n: int) -> Any:
    stored, value = dtype_of(dtype), _computed(dtype)

    def load(pointer: int, index: int, step: int) -> Any:
        return tuple(value(_cells(pointer, index + i * step, stored, 1)[0]) for i in range(n))

    return load


@cache
def spaced_storer(dtype: str, n: int, computed: str) -> Any:
    stored = dtype_of(dtype)

    def store(pointer: int, index: int, step: int, values: Any) -> None:
        for i in range(n):
            _cells(pointer, index + i * step, stored, 1)[0] = values[i]

    return store


class _Reckoning:
    """The arithmetic of :mod:`.linear` on numbers of one type."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self.add, self.subtract = operator.add, operator.sub

    def scale(self, a: Any, factor: float) -> Any:
        return a * self._kind(factor)

    def accumulate(self, a: Any, factor: float, b: Any) -> Any:
        return a * self._kind(factor) + b


@cache
def transformer(matrix: Rows, dtype: str) -> Any:
    arithmetic = _Reckoning(_computed(dtype))
    return lambda values: tuple(both_axes(arithmetic, matrix, values))
