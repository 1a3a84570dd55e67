"""The convolutions of three classic networks, each different one once.

ResNet-50 (He, Zhang, Ren and Sun 2016, with the stride in the 3×3 layer as torchvision has it),
VGG-16 (Simonyan and Zisserman 2015, configuration D) and MobileNet (Howard et al. 2017, width 1),
on one picture of 224×224×3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .layers import Layer


def resnet50() -> Iterator[Layer]:
    """The stem, then in each stage the first block, its shortcut, and one of the others.

    The shortcut of the first stage is like the last layer of its blocks.
    """
    yield _square("resnet50.stem", 3, 224, 64, 7, 2)
    channels, size = 64, 56
    for stage, width in enumerate((64, 128, 256, 512), start=2):
        name, stride = f"resnet50.{stage}", 1 if stage == 2 else 2
        yield _square(f"{name}.first.reduce", channels, size, width, 1)
        if stride == 2:
            yield _square(f"{name}.first.3x3", width, size, width, 3, 2)
            yield _square(f"{name}.shortcut", channels, size, 4 * width, 1, 2)
        channels, size = 4 * width, size // stride
        yield _square(f"{name}.reduce", channels, size, width, 1)
        yield _square(f"{name}.3x3", width, size, width, 3)
        yield _square(f"{name}.expand", width, size, channels, 1)


def vgg16() -> Iterator[Layer]:
    """Five stages of 3×3 layers."""
    channels, size = 3, 224
    for stage, width in enumerate((64, 128, 256, 512, 512), start=1):
        if channels != width:
            yield _square(f"vgg16.{stage}_1", channels, size, width, 3)
        yield _square(f"vgg16.{stage}_2", width, size, width, 3)
        channels, size = width, size // 2


def mobilenet() -> Iterator[Layer]:
    """The stem, then pairs of a depthwise 3×3 layer and a pointwise one."""
    yield _square("mobilenet.stem", 3, 224, 32, 3, 2)
    channels, size = 32, 112
    for width, stride in (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (1024, 2), (1024, 1),
    ):
        end = "s2" if stride == 2 else ""
        yield _square(f"mobilenet.dw{size}.{channels}{end}", channels, size, channels, 3, stride,
                      channels)
        size //= stride
        yield _square(f"mobilenet.pw{size}.{channels}to{width}", channels, size, width, 1)
        channels = width


MODELS: dict[str, Callable[[], Iterator[Layer]]] = {
    "resnet50": resnet50, "vgg16": vgg16, "mobilenet": mobilenet,
}


def _square(
    name: str, ic: int, size: int, oc: int, k: int, stride: int = 1, groups: int = 1
) -> Layer:
    """A k×k layer on a square map, padded so that stride 1 keeps its size."""
    return Layer(name, 1, ic, size, size, oc, k, k, stride, k // 2, 1, groups)
