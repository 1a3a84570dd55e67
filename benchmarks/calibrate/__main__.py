"""``python -m benchmarks.calibrate``: the prices of the cost model, measured on this processor.

Random calls of every kind are run by every row that can serve them. Two thirds of them give the
prices; the others tell how good the choices are. Measurements are kept in a file, and a second
run goes on with them: ``--minutes 0`` fits again, after features or rows have changed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import fastconv
from fastconv import dispatch, heuristics, registry

from .. import machine
from . import fit
from .measure import Measured, complete, read, write
from .regret import Loss, losses, summary
from .shapes import Call, spread

PRICES = Path(heuristics.__file__).with_name("prices.json")
HELD_OUT = 3
"""One call of so many is kept from the fit."""
TWO_THREADS = 4
"""One call of so many is also run on two threads."""
WORST = 12
WIDTH = 160
"""Columns when the output is a file: the table is never folded."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, fit, write the prices and print the regret."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibrate", description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=9, help="time for measurements")
    parser.add_argument("--calls", type=int, default=600, help="how many calls at most")
    parser.add_argument("--seed", type=int, default=1, help="which random calls")
    parser.add_argument("--seconds", type=float, default=0.03, help="for each measurement")
    parser.add_argument("--again", default="", metavar="ROW",
                        help="forget the times of rows whose name contains this")
    parser.add_argument("--file", type=Path, default=Path("calibration.jsonl"),
                        help="keeps the measurements")
    parser.add_argument("--two", action=argparse.BooleanOptionalAction, default=True,
                        help="also measure on two threads")
    parser.add_argument("--write", action=argparse.BooleanOptionalAction, default=True,
                        help=f"write {PRICES.name}")
    args = parser.parse_args(argv)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)

    measured = read(args.file)
    if args.again:
        for m in measured.values():
            m.times = {name: t for name, t in m.times.items() if args.again not in name}
    if args.minutes > 0:
        if busy := machine.busy():
            console.print(f"[yellow]The machine is busy: {busy}. Prices taken now are doubtful.")
        with fastconv.options(threads=1):
            _measure(args, measured, console)
        write(args.file, measured.values())
    held_out = [m for i, m in enumerate(measured.values()) if i % HELD_OUT == 0]
    _fit([m for i, m in enumerate(measured.values()) if i % HELD_OUT], args.write)
    _report(console, held_out)


def _measure(args: argparse.Namespace, measured: dict[Call, Measured], console: Console) -> None:
    """Complete the calls that are there, then go on with new ones, until the time is up."""
    stop = time.monotonic() + 60 * args.minutes
    calls = islice(spread(args.seed), args.calls)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Measuring", total=args.calls)
        for i, (op, spec) in enumerate(calls):
            if time.monotonic() > stop:
                break
            m = measured.setdefault((op, spec), Measured(op, spec, {}))
            if complete(m, args.seconds, args.two and i % TWO_THREADS == 0):
                with args.file.open("a", encoding="utf-8") as file:  # until write() tidies up
                    file.write(m.line() + "\n")
            progress.update(task, completed=i + 1)


def _fit(measured: Sequence[Measured], keep: bool) -> None:
    """New prices for every row that was measured often enough."""
    found = heuristics.prices(dispatch.processor())
    for row in registry.ROWS:
        if row.name in found:  # a fused row has the prices of its parts
            found[row.name] = fit.prices(row, measured, found[row.name])
    if keep:
        known = heuristics.measured() | {dispatch.processor(): found}
        sets = [f"{json.dumps(name)}: {_as_json(prices)}" for name, prices in known.items()]
        PRICES.write_text("{\n" + ",\n".join(sets) + "\n}\n", encoding="utf-8")


def _as_json(prices: dict[str, dict[str, float]]) -> str:
    """A line for each row, in the order of the registry."""
    lines = [
        f'"{row.name}": {json.dumps(prices[row.name])}'
        for row in registry.ROWS if row.name in prices
    ]
    return "{\n" + ",\n".join(lines) + "\n}"


def _report(console: Console, held_out: Sequence[Measured]) -> None:
    """The regret on calls that the prices have not seen."""
    worst: list[Loss] = []
    for op in registry.OPERATIONS:
        for packed in (True, False) if op.startswith("conv2d") else (True,):
            for precision in ("default", "strict") if op == "conv2d" else ("default",):
                found = losses(held_out, op, packed=packed, precision=precision)
                if found:
                    how = "plan" if packed else "functional"
                    console.print(f"{op}, {how}, {precision}: {summary(found)}", highlight=False)
                    one = losses(
                        held_out, op, packed=packed, precision=precision, without="numba")
                    console.print(f"    where Numba is not installed: {summary(one)}",
                                  highlight=False)
                if op == "conv2d" and packed and precision == "default":
                    worst = sorted(found, key=lambda loss: -loss.ratio)[:WORST]
    table = Table("loss", "call", "chosen", "best", title="worst choices", title_justify="left")
    for loss in worst:
        m = loss.call
        chosen, best = (
            f"{name.partition('.')[2]} {1e3 * m.times[name].run:.3f} ms "
            f"({1e3 * dispatch.predicted(_row(name), m.spec, packed=True):.3f})"
            for name in (loss.chosen, loss.best)
        )
        table.add_row(f"{loss.ratio:.2f}", str(m.spec), chosen, best)
    console.print(table)
    console.print("In brackets: predicted.")


def _row(name: str) -> registry.Kernel:
    return next(row for row in registry.ROWS if row.name == name)


if __name__ == "__main__":
    main()
