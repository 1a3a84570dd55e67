"""conv2d.direct@cuda, its maps pooled by the blocks that compute them; see :mod:`.patches`.

Where no patch of whole windows fits into a tile, or too much would be computed twice, the maps are
pooled while they lie in the cache; see :mod:`.pooled`.
"""

from __future__ import annotations

from typing import Any

from ...device import DeviceArray
from ...spec import ConvPool2dSpec
from . import conv2d_direct, implicit_gemm, launcher
from .conv2d_direct import Packed
from .patches import Window, patches_for
from .pooled import fused
from .staging import staged
from .tiles import FLOAT32, FLOAT64

pack, in_two_steps, _scratch_bytes = fused(conv2d_direct)


@staged
def run(
    spec: ConvPool2dSpec, x: DeviceArray, packed: Packed, bias: DeviceArray | None,
    out: DeviceArray, threads: int,
) -> None:
    """Write the pooled convolution of x into out."""
    tile = conv2d_direct.tile_for(spec.conv, launcher.processors(out.device))
    patches = patches_for(spec, tile)
    if patches is None:
        in_two_steps(spec, x, packed, bias, out, threads)
    else:
        conv2d_direct.launch(spec.conv, x, packed, bias, out, tile, patches)


def workspace_bytes(spec: ConvPool2dSpec, threads: int) -> int:
    """Nothing, unless some card might have to take two steps."""
    tiles = FLOAT64 if spec.dtype == "float64" else FLOAT32
    if all(patches_for(spec, tile) for tile in tiles):
        return 0
    return int(_scratch_bytes(spec, threads))


def sources() -> list[tuple[str, Any, tuple[Any, ...]]]:
    """What ``benchmarks.cuda_compile`` compiles: a label, a builder, its constants."""
    windows = Window("max", 2, 2, 2, 2, 2, 4), Window("avg", 3, 3, 2, 2, 2, 2)
    return [
        (
            f"conv {tile.pixels}×{tile.channels} {dtype} {order} {window.mode} {window.KH}×"
            f"{window.KW}", implicit_gemm.convolution,
            (tile, dtype, order, 3, 3, "zeros", "relu", True, window),
        )
        for dtype, tiles in (("float32", FLOAT32), ("float64", FLOAT64), ("bfloat16", FLOAT32[:1]))
        for tile in tiles for order in ("planes", "last") for window in windows
    ]
