"""What is timed: the rows that can serve a layer, on one device, with a number of threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..dispatch import predicted, verdicts
from ..registry import Kernel
from .devices import Device
from .layers import Layer

LONGEST = 2.0
"""A row that is predicted to take more seconds for one call on one thread is left out: the
naive loops of the reference, mostly."""
ON_CARD = ("cuda",)
"""Backends that run on a card; all others run on the processor."""


@dataclass(frozen=True, slots=True)
class Case:
    """One layer with a batch, and the rows that take turns on it."""

    layer: Layer
    device: Device
    threads: int
    precision: str
    rows: tuple[Kernel, ...]


def cases(
    layers: Iterable[Layer], devices: Iterable[Device], *, backends: Sequence[str],
    algorithms: Sequence[str], threads: Sequence[int], batches: Sequence[int], precision: str,
) -> Iterator[Case]:
    """Every layer with every batch (its own if none is given), device and number of threads.

    A card has no threads to choose: its cases come once. Cases that no row can serve are left
    out.
    """
    devices = list(devices)
    for layer in _batched(layers, batches):
        for device in devices:
            rows = tuple(_rows(layer, device, backends, algorithms, precision))
            if rows:
                for number in threads if device.kind == "cpu" else (1,):
                    yield Case(layer, device, number, precision, rows)


def _batched(layers: Iterable[Layer], batches: Sequence[int]) -> Iterator[Layer]:
    """Each geometry once: a table may itself have a layer with several batches."""
    seen = set()
    for layer in layers:
        for number in batches or (layer.N,):
            sized = replace(layer, N=number)
            if (nameless := replace(sized, name="")) not in seen:
                seen.add(nameless)
                yield sized


def _rows(
    layer: Layer, device: Device, backends: Sequence[str], algorithms: Sequence[str],
    precision: str,
) -> Iterator[Kernel]:
    spec = layer.spec(precision=precision)
    on_card = device.kind == "gpu"
    for backend in backends:
        if (backend in ON_CARD) != on_card:
            continue
        for verdict in verdicts("conv2d", spec, "auto", backend):
            row = verdict.row
            if verdict.reason or row.algorithm not in algorithms:
                continue
            if on_card or predicted(row, spec, packed=True) <= LONGEST:
                yield row
