"""The package's reference table of layers, and the classes that the goals put layers in."""

from __future__ import annotations

from fastconv.bench.layers import LAYERS, Array, Layer, random_inputs, read

__all__ = ["LAYERS", "Array", "Layer", "is_picture", "kind", "random_inputs", "read"]

LARGE_PICTURE, LARGE_MAP = 200**2, 13**2
"""Pixels of a result from which on it counts as a large picture, or as a large map."""


def is_picture(layer: Layer) -> bool:
    """One picture of few channels, each filtered on its own: what picture libraries do."""
    return (
        layer.N == 1 and layer.IC <= 4 and layer.groups == layer.IC
        and layer.stride == 1 and layer.dilation == 1
    )


def kind(layer: Layer) -> str:
    """The class of the goals that the layer belongs to; "other" belongs to none."""
    spec = layer.spec()
    kernel = f"{layer.KH}x{layer.KW}"
    if layer.IC <= 3 and layer.OC <= 8 and spec.OH * spec.OW >= LARGE_PICTURE:
        return "picture"
    if layer.groups > 1:
        return "grouped"
    if layer.IC <= 4 and kernel != "1x1":
        return "first"
    if kernel == "1x1" or (kernel == "5x5" and layer.stride == 1):
        return kernel
    if kernel == "3x3" and layer.stride == 1:
        return "3x3" if spec.OH * spec.OW >= LARGE_MAP else "3x3 small"
    if kernel == "3x3" and layer.stride == 2 and min(layer.IC, layer.OC) >= 64:
        return "3x3 s2"
    return "other"
