"""S5: convolution from first principles, on numbers small enough to check by hand.

    python examples/s5_first_principles.py
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import fastconv

Array = npt.NDArray[np.float32]

# Bright on the left, dark on the right: one vertical edge in the middle.
IMAGE = np.repeat(np.array([[10, 10, 10, -3, -3, -3]], dtype=np.float32), 6, axis=0)
# Left minus right. Its transpose is top minus bottom.
VERTICAL = np.array([[1, 0, -1]] * 3, dtype=np.float32)
HORIZONTAL = VERTICAL.T


class Figures(NamedTuple):
    """The results, pictures as (H, W) and stacks of maps as (maps, H, W)."""

    vertical: Array
    horizontal: Array
    several: Array
    three_channels: Array
    next_layer: Array


def convolve(channels: Array, filters: Array) -> Array:
    """Maps (F, OH, OW) of a picture (C, H, W) under filters (F, C, KH, KW).

    Each output cell is one sum of products: the window under the kernel, cell by cell, over
    all channels. No padding, so a 3×3 kernel on 6×6 cells has 4×4 places to be.
    """
    return fastconv.conv2d(channels[None], filters)[0]


def figures() -> Figures:
    """All of S5."""
    # One channel, one filter. Where the window lies across the edge, three rows of
    # 10 − (−3) = 13 add up to 39; elsewhere left equals right and the sum is 0.
    vertical = convolve(IMAGE[None], VERTICAL[None, None])[0]

    # The transposed kernel compares rows, and all rows of this picture are equal.
    horizontal = convolve(IMAGE[None], HORIZONTAL[None, None])[0]

    # Several filters at once: one map for each, from a single call.
    several = convolve(IMAGE[None], np.stack([VERTICAL, HORIZONTAL])[:, None])

    # Three channels: a filter has a kernel for each, and the three answers are added.
    colours = np.stack([IMAGE, 2 * IMAGE, 3 * IMAGE])
    three_channels = convolve(colours, np.repeat(VERTICAL[None, None], 3, axis=1))[0]

    # A layer's maps are the next layer's channels. After ReLU the two maps go through one
    # filter with two kernels: again a vertical and a horizontal comparison, added.
    detected = fastconv.relu(several)
    next_layer = convolve(detected, np.stack([VERTICAL, HORIZONTAL])[None])[0]
    return Figures(vertical, horizontal, several, three_channels, next_layer)


def rows(picture: Array) -> str:
    """A picture as rows of whole numbers."""
    return "\n".join("  " + " ".join(f"{value:4.0f}" for value in row) for row in picture)


def draw(found: Figures, path: Path) -> None:
    """The image and the pictures made from it, with the numbers written into the cells."""
    from matplotlib.figure import Figure

    pictures = {
        "image": IMAGE, "left − right": found.vertical, "top − bottom": found.horizontal,
        "three channels": found.three_channels, "next layer": found.next_layer,
    }
    figure = Figure(figsize=(14, 3.2), layout="constrained")
    for axis, (name, picture) in zip(figure.subplots(1, 5), pictures.items(), strict=True):
        axis.imshow(picture, cmap="RdBu_r", vmin=-400, vmax=400)
        for (i, j), value in np.ndenumerate(picture):
            axis.text(j, i, f"{value:.0f}", ha="center", va="center")
        axis.set_title(name)
        axis.set_axis_off()
    figure.savefig(path)


def main(output: Path | None = None) -> Figures:
    """Print every result; draw them if ``output`` is a folder."""
    found = figures()
    print("image", rows(IMAGE), sep="\n")
    print("left minus right", rows(found.vertical), sep="\n")
    print("its transpose, top minus bottom", rows(found.horizontal), sep="\n")
    print("both filters in one call:", found.several.shape)
    print("three channels, added", rows(found.three_channels), sep="\n")
    print("fed to the next layer", rows(found.next_layer), sep="\n")
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        draw(found, output / "s5_first_principles.png")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="convolution by hand-sized numbers")
    parser.add_argument("--output", type=Path, help="folder for the pictures")
    main(parser.parse_args().output)
