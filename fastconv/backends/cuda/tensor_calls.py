"""What the rows that multiply on tensor cores share on the host: the direct convolution's gathering
and packing with other tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...device import DeviceArray
from ...spec import Conv2dSpec
from . import conv2d_direct, implicit_gemm, launcher
from .conv2d_direct import Packed
from .staging import staged
from .tensor_tiles import tiles
from .tiles import fitting


def row(
    format_of: Callable[[str], str], dtypes: tuple[str, ...]
) -> tuple[Callable[..., Any], Callable[..., None], Callable[..., int], Callable[[], Any]]:
    """``pack``, ``run``, ``workspace_bytes`` and ``sources`` of a row whose products are taken in
    the format that ``format_of`` has for a dtype; see :mod:`.fragments`."""

    @staged
    def pack(spec: Conv2dSpec, w: DeviceArray, threads: int) -> Packed:
        """Weights as the direct convolution has them; for TF32 alone rounded to it here, where
        that costs nothing."""
        return conv2d_direct.packed_from(
            spec, w, conv2d_direct.order_of(spec), spec.OC // spec.G * w.steps[0], w.steps,
            tf32=format_of(spec.dtype) == "tf32",
        )

    @staged
    def run(
        spec: Conv2dSpec, x: DeviceArray, packed: Packed, bias: DeviceArray | None,
        out: DeviceArray, threads: int,
    ) -> None:
        """Write the convolution of x into out."""
        tile = fitting(
            tiles(format_of(spec.dtype)), spec.OC // spec.G, spec.N * spec.OH * spec.OW, spec.G,
            launcher.processors(out.device),
        )
        conv2d_direct.launch(spec, x, packed, bias, out, tile)

    def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
        """Nothing beyond the packed weights."""
        return 0

    def sources() -> list[tuple[str, Any, tuple[Any, ...]]]:
        """What ``benchmarks.cuda_compile`` compiles: a label, a builder, its constants."""
        return [
            (
                f"conv {tile.pixels}×{tile.channels} {tile.format} {dtype} {order} {k}×{k}",
                implicit_gemm.convolution,
                (tile, dtype, order, k, k, "zeros", "relu", True),
            )
            for dtype in dtypes for tile in tiles(format_of(dtype))
            for order in ("planes", "last") for k in (1, 3)
        ]

    return pack, run, workspace_bytes, sources
