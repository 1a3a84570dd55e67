"""What the rows of Winograd's convolution share on the host: weights kept transformed on the card,
scratch, launches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import device
from ...device import DeviceArray
from ...spec import LEAKY_SLOPE, Conv2dSpec
from . import batched_gemm, launcher, winograd
from .primitives import BYTES
from .staging import dense
from .tiles import FLOAT32, FLOAT64, Tile, fitting

SCRATCH_BYTES = 128 << 20
"""Of the tiles that go through all three launches together. Fewer would stay in the second-level
cache (50 MB on an H100) from one launch to the next, and cost the host more launches; a guess,
measured on no card."""
FEWEST_TILES = 512
"""That go together however many channels they have: below, the products are too narrow."""


@dataclass(frozen=True)
class Packed:
    """Weights (α², groups, IC, row) on the card, for F(m, r)."""

    weights: DeviceArray
    row: int


@dataclass(frozen=True)
class Tiling:
    """How many tiles there are, and how many go together."""

    down: int
    """Of one phase of the dilation."""
    right: int
    rows: int
    """Of a picture, phases included."""
    columns: int
    total: int
    chunk: int
    """A multiple of a vector's numbers."""


def _computed(spec: Conv2dSpec) -> np.dtype[np.floating]:
    return np.dtype("float64" if spec.dtype == "float64" else "float32")


def _lanes(spec: Conv2dSpec) -> int:
    return BYTES // _computed(spec).itemsize


