"""How fast memory is: a copy that moves as many bytes as the operation reads and writes."""

from __future__ import annotations

from functools import partial
from math import prod

import numpy as np

from ..works import Work
from .side import BARE, Case, Runner, Side, needs


def _why_not(work: Work) -> str | None:
    return None if work.layer is None else "it computes more than it moves"


def _prepare(case: Case) -> Runner:
    """``np.copyto`` of half the bytes reads and writes as many as the operation does in all.

    So the ratio of the times is the operation's share of the copy's bandwidth. The pages are
    touched; there are as many sources as inputs, and one destination.
    """
    work = case.work
    cells = (prod(work.x_shape) + prod(work.out_shape)) // 2
    target = np.ones(cells, np.float32)
    sources = [np.full(cells, 0.5, np.float32) for _ in case.inputs]
    return Runner([partial(np.copyto, target, source) for source in sources], None)


SIDES = (Side("copy", "copy", BARE, needs("numpy"), _why_not, _prepare),)
