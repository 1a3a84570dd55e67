"""Rows of a picture with their padding written out."""

from __future__ import annotations

from . import simd
from .jit import compiled
from .moves import clear, copy


@compiled
def padded_row(target, plane, h, left, n, q):
    """Columns ``left`` … left + n of row h of a channel, in numbers side by side."""
    size = simd.itemsize(q.zero)
    begin = min(max(0, -left), n)
    end = max(min(n, q.IW - left), begin)
    if h < 0 or h >= q.IH:
        begin = end = 0
    clear(target, begin, q.zero)
    copy(
        target + begin * size, size, plane + h * q.x_row + (left + begin) * q.x_column, q.x_column,
        end - begin, q.zero,
    )
    clear(target + end * size, n - end, q.zero)
