"""S1: a convolutional layer on a photograph, step by step: Filter, Detect, Condense.

The three steps are what Keras calls ``Conv2D(1, 3, padding="same")``, its ``"relu"`` and
``MaxPool2D(padding="same")``; here they are three function calls on a NumPy array.

    python examples/s1_edges.py --output pictures
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import fastconv

Array = npt.NDArray[np.float32]

# The centre against its eight neighbours. The sum is 0: an even area gives 0, an edge does not.
EDGES = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], dtype=np.float32)

# A pixel is active if the kernel's answer exceeds a quarter of the way from black to white.
ACTIVE = 0.25


class Layer(NamedTuple):
    """The five pictures, each (1, height, width, 1)."""

    image: Array
    filtered: Array
    detected: Array
    condensed2: Array
    condensed3: Array


def photograph() -> Array:
    """A grey photograph in [0, 1] as a batch of one image with one channel, in NHWC order."""
    from skimage import color, data

    grey = color.rgb2gray(data.astronaut()).astype(np.float32)
    return grey[None, :, :, None]


def layer(image: Array) -> Layer:
    """Filter → Detect → Condense on an NHWC picture."""
    # Keras stores weights as (height, width, in, out), fastconv takes (out, in, height, width)
    # in any memory order: a transposed view is enough, nothing is copied.
    keras_weights = EDGES[:, :, None, None]
    w = keras_weights.transpose(3, 2, 0, 1)

    # Filter. SAME padding keeps the size: one ring of zeros around the picture.
    filtered = fastconv.conv2d(image, w, padding="same", layout="NHWC")
    # Detect. A negative answer says "not this feature", however strongly: it becomes 0.
    detected = fastconv.relu(filtered)
    # Condense. Of the mostly black picture only the strongest answer of each window stays.
    condensed2 = fastconv.max_pool2d(detected, 2, stride=2, padding="same", layout="NHWC")
    condensed3 = fastconv.max_pool2d(detected, 3, stride=2, padding="same", layout="NHWC")
    return Layer(image, filtered, detected, condensed2, condensed3)


def active(picture: Array) -> float:
    """The share of active pixels."""
    return float(np.mean(picture > ACTIVE))


def draw(pictures: Layer, path: Path) -> None:
    """The five pictures side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 3.4), layout="constrained")
    white = float(np.quantile(pictures.detected, 0.98))  # a few extremes must not rule the scale
    for axis, (name, picture) in zip(
        figure.subplots(1, 5), pictures._asdict().items(), strict=True
    ):
        black = -white if name == "filtered" else 0.0
        axis.imshow(
            picture[0, :, :, 0], cmap="gray", vmin=black, vmax=1.0 if name == "image" else white
        )
        axis.set_title(f"{name} {picture.shape[1]}×{picture.shape[2]}")
        axis.set_axis_off()
    figure.savefig(path)


def main(output: Path | None = None) -> Layer:
    """Run the layer on the photograph, print the shares, draw if ``output`` is a folder."""
    pictures = layer(photograph())
    for name in ("detected", "condensed2", "condensed3"):
        picture = getattr(pictures, name)
        print(f"{name:<11} {picture.shape}  active pixels {active(picture):6.1%}")
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        draw(pictures, output / "s1_edges.png")
    return pictures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Filter, Detect, Condense on a photograph")
    parser.add_argument("--output", type=Path, help="folder for the pictures")
    main(parser.parse_args().output)
