"""conv2d.winograd_planar and pooling: in the registers of a tile where windows lie within it, else
band by band, see ``fastconv/backends/bands.py``."""

from __future__ import annotations

from typing import Any

from ...spec import ConvPool2dSpec
from ..bands import fused
from . import conv2d_winograd_planar, pool2d_direct  # type: ignore[attr-defined]  # compiled

pack, _run_in_bands, _workspace_of_bands = fused(conv2d_winograd_planar, pool2d_direct)


def run(
    spec: ConvPool2dSpec, x: Any, packed: Any, bias: Any, out: Any, threads: int
) -> None:
    """Write the pooled convolution of x into out."""
    if spec.is_quartered:
        conv2d_winograd_planar.run(spec.conv, x, packed, bias, out, threads, True)
    else:
        _run_in_bands(spec, x, packed, bias, out, threads)


def workspace_bytes(spec: ConvPool2dSpec, threads: int) -> int:
    """Bytes of scratch memory that ``run`` takes."""
    if spec.is_quartered:
        return int(conv2d_winograd_planar.workspace_bytes(spec.conv, threads))
    return _workspace_of_bands(spec, threads)
