"""conv2d.winograd_planar and pooling: in the registers of a tile where windows lie within it, else
band by band, see ``fastconv/backends/bands.py``."""

from __future__ import annotations

from typing import Any

from ...spec import ConvPool2dSpec
from ..bands import fused
from . import conv2d_winograd_planar, pool2d_direct  # type: ignore[attr-defined]  # compiled

pack, _run_in_bands, _workspace_of_bands = fused(conv2d_winograd_planar, pool2d_direct)


def _in_tiles(spec: ConvPool2dSpec) -> bool:
    """Whether it takes maxima of 2×2, side by side, of maps that are limited at most."""
    conv, pool = spec.conv, spec.pool
    return (
        pool.mode == "max" and (pool.KH, pool.KW) == (2, 2)
        and (pool.SH == 2 or pool.OH == 1) and (pool.SW == 2 or pool.OW == 1)
        and (pool.DH, pool.DW, pool.PT, pool.PL, pool.PB, pool.PR) == (1, 1, 0, 0, 0, 0)
        and conv.activation in (None, "relu", "relu6")
    )


def run(
    spec: ConvPool2dSpec, x: Any, packed: Any, bias: Any, out: Any, threads: int
) -> None:
    """Write the pooled convolution of x into out."""
    if _in_tiles(spec):
        conv2d_winograd_planar.run(spec.conv, x, packed, bias, out, threads, True)
    else:
        _run_in_bands(spec, x, packed, bias, out, threads)


def workspace_bytes(spec: ConvPool2dSpec, threads: int) -> int:
    """Bytes of scratch memory that ``run`` takes."""
    if _in_tiles(spec):
        return int(conv2d_winograd_planar.workspace_bytes(spec.conv, threads))
    return _workspace_of_bands(spec, threads)