def _up(n: int, step: int) -> int:
    return -(-n // step) * step


def _row(spec: Conv2dSpec) -> int:
    """Numbers of a row of a group's output channels."""
    return _up(spec.OC // spec.G, _lanes(spec))


def tiling(spec: Conv2dSpec, m: int) -> Tiling:
    """The tiles of a call."""
    down, right = (
        -(-outputs // (m * apart)) for outputs, apart in ((spec.OH, spec.DH), (spec.OW, spec.DW))
    )
    rows, columns = down * min(spec.DH, spec.OH), right * min(spec.DW, spec.OW)
    total = spec.N * rows * columns
    side = m + spec.KH - 1
    of_tile = side * side * (spec.IC + spec.G * _row(spec)) * _computed(spec).itemsize
    chunk = max(FEWEST_TILES, SCRATCH_BYTES // of_tile // 128 * 128)
    return Tiling(down, right, rows, columns, total, min(chunk, _up(total, _lanes(spec))))


def pack(m: int, spec: Conv2dSpec, w: DeviceArray) -> Packed:
    """G g Gᵀ of all kernels, output channels side by side in rows of whole vectors."""
    ic, row, side = spec.IC // spec.G, _row(spec), m + spec.KH - 1
    packed = device.empty((side * side, spec.G, ic, row), _computed(spec), w)
    cells = spec.G * ic * row
    numbers = (row, ic, spec.OC // spec.G, *w.steps, cells)
    launcher.launch(
        winograd.packing, (m, spec.KH, spec.dtype), -(-cells // winograd.THREADS),
        (w.pointer, packed.pointer, launcher.geometry(numbers, w)), w,
    )
    return Packed(packed, row)


def run(
    m: int, spec: Conv2dSpec, x: DeviceArray, packed: Packed, bias: DeviceArray | None,
    out: DeviceArray,
) -> None:
    """Write the convolution of x into out, some tiles after the others."""
    r, order = spec.KH, "last" if spec.layout == "NHWC" else "planes"
    side, tiles, computed = m + r - 1, tiling(spec, m), _computed(spec)
    oc_all = spec.G * packed.row
    v = device.empty((side * side, spec.IC, tiles.chunk), computed, out)
    products = device.empty((side * side, oc_all, tiles.chunk), computed, out)
    b = 0 if bias is None else dense(bias).pointer
    tile = tile_for(spec, m, tiles.chunk, launcher.processors(out.device))
    geometry = launcher.geometry(_transform_numbers(m, spec, x, packed, out, tiles, order), out)
    channel_tiles = -(-(spec.OC // spec.G) // tile.channels)
    planes = order == "planes"
    product_numbers = {
        "terms": spec.IC // spec.G, "pixel_row": tiles.chunk, "channel_row": packed.row,
        "out_row": tiles.chunk if planes else oc_all, "out_point": oc_all * tiles.chunk,
        "out_group": packed.row * (tiles.chunk if planes else 1),
        "channel_tiles": channel_tiles, "groups": spec.G,
    }
    product_geometry = launcher.geometry(
        tuple(product_numbers[name] for name in batched_gemm.GEOMETRY), out
    )
    # Threads stand for tiles and channels in other proportions in the two orders and directions.
    across, channels = winograd.block(order)
    for first in range(0, tiles.total, tiles.chunk):
        count = min(tiles.chunk, tiles.total - first)
        blocks = -(-count // across)
        launcher.launch(
            winograd.into, (m, r, spec.dtype, order, spec.padding_mode),
            blocks * -(-spec.IC // channels), (x.pointer, v.pointer, first, count, geometry), out,
        )
        reach = _up(count, _lanes(spec))
        pixel_tiles = -(-reach // tile.pixels)
        launcher.launch(
            batched_gemm.products, (tile, computed.name, order),
            channel_tiles * pixel_tiles * side * side * spec.G,
            (
                v.pointer, packed.weights.pointer, products.pointer, reach, pixel_tiles,
                product_geometry,
            ), out,
        )
        launcher.launch(
            winograd.back, (m, r, spec.dtype, order, spec.activation, bias is not None),
            blocks * -(-spec.OC // channels),
            (products.pointer, b, out.pointer, LEAKY_SLOPE, first, count, geometry), out,
        )


def tile_for(spec: Conv2dSpec, m: int, tiles: int, processors: int) -> Tile:
    """The tile of the products."""
    side = m + spec.KH - 1
    return fitting(
        FLOAT64 if spec.dtype == "float64" else FLOAT32, spec.OC // spec.G, tiles,
        side * side * spec.G, processors,
    )


def _transform_numbers(
    m: int, spec: Conv2dSpec, x: DeviceArray, packed: Packed, out: DeviceArray, tiles: Tiling,
    order: str,
) -> tuple[int, ...]:
    _, channels = winograd.block(order)
    oc_all = spec.G * packed.row
    numbers = {
        "plane": tiles.rows * tiles.columns, "across": tiles.columns, "tiles_h": tiles.down,
        "tiles_w": tiles.right, "IH": spec.IH, "IW": spec.IW, "OH": spec.OH, "OW": spec.OW,
        "DH": spec.DH, "DW": spec.DW, "PT": spec.PT, "PL": spec.PL, "IC": spec.IC, "OC": spec.OC,
        **dict(zip(("xn", "xc", "xh", "xw"), x.steps, strict=True)),
        **dict(zip(("on", "oc", "oh", "ow"), out.steps, strict=True)),
        "v_row": tiles.chunk, "v_point": spec.IC * tiles.chunk,
        "m_row": tiles.chunk if order == "planes" else oc_all, "m_point": oc_all * tiles.chunk,
        "of_group": spec.OC // spec.G, "row_of_group": packed.row,
        "vectors": int(_whole_vectors(m, spec, out)),
        "channel_blocks_in": -(-spec.IC // channels),
        "channel_blocks_out": -(-spec.OC // channels),
    }
    return tuple(numbers[name] for name in winograd.GEOMETRY)


def _whole_vectors(m: int, spec: Conv2dSpec, out: DeviceArray) -> bool:
    """Whether the m results of each row of each tile lie side by side at an aligned place."""
    *steps, ow = out.steps
    return (
        m in winograd.VECTORS and ow == 1 and spec.DW == 1 and spec.OW % m == 0
        and out.pointer % (m * out.itemsize) == 0 and not any(step % m for step in steps)
    )


def workspace_bytes(m: int, spec: Conv2dSpec) -> int:
    """V and M of the tiles that go together."""
    side = m + spec.KH - 1
    cells = side * side * (spec.IC + spec.G * _row(spec)) * tiling(spec, m).chunk
    return cells * _computed(spec).itemsize
