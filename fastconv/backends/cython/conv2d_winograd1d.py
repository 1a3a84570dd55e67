"""Winograd's convolution down the columns of planes: see ``csrc/tap_groups.pyx``."""

from __future__ import annotations

from typing import Any

from ..tap_groups import DOWN
from . import tap_groups  # type: ignore[attr-defined]  # compiled


def pack(spec: Any, w: Any, threads: int) -> Any:
    """The weights at every point."""
    return tap_groups.pack(DOWN, spec, w, threads)


def run(spec: Any, x: Any, packed: Any, bias: Any, out: Any, threads: int) -> None:
    """Write the convolution of x into out. A non-finite input spreads over the rows of a tile."""
    tap_groups.run(DOWN, spec, x, packed, bias, out, threads)


def workspace_bytes(spec: Any, threads: int) -> int:
    """Bytes of scratch memory that ``run`` takes."""
    return int(tap_groups.workspace_bytes(DOWN, spec, threads))
