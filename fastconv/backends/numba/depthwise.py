"""Depthwise layers whose channels lie side by side: the plan, and the loop over their tiles."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...spec import LEAKY_SLOPE, Conv2dSpec
from . import simd
from .activations import CODES, LIMITS, activate_line, limits_of
from .buffers import address
from .depthwise_tile import MOST_TAPS, Job, Shape, depthwise_code
from .jit import Kernel, Plan, call, carray, compiled, strides, take

Array = npt.NDArray[Any]
Strides = tuple[int, ...]

_ROLLED = (8, 4) if simd.REGISTERS == 32 else (1, 4)
"""Rows and pixels of a tile whose taps stay in registers."""
_PIXELS = (8, 6) if simd.REGISTERS == 32 else (4, 3)
"""Pixels of a tile of one row, by stride; every cell of a row is in a register."""
_KEPT_TAPS = 9
_QUARTER = 4
"""Channels must fill more than one of so many parts of a vector."""
_ITEMS_PER_THREAD = 4
"""So that a thread that was held up leaves work to the others."""


def along_channels(spec: Conv2dSpec, x_strides: Strides, out_strides: Strides) -> bool:
    """Whether each channel has a group of its own, and they lie side by side."""
    size = x_strides[1]
    return (
        spec.IC == spec.OC == spec.G > 1 and size == out_strides[1] == np.dtype(spec.dtype).itemsize
        and simd.BITS // (8 * size) < spec.G * _QUARTER
    )


def pack_channels(w: Array) -> Array:
    """The weights as [kh][kw][channel], zero beyond the last channel."""
    lanes = simd.BITS // (8 * w.itemsize)
    packed = np.zeros((*w.shape[2:], -(-w.shape[0] // lanes) * lanes), w.dtype)
    packed[..., : w.shape[0]] = w[:, 0].transpose(1, 2, 0)
    return packed


def convolve_channels(
    spec: Conv2dSpec, x: Array, packed: Array, bias: Array | None, out: Array, threads: int
) -> None:
    """Write the convolution to ``out``; ``packed`` is what :func:`pack_channels` has made."""
    cut = _make_cut(spec, x.strides, out.strides, threads)
    memory = (address(x), address(packed), address(bias), address(out), *cut.memory)
    _depthwise(threads, cut.tasks, memory, cut.plan)


class _Cut(NamedTuple):
    tasks: int
    plan: Plan
    memory: tuple[int, ...]
    kept: tuple[Any, ...]
    """What addresses of the memory need alive."""


@lru_cache(maxsize=512)
def _make_cut(spec: Conv2dSpec, x_strides: Strides, out_strides: Strides, threads: int) -> _Cut:
    dtype = np.dtype(spec.dtype)
    lanes = simd.BITS // (8 * dtype.itemsize)
    most, pixels = _tile(spec)
    strips = -(-spec.OH // most)
    high = -(-spec.OH // strips)
    entries, codes = _entries(spec, high, pixels)
    zeros = np.zeros(spec.OC + lanes, dtype)
    vector = lanes * dtype.itemsize
    job = np.array(Job(
        vectors=spec.OC // lanes, rest=spec.OC % lanes, x_row=x_strides[2],
        x_column=x_strides[3], IH=spec.IH, IW=spec.IW, KH=spec.KH, KW=spec.KW, DH=spec.DH,
        DW=spec.DW, SW=spec.SW, tap=-(-spec.OC // lanes) * vector, zeros=address(zeros),
        out_row=out_strides[2], out_column=out_strides[3],
        limits=address(limits_of(spec.activation, dtype)),
    ), np.int64)
    tasks = spec.N * strips
    if tasks > _ITEMS_PER_THREAD * threads:
        tasks = 1 if threads == 1 else _ITEMS_PER_THREAD * threads
    plan = Plan(
        dtype.type(0), tasks=tasks, items=spec.N * strips, strips=strips, high=high,
        entries=len(entries), OH=spec.OH, OW=spec.OW, C=spec.OC, SH=spec.SH, SW=spec.SW,
        PT=spec.PT, PL=spec.PL, slope=LEAKY_SLOPE,
        activation=0 if spec.activation in LIMITS else CODES[spec.activation],
        **strides("x", x_strides), **strides("out", out_strides),
    )
    memory = (address(entries), address(job), address(zeros))
    return _Cut(tasks, plan, memory, (entries, job, zeros, codes))


def _tile(spec: Conv2dSpec) -> tuple[int, int]:
    """The most rows and pixels of a tile."""
    if _straight(spec) and spec.KH * spec.KW <= _KEPT_TAPS and spec.SH <= 2:
        return _ROLLED
    return 1, _PIXELS[spec.SW == 2]


def _straight(spec: Conv2dSpec) -> bool:
    return max(spec.KH, spec.KW) <= MOST_TAPS and spec.DH == spec.DW == 1 and spec.SW <= 2


def _entries(
    spec: Conv2dSpec, high: int, most: int
) -> tuple[npt.NDArray[np.int64], list[Any]]:
    """The tiles of a strip, one row each: first pixel, how many, code for strips of ``high`` rows
    and of one row less. And the code."""
    straight = _straight(spec)
    tiles = -(-spec.OW // most)
    codes: list[Any] = []
    rows = []
    for i in range(tiles):
        first, stop = spec.OW * i // tiles, spec.OW * (i + 1) // tiles
        left = first * spec.SW - spec.PL
        right = (stop - 1) * spec.SW - spec.PL + (spec.KW - 1) * spec.DW
        shapes = [
            Shape(
                np.dtype(spec.dtype), n, stop - first, spec.KH if straight else 0,
                spec.KW if straight else 0, spec.SH if n > 1 else 1,
                spec.SW if straight else 1, left < 0 or right >= spec.IW,
                spec.activation in LIMITS,
            )
            for n in (high, max(1, high - 1))
        ]
        if spec.OH % high == 0:  # no strip is shorter
            del shapes[1]
        these = [depthwise_code(shape) for shape in shapes]
        codes += these
        rows.append((first, stop - first, these[0].address, these[-1].address))
    return np.array(rows, np.int64), codes


# ---------------------------------------------------------------- the kernel


@Kernel
def _depthwise(worker, tasks, memory, plan):
    """Task after task: some strips of rows."""
    x, weights, bias, out = memory[0], memory[1], memory[2], memory[3]
    q = carray(plan, 1)[0]
    if not bias:
        bias = memory[6]
    task = take(tasks)
    while task < q.tasks:
        first, stop = task * q.items // q.tasks, (task + 1) * q.items // q.tasks
        for item in range(first, stop):
            image, strip = item // q.strips, item % q.strips
            tall = q.OH - q.strips * (q.high - 1)  # so many strips have all rows
            oh = strip * (q.high - 1) + min(strip, tall)
            rows = q.high - (strip >= tall)
            target = out + image * q.out_image + oh * q.out_row
            _strip(
                x + image * q.x_image, oh * q.SH - q.PT, rows, weights, bias, target, memory, q
            )
            if q.activation:
                for row in range(rows):
                    for column in range(q.OW):
                        at = target + row * q.out_row + column * q.out_column
                        activate_line(q.activation, q.slope, at, at, q.C, q.zero)
        task = take(tasks)


@compiled
def _strip(x, row, rows, weights, bias, out, memory, q):
    """One strip, tile after tile."""
    entry, job = memory[4], memory[5]
    for _ in range(q.entries):
        ow = simd.load(entry, 0)
        code = simd.load(entry + (16 if rows == q.high else 24), 0)
        column = ow * q.SW - q.PL
        call(code, (
            job, x + column * q.x_column, column, row, weights, bias, out + ow * q.out_column,
        ))
        entry += 32
