"""Seconds of every row on random calls, kept in a file that another run goes on with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any

from fastconv import trial
from fastconv.spec import ActivationSpec, Conv2dSpec, Pool2dSpec

from .shapes import Call

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


def complete(measured: Measured, seconds: float, two: bool) -> bool:
    """Measure the rows that have no times yet, ``seconds`` each; whether there were any."""
    op, spec, times = measured.op, measured.spec, measured.times
    if isinstance(spec, Conv2dSpec):  # rows that only precision="fast" admits have prices too
        spec = replace(spec, precision="fast")
    rows = [
        row for row in trial.promising(op, spec)
        if row.backend != "reference" and row.name not in times
    ]
    alone = trial.measure(op, spec, rows, 1, seconds, clock=process_time)
    shared = trial.measure(op, spec, rows, 2, seconds) if two else {}
    for name, found in alone.items():
        both = shared[name].run if name in shared else None
        times[name] = Times(found.run, both, found.pack)
    return bool(rows)
