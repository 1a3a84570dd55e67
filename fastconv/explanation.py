"""explain(): which kernel runs, why the others do not, and what it will cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import choices, config, trial
from .choices import Times
from .dispatch import asked_for, choose, instruction_set, predicted, verdicts
from .shapes import described
from .spec import HALF, Spec
from .spec.arguments import boolean

MEASURE_SECONDS = 0.1
"""For each candidate."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of the table: ``reason`` is None for the chosen kernel and for slower ones."""

    name: str
    reason: str | None
    seconds: float | None
    """Predicted."""
    measured: float | None = None
    """By ``tune()``, or now."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The choice of a kernel; print it for a table."""

    operation: str
    case: str
    chosen: str
    algorithm: str
    backend: str
    threads: int
    flops: int
    bytes: int
    seconds: float
    candidates: tuple[Candidate, ...]
    copies: tuple[str, ...]
    tuned: bool = False
    """Whether the choice comes from measurements that ``tune()`` has kept."""
    compiles: bool = False
    """Whether the call would first wait for a just-in-time compiler, see ``warmup()``."""

    @property
    def rejected(self) -> dict[str, str]:
        """Each row that was not chosen, with the reason."""
        return {c.name: self._why(c) for c in self.candidates if c.name != self.chosen}

    @property
    def measured(self) -> float | None:
        """Seconds of the chosen kernel, where it has been measured."""
        return next(c.measured for c in self.candidates if c.name == self.chosen)

    def _why(self, candidate: Candidate) -> str:
        if candidate.reason:
            return candidate.reason
        if self.tuned:
            return "not measured" if candidate.measured is None else "measured slower"
        return "predicted slower"

    def __str__(self) -> str:
        lines = [
            f"{self.operation}  {self.case}",
            f"{self.flops / 1e6:.3f} MFLOP, {self.bytes / 1e6:.3f} MB, {self.threads} thread"
            f"{'s' if self.threads > 1 else ''}",
        ]
        lines += [f"copy: {copy}" for copy in self.copies]
        if self.compiles:
            lines.append("compiles first, once; warmup() does it beforehand")
        width = max(len(c.name) for c in self.candidates)
        timed = any(c.measured is not None for c in self.candidates)
        if timed:
            lines.append(f"  {'':<{width}} {'predicted':>9} {'measured':>9}")
        for c in self.candidates:
            mark = "→" if c.name == self.chosen else " "
            cost = f"{_short(c.seconds):>9}" + (f" {_short(c.measured):>9}" if timed else "")
            chosen = "chosen: the fastest when tuned" if self.tuned else "chosen"
            note = chosen if c.name == self.chosen else self._why(c)
            lines.append(f"{mark} {c.name:<{width}} {cost}  {note}")
        return "\n".join(lines)


def _short(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def explain_spec(
    op: str, spec: Spec, algorithm: str, backend: str, threads: int, packed: bool = False,
    times: Times | None = None,
) -> Explanation:
    """The explanation of ``dispatch.choose`` with these arguments, beside measured ``times`` or
    those that tune() has kept."""
    choice = choose(op, spec, algorithm, backend, threads, packed)
    if times is None:
        times = choices.times_of(op, spec, threads, instruction_set())
    candidates = tuple(
        Candidate(v.row.name, v.reason, None) if v.reason else Candidate(
            v.row.name, None, predicted(v.row, spec, choice.threads, packed=packed),
            times[v.row.name].seconds(packed) if v.row.name in times else None,
        )
        for v in verdicts(op, spec, algorithm, backend)
    )
    return Explanation(
        operation=op, case=str(spec), chosen=choice.row.name, algorithm=choice.row.algorithm,
        backend=choice.row.backend, threads=choice.threads, flops=spec.flops, bytes=spec.bytes,
        seconds=predicted(choice.row, spec, choice.threads, packed=packed),
        candidates=candidates, copies=_copies(spec, choice.spec), tuned=choice.tuned,
        compiles=bool(spec.flops) and trial.will_compile(op, spec, choice.row, choice.threads),
    )


def _copies(spec: Spec, seen: Spec) -> tuple[str, ...]:
    """The conversions that ``arrays`` makes before the kernel, known without the arrays."""
    copies = []
    if spec.dtype in HALF and seen.dtype != spec.dtype:
        copies.append(f"{spec.dtype} widened to {seen.dtype}, rounded once at the end")
    mode = getattr(spec, "padding_mode", "zeros")
    if mode != getattr(seen, "padding_mode", "zeros"):
        copies.append(f"the padded input is written out ({mode})")
    return tuple(copies)


def explain(
    operation: str, *shapes: Any, algorithm: str = "auto", backend: str = "auto",
    measure: bool = False, **options: Any,
) -> Explanation:
    """Which kernel a call would run, why not the others, and the predicted cost.

    Parameters
    ----------
    operation : str
        The name of a public function that runs one kernel, such as ``"conv2d"`` or
        ``"max_pool2d"``.
    *shapes
        Its positional arguments, arrays given as their shapes: ``x_shape, w_shape`` for the
        convolutions, ``x_shape, pool_size`` for pooling and unpooling (whose indices have the
        shape of x), ``x_shape`` for activations, for ``filter2d`` the picture's shape and
        (KH, KW), or (K, KH, KW) for a list of K kernels.
    algorithm, backend : str
        As in the call itself.
    measure : bool
        Also run the candidates on random data, some tenths of a second each, and show what
        they took beside the prediction. The choice stays as it is; :func:`tune` changes it.
    **options
        The call's other keyword arguments (stride, padding, layout, precision, …), and
        ``dtype``, "float32" unless stated; for convolutions ``bias=True`` means there is one.
        ``rank`` is that of conv2d's kernels, which only their values tell: 0 unless stated.

    Returns
    -------
    Explanation
        Printable; ``chosen``, ``algorithm``, ``backend``, ``rejected`` (name → reason),
        ``flops``, ``bytes`` (of x, w and out), ``seconds`` (predicted), ``measured`` (None if
        it was not), ``tuned``, ``threads``, ``copies``, ``compiles`` (whether the call would
        first wait for a just-in-time compiler).

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As the call itself; an unknown operation lists the valid ones.

    Examples
    --------
    >>> print(fastconv.explain("conv2d", (1, 64, 56, 56), (64, 64, 3, 3), padding=1))
    """
    op, spec = described(operation, *shapes, **options)
    algorithm, backend = asked_for(op, algorithm, backend)
    threads = config.get_num_threads()
    times = None
    if boolean("measure", measure) and spec.flops:  # an empty batch runs no kernel
        choice = choose(op, spec, algorithm, backend, threads)
        rows = trial.promising(op, spec, algorithm, backend)
        times = trial.measure(op, spec, rows, choice.threads, MEASURE_SECONDS)
    return explain_spec(op, spec, algorithm, backend, threads, times=times)
