"""Rows on random data of a spec, timed in turns: what tune(), explain() and calibration measure."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from time import perf_counter, sleep
from typing import Any

import numpy as np

from . import arrays
from .arrays import Array
from .choices import Timing
from .dispatch import Choice, predicted, verdicts
from .ops import _run
from .registry import Kernel
from .spec import (
    ActivationSpec,
    Conv2dSpec,
    ConvPool2dSpec,
    Pool2dSpec,
    Spec,
    UnpoolSpec,
    dtype_of,
    in_layout,
)

Call = Callable[[], object]
Clock = Callable[[], float]

HOPELESS = 30.0
"""A row that is predicted to take so many times longer than the best is not tried."""
ROUNDS = 3
SLOW = 6.0
"""A row whose first calls take so many times the best row's is not called again."""
HICCUP_SECONDS = 0.02
"""So much longer a call may seem for reasons of the system's: a shorter one gets more chances
before it counts as slow."""
CHANCES = 3
SAMPLE_SECONDS = 200e-6
"""Shorter calls are repeated until one sample takes this long: the clock's own cost vanishes."""
SETTLE_SECONDS = 0.03
"""The rest before a turn on several threads: idle workers go on spinning for a while, on the
core that the next row needs."""


def promising(op: str, spec: Spec, algorithm: str = "auto", backend: str = "auto") -> list[Kernel]:
    """The rows worth measuring, the likely best first: not those far behind by prediction."""
    cost = {
        v.row: predicted(v.row, spec)
        for v in verdicts(op, spec, algorithm, backend) if v.reason is None
    }
    least = min(cost.values(), default=0.0)
    return sorted((row for row in cost if cost[row] <= HOPELESS * least), key=lambda r: cost[r])


def measure(
    op: str, spec: Spec, rows: Iterable[Kernel], threads: int, seconds: float,
    advance: Callable[[], object] = lambda: None, clock: Clock = perf_counter,
) -> dict[str, Timing]:
    """The least times of each row in several turns, about ``seconds`` for each; the likely best
    rows should come first. ``advance`` is called once for each row. With one thread, the
    ``clock`` may be ``time.process_time``: what else the machine does then matters little."""
    given = _given(op, spec)
    found: dict[str, Timing] = {}
    sides: dict[str, _Side] = {}
    best = math.inf
    with no_collector():
        for row in rows:
            try:
                side = _Side(_trial(given, spec, row, threads), clock)
            except MemoryError:  # this row needs more than there is; the others may not
                advance()
                continue
            best = min(best, side.best)
            if side.best < SLOW * best:
                sides[row.name] = side
            else:
                found[row.name] = side.timing(threads, 0.0)
                advance()
        for turn in range(ROUNDS):
            for side in sides.values():
                if threads > 1:
                    sleep(SETTLE_SECONDS)
                side.turn(seconds / ROUNDS)
                if turn == ROUNDS - 1:
                    advance()
        for name, side in sides.items():
            found[name] = side.timing(threads, seconds / ROUNDS)
    return found


class _Side:
    """One row in the contest."""

    def __init__(self, parts: tuple[Call, Call | None], clock: Clock) -> None:
        (self._run, self._single), self._clock = parts, clock
        self._sample([self._run])  # may compile
        self.best = self._sample([self._run])
        if self.best < HICCUP_SECONDS:
            self.best = min(self.best, *(self._sample([self._run]) for _ in range(1, CHANCES)))
        self._batch = [self._run] * max(1, math.ceil(SAMPLE_SECONDS / max(self.best, 1e-7)))

    def turn(self, seconds: float) -> None:
        """A call that fills the caches and wakes the threads, then samples."""
        self._run()
        self.best = min(self.best, self._least(self._batch, seconds))

    def timing(self, threads: int, seconds: float) -> Timing:
        """All that was measured, and what packing adds to a single call, measured now."""
        if self._single is None:
            return Timing(self.best, 0.0, threads)
        self._single()
        single = self._least([self._single], seconds)
        return Timing(self.best, max(0.0, single - self.best), threads)

    def _least(self, calls: Sequence[Call], seconds: float) -> float:
        stop = self._clock() + seconds
        best = math.inf
        while True:
            best = min(best, self._sample(calls))
            if self._clock() >= stop:
                return best

    def _sample(self, calls: Sequence[Call]) -> float:
        start = self._clock()
        for call in calls:
            call()
        return (self._clock() - start) / len(calls)


