"""Copies of lines of numbers, dense ones and every second one by whole vectors."""

from __future__ import annotations

from . import simd
from .jit import compiled
from .lanes import stream


@compiled
def copy(target, target_step, source, source_step, count, like):
    """``count`` numbers from a line to another, whose steps are in bytes."""
    lanes, size = simd.lanes(like), simd.itemsize(like)
    if source_step == target_step == size:
        nothing = simd.splat(like)
        i = 0
        while i + lanes <= count:
            simd.store(target + i * size, simd.load(source + i * size, nothing))
            i += lanes
        if i < count:
            v = simd.load_part(source + i * size, count - i, nothing)
            simd.store_part(target + i * size, v, count - i)
    elif source_step == 2 * size and target_step == size:
        nothing = simd.splat(like)
        i = 0
        while i + lanes <= count:
            simd.store(target + i * size, simd.load_every_second(source + 2 * i * size, nothing))
            i += lanes
        for j in range(i, count):
            simd.store(target + j * size, simd.load(source + 2 * j * size, like))
    else:
        for i in range(count):
            simd.store(target + i * target_step, simd.load(source + i * source_step, like))


@compiled
def clear(target, count, like):
    """``count`` zeros (``like`` is one) to a dense line."""
    lanes, size = simd.lanes(like), simd.itemsize(like)
    zeros = simd.splat(like)
    i = 0
    while i + lanes <= count:
        simd.store(target + i * size, zeros)
        i += lanes
    if i < count:
        simd.store_part(target + i * size, zeros, count - i)


@compiled
def copy_past(target, source, count, like):
    """``count`` numbers from a dense line to another, past the caches; the last is followed by
    :func:`.lanes.fence`."""
    lanes, size = simd.lanes(like), simd.itemsize(like)
    nothing = simd.splat(like)
    i = min(-target % (lanes * size) // size, count)
    if i:  # a store of no lane would fetch its line all the same
        simd.store_part(target, simd.load_part(source, i, nothing), i)
    while i + lanes <= count:
        stream(target + i * size, simd.load(source + i * size, nothing))
        i += lanes
    if i < count:
        v = simd.load_part(source + i * size, count - i, nothing)
        simd.store_part(target + i * size, v, count - i)
