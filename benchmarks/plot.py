"""``python -m benchmarks.plot peers.json --output peers.svg``: the goals, or every layer.

Colours and strokes are of middle lightness on a transparent ground, so that the picture can be
read on a light and on a dark page.
"""

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

from . import goals
from .peers.ratios import geometric_mean, ratio

INK = "#7a828e"
COLOURS = {1: "#2f81c7", 2: "#d08a1d"}
MET, MISSED = "#2da44e", "#d1495b"


def by_goal(report: dict[str, Any], backend: str) -> Figure:
    """A bar for each goal and number of threads, a dot for each work, a tick for the goal."""
    verdicts = [
        v for v in goals.judge(report, backend)
        if v.figures and v.goal.least is not None and v.goal.against != "one thread"
    ]
    threads = goals.thread_counts(report)
    thickness = 0.7 / len(threads)
    figure, axis = plt.subplots(figsize=(9, 1.2 + 0.42 * len(verdicts)), layout="constrained")
    for i, n in enumerate(threads):
        shown = [(line, v) for line, v in enumerate(verdicts) if n in v.figures]
        at = [line + (i - (len(threads) - 1) / 2) * thickness for line, _ in shown]
        axis.barh(
            at, [v.figures[n] - 1 for _, v in shown], thickness * 0.9, left=1,
            color=COLOURS.get(n, INK), label=f"{n} thread{'s' if n > 1 else ''}",
        )
        for y, (_, verdict) in zip(at, shown, strict=True):
            values = list(verdict.values[n].values())
            axis.plot(values, [y] * len(values), "o", color=INK, markersize=2.5, alpha=0.8)
    for line, verdict in enumerate(verdicts):
        assert verdict.goal.least is not None
        axis.plot(
            [verdict.goal.least] * 2, [line - 0.45, line + 0.45], linewidth=2.5,
            color=MET if verdict.met else MISSED,
        )
    axis.set_yticks(range(len(verdicts)), [v.goal.goal for v in verdicts])
    axis.set_ylim(len(verdicts) - 0.4, -0.6)
    axis.set_xscale("log", base=2)
    _ratio_axis(axis, axis.xaxis)
    axis.axvline(1, color=INK, linewidth=0.8)
    axis.grid(axis="x", alpha=0.3, color=INK)
    _legend(axis)
    axis.set_xlabel(
        "time of the fastest peer ÷ time of fastconv; bar: geometric mean, dots: single works, "
        "tick: the goal", fontsize=8,
    )
    return figure


def by_layer(report: dict[str, Any], backend: str, mode: str) -> Figure:
    """A row of bars for each number of threads, a bar for each layer: the best peer's ratio.

    The axis is logarithmic: twice as fast stands as far above 1 as half as fast below it.
    """
    threads = goals.thread_counts(report)
    peers = [side["name"] for side in report["sides"] if side["family"] == "network"]
    results = [r for r in report["results"] if "layers" in r["labels"]]
    layers = list(dict.fromkeys(r["work"] for r in results))
    figure, axes = plt.subplots(
        len(threads), 1, figsize=(max(2.5 + 0.32 * len(layers), 6), 1.2 + 2.8 * len(threads)),
        sharex=True, squeeze=False, layout="constrained",
    )
    for axis, n in zip(axes[:, 0], threads, strict=True):
        part = [r for r in results if r["threads"] == n]
        ratios = [ratio(r["milliseconds"], peers, f"{backend}/{mode}") for r in part]
        shown = [(k, value) for k, value in enumerate(ratios) if value is not None]
        mean = geometric_mean(ratios)
        axis.bar(
            [k for k, _ in shown], [value - 1 for _, value in shown], 0.8, bottom=1,
            color=COLOURS.get(n, INK), label=f"{n} thread{'s' if n > 1 else ''}"
            + ("" if mean is None else f", geometric mean {mean:.2f}"),
        )
        axis.set_yscale("log", base=2)
        _ratio_axis(axis, axis.yaxis)
        axis.axhline(1, color=INK, linewidth=0.8)
        axis.grid(axis="y", alpha=0.3, color=INK)
        axis.set_xticks(range(len(layers)), layers, rotation=60, ha="right", fontsize=7)
        axis.set_xlim(-0.6, len(layers) - 0.4)
        _legend(axis)
    figure.suptitle(
        f"time of the fastest peer ÷ time of fastconv ({backend}, {mode})", fontsize=9, color=INK
    )
    return figure


def _ratio_axis(axis: Axes, direction: Any) -> None:
    direction.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.tick_params(colors=INK, labelsize=8)
    axis.xaxis.label.set_color(INK)
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)


def _legend(axis: Axes) -> None:
    axis.legend(fontsize=8, loc="best", labelcolor=INK, frameon=False)


def main(argv: Sequence[str] | None = None) -> None:
    """Read a report of ``benchmarks.peers``, write a PNG, SVG or PDF by the file's ending."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__)
    parser.add_argument("report", type=Path, help="JSON of benchmarks.peers")
    parser.add_argument("--output", type=Path, default=Path("peers.svg"))
    parser.add_argument("--by", choices=("goal", "layer"), default="goal")
    parser.add_argument("--mode", default="plan", help="which of fastconv's sides, by layer")
    args = parser.parse_args(argv)
    report = json.loads(args.report.read_text(encoding="utf-8"))
    backend = goals.judged(report)[0]
    plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "fastconv"}  # letters stay letters
    figure = (
        by_goal(report, backend) if args.by == "goal" else by_layer(report, backend, args.mode)
    )
    figure.savefig(args.output, dpi=150, transparent=True, metadata=_undated(args.output))


def _undated(path: Path) -> dict[str, None]:
    """The same figures give the same file."""
    return {"Date": None} if path.suffix == ".svg" else {}


if __name__ == "__main__":
    main()
