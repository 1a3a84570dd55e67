"""How a convolution is cut into Fourier transforms: pure geometry, memory and a cost model.

Each axis is cut by itself. In *tiles* of F cells (overlap-save; Oppenheim and Schafer,
"Discrete-Time Signal Processing") a kernel of extent E gives F − E + 1 cells of the correlation,
the rest is wrapped around and left out. As a *whole*, one transform holds the picture, and the
padding after it may coincide with that before. *Periodic*, it is the circular picture itself.

A stride S divides F, so that the spectrum folded to F/S frequencies is that of every S-th cell:
nothing else is transformed back. A dilated kernel meets, for each of its phases, only cells that
lie DH apart: a picture cut into these phases needs the kernel itself, not its dilated extent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import ceil, gcd, log2

import numpy as np
from scipy.fft import next_fast_len

from ..spec import Conv2dSpec
from ..spec.arguments import extent

_FEW_PAIRS = 16
"""Up to so many pairs of channels in a group, adding products beats one small matrix product for
each frequency."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the cut must know of where it is computed."""

    scratch: int
    """Bound on the scratch of one call, which only a single tile or kernel may exceed."""
    kept: int
    """Bound on the spectra that packed weights keep for later calls."""
    cache: int
    """Bytes that are best in work at once."""
    batch: int
    """Of tiles that meet the same matrices: these are read from memory for each batch."""
    pace: float
    """Seconds of a transform or product beside those of SciPy on one core."""
    tile_seconds: float
    """Python's part of cutting out a tile and putting back its result,"""
    run_seconds: float
    """and of a run of tiles from one place of several images."""


HOST = Machine(48 << 20, 160 << 20, 2 << 20, 16 << 20, 1.0, 6e-6, 0.0)
"""Tiles in work stay in the second cache."""
CARD = Machine(1 << 30, 1 << 30, 512 << 20, 512 << 20, 0.01, 0.0, 60e-6)
"""A GPU that works through memory, and is faster the more it has to do at once; guesses, measured
on no card."""


# ---------------------------------------------------------------- one axis


