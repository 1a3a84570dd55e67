"""One layer, all sides: prepared, checked, then timed in turns."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .. import judge
from ..layers import Layer
from ..timing import SETTLE_SECONDS, alternate
from .side import FASTCONV, Case, Runner, Side


@dataclass(slots=True)
class Outcome:
    """What came out for one layer and one number of threads."""

    layer: str
    threads: int
    gflop: float
    milliseconds: dict[str, float] = field(default_factory=dict)
    rms_error: dict[str, float] = field(default_factory=dict)
    kernel: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Sides that do not compute this layer, and why."""
    failed: dict[str, str] = field(default_factory=dict)
    """Sides that raised or gave a wrong result; they are not timed."""

    def as_json(self) -> dict[str, Any]:
        """Plain data for the report."""
        return asdict(self)

    @property
    def failed_ourselves(self) -> bool:
        """One of fastconv's own sides failed."""
        return any(name.startswith(FASTCONV) for name in self.failed)


def measure(
    layer: Layer, sides: list[Side], threads: int, *, rounds: int, seconds: float
) -> Outcome:
    """``seconds`` is the budget of each side in all."""
    case = Case(layer, layer.inputs(), layer.weights(), threads)
    outcome = Outcome(layer.name, threads, layer.spec().flops / 1e9)
    runners = _checked(case, sides, outcome)
    best = alternate(
        {name: runner.calls for name, runner in runners.items()}, rounds=rounds,
        seconds=seconds, settle=SETTLE_SECONDS if threads > 1 else 0.0,
    )
    outcome.milliseconds = {name: 1e3 * least for name, least in best.items()}
    return outcome


def _checked(case: Case, sides: list[Side], outcome: Outcome) -> dict[str, Runner]:
    """The sides that gave the right result on the first input and on the last one."""
    runners: dict[str, Runner] = {}
    chosen = (0, len(case.inputs) - 1)
    right = [judge.convolution(case.layer, case.inputs[i], case.w) for i in chosen]
    for side in sides:
        if (reason := side.why_not(case.layer)) is not None:
            outcome.skipped[side.name] = reason
            continue
        try:
            runner = side.prepare(case)
            error = max(
                judge.rms_error(runner.to_nchw(runner.calls[i]()), wanted)
                for i, wanted in zip(chosen, right, strict=True)
            )
        except Exception as problem:  # a library that cannot do a layer must not stop the others
            outcome.failed[side.name] = f"{type(problem).__name__}: {problem}"
            continue
        outcome.rms_error[side.name] = error
        if runner.kernel:
            outcome.kernel[side.name] = runner.kernel
        if error > judge.RMS_LIMIT:
            outcome.failed[side.name] = (
                f"wrong result: rms error {error:.1e} exceeds {judge.RMS_LIMIT:.0e}"
            )
            continue
        runners[side.name] = runner
    return runners
