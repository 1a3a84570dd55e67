"""``python -m benchmarks.calibrate``: the constants of ``fastconv/heuristics.py``, measured here.

Every conv2d row runs on one thread over a spread of random layers; its prices are fitted to all
of them. The same figures show how good the choice by the present constants is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

import fastconv

from .. import machine
from ..peers.ratios import geometric_mean
from .measure import (
    Measured,
    call_seconds,
    cell_rates,
    conv_costs,
    convolutions,
    crossover,
    regret,
    steps,
)
from .shapes import spread

COMPILED = ("cython", "numba")
WIDTH = 160
"""Columns when the output is a file: the table is never folded."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, then print a table, the regret and the constants as Python source."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibrate", description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--layers", type=int, default=30, help="how many random layers")
    parser.add_argument("--seed", type=int, default=1, help="which random layers")
    parser.add_argument("--seconds", type=float, default=0.1, help="time for each measurement")
    args = parser.parse_args(argv)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    if busy := machine.busy():
        console.print(f"[yellow]The machine is busy: {busy}. Constants taken now are doubtful.")

    measured = convolutions(spread(args.layers, args.seed), args.seconds)
    console.print(_layer_table(measured))
    regrets = regret(measured)
    near = sum(value <= 1.1 for value in regrets) / len(regrets)
    console.print(
        f"The present constants choose a row within 10 % of the fastest on {near:.0%} of the "
        f"layers; geometric mean of chosen ÷ fastest {geometric_mean(regrets):.3f}, "
        f"worst {max(regrets):.2f}."
    )
    present = [name for name, absent in fastconv.backends().items() if absent is None]
    _print_rates(console, measured, present, args.seconds)
    for backend in present:
        if backend in COMPILED:
            for kind, step in steps(backend).items():
                work = crossover(step, args.seconds)
                console.print(
                    f"{kind}, {backend}: two threads pay "
                    + ("never" if work is None else f"from {work:_} operations")
                )


def _print_rates(
    console: Console, measured: Measured, present: Sequence[str], seconds: float
) -> None:
    """The constants as they stand in ``heuristics.py``."""
    console.print("_CONV = {")
    for row, (operations, gathered) in conv_costs(measured).items():
        console.print(
            f'    "{row.algorithm}@{row.backend}": ({operations:.4f}, {gathered:.2f}),',
            markup=False, highlight=False,
        )
    console.print("}")
    cells = ", ".join(
        f'"{backend}": {geometric_mean(values):.2g}'
        for backend, values in cell_rates(seconds).items()
    )
    console.print(f"_CELL_RATE = {{{cells}}}", markup=False, highlight=False)
    calls = ", ".join(
        f'"{backend}": {call_seconds(backend, seconds):.1e}' for backend in present
    )
    console.print(f"_CALL = {{{calls}}}", markup=False, highlight=False)


def _layer_table(measured: Measured) -> Table:
    """Milliseconds of every row on every layer, the fastest in green."""
    rows = list(dict.fromkeys(row for times in measured.values() for row in times))
    table = Table("layer", "GFLOP", title="milliseconds, one thread", title_justify="left")
    for row in rows:
        table.add_column(f"{row.algorithm}\n{row.backend}", justify="right")
    for layer, times in measured.items():
        least = min(times.values())
        cells = [
            "–" if row not in times
            else ("[green]" if times[row] == least else "") + f"{1e3 * times[row]:.3f}"
            for row in rows
        ]
        table.add_row(layer.name, f"{layer.spec().flops / 1e9:.3f}", *cells)
    return table


if __name__ == "__main__":
    main()
