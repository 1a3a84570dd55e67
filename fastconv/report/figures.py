"""The plots. Each takes what ``comparisons.py`` found and returns an ``<svg>`` element."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator, NullFormatter, NullLocator

from .comparisons import (
    FAMILIES,
    AlgorithmTable,
    DuelTable,
    Scaling,
    families,
    family,
)
from .reading import DeviceInfo, Measurement
from .svg import FAINT, GRID, INK, SERIES, figure, inline, style

MARKERS = ("s", "o", "^", "D", "v", "P", "X", "*")
"""By family, beside the colour: for print, and for those who see fewer colours."""
LINE = 0.24
"""Inches that a layer takes in a plot with a line for each."""
LONGEST_LABEL = 26
FAR = 30.0
"""Ratios beyond are drawn at the edge: the table has them."""


def algorithms(table: AlgorithmTable, name: str) -> str:
    """Time of each family ÷ time of the fastest, a line for each layer."""
    with style():
        drawing = figure(1.1 + LINE * len(table.rows))
        axis = drawing.add_subplot()
        _layer_lines(axis, [row.layer for row in table.rows])
        for kind in table.families:
            at, ratios = [], []
            for line, row in enumerate(table.rows):
                if kind in row.best:
                    at.append(line)
                    ratios.append(row.best[kind].seconds / row.best[row.winner].seconds)
            axis.plot(
                [min(r, FAR) for r in ratios], at, _marker(kind, table.families), linestyle="none",
                color=_colour(kind, table.families), markersize=6.5, label=kind, clip_on=False,
                markeredgewidth=0,
            )
        axis.set_xscale("log")
        axis.set_xlim(0.94, FAR)
        _plain_ticks(axis, (1, 2, 5, 10, FAR), lambda r: f"≥ {r:g}×" if r == FAR else f"{r:g}×")
        axis.set_xlabel("time ÷ time of the fastest; left is better")
        _legend(drawing, axis)
        wins = {k: sum(row.winner == k for row in table.rows) for k in table.families}
        said = ", ".join(f"{k} {n}" for k, n in wins.items())
        return inline(
            drawing, name, f"Algorithms compared: {table.setting.title}",
            f"For each of {len(table.rows)} layers the time of every algorithm divided by that of "
            f"the fastest. Layers on which each is the fastest: {said}. The table has the figures.",
        )


def duels(table: DuelTable, name: str) -> str:
    """Processor ÷ card for each layer of one batch, bare and with transfers."""
    with style():
        drawing = figure(1.2 + LINE * len(table.duels))
        axis = drawing.add_subplot()
        _layer_lines(axis, [duel.layer for duel in table.duels])
        for line, duel in enumerate(table.duels):
            moved = duel.ratio_with_transfers
            if moved is not None:
                axis.plot([moved, duel.ratio], [line, line], color=FAINT, linewidth=1.2)
        bare = [d.ratio for d in table.duels]
        axis.plot(bare, range(len(bare)), "o", color=SERIES[0], markersize=6.5, clip_on=False,
                  label="arrays on the card", markeredgewidth=0)
        moved_at = [(d.ratio_with_transfers, i) for i, d in enumerate(table.duels)
                    if d.ratio_with_transfers is not None]
        if moved_at:
            axis.plot(*zip(*moved_at, strict=True), "D", color=SERIES[1], markersize=5.5,
                      label="with transfers", clip_on=False, markeredgewidth=0)
        axis.axvline(1, color=INK, linewidth=1)
        axis.set_xscale("log")
        values = [*bare, *(m for m, _ in moved_at), 1.0]
        axis.set_xlim(min(values) / 1.3, max(values) * 1.3)
        _decade_ticks(axis, "×")
        axis.set_xlabel("time of the processor ÷ time of the card")
        _legend(drawing, axis)
        return inline(
            drawing, name,
            f"{table.gpu} against {table.cpu}, batch {table.duels[0].batch}",
            f"For each of {len(table.duels)} layers how many times faster the card "
            f"is. Geometric mean {table.mean:.3g} with the arrays on the card. "
            "The table has the figures.",
        )


def roofline(device: DeviceInfo, measured: Sequence[Measurement], name: str) -> str:
    """Operations a second against operations per byte, below what the device can do."""
    with style():
        drawing = figure(4.4)
        axis = drawing.add_subplot()
        points = [m for m in measured if m.flops and m.bytes]
        kinds = families(points)
        fastest = max(_speed(m) for m in points)
        prefix, unit = ("T", 1e12) if fastest > 1e13 else ("G", 1e9)
        for kind in kinds:
            here = [m for m in points if family(m.algorithm) == kind]
            axis.plot(
                [_intensity(m) for m in here], [_speed(m) / unit for m in here],
                _marker(kind, kinds), linestyle="none", color=_colour(kind, kinds),
                markersize=5.5, alpha=0.85, label=kind, markeredgewidth=0,
            )
        xs = [_intensity(m) for m in points]
        ridges = [c.flops / c.bandwidth for c in device.ceilings]
        low, high = min([*xs, *ridges]) / 2, max([*xs, *ridges]) * 2
        axis.set_xscale("log")
        axis.set_yscale("log")
        ceilings = sorted(device.ceilings, key=lambda c: c.threads or 0)
        for ceiling in ceilings:
            ridge = ceiling.flops / ceiling.bandwidth
            many = ceiling is ceilings[-1]
            axis.plot(
                [low, ridge, high],
                [low * ceiling.bandwidth / unit, ceiling.flops / unit, ceiling.flops / unit],
                color=INK, linewidth=1.6 if many else 1.1, linestyle="-" if many else (0, (4, 3)),
                zorder=1,
            )
            if many or ceiling is ceilings[0]:  # above the last, below the first
                axis.annotate(
                    _ceiling_label(ceiling.threads, ceiling.flops),
                    (high, ceiling.flops / unit),
                    xytext=(0, 4 if many else -4), textcoords="offset points", fontsize=9.5,
                    color=INK, ha="right", va="bottom" if many else "top",
                )
        axis.set_xlim(low, high)
        _decade_ticks(axis)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(True, which="major")
        axis.set_xlabel("operations ÷ bytes of input, weights and result")
        axis.set_ylabel(f"{prefix}FLOP/s, counted by the direct method")
        _legend(drawing, axis)
        limits = "; ".join(
            f"{_ceiling_label(c.threads, c.flops)}, {c.bandwidth / 1e9:.3g} GB/s"
            for c in device.ceilings
        )
        return inline(
            drawing, name, f"Roofline: {device.name}",
            f"{len(points)} measurements, the fastest at {fastest / unit:.4g} "
            f"{prefix}FLOP/s. "
            f"Limits: {limits or 'not measured'}.",
        )


def scaling(found: Scaling, name: str, what: str, ideal: bool) -> str:
    """A thin line for each layer, a thick one for their mean."""
    with style():
        drawing = figure(3.4)
        axis = drawing.add_subplot()
        for line in found.lines:
            axis.plot(list(line.points), list(line.points.values()), color=SERIES[0],
                      linewidth=0.9, alpha=0.4)
        at, mean = found.at, found.mean
        if ideal:
            axis.plot(at, [x / at[0] for x in at], color=FAINT, linestyle=(0, (4, 3)),
                      label="ideal")
        axis.plot(list(mean), list(mean.values()), "o-", color=SERIES[1], linewidth=2.4,
                  label="geometric mean", markersize=6)
        axis.plot([], [], color=SERIES[0], linewidth=0.9, label="a layer")
        axis.axhline(1, color=GRID, linewidth=0.8)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log", base=2)
        _plain_ticks(axis, at, lambda x: f"{x:g}")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}×"))
        axis.yaxis.set_minor_locator(NullLocator())
        values = [v for line in found.lines for v in line.points.values()]
        if ideal:
            values += [at[-1] / at[0]]
        axis.set_ylim(min(values) / 1.15, max(values) * 1.15)
        if max(values) / min(values) < 4:
            axis.set_yscale("linear")
            low, high = min(*values, 0.95), max(*values, 1.25)
            axis.yaxis.set_major_locator(MultipleLocator(0.5 if high - low > 1.2 else 0.25))
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}×"))
            axis.set_ylim(low - 0.05, high + 0.05)
        axis.grid(True, which="major")
        axis.set_xlabel(what)
        axis.set_ylabel("gain per picture" if what == "batch" else "gain")
        _legend(drawing, axis)
        said = ", ".join(f"{v:.3g} times at {x}" for x, v in mean.items())
        return inline(
            drawing, name, f"Scaling with {what}: {found.device}, {found.fixed}".rstrip(", "),
            f"{len(found.lines)} layers; geometric mean {said}.",
        )


# ---------------------------------------------------------------- parts


def _layer_lines(axis: Axes, labels: Sequence[str]) -> None:
    axis.set_yticks(range(len(labels)), [_short(label) for label in labels])
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0, labelsize=9.5)
    axis.spines["left"].set_visible(False)
    axis.grid(True, which="major")


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"


def _place(kind: str, kinds: Sequence[str]) -> int:
    """The four families have places of their own, so that they look alike in every plot."""
    if kind in FAMILIES:
        return FAMILIES.index(kind)
    others = [k for k in kinds if k not in FAMILIES]
    return len(FAMILIES) + others.index(kind) % (len(SERIES) - len(FAMILIES))


def _colour(kind: str, kinds: Sequence[str]) -> str:
    return SERIES[_place(kind, kinds)]


def _marker(kind: str, kinds: Sequence[str]) -> str:
    return MARKERS[_place(kind, kinds)]


def _intensity(m: Measurement) -> float:
    return (m.flops or 0.0) / (m.bytes or 1.0)


def _speed(m: Measurement) -> float:
    return (m.flops or 0.0) / m.seconds


def _ceiling_label(threads: int | None, flops: float) -> str:
    speed = f"{flops / 1e12:.3g} TFLOP/s" if flops >= 1e12 else f"{flops / 1e9:.3g} GFLOP/s"
    return speed if threads is None else f"{threads} thread{'s' * (threads > 1)}: {speed}"


def _plain_ticks(axis: Axes, at: Sequence[float], words: Callable[[float], str]) -> None:
    axis.set_xticks(at, [words(x) for x in at])
    axis.xaxis.set_minor_locator(NullLocator())


def _decade_ticks(axis: Axes, unit: str = "") -> None:
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{unit}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _legend(drawing: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        drawing.legend(
            handles, labels, loc="outside upper left", ncols=4 if len(labels) == 4 else 3,
            handletextpad=0.4, columnspacing=1.2, borderaxespad=0.2,
        )
