"""explain(): which kernel runs, why the others do not, and what it will cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from . import config, heuristics
from .arrays import FLOATS
from .dispatch import asked_for, choose, vector_bytes, verdicts
from .registry import INTEGERS, Kernel
from .spec import (
    ACTIVATIONS,
    HALF,
    LAYOUTS,
    LEAKY_SLOPE,
    ActivationSpec,
    Conv2dSpec,
    Pool2dSpec,
    Spec,
    UnpoolSpec,
    integer,
    one_of,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of the table: ``reason`` is None for the chosen kernel and for slower ones."""

    name: str
    reason: str | None
    seconds: float | None


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

    @property
    def rejected(self) -> dict[str, str]:
        """Each row that was not chosen, with the reason."""
        return {c.name: _why(c) for c in self.candidates if c.name != self.chosen}

    def __str__(self) -> str:
        lines = [
            f"{self.operation}  {self.case}",
            f"{self.flops / 1e6:.3f} MFLOP, {self.bytes / 1e6:.3f} MB, {self.threads} thread"
            f"{'s' if self.threads > 1 else ''}",
        ]
        lines += [f"copy: {copy}" for copy in self.copies]
        width = max(len(c.name) for c in self.candidates)
        for c in self.candidates:
            mark = "→" if c.name == self.chosen else " "
            cost = f"{_short(c.seconds):>9}" if c.seconds is not None else " " * 9
            note = "chosen" if c.name == self.chosen else _why(c)
            lines.append(f"{mark} {c.name:<{width}} {cost}  {note}")
        return "\n".join(lines)


def _why(candidate: Candidate) -> str:
    return candidate.reason or "predicted slower"


def _short(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def explain_spec(
    op: str, spec: Spec, algorithm: str, backend: str, threads: int, packed: bool = False
) -> Explanation:
    """The explanation of ``dispatch.choose`` with these arguments."""
    choice = choose(op, spec, algorithm, backend, threads, packed)

    def predicted(row: Kernel) -> float:
        return heuristics.seconds(
            row, choice.spec, choice.threads, packed=packed, vector_bytes=vector_bytes()
        )

    candidates = tuple(
        Candidate(
            v.row.name, v.reason,
            None if v.reason else predicted(v.row),
        )
        for v in verdicts(op, spec, algorithm, backend)
    )
    return Explanation(
        operation=op, case=str(spec), chosen=choice.row.name, algorithm=choice.row.algorithm,
        backend=choice.row.backend, threads=choice.threads, flops=spec.flops, bytes=spec.bytes,
        seconds=predicted(choice.row), candidates=candidates, copies=_copies(spec, choice.spec),
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


def _activation(
    name: str, x_shape: Any, negative_slope: float = LEAKY_SLOPE, *, dtype: str = "float32"
) -> ActivationSpec:
    if not isinstance(x_shape, (tuple, list)):
        raise TypeError(f"the shape of x must be a tuple; got {type(x_shape).__name__}")
    size = math.prod(integer("each size of x", cells, least=0) for cells in x_shape)
    return ActivationSpec(name, size, dtype, negative_slope)


def _global(mode: str, x_shape: Any, **options: Any) -> Pool2dSpec:
    return Pool2dSpec.of_adaptive(mode, x_shape, 1, **options)


def _lp(x_shape: Any, norm_type: float, pool_size: Any, **options: Any) -> Pool2dSpec:
    return Pool2dSpec.of("lp", x_shape, pool_size, norm=norm_type, **options)


# Public function → the operation of its rows, and the spec of its arguments as shapes.
_SPEC_OF: dict[str, tuple[str, Callable[..., Spec]]] = {
    "conv2d": ("conv2d", Conv2dSpec.of),
    "conv_transpose2d": ("conv2d_input_grad", Conv2dSpec.of_transpose),
    "max_pool2d": ("pool2d", partial(Pool2dSpec.of, "max")),
    "avg_pool2d": ("pool2d", partial(Pool2dSpec.of, "avg")),
    "sum_pool2d": ("pool2d", partial(Pool2dSpec.of, "sum")),
    "lp_pool2d": ("pool2d", _lp),
    "adaptive_max_pool2d": ("pool2d", partial(Pool2dSpec.of_adaptive, "max")),
    "adaptive_avg_pool2d": ("pool2d", partial(Pool2dSpec.of_adaptive, "avg")),
    "global_max_pool2d": ("pool2d", partial(_global, "max")),
    "global_avg_pool2d": ("pool2d", partial(_global, "avg")),
    "global_sum_pool2d": ("pool2d", partial(_global, "sum")),
    "max_unpool2d": ("max_unpool2d", UnpoolSpec.of),
    **{
        name: ("activation", partial(_activation, name))
        for name in ACTIVATIONS
        if name not in ("silu", "hardswish")  # these two have no function of their own
    },
}


def explain(
    operation: str, *shapes: Any, algorithm: str = "auto", backend: str = "auto", **options: Any
) -> Explanation:
    """Which kernel a call would run, why not the others, and the predicted cost.

    Parameters
    ----------
    operation : str
        The name of a public function that runs one kernel, such as ``"conv2d"`` or
        ``"max_pool2d"``; all but ``conv2d_pool2d`` and ``filter2d``, which are conv2d inside.
    *shapes
        Its positional arguments, arrays given as their shapes: ``x_shape, w_shape`` for the
        convolutions, ``x_shape, pool_size`` for pooling and unpooling (whose indices have the
        shape of x), ``x_shape`` for activations.
    algorithm, backend : str
        As in the call itself.
    **options
        The call's other keyword arguments (stride, padding, layout, precision, …), and
        ``dtype``, "float32" unless stated; for convolutions ``bias=True`` means there is one.

    Returns
    -------
    Explanation
        Printable; ``chosen``, ``algorithm``, ``backend``, ``rejected`` (name → reason),
        ``flops``, ``bytes`` (of x, w and out), ``seconds`` (predicted), ``threads``,
        ``copies``.

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As the call itself; an unknown operation lists the valid ones.

    Examples
    --------
    >>> print(fastconv.explain("conv2d", (1, 64, 56, 56), (64, 64, 3, 3), padding=1))
    """
    op, spec_of = _SPEC_OF[one_of("operation", operation, tuple(_SPEC_OF))]
    if "layout" in options:
        one_of("layout", options["layout"], LAYOUTS)
    if "precision" in options:
        options["precision"] = config.precision_for(options["precision"])
    elif op in ("conv2d", "conv2d_input_grad"):
        options["precision"] = config.precision_for("default")
    if "dtype" in options:
        options["dtype"] = _dtype(operation, options["dtype"])
    if "bias" in options:
        options["bias"] = options["bias"] is not None and options["bias"] is not False
    spec = spec_of(*shapes, **options)
    return explain_spec(op, spec, *asked_for(op, algorithm, backend), config.get_num_threads())


def _dtype(operation: str, dtype: Any) -> str:
    """The name of a dtype that the operation accepts."""
    exact = operation in ("relu", "relu6", "max_unpool2d") or "max_pool" in operation
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    return one_of("dtype", name, (*FLOATS, *INTEGERS) if exact else FLOATS)
