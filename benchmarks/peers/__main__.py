"""``python -m benchmarks.peers``: fastconv and each installed peer, timed in one run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import Progress

import fastconv
from fastconv.bench.records import versions

from .. import goals, machine
from . import arguments, copying, large_filters, ort, ours, ov, pictures, processes, pytorch
from .measure import OTHERS_LIMIT, Outcome, measure
from .side import FASTCONV, Side
from .table import tables

PEERS: dict[str, tuple[Side, ...]] = {
    "torch": pytorch.SIDES[:1],
    "torch_cl": pytorch.SIDES[1:],
    "ort": ort.SIDES,
    "ov": ov.SIDES,
    "opencv": pictures.OPENCV,
    "scipy": pictures.SCIPY,
    "copy": copying.SIDES,
}
WIDTH = 400
"""Columns when the output is a file: the tables are never folded."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 if a side of fastconv failed or was wrong."""
    args = arguments.parse(argv, PEERS)
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

    outcomes = _measure_all(args, sides, console)
    report = _report(args, sides, missing, outcomes, load, busy)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _print(outcomes, sides, args, console)
    for backend in goals.judged(report):
        console.print(goals.table(report, backend))
    return int(any(outcome.failed_ourselves for outcome in outcomes))


def _present(args: argparse.Namespace) -> tuple[list[Side], dict[str, str]]:
    """The sides to time, and the ones that are not here."""
    wanted = ours.sides(args.backends, args.modes, args.algorithm)
    wanted += [side for name in args.peers for side in PEERS[name]]
    absent = {side.name: side.absent() for side in wanted}
    missing = {name: reason for name, reason in absent.items() if reason is not None}
    return [side for side in wanted if side.name not in missing], missing


def _measure_all(args: argparse.Namespace, sides: list[Side], console: Console) -> list[Outcome]:
    # Redrawn between measurements only: a drawing thread would take time from what is measured.
    with Progress(console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=len(args.works) * len(args.threads))
        outcomes = []
        for work in args.works:  # the numbers of threads within: they are compared as well
            for threads in args.threads:
                progress.update(task, description=f"{work.name}, {threads} thread(s)")
                progress.refresh()
                outcomes.append(
                    measure(work, sides, threads, rounds=args.repeat, seconds=args.seconds)
                )
                progress.advance(task)
        progress.update(task, description="large filters, imports, memory")
        progress.refresh()
        outcomes += _others(args)
        return outcomes


def _others(args: argparse.Namespace) -> list[Outcome]:
    """What is no network, no picture and no pooling."""
    outcomes = []
    if large_filters.LABEL in args.others:
        outcomes += [
            large_filters.measure(
                case, args.backends, threads, rounds=args.repeat, seconds=args.seconds
            )
            for case in large_filters.CASES for threads in args.threads
        ]
    if "processes" in args.others:
        outcomes.append(processes.import_time())
        outcomes += [peak for backend in args.backends for peak in processes.peaks(backend)]
    return outcomes


def _print(
    outcomes: list[Outcome], sides: list[Side], args: argparse.Namespace, console: Console
) -> None:
    if not args.goals:
        for threads in args.threads:
            part = [outcome for outcome in outcomes if outcome.threads == threads]
            title = f"{threads} thread{'s' if threads > 1 else ''}, algorithm {args.algorithm}"
            for table in tables(part, [*sides, large_filters.COLUMN], title):
                console.print(table)
    for outcome in outcomes:
        for name, reason in outcome.failed.items():
            console.print(
                f"{outcome.work}, {outcome.threads} thread(s), {name}: {reason}", style="red",
                markup=False,
            )
    doubtful = [outcome for outcome in outcomes if outcome.doubtful]
    if doubtful:
        most = max(doubtful, key=lambda outcome: outcome.others or 0.0)
        console.print(
            f"Other work took more than {OTHERS_LIMIT:.0%} of the processor during "
            f"{len(doubtful)} of {len(outcomes)} measurements, at most {most.others:.0%} "
            f"({most.work}).", style="yellow", markup=False,
        )


def _report(
    args: argparse.Namespace, sides: list[Side], missing: dict[str, str],
    outcomes: list[Outcome], load: float | None, busy: str | None,
) -> dict[str, Any]:
    derived = "json", "works", "others"
    flags = {key: value for key, value in vars(args).items() if key not in derived}
    flags["modes"] = [mode.name for mode in args.modes]
    return {
        "machine": machine.describe(),
        "versions": versions(),
        "config": _config(),
        "load_average": load,
        "busy": busy,
        "flags": flags,
        "sides": [
            {"name": side.name, "title": side.title, "family": side.family} for side in sides
        ],
        "missing": missing,
        "results": [outcome.as_json() for outcome in outcomes],
    }


def _config() -> dict[str, str]:
    """fastconv's environment; its thread count is the table's, not the one left over here."""
    items = dict(fastconv.show_config().items)
    del items["threads"]
    return items


if __name__ == "__main__":
    raise SystemExit(main())
