"""Winograd's convolution along both axes of planes: see ``csrc/tap_groups.pyx``."""

from __future__ import annotations

from typing import Any

from ..tap_groups import BOTH
from . import tap_groups  # type: ignore[attr-defined]  # compiled


def pack(spec: Any, w: Any, threads: int) -> Any:
    """The weights at every point."""
    return tap_groups.pack(BOTH, spec, w, threads)


def run(spec: Any, x: Any, packed: Any, bias: Any, out: Any, threads: int) -> None:
    """Write the convolution of x into out. A non-finite input spreads over its tiles."""
    tap_groups.run(BOTH, spec, x, packed, bias, out, threads)


def workspace_bytes(spec: Any, threads: int) -> int:
    """Bytes of scratch memory that ``run`` takes."""
    return int(tap_groups.workspace_bytes(BOTH, spec, threads))
