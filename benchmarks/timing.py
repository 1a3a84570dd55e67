"""Timing several sides fairly: alternating, warmed up, the minimum of many samples."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

Call = Callable[[], Any]

SAMPLE_SECONDS = 200e-6
"""Shorter calls are repeated until one sample takes this long: the clock's own cost vanishes."""

SETTLE_SECONDS = 0.03
"""The rest before a side's turn when several threads work. OpenMP and thread-pool workers spin
for up to ~20 ms after their last loop, on the core that the next side needs."""


SLOW_SECONDS = 0.05
"""Calls that take longer need no call before them to fill the caches."""

LEAST_TURNS = 4
"""Even a side that is slow against its budget gets these."""


def alternate(
    sides: Mapping[str, Sequence[Call]], *, rounds: int, seconds: float, settle: float = 0.0
) -> dict[str, float]:
    """The least seconds per call of each side; ``seconds`` is each side's budget in all.

    Each side is a list of equal calls on different inputs. The turns go A B C, A B C, …, so
    that a slow spell of the machine falls on everyone. A side gets at least one sample a turn;
    one whose calls would go far over the budget gets fewer turns, spread over the same time.
    """
    with _no_collector():
        players = {name: _Player(calls, rounds, seconds) for name, calls in sides.items()}
        for number in range(rounds):
            for player in players.values():
                if not player.plays(number):
                    continue
                if settle:
                    time.sleep(settle)
                player.turn(seconds / rounds)
    return {name: player.best for name, player in players.items()}


class _Player:
    """One side: its samples, each a batch of calls, go round the inputs from turn to turn."""

    def __init__(self, calls: Sequence[Call], rounds: int, seconds: float) -> None:
        once = _sample(calls[:1])
        self._slow = once > SLOW_SECONDS
        if not self._slow:
            once = _sample(calls)
        batches: list[Sequence[Call]] = [[call] for call in calls]
        if once < SAMPLE_SECONDS:
            batches = [list(calls) * math.ceil(SAMPLE_SECONDS / once / len(calls))]
        self._batches = cycle(batches)
        self._every = max(1, rounds // max(LEAST_TURNS, int(seconds / once)))
        self.best = math.inf

    def plays(self, number: int) -> bool:
        """Whether this side has a turn in round ``number``."""
        return number % self._every == 0

    def turn(self, seconds: float) -> None:
        """Untimed calls that fill the caches and wake the threads again, then samples."""
        stop = time.perf_counter() + seconds
        if not self._slow:
            _sample(next(self._batches))
        while True:
            self.best = min(self.best, _sample(next(self._batches)))
            if time.perf_counter() >= stop:
                return


def _sample(calls: Sequence[Call]) -> float:
    """Seconds per call."""
    start = time.perf_counter_ns()
    for call in calls:
        call()
    return (time.perf_counter_ns() - start) / len(calls) * 1e-9


@contextmanager
def _no_collector() -> Iterator[None]:
    """A garbage collection inside one side's turn would be charged to it."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
