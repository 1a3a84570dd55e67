"""Rates of the rows, costs of a call, and where a second thread begins to pay."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from scipy.optimize import nnls

import fastconv
from fastconv import heuristics
from fastconv.registry import Kernel
from fastconv.spec import ActivationSpec, Pool2dSpec, Spec

from ..layers import Layer
from ..timing import SETTLE_SECONDS, Call, alternate
from . import kernels

ROUNDS = 3
GAIN = 1.1
"""A second thread pays when it makes the work this much faster."""

Measured = dict[Layer, dict[Kernel, float]]
"""Seconds of every row on every layer, one thread."""


def convolutions(layers: Sequence[Layer], seconds: float) -> Measured:
    """Every conv2d row on every layer."""
    measured = {}
    for layer in layers:
        rows = kernels.serving("conv2d", layer.spec())
        calls = {row: kernels.convolution(row, layer, 1) for row in rows}
        measured[layer] = _in_turns(calls, seconds)
    return measured


def conv_costs(measured: Measured) -> dict[Kernel, tuple[float, float]]:
    """Per row the two prices of ``heuristics.work``, in seconds for 10⁹: those that come
    nearest to all measured times, each layer's error counted relative to its time."""
    found = {}
    for row in dict.fromkeys(row for times in measured.values() for row in times):
        shares = [
            np.array(heuristics.work(row.algorithm, layer.spec())) / 1e9 / times[row]
            for layer, times in measured.items() if row in times
        ]
        prices, _ = nnls(np.array(shares), np.ones(len(shares)))
        found[row] = float(prices[0]), float(prices[1])
    return found


def cell_rates(seconds: float) -> dict[str, list[float]]:
    """Giga-cells per second that each backend's pooling and relu visit."""
    shape = 1, 64, 112, 112
    found: dict[str, list[float]] = {}
    for pool in (
        Pool2dSpec.of("max", shape, 2),
        Pool2dSpec.of("max", shape, 3, stride=2, padding=1),
        Pool2dSpec.of("avg", shape, 3, stride=1, padding=1),
        Pool2dSpec.of_adaptive("avg", shape, 1),
    ):
        rows = kernels.serving("pool2d", pool)
        times = _in_turns({row: kernels.pooling(row, pool, 1) for row in rows}, seconds)
        for row, time in times.items():
            found.setdefault(row.backend, []).append(pool.flops / time / 1e9)
    relu = ActivationSpec("relu", math.prod(shape))
    rows = kernels.serving("activation", relu)
    times = _in_turns({row: kernels.activation(row, relu, 1) for row in rows}, seconds)
    for row, time in times.items():
        found.setdefault(row.backend, []).append(relu.flops / time / 1e9)
    return found


def call_seconds(backend: str, seconds: float) -> float:
    """What a plan's call costs when there is next to nothing to compute."""
    tiny = Layer("tiny", 1, 1, 8, 8, 1, 3, 3, padding=1)
    with fastconv.options(threads=1):
        plan = fastconv.plan_conv2d(
            tiny.weights(), x_shape=tiny.x_shape, **tiny.geometry, backend=backend
        )
        call = partial(plan, tiny.inputs(2)[0])
        return alternate({backend: [call]}, rounds=ROUNDS, seconds=seconds)[backend]


def regret(measured: Measured) -> list[float]:
    """Per layer: time of the row that the present constants choose ÷ time of the fastest."""
    return [
        times[heuristics.rank(list(times), layer.spec(), 1)[0]] / min(times.values())
        for layer, times in measured.items()
    ]


# ---------------------------------------------------------------- threads

Step = Callable[[int, int], tuple[int, Call]]
"""(step, threads) → the work of that step, and a call that does it; each step twice the work."""


def steps(backend: str) -> dict[str, Step]:
    """Growing work for each kind of kernel that ``backend`` has."""

    def conv(step: int, threads: int) -> tuple[int, Call]:
        layer = Layer(f"step {step}", 1, 16, 4, 4 << step, 16, 3, 3, padding=1)
        spec = layer.spec()
        row = _row("conv2d", backend, spec)
        return spec.flops, kernels.convolution(row, layer, threads)

    def pool(step: int, threads: int) -> tuple[int, Call]:
        spec = Pool2dSpec.of("max", (1, 16, 4, 16 << step), 2)
        return spec.flops, kernels.pooling(_row("pool2d", backend, spec), spec, threads)

    def relu(step: int, threads: int) -> tuple[int, Call]:
        spec = ActivationSpec("relu", 1024 << step)
        return spec.flops, kernels.activation(_row("activation", backend, spec), spec, threads)

    return {"conv2d": conv, "pool2d": pool, "activation": relu}


def crossover(step: Step, seconds: float) -> int | None:
    """The least work from which on two threads beat one; None if they never do."""
    least: int | None = None
    for number in range(12):
        (work, one), (_, two) = step(number, 1), step(number, 2)
        best = alternate(
            {"one": [one], "two": [two]}, rounds=ROUNDS, seconds=seconds, settle=SETTLE_SECONDS
        )
        if best["one"] < GAIN * best["two"]:
            least = None
        elif least is None:
            least = work
    return least


def _row(op: str, backend: str, spec: Spec) -> Kernel:
    return next(row for row in kernels.serving(op, spec) if row.backend == backend)


def _in_turns(calls: Mapping[Kernel, Call], seconds: float) -> dict[Kernel, float]:
    best = alternate(
        {row.name: [call] for row, call in calls.items()}, rounds=ROUNDS, seconds=seconds
    )
    return {row: best[row.name] for row in calls}
