"""The command line of ``python -m benchmarks.peers``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from fastconv.registry import BACKENDS

from .. import random_layers
from ..layers import read
from ..works import WORKS, Work, of_layer
from .large_filters import LABEL
from .ours import AUTO, Mode

MODES = "plan,functional,strict,nhwc"
OTHERS = {LABEL, "processes"}
"""Classes that are measured in ways of their own."""


def parse(argv: Sequence[str] | None, peers: Iterable[str]) -> argparse.Namespace:
    """The options, with ``works`` made from those that choose some."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="fastconv and each installed peer, timed in one run and held against the "
        "goals. Without options: everything that the goals are about, about 15 minutes.",
    )
    parser.add_argument("--layers", metavar="GLOB[,GLOB]|FILE.json",
                        help="what to time, by name; or the layers of a file")
    parser.add_argument("--class", dest="labels", type=_listed, metavar="LABEL[,LABEL]",
                        help="what to time, by class (the labels of goals.json): layers, 3x3, "
                        "5x5, first, grouped, picture, pooling, fused, calls, large filters, "
                        "processes …")
    parser.add_argument("--random", type=int, metavar="N",
                        help="N plausible layers of odd sizes instead of the known ones")
    parser.add_argument("--seed", type=int, default=1, help="which random layers")
    parser.add_argument("--threads", type=_threads, default="1,2", metavar="N[,N]",
                        help="threads of every side")
    parser.add_argument("--modes", type=_modes, default=MODES, metavar="MODE[,MODE]",
                        help="how fastconv is called: words of plan, functional, nhwc, strict, "
                        "fast, joined by +")
    parser.add_argument("--backends", type=_some_of("backend", (AUTO, *BACKENDS)),
                        default=AUTO, help="backends of fastconv; auto is what a user gets")
    parser.add_argument("--algorithm", default="auto", help="fastconv's algorithm")
    parser.add_argument("--peers", type=_some_of("peer", peers), default=",".join(peers),
                        help="whom to time")
    parser.add_argument("--repeat", type=int, default=10, metavar="N",
                        help="turns that each side gets")
    parser.add_argument("--seconds", type=float, default=0.35,
                        help="time for each side and work, over all its turns")
    parser.add_argument("--goals", action="store_true", help="print the goals only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    args = parser.parse_args(argv)
    try:
        args.works = _works(args)
    except (ValueError, OSError) as problem:
        parser.error(str(problem))
    args.others = _others(args)
    return args


def _works(args: argparse.Namespace) -> list[Work]:
    if args.random is not None:
        works = [of_layer(layer) for layer in random_layers.draw(args.random, args.seed)]
    elif args.layers and args.layers.endswith(".json"):
        works = [of_layer(layer) for layer in read(Path(args.layers))]
    else:
        works = _matching(args.layers or "*")
    if args.labels is not None:
        known = {label for work in WORKS for label in work.labels} | OTHERS
        if unknown := set(args.labels) - known:
            raise ValueError(
                f"unknown class {', '.join(unknown)}; there are {', '.join(sorted(known))}"
            )
        works = [work for work in works if set(args.labels) & set(work.labels)]
    return works


def _matching(patterns: str) -> list[Work]:
    globs = _listed(patterns)
    for glob in globs:
        if not any(fnmatchcase(work.name, glob) for work in WORKS):
            names = ", ".join(work.name for work in WORKS)
            raise ValueError(f"nothing matches {glob!r}; there are {names}")
    return [work for work in WORKS if any(fnmatchcase(work.name, glob) for glob in globs)]


def _others(args: argparse.Namespace) -> set[str]:
    """What is not among the works belongs to a full run, and to who asks for it."""
    if args.labels is not None:
        return OTHERS & set(args.labels)
    return OTHERS if args.random is None and args.layers is None else set()


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _some_of(what: str, valid: Iterable[str]) -> Callable[[str], list[str]]:
    """The reader of a comma-separated list of names."""

    def read_names(text: str) -> list[str]:
        names = _listed(text)
        for name in names:
            if name not in valid:
                raise argparse.ArgumentTypeError(
                    f"unknown {what} {name!r}; valid are {', '.join(valid)}"
                )
        return names

    return read_names


def _threads(text: str) -> list[int]:
    numbers = [int(part) for part in _listed(text)]
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError("threads are positive integers, as in 1,2")
    return numbers


def _modes(text: str) -> list[Mode]:
    try:
        return [Mode.of(name) for name in _listed(text)]
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None
