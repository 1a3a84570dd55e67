"""Direct convolution by the register tile over gathered cells; see :mod:`.implicit_gemm`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import device
from ...device import DeviceArray
from ...spec import LEAKY_SLOPE, Conv2dSpec
from . import implicit_gemm, launcher
from .launcher import Launch
from .patches import FACTS, Patches
from .staging import dense, staged
from .tiles import FLOAT32, FLOAT64, Tile, fitting


@dataclass(frozen=True)
class Packed:
    """Weights (groups, terms, row) on the card, channels side by side; for one order of terms."""

    weights: DeviceArray
    order: str
    row: int


def order_of(spec: Conv2dSpec) -> str:
    """In which order terms are summed: see :mod:`.implicit_gemm`."""
    return "last" if spec.layout == "NHWC" else "planes"


@staged
def pack(spec: Conv2dSpec, w: DeviceArray, threads: int) -> Packed:
    """Weights transposed to channels side by side, rows of whole vectors, halves as float32."""
    return packed_from(spec, w, order_of(spec), spec.OC // spec.G * w.steps[0], w.steps)


def packed_from(
    spec: Conv2dSpec, w: DeviceArray, order: str, group_step: int, steps: tuple[int, ...],
    *, tf32: bool = False,
) -> Packed:
    """Weights from cells of ``w``: steps from a group, an output channel, an input channel, a
    row and a column of the kernel to the next; rounded to ``tf32`` or as they are."""
    computed = np.dtype("float64" if spec.dtype == "float64" else "float32")
    oc, ic = spec.OC // spec.G, spec.IC // spec.G
    row, terms = -(-oc // 4) * 4, ic * spec.KH * spec.KW
    packed = device.empty((spec.G, terms, row), computed, w)
    numbers = (row, terms, oc, ic, spec.KH * spec.KW, spec.KW, group_step, *steps, packed.size)
    launcher.launch(
        implicit_gemm.packing, (spec.dtype, order, tf32), -(-packed.size // 256),
        (w.pointer, packed.pointer, launcher.geometry(numbers, w)), w,
    )
    return Packed(packed, order, row)


def tile_for(spec: Conv2dSpec, processors: int) -> Tile:
    """The largest tile that still gives every multiprocessor a block, and that channels fill."""
    tiles = FLOAT64 if spec.dtype == "float64" else FLOAT32
    return fitting(
        tiles, spec.OC // spec.G, spec.N * spec.OH * spec.OW, spec.G, processors
    )


@staged
def run(
    spec: Conv2dSpec, x: DeviceArray, packed: Packed, bias: DeviceArray | None, out: DeviceArray,
    threads: int,
) -> None:
    """Write the convolution of x into out."""
    tile = tile_for(spec, launcher.processors(out.device))
    launch(spec, x, packed, bias, out, tile)


def launch(
    spec: Conv2dSpec, x: DeviceArray, packed: Packed, bias: DeviceArray | None, out: DeviceArray,
    tile: Tile, patches: Patches | None = None,
) -> None:
    """The same with a given tile; with ``patches`` out has the pooled maps."""
    prepared(spec, x, packed, bias, out, tile, patches)()


def bound(
    spec: Conv2dSpec, x: DeviceArray, packed: Packed, bias: DeviceArray | None, out: DeviceArray
) -> Launch:
    """``run`` for later calls with such arrays: of other addresses, which it is given."""
    return prepared(spec, x, packed, bias, out, tile_for(spec, launcher.processors(out.device)))


def prepared(
    spec: Conv2dSpec, x: DeviceArray, packed: Packed, bias: DeviceArray | None, out: DeviceArray,
    tile: Tile, patches: Patches | None = None,
) -> Launch:
    """The launch of :func:`launch`; it may be called with other addresses of x and out."""
    check_places(spec, x, packed, out)
    oc, ic = spec.OC // spec.G, spec.IC // spec.G
    pixels, plane = spec.N * spec.OH * spec.OW, spec.OH * spec.OW
    channel_tiles, pixel_tiles = -(-oc // tile.channels), -(-pixels // tile.pixels)
    names: tuple[str, ...] = implicit_gemm.GEOMETRY
    if patches is not None:
        pixel_tiles, names = patches.count, (*names, *FACTS)
    vectors = patches is None and _whole_vectors(spec, out, packed.order)

    def numbers() -> list[int]:
        found = {
            "pixels": pixels, "plane": plane, "OW": spec.OW, "IH": spec.IH, "IW": spec.IW,
            "OC": oc, "IC": ic, "terms": ic * spec.KH * spec.KW, "SH": spec.SH, "SW": spec.SW,
            "DH": spec.DH, "DW": spec.DW, "PT": spec.PT, "PL": spec.PL,
            **dict(zip(("xn", "xc", "xh", "xw"), x.steps, strict=True)),
            **dict(zip(("on", "oc", "oh", "ow"), out.steps, strict=True)),
            "row": packed.row, "channel_tiles": channel_tiles, "pixel_tiles": pixel_tiles,
            "vectors": int(vectors),
            **dict(zip(FACTS, patches.facts if patches else (), strict=False)),
        }
        return [found[name] for name in names]

    constants = (
        tile, spec.dtype, packed.order, spec.KH, spec.KW, spec.padding_mode, spec.activation,
        bias is not None, patches and patches.window,
    )
    address, kept = launcher.kept_geometry(
        (spec, tile, packed.row, packed.order, x.steps, out.steps, vectors, patches), out, numbers
    )
    values = None if bias is None else dense(bias)
    return Launch(
        implicit_gemm.convolution, constants, channel_tiles * pixel_tiles * spec.G,
        (
            x.pointer, packed.weights.pointer, 0 if values is None else values.pointer,
            out.pointer, LEAKY_SLOPE, address,
        ), out, (0, 3), (packed, values, kept),
    )


def check_places(spec: Conv2dSpec, x: DeviceArray, packed: Packed, out: DeviceArray) -> None:
    """Packed weights may come from a plan, arrays from anywhere: what a kernel cannot see."""
    if packed.weights.device != out.device:
        raise ValueError(
            f"the plan's weights are on GPU {packed.weights.device}, x on GPU {out.device}"
        )
    if spec.N and sum(
        abs(step) * (n - 1) for n, step in zip(x.shape[1:], x.steps[1:], strict=True)
    ) >= 1 << 31:
        raise ValueError("an image of x spans 2³¹ cells or more; copy it to a dense array")


def _whole_vectors(spec: Conv2dSpec, out: DeviceArray, order: str) -> bool:
    """Whether any vector of sums may be stored at once: side by side, and at aligned places."""
    lanes = 16 // (8 if spec.dtype == "float64" else 4)
    on, oc, oh, ow = out.steps
    steps: tuple[int, ...]
    if order == "planes":
        side_by_side = ow == 1 and oh == spec.OW and spec.OH * spec.OW % lanes == 0
        steps = on, oc
    else:
        side_by_side = oc == 1 and spec.OC // spec.G % lanes == 0
        steps = on, oh, ow
    aligned = out.pointer % (lanes * out.itemsize) == 0
    return side_by_side and aligned and not any(step % lanes for step in steps)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """Nothing beyond the packed weights."""
    return 0


def sources() -> list[tuple[str, Any, tuple[Any, ...]]]:
    """What ``benchmarks.cuda_compile`` compiles: a label, a builder, its constants."""
    found: list[tuple[str, Any, tuple[Any, ...]]] = []
    for dtype, tiles in (("float32", FLOAT32), ("float64", FLOAT64), ("bfloat16", FLOAT32[:1])):
        for tile in tiles:
            for order in ("planes", "last"):
                for k in (1, 3):
                    label = f"conv {tile.pixels}×{tile.channels} {dtype} {order} {k}×{k}"
                    constants = (tile, dtype, order, k, k, "zeros", "relu", True)
                    found.append((label, implicit_gemm.convolution, constants))
    found += [
        (f"pack {dtype} {order}", implicit_gemm.packing, (dtype, order, False))
        for dtype in ("float32", "float64", "bfloat16") for order in ("planes", "last")
    ]
    return found
