"""Pooling: a thread reduces the windows of some neighbouring results.

Three kernels. ``windows`` takes any window, in any order of memory; where the channels lie side
by side it moves 16 bytes of them at a time. ``pairs`` is for windows two cells wide that follow
one another in a row: 16 bytes of it hold the cells of several. ``large`` gives a window to a warp.
The cells of each window are the lists that the spec makes, whatever made them (sliding, adaptive,
global). Sums of many cells are added in float64.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

import numpy as np
from numba import cuda

from ...device import DeviceArray
from ...spec import Pool2dSpec
from . import launcher
from .launcher import Source
from .primitives import (
    BYTES,
    i32,
    inlined,
    loader,
    power,
    pushed,
    quotient,
    remainder,
    shared_memory,
    storer,
    vector_loader,
    vector_storer,
    zeros,
)
from .staging import staged

THREADS = 256
WARP = 32
LONG_SUM = 32
"""Cells of a window from which on they are added in float64."""
LARGE = 256
"""Cells of a window that a warp shares out."""
FACTS = 17
"""Numbers before the lists of rows and columns: see :func:`_geometry`."""


def _accumulated(mode: str, dtype: str, many: bool) -> str:
    """The type that a window is reduced in."""
    return "float64" if dtype == "float64" or (many and mode != "max") else "float32"


def reduction(mode: str, total: str) -> tuple[Any, Any]:
    """``add(sum, v, norm)`` and ``finish(sum, divisor, norm)`` of a sum, average or norm."""
    real = np.float64 if total == "float64" else np.float32
    one = real(1)

    @inlined
    def add(sum_, v, norm):
        return sum_ + real(v)

    @inlined
    def add_power(sum_, v, norm):
        return sum_ + power(real(abs(v)), real(norm))

    @inlined
    def add_square(sum_, v, norm):
        return sum_ + real(v) * real(v)

    @inlined
    def add_size(sum_, v, norm):
        return sum_ + real(abs(v))

    @inlined
    def keep(sum_, divisor, norm):
        return sum_

    @inlined
    def divide(sum_, divisor, norm):
        return sum_ / real(divisor)

    @inlined
    def root(sum_, divisor, norm):
        return power(sum_, one / real(norm))

    @inlined
    def square_root(sum_, divisor, norm):
        return real(math.sqrt(sum_))

    return {
        "sum": (add, keep), "avg": (add, divide), "lp": (add_power, root),
        "lp1": (add_size, keep), "lp2": (add_square, square_root), "max": (add, keep),
    }[mode]


def lowest_of(total: str) -> Any:
    """What a maximum starts from."""
    return (np.float64 if total == "float64" else np.float32)(-np.inf)


def windows(mode: str, dtype: str, lanes: int, last: bool, many: bool, indexed: bool) -> Source:
    """``(x, out, indices, norm, geometry)``: ``lanes`` channels of a thread, or one cell."""
    total = _accumulated(mode, dtype, many)
    computed = "float64" if dtype == "float64" else "float32"
    load, store = vector_loader(dtype, lanes), vector_storer(dtype, lanes)
    number, put_index = loader("int64"), storer("int64")
    push, push_loaded, push_index = (
        pushed(lanes, total), pushed(lanes, computed), pushed(lanes, "int32")
    )
    zero, zero_index, zero_loaded = (
        zeros(lanes, total), zeros(lanes, "int32"), zeros(lanes, computed)
    )
    add, finish = reduction(mode, total)
    lowest, real = lowest_of(total), np.float64 if computed == "float64" else np.float32
    maximum = mode == "max"

    def kernel(x, out, indices, norm, geometry):
        cell = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if cell < number(geometry, 0):
            if last:
                rest, c = quotient(cell, number(geometry, 1)), remainder(cell, number(geometry, 1))
                c = c * lanes
                ow, rest = remainder(rest, number(geometry, 3)), quotient(rest, number(geometry, 3))
                oh, n = remainder(rest, number(geometry, 2)), quotient(rest, number(geometry, 2))
            else:
                ow, rest = remainder(cell, number(geometry, 3)), quotient(cell, number(geometry, 3))
                oh, rest = remainder(rest, number(geometry, 2)), quotient(rest, number(geometry, 2))
                c, n = remainder(rest, number(geometry, 1)), quotient(rest, number(geometry, 1))
            rows = FACTS + 3 * oh
            columns = FACTS + 3 * (number(geometry, 2) + ow)
            h0, h1 = i32(number(geometry, rows)), i32(number(geometry, rows + 1))
            w0, w1 = i32(number(geometry, columns)), i32(number(geometry, columns + 1))
            base = n * number(geometry, 8) + c * number(geometry, 9)
            xh, xw = number(geometry, 10), number(geometry, 11)
            DH, DW = i32(number(geometry, 6)), i32(number(geometry, 7))
            IH, IW = i32(number(geometry, 4)), i32(number(geometry, 5))
            sums, where = zero(), zero_index()
            if maximum:
                start = i32(min(h0, IH - 1) * IW + min(w0, IW - 1))
                for _ in range(lanes):
                    sums = push(sums, lowest)
                    where = push_index(where, start)
            h = h0
            while h < h1:  # a range with a step would divide
                w = w0
                line = zero()
                while w < w1:
                    values = load(x, base + h * xh + w * xw)
                    for _ in range(lanes):
                        v = values[0]
                        if maximum:
                            best = sums[0]
                            better = (v > best) | (v != v)
                            sums = push(sums, v if better else best)
                            if indexed:
                                at = i32(h * IW + w)
                                where = push_index(where, at if better else where[0])
                        else:
                            line = push(line, add(line[0], v, norm))
                        values = push_loaded(values, v)
                    w = i32(w + DW)
                if not maximum:  # row by row: errors grow with the roots of their lengths
                    for _ in range(lanes):
                        sums = push(sums, sums[0] + line[0])
                        line = push(line, line[0])
                h = i32(h + DH)
            divisor = number(geometry, 16)
            if divisor == 0:
                divisor = number(geometry, rows + 2) * number(geometry, columns + 2)
            results = zero_loaded()
            for _ in range(lanes):
                v = sums[0]
                results = push_loaded(results, real(v if maximum else finish(v, divisor, norm)))
                sums = push(sums, v)
            store(out, (
                n * number(geometry, 12) + c * number(geometry, 13)
                + oh * number(geometry, 14) + ow * number(geometry, 15)
            ), results)
            if indexed:
                at = FACTS + 3 * (number(geometry, 2) + number(geometry, 3))
                place = n * number(geometry, at) + oh * number(geometry, at + 2)
                place += ow * number(geometry, at + 3)
                for e in range(lanes):
                    put_index(indices, place + (c + e) * number(geometry, at + 1), where[0])
                    where = push_index(where, where[0])

    return Source(kernel, "iiifi", THREADS, wide=lanes > 1)


def pairs(mode: str, dtype: str, KH: int) -> Source:
    """``(x, out, norm, geometry)``: KH×2 windows side by side and flush with the rows of dense
    planes; a thread loads 16 bytes of each of its KH rows."""
    computed = "float64" if dtype == "float64" else "float32"
    lanes = BYTES // {"float64": 8, "float32": 4}.get(dtype, 2)
    half = lanes // 2
    load, store = vector_loader(dtype), vector_storer(dtype, half)
    number = loader("int64")
    push, push_loaded = pushed(half, computed), pushed(lanes, computed)
    zero = zeros(half, computed)
    add, finish = reduction(mode, computed)
    lowest, maximum = lowest_of(computed), mode == "max"

    def kernel(x, out, norm, geometry):
        part = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if part < number(geometry, 0):
            across = number(geometry, 1)  # parts of a row
            row, w = quotient(part, across), remainder(part, across)
            OH, xh = number(geometry, 2), number(geometry, 3)
            oh, plane = remainder(row, OH), quotient(row, OH)
            n, c = quotient(plane, number(geometry, 7)), remainder(plane, number(geometry, 7))
            at = n * number(geometry, 8) + c * number(geometry, 9)
            at += oh * number(geometry, 4) * xh + w * lanes
            sums = zero()
            if maximum:
                for _ in range(half):
                    sums = push(sums, lowest)
            for kh in range(KH):
                values = load(x, at + kh * xh)
                for _ in range(half):
                    best = sums[0]
                    for _ in range(2):
                        v = values[0]
                        if maximum:
                            best = v if (v > best) | (v != v) else best
                        else:
                            best = add(best, v, norm)
                        values = push_loaded(values, v)
                    sums = push(sums, best)
            if not maximum:
                divisor = number(geometry, 6)
                for _ in range(half):
                    sums = push(sums, finish(sums[0], divisor, norm))
            store(out, (
                n * number(geometry, 10) + c * number(geometry, 11)
                + oh * number(geometry, 5) + w * half
            ), sums)

    return Source(kernel, "iifi", THREADS, wide=True)


def large(mode: str, dtype: str, indexed: bool) -> Source:
    """``(x, out, indices, norm, geometry)``: the threads of a warp share the cells of a window."""
    total = _accumulated(mode, dtype, True)
    load, store = loader(dtype), storer(dtype)
    number, put_index = loader("int64"), storer("int64")
    size = 8 if total == "float64" else 4
    memory = shared_memory(THREADS * (size + 8))
    keep, kept = storer(total, space="shared"), loader(total, space="shared")
    keep_at, kept_at = storer("int64", space="shared"), loader("int64", space="shared")
    add, finish = reduction(mode, total)
    lowest = lowest_of(total)
    real = np.float64 if total == "float64" else np.float32
    computed = np.float64 if dtype == "float64" else np.float32
    nothing, maximum = real(0), mode == "max"

    def kernel(x, out, indices, norm, geometry):
        thread = cuda.threadIdx.x
        lane = thread % WARP
        cell = cuda.blockIdx.x * (THREADS // WARP) + thread // WARP
        inside = cell < number(geometry, 0)
        s = memory()
        best, where = lowest if maximum else nothing, 0
        ow, rest = remainder(cell, number(geometry, 3)), quotient(cell, number(geometry, 3))
        oh, rest = remainder(rest, number(geometry, 2)), quotient(rest, number(geometry, 2))
        c, n = remainder(rest, number(geometry, 1)), quotient(rest, number(geometry, 1))
        rows = FACTS + 3 * oh
        columns = FACTS + 3 * (number(geometry, 2) + ow)
        if inside:
            h0, w0 = number(geometry, rows), number(geometry, columns)
            DH, DW, IW = number(geometry, 6), number(geometry, 7), number(geometry, 5)
            wide = quotient(number(geometry, columns + 1) - w0 + DW - 1, DW)
            high = quotient(number(geometry, rows + 1) - h0 + DH - 1, DH)
            base = n * number(geometry, 8) + c * number(geometry, 9)
            where = h0 * IW + w0
            for i in range(lane, wide * high, WARP):
                h, w = h0 + quotient(i, wide) * DH, w0 + remainder(i, wide) * DW
                v = load(x, base + h * number(geometry, 10) + w * number(geometry, 11))
                if maximum:
                    if (v > best) | (v != v):
                        best, where = real(v), h * IW + w
                else:
                    best = add(best, v, norm)
        keep(s, thread, best)
        keep_at(s + THREADS * size, thread, where)
        cuda.syncthreads()
        if inside and lane == 0:
            for i in range(1, WARP):
                v, at = kept(s, thread + i), kept_at(s + THREADS * size, thread + i)
                if maximum:
                    if v != v:
                        if best == best or at > where:
                            best, where = v, at
                    elif v > best or (v == best and at < where):
                        best, where = v, at
                else:
                    best = best + v
            if not maximum:
                divisor = number(geometry, 16)
                if divisor == 0:
                    divisor = number(geometry, rows + 2) * number(geometry, columns + 2)
                best = finish(best, divisor, norm)
            store(out, (
                n * number(geometry, 12) + c * number(geometry, 13)
                + oh * number(geometry, 14) + ow * number(geometry, 15)
            ), computed(best))
            if indexed:
                at = FACTS + 3 * (number(geometry, 2) + number(geometry, 3))
                put_index(indices, (
                    n * number(geometry, at) + c * number(geometry, at + 1)
                    + oh * number(geometry, at + 2) + ow * number(geometry, at + 3)
                ), where)

    return Source(kernel, "iiifi", THREADS)


# ---------------------------------------------------------------- launching


def _geometry(
    spec: Pool2dSpec, x: DeviceArray, out: DeviceArray, indices: DeviceArray | None, lanes: int
) -> list[int]:
    """The work, C in vectors, OH, OW, IH, IW, steps between cells of a window, steps of x and of
    out, the divisor or 0; first, stop and count of each row and column; steps of the indices."""
    work = spec.N * spec.C * spec.OH * spec.OW // lanes
    facts = [
        work, spec.C // lanes, spec.OH, spec.OW, spec.IH, spec.IW, spec.DH, spec.DW,
        *x.steps, *out.steps, spec.divisor_override or 0,
    ]
    rows, columns = zip(*spec.rows(), strict=True), zip(*spec.columns(), strict=True)
    lists = map(int, chain(chain.from_iterable(rows), chain.from_iterable(columns)))
    return [*facts, *lists, *(indices.steps if indices is not None else (0, 0, 0, 0))]


def _cells(spec: Pool2dSpec) -> int:
    """Of the largest window."""
    if spec.adaptive:
        return (-(-spec.IH // spec.OH) + 1) * (-(-spec.IW // spec.OW) + 1)
    return min(spec.KH, spec.IH) * min(spec.KW, spec.IW)


def _side_by_side(spec: Pool2dSpec, x: DeviceArray, out: DeviceArray) -> bool:
    """Whether ``pairs`` serves: every window flush, none beyond the picture, all aligned."""
    lanes = BYTES // x.itemsize
    if spec.adaptive or spec.KW != 2 or spec.SW != 2 or spec.DW != 1 or spec.DH != 1:
        return False
    if spec.PT or spec.PB or spec.PL or spec.PR or spec.KH > 4 or lanes < 4:
        return False
    if (spec.OH - 1) * spec.SH + spec.KH > spec.IH or spec.OW * 2 > spec.IW:
        return False
    xn, xc, xh, xw = x.steps
    on, oc, oh, ow = out.steps
    dense = xw == 1 and ow == 1 and spec.OW % (lanes // 2) == 0
    aligned = not (x.pointer % BYTES or out.pointer % (BYTES // 2))
    return dense and aligned and not any(
        step % lanes for step in (xn, xc, xh)
    ) and not any(step % (lanes // 2) for step in (on, oc, oh))


@staged
def run(
    spec: Pool2dSpec, x: DeviceArray, out: DeviceArray, indices: DeviceArray | None, threads: int
) -> None:
    """Write each window's value into out, and where a maximum was into indices."""
    mode = spec.mode
    if mode == "lp" and spec.norm in (1.0, 2.0):
        mode = f"lp{int(spec.norm)}"
    dtype, lanes = spec.dtype, BYTES // x.itemsize
    cells, where = _cells(spec), 0 if indices is None else indices.pointer
    work = spec.N * spec.C * spec.OH * spec.OW
    key = (
        spec, x.steps, out.steps, None if indices is None else indices.steps,
    )
    if indices is None and _side_by_side(spec, x, out):
        numbers = (
            work // (lanes // 2), spec.OW // (lanes // 2), spec.OH, x.steps[2], spec.SH,
            out.steps[2], spec.divisor_override or 2 * spec.KH, spec.C, *x.steps[:2],
            *out.steps[:2],
        )
        launcher.launch(
            pairs, (mode, dtype, spec.KH), -(-numbers[0] // THREADS),
            (x.pointer, out.pointer, spec.norm, launcher.geometry(numbers, out)), out,
        )
        return
    last = x.steps[1] == 1 and spec.C > 1
    if cells >= LARGE and not last:
        address = launcher.geometry(
            (*key, 1), out, lambda: _geometry(spec, x, out, indices, 1)
        )
        launcher.launch(
            large, (mode, dtype, indices is not None), -(-work // (THREADS // WARP)),
            (x.pointer, out.pointer, where, spec.norm, address), out,
        )
        return
    whole = last and out.steps[1] == 1 and spec.C % lanes == 0 and not (
        (x.pointer | out.pointer) % BYTES
    ) and not any(step % lanes for a in (x, out) for i, step in enumerate(a.steps) if i != 1)
    lanes = lanes if whole else 1
    address = launcher.geometry(
        (*key, lanes), out, lambda: _geometry(spec, x, out, indices, lanes)
    )
    launcher.launch(
        windows, (mode, dtype, lanes, last, cells > LONG_SUM, indices is not None),
        -(-work // lanes // THREADS),
        (x.pointer, out.pointer, where, spec.norm, address), out,
    )


def workspace_bytes(spec: Pool2dSpec, threads: int) -> int:
    """Nothing."""
    return 0


def sources() -> list[tuple[str, Any, tuple[Any, ...]]]:
    """What ``benchmarks.cuda_compile`` compiles: a label, a builder, its constants."""
    found: list[tuple[str, Any, tuple[Any, ...]]] = []
    for dtype, lanes in (("float32", 4), ("float64", 2), ("float16", 8), ("bfloat16", 8)):
        for mode in ("max", "avg", "lp"):
            found.append((f"pool {mode} {dtype} last", windows,
                          (mode, dtype, lanes, True, False, mode == "max")))
            found.append((f"pool {mode} {dtype}", windows,
                          (mode, dtype, 1, False, True, mode == "max")))
            found.append((f"pool {mode} {dtype} large", large, (mode, dtype, mode == "max")))
        if lanes > 2:
            found += [(f"pool {mode} {dtype} pairs", pairs, (mode, dtype, 2))
                      for mode in ("max", "avg")]
    return found
