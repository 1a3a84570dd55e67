"""Calls like earlier ones: checked and chosen once, then served by ``csrc/calls.pyx``.

Every public function first asks :meth:`repeat` whether it has seen the same call before, and
tells :func:`remember` what it found out if not. Where the compiled wing is absent all calls go
the ordinary way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from math import prod
from typing import Any, TypeAlias

from .. import arrays, config, memory
from ..dispatch import Choice, available
from ..spec import Spec, dtype_of, in_layout, itemsize

Asked: TypeAlias = tuple[str, Any, tuple[Any, ...], tuple[Any, ...]]
"""The operation, :func:`fastconv.config.settings`, the arrays, the other arguments."""

MOST_KNOWN = 4096


class _NoCalls:
    """What ``csrc/calls.pyx`` is where it is absent."""

    def __init__(self, most: int) -> None:
        self._origin: Any = None

    def repeat(self, asked: Asked, out: object) -> None:
        """Nothing is known."""

    def note(self, origin: Any) -> None:
        """Let :meth:`last` tell ``origin``."""
        self._origin = origin

    def last(self) -> Any:
        """What was noted last, or None."""
        return self._origin


_compiled: Any = None
if available("cython") is None:
    _compiled = import_module("fastconv.backends.cython.calls")
Calls: Callable[[int], Any] = _NoCalls if _compiled is None else _compiled.Calls

known = Calls(MOST_KNOWN)
"""Of the public functions; a plan has its own."""
repeat = known.repeat


def remember(
    asked: Asked, choice: Choice, spec: Spec, shape: tuple[int, int, int, int] | None, *,
    calls: Any = known, **details: Any,
) -> None:
    """Keep what the ordinary way found out: the kernel chosen for ``spec``, a result of
    ``shape`` in (N, C, H, W) order or, for None, of the input's; ``details`` as ``Outcome``
    has them. Only for calls that need nothing but the kernel, and whose settings did not
    change under way."""
    if _compiled is None or asked[1] is None or asked[1] != config.settings():
        return
    if choice.row.backend == "cuda":  # its arrays may live anywhere
        return
    layout = getattr(spec, "layout", "NCHW")
    if (
        spec.dtype != choice.spec.dtype or layout not in choice.row.layouts
        or getattr(spec, "padding_mode", "zeros") != "zeros"
        or getattr(spec, "return_indices", False)
    ):
        return
    large: Callable[..., Any] | None = None
    if shape is None:
        nbytes = spec.size * itemsize(spec.dtype)  # type: ignore[union-attr]
        if nbytes >= memory.LARGE:
            large = partial(arrays.empty_like, dtype=spec.dtype)
    else:
        shape = in_layout(shape, layout)
        if prod(shape) * itemsize(spec.dtype) >= memory.LARGE:
            large = partial(arrays.empty, shape, dtype_of(spec.dtype))
    calls.remember(asked, _compiled.Outcome(
        run=choice.module.run, spec=choice.spec, threads=choice.threads, shape=shape,
        large=large, channels_last=layout == "NHWC", **details,
    ))
