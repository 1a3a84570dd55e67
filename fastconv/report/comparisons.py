"""What the page shows, computed from measurements; no drawing and no HTML."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from .reading import Measurement

FAMILIES = ("im2col", "direct", "FFT", "Winograd")
"""The four ways to convolve, in the order of their columns; others follow by name."""
CLOSE = 0.1
"""A loss up to here counts as a choice that was right enough."""

K = TypeVar("K", bound=Hashable)


def family(algorithm: str) -> str:
    """The column that an algorithm belongs to: tile sizes of Winograd share one."""
    if algorithm.startswith("winograd"):
        return "Winograd"
    return "FFT" if algorithm == "fft" else algorithm


def families(measurements: Iterable[Measurement]) -> list[str]:
    """The columns that are needed."""
    found = {family(m.algorithm) for m in measurements}
    return [*(f for f in FAMILIES if f in found), *sorted(found - set(FAMILIES))]


def grouped(
    measurements: Iterable[Measurement], key: Callable[[Measurement], K]
) -> dict[K, list[Measurement]]:
    """By key, in the order in which the keys come."""
    found: dict[K, list[Measurement]] = {}
    for each in measurements:
        found.setdefault(key(each), []).append(each)
    return found


def fastest(measurements: Iterable[Measurement]) -> Measurement:
    """The one with the least time."""
    return min(measurements, key=lambda m: m.seconds)


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive numbers, at least one."""
    return math.exp(math.fsum(map(math.log, values)) / len(values))


# ---------------------------------------------------------------- settings


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """What is the same in one table: a device, its threads, the batch."""

    kind: str
    device: str
    threads: int
    batch: int

    @property
    def title(self) -> str:
        """In words."""
        batch = f"batch {self.batch}"
        if self.kind == "gpu":
            return f"{self.device}, {batch}"
        return f"{self.device}, {self.threads} thread{'s' * (self.threads > 1)}, {batch}"


def setting(m: Measurement) -> Setting:
    """That of a measurement."""
    return Setting(m.kind, m.device, m.threads, m.images)


Key = tuple[str, str]
"""A layer and its case: what must be equal for times to be compared."""


def _layer(m: Measurement) -> Key:
    return m.layer, m.case


# ---------------------------------------------------------------- algorithms


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer of a table: the fastest row of each family."""

    layer: str
    best: dict[str, Measurement]

    @property
    def winner(self) -> str:
        """The family of the fastest."""
        return min(self.best, key=lambda f: self.best[f].seconds)


@dataclass(frozen=True, slots=True)
class AlgorithmTable:
    """Layers × families in one setting."""

    setting: Setting
    families: list[str]
    rows: list[LayerRow]


def algorithm_tables(measurements: Sequence[Measurement]) -> list[AlgorithmTable]:
    """im2col, direct, FFT, Winograd and whatever else there is, layer by layer."""
    tables = []
    for where, here in sorted(grouped(measurements, setting).items()):
        rows = [
            LayerRow(layer[0], {
                name: fastest(each)
                for name, each in grouped(there, lambda m: family(m.algorithm)).items()
            })
            for layer, there in grouped(here, _layer).items()
        ]
        tables.append(AlgorithmTable(where, families(here), rows))
    return tables


# ---------------------------------------------------------------- what auto chose


@dataclass(frozen=True, slots=True)
class Choice:
    """The row that auto takes for a layer beside the fastest one."""

    layer: str
    auto: str
    taken: Measurement | None
    """None where auto's row was not measured."""
    best: Measurement

    @property
    def loss(self) -> float | None:
        """How much longer auto's row takes, as a share of the fastest one's time."""
        return None if self.taken is None else self.taken.seconds / self.best.seconds - 1


@dataclass(frozen=True, slots=True)
class ChoiceTable:
    """All layers of a setting."""

    setting: Setting
    choices: list[Choice]

    @property
    def losses(self) -> list[float]:
        """Of the layers where auto's row was measured."""
        return [c.loss for c in self.choices if c.loss is not None]

    @property
    def mean_loss(self) -> float | None:
        """From the geometric mean of the ratios."""
        losses = self.losses
        return geometric_mean([1 + loss for loss in losses]) - 1 if losses else None

    @property
    def close(self) -> float | None:
        """The share of layers that lose at most :data:`CLOSE`."""
        losses = self.losses
        return sum(loss <= CLOSE for loss in losses) / len(losses) if losses else None

    @property
    def worst(self) -> Choice | None:
        """The layer that loses most."""
        known = [c for c in self.choices if c.loss is not None]
        return max(known, key=lambda c: c.loss or 0.0, default=None)


def choice_tables(measurements: Sequence[Measurement]) -> list[ChoiceTable]:
    """For each setting and layer what auto takes, and what it loses by it."""
    tables = []
    for where, here in sorted(grouped(measurements, setting).items()):
        choices = []
        for layer, there in grouped(here, _layer).items():
            auto = next((m.auto for m in there if m.auto), "")
            if auto:
                taken = next((m for m in there if m.row == auto), None)
                choices.append(Choice(layer[0], auto.partition(".")[2] or auto, taken,
                                      fastest(there)))
        if choices:
            tables.append(ChoiceTable(where, choices))
    return tables


# ---------------------------------------------------------------- processor and card


