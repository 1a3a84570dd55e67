"""Ratios and their means, from the measured times alone: usable on a JSON read back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

Times = Mapping[str, float]


def best(times: Times, peers: Iterable[str]) -> float | None:
    """The least time of the peers that were timed."""
    return min((times[name] for name in peers if name in times), default=None)


def ratio(times: Times, peers: Iterable[str], ours: str) -> float | None:
    """Fastest of ``peers`` ÷ ``ours``: above 1, fastconv is the faster."""
    peer = best(times, peers)
    return None if peer is None or ours not in times else peer / times[ours]


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Of the values that are there."""
    logs = [math.log(value) for value in values if value is not None]
    return math.exp(sum(logs) / len(logs)) if logs else None
