"""``python -m benchmarks.peers``: fastconv and each installed peer, timed in one run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

import fastconv
from fastconv.registry import BACKENDS
from fastconv.spec import LAYOUTS, PRECISIONS

from .. import machine
from ..layers import Layer, select
from . import ort, ours, ov, pictures, pytorch
from .measure import Outcome, measure
from .side import FASTCONV, Side
from .table import network_table, picture_table

PEERS: dict[str, tuple[Side, ...]] = {
    "torch": pytorch.SIDES[:1],
    "torch_cl": pytorch.SIDES[1:],
    "ort": ort.SIDES,
    "ov": ov.SIDES,
    "scipy": pictures.SCIPY,
    "opencv": pictures.OPENCV,
}
WIDTH = 180
"""Columns when the output is a file: the tables are never folded."""


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _some_of(what: str, valid: Iterable[str]) -> Callable[[str], list[str]]:
    """The reader of a comma-separated list of names."""

    def read(text: str) -> list[str]:
        names = _listed(text)
        for name in names:
            if name not in valid:
                raise argparse.ArgumentTypeError(
                    f"unknown {what} {name!r}; valid are {', '.join(valid)}"
                )
        return names

    return read


def _threads(text: str) -> list[int]:
    numbers = [int(part) for part in _listed(text)]
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError("threads are positive integers, as in 1,2")
    return numbers


def _layers(text: str) -> list[Layer]:
    try:
        return select(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--layers", type=_layers, default="*", metavar="GLOB[,GLOB]",
                        help="layers of layers.json, by name")
    parser.add_argument("--threads", type=_threads, default="1", metavar="N[,N]",
                        help="threads of every side; one table each")
    parser.add_argument("--repeat", type=int, default=10, metavar="N",
                        help="turns that each side gets")
    parser.add_argument("--seconds", type=float, default=0.5,
                        help="time for each side and layer, over all its turns")
    parser.add_argument("--backends", type=_some_of("backend", BACKENDS),
                        default="cython,numba", help="backends of fastconv")
    parser.add_argument("--algorithm", default="auto", help="fastconv's algorithm")
    parser.add_argument("--mode", choices=("plan", "functional"), default="plan",
                        help="fastconv's weights packed beforehand, or in every call")
    parser.add_argument("--layout", choices=LAYOUTS, default="NCHW",
                        help="fastconv's memory order; the peers keep their own")
    parser.add_argument("--precision", choices=PRECISIONS, default="default",
                        help="fastconv's precision")
    parser.add_argument("--peers", type=_some_of("peer", PEERS), default=",".join(PEERS),
                        help="whom to time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 if a side of fastconv failed or was wrong."""
    args = arguments(argv)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    load, busy = machine.load_average(), machine.busy()
    if busy:
        console.print(f"[yellow]The machine is busy: {busy}. Ratios taken now are doubtful.")
    sides, missing = _present(args)
    for name, reason in missing.items():
        console.print(f"{name} is missing: {reason}", style="yellow", markup=False)
    if not any(side.family == FASTCONV for side in sides):
        console.print("[red]none of fastconv's backends asked for is present")
        return 1

    outcomes: list[Outcome] = []
    for threads in args.threads:
        part = _measure_all(args, sides, threads, console)
        outcomes += part
        _print(part, sides, args, threads, console)
    if args.json:
        report = _report(args, sides, missing, outcomes, load, busy)
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return int(any(outcome.failed_ourselves for outcome in outcomes))


def _present(args: argparse.Namespace) -> tuple[list[Side], dict[str, str]]:
    """The sides to time, and the ones that are not here."""
    wanted = ours.sides(
        args.backends, mode=args.mode, layout=args.layout, precision=args.precision,
        algorithm=args.algorithm,
    )
    wanted += [side for name in args.peers for side in PEERS[name]]
    absent = {side.name: side.absent() for side in wanted}
    missing = {name: reason for name, reason in absent.items() if reason is not None}
    return [side for side in wanted if side.name not in missing], missing


def _measure_all(
    args: argparse.Namespace, sides: list[Side], threads: int, console: Console
) -> list[Outcome]:
    # Redrawn between layers only: a drawing thread would take time from what is measured.
    with Progress(console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=len(args.layers))
        outcomes = []
        for layer in args.layers:
            progress.update(task, description=f"{layer.name}, {threads} thread(s)")
            progress.refresh()
            outcomes.append(
                measure(layer, sides, threads, rounds=args.repeat, seconds=args.seconds)
            )
            progress.advance(task)
        return outcomes


def _print(
    outcomes: list[Outcome], sides: list[Side], args: argparse.Namespace, threads: int,
    console: Console,
) -> None:
    title = (
        f"{threads} thread{'s' if threads > 1 else ''}, {args.mode}, {args.layout}, "
        f"precision {args.precision}, algorithm {args.algorithm}"
    )
    console.print(network_table(outcomes, sides, title))
    pictures_only = picture_table(outcomes, sides, f"Pictures, {title}")
    if pictures_only is not None:
        console.print(pictures_only)
    for outcome in outcomes:
        for name, reason in outcome.failed.items():
            console.print(f"{outcome.layer}, {name}: {reason}", style="red", markup=False)


def _report(
    args: argparse.Namespace, sides: list[Side], missing: dict[str, str],
    outcomes: list[Outcome], load: float | None, busy: str | None,
) -> dict[str, Any]:
    flags = {key: value for key, value in vars(args).items() if key not in ("json", "layers")}
    return {
        "machine": machine.describe(),
        "versions": machine.versions(),
        "config": _config(),
        "load_average": load,
        "busy": busy,
        "flags": flags,
        "sides": [
            {"name": side.name, "title": side.title, "family": side.family} for side in sides
        ],
        "missing": missing,
        "layers": [asdict(layer) for layer in args.layers],
        "results": [outcome.as_json() for outcome in outcomes],
    }


def _config() -> dict[str, str]:
    """fastconv's environment; its thread count is the table's, not the one left over here."""
    items = dict(fastconv.show_config().items)
    del items["threads"]
    return items


if __name__ == "__main__":
    raise SystemExit(main())
