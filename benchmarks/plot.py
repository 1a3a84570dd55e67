"""``python -m benchmarks.plot peers.json --output ratios.svg``: the ratios as bars."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .peers.ratios import geometric_mean, ratio
from .peers.side import FASTCONV, NETWORK

AGAINST = {"best": "the fastest of the network libraries", "torch": "PyTorch"}


def draw(report: dict[str, Any], against: str) -> Figure:
    """A row of bars for each number of threads, a bar for each layer and backend.

    The axis is logarithmic: twice as fast stands as far above 1 as half as fast below it.
    """
    results = report["results"]
    thread_counts = list(dict.fromkeys(result["threads"] for result in results))
    width = 2.5 + 0.32 * len(results) / len(thread_counts)
    figure, axes = plt.subplots(
        len(thread_counts), 1, figsize=(max(width, 6), 1.2 + 2.8 * len(thread_counts)),
        sharex=True, squeeze=False, layout="constrained",
    )
    for axis, threads in zip(axes[:, 0], thread_counts, strict=True):
        part = [result for result in results if result["threads"] == threads]
        _bars(axis, part, report["sides"], against)
        axis.set_title(f"{threads} thread{'s' if threads > 1 else ''}", loc="left", fontsize=10)
    flags, versions = report["flags"], report["versions"]
    peers = ", ".join(
        f"{name} {versions[name]}" for name in ("torch", "onnxruntime", "openvino")
        if name in versions
    )
    figure.suptitle(
        f"time of {AGAINST[against]} ÷ time of fastconv ({flags['mode']}, {flags['layout']}, "
        f"precision {flags['precision']})\n{report['machine']['cpu']}; {peers}",
        fontsize=9,
    )
    return figure


def _bars(
    axis: Axes, results: Sequence[dict[str, Any]], sides: Sequence[dict[str, str]], against: str
) -> None:
    ours = [side for side in sides if side["family"] == FASTCONV]
    peers = [side["name"] for side in sides if side["family"] == NETWORK]
    peers = peers if against == "best" else [name for name in peers if name == against]
    thickness = 0.8 / len(ours)
    for i, side in enumerate(ours):
        ratios = [ratio(r["milliseconds"], peers, side["name"]) for r in results]
        mean = geometric_mean(ratios)
        shown = [(k, value) for k, value in enumerate(ratios) if value is not None]
        axis.bar(
            [k + (i - (len(ours) - 1) / 2) * thickness for k, _ in shown],
            [value - 1 for _, value in shown], thickness, bottom=1,
            label=side["title"] + ("" if mean is None else f", geometric mean {mean:.2f}"),
        )
    axis.axhline(1, color="black", linewidth=0.8)
    axis.set_yscale("log", base=2)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_xticks(range(len(results)), [r["layer"] for r in results], rotation=60, ha="right",
                    fontsize=7)
    axis.set_xlim(-0.6, len(results) - 0.4)
    axis.grid(axis="y", alpha=0.3)
    axis.legend(fontsize=8, loc="best")


def main(argv: Sequence[str] | None = None) -> None:
    """Read a report of ``benchmarks.peers``, write a PNG, SVG or PDF by the file's ending."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__)
    parser.add_argument("report", type=Path, help="JSON of benchmarks.peers")
    parser.add_argument("--output", type=Path, default=Path("ratios.svg"))
    parser.add_argument("--against", choices=tuple(AGAINST), default="best")
    args = parser.parse_args(argv)
    report = json.loads(args.report.read_text(encoding="utf-8"))
    draw(report, args.against).savefig(args.output, dpi=150)


if __name__ == "__main__":
    main()
