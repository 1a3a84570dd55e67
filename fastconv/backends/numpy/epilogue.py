"""What follows the sums of a convolution: bias, then activation, in place."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ...spec import ActivationSpec, Conv2dSpec
from . import activation_elementwise


def finish(spec: Conv2dSpec, sums: NDArray[Any], bias: NDArray[Any] | None) -> None:
    """Add ``bias``, which broadcasts against ``sums``, and apply the spec's activation."""
    if bias is not None:
        sums += bias
    if spec.activation is not None:
        activation = activation_spec(spec, sums.size)
        activation_elementwise.run(activation, sums, sums, 1)


def finish_bytes(spec: Conv2dSpec, size: int) -> int:
    """Scratch of :func:`finish` on ``size`` sums."""
    if spec.activation is None:
        return 0
    return activation_elementwise.workspace_bytes(activation_spec(spec, size), 1)


def activation_spec(spec: Conv2dSpec, size: int) -> ActivationSpec:
    """The activation of ``size`` of the convolution's results."""
    return ActivationSpec(spec.activation or "", size, spec.dtype)
