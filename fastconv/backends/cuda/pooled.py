"""A convolution and the pooling of its maps, some images at a time.

The maps of as many images as a part of the second-level cache holds are computed into scratch
memory and pooled from there: they are read back before they leave the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

from ... import device
from ...device import DeviceArray
from ...spec import ConvPool2dSpec, dtype_of, in_layout, itemsize
from . import pool2d_direct
from .staging import staged

MAPS_BYTES = 24 << 20
"""Of maps at a time, unless those of one image are more: half of an H100's cache."""


def _images(spec: ConvPool2dSpec) -> int:
    conv = spec.conv
    each = conv.OC * conv.OH * conv.OW * itemsize(spec.dtype)
    return max(1, min(conv.N, MAPS_BYTES // each))


def fused(
    convolution: ModuleType
) -> tuple[Callable[..., Any], Callable[..., None], Callable[..., int]]:
    """``pack``, ``run`` and ``workspace_bytes`` of a row made of a convolution of this wing."""

    def pack(spec: ConvPool2dSpec, w: DeviceArray, threads: int) -> Any:
        """The weights as the convolution packs them."""
        return convolution.pack(spec.conv, w, threads)

    @staged
    def run(
        spec: ConvPool2dSpec, x: DeviceArray, packed: Any, bias: DeviceArray | None,
        out: DeviceArray, threads: int,
    ) -> None:
        """Write the pooled convolution of x into out."""
        images, layout = _images(spec), spec.conv.layout
        for first in range(0, spec.conv.N, images):
            n = min(images, spec.conv.N - first)
            conv, pool = replace(spec.conv, N=n), replace(spec.pool, N=n)
            maps = device.empty(in_layout(conv.out_shape, layout), dtype_of(spec.dtype), out)
            if layout == "NHWC":
                maps = maps.transpose(0, 3, 1, 2)
            convolution.run(conv, x[first : first + n], packed, bias, maps, threads)
            pool2d_direct.run(pool, maps, out[first : first + n], None, threads)

    def workspace_bytes(spec: ConvPool2dSpec, threads: int) -> int:
        """The maps of some images, and what the convolution takes."""
        conv = replace(spec.conv, N=_images(spec))
        maps = conv.N * conv.OC * conv.OH * conv.OW * itemsize(spec.dtype)
        return maps + int(convolution.workspace_bytes(conv, threads))

    return pack, run, workspace_bytes
