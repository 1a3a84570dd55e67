"""The goals, held against a report: ``python -m benchmarks.goals peers.json``.

``--markdown`` prints the tables of the README, ``--write README.md`` puts them there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .peers.ratios import geometric_mean, ratio

Result = Mapping[str, Any]
"""One entry of a report's ``results``."""

UNITS = {"µs": ("milliseconds", 1e3), "s": ("milliseconds", 1e-3), "MB": ("megabytes", 1.0)}
"""Of a limit: the field of a result that it is read from, and the factor."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of ``goals.json``; its note says what the fields mean."""

    goal: str
    labels: Sequence[str]
    ours: str
    against: Sequence[str] | str = ()
    least: float | None = None
    floor: float | None = None
    most: float | None = None
    unit: str = ""
    threads: Sequence[int] = (1, 2)

    @property
    def target(self) -> str:
        """The goal in words."""
        if self.most is not None:
            return f"≤ {self.most:g} {self.unit}"
        return "" if self.least is None else f"≥ {self.least:g}"


@dataclass(slots=True)
class Verdict:
    """What a report says about a goal."""

    goal: Goal
    figures: dict[int, float] = field(default_factory=dict)
    """By number of threads: the geometric mean, or the largest of a limited quantity."""
    worst: tuple[float, str, int] | None = None
    """(value, work, threads) of the single work that is the furthest behind."""
    values: dict[int, dict[str, float]] = field(default_factory=dict)
    """By number of threads and work."""
    failed: list[str] = field(default_factory=list)
    """Works on which fastconv raised or was wrong: no figure makes up for them."""

    @property
    def met(self) -> bool | None:
        """Whether every number of threads reaches the goal; None without goal or figure."""
        if self.failed:
            return False
        if not self.figures or self.goal.target == "":
            return None
        if self.goal.most is not None:
            return max(self.figures.values()) <= self.goal.most
        assert self.goal.least is not None
        return min(self.figures.values()) >= self.goal.least

    @property
    def floor_met(self) -> bool | None:
        """Whether no single work is below the floor."""
        if self.goal.floor is None or self.worst is None:
            return None
        return not self.failed and self.worst[0] >= self.goal.floor


def read() -> tuple[Goal, ...]:
    """The goals of ``goals.json``."""
    text = Path(__file__).with_name("goals.json").read_text(encoding="utf-8")
    return tuple(Goal(**entry) for entry in json.loads(text)["goals"])


def judge(report: Mapping[str, Any], backend: str) -> list[Verdict]:
    """Every goal, for one backend."""
    network = [side["name"] for side in report["sides"] if side["family"] == "network"]
    times = {(r["work"], r["threads"]): r["milliseconds"] for r in report["results"]}
    return [_judge(goal, backend, report["results"], network, times) for goal in read()]


def _judge(
    goal: Goal, backend: str, results: Iterable[Result], network: Sequence[str],
    times: Mapping[tuple[str, int], Mapping[str, float]],
) -> Verdict:
    verdict = Verdict(goal)
    ours = goal.ours if "/" in goal.ours else f"{backend}/{goal.ours}"
    for result in results:
        threads = result["threads"]
        if threads not in goal.threads or not set(goal.labels) <= set(result["labels"]):
            continue
        if ours in result["failed"]:
            verdict.failed.append(result["work"])
        value = _value(goal, ours, result, network, times)
        if value is not None:
            verdict.values.setdefault(threads, {})[result["work"]] = value
    pick = min if goal.most is None else max
    for threads, per_work in sorted(verdict.values.items()):
        worst = pick(per_work, key=lambda work: per_work[work])
        mean = geometric_mean(per_work.values()) if goal.most is None else per_work[worst]
        assert mean is not None
        verdict.figures[threads] = mean
        found = per_work[worst], worst, threads
        verdict.worst = found if verdict.worst is None else pick(verdict.worst, found)
    return verdict


def _value(
    goal: Goal, ours: str, result: Result, network: Sequence[str],
    times: Mapping[tuple[str, int], Mapping[str, float]],
) -> float | None:
    if goal.most is not None:
        quantity, factor = UNITS[goal.unit]
        measured = result[quantity].get(ours)
        return None if measured is None else factor * measured
    milliseconds = result["milliseconds"]
    if goal.against == "one thread":
        alone = times.get((result["work"], 1), {})
        both = ours in alone and ours in milliseconds
        return alone[ours] / milliseconds[ours] if both else None
    return ratio(milliseconds, network if goal.against == "network" else goal.against, ours)


# ---------------------------------------------------------------- printing


def lines(verdicts: Iterable[Verdict], thread_counts: Sequence[int]) -> tuple[
    list[str], list[list[str]]
]:
    """Heads and cells of the table, one line for each goal."""
    heads = ["goal", "target", *(_threads(n) for n in thread_counts), "", "works",
             "worst single one", "floor", ""]
    return heads, [_cells(verdict, thread_counts) for verdict in verdicts]


