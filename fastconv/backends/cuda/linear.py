"""Small constant matrices applied to numbers in registers, with few operations.

Written over an :class:`Arithmetic`: the card's instructions and the simulator's numbers come from
the same steps in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Rows = tuple[tuple[float, ...], ...]


class Arithmetic(Protocol):
    """What is done with numbers, whatever they are."""

    def add(self, a: Any, b: Any) -> Any:
        """a + b."""

    def subtract(self, a: Any, b: Any) -> Any:
        """a − b."""

    def scale(self, a: Any, factor: float) -> Any:
        """a · factor."""

    def accumulate(self, a: Any, factor: float, b: Any) -> Any:
        """a · factor + b."""


def both_axes(o: Arithmetic, matrix: Rows, patch: Sequence[Any]) -> list[Any]:
    """M · V · Mᵀ of a square patch V, row after row."""
    inner = len(matrix[0])
    rows = [patch[i * inner : (i + 1) * inner] for i in range(inner)]
    down = [applied(o, matrix, column) for column in zip(*rows, strict=True)]
    return [v for row in zip(*down, strict=True) for v in applied(o, matrix, row)]


def applied(o: Arithmetic, matrix: Rows, values: Sequence[Any]) -> list[Any]:
    """M · v. Neighbouring columns, then neighbouring rows, that differ by the sign of every other
    coefficient share their work: those of the points ±p of an interpolation."""
    columns = [list(column) for column in zip(*matrix, strict=True)]
    values = list(values)
    j = 0
    while j + 1 < len(columns):
        a = columns[j]
        if len(a) > 1 and any(a[1::2]) and columns[j + 1] == _mirrored(a):
            values[j : j + 2] = o.add(*values[j : j + 2]), o.subtract(*values[j : j + 2])
            columns[j] = [0.0 if i % 2 else x for i, x in enumerate(a)]
            columns[j + 1] = [x if i % 2 else 0.0 for i, x in enumerate(a)]
            j += 1
        j += 1
    lines = [list(line) for line in zip(*columns, strict=True)]
    found: list[Any] = []
    while len(found) < len(lines):
        line = lines[len(found)]
        pair = lines[len(found) + 1] if len(found) + 1 < len(lines) else None
        mirrored = _mirrored(line)
        if any(line[::2]) and any(line[1::2]) and pair in (mirrored, [-x for x in mirrored]):
            first, second = _sum(o, line[::2], values[::2]), _sum(o, line[1::2], values[1::2])
            if pair != mirrored:
                first, second = second, first
            found += [o.add(first, second), o.subtract(first, second)]
        else:
            found.append(_sum(o, line, values))
    return found


def _mirrored(line: list[float]) -> list[float]:
    return [-x if i % 2 else x for i, x in enumerate(line)]


def _sum(o: Arithmetic, factors: Sequence[float], values: Sequence[Any]) -> Any:
    """Σ factor · value, the plain ones first; a line has one factor at least that is not 0."""
    terms = sorted(
        ((f, v) for f, v in zip(factors, values, strict=True) if f),
        key=lambda term: abs(term[0]) != 1,
    )
    factor, value = terms[0]
    total = value if factor == 1 else o.scale(value, factor)
    for factor, value in terms[1:]:
        if factor == 1:
            total = o.add(total, value)
        elif factor == -1:
            total = o.subtract(total, value)
        else:
            total = o.accumulate(value, factor, total)
    return total
