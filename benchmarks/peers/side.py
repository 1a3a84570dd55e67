"""A side of the comparison: one library, prepared for one layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from ..layers import Array, Layer
from ..timing import Call

FASTCONV, NETWORK, PICTURE = "fastconv", "network", "picture"


@dataclass(frozen=True, slots=True)
class Case:
    """What every side computes: equal inputs, weights and number of threads."""

    layer: Layer
    inputs: list[Array]
    w: Array
    threads: int


@dataclass(frozen=True, slots=True)
class Runner:
    """A side made ready: one call for each input, and how to read what a call returns."""

    calls: Sequence[Call]
    to_nchw: Callable[[Any], Array]
    kernel: str = ""
    """The kernel that was chosen, where the library tells."""


@dataclass(frozen=True, slots=True)
class Side:
    """One column of the table. ``family`` says which ratio it takes part in."""

    name: str
    title: str
    family: str
    absent: Callable[[], str | None]
    why_not: Callable[[Layer], str | None]
    prepare: Callable[[Case], Runner]


def needs(*modules: str) -> Callable[[], str | None]:
    """An ``absent`` that looks for modules without importing them."""

    def absent() -> str | None:
        lacking = [module for module in modules if find_spec(module) is None]
        return f"{' and '.join(lacking)} not installed" if lacking else None

    return absent


def any_layer(layer: Layer) -> str | None:
    """The ``why_not`` of a side that computes every layer."""
    return None