def _cells(verdict: Verdict, thread_counts: Sequence[int]) -> list[str]:
    goal = verdict.goal
    figures = [
        f"{verdict.figures[n]:.3g}" if n in verdict.figures
        else ("–" if n in goal.threads else "") for n in thread_counts
    ]
    worst = ""
    if verdict.failed:
        worst = f"failed: {verdict.failed[0]}"
    elif verdict.worst:
        value, work, threads = verdict.worst
        worst = f"{value:.3g} {work}" + (f", {_threads(threads)}" if threads > 1 else "")
    floor = "" if goal.floor is None else f"≥ {goal.floor:g}"
    works = {work for per_work in verdict.values.values() for work in per_work}
    return [
        goal.goal, goal.target, *figures, _word(verdict.met), str(len(works)), worst, floor,
        _word(verdict.floor_met),
    ]


def _word(met: bool | None) -> str:
    return {True: "met", False: "not met", None: ""}[met]


def _threads(number: int) -> str:
    return f"{number} thread{'s' if number > 1 else ''}"


def table(report: Mapping[str, Any], backend: str) -> Table:
    """For a terminal."""
    shown = Table(title=f"Goals, {backend}", title_justify="left", header_style="bold")
    heads, rows = lines(_with_figures(report, backend), thread_counts(report))
    for i, head in enumerate(heads):
        shown.add_column(head, justify="right" if 1 <= i < len(heads) - 5 else "left",
                         no_wrap=i == 0)
    for cells in rows:
        shown.add_row(*map(_coloured, cells))
    return shown


def _coloured(cell: str) -> str:
    colour = {"met": "green", "not met": "red"}.get(cell)
    return f"[{colour}]{cell}[/]" if colour else cell


def thread_counts(report: Mapping[str, Any]) -> list[int]:
    """The numbers of threads that were measured."""
    return sorted({result["threads"] for result in report["results"]})


def _with_figures(report: Mapping[str, Any], backend: str) -> list[Verdict]:
    """A run of a part says nothing about the other goals."""
    verdicts = judge(report, backend)
    return [v for v in verdicts if v.figures or v.failed]


def judged(report: Mapping[str, Any]) -> list[str]:
    """The backends of fastconv that were measured."""
    sides = [side["name"] for side in report["sides"] if side["family"] == "fastconv"]
    return list(dict.fromkeys(name.partition("/")[0] for name in sides))


# ---------------------------------------------------------------- Markdown

MARKS = "<!-- figures -->", "<!-- /figures -->"
"""What :func:`main` writes stands between these."""

SHOWN = ("plan", "functional")
"""The modes of the table of layers."""


def markdown(report: Mapping[str, Any]) -> str:
    """The README's tables: what it was measured on, the goals, every layer."""
    backend = judged(report)[0]
    heads, rows = lines(_with_figures(report, backend), thread_counts(report))
    return "\n\n".join([
        _provenance(report), _markdown(heads, rows),
        "<details><summary>Every layer, one thread, milliseconds</summary>",
        _layers(report, backend), "</details>",
    ])


def _provenance(report: Mapping[str, Any]) -> str:
    machine, versions = report["machine"], report["versions"]
    names = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO",
             "opencv-python-headless": "OpenCV", "scipy": "SciPy"}
    peers = ", ".join(
        f"{title} {versions[package].partition('+')[0]}" for package, title in names.items()
        if package in versions
    )
    missing = "".join(f" Missing: {name}." for name in report["missing"])
    busy = f" The machine was busy: {report['busy']}." if report["busy"] else ""
    return (
        f"Measured on {machine['cpu']}, {machine['cores']} core{'s' * (machine['cores'] > 1)}, "
        f"{report['config']['instruction set']}, against {peers}; float32, minimum of many calls."
        f"{missing}{busy}"
    )


def _layers(report: Mapping[str, Any], backend: str) -> str:
    """Milliseconds with one thread, and the ratio to the best peer."""
    peers = [side for side in report["sides"] if side["family"] == "network"]
    ours = [f"{backend}/{mode}" for mode in SHOWN]
    heads = ["layer", *SHOWN, *(side["title"] for side in peers), "best ÷ plan"]
    rows = []
    for result in report["results"]:
        if result["threads"] != 1 or "layers" not in result["labels"]:
            continue
        times = result["milliseconds"]
        names = [*ours, *(side["name"] for side in peers)]
        value = ratio(times, [side["name"] for side in peers], ours[0])
        rows.append([
            result["work"], *(f"{times[n]:.3g}" if n in times else "–" for n in names),
            "–" if value is None else f"{value:.2f}",
        ])
    return _markdown(heads, rows)


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(text: str, path: Path) -> None:
    """Put ``text`` between the marks of a file."""
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (begin and end):
        raise SystemExit(f"{path} has no lines {MARKS[0]} and {MARKS[1]} to write between")
    path.write_text(f"{before}{begin}\n{text}\n\n{end}{after}", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Read a report of ``benchmarks.peers`` and print what it says about the goals."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.goals", description=__doc__)
    parser.add_argument("report", type=Path, help="JSON of benchmarks.peers")
    parser.add_argument("--markdown", action="store_true", help="print as in the README")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the Markdown into FILE")
    args = parser.parse_args(argv)
    report = json.loads(args.report.read_text(encoding="utf-8"))
    if args.write:
        write(markdown(report), args.write)
    elif args.markdown:
        print(markdown(report))
    else:
        console = Console()
        for backend in judged(report):
            console.print(table(report, backend))


if __name__ == "__main__":
    main()
