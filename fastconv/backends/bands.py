"""A convolution and the pooling of its maps, band after band.

A band is some rows of the result, or some small images. The maps that it needs are computed into
a buffer that stays in the cache and pooled from there, so that the convolution's output never
reaches memory, whatever its algorithm: each wing runs its own convolutions and its own pooling on
the bands, and this module only cuts. Rows of maps that windows of two bands share stay in the
buffer. The cut does not depend on the number of threads, which share out every band.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..spec import Conv2dSpec, ConvPool2dSpec, Pool2dSpec, extent, itemsize

Array = npt.NDArray[Any]

BAND_BYTES = 2 << 20
"""Of maps, at most, unless those of one row of the result are more."""
STEP = 6
"""Rows of a band are a multiple of this where they can be, and so fill Winograd's tiles."""
LINE = 64
"""Bytes of a cache line."""


@dataclass(frozen=True, slots=True)
class _Band:
    """Rows ``x`` of the input give the rows ``out`` of the result."""

    x: slice
    out: slice
    kept: int
    """Rows of its maps that the band before it has left at the end of its own."""
    conv: Conv2dSpec | None
    """Of the other rows of the maps, if there are any."""
    pool: Pool2dSpec


def fused(
    convolution: ModuleType, pooling: ModuleType
) -> tuple[Callable[..., Any], Callable[..., None], Callable[..., int]]:
    """``pack``, ``run`` and ``workspace_bytes`` of a row made of two modules of a wing."""

    def pack(spec: ConvPool2dSpec, w: Array, threads: int) -> Any:
        """The weights as the convolution packs them."""
        return convolution.pack(spec.conv, w, threads)

    def run(
        spec: ConvPool2dSpec, x: Array, packed: Any, bias: Array | None, out: Array, threads: int
    ) -> None:
        """Write the pooled convolution of x into out."""
        images = _images(spec)
        for first in range(0, spec.conv.N, images):
            some = slice(first, min(first + images, spec.conv.N))
            bands = _bands(spec, some.stop - some.start)
            buffer = _buffer(spec.conv, bands)
            maps = buffer[:, :, :0]
            for band in bands:
                last, maps = maps, buffer[:, :, : band.pool.IH]
                maps[:, :, : band.kept] = last[:, :, last.shape[2] - band.kept :]
                if band.conv is not None:
                    new = maps[:, :, band.kept :]
                    convolution.run(band.conv, x[some, :, band.x], packed, bias, new, threads)
                pooling.run(band.pool, maps, out[some, :, band.out], None, threads)

    def workspace_bytes(spec: ConvPool2dSpec, threads: int) -> int:
        """The largest band's maps, and what the two kernels take for it."""
        bands = _bands(spec, min(_images(spec), spec.conv.N))
        most = 0
        for band in bands:
            most = max(most, pooling.workspace_bytes(band.pool, threads))
            if band.conv is not None:
                most = max(most, convolution.workspace_bytes(band.conv, threads))
        return most + int(np.prod(_buffer_shape(spec.conv, bands))) * itemsize(spec.dtype)

    return pack, run, workspace_bytes


def fused_in_tiles(
    convolution: ModuleType, pooling: ModuleType
) -> tuple[Callable[..., Any], Callable[..., None], Callable[..., int]]:
    """The same where tiles of the convolution lie on windows: what ``is_quartered`` is pooled
    before it leaves them, by a ``run`` that can be told so."""
    pack, run_in_bands, workspace_of_bands = fused(convolution, pooling)

    def run(
        spec: ConvPool2dSpec, x: Array, packed: Any, bias: Array | None, out: Array, threads: int
    ) -> None:
        """Write the pooled convolution of x into out."""
        if spec.is_quartered:
            convolution.run(spec.conv, x, packed, bias, out, threads, True)
        else:
            run_in_bands(spec, x, packed, bias, out, threads)

    def workspace_bytes(spec: ConvPool2dSpec, threads: int) -> int:
        """Bytes of scratch memory that ``run`` takes."""
        if spec.is_quartered:
            return int(convolution.workspace_bytes(spec.conv, threads))
        return workspace_of_bands(spec, threads)

    return pack, run, workspace_bytes


def _buffer_shape(conv: Conv2dSpec, bands: tuple[_Band, ...]) -> tuple[int, ...]:
    """In the order of memory. From one plane of NCHW to the next it is never a power of two of
    cache lines."""
    images, rows = bands[0].pool.N, max(band.pool.IH for band in bands)
    if conv.layout == "NHWC":
        return images, rows, conv.OW, conv.OC
    line = LINE // itemsize(conv.dtype)
    return images, conv.OC, (-(-rows * conv.OW // line) | 1) * line


def _buffer(conv: Conv2dSpec, bands: tuple[_Band, ...]) -> Array:
    """(images, channels, rows, columns) of the largest band's maps."""
    memory = np.empty(_buffer_shape(conv, bands), conv.dtype)
    if conv.layout == "NHWC":
        return memory.transpose(0, 3, 1, 2)
    rows = max(band.pool.IH for band in bands)
    planes = memory[:, :, : rows * conv.OW]
    return planes.reshape(*planes.shape[:2], rows, conv.OW)


def _row_bytes(spec: ConvPool2dSpec) -> int:
    return spec.conv.OC * spec.conv.OW * itemsize(spec.dtype)


def _images(spec: ConvPool2dSpec) -> int:
    """Images of a band: several only if all their maps fit."""
    return max(1, BAND_BYTES // (_row_bytes(spec) * spec.conv.OH))


@lru_cache(maxsize=256)
def _bands(spec: ConvPool2dSpec, images: int) -> tuple[_Band, ...]:
    """Bands of about equal numbers of rows. The specs stay the same objects from call to call,
    so that kernels can know them again."""
    conv, pool = spec.conv, spec.pool
    reach = extent(pool.KH, pool.DH)
    most = max(1, (BAND_BYTES // _row_bytes(spec) - reach) // pool.SH + 1)
    rows = -(-pool.OH // -(-pool.OH // most))
    rows = min(-(-rows // STEP) * STEP, most)
    if max(conv.PT, conv.PB) >= extent(conv.KH, conv.DH):
        rows = pool.OH  # a band of padding alone would have no rows of x
    conv, pool = replace(conv, N=images), replace(pool, N=images)
    bands: list[_Band] = []
    done = 0
    for first in range(0, pool.OH, rows):
        stop = min(first + rows, pool.OH)
        top = first * pool.SH - pool.PT
        low, high = max(top, 0), min((stop - 1) * pool.SH - pool.PT + reach, conv.OH)
        x, new = _rows_of(conv, max(low, done), high)
        cut = replace(
            pool, IH=high - low, OH=stop - first, PT=low - top,
            PB=pool.PB if high == conv.OH else 0,
        )
        bands.append(_Band(x, slice(first, stop), max(done - low, 0), new, cut))
        done = high
    return tuple(bands)


def _rows_of(conv: Conv2dSpec, low: int, high: int) -> tuple[slice, Conv2dSpec | None]:
    """The rows of x, and the convolution of these that gives the rows low … high − 1 of ``conv``;
    None if these are none. A single row keeps its stride, for which the weights were packed."""
    if low >= high:
        return slice(0, 0), None
    start = low * conv.SH - conv.PT
    end = (high - 1) * conv.SH - conv.PT + extent(conv.KH, conv.DH)
    x = slice(max(start, 0), min(end, conv.IH))
    new = replace(conv, IH=x.stop - x.start, OH=high - low, PT=x.start - start, PB=end - x.stop)
    return x, new
