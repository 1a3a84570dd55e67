"""Winograd's convolution with tiles of 4×4 outputs; see :mod:`.winograd`."""

from __future__ import annotations

from typing import Any

from ...device import DeviceArray
from ...spec import Conv2dSpec
from . import batched_gemm, winograd, winograd_calls
from .staging import staged
from .tiles import FLOAT32, FLOAT64
from .winograd_calls import Packed

M = 4


@staged
def pack(spec: Conv2dSpec, w: DeviceArray, threads: int) -> Packed:
    """Weights transformed, on the card; one packing for both layouts."""
    return winograd_calls.pack(M, spec, w)


@staged
def run(
    spec: Conv2dSpec, x: DeviceArray, packed: Packed, bias: DeviceArray | None, out: DeviceArray,
    threads: int,
) -> None:
    """Write the convolution of x into out."""
    winograd_calls.run(M, spec, x, packed, bias, out)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """What lies between the three launches."""
    return winograd_calls.workspace_bytes(M, spec)


def sources() -> list[tuple[str, Any, tuple[Any, ...]]]:
    """What ``benchmarks.cuda_compile`` compiles: a label, a builder, its constants."""
    found: list[tuple[str, Any, tuple[Any, ...]]] = []
    for order in ("planes", "last"):
        for dtype in ("float32", "float64", "bfloat16"):
            for r in (2, 3, 4, 5):
                label = f"F({M}, {r}) {dtype} {order}"
                found += [
                    (f"{label} in", winograd.into, (M, r, dtype, order, "zeros")),
                    (f"{label} back", winograd.back, (M, r, dtype, order, "relu", True)),
                ]
            found.append((f"F({M}, 3) {dtype} {order} in, reflected", winograd.into,
                          (M, 3, dtype, order, "reflect")))
        for dtype, tiles in (("float32", FLOAT32), ("float64", FLOAT64)):
            found += [
                (f"products {tile.pixels}×{tile.channels} {dtype} {order}", batched_gemm.products,
                 (tile, dtype, order))
                for tile in tiles
            ]
    found += [
        (f"F({M}, {r}) pack {dtype}", winograd.packing, (M, r, dtype))
        for r in (2, 3, 4, 5) for dtype in ("float32", "float64", "bfloat16")
    ]
    return found
