"""Winograd's convolution with tiles of 4×4 outputs: see ``csrc/winograd.pyx``."""

from __future__ import annotations

from typing import Any

from . import winograd  # type: ignore[attr-defined]  # compiled


def pack(spec: Any, w: Any, threads: int) -> Any:
    """The transformed weights."""
    return winograd.pack(4, spec, w, threads)


def once(spec: Any, w: Any, threads: int) -> Any:
    """The same, for a single call."""
    return winograd.once(4, spec, w, threads)


def run(
    spec: Any, x: Any, packed: Any, bias: Any, out: Any, threads: int, pooled: bool = False
) -> None:
    """Write the convolution of x into out, or the maxima of windows of 2×2 of its activated maps.
    A non-finite input spreads over its tiles."""
    winograd.run(4, spec, x, packed, bias, out, threads, pooled)


def workspace_bytes(spec: Any, threads: int) -> int:
    """Bytes of scratch memory that ``run`` takes."""
    return int(winograd.workspace_bytes(4, spec, threads))
