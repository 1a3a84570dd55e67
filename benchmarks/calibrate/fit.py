"""Prices from measurements: those whose predictions come nearest, by ratio, to all times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares, nnls

from fastconv.dispatch import machine
from fastconv.heuristics import CALL, SERIAL, TEAM
from fastconv.heuristics.features import PACK, counts
from fastconv.registry import Kernel
from fastconv.spec import itemsize

from .measure import Measured, Times

Vector = npt.NDArray[np.float64]

FEWEST = 12
"""Fewer measurements than this say too little about a row: its prices stay as they are."""
DIGITS = 3
OUTLIER = 0.1
"""Relative errors beyond this count less and less."""
BELIEF, DOUBT = 0.05, math.log(4)
"""A price without evidence stays near the one before: off by a factor of four costs as much as
being wrong by this share on one call."""

LEAST_TEAM = 2e-6
"""Seconds: no team of threads starts and meets again in less, whatever noise says."""
STALLED, STALL = 2.0, 1e-4
"""Two threads that took so many times longer than one, and so many seconds more, were waiting
for other work."""


def prices(
    row: Kernel, measured: Sequence[Measured], before: Mapping[str, float]
) -> dict[str, float]:
    """All prices of one row; ``before`` says which features it has, and where to begin."""
    seen = [m for m in measured if row.name in m.times]
    if len(seen) < FEWEST:
        return dict(before)
    times = [m.times[row.name] for m in seen]
    running = np.array([t.run for t in times])
    packing = np.array([t.pack for t in times])
    # Where the row is far from the best, nobody will ask how long it takes.
    weights = np.array([min(t.run for t in m.times.values()) for m in seen]) / running
    counted = [{CALL: 1.0, **_counts(row, m)} for m in seen]
    work = {k: v for k, v in before.items() if k not in (TEAM, SERIAL) and not k.startswith(PACK)}
    pack = {k: v for k, v in before.items() if k.startswith(PACK)}
    found = dict(before)
    found |= _fit(work, counted, running, weights)
    packs = [
        i for i, counts_ in enumerate(counted)
        if packing[i] > 0 and any(counts_[name] > 0 for name in pack)
    ]
    if len(packs) >= FEWEST:
        found |= _fit(pack, [counted[i] for i in packs], packing[packs], weights[packs])
    found |= _threads(times, found[CALL])
    return {name: float(f"{price:.{DIGITS}g}") for name, price in found.items()}


def _counts(row: Kernel, m: Measured) -> dict[str, float]:
    spec = m.spec.kernel_spec
    lanes = machine()["vector_bytes"] // itemsize(spec.dtype)
    return counts(row.op, row.algorithm, spec, lanes)


def _fit(
    before: Mapping[str, float], counted: Sequence[Mapping[str, float]], seconds: Vector,
    weights: Vector,
) -> dict[str, float]:
    """Least squares of the logarithms of predicted ÷ measured, where 2 × and ½ × count alike."""
    names = list(before)
    guess = np.log([before[name] for name in names])
    shares = np.array([[c[name] for name in names] for c in counted]) / seconds[:, None]

    def errors(x: Vector) -> Vector:
        predicted = np.maximum(shares @ np.exp(x), 1e-9)
        belief = np.sqrt(_soft(BELIEF)) * (x - guess) / DOUBT
        return np.concatenate([_signed_soft(weights * np.log(predicted)), belief])

    # Two beginnings: the search may end in a valley that is not the deepest.
    linear, _ = nnls(shares * weights[:, None], weights)
    starts = guess, np.log(np.maximum(linear, np.exp(guess) / 100))
    best = min((least_squares(errors, start) for start in starts), key=lambda r: float(r.cost))
    return {name: float(price) for name, price in zip(names, np.exp(best.x), strict=True)}


def _soft(error: Vector | float) -> Vector:
    """Square for small errors, linear for large ones."""
    scaled = np.asarray(error) / OUTLIER
    return np.asarray(OUTLIER**2 * 2 * (np.sqrt(1 + scaled**2) - 1))


def _signed_soft(error: Vector) -> Vector:
    """What least squares must square to get the soft loss."""
    return np.asarray(np.sign(error) * np.sqrt(_soft(error)))


def _threads(times: Sequence[Times], call: float) -> dict[str, float]:
    """What a team costs and what of the work one thread does alone, from runs on two threads:
    run2 = call + team + work · (serial + (1 − serial) / 2)."""
    both = [
        (t.run - call, t.run2 - call) for t in times
        if t.run2 is not None and t.run > call and t.run2 < STALLED * t.run + STALL
    ]
    if len(both) < FEWEST:
        return {}
    one, two = np.array(both).T
    table = np.c_[np.ones(len(one)), one / 2]
    found, _ = nnls(table / two[:, None], np.maximum(two - one / 2, 0) / two)
    return {TEAM: max(LEAST_TEAM, float(found[0])), SERIAL: float(min(1.0, found[1]))}
