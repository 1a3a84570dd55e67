"""``python -m benchmarks.accuracy``: each conv2d row's errors, beside what the row states.

First for growing numbers of channels, where the stated bound must hold; then for badly scaled
data, where no method keeps all digits and the rows are to be compared with each other.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fastconv.registry import BACKENDS, NATIVE_FLOATS, Kernel

from ..layers import Layer
from .data import SCALINGS, fill, normal
from .measure import Sample, errors, rows

CHANNELS = (1, 4, 16, 64, 256, 1024)
KINDS = {
    "1×1": Layer("1×1", 1, 1, 13, 15, 16, 1, 1),
    "3×3": Layer("3×3", 1, 1, 14, 17, 16, 3, 3, padding=1),
    "3×3, 4 outputs": Layer("3×3, 4 outputs", 1, 1, 14, 17, 4, 3, 3, padding=1),
    "3×3 s2": Layer("3×3 s2", 1, 1, 21, 23, 16, 3, 3, 2, 1),
    "3×3 d2": Layer("3×3 d2", 1, 1, 19, 17, 16, 3, 3, 1, 2, 2),
    "depthwise 3×3": Layer("depthwise 3×3", 1, 1, 14, 17, 1, 3, 3, padding=1),
    "5×5": Layer("5×5", 1, 1, 13, 15, 16, 5, 5, padding=2),
    "7×7": Layer("7×7", 1, 1, 15, 14, 8, 7, 7, padding=3),
    "21×21": Layer("21×21", 1, 1, 40, 37, 2, 21, 21, padding=10),
    "52×51": Layer("52×51", 1, 1, 60, 62, 8, 52, 51),
}
SCALED = ("3×3", "5×5", "3×3 s2")
SCALED_CHANNELS = 64
WIDTH = 190

Line = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 1 if a stated bound does not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--backends", default="cython", help=f"of {', '.join(BACKENDS)}")
    parser.add_argument("--rows", default="", metavar="TEXT", help="rows whose name has this")
    parser.add_argument("--dtypes", default="float32,float64")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    args = parser.parse_args(argv)
    chosen = [row for row in rows(args.backends.split(",")) if args.rows in row.name]
    dtypes = [dtype for dtype in NATIVE_FLOATS if dtype in args.dtypes.split(",")]
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    lines = [line for dtype in dtypes for line in (*_grown(chosen, dtype), *_scaled(chosen, dtype))]
    for dtype in dtypes:
        part = [line for line in lines if line["dtype"] == dtype]
        console.print(_bounds(part, dtype))
        for table in (*_growth_tables(part, dtype), *_scaling_tables(part, dtype)):
            console.print(table)
    if args.json:
        args.json.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    broken = [line for line in lines if line["data"] == "normal" and line["rms"] > line["bound"]]
    for line in broken:
        console.print(
            f"[red]{line['row']}, {line['layer']}, {line['channels']} channels, {line['dtype']}: "
            f"rms error {line['rms']:.1e} exceeds the stated {line['bound']:.1e}"
        )
    return int(bool(broken))


# ---------------------------------------------------------------- measuring


def _grown(chosen: Sequence[Kernel], dtype: str) -> Iterator[Line]:
    for kind in KINDS.values():
        for channels in CHANNELS:
            layer = _with_channels(kind, channels)
            yield from _lines(chosen, layer, normal, kind.name, dtype)


def _scaled(chosen: Sequence[Kernel], dtype: str) -> Iterator[Line]:
    for kind in SCALED:
        for how in SCALINGS[1:]:
            # Without padding: a border that does not cancel would be all that counts.
            layer = replace(_with_channels(KINDS[kind], SCALED_CHANNELS), padding=0)
            yield from _lines(chosen, layer, how, kind, dtype)


def _with_channels(kind: Layer, channels: int) -> Layer:
    if kind.name.startswith("depthwise"):
        return replace(kind, IC=channels, OC=channels, groups=channels)
    return replace(kind, IC=channels)


def _lines(
    chosen: Sequence[Kernel], layer: Layer, how: Any, kind: str, dtype: str
) -> Iterator[Line]:
    sample = Sample.of(layer, fill(how, layer, dtype), dtype)
    for row in chosen:
        found = errors(row, sample)
        if found is not None:
            products = layer.w_shape[1] * layer.KH * layer.KW
            yield {
                "row": row.name, "layer": kind, "channels": layer.IC, "dtype": dtype,
                "data": how.__name__, "bound": row.bound(products, dtype), **asdict(found),
            }


# ---------------------------------------------------------------- printing


def _bounds(lines: Sequence[Line], dtype: str) -> Table:
    """Per row the case that comes nearest to the stated bound."""
    table = _table(f"{dtype}: stated bounds of the rms error, normal data")
    for head in ("nearest to it", "rms", "stated", "share", "largest error", ""):
        table.add_column(head, justify="left" if head == "nearest to it" else "right")
    for row in _names(lines):
        part = [line for line in lines if line["row"] == row and line["data"] == "normal"]
        worst = max(part, key=lambda line: line["rms"] / line["bound"])
        share = worst["rms"] / worst["bound"]
        table.add_row(
            row, f"{worst['layer']}, {worst['channels']} channels", f"{worst['rms']:.1e}",
            f"{worst['bound']:.1e}", f"{share:.0%}",
            f"{max(line['largest'] for line in part):.1e}",
            "[green]holds" if share <= 1 else "[red]does not hold",
        )
    return table


def _growth_tables(lines: Sequence[Line], dtype: str) -> Iterator[Table]:
    for kind in KINDS:
        part = [line for line in lines if line["layer"] == kind and line["data"] == "normal"]
        if not part:
            continue
        table = _table(f"{dtype}, {kind}: rms (largest) error by channels")
        for channels in CHANNELS:
            table.add_column(str(channels), justify="right")
        for row in _names(part):
            found = {line["channels"]: line for line in part if line["row"] == row}
            table.add_row(row, *(_cell(found.get(n), "largest") for n in CHANNELS))
        yield table


def _scaling_tables(lines: Sequence[Line], dtype: str) -> Iterator[Table]:
    names = [how.__name__ for how in SCALINGS]
    for kind in SCALED:
        part = [
            line for line in lines
            if line["layer"] == kind and line["channels"] == SCALED_CHANNELS
        ]
        if not part:
            continue
        table = _table(
            f"{dtype}, {kind}, {SCALED_CHANNELS} channels, badly scaled: rms (worst cell, to the "
            "size of its own terms) error"
        )
        for name in names:
            table.add_column(name.replace("_", " "), justify="right")
        for row in _names(part):
            found = {line["data"]: line for line in part if line["row"] == row}
            table.add_row(row, *(_cell(found.get(name), "local") for name in names))
        yield table


def _names(lines: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(line["row"] for line in lines))


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("", no_wrap=True)
    return table


def _cell(line: Line | None, second: str) -> str:
    return "–" if line is None else f"{line['rms']:.1e} ({line[second]:.0e})"


if __name__ == "__main__":
    raise SystemExit(main())
