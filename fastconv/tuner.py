"""tune(): measure the candidates for some calls, and keep what was found."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from . import choices, config, trial
from .choices import Timing
from .dispatch import choose_anew, instruction_set, predicted, recorded
from .explanation import Explanation, explain_spec
from .progress import Advance, bar
from .registry import Kernel
from .shapes import described
from .spec import Spec
from .spec.arguments import boolean

SHORT = 2e-3
"""Calls that one thread is predicted to finish in less are also measured on one thread."""

Case = tuple[str, Spec]


@dataclass(frozen=True, slots=True)
class Tuned:
    """One call: what runs from now on, and what would have run without tuning."""

    explanation: Explanation
    before: str
    gain: float
    """How many times faster it is than before, for a call that packs its weights."""

    def __str__(self) -> str:
        told = self.explanation
        line = f"{told.case}: {told.chosen} {1e3 * (told.measured or 0.0):.4g} ms"
        return f"{line}, {self.gain:.2f} × {self.before}" if told.chosen != self.before else line


@dataclass(frozen=True, slots=True)
class Tuning:
    """What :func:`tune` found; print it for a line for each call."""

    calls: tuple[Tuned, ...]
    not_kept: str | None
    """Why the choices end with this process, or None."""

    def __str__(self) -> str:
        lines = [str(call) for call in self.calls] or ["no call of a kernel to tune"]
        return "\n".join(lines + ([f"not kept: {self.not_kept}"] if self.not_kept else []))


def tune(
    what: str | Callable[[], object] | Iterable[tuple[Any, ...]], *shapes: Any,
    seconds: float = 0.2, progress: bool = True, **options: Any,
) -> Tuning:
    """Measure the kernels that can serve a call, and let the fastest serve it from now on.

    The choices hold for this and later processes on the same CPU, with the same instruction
    set, number of threads and version of fastconv. They are small files in the user's cache
    folder (found by the package ``platformdirs``), or in the one that ``FASTCONV_CACHE_DIR``
    names; delete them to go back to the predicted choice. Plans that exist follow, too.
    Another number of threads may get another kernel, and so other last bits, once tuned.

    Parameters
    ----------
    what : str, callable or iterable
        The name of a public function, as for :func:`explain`; or a function without arguments,
        which is called once: every kernel that it uses is tuned, so it may run a whole model;
        or several of the first kind, each a tuple ``(name, *shapes, {options})``.
    *shapes, **options
        With a name: its arguments, as for :func:`explain`.
    seconds : float
        Time for each candidate.
    progress : bool
        Show a progress bar, if the package ``rich`` is there and stderr is a terminal.

    Returns
    -------
    Tuning
        Printable; ``calls`` has the explanation, the kernel before and the gain of each.

    Raises
    ------
    TypeError, ValueError
        As the calls themselves; nothing is measured then.

    Examples
    --------
    >>> fastconv.tune("conv2d", (1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    >>> fastconv.tune(lambda: model(x))
    """
    seconds = _duration(seconds)
    progress = boolean("progress", progress)
    threads = config.get_num_threads()
    cases = [case for case in dict.fromkeys(_cases(what, shapes, options)) if case[1].flops]
    rows = {case: trial.promising(*case) for case in cases}
    found, reasons = [], []
    with bar("Measuring kernels", sum(map(len, rows.values())), progress) as advance:
        for (op, spec), candidates in rows.items():
            times = _measured(op, spec, candidates, threads, seconds, advance)
            reasons.append(choices.keep(op, spec, threads, instruction_set(), times))
            found.append((op, spec, candidates, times))
    choose_anew()
    not_kept = next((reason for reason in reasons if reason), None)
    if not_kept:
        warnings.warn(f"tuned for this process only: {not_kept}", UserWarning, stacklevel=2)
    return Tuning(tuple(_outcome(*each, threads) for each in found), not_kept)


def _cases(what: Any, shapes: tuple[Any, ...], options: dict[str, Any]) -> list[Case]:
    if isinstance(what, str):
        return [described(what, *shapes, **options)]
    if shapes or options:
        raise TypeError("shapes and options go with the name of a function as first argument")
    if callable(what):
        with recorded() as calls:
            what()
        return calls
    if not isinstance(what, Iterable):
        raise TypeError(
            f"tune takes the name of a function and shapes, a function to call, or a list of "
            f"(name, *shapes, {{options}}); got {type(what).__name__}"
        )
    return [_case(entry) for entry in what]


def _case(entry: Any) -> Case:
    if not isinstance(entry, (tuple, list)) or not entry:
        raise TypeError(f"each call must be a tuple (name, *shapes, {{options}}); got {entry!r}")
    name, *shapes = entry
    options = shapes.pop() if shapes and isinstance(shapes[-1], dict) else {}
    return described(name, *shapes, **options)


def _duration(seconds: Any) -> float:
    if isinstance(seconds, (bool, str)) or not isinstance(seconds, (int, float)):
        raise TypeError(f"seconds must be a number; got {type(seconds).__name__}")
    if not 0 < seconds < float("inf"):
        raise ValueError(f"seconds must be positive and finite; got {seconds}")
    return float(seconds)


def _measured(
    op: str, spec: Spec, rows: list[Kernel], threads: int, seconds: float, advance: Advance
) -> dict[str, Timing]:
    """The times of all rows, each on the number of threads that suits it better."""
    found = trial.measure(op, spec, rows, threads, seconds, advance)
    short = [row for row in rows if predicted(row, spec) < SHORT]
    if threads > 1 and short:
        for name, alone in trial.measure(op, spec, short, 1, seconds).items():
            if name not in found or alone.run < found[name].run:
                found[name] = alone
    return found


def _outcome(
    op: str, spec: Spec, rows: list[Kernel], times: dict[str, Timing], threads: int
) -> Tuned:
    told = explain_spec(op, spec, "auto", "auto", threads)
    before = min(
        (row for row in rows if row.name in times),
        key=lambda row: predicted(row, spec),
    ).name
    gain = times[before].seconds(False) / times[told.chosen].seconds(False)
    return Tuned(told, before, gain)
