"""What the command line asks for: layers, backends, algorithms and numbers, or what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ..dispatch import require
from ..environment import backends as found_backends
from ..registry import BACKENDS, algorithms
from .cases import ON_CARD
from .devices import Card, Device, Processor
from .layers import LAYERS, Layer, read
from .models import MODELS

UNASKED = ("reference",)
"""Backends that are timed only when they are named."""


def layers(wanted: str | None, models: Sequence[str]) -> tuple[Layer, ...]:
    """Those of a JSON file, of a pattern of names, or of models; else the reference table.

    A pattern chooses from the reference table, or from the models where some are named.

    Raises
    ------
    OSError, ValueError
        The file cannot be read; no layer has such a name; there is no such model.
    """
    if unknown := [name for name in models if name not in MODELS]:
        raise ValueError(f"unknown model {unknown[0]!r}; there are {', '.join(MODELS)}")
    table = tuple(layer for name in models for layer in MODELS[name]()) or LAYERS
    if wanted is None:
        return table
    if wanted.endswith(".json"):
        if models:
            raise ValueError("layers come from a file or from models, not from both")
        return read(Path(wanted))
    patterns = listed(wanted)
    chosen = tuple(
        layer for layer in table if any(fnmatchcase(layer.name, p) for p in patterns)
    )
    if not chosen:
        raise ValueError(
            f"no layer is called {wanted!r}; there are {', '.join(map(str, table))}; "
            "a file of layers ends in .json"
        )
    return chosen


def backends(wanted: str | None) -> tuple[str, ...]:
    """Those named; else all that are here, but for the naive loops.

    Raises
    ------
    ValueError, BackendUnavailableError
        An unknown name; one that is absent.
    """
    if wanted is None:
        return tuple(
            name for name, absent in found_backends().items()
            if absent is None and name not in UNASKED
        )
    chosen = _known("backend", listed(wanted), BACKENDS)
    for name in chosen:
        require(name)
    return chosen


def kernels(wanted: str | None) -> tuple[str, ...]:
    """The algorithms of conv2d that match the patterns; else all.

    Raises
    ------
    ValueError
        A pattern that none matches.
    """
    return _known("algorithm", listed(wanted or "*"), algorithms("conv2d"))


def numbers(name: str, wanted: str | None, default: Iterable[int] = ()) -> tuple[int, ...]:
    """Positive whole numbers, separated by commas.

    Raises
    ------
    ValueError
        Anything else.
    """
    if wanted is None:
        return tuple(dict.fromkeys(default))
    words = listed(wanted)
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise ValueError(f"{name} must be positive whole numbers such as 1,2; got {wanted!r}")
    return tuple(dict.fromkeys(map(int, words)))


def devices(chosen: Sequence[str]) -> list[Device]:
    """The processor, the card, or both: where these backends run."""
    found: list[Device] = []
    if any(name not in ON_CARD for name in chosen):
        found.append(Processor())
    if any(name in ON_CARD for name in chosen):
        found.append(Card())
    return found


def listed(text: str) -> list[str]:
    """Words separated by commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _known(what: str, words: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    chosen = []
    for word in words:
        matches = [name for name in known if fnmatchcase(name, word)]
        if not matches:
            raise ValueError(f"unknown {what} {word!r}; there are {', '.join(known)}")
        chosen += matches
    if not chosen:
        raise ValueError(f"name at least one {what} of {', '.join(known)}")
    return tuple(dict.fromkeys(chosen))
