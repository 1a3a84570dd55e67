"""The names of ``intrinsics_tensor.py`` for numba's simulator, lane by lane.

Each lane reads the registers that it would hold on the card, lays them open to its warp, and
takes from the other lanes' registers what PTX says that they hold. So a wrong place of a number
is found here, though no instruction is run.

Sums are rounded as measurements of tensor cores found: the terms of an instruction and the sum
that they are added to are aligned to the largest of them, what lies below its last bits is cut
off, and so is what float32 cannot hold of the result; an Ampere core does so for each half of the
terms, with one bit less than a Hopper core (M. Fasi et al., "Numerical behavior of NVIDIA tensor
cores", 2021; P. Xie et al., "MMA-Sim: bit-accurate reference model of tensor cores and matrix
cores", 2025).
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import numpy as np

from ...spec import dtype_of
from .fragments import FORMATS, WarpTile
from .twins import _cells, _lock

_KEPT = np.uint32(0xFFFFE000)
_LANES = np.arange(32)
_SECONDS = 120
"""Until a lane that waits for others gives up: one of them has failed."""


def _truncated(values: Any) -> Any:
    bits = np.asarray(values, np.float32).view(np.uint32) & _KEPT
    return bits.view(np.float32)


def rounded_to_tf32(value: Any) -> Any:
    """To the nearest number that TF32 has, ties away from zero."""
    value = np.float32(value)
    if not np.isfinite(value):
        return value
    bits = np.array(value).view(np.uint32) + np.uint32(0x1000)
    return np.float32((bits & _KEPT).view(np.float32))


def _parts(format: str, values: Any) -> list[Any]:
    """Numbers as an instruction takes them, in float64: their products are exact there."""
    kind = format.split()[0]
    if kind == "tf32":
        return [_truncated(values).astype(np.float64)]
    if kind == "tf32x3":
        kept = _truncated(values)
        return [kept.astype(np.float64), _truncated(values - kept).astype(np.float64)]
    return [values.astype(dtype_of(kind)).astype(np.float64)]


FRACTION = 24
"""Bits that an Ampere core keeps behind the leading one of the largest number that it adds."""


def added(sums: Any, a: Any, b: Any) -> Any:
    """float32 sums plus Σ a · b over the last axis, as an instruction has them; a and b are
    float64, and a term's product is exact in it."""
    for half in np.split(np.arange(a.shape[-1]), 2):
        terms = np.concatenate([a[..., half] * b[..., half], sums[..., None]], -1)
        largest = np.abs(terms).max(-1, keepdims=True)
        last = np.ldexp(1.0, np.frexp(largest)[1] - 1 - FRACTION)
        whole = np.where(np.isfinite(largest), np.trunc(terms / last) * last, terms)
        sums = _towards_zero(whole.sum(-1))
    return sums


def _towards_zero(values: Any) -> Any:
    """The float32 next to each float64 that is not larger."""
    found = values.astype(np.float32)
    beyond = np.isfinite(found) & (np.abs(found.astype(np.float64)) > np.abs(values))
    return np.where(beyond, np.nextafter(found, np.float32(0)), found)


class _Warp:
    """Where the lanes of a warp lay their registers open."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(32)
        self.left: list[Any] = [None] * 32
        self.right: list[Any] = [None] * 32


def _warp(thread: int) -> _Warp:
    block = threading.current_thread()._manager  # type: ignore[attr-defined]
    with _lock:
        if not hasattr(block, "warps"):
            block.warps = {}
        return block.warps.setdefault(thread // 32, _Warp())


@cache
def tensor_product(tile: WarpTile) -> Any:
    format = FORMATS[tile.format]
    down, across, along = tile.instructions
    lefts = np.array([[tile.left(i, k) for k in range(along)] for i in range(down)])
    rights = np.array([[tile.right(j, k) for k in range(along)] for j in range(across)])
    pairs = format.width // 8

    def held(pointer: int, index: int, offsets: Any) -> Any:
        cells = _cells(pointer, index, np.dtype(np.float32), int(offsets.max()) + 1)
        return cells[offsets]

    def multiply(sums: Any, a: int, i: int, b: int, j: int, thread: int) -> Any:
        warp, lane = _warp(thread), thread % 32
        warp.left[lane] = held(a, i, lefts)  # down, along, register, number of a register
        warp.right[lane] = held(b, j, rights)
        warp.barrier.wait(_SECONDS)
        row, column = lane // 4, lane % 4 * 2
        # PTX: register 0 of A is row l // 4, 1 is eight rows below, 2 and 3 the later terms; the
        # terms of a register are pairs · (l % 4) and following.
        owners = [4 * row + t for t in range(4)]
        first = np.stack([warp.left[o] for o in owners], 2)  # down, along, t, register, number
        upper, lower = (
            np.concatenate(
                [first[:, :, :, r + half].reshape(down, along, 4 * pairs) for r in (0, 2)], 2
            )
            for half in (0, 1)
        )
        columns = []
        for c in (column, column + 1):
            second = np.stack([warp.right[4 * c + t] for t in range(4)], 2)
            columns.append(np.concatenate(
                [second[:, :, :, r].reshape(across, along, 4 * pairs) for r in (0, 1)], 2
            ))
        warp.barrier.wait(_SECONDS)  # all have read before a lane goes on and writes again
        with np.errstate(all="ignore"):
            a_parts = _parts(tile.format, np.stack([upper, lower], 1))  # down, half, along, term
            b_parts = _parts(tile.format, np.stack(columns, 1))  # across, column, along, term
            totals = sums.reshape(across, down, 2, 2)
            made = np.zeros_like(totals) if format.rounds_apart else totals
            passes = ((1, 0), (0, 1), (0, 0)) if format.split else ((0, 0),)
            for k in range(along):
                for x, y in passes:
                    made = added(
                        made, a_parts[x][None, :, :, None, k], b_parts[y][:, None, None, :, k]
                    )
            return (totals + made if format.rounds_apart else made).astype(np.float32).ravel()

    return multiply
