"""S4: edges in X and in Y on a colour picture, kept apart and added; banks; one number a map.

    python examples/s4_sobel.py --output pictures
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import fastconv

Array = npt.NDArray[np.float32]

# Sobel: a difference along one axis, smoothed along the other (1 2 1).
SOBEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=np.float32)
SOBEL_Y = SOBEL_X.T


class Figures(NamedTuple):
    """Edge maps (H, W) and banks (H, W, maps), and three numbers for each of the 64 maps."""

    x: Array
    y: Array
    both: Array
    bank2: Array
    bank64: Array
    sums: Array
    maxima: Array
    means: Array


def picture() -> Array:
    """A colour photograph of 300×300×3, values in [0, 1]."""
    from skimage import data

    return data.chelsea()[:, 60:360] / np.float32(255)


def colour_kernel(kernel: Array) -> Array:
    """One filter (1, 3, 3, 3) that applies ``kernel`` to each colour and adds the three."""
    return np.repeat(kernel[None, None], 3, axis=1)


def convolve(image: Array, w: Array) -> Array:
    """(H, W, 3) → (H, W, filters): SAME padding keeps the size, NHWC keeps colours last."""
    maps = fastconv.conv2d(image[None], w, padding="same", layout="NHWC")
    return maps[0]


def sobel(image: Array) -> tuple[Array, Array, Array]:
    """Strength of the edges in X, in Y, and of both.

    The absolute value comes first: an edge from bright to dark is as good as one from dark
    to bright, and the two directions must not cancel each other in the sum.
    """
    x = np.abs(convolve(image, colour_kernel(SOBEL_X))[:, :, 0])
    y = np.abs(convolve(image, colour_kernel(SOBEL_Y))[:, :, 0])
    return x, y, x + y


def figures(image: Array, seed: int = 0) -> Figures:
    """Everything that S4 asks for."""
    x, y, both = sobel(image)
    # Both kernels as one filter bank, 3×3×3×2 as Keras counts it (height, width, in, out).
    # A bank reads the picture once for all its filters.
    hwio = np.stack([colour_kernel(SOBEL_X)[0], colour_kernel(SOBEL_Y)[0]]).transpose(2, 3, 1, 0)
    bank2 = convolve(image, hwio.transpose(3, 2, 0, 1))
    # 64 filters: the usual width of a network's first layer.
    random = np.random.default_rng(seed).normal(0, 0.2, (3, 3, 3, 64)).astype(np.float32)
    bank64 = convolve(image, random.transpose(3, 2, 0, 1))
    # Global pooling answers "how much of this feature is in the picture?" with one number.
    batch = bank64[None]
    return Figures(
        x, y, both, bank2, bank64,
        fastconv.global_sum_pool2d(batch, layout="NHWC").ravel(),
        fastconv.global_max_pool2d(batch, layout="NHWC").ravel(),
        fastconv.global_avg_pool2d(batch, layout="NHWC").ravel(),
    )


def draw(image: Array, found: Figures, path: Path) -> None:
    """The picture and its edges in X, in Y, and in both."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.6), layout="constrained")
    axes = figure.subplots(1, 4)
    white = float(np.quantile(found.both, 0.98))
    for axis, name, plane in zip(
        axes, ("picture", "edges in X", "edges in Y", "X + Y"),
        (image, found.x, found.y, found.both), strict=True,
    ):
        axis.imshow(plane, cmap="gray", vmin=0, vmax=white)
        axis.set_title(name)
        axis.set_axis_off()
    figure.savefig(path)


def main(output: Path | None = None) -> Figures:
    """Run S4 on the photograph, print the shapes, draw if ``output`` is a folder."""
    image = picture()
    found = figures(image)
    print(f"picture {image.shape}, two filters {found.bank2.shape}, 64 {found.bank64.shape}")
    print("first three of the 64 maps, each as one number:")
    for name in ("sums", "maxima", "means"):
        print(f"  {name:<6}", *(f"{value:10.3f}" for value in getattr(found, name)[:3]))
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        draw(image, found, output / "s4_sobel.png")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="edges in X and Y, filter banks, global pooling")
    parser.add_argument("--output", type=Path, help="folder for the pictures")
    main(parser.parse_args().output)
