"""Calls of a plan on a GPU like earlier ones: checked, chosen and prepared once.

What :mod:`._again` is for arrays of the host. Of arrays that differ from those of an earlier call
in their addresses only, nothing is looked at again but whether they overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

from .. import arrays, config, device
from ..device import DeviceArray
from ..dispatch import Choice
from ..spec import Conv2dSpec

_ALIGNED = 16
"""Bytes that addresses may differ by without a kernel's noticing."""


class Bound:
    """What a plan has prepared, for at most ``most`` kinds of calls."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._known: dict[Any, tuple[Callable[[int, int], None], DeviceArray, DeviceArray]] = {}

    def repeat(self, x: DeviceArray, out: DeviceArray | None) -> DeviceArray | None:
        """The result, if such a call was made before; else None."""
        known = self._known.get(_key(x, out))
        if known is None:
            return None
        launch, x_then, out_then = known
        if out is None:
            out = device.empty(out_then.shape, out_then.dtype, x)
            if out.pointer % _ALIGNED:
                return None
        else:
            low, high = x_then.range()
            first, last = out_then.range()
            moved, target = x.pointer - x_then.pointer, out.pointer - out_then.pointer
            if low + moved < last + target and first + target < high + moved:
                return None  # the ordinary way says why
        launch(x.pointer, out.pointer)
        return out

    def remember(
        self, choice: Choice, spec: Conv2dSpec, x: DeviceArray, packed: Any, bias: Any,
        result: DeviceArray, given: DeviceArray | None, ready: int,
    ) -> None:
        """Keep how ``result`` was computed, into the ``given`` array if there is one, where no
        stream had to wait: neither for that nor for the weights, which are ``ready`` on one."""
        bound = getattr(choice.module, "bound", None)
        key = _key(x, given)
        if bound is None or key is None or (x.stream or 0) != ready:
            return
        if any(a is not None and a.stream != x.stream for a in (bias, given)):
            return
        if config.stream() not in (None, x.stream):
            return
        x_seen, out_seen = (arrays.logical(a, spec.layout) for a in (x, result))  # type: ignore[arg-type]
        launch = bound(choice.spec, x_seen, packed, bias, out_seen)
        with self._lock:
            while len(self._known) >= self._most:
                del self._known[next(iter(self._known))]
            self._known[key] = launch, _without_owner(x), _without_owner(result)


def _without_owner(a: DeviceArray) -> DeviceArray:
    return DeviceArray(a.pointer, a.shape, a.strides, a.dtype, a.library, a.device, a.stream)


def _key(x: DeviceArray, out: DeviceArray | None) -> Any:
    """All that a prepared launch depends on, beside addresses; None while calls must not be
    remembered."""
    settings = config.settings()
    if settings is None:
        return None
    return settings, config.stream(), _signature(x), None if out is None else _signature(out)


def _signature(a: DeviceArray) -> tuple[Any, ...]:
    return (
        a.shape, a.strides, a.dtype, a.library, a.device, a.stream, a.writeable,
        a.pointer % _ALIGNED,
    )
