"""S2: the first layer of a PyTorch network, without PyTorch.

A grey image goes through ``Conv2d(1, 2, kernel_size=5, bias=False)`` and then through
``MaxPool2d(2, stride=2)``, or ``AvgPool2d`` in its place. The first kernel finds edges, the
second is random: what a network has before it has learnt anything.

    python examples/s2_first_kernel.py --output pictures
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import fastconv

Array = npt.NDArray[np.float32]


class Maps(NamedTuple):
    """What each step gives, (N, C, H, W)."""

    convolved: Array
    max_pooled: Array
    avg_pooled: Array


def grey_image() -> Array:
    """A photograph in [0, 1] as (1, 1, H, W): the order that PyTorch uses, too."""
    from skimage import data

    return (data.camera() / np.float32(255))[None, None]


def kernels(seed: int = 0) -> Array:
    """The bank (2, 1, 5, 5): 24 against its 24 neighbours, and a random kernel.

    The random one is drawn as PyTorch initialises a layer: uniform within ±1/√(5·5·1).
    """
    bank = np.empty((2, 1, 5, 5), dtype=np.float32)
    bank[0] = -1
    bank[0, 0, 2, 2] = 24
    bank[1] = np.random.default_rng(seed).uniform(-0.2, 0.2, (1, 5, 5))
    return bank


def first_layer(image: Array, w: Array) -> Maps:
    """Convolve without padding (each side loses 4 pixels), then halve in two ways."""
    convolved = fastconv.conv2d(image, w)
    return Maps(
        convolved,
        fastconv.max_pool2d(convolved, 2, stride=2),
        fastconv.avg_pool2d(convolved, 2, stride=2),
    )


def draw(image: Array, maps: Maps, path: Path) -> None:
    """A row for each kernel: the image, then its map after each step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    for channel, row in enumerate(figure.subplots(2, 4)):
        for axis, (name, picture) in zip(
            row, {"image": image, **maps._asdict()}.items(), strict=True
        ):
            plane = picture[0, min(channel, picture.shape[1] - 1)]
            low, high = np.quantile(plane, (0.02, 0.98))
            axis.imshow(plane, cmap="gray", vmin=low, vmax=high)
            axis.set_title(f"{name} {plane.shape[0]}×{plane.shape[1]}")
            axis.set_axis_off()
    figure.savefig(path)


def main(output: Path | None = None) -> Maps:
    """Run the layer, print the shapes, draw if ``output`` is a folder."""
    image = grey_image()
    maps = first_layer(image, kernels())
    print(f"{'image':<10} {image.shape}")
    for name, picture in maps._asdict().items():
        print(f"{name:<10} {picture.shape}  from {picture.min():.3f} to {picture.max():.3f}")
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        draw(image, maps, output / "s2_first_kernel.png")
    return maps


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a 5×5 convolution, then max or average pooling")
    parser.add_argument("--output", type=Path, help="folder for the pictures")
    main(parser.parse_args().output)
