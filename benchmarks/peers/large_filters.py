"""Filters as large as the picture, against the bare real FFTs that they need.

No other library is held against these: SciPy's ``ndimage.correlate`` does not end on the
second (its issue 12232).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.fft

import fastconv

from .. import judge
from ..layers import Array, random_inputs
from ..machine import Others
from ..timing import SETTLE_SECONDS, Call, alternate
from .measure import Outcome
from .side import BARE, Column

LABEL = "large filters"
COLUMN = Column("fft", "bare FFTs", BARE)
CELLS = 24
"""Values of the result that are summed directly to judge it."""


@dataclass(frozen=True, slots=True)
class Large:
    """A square picture, a square filter; periodic, or only where the filter fits."""

    name: str
    size: int
    filter_size: int
    periodic: bool

    @property
    def options(self) -> dict[str, Any]:
        """For ``conv2d``."""
        after = 0, self.filter_size - 1
        return {"padding": (after, after), "padding_mode": "circular"} if self.periodic else {}

    @property
    def flops(self) -> int:
        """Operations, by the direct method."""
        return 2 * self.out_size**2 * self.filter_size**2

    @property
    def out_size(self) -> int:
        """Of the result."""
        return self.size if self.periodic else self.size - self.filter_size + 1


CASES = (
    Large("template 128² on 1024²", 1024, 128, False),
    Large("autocorrelation 4096², wrap", 4096, 4096, True),
)


def measure(
    case: Large, backends: list[str], threads: int, *, rounds: int, seconds: float
) -> Outcome:
    """Functional calls, with one transform of the picture, one of the filter and one back."""
    x = random_inputs(case.name, (1, 1, case.size, case.size), 1)[0]
    w = x[..., : case.filter_size, : case.filter_size].copy()
    outcome = Outcome(case.name, LABEL, (LABEL,), threads, case.flops / 1e9)
    fastconv.set_num_threads(threads)
    sides: dict[str, Call] = {
        f"{backend}/functional": partial(fastconv.conv2d, x, w, backend=backend, **case.options)
        for backend in backends
    }
    for name, call in list(sides.items()):
        error = _error(case, x[0, 0], w[0, 0], call)
        outcome.rms_error[name] = error
        if error > judge.RMS_LIMIT:
            outcome.failed[name] = f"wrong result: rms error {error:.1e}"
            del sides[name]
    sides[COLUMN.name] = partial(_transforms, x[0, 0], w[0, 0], threads)
    with Others() as others:
        best = alternate(
            {name: [call] for name, call in sides.items()}, rounds=rounds, seconds=seconds,
            settle=SETTLE_SECONDS if threads > 1 else 0.0,
        )
    outcome.others = others.share
    outcome.milliseconds = {name: 1e3 * least for name, least in best.items()}
    return outcome


def _transforms(x: Array, w: Array, threads: int) -> Array:
    """The picture's size is enough: what wraps around is not asked for, or asked to."""
    with scipy.fft.set_workers(threads):
        spectrum = scipy.fft.rfft2(x)
        scipy.fft.rfft2(w, x.shape)
        back: Array = scipy.fft.irfft2(spectrum, x.shape)
        return back


def _error(case: Large, x: Array, w: Array, call: Callable[[], Array]) -> float:
    out = call()[0, 0]
    rng = np.random.default_rng(5)
    cells = rng.integers(0, case.out_size, (CELLS, 2))
    right = [_cell(x, w, *cell) for cell in cells]
    return judge.rms_error(out[tuple(cells.T)], np.array(right))


def _cell(x: Array, w: Array, row: int, column: int) -> float:
    window = np.roll(x, (-row, -column), (0, 1))[: w.shape[0], : w.shape[1]]
    return float(np.sum(window.astype(np.float64) * w.astype(np.float64)))
