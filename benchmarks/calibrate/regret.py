"""How much slower the chosen rows are than the fastest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fastconv import dispatch, heuristics, registry
from fastconv.registry import Kernel

from .measure import Measured

NEAR = 1.1


@dataclass(frozen=True, slots=True)
class Loss:
    """One call: what was chosen, what would have been best, and the ratio of their times."""

    call: Measured
    chosen: str
    best: str
    ratio: float


def losses(
    measured: Sequence[Measured], op: str, *, packed: bool, precision: str, without: str = ""
) -> list[Loss]:
    """The choices of the present prices against the measurements; of those who have no backend
    ``without``."""
    rows: Mapping[str, Kernel] = {
        row.name: row for row in registry.rows(op)
        if not registry.too_inexact(row, precision) and row.backend != without
    }
    found = []
    for m in measured:
        if m.op != op:
            continue
        took = {
            name: t.run + (0.0 if packed else t.pack)
            for name, t in m.times.items() if name in rows
        }
        if len(took) < 2:
            continue
        candidates = [rows[name] for name in took]
        ranked = heuristics.rank(
            candidates, m.spec.kernel_spec, packed=packed, **dispatch.machine()
        )
        chosen = ranked[0].name
        best = min(took, key=lambda name: took[name])
        found.append(Loss(m, chosen, best, took[chosen] / took[best]))
    return found


def summary(found: Sequence[Loss]) -> str:
    """Share of good choices, and the mean and the worst loss."""
    ratios = np.array([loss.ratio for loss in found])
    mean = float(np.exp(np.log(ratios).mean()))
    return (
        f"{len(found)} calls: within 10 % of the fastest row {(ratios <= NEAR).mean():.1%}, "
        f"mean loss {mean - 1:.1%}, worst {ratios.max():.2f}×"
    )
