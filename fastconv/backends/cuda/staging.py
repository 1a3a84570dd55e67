"""Host arrays for kernels that read and write the card's memory: copied there and back.

Only calls with ``backend="cuda"`` on NumPy arrays come here with host arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from ... import device
from ...device import DeviceArray


def staged(run: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel's ``run`` or ``pack`` for arrays of either place. What it writes are its
    parameters ``out``, ``dx`` and ``indices`` (of a pooling)."""
    names = run.__code__.co_varnames[: run.__code__.co_argcount]
    written = {
        i for i, name in enumerate(names)
        if name in ("out", "dx") or (name == "indices" and "max_unpool2d" not in run.__module__)
    }

    @wraps(run)
    def anywhere(*args: Any) -> Any:
        if not any(isinstance(a, np.ndarray) for a in args):
            return run(*args)
        moved: list[Any] = list(args)
        back: list[tuple[DeviceArray, np.ndarray[Any, Any]]] = []
        seen: dict[int, DeviceArray] = {}
        for i, a in enumerate(args):
            if isinstance(a, np.ndarray):
                moved[i] = seen[id(a)] = seen.get(id(a)) or device.upload(a)
                if i in written:
                    back.append((moved[i], a))
        result = run(*moved)
        for there, here in back:
            device.download(there, here)
        return result

    return anywhere


def dense(a: DeviceArray) -> DeviceArray:
    """The same numbers, one after the other."""
    if a.contiguous:
        return a
    from . import activation_elementwise

    made = device.empty(a.shape, a.dtype, a)
    activation_elementwise.apply(None, 0.0, a, made)
    return made
