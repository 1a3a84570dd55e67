"""Input gradient (transposed convolution) as stride-1 convolutions, one per phase."""

from __future__ import annotations

from typing import Any

from ...spec import Conv2dSpec
from .. import phases
from . import activation_elementwise, conv2d_direct  # type: ignore[attr-defined]  # compiled


def pack(spec: Conv2dSpec, w: phases.Array, threads: int) -> dict[Any, Any]:
    """Weights of each phase, packed by the wing's convolution."""
    return phases.pack(conv2d_direct, spec, w, threads)


def run(
    spec: Conv2dSpec, dout: phases.Array, packed: dict[Any, Any], bias: phases.Array | None,
    dx: phases.Array, threads: int,
) -> None:
    """dx from dout; see :mod:`fastconv.backends.phases`."""
    phases.run(conv2d_direct, activation_elementwise, spec, dout, packed, bias, dx, threads)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """Scratch of the largest phase."""
    return phases.workspace_bytes(conv2d_direct, spec, threads)
