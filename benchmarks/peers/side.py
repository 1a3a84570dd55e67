"""A side of the comparison: one library, prepared for one piece of work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from ..layers import Array
from ..timing import Call
from ..works import Work

FASTCONV, NETWORK, PICTURE, BARE = "fastconv", "network", "picture", "bare"
"""Families; "bare" is no library: a copy, or transforms that any solution needs."""


@dataclass(frozen=True, slots=True)
class Case:
    """What every side computes: equal inputs, weights and number of threads."""

    work: Work
    inputs: list[Array]
    w: Array | None
    threads: int


@dataclass(frozen=True, slots=True)
class Runner:
    """A side made ready: one call for each input, and how to read what a call returns."""

    calls: Sequence[Call]
    to_nchw: Callable[[Any], Array] | None
    """None: nothing is computed, there is nothing to check."""
    kernel: str = ""
    """The kernel that was chosen, where the library tells."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table. ``family`` says which ratio it takes part in."""

    name: str
    title: str
    family: str


@dataclass(frozen=True, slots=True)
class Side(Column):
    """A column that is prepared and timed for one piece of work after the other."""

    absent: Callable[[], str | None]
    why_not: Callable[[Work], str | None]
    prepare: Callable[[Case], Runner]


def needs(*modules: str) -> Callable[[], str | None]:
    """An ``absent`` that looks for modules without importing them."""

    def absent() -> str | None:
        lacking = [module for module in modules if find_spec(module) is None]
        return f"{' and '.join(lacking)} not installed" if lacking else None

    return absent


def anything(work: Work) -> str | None:
    """The ``why_not`` of a side that computes all of it."""
    return None


def chained(steps: Sequence[Callable[[Any], Any]], x: Any) -> Call:
    """One step after the other; a single one is called without a detour."""
    if len(steps) == 1:
        return partial(steps[0], x)

    def call() -> Any:
        y = x
        for step in steps:
            y = step(y)
        return y

    return call
