"""Convolution by real fast Fourier transforms, tile after tile (overlap-save).

A tile of F cells along an axis, multiplied in the frequency domain by the conjugate spectrum
of the (dilated) kernel of extent E, gives F − E + 1 cells of the correlation; the rest is
wrapped around and left out (Oppenheim and Schafer, "Discrete-Time Signal Processing", on
overlap-save). Strides keep every S-th cell of it. Sizes of tiles and blocks of channels come
from a small cost model, under a bound on memory that neither large pictures nor many channels
can exceed, only kernels whose own spectra do.

Everything runs in the spec's dtype. A NaN or infinity spreads over its whole tile, and the
error is relative to the largest sums of the tile, not to each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import ceil, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

from ...spec import Conv2dSpec
from ...spec.arguments import extent
from . import epilogue

_BLOCK_BYTES = 64 << 20
_CACHE_BYTES = 4 << 20
"""Tiles in work at once stay in cache, unless it takes more to feed the matrix products."""
_FEW_TILES = 8
_FEW_PAIRS = 128
"""Up to so many pairs of channels, adding products beats one small matrix product for each
frequency."""

Spectra = NDArray[np.complexfloating[Any, Any]]


@dataclass(frozen=True, slots=True)
class _Axis:
    """One way of cutting an axis: transforms of ``size`` cells give ``outputs`` cells each."""

    size: int
    outputs: int


def _axis(n: int, out: int, k: int, s: int, d: int, before: int) -> list[_Axis]:
    e = extent(k, d)
    full = (out - 1) * s + 1
    need = full + e - 1  # cells read, from −before on
    # In one tile, padding after the picture may coincide with that before it: the last
    # windows wrap around to zeros.
    whole = max(min(need, before + n), need - before, full, e)
    choices = [_Axis(next_fast_len(whole, real=True), out)]
    step = 8
    while step < full:
        size = next_fast_len(step + e - 1, real=True)
        choices.append(_Axis(size, min(out, (size - e) // s + 1)))
        step *= 2
    return choices


@dataclass(frozen=True, slots=True)
class _Plan:
    """Tile sizes, and how many tiles, groups and channels are in work at once."""

    rows: _Axis
    columns: _Axis
    tiles: int
    groups: int
    outputs: int
    inputs: int
    by_matrices: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Cells of one transform."""
        return self.rows.size, self.columns.size

    def bytes(self, itemsize: int) -> tuple[int, int]:
        """Peak scratch for the tiles and for the spectra of the weights."""
        height, width = self.shape
        real = height * width * itemsize
        spectrum = height * (width // 2 + 1) * 2 * itemsize
        copies = 2 if self.by_matrices else 1
        sources = self.groups * self.inputs * (real + copies * spectrum)
        # The sums, once more for their reordering or one product, once more inside irfft2.
        results = self.groups * self.outputs * (real + 3 * spectrum)
        kernels = self.groups * self.outputs * self.inputs * (real + copies * spectrum)
        return self.tiles * (sources + results), kernels

    def halved(self, *names: str) -> _Plan:
        """The next smaller plan: half of the longest of these sides."""
        name = max(names, key=lambda name: int(getattr(self, name)))
        return replace(self, **{name: (getattr(self, name) + 1) // 2})

    @property
    def smallest(self) -> bool:
        """Whether nothing is left to halve."""
        return self.tiles == self.groups == self.outputs == self.inputs == 1


def _fitted(spec: Conv2dSpec, rows: _Axis, columns: _Axis) -> _Plan:
    ocg, icg = spec.OC // spec.G, spec.IC // spec.G
    by_matrices = icg > 1 and icg * ocg > _FEW_PAIRS
    plan = _Plan(rows, columns, _tiles(spec, rows, columns), spec.G, ocg, icg, by_matrices)
    itemsize = np.dtype(spec.dtype).itemsize
    # Part of a group's channels stands for one group only, hence groups come first.
    while sum(plan.bytes(itemsize)) > _BLOCK_BYTES and plan.groups > 1:
        plan = plan.halved("groups")
    few = _FEW_TILES if by_matrices else 1
    while plan.bytes(itemsize)[0] > _CACHE_BYTES and plan.tiles > few:
        plan = plan.halved("tiles")
    while sum(plan.bytes(itemsize)) > _BLOCK_BYTES and not plan.smallest:
        plan = plan.halved("tiles", "outputs", "inputs")
    return plan


def _tiles(spec: Conv2dSpec, rows: _Axis, columns: _Axis) -> int:
    return spec.N * ceil(spec.OH / rows.outputs) * ceil(spec.OW / columns.outputs)


def _cost(spec: Conv2dSpec, plan: _Plan) -> float:
    """Rough nanoseconds: transforms, repeated for each block of channels, channel products,
    and Python's part of each tile."""
    ocg, icg = spec.OC // spec.G, spec.IC // spec.G
    tiles = _tiles(spec, plan.rows, plan.columns)
    points = plan.rows.size * plan.columns.size
    blocks_out, blocks_in = ceil(ocg / plan.outputs), ceil(icg / plan.inputs)
    transforms = tiles * (spec.IC * blocks_out + spec.OC * blocks_in) + spec.OC * icg
    # SciPy's transforms and sums of products ran at 7 to 15 GFLOP/s, the matrices at 30.
    speed = 30 if plan.by_matrices else 8
    products = tiles * spec.OC * icg * 4 / speed
    calls = tiles * ceil(spec.G / plan.groups) * blocks_out * blocks_in * 5000
    return points * (transforms * 2.5 * log2(points + 1) / 12 + products) + calls


@lru_cache(maxsize=256)
def _plan(spec: Conv2dSpec) -> _Plan:
    """The fastest plan within the bound, or the smallest one."""
    itemsize = np.dtype(spec.dtype).itemsize
    rows = _axis(spec.IH, spec.OH, spec.KH, spec.SH, spec.DH, spec.PT)
    columns = _axis(spec.IW, spec.OW, spec.KW, spec.SW, spec.DW, spec.PL)
    plans = [_fitted(spec, h, w) for h, w in product(rows, columns)]
    return min(plans, key=lambda p: (max(sum(p.bytes(itemsize)), _BLOCK_BYTES), _cost(spec, p)))


def pack(spec: Conv2dSpec, w: NDArray[Any], threads: int) -> NDArray[Any]:
    """The weights as they are: the size of the transforms depends on the picture."""
    return w


@dataclass(frozen=True, slots=True)
class _Tile:
    n: int
    oh: int
    ow: int


def run(
    spec: Conv2dSpec, x: NDArray[Any], packed: NDArray[Any], bias: NDArray[Any] | None,
    out: NDArray[Any], threads: int,
) -> None:
    """For each block of channels: spectra of the weights once, then all tiles."""
    plan = _plan(spec)
    ocg, icg = spec.OC // spec.G, spec.IC // spec.G
    tiles = [
        _Tile(n, oh, ow)
        for n in range(spec.N)
        for oh in range(0, spec.OH, plan.rows.outputs)
        for ow in range(0, spec.OW, plan.columns.outputs)
    ]
    with np.errstate(all="ignore"):
        for groups in _parts(spec.G, plan.groups):
            for outputs in _parts(ocg, plan.outputs):
                channels = _channels(groups, outputs, ocg)
                for inputs in _parts(icg, plan.inputs):
                    kernels = _kernels(spec, plan, packed, groups, outputs, inputs, threads)
                    for batch in _parts(len(tiles), plan.tiles):
                        _add(spec, plan, x, kernels, out[:, channels], tiles[batch], groups,
                             inputs, threads)
                    del kernels  # before the next ones are made
                for tile in tiles:
                    part_bias = None if bias is None else bias[channels, None, None]
                    epilogue.finish(spec, _target(plan, out[:, channels], tile), part_bias)


def _parts(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def _channels(groups: slice, part: slice, per_group: int) -> slice:
    """Either whole groups or, within one group, some channels: always a run of channels."""
    return slice(
        groups.start * per_group + part.start, (groups.stop - 1) * per_group + part.stop
    )


def _kernels(
    spec: Conv2dSpec, plan: _Plan, w: NDArray[Any], groups: slice, outputs: slice,
    inputs: slice, threads: int,
) -> Spectra:
    """Conjugate spectra of the dilated weights: (groups, outputs, inputs, FH, FW/2 + 1), or
    with the frequencies first, as one matrix (outputs, inputs) for each."""
    channels = _channels(groups, outputs, spec.OC // spec.G)
    part = w[channels, inputs]
    padded = np.zeros((*part.shape[:2], *plan.shape), w.dtype)
    height, width = extent(spec.KH, spec.DH), extent(spec.KW, spec.DW)
    padded[:, :, : height : spec.DH, : width : spec.DW] = part
    spectra = rfft2(padded, overwrite_x=True, workers=threads)
    np.conj(spectra, out=spectra)
    shape = groups.stop - groups.start, outputs.stop - outputs.start, inputs.stop - inputs.start
    spectra = spectra.reshape(*shape, *spectra.shape[-2:])
    if plan.by_matrices:
        return np.ascontiguousarray(spectra.transpose(3, 4, 0, 1, 2))
    return spectra


def _add(
    spec: Conv2dSpec, plan: _Plan, x: NDArray[Any], kernels: Spectra, out: NDArray[Any],
    tiles: list[_Tile], groups: slice, inputs: slice, threads: int,
) -> None:
    """Correlate the tiles, keep every stride's cell, and add it to what other inputs gave."""
    sums = _products(plan, _sources(spec, plan, x, tiles, groups, inputs, threads), kernels)
    sums = sums.reshape(len(tiles), -1, *sums.shape[-2:])
    correlations = irfft2(sums, s=plan.shape, overwrite_x=True, workers=threads)
    for tile, part in zip(tiles, correlations, strict=True):
        target = _target(plan, out, tile)
        rows, columns = target.shape[1:]
        kept = part[:, : rows * spec.SH : spec.SH, : columns * spec.SW : spec.SW]
        if inputs.start == 0:
            target[...] = kept
        else:
            target += kept


def _sources(
    spec: Conv2dSpec, plan: _Plan, x: NDArray[Any], tiles: list[_Tile], groups: slice,
    inputs: slice, threads: int,
) -> Spectra:
    """Spectra of the padded picture's tiles: (tiles, groups, inputs, FH, FW/2 + 1)."""
    channels = _channels(groups, inputs, spec.IC // spec.G)
    buffer = np.zeros((len(tiles), channels.stop - channels.start, *plan.shape), x.dtype)
    height, width = plan.shape
    for tile, target in zip(tiles, buffer, strict=True):
        top = tile.oh * spec.SH - spec.PT
        left = tile.ow * spec.SW - spec.PL
        low, high = max(top, 0), min(top + height, spec.IH)
        near, far = max(left, 0), min(left + width, spec.IW)
        if low < high and near < far:
            target[:, low - top : high - top, near - left : far - left] = x[
                tile.n, channels, low:high, near:far
            ]
    spectra = rfft2(buffer, overwrite_x=True, workers=threads)
    shape = len(tiles), groups.stop - groups.start, inputs.stop - inputs.start
    return spectra.reshape(*shape, *spectra.shape[-2:])


def _products(plan: _Plan, sources: Spectra, kernels: Spectra) -> Spectra:
    """(tiles, groups, outputs, FH, FW/2 + 1): products summed over the inputs."""
    if plan.by_matrices:
        matrices = np.ascontiguousarray(sources.transpose(3, 4, 1, 2, 0))
        return np.ascontiguousarray((kernels @ matrices).transpose(4, 2, 3, 0, 1))
    sums = sources[:, :, None, 0] * kernels[:, :, 0]
    for i in range(1, sources.shape[2]):
        sums += sources[:, :, None, i] * kernels[:, :, i]
    return sums


def _target(plan: _Plan, out: NDArray[Any], tile: _Tile) -> NDArray[Any]:
    rows = slice(tile.oh, tile.oh + plan.rows.outputs)
    columns = slice(tile.ow, tile.ow + plan.columns.outputs)
    return out[tile.n, :, rows, columns]


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """The plan's scratch and the epilogue's."""
    plan = _plan(spec)
    channels = plan.groups * plan.outputs
    outputs = channels * plan.rows.outputs * plan.columns.outputs
    return sum(plan.bytes(np.dtype(spec.dtype).itemsize)) + epilogue.finish_bytes(spec, outputs)
