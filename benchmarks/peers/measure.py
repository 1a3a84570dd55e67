"""One piece of work, all sides: prepared, checked, then timed in turns."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.registry import BACKENDS

from .. import judge
from ..machine import Others
from ..timing import SETTLE_SECONDS, Call, alternate
from ..works import Work
from .ours import AUTO
from .side import Case, Runner, Side

MORE_CORES = 0.3
"""A side that keeps so many cores busy beyond the threads asked for is not timed."""
LONG_ENOUGH = 0.05
"""Seconds of calls whose use of the cores can be told: processor time comes in coarse steps."""
TRIES = 4

OTHERS_LIMIT = 0.05
"""Share of the processor that others may use before a figure is called doubtful."""


@dataclass(slots=True)
class Outcome:
    """What came out for one piece of work and one number of threads."""

    work: str
    section: str
    labels: tuple[str, ...]
    threads: int
    gflop: float = 0.0
    milliseconds: dict[str, float] = field(default_factory=dict)
    megabytes: dict[str, float] = field(default_factory=dict)
    """Peak memory beyond inputs, weights and result, where that was measured."""
    rms_error: dict[str, float] = field(default_factory=dict)
    kernel: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Sides that do not compute this, and why."""
    failed: dict[str, str] = field(default_factory=dict)
    """Sides that raised or gave a wrong result; they are not timed."""
    others: float | None = None
    """Share of the processor that other processes used meanwhile."""

    def as_json(self) -> dict[str, Any]:
        """Plain data for the report."""
        return asdict(self)

    @property
    def failed_ourselves(self) -> bool:
        """One of fastconv's own sides failed."""
        return any(name.partition("/")[0] in (AUTO, *BACKENDS) for name in self.failed)

    @property
    def doubtful(self) -> bool:
        """Others took part of the processor."""
        return self.others is not None and self.others > OTHERS_LIMIT


def measure(
    work: Work, sides: list[Side], threads: int, *, rounds: int, seconds: float
) -> Outcome:
    """``seconds`` is the budget of each side in all."""
    case = Case(work, work.inputs(), work.weights(), threads)
    outcome = Outcome(work.name, work.section, work.labels, threads, work.flops / 1e9)
    runners = _checked(case, sides, outcome)
    with Others() as others:
        best = alternate(
            {name: runner.calls for name, runner in runners.items()}, rounds=rounds,
            seconds=seconds, settle=SETTLE_SECONDS if threads > 1 else 0.0,
        )
    outcome.others = others.share
    outcome.milliseconds = {name: 1e3 * least for name, least in best.items()}
    return outcome


def _checked(case: Case, sides: list[Side], outcome: Outcome) -> dict[str, Runner]:
    """The sides that gave the right result on the first input and on the last one."""
    runners: dict[str, Runner] = {}
    for side in sides:
        if (reason := side.why_not(case.work)) is not None:
            outcome.skipped[side.name] = reason
            continue
        try:
            runner = side.prepare(case)
            error = _error(case, runner)
        except Exception as problem:  # a library that cannot do it must not stop the others
            outcome.failed[side.name] = f"{type(problem).__name__}: {problem}"
            continue
        if runner.kernel:
            outcome.kernel[side.name] = runner.kernel
        if error is not None:
            outcome.rms_error[side.name] = error
            if error > judge.RMS_LIMIT:
                outcome.failed[side.name] = (
                    f"wrong result: rms error {error:.1e} exceeds {judge.RMS_LIMIT:.0e}"
                )
                continue
        cores = _cores(runner.calls[0])
        if cores > case.threads + MORE_CORES:
            outcome.failed[side.name] = f"keeps {cores:.1f} cores busy, not {case.threads}"
            continue
        runners[side.name] = runner
    return runners


def _cores(call: Call) -> float:
    """How many cores a call keeps busy when it is made again and again. The least of some
    tries: workers of other libraries go on spinning for a while after their work."""
    return min(_cores_once(call) for _ in range(TRIES))


def _cores_once(call: Call) -> float:
    time.sleep(SETTLE_SECONDS)
    began, busy, wall = time.perf_counter(), time.process_time(), 0.0
    while wall < LONG_ENOUGH:
        call()
        wall = time.perf_counter() - began
    return (time.process_time() - busy) / wall


def _error(case: Case, runner: Runner) -> float | None:
    if runner.to_nchw is None:
        return None
    first, last = _right(case.work)
    return max(
        judge.rms_error(runner.to_nchw(runner.calls[0]()), first),
        judge.rms_error(runner.to_nchw(runner.calls[-1]()), last),
    )


@lru_cache(maxsize=1)  # the numbers of threads follow each other
def _right(work: Work) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    inputs, w = work.inputs(), work.weights()
    return judge.result(work, inputs[0], w), judge.result(work, inputs[-1], w)