@dataclass(frozen=True, slots=True)
class Duel:
    """The fastest on the processor beside the fastest on the card."""

    layer: str
    batch: int
    cpu: Measurement
    gpu: Measurement

    @property
    def ratio(self) -> float:
        """Time of the processor ÷ time of the card, arrays being where they are needed."""
        return self.cpu.seconds / self.gpu.seconds

    @property
    def transfers(self) -> float | None:
        """Seconds for the input to the card and the result back."""
        if self.gpu.to_device is None or self.gpu.from_device is None:
            return None
        return self.gpu.to_device + self.gpu.from_device

    @property
    def ratio_with_transfers(self) -> float | None:
        """The same when input and result travel with every call."""
        moved = self.transfers
        return None if moved is None else self.cpu.seconds / (self.gpu.seconds + moved)


@dataclass(frozen=True, slots=True)
class DuelTable:
    """One processor against one card."""

    cpu: str
    gpu: str
    duels: list[Duel]

    @property
    def by_batch(self) -> list[DuelTable]:
        """A table for each batch."""
        batches = sorted({duel.batch for duel in self.duels})
        return [
            replace(self, duels=[d for d in self.duels if d.batch == batch]) for batch in batches
        ]

    @property
    def mean(self) -> float:
        """Geometric mean of the ratios."""
        return geometric_mean([duel.ratio for duel in self.duels])

    @property
    def mean_with_transfers(self) -> float | None:
        """The same with transfers, where all are known."""
        known = [duel.ratio_with_transfers for duel in self.duels]
        ratios = [ratio for ratio in known if ratio is not None]
        return geometric_mean(ratios) if ratios and len(ratios) == len(known) else None


def duel_tables(measurements: Sequence[Measurement]) -> list[DuelTable]:
    """Every processor against every card, on the layers and batches that both have run."""
    by_kind = grouped(measurements, lambda m: m.kind)
    tables = []
    for cpu, ours in grouped(by_kind.get("cpu", []), lambda m: m.device).items():
        for gpu, theirs in grouped(by_kind.get("gpu", []), lambda m: m.device).items():
            left = grouped(ours, lambda m: (m.operation, *_layer(m), m.images))
            right = grouped(theirs, lambda m: (m.operation, *_layer(m), m.images))
            duels = [
                Duel(key[1], key[3], fastest(left[key]), fastest(right[key]))
                for key in left if key in right
            ]
            if duels:
                tables.append(DuelTable(cpu, gpu, duels))
    return tables


# ---------------------------------------------------------------- scaling


@dataclass(frozen=True, slots=True)
class Line:
    """One layer's gain: 1 at the smallest of its batches or thread counts."""

    label: str
    points: dict[int, float]


@dataclass(frozen=True, slots=True)
class Scaling:
    """The lines of one device, and their geometric mean where all of them have a point."""

    device: str
    kind: str
    fixed: str
    """What is the same on all lines, in words."""
    lines: list[Line]

    @property
    def at(self) -> list[int]:
        """Where some line has a point."""
        return sorted({x for line in self.lines for x in line.points})

    @property
    def mean(self) -> dict[int, float]:
        """Of all lines."""
        return {
            x: geometric_mean([line.points[x] for line in self.lines]) for x in self.at
            if all(x in line.points for line in self.lines)
        }


def batch_scaling(measurements: Sequence[Measurement]) -> list[Scaling]:
    """Pictures a second against those of the smallest batch, with the most threads: the fastest
    row of each."""
    most: dict[tuple[str, str], int] = {}
    for m in measurements:
        most[m.kind, m.device] = max(m.threads, most.get((m.kind, m.device), 1))
    found = []
    for (kind, device), threads in sorted(most.items()):
        here = [m for m in measurements if (m.kind, m.device, m.threads) == (kind, device, threads)]
        lines = list(_lines(
            grouped(here, lambda m: (m.operation, m.layer)), lambda m: m.images,
            lambda m: m.seconds / m.images,
        ))
        if lines:
            fixed = "" if kind == "gpu" else f"{threads} thread{'s' * (threads > 1)}"
            found.append(Scaling(device, kind, fixed, lines))
    return found


def thread_scaling(measurements: Sequence[Measurement]) -> list[Scaling]:
    """Speed against that with the fewest threads: the fastest row of each."""
    found = []
    processors = [m for m in measurements if m.kind == "cpu"]
    for (device, batch), here in sorted(
        grouped(processors, lambda m: (m.device, m.images)).items()
    ):
        lines = list(_lines(
            grouped(here, lambda m: (m.operation, *_layer(m))), lambda m: m.threads,
            lambda m: m.seconds,
        ))
        if lines:
            found.append(Scaling(device, "cpu", f"batch {batch}", lines))
    return found


def _lines(
    layers: dict[K, list[Measurement]], x: Callable[[Measurement], int],
    cost: Callable[[Measurement], float],
) -> Iterable[Line]:
    for measured in layers.values():
        best = {at: min(map(cost, each)) for at, each in grouped(measured, x).items()}
        if len(best) > 1:
            first = best[min(best)]
            yield Line(measured[0].layer, {at: first / best[at] for at in sorted(best)})


# ---------------------------------------------------------------- other operations


@dataclass(frozen=True, slots=True)
class BackendTable:
    """An operation that has one algorithm: layers × backends in one setting."""

    operation: str
    setting: Setting
    backends: list[str]
    rows: list[LayerRow]


def backend_tables(measurements: Sequence[Measurement]) -> list[BackendTable]:
    """Pooling, activations and whatever else there is, backend by backend."""
    tables = []
    for (operation, where), here in grouped(
        measurements, lambda m: (m.operation, setting(m))
    ).items():
        rows = [
            LayerRow(layer[0], {
                name: fastest(each) for name, each in grouped(there, lambda m: m.backend).items()
            })
            for layer, there in grouped(here, _layer).items()
        ]
        names = list(dict.fromkeys(m.backend for m in here))
        tables.append(BackendTable(operation, where, names, rows))
    return tables
