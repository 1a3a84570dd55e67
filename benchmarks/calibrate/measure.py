"""Seconds of every row on random calls, kept in a file that another run goes on with."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fastconv
from fastconv import heuristics, registry
from fastconv.registry import Kernel
from fastconv.spec import ActivationSpec, Conv2dSpec, Pool2dSpec, Spec
from fastconv.trial import Trial, trial

from ..timing import SETTLE_SECONDS, alternate
from .shapes import Call

ROUNDS = 3
HOPELESS = 40.0
"""A row that is predicted to be so many times slower than the best is not tried …"""
SLOW = 6.0
"""… and one that a first call shows to be so much slower is not called again."""

_SPECS: dict[str, type] = {
    "conv2d": Conv2dSpec, "conv2d_input_grad": Conv2dSpec, "pool2d": Pool2dSpec,
    "activation": ActivationSpec,
}


@dataclass(frozen=True, slots=True)
class Times:
    """Of one row on one call: ``run`` on one thread and (if measured) two, and ``pack``."""

    run: float
    run2: float | None = None
    pack: float = 0.0


@dataclass(slots=True)
class Measured:
    """One call and what its rows took, by their names."""

    op: str
    spec: Any
    times: dict[str, Times]

    def line(self) -> str:
        """The call as a line of JSON."""
        times = {name: asdict(t) for name, t in self.times.items()}
        return json.dumps({"op": self.op, "spec": asdict(self.spec), "times": times})

    @classmethod
    def of_line(cls, line: str) -> Measured:
        """The opposite of :meth:`line`."""
        found = json.loads(line)
        times = {name: Times(**t) for name, t in found["times"].items()}
        return cls(found["op"], _SPECS[found["op"]](**found["spec"]), times)


def read(path: Path) -> dict[Call, Measured]:
    """What earlier runs measured, of each call the last line; one that was cut off is left out."""
    found = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            with suppress(json.JSONDecodeError):
                m = Measured.of_line(line)
                found[m.op, m.spec] = m
    return found


def write(path: Path, measured: Iterable[Measured]) -> None:
    """All of it, replacing the file at once."""
    part = path.with_suffix(".part")
    part.write_text("".join(m.line() + "\n" for m in measured), encoding="utf-8")
    part.replace(path)


def serving(op: str, spec: Spec) -> Iterator[Kernel]:
    """The rows that can do ``spec`` here. The reference is left out: its rate decides nothing."""
    for row in registry.rows(op):
        absent = row.backend == "reference" or fastconv.backends()[row.backend] is not None
        if not absent and row.why_not(spec.kernel_spec) is None:
            yield row


def complete(measured: Measured, seconds: float, two: bool) -> bool:
    """Measure the rows that have no times yet, ``seconds`` each; whether there were any."""
    op, spec = measured.op, measured.spec
    predicted = {row: heuristics.seconds(row, spec.kernel_spec) for row in serving(op, spec)}
    least = min(predicted.values())
    rows = sorted(
        (r for r, s in predicted.items() if s < HOPELESS * least), key=lambda r: predicted[r]
    )
    rows = [row for row in rows if row.name not in measured.times]
    best = min((t.run for t in measured.times.values()), default=float("inf"))
    trials: dict[Kernel, Trial] = {}
    for row in rows:
        made = trial(op, spec, row, 1)
        once = min(_once(made), _once(made))  # the first may compile
        best = min(best, once)
        if once < SLOW * best:
            trials[row] = made
        else:
            measured.times[row.name] = Times(once, pack=_packing(made, 0.0))
    found = alternate(
        {row.name: [t.run] for row, t in trials.items()}, rounds=ROUNDS, seconds=seconds
    )
    both: dict[str, float] = {}
    if two:
        pairs = {row.name: [trial(op, spec, row, 2).run] for row in trials}
        both = alternate(pairs, rounds=2, seconds=seconds, settle=SETTLE_SECONDS)
    for row, made in trials.items():
        measured.times[row.name] = Times(
            found[row.name], both.get(row.name), _packing(made, seconds / 4)
        )
    return bool(rows)


def _once(made: Trial) -> float:
    start = time.perf_counter()
    made.run()
    return time.perf_counter() - start


def _packing(made: Trial, seconds: float) -> float:
    """The least time of packing in several."""
    if made.pack is None:
        return 0.0
    return alternate({"pack": [made.pack]}, rounds=1, seconds=seconds)["pack"]
