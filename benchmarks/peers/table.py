"""The tables of times and ratios: one for each section and number of threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from .measure import Outcome
from .ratios import geometric_mean, ratio
from .side import FASTCONV, NETWORK, PICTURE, Column

NOTHING = "–"


def tables(outcomes: Sequence[Outcome], sides: Sequence[Column], title: str) -> Iterator[Table]:
    """Every section with the sides that were timed in it; then what picture libraries timed."""
    pictures = {side.name for side in sides if side.family == PICTURE}
    for section in dict.fromkeys(outcome.section for outcome in outcomes):
        part = [outcome for outcome in outcomes if outcome.section == section]
        others = [side for side in sides if side.family != PICTURE]
        yield from _table(part, others, f"{section}, {title}")
    part = [outcome for outcome in outcomes if pictures & set(outcome.milliseconds)]
    some = [side for side in sides if side.family in (FASTCONV, PICTURE)]
    yield from _table(part, some, f"against picture libraries, {title}")


def _table(
    outcomes: Sequence[Outcome], candidates: Sequence[Column], title: str
) -> Iterator[Table]:
    """One table, or none if nothing was timed."""
    sides = [
        side for side in candidates
        if any(side.name in o.milliseconds or side.name in o.failed for o in outcomes)
    ]
    if not sides:
        return
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("GFLOP", justify="right")
    for side in sides:
        table.add_column(f"ms\n{side.title}", justify="right", no_wrap=True)
    comparisons = list(_comparisons(sides))
    first = next((side for side in sides if side.family == FASTCONV), sides[0])
    for head, _, _ in comparisons:
        table.add_column(head, justify="right")
    if any(first.name in outcome.kernel for outcome in outcomes):
        table.add_column(f"kernel\n{first.title}", no_wrap=True)
    columns: list[list[float | None]] = [[] for _ in comparisons]
    for outcome in outcomes:
        values = [ratio(outcome.milliseconds, peers, ours) for _, peers, ours in comparisons]
        for column, value in zip(columns, values, strict=True):
            column.append(value)
        times = [_time(outcome, side.name) for side in sides]
        kernel = outcome.kernel.get(first.name, "")
        table.add_row(
            outcome.work, f"{outcome.gflop:.3f}", *times, *map(_ratio, values),
            *[kernel] * bool(kernel),
        )
    if len(outcomes) > 1:  # a mean of one line would only repeat it
        table.add_section()
        means = [_ratio(geometric_mean(column)) for column in columns]
        table.add_row("geometric mean", *[""] * (len(sides) + 1), *means, style="bold")
    yield table


def _comparisons(sides: Sequence[Column]) -> Iterator[tuple[str, list[str], str]]:
    """(head, peers, ours): each own side against its rivals, the first against all others too."""
    ours = [side for side in sides if side.family == FASTCONV]
    network = [side.name for side in sides if side.family == NETWORK]
    for side in ours:
        mode = side.name.partition("/")[2]
        rivals = ["torch_cl"] if "nhwc" in mode.split("+") else network
        head = "torch CL ÷" if rivals == ["torch_cl"] else "best ÷"
        if set(rivals) & set(network):
            yield f"{head}\n{side.title}", rivals, side.name
        if mode == "functional" and "torch" in network:
            yield f"torch ÷\n{side.title}", ["torch"], side.name
    for peer in sides:
        if ours and peer.family not in (FASTCONV, NETWORK):
            yield f"{peer.title} ÷\n{ours[0].title}", [peer.name], ours[0].name


def _time(outcome: Outcome, name: str) -> str:
    if name in outcome.failed:
        return "[red]failed[/red]"
    milliseconds = outcome.milliseconds.get(name)
    if milliseconds is None:
        return NOTHING
    return f"{milliseconds:.3g}" if milliseconds < 100 else f"{milliseconds:.0f}"


def _ratio(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"[green]{value:.2f}[/green]" if value >= 1 else f"[red]{value:.2f}[/red]"
