"""A convolution and the pooling of its maps, band after band.

A band is some rows of the result, or some small images. The maps that it needs are computed into
a buffer that stays in the cache and pooled from there, so that the convolution's output never
reaches memory, whatever its algorithm: each wing runs its own convolutions and its own pooling on
the bands, and this module only cuts. Rows of maps that windows of two bands share are computed
twice. The cut does not depend on the number of threads, which share out every band.
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
    conv: Conv2dSpec
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
            for band in _bands(spec, some.stop - some.start):
                maps = _buffer(band.conv)
                convolution.run(band.conv, x[some, :, band.x], packed, bias, maps, threads)
                pooling.run(band.pool, maps, out[some, :, band.out], None, threads)

    def workspace_bytes(spec: ConvPool2dSpec, threads: int) -> int:
        """The largest band's maps, and what the two kernels take for it."""
        most = 0
        for band in _bands(spec, min(_images(spec), spec.conv.N)):
            conv = band.conv
            inner = max(
                convolution.workspace_bytes(conv, threads),
                pooling.workspace_bytes(band.pool, threads),
            )
            most = max(most, inner + _plane(conv) * conv.N * conv.OC * itemsize(conv.dtype))
        return most

    return pack, run, workspace_bytes


def _plane(conv: Conv2dSpec) -> int:
    """Cells from one of a band's maps to the next: never a power of two of cache lines."""
    line = LINE // itemsize(conv.dtype)
    return (-(-conv.OH * conv.OW // line) | 1) * line


def _buffer(conv: Conv2dSpec) -> Array:
    cells = conv.OH * conv.OW
    if conv.layout == "NHWC":
        dense = np.empty((conv.N, conv.OH, conv.OW, conv.OC), conv.dtype)
        return dense.transpose(0, 3, 1, 2)
    planes = np.empty((conv.N, conv.OC, _plane(conv)), conv.dtype)
    return planes[:, :, :cells].reshape(conv.out_shape)


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
    return tuple(_cut(conv, pool, first, min(first + rows, pool.OH), reach)
                 for first in range(0, pool.OH, rows))


def _cut(conv: Conv2dSpec, pool: Pool2dSpec, first: int, stop: int, reach: int) -> _Band:
    """The rows first … stop − 1 of the result."""
    top = first * pool.SH - pool.PT
    low, high = max(top, 0), min((stop - 1) * pool.SH - pool.PT + reach, conv.OH)
    start = low * conv.SH - conv.PT
    end = (high - 1) * conv.SH - conv.PT + extent(conv.KH, conv.DH)
    x = slice(max(start, 0), min(end, conv.IH))
    return _Band(
        x, slice(first, stop),
        replace(
            conv, IH=x.stop - x.start, OH=high - low, PT=x.start - start, PB=end - x.stop,
        ).kernel_spec,
        replace(
            pool, IH=high - low, OH=stop - first, PT=low - top,
            PB=pool.PB if high == conv.OH else 0,
        ).kernel_spec,
    )
