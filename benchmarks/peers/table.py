"""The ratio tables that are printed: one for each number of threads, one for pictures."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from .measure import Outcome
from .ratios import geometric_mean, ratio
from .side import FASTCONV, NETWORK, PICTURE, Side

TORCH = "torch"
NOTHING = "–"


def network_table(outcomes: Sequence[Outcome], sides: Sequence[Side], title: str) -> Table:
    """Every layer against the network libraries; each side's ms, then fastconv's ratios."""
    ours = [side for side in sides if side.family == FASTCONV]
    peers = [side for side in sides if side.family == NETWORK]
    table = _table(title, ours, peers)
    for side in ours:
        table.add_column(f"GF/s\n{side.title}", justify="right")
    peer_sets = [("PyTorch ÷", [TORCH]), ("best ÷", [side.name for side in peers])]
    for label, _ in peer_sets:
        for side in ours:
            table.add_column(f"{label}\n{side.title}", justify="right")
    means: dict[tuple[str, str], list[float | None]] = {}
    for outcome in outcomes:
        times = outcome.milliseconds
        cells = [_rate(outcome.gflop, times.get(side.name)) for side in ours]
        for label, names in peer_sets:
            for side in ours:
                value = ratio(times, names, side.name)
                means.setdefault((label, side.name), []).append(value)
                cells.append(_ratio(value))
        table.add_row(*_start(outcome, ours, peers), *cells)
    _close(table, len(outcomes), [geometric_mean(values) for values in means.values()])
    return table


def picture_table(
    outcomes: Sequence[Outcome], sides: Sequence[Side], title: str
) -> Table | None:
    """The layers that a picture library timed too, against each of them; None if there are none."""
    ours = [side for side in sides if side.family == FASTCONV]
    peers = [side for side in sides if side.family == PICTURE]
    shown = [o for o in outcomes if any(side.name in o.milliseconds for side in peers)]
    if not shown:
        return None
    table = _table(title, ours, peers)
    for peer in peers:
        for side in ours:
            table.add_column(f"{peer.title} ÷\n{side.title}", justify="right")
    pairs = [(peer.name, side.name) for peer in peers for side in ours]
    values = [[ratio(o.milliseconds, [peer], side) for peer, side in pairs] for o in shown]
    for outcome, line in zip(shown, values, strict=True):
        table.add_row(*_start(outcome, ours, peers), *map(_ratio, line))
    _close(table, len(shown), [geometric_mean(column) for column in zip(*values, strict=True)])
    return table


def _table(title: str, ours: Sequence[Side], peers: Sequence[Side]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("GFLOP", justify="right")
    for side in (*ours, *peers):
        table.add_column(f"ms\n{side.title}", justify="right", no_wrap=True)
    return table


def _start(outcome: Outcome, ours: Sequence[Side], peers: Sequence[Side]) -> list[str]:
    times = [_time(outcome, side.name) for side in (*ours, *peers)]
    return [outcome.layer, f"{outcome.gflop:.3f}", *times]


def _close(table: Table, lines: int, means: Sequence[float | None]) -> None:
    """The last line; a mean of one line would only repeat it."""
    if lines > 1:
        table.add_section()
        empty = [""] * (len(table.columns) - len(means) - 1)
        table.add_row("geometric mean", *empty, *map(_ratio, means), style="bold")


def _time(outcome: Outcome, name: str) -> str:
    if name in outcome.failed:
        return "[red]failed[/red]"
    milliseconds = outcome.milliseconds.get(name)
    if milliseconds is None:
        return NOTHING
    return f"{milliseconds:.3f}" if milliseconds < 10 else f"{milliseconds:.1f}"


def _rate(gflop: float, milliseconds: float | None) -> str:
    return NOTHING if milliseconds is None else f"{1e3 * gflop / milliseconds:.0f}"


def _ratio(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"[green]{value:.2f}[/green]" if value >= 1 else f"[red]{value:.2f}[/red]"