@dataclass(frozen=True, slots=True)
class Axis:
    """One way to cut an axis of n cells into transforms."""

    n: int
    out: int
    S: int
    before: int
    k: int
    spacing: int
    """Cells between the kernel's taps in a transform."""
    phases: int
    step: int
    """Cells of the picture between neighbours in a transform."""
    fold: int
    """The stride within a phase."""
    size: int
    outputs: int
    """Cells of the result that one transform gives."""
    reads: int
    """Cells of the picture that one transform holds; zeros follow."""
    whole: bool = False
    """Whether one transform holds the picture from its first cell on."""
    shift: int = 0
    """How far back the kernel lies, so that a whole picture begins at its first cell."""
    periodic: bool = False

    @property
    def back(self) -> int:
        """Cells of an inverse transform."""
        return self.size // self.fold

    def tiles(self) -> Iterator[tuple[int, slice]]:
        """Where each transform begins in the picture, and which cells of the result it gives."""
        for phase in range(self.phases):
            for o in range(phase, self.out, self.phases * self.outputs):
                stop = min(self.out, o + self.phases * self.outputs)
                start = 0 if self.whole else o * self.S - self.before
                yield start, slice(o, stop, self.phases)

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return sum(
            ceil(len(range(phase, self.out, self.phases)) / self.outputs)
            for phase in range(min(self.phases, self.out))
        )

    @property
    def dense(self) -> bool:
        """Whether most cells of a kernel's transform hold a tap."""
        return 2 * self.k >= self.size

    @property
    def coincide(self) -> bool:
        """Whether the kernel is wider than a transform, which then is a circular picture."""
        return extent(self.k, self.spacing) > self.size

    def taps(self) -> Iterator[tuple[slice, slice]]:
        """(taps of the kernel, cells of a transform), run by run: taps lie backwards, for a
        correlation, and those before the first cell come round at the end."""
        first = 0
        while first < self.k:
            place = (self.shift - self.spacing * first) % self.size
            stop = min(self.k, first + place // self.spacing + 1)
            lowest = place - self.spacing * (stop - 1 - first)
            yield slice(first, stop), slice(lowest, place + 1, self.spacing)
            first = stop


def _choices(
    n: int, out: int, k: int, s: int, d: int, before: int, circular: bool
) -> Iterator[Axis]:
    shared = gcd(s, d)
    for p in sorted({1, d // shared}):
        spacing, step, common = (d, 1, s) if p == 1 else (1, d, s // shared)
        axis = Axis(n, out, s, before, k, spacing, p, step, common, 0, 0, 0)
        e = extent(k, spacing)
        most = (ceil(out / p) - 1) * common + 1  # cells of the result, as if without a stride
        if p == 1:
            if circular:
                if n % s == 0:
                    yield replace(axis, size=n, outputs=out, reads=n, whole=True,
                                  shift=before, periodic=True)
            else:
                need = most + e - 1
                least = max(min(need, before + n), need - before, most, e)
                for size in _sizes(least, common):
                    reads = max(0, min(n, need - before))
                    yield replace(axis, size=size, outputs=out, reads=reads, whole=True,
                                  shift=before)
        # Tiles: powers of two and their 1½-folds, up to one that holds everything.
        outputs, room = 0, 8
        while outputs * common < most:
            if room >= e:
                size = _fast(room, common)
                outputs = (size - e) // common + 1
                yield replace(axis, size=size, outputs=outputs, reads=size)
            room = room * 3 // 2 if room & (room - 1) == 0 else room // 3 * 4


def _fast(least: int, multiple: int) -> int:
    return int(next_fast_len(ceil(least / multiple), real=True)) * multiple


def _sizes(least: int, multiple: int) -> set[int]:
    """The next quick lengths, and one with more factors of two, which may be quicker still."""
    return {_fast(least, multiple), _fast(ceil(least / 64) * 64, multiple)}


# ---------------------------------------------------------------- the plane, and its blocks


@dataclass(frozen=True, slots=True)
class Plan:
    """The cut of both axes, and how many tiles, groups and channels are in work at once."""

    rows: Axis
    columns: Axis
    machine: Machine
    itemsize: int
    tiles: int
    groups: int
    outputs: int
    inputs: int
    by_matrices: bool
    keeps: bool
    """Whether the spectra of all weights are kept from call to call."""

    @property
    def shape(self) -> tuple[int, int]:
        """Cells of a forward transform."""
        return self.rows.size, self.columns.size

    @property
    def spectrum(self) -> int:
        """Bytes of one spectrum."""
        return self.rows.size * (self.columns.size // 2 + 1) * 2 * self.itemsize

    @property
    def part(self) -> int:
        """Channels whose weights are transformed at a time: inputs of the matrices, or outputs."""
        these, others = self.outputs, self.inputs
        if self.by_matrices:
            these, others = others, these
        return max(1, min(these, self.machine.cache // (self.groups * others * self.spectrum)))

    def tile_bytes(self) -> int:
        """Peak scratch for the tiles in work."""
        sources, results = self.groups * self.inputs, self.groups * self.outputs
        real = self.rows.size * self.columns.size * self.itemsize
        back = self.rows.outputs * self.columns.back * self.itemsize
        # Sums, and beside them a copy of the sources or of them, or one product.
        copies = max(sources, results) if self.by_matrices else results * (self.inputs > 1)
        if self.rows.fold * self.columns.fold > 1:
            copies = max(copies, results)
        return self.tiles * max(
            sources * (real + 2 * self.spectrum),
            (sources + results + copies) * self.spectrum,
            results * (2 * self.spectrum + back),
        )

    def kernel_bytes(self) -> int:
        """Bytes of the spectra of the weights in work."""
        return self.groups * self.outputs * self.inputs * self.spectrum

    def making_bytes(self) -> int:
        """Peak scratch, beside the spectra themselves, while they are made."""
        real = self.columns.size * self.itemsize
        rows = self.rows.k * (self.columns.size // 2 + 1) * 2 * self.itemsize
        between = self.rows.size * real if self.rows.dense else rows
        others = self.outputs if self.by_matrices else self.inputs
        pairs = self.groups * others * self.part
        return pairs * (self.rows.k * real + between + max(rows, self.spectrum))

    def scratch(self) -> int:
        """Peak scratch of a call: tiles are cut when the spectra of the weights are there."""
        kernels = 0 if self.keeps else self.kernel_bytes()
        return kernels + max(self.tile_bytes(), self.making_bytes())

    def halved(self, *names: str) -> Plan:
        """The next smaller plan: half of the longest of these sides."""
        name = max(names, key=lambda name: int(getattr(self, name)))
        return replace(self, **{name: (getattr(self, name) + 1) // 2})

    @property
    def smallest(self) -> bool:
        """Whether nothing is left to halve."""
        return self.tiles == self.groups == self.outputs == self.inputs == 1


def _fitted(spec: Conv2dSpec, machine: Machine, rows: Axis, columns: Axis) -> Plan:
    ocg, icg = spec.OC // spec.G, spec.IC // spec.G
    matrices = icg > 1 and icg * ocg > _FEW_PAIRS
    tiles = spec.N * rows.count * columns.count
    itemsize = np.dtype(spec.dtype).itemsize
    plan = Plan(rows, columns, machine, itemsize, tiles, spec.G, ocg, icg, matrices, keeps=True)
    plan = replace(plan, keeps=plan.kernel_bytes() <= machine.kept)
    in_work = machine.batch if matrices else machine.cache
    while plan.tile_bytes() > in_work and plan.tiles > 1:
        plan = plan.halved("tiles")
    # Part of a group's channels stands for one group only, hence groups come first.
    while plan.scratch() > machine.scratch and plan.groups > 1:
        plan = plan.halved("groups")
    while plan.scratch() > machine.scratch and not plan.smallest:
        plan = plan.halved("tiles", "outputs", "inputs")
    return plan


# ---------------------------------------------------------------- cost


def _cell_seconds(plan: Plan) -> float:
    """Seconds of a transform for each of its cells."""
    cells = plan.rows.size * plan.columns.size
    seconds = 1.4e-9 + 0.05e-9 * log2(cells)
    beyond = log2(max(1.0, cells * plan.itemsize / plan.machine.cache))
    seconds += 0.3e-9 * max(0.0, beyond - 1)
    return seconds * (1.7 if plan.itemsize == 8 else 1.0) * _roughness(plan.rows.size) * (
        _roughness(plan.columns.size)
    )


@lru_cache(maxsize=1024)
def _roughness(size: int) -> float:
    """How much slower a length is than a power of two: its odd prime factors cost."""
    cost, rest = 1.0, size
    for prime, price in ((3, 0.03), (5, 0.03), (7, 0.06), (11, 0.08)):
        while rest % prime == 0:
            rest //= prime
            cost += price
    while rest % 2 == 0:
        rest //= 2
    return cost if rest == 1 else max(cost, 2.5)


def seconds(spec: Conv2dSpec, plan: Plan) -> float:
    """Predicted time of a call on one thread with the spectra of the weights at hand."""
    machine = plan.machine
    ocg, icg = spec.OC // spec.G, spec.IC // spec.G
    tiles = spec.N * plan.rows.count * plan.columns.count
    cells = plan.rows.size * plan.columns.size
    back = plan.rows.back * plan.columns.back
    blocks_out, blocks_in = ceil(ocg / plan.outputs), ceil(icg / plan.inputs)
    cell = _cell_seconds(plan)
    forward = tiles * spec.IC * blocks_out * cells * (cell + 0.3e-9)
    backward = tiles * spec.OC * blocks_in * (cells * 0.5e-9 * (back < cells) + back * (
        1.1 * cell + 0.3e-9))
    wide = plan.itemsize / 4
    # A complex product with a sum costs 8 operations; half of the frequencies are computed.
    matrix = 0.075e-9 * (1 + 8 / plan.tiles) if plan.by_matrices else 0.5e-9
    products = wide * tiles * spec.OC * icg * cells / 2 * matrix
    moved = wide * tiles * cells * (spec.IC + spec.OC) * (0.6e-9 if plan.by_matrices else 0.0)
    making = 0.0 if plan.keeps else spec.OC * icg * cells * (1.2 * cell)
    work = forward + backward + products + moved + making
    runs = plan.rows.count * plan.columns.count + ceil(tiles / plan.tiles)
    calls = (tiles * machine.tile_seconds + runs * machine.run_seconds) * (
        ceil(spec.G / plan.groups) * blocks_out * blocks_in)
    return machine.pace * work + calls


@lru_cache(maxsize=256)
def plan_for(spec: Conv2dSpec, machine: Machine = HOST) -> Plan:
    """The fastest plan within the bound on scratch, or the smallest one."""
    circular = spec.padding_mode == "circular"
    rows = _choices(spec.IH, spec.OH, spec.KH, spec.SH, spec.DH, spec.PT, circular)
    columns = list(
        _choices(spec.IW, spec.OW, spec.KW, spec.SW, spec.DW, spec.PL, circular)
    )
    plans = [
        _fitted(spec, machine, h, w) for h, w in product(rows, columns) if _alike(h, w, spec)
    ]
    return min(
        plans, key=lambda plan: (max(plan.scratch(), machine.scratch), seconds(spec, plan))
    )


def _alike(rows: Axis, columns: Axis, spec: Conv2dSpec) -> bool:
    """Leaves out cuts of very unequal sides, of which there are many, and too many phases."""
    square = abs(log2(rows.size / columns.size)) <= 1.6
    narrow = min(spec.IH, spec.IW) * 4 < max(spec.IH, spec.IW)
    return square or narrow or rows.outputs == spec.OH or columns.outputs == spec.OW
