"""Convolution by real fast Fourier transforms: of tiles, or of whole pictures.

``fft_plan`` cuts the picture; here the tiles are transformed, multiplied with the spectra of
the weights, summed over the input channels, transformed back, and what is valid is kept. With
many channels that is a matrix product for each frequency (Mathieu, Henaff and LeCun, "Fast
training of convolutional networks through FFTs", 2014). Transforms go over one axis after the
other, so that rows of zeros, and rows of the result that nobody wants, are left out.

Written once over a :class:`Library` of arrays: NumPy's, or a GPU's. Everything runs in the spec's
dtype, float32 or float64. A NaN or infinity spreads over its whole tile, and the error is relative
to the largest sums of the tile, not to each.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from itertools import groupby
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..spec import Conv2dSpec
from .fft_plan import Axis, Machine, Plan, plan_for

Array: TypeAlias = NDArray[Any]
Spectra: TypeAlias = NDArray[np.complexfloating[Any, Any]]
_Cells: TypeAlias = tuple[int, slice]
"""Along an axis: the first cell of a picture in a tile, and the cells of the result."""
_Tile: TypeAlias = tuple[_Cells, _Cells, int]
"""Rows, columns, image."""


@dataclass(frozen=True, slots=True)
class Library:
    """Arrays of one kind: what makes, multiplies and transforms them, and where."""

    arrays: Any
    """The functions of NumPy, or those of the same names and arguments,"""
    transforms: Any
    """and likewise those of ``scipy.fft``."""
    machine: Machine
    finish: Callable[[Conv2dSpec, Array, Array | None], None] | None = None
    """What is done with sums and bias, (images, channels, rows, columns) of the result, while they
    are in the cache. None if nothing is."""
    place: Hashable = None
    """Where and in what order work is done, for spectra that must not be read elsewhere."""


class Weights:
    """The weights, and their spectra for the latest shapes of transforms, made when first asked
    for: a convolution over pictures of one size makes them once."""

    def __init__(self, w: Array, most_bytes: int) -> None:
        self.w = w
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._kept: OrderedDict[Any, Spectra] = OrderedDict()

    def spectra(self, key: Any, make: Callable[[], Spectra]) -> Spectra:
        """What ``make`` gives, kept within the machine's bound for all keys together."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                found = make()
                self._kept[key] = found
                while sum(spectra.nbytes for spectra in self._kept.values()) > self._most_bytes:
                    self._kept.popitem(last=False)
            else:
                self._kept.move_to_end(key)
            return found


def pack(library: Library, spec: Conv2dSpec, w: Array) -> Weights:
    """The weights with their spectra for pictures of this size; others follow in ``run``."""
    weights = Weights(w, library.machine.kept)
    plan = plan_for(spec, library.machine)
    if plan.keeps:
        for groups, outputs, inputs in _blocks(spec, plan):
            _kernels(library, spec, plan, weights, groups, outputs, inputs)
    return weights


def run(
    library: Library, spec: Conv2dSpec, x: Array, packed: Weights, bias: Array | None, out: Array
) -> None:
    """For each block of channels: spectra of the weights once, then all tiles. ``bias`` goes to
    what finishes the sums."""
    plan = plan_for(spec, library.machine)
    ocg = spec.OC // spec.G
    tiles = [
        (rows, columns, n)
        for rows in plan.rows.tiles()
        for columns in plan.columns.tiles()
        for n in range(spec.N)
    ]
    for groups, outputs, inputs in _blocks(spec, plan):
        channels = _channels(groups, outputs, ocg)
        kernels = _kernels(library, spec, plan, packed, groups, outputs, inputs)
        part_bias = None if bias is None else bias[channels, None, None]
        for batch in _parts(len(tiles), plan.tiles):
            spectra = _sources(library, spec, plan, x, tiles[batch], groups, inputs)
            sums = _products(library, plan, spectra, kernels)
            del spectra  # before more is made
            found = _back(library, plan, sums)
            del sums
            for rows, columns, images, places in _runs_of_images(tiles[batch]):
                target = out[images, channels, rows[1], columns[1]]
                _put(plan, found[places], target, add=inputs.start > 0)
                if library.finish and inputs.stop == spec.IC // spec.G:
                    library.finish(spec, target, part_bias)
            del found
        del kernels  # before the next ones are made


def _runs_of_images(tiles: list[_Tile]) -> Iterator[tuple[_Cells, _Cells, slice, slice]]:
    """Tiles that lie at one place of neighbouring images: rows, columns, images, tiles."""
    done = 0
    for (rows, columns), same in groupby(tiles, key=lambda tile: tile[:2]):
        images = [n for _, _, n in same]
        yield rows, columns, slice(images[0], images[-1] + 1), slice(done, done + len(images))
        done += len(images)


