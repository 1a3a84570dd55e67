"""The rows of a case, checked and then timed in turns.

Weights are packed beforehand by a plan, as in a network that runs. The inputs are two or three,
used in turn, so that no call finds the answer in a cache. Every row's first result is held
against a sum in float64, and a row that exceeds the error that it states is not timed. The rows
take turns (A B C, A B C, …), so that a slow spell of the machine falls on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from time import sleep
from typing import Any

import numpy as np

from ..config import options
from ..ops.convolution import conv2d
from ..plan import Conv2dPlan, plan_conv2d
from ..registry import Kernel
from ..trial import SAMPLE_SECONDS, SETTLE_SECONDS, no_collector
from .cases import ON_CARD, Case
from .devices import Call, Card, Device
from .layers import Array, Layer

ROUNDS = 5
TRANSFERS = 5
"""Copies to the card and back that are timed; the least counts."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one row took."""

    case: Case
    row: Kernel
    auto: str
    """The row that a plan chooses by itself for this case."""
    samples: tuple[float, ...]
    """Seconds per call."""
    iterations: int
    """Calls in a sample."""
    to_device: float | None = None
    from_device: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A row that is wrong, or that ended with an error."""

    case: Case
    row: Kernel
    reason: str

    def __str__(self) -> str:
        return f"{self.row.name} on {self.case.layer}, batch {self.case.layer.N}: {self.reason}"


Outcome = Measured | Failed


def run(
    cases: Iterable[Case], seconds: float, advance: Callable[[], object] = lambda: None
) -> Iterator[Outcome]:
    """Time every case, about ``seconds`` for each row; ``advance`` is called once a row."""
    data: _Data | None = None
    for case in cases:
        if data is None or data.layer != case.layer:
            data = _Data(case.layer)
        with options(threads=case.threads), no_collector():
            outcomes = list(_case(case, data, seconds, advance))
        yield from outcomes


class _Data:
    """A layer's arrays and its right result, kept for all of its cases."""

    def __init__(self, layer: Layer) -> None:
        self.layer, self.weights, self.inputs = layer, layer.weights(), layer.inputs()
        first = self.inputs[0].astype(np.float64)
        self.right = conv2d(
            first, self.weights.astype(np.float64), precision="strict", **layer.geometry
        )

    def error(self, got: Array) -> float:
        """Root mean square of the error, relative to the root mean square of what is right."""
        if got.shape != self.right.shape:
            return math.inf
        wrong = np.mean((got.astype(np.float64) - self.right) ** 2)
        error = math.sqrt(wrong / np.mean(self.right**2))
        return error if math.isfinite(error) else math.inf


def _case(
    case: Case, data: _Data, seconds: float, advance: Callable[[], object]
) -> Iterator[Outcome]:
    device, layer = case.device, case.layer
    weights, inputs = device.put(data.weights), [device.put(x) for x in data.inputs]

    def plan(algorithm: str = "auto", backend: str = "auto") -> Conv2dPlan:
        return plan_conv2d(
            weights, x_shape=layer.x_shape, algorithm=algorithm, backend=backend,
            precision=case.precision, **layer.geometry,
        )

    there = ON_CARD[0] if device.kind == "gpu" else "auto"
    auto = plan(backend=there).explain().chosen
    products = math.prod(layer.w_shape[1:])
    sides: dict[Kernel, _Side] = {}
    transfers: tuple[float, float] | None = None
    for row in case.rows:
        try:
            prepared = plan(row.algorithm, row.backend)
            result = prepared(inputs[0])
            error = data.error(device.get(result))
            if not error <= row.bound(products):
                raise ArithmeticError(
                    f"its rms error is {error:.1e}; it states {row.bound(products):.1e}"
                )
            if transfers is None and isinstance(device, Card):
                transfers = _transfers(device, data.inputs[0], result)
            sides[row] = _Side(device, [partial(prepared, x) for x in inputs])
        except (ArithmeticError, MemoryError, RuntimeError, ValueError, TypeError) as problem:
            yield Failed(case, row, str(problem) or type(problem).__name__)
            advance()
    for number in range(ROUNDS):
        for side in sides.values():
            if case.threads > 1:
                sleep(SETTLE_SECONDS)
            side.turn(seconds / ROUNDS)
            if number == ROUNDS - 1:
                advance()
    for row, side in sides.items():
        to_device, from_device = transfers or (None, None)
        yield Measured(case, row, auto, tuple(side.samples), side.iterations, to_device,
                       from_device)


def _transfers(card: Card, x: Array, result: Any) -> tuple[float, float]:
    """The least seconds for the input to the card and for the result back."""
    there = min(card.transfer_seconds(partial(card.put, x)) for _ in range(TRANSFERS))
    back = min(card.transfer_seconds(partial(card.get, result)) for _ in range(TRANSFERS))
    return there, back


class _Side:
    """One row in the contest: its samples go round the inputs."""

    def __init__(self, device: Device, calls: Sequence[Call]) -> None:
        self._device = device
        device.seconds(calls[:1])  # may compile
        once = device.seconds(calls)
        rounds = math.ceil(SAMPLE_SECONDS / max(once, 1e-7) / len(calls))
        batches = [[call] for call in calls] if once >= SAMPLE_SECONDS else [list(calls) * rounds]
        self.iterations = len(batches[0])
        self._batches = cycle(batches)
        self.samples: list[float] = []

    def turn(self, seconds: float) -> None:
        """Calls that fill the caches and wake the threads, then samples for some seconds."""
        self._device.seconds(next(self._batches))
        while seconds > 0 or not self.samples:
            sample = self._device.seconds(next(self._batches))
            self.samples.append(sample)
            seconds -= sample * self.iterations
