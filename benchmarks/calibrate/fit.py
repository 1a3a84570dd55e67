"""Prices from measurements: those whose predictions come nearest, by ratio, to all times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares, nnls

from fastconv.heuristics import CALL, SERIAL, TEAM, VECTOR_BYTES
from fastconv.heuristics.features import PACK, counts
from fastconv.registry import Kernel
from fastconv.spec import itemsize

from .measure import Measured, Times

Vector = npt.NDArray[np.float64]

FEWEST = 12
"""Fewer measurements than this say too little about a row: its prices stay as they are."""
DIGITS = 3


def prices(row: Kernel, measured: Sequence[Measured]) -> dict[str, float] | None:
    """All prices of one row, or None where there are too few measurements."""
    seen = [m for m in measured if row.name in m.times]
    if len(seen) < FEWEST:
        return None
    times = [m.times[row.name] for m in seen]
    # Where the row is far from the best, nobody will ask how long it takes.
    weights = np.array([min(t.run for t in m.times.values()) for m in seen]) / _of(times)
    counted = [_counts(row, m) for m in seen]
    running = {name for c in counted for name in c if not name.startswith(PACK)}
    table = _table(counted, [*sorted(running)])
    found = _fit([CALL, *sorted(running)], np.c_[np.ones(len(seen)), table], _of(times), weights)
    found.setdefault(CALL, 1e-7)
    packing = np.array([t.pack for t in times])
    if packing.max() > 0:
        names = sorted({name for c in counted for name in c} - running)
        if names:
            found |= _fit(names, _table(counted, names), packing, weights)
    found |= _threads(times, found[CALL])
    return {name: float(f"{price:.{DIGITS}g}") for name, price in found.items()}


def _counts(row: Kernel, m: Measured) -> dict[str, float]:
    spec = m.spec.kernel_spec
    return counts(row.op, row.algorithm, spec, VECTOR_BYTES // itemsize(spec.dtype))


def _of(times: Sequence[Times]) -> Vector:
    return np.array([t.run for t in times])


def _table(counted: Sequence[dict[str, float]], names: Sequence[str]) -> Vector:
    return np.array([[float(c.get(name, 0.0)) for name in names] for c in counted])


def _fit(names: Sequence[str], table: Vector, seconds: Vector, weights: Vector) -> dict[str, float]:
    """Prices ≥ 0. Least squares of relative errors first, then of logarithms, where 2 × and
    ½ × count alike and an outlier counts little."""
    used = table.max(axis=0) > 0
    scale = np.where(used, table.max(axis=0), 1.0)
    shares = table / scale / seconds[:, None]
    start, _ = nnls(shares * weights[:, None], weights)
    start = np.maximum(start, 1e-9 * seconds.min())

    def errors(x: Vector) -> Vector:
        return np.asarray(weights * np.log(np.maximum(shares @ np.exp(x), 1e-30)))

    found = np.exp(least_squares(errors, np.log(start), loss="soft_l1", f_scale=0.1).x)
    # What adds less than a thousandth to every prediction is noise.
    predicted = shares @ found
    matters = used & ((shares * found / predicted[:, None]).max(axis=0) > 1e-3)
    return {
        name: float(price) for name, price, kept in zip(names, found / scale, matters, strict=True)
        if kept
    }


def _threads(times: Sequence[Times], call: float) -> dict[str, float]:
    """What a team costs and what of the work one thread does alone, from runs on two threads:
    run2 = call + team + work · (serial + (1 − serial) / 2)."""
    both = [(t.run - call, t.run2 - call) for t in times if t.run2 is not None and t.run > call]
    if len(both) < FEWEST:
        return {}
    one, two = np.array(both).T
    table = np.c_[np.ones(len(one)), one / 2]
    found, _ = nnls(table / two[:, None], np.maximum(two - one / 2, 0) / two)
    return {TEAM: float(found[0]), SERIAL: float(min(1.0, found[1]))}
