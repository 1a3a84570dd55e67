"""The page: sections with their tables and plots, put together by Jinja."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from . import comparisons, figures
from .comparisons import AlgorithmTable, DuelTable, Scaling
from .reading import DeviceInfo, Measurement, Results, read

CONVOLUTION = "conv2d"
"""The operation whose algorithms are compared; the others have one each."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing and the line below it."""

    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class DuelSection:
    """A card against a processor."""

    table: DuelTable
    plots: list[Plot]


@dataclass(frozen=True, slots=True)
class DeviceSection:
    """A device, what was measured on it, and its roofline plot."""

    info: DeviceInfo
    count: int
    plot: Plot | None


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that opens the page."""

    value: str
    words: str


def page(paths: Iterable[Path]) -> str:
    """The HTML page of some result files.

    Raises
    ------
    ReportError
        A file cannot be read as benchmark JSON, or nothing was measured in any of them.
    """
    return render(read(paths))


def render(results: Results) -> str:
    """The HTML page of what was read."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        loader=jinja2.PackageLoader(__package__, "."),
    )
    environment.filters |= {"ms": milliseconds, "times": times, "percent": percent, "per": per,
                            "breakable": breakable}
    measured = results.measurements
    convolutions = [m for m in measured if m.operation == CONVOLUTION]
    algorithms = comparisons.algorithm_tables(convolutions)
    duels = comparisons.duel_tables(measured)
    choices = comparisons.choice_tables(convolutions)
    names = (f"plot-{number}" for number in count(1))
    return environment.get_template("page.html").render(
        results=results,
        css=files(__package__).joinpath("page.css").read_text(encoding="utf-8"),
        opening=_opening(results, duels, choices),
        duels=[
            DuelSection(table, [
                Plot(figures.duels(part, next(names)),
                     f"Batch {part.duels[0].batch}; right of 1× the card is faster.")
                for part in table.by_batch
            ])
            for table in duels
        ],
        algorithms=algorithms,
        algorithm_plots=[
            Plot(figures.algorithms(table, next(names)), f"{table.setting.title}.")
            for table in _telling(algorithms)
        ],
        others=comparisons.backend_tables([m for m in measured if m.operation != CONVOLUTION]),
        devices=[
            DeviceSection(device, len(here), _roofline(device, here, next(names)))
            for device in results.devices
            if (here := [m for m in measured if (m.device, m.kind) == (device.name, device.kind)])
            or device.ceilings
        ],
        batches=_scaling(comparisons.batch_scaling(measured), names, "batch"),
        threads=_scaling(comparisons.thread_scaling(measured), names, "threads"),
        choices=choices,
        has_numpy=any(m.backend == "numpy" for m in measured),
        crowded=[d for d in results.devices if d.cores and any(
            m.threads > d.cores for m in measured if m.device == d.name and m.kind == "cpu"
        )],
        close=comparisons.CLOSE,
    )


def _opening(
    results: Results, duels: Sequence[DuelTable], choices: Sequence[comparisons.ChoiceTable]
) -> list[Figure]:
    measured = results.measurements
    found = [Figure(str(len(measured) + len(results.foreign)), "measurements")]
    if layers := {(m.operation, m.layer) for m in measured}:
        found.append(Figure(str(len(layers)), "layers" if len(layers) > 1 else "layer"))
    for table in duels[:1]:
        found.append(Figure(times(table.mean), "card against processor, arrays on the card"))
        if table.mean_with_transfers is not None:
            found.append(Figure(times(table.mean_with_transfers), "… with transfers"))
    if losses := [loss for table in choices for loss in table.losses]:
        mean = comparisons.geometric_mean([1 + loss for loss in losses]) - 1
        found.append(Figure(percent(mean), "lost by auto's choices, geometric mean"))
    return found


def _telling(tables: Sequence[AlgorithmTable]) -> list[AlgorithmTable]:
    """Of each device and batch the table with the most threads, if it compares anything."""
    last = {(t.setting.device, t.setting.kind, t.setting.batch): t for t in tables}
    return [table for table in last.values() if len(table.families) > 1]


def _roofline(device: DeviceInfo, here: Sequence[Measurement], name: str) -> Plot | None:
    """The fastest of each layer, batch and family with the most threads."""
    points = [m for m in here if m.flops and m.bytes]
    if not points:
        return None
    most = max(m.threads for m in points)
    shown = [
        comparisons.fastest(same)
        for same in comparisons.grouped(
            (m for m in points if m.threads == most),
            lambda m: (m.operation, m.layer, m.case, m.images, comparisons.family(m.algorithm)),
        ).values()
    ]
    threads = "" if device.kind == "gpu" else f" with {most} thread{'s' * (most > 1)}"
    return Plot(
        figures.roofline(device, shown, name),
        f"{device.name}{threads}: the fastest kernel of each algorithm, layer and batch.",
    )


def _scaling(found: Sequence[Scaling], names: Iterable[str], what: str) -> list[Plot]:
    plots = []
    for scaling in found:
        fixed = f", {scaling.fixed}" if scaling.fixed else ""
        name = next(iter(names))
        plots.append(Plot(
            figures.scaling(scaling, name, what, ideal=what == "threads"),
            f"{scaling.device}{fixed}: {len(scaling.lines)} "
            f"layer{'s' * (len(scaling.lines) > 1)}.",
        ))
    return plots


# ---------------------------------------------------------------- numbers in words


def breakable(name: str) -> Markup:
    """A name that may go on in the next line after each dot, dash and bracket."""
    return Markup(re.sub(r"(?<=[.\-/_\[:])(?=\w)", "<wbr>", str(escape(name))))


def _digits(value: float, digits: int = 3) -> str:
    """Significant ones, without an exponent."""
    return f"{value:,.0f}" if value >= 10**digits else f"{float(f'{value:.{digits}g}'):g}"


def milliseconds(seconds: float | None) -> str:
    """Three digits; an en dash for nothing."""
    if seconds is None:
        return "–"
    value = seconds * 1e3
    return f"{value:.2g}" if value < 1e-3 else _digits(value)


def times(ratio: float | None) -> str:
    """Such as 2.5×."""
    return "–" if ratio is None else f"{_digits(ratio)}×"


def percent(share: float | None) -> str:
    """Such as 12 %; a tenth only below ten."""
    if share is None:
        return "–"
    value = 100 * share
    return f"{value:.1f}\u00a0%" if 0.05 <= abs(value) < 10 else f"{value:,.0f}\u00a0%"


def per(value: float, unit: str) -> str:
    """Per second, with the prefix that suits: ``per(2e9, "B")`` is 2 GB/s."""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= size:
            return f"{_digits(value / size)} {prefix}{unit}/s"
    return f"{_digits(value)} {unit}/s"
