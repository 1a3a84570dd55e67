"""Filtering a picture, every channel by itself, as a convolution of one channel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .arguments import integer
from .convolution import Conv2dSpec


def filter_spec(
    image_shape: object, kernels_shape: object, *, padding: object = "same", **options: Any
) -> Conv2dSpec:
    """The convolution that filters an (H, W) or (H, W, C) picture with one (KH, KW) kernel or
    with (K, KH, KW): a group for each channel; output channel c·K + k is kernel k on channel c."""
    height, width, *axes = _sizes("image", image_shape, "(H, W) or (H, W, C)")
    *several, kh, kw = _sizes("kernels", kernels_shape, "(KH, KW) or (K, KH, KW)")
    channels, count = axes[0] if axes else 1, several[0] if several else 1
    return Conv2dSpec.of(
        (1, height, width, channels), (channels * count, 1, kh, kw), groups=channels,
        padding=padding, layout="NHWC", **options,
    )


def one_channel(spec: Conv2dSpec, in_one_row: bool) -> Conv2dSpec:
    """The same with one input channel: all channels share the kernels.

    ``in_one_row``: the channels lie side by side and no stride leaves pixels out, so that a row
    is one of W·C cells and the kernel's taps are C cells apart. Otherwise every channel is an
    image of a batch.
    """
    count, channels = spec.OC // spec.G, spec.G
    if not in_one_row:
        return replace(spec, N=channels, IC=1, OC=count, G=1, layout="NCHW")
    return replace(
        spec, IC=1, OC=count, G=1, layout="NHWC" if count > 1 else "NCHW",
        IW=spec.IW * channels, OW=spec.OW * channels, DW=spec.DW * channels,
        PL=spec.PL * channels, PR=spec.PR * channels,
    )


def _sizes(name: str, shape: object, axes: str) -> tuple[int, ...]:
    if not isinstance(shape, (tuple, list)) or len(shape) not in (2, 3):
        raise ValueError(f"the shape of {name} must be {axes}; got {shape!r}")
    return tuple(integer(f"each size of {name}", size, least=0) for size in shape)
