"""Arrays inside poisoned memory, in any memory order.

Around every input, and between its elements where strides leave gaps, the memory holds NaN: a
kernel that uses what lies beside its input shows it. Around every output lie guard bytes: a
kernel that writes beside its output changes them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

CONTIGUOUS = ("NCHW", "NHWC")
ORDERS = (*CONTIGUOUS, "cropped", "NHWC_cropped", "strided")
"""The two dense orders; a window of a larger array in each; and permuted axes with gaps, for
inputs with negative and, where the case says so, zero strides."""

MARGIN = int(os.environ.get("FASTCONV_TEST_MARGIN", "67"))
"""Elements before and after: odd, so that arrays do not start on a vector's border. None under
the sanitizers (``.ci/sanitize``), which watch the bytes beside an allocation themselves."""
GUARD_BYTE = 0xA5
_BORDER = 3


@dataclass
class Placed:
    """An array and the memory that it lives in."""

    memory: Array
    """One-dimensional, bytes."""
    array: Array
    inside: npt.NDArray[np.bool_]
    """Which bytes of ``memory`` belong to ``array``."""

    def surroundings(self) -> bytes:
        """All bytes that do not belong to the array."""
        return bytes(self.memory[~self.inside])


def place_input(values: Array, order: str, same_along: tuple[int, ...] = ()) -> Placed:
    """A read-only copy of ``values`` in ``order``, NaN (or the type's maximum) around it."""
    placed = _place(values.shape, values.dtype, order, same_along, flipped=True)
    poison = np.nan if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    placed.memory.view(values.dtype)[:] = poison
    placed.array[...] = values
    placed.array.flags.writeable = False
    return placed


def place_output(shape: tuple[int, ...], dtype: Any, order: str) -> Placed:
    """An array to write into, NaN (or 85) inside and guard bytes around it."""
    placed = _place(shape, np.dtype(dtype), order, (), flipped=False)
    placed.memory[:] = GUARD_BYTE
    placed.array[...] = np.nan if placed.array.dtype.kind == "f" else 85
    return placed


def _place(
    shape: tuple[int, ...], dtype: np.dtype[Any], order: str, same_along: tuple[int, ...], *,
    flipped: bool,
) -> Placed:
    size = 2 * MARGIN + int(np.prod(_roomy(shape, order), dtype=np.int64))
    memory = np.zeros(size * dtype.itemsize, np.uint8)
    array = _view(memory.view(dtype), shape, order, same_along, flipped)
    marks = np.zeros(size, np.uint8)
    _view(marks, shape, order, same_along, flipped)[...] = 1
    return Placed(memory, array, np.repeat(marks.astype(bool), dtype.itemsize))


def _roomy(shape: tuple[int, ...], order: str) -> tuple[int, ...]:
    """Shape of the array that the view is cut from."""
    if order in CONTIGUOUS:
        return shape
    if order == "strided":
        return tuple(2 * n + 1 for n in shape)
    return tuple(n + 2 * _BORDER for n in shape)


def _view(
    cells: Array, shape: tuple[int, ...], order: str, same_along: tuple[int, ...], flipped: bool
) -> Array:
    """The cells between the margins, seen as an array of ``shape``."""
    axes = tuple(range(len(shape)))
    if len(shape) == 4:
        axes = {"NHWC": (0, 2, 3, 1), "NHWC_cropped": (0, 2, 3, 1), "strided": (2, 0, 3, 1)}.get(
            order, axes
        )
    roomy = _roomy(shape, order)
    whole = cells[MARGIN : len(cells) - MARGIN].reshape([roomy[a] for a in axes])
    whole = whole.transpose(tuple(np.argsort(axes)) if axes else ())
    if order in CONTIGUOUS:
        return whole
    # The ellipsis keeps a 0-d array an array.
    if order != "strided":
        return whole[(*(slice(_BORDER, -_BORDER) for _ in shape), ...)]
    view = whole[(*(slice(1, None, 2) for _ in shape), ...)]
    if flipped:
        view = view[(*(slice(None, None, -1 if a % 2 else 1) for a in range(len(shape))), ...)]
    if not same_along:
        return view
    strides = [0 if a in same_along else s for a, s in enumerate(view.strides)]
    return np.lib.stride_tricks.as_strided(view, shape, strides)