def _parts(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def _blocks(spec: Conv2dSpec, plan: Plan) -> Iterator[tuple[slice, slice, slice]]:
    """Groups, output channels and input channels of a group: sums grow from block to block."""
    for groups in _parts(spec.G, plan.groups):
        for outputs in _parts(spec.OC // spec.G, plan.outputs):
            for inputs in _parts(spec.IC // spec.G, plan.inputs):
                yield groups, outputs, inputs


def _channels(groups: slice, part: slice, per_group: int) -> slice:
    """Either whole groups or, within one group, some channels: always a run of channels."""
    return slice(
        groups.start * per_group + part.start, (groups.stop - 1) * per_group + part.stop
    )


# ---------------------------------------------------------------- the weights


def _kernels(
    library: Library, spec: Conv2dSpec, plan: Plan, weights: Weights, groups: slice,
    outputs: slice, inputs: slice,
) -> Spectra:
    """Spectra of a block of the weights: (groups, outputs, inputs, FH, FW/2 + 1), or with the
    frequencies first, as matrices: (FH, FW/2 + 1, groups, inputs, outputs)."""

    def make() -> Spectra:
        return _made(library, spec, plan, weights.w, groups, outputs, inputs)

    if not plan.keeps:
        return make()
    place = [(axis.size, axis.shift, axis.spacing) for axis in (plan.rows, plan.columns)]
    block = [(part.start, part.stop) for part in (groups, outputs, inputs)]
    return weights.spectra((*place, *block, plan.by_matrices, library.place), make)


def _made(
    library: Library, spec: Conv2dSpec, plan: Plan, w: Array, groups: slice, outputs: slice,
    inputs: slice,
) -> Spectra:
    ocg = spec.OC // spec.G
    height, half = plan.rows.size, plan.columns.size // 2 + 1
    grouped = w.reshape(spec.G, ocg, *w.shape[1:])[groups, outputs, inputs]
    if plan.by_matrices:
        grouped = grouped.swapaxes(1, 2)
    channels = grouped.shape[:3]
    if plan.part == channels[1] and not plan.by_matrices:
        return _spectra_of(library, plan, grouped)
    shape = (height, half, *channels) if plan.by_matrices else (*channels, height, half)
    made = library.arrays.empty(shape, np.result_type(w.dtype, np.complex64))
    for part in _parts(channels[1], plan.part):
        spectra = _spectra_of(library, plan, grouped[:, part])
        if plan.by_matrices:
            made[..., part, :] = spectra.transpose(3, 4, 0, 1, 2)
        else:
            made[:, part] = spectra
        del spectra  # before more is made
    return made


def _spectra_of(library: Library, plan: Plan, w: Array) -> Spectra:
    """Spectra of kernels put at their taps among zeros. Rows that hold a tap are transformed
    before they are put there, unless most rows hold one."""
    transforms = library.transforms
    columns = _spread(library, w.swapaxes(-1, -2), plan.columns).swapaxes(-1, -2)
    if plan.rows.dense:
        lines = transforms.rfft(_spread(library, columns, plan.rows))
    else:
        lines = _spread(library, transforms.rfft(columns), plan.rows)
    del columns
    return transforms.fft(lines, axis=-2, overwrite_x=True)


def _spread(library: Library, cells: Array, axis: Axis) -> Array:
    """The last axis but one put at the axis's taps; taps that coincide are added."""
    shape = list(cells.shape)
    shape[-2] = axis.size
    spread: Array = library.arrays.zeros_like(cells, shape=shape, order="K")
    for taps, places in axis.taps():
        if axis.coincide:
            spread[..., places, :] += cells[..., taps, :][..., ::-1, :]
        else:
            spread[..., places, :] = cells[..., taps, :][..., ::-1, :]
    return spread


# ---------------------------------------------------------------- the pictures


def _sources(
    library: Library, spec: Conv2dSpec, plan: Plan, x: Array, tiles: list[_Tile], groups: slice,
    inputs: slice,
) -> Spectra:
    """Spectra of the tiles: (tiles, groups, inputs, FH, FW/2 + 1)."""
    picture = x[:, _channels(groups, inputs, spec.IC // spec.G)]
    height, width = plan.rows.reads, plan.columns.size
    if len(tiles) == 1 and plan.rows.whole and plan.columns.whole and width == picture.shape[3]:
        buffer = picture[tiles[0][2], None, :, :height]
    else:
        circular = spec.padding_mode == "circular"
        buffer = library.arrays.empty((len(tiles), picture.shape[1], height, width), x.dtype)
        for rows, columns, images, places in _runs_of_images(tiles):
            _cut(plan, picture[images], rows[0], columns[0], buffer[places], circular)
    lines = library.transforms.rfft(buffer)
    del buffer
    spectra: Spectra = library.transforms.fft(
        lines, n=plan.rows.size, axis=-2, overwrite_x=True
    )
    return spectra.reshape(len(tiles), groups.stop - groups.start, -1, *spectra.shape[-2:])


def _cut(
    plan: Plan, picture: Array, top: int, left: int, target: Array, circular: bool
) -> None:
    """One tile of each (N, C, H, W) picture; zeros, or the picture again, around it."""
    rows = list(_runs(plan.rows, top, circular))
    columns = list(_runs(plan.columns, left, circular))
    filled = sum(to.stop - to.start for to, _ in rows) * sum(
        to.stop - to.start for to, _ in columns
    )
    if filled < target.shape[2] * target.shape[3]:
        target[...] = 0
    for to_rows, from_rows in rows:
        for to_columns, from_columns in columns:
            target[..., to_rows, to_columns] = picture[..., from_rows, from_columns]


def _runs(axis: Axis, start: int, circular: bool) -> Iterator[tuple[slice, slice]]:
    """(cells of a transform, cells of the picture): where the one holds the other."""
    last = start + axis.step * (axis.reads - 1)
    for turn in range(start // axis.n, last // axis.n + 1) if circular else (0,):
        origin = start - turn * axis.n
        first = max(0, -(origin // axis.step))
        stop = min(axis.reads, -((origin - axis.n) // axis.step))
        if first < stop:
            begin = origin + axis.step * first
            end = origin + axis.step * (stop - 1) + 1
            yield slice(first, stop), slice(begin, end, axis.step)


# ---------------------------------------------------------------- the products


def _products(library: Library, plan: Plan, spectra: Spectra, kernels: Spectra) -> Spectra:
    """(tiles, groups, outputs, FH, FW/2 + 1): products summed over the input channels."""
    multiply = _by_matrices if plan.by_matrices else _by_pairs
    return multiply(library.arrays, spectra, kernels)


def _by_matrices(arrays: Any, spectra: Spectra, kernels: Spectra) -> Spectra:
    """A matrix product for each frequency and group."""
    tiles, groups, inputs, height, width = spectra.shape
    outputs = kernels.shape[-1]
    matrices = arrays.ascontiguousarray(spectra.reshape(-1, height * width).T)
    matrices = matrices.reshape(height, width, tiles, groups, inputs).swapaxes(2, 3)
    sums = arrays.empty((height, width, tiles, groups, outputs), spectra.dtype)
    arrays.matmul(matrices, kernels, out=sums.swapaxes(2, 3))
    del matrices
    turned: Spectra = arrays.ascontiguousarray(sums.reshape(height * width, -1).T)
    return turned.reshape(tiles, groups, outputs, height, width)


def _by_pairs(arrays: Any, spectra: Spectra, kernels: Spectra) -> Spectra:
    """One input channel after the other; a single pair is multiplied in place."""
    if kernels.shape[1] == kernels.shape[2] == 1:
        spectra *= kernels[:, :, 0]
        return spectra
    sums = spectra[:, :, None, 0] * kernels[:, :, 0]
    term = arrays.empty_like(sums) if spectra.shape[2] > 1 else sums
    for i in range(1, spectra.shape[2]):
        arrays.multiply(spectra[:, :, None, i], kernels[:, :, i], out=term)
        sums += term
    return sums


# ---------------------------------------------------------------- the result


def _back(library: Library, plan: Plan, sums: Spectra) -> Array:
    """(tiles, channels, rows, columns) of the result, and what wrapped around beside it."""
    rows, columns = plan.rows, plan.columns
    sums = sums.reshape(len(sums), -1, *sums.shape[-2:])
    if rows.fold > 1:
        sums = sums.reshape(*sums.shape[:2], rows.fold, rows.back, -1).sum(2)
        sums *= sums.real.dtype.type(1 / rows.fold)
    lines: Spectra = library.transforms.ifft(sums, axis=-2, overwrite_x=True)
    lines = lines[..., : rows.outputs, :]
    if columns.fold > 1:
        lines = _folded(library.arrays, lines, columns)
    found: Array = library.transforms.irfft(lines, n=columns.back)
    return found


def _folded(arrays: Any, lines: Spectra, axis: Axis) -> Spectra:
    """Half spectra of real rows, folded to those of every S-th cell: the other half of each is
    its mirror image, conjugated."""
    half = axis.back // 2 + 1
    sums: Spectra = arrays.zeros((*lines.shape[:-1], half), lines.dtype)
    for turn in range(axis.fold):
        start = turn * axis.back
        if 2 * turn < axis.fold:
            sums += lines[..., start : start + half]
        else:
            mirrored = lines[..., axis.size - start - half + 1 : axis.size - start + 1]
            sums += mirrored[..., ::-1].conj()
    sums *= sums.real.dtype.type(1 / axis.fold)
    return sums


def _put(plan: Plan, found: Array, target: Array, *, add: bool) -> None:
    """Into the result; a periodic one repeats itself."""
    height = plan.rows.back if plan.rows.periodic else target.shape[2]
    width = plan.columns.back if plan.columns.periodic else target.shape[3]
    for row in range(0, target.shape[2], height):
        for column in range(0, target.shape[3], width):
            part = target[..., row : row + height, column : column + width]
            kept = found[..., : part.shape[2], : part.shape[3]]
            if add:
                part += kept
            else:
                part[...] = kept


def workspace_bytes(machine: Machine, spec: Conv2dSpec) -> int:
    """The plan's scratch, and the spectra that the weights keep."""
    plan = plan_for(spec, machine)
    kept = spec.OC * (spec.IC // spec.G) * plan.spectrum if plan.keeps else 0
    return plan.scratch() + kept