def will_compile(op: str, spec: Spec, row: Kernel, threads: int) -> bool:
    """Whether a call of ``row`` would wait for a compiler: only backends that have a module
    ``jit`` do, and that has ``would_compile(call)``."""
    name = f"fastconv.backends.{row.backend}.jit"
    if find_spec(name) is None:
        return False
    try:
        given = _given(op, spec, _untouched)
        would_compile: Callable[[Call], bool] = import_module(name).would_compile
        return would_compile(lambda: _trial(given, spec, row, threads)[0]())
    except MemoryError:  # nor would the call have enough
        return False


@contextmanager
def no_collector() -> Iterator[None]:
    """A garbage collection inside one row's turn would be charged to it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


# ---------------------------------------------------------------- data


@dataclass(frozen=True, slots=True)
class _Given:
    """What all rows compute from and write to: pages that have been touched before."""

    x: Array
    out: Array
    w: Array | None = None
    bias: Array | None = None
    indices: Array | None = None


Fill = Callable[[np.random.Generator, tuple[int, ...], str], Array]


def _given(op: str, spec: Spec, fill: Fill | None = None) -> _Given:
    rng = np.random.default_rng(1)
    fill = fill or _random
    if isinstance(spec, ActivationSpec):
        x = fill(rng, (spec.size,), spec.kernel_spec.dtype)
        return _Given(x, np.zeros_like(x))
    if isinstance(spec, (Conv2dSpec, ConvPool2dSpec)):
        source, result = spec.x_shape, spec.out_shape
        if op == "conv2d_input_grad":
            source, result = result, source
        w = fill(rng, spec.w_shape, spec.dtype)
        w /= np.asarray(math.sqrt(w[0].size), w.dtype)  # results around 1
        return _Given(
            fill(rng, in_layout(source, spec.layout), spec.dtype),
            np.zeros(in_layout(result, spec.layout), w.dtype), w,
            fill(rng, (result[1],), spec.dtype) if spec.bias else None,
        )
    dtype = spec.kernel_spec.dtype
    x = fill(rng, in_layout(spec.x_shape, spec.layout), dtype)
    out = np.zeros(in_layout(spec.out_shape, spec.layout), x.dtype)
    indices = None
    if isinstance(spec, UnpoolSpec):
        # As max pooling gives them: every one in its own window, near enough.
        places = np.linspace(0, spec.OH * spec.OW - 1, spec.IH * spec.IW).astype(np.int64)
        indices = arrays.logical(np.zeros_like(x, np.int64), spec.layout)
        indices[...] = places.reshape(spec.IH, spec.IW)
    elif spec.return_indices:
        indices = arrays.logical(np.zeros_like(out, np.int64), spec.layout)
    return _Given(
        arrays.logical(x, spec.layout), arrays.logical(out, spec.layout), indices=indices
    )


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Normal numbers; small integers where the dtype has no others."""
    kind = dtype_of(dtype)
    if kind.kind in "iu":
        return rng.integers(0, 100, shape).astype(kind)
    return rng.standard_normal(shape, np.float32).astype(kind, copy=False)


def _untouched(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Zeros, most of which are nowhere before somebody writes to them."""
    return np.zeros(shape, dtype_of(dtype))


def _trial(
    given: _Given, spec: Spec, row: Kernel, threads: int
) -> tuple[Call, Call | None]:
    """A call of ``row`` on packed weights, and one that packs them for itself, if there are any."""
    choice = Choice(row, row.sees(spec), threads)
    run: Any = choice.module.run
    if isinstance(spec, (Conv2dSpec, ConvPool2dSpec)):
        w, bias = given.w, given.bias
        assert w is not None

        def convolve(packed: Any) -> None:
            _run.convolve(choice, spec, given.x, packed, bias, given.out)

        packed = _run.pack(choice, w)
        return lambda: convolve(packed), lambda: convolve(_run.pack(choice, w, once=True))
    if isinstance(spec, ActivationSpec):
        return partial(run, choice.spec, given.x, given.out, threads), None
    if isinstance(spec, Pool2dSpec):
        return partial(run, choice.spec, given.x, given.out, given.indices, threads), None
    return partial(run, choice.spec, given.x, given.indices, given.out, threads), None
