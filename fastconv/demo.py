"""A photograph through one convolutional layer, Filter → Detect → Condense, beside SciPy.

scikit-image, SciPy and Matplotlib are imported where they are used, so that the command line
can say which one is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .explanation import explain
from .ops.activations import relu
from .ops.convolution import conv2d
from .ops.pooling import max_pool2d
from .spec import Pool2dSpec

Picture: TypeAlias = npt.NDArray[np.float32]

EDGES: Picture = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], dtype=np.float32)
"""A pixel against its eight neighbours; the weights add up to 0, so that even areas vanish."""
ACTIVE = 0.25
"""A pixel is active above this answer: a quarter of the way from black to white."""
TOLERANCE = 1e-5
"""The largest difference from SciPy that still is rounding, for pixels in [0, 1]."""

STEPS = 4
"""How many steps :func:`layer` has."""

_SECONDS, _ROUNDS = 0.4, 50
"""A step is timed at most so long and so often."""


class PhotoError(Exception):
    """The file is no picture that the demo can use; the message says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the layer, as fastconv did it and beside what SciPy needed."""

    name: str
    kernel: str
    threads: int
    picture: Picture
    seconds: float
    scipy_seconds: float
    difference: float
    """The largest absolute difference between the two results."""

    @property
    def active(self) -> float:
        """The share of active pixels."""
        return float(np.mean(self.picture > ACTIVE))


def photograph(path: Path | None) -> Picture:
    """The picture in a file, or one that ships with scikit-image, grey and in [0, 1]."""
    from skimage import color, data, io

    if path is None:
        shipped: Callable[[], npt.NDArray[np.uint8]] = data.astronaut
        return _grey(shipped(), color)
    if not path.is_file():
        raise PhotoError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}")
    try:
        pixels = np.asarray(io.imread(path))
    except Exception as error:  # every decoder raises its own kinds
        raise PhotoError(f"{path} cannot be read as a picture") from error
    try:
        return _grey(pixels, color)
    except PhotoError as error:
        raise PhotoError(f"{path} {error}") from None


def _grey(pixels: npt.NDArray[Any], color: Any) -> Picture:
    if pixels.dtype.kind not in "buif" or pixels.size == 0:
        raise PhotoError(f"has no pixels that can be shown: {pixels.shape} {pixels.dtype}")
    white = np.iinfo(pixels.dtype).max if pixels.dtype in (np.uint8, np.uint16) else 1
    grey = pixels.astype(np.float32) / np.float32(white)
    if grey.ndim == 3 and grey.shape[2] == 4:
        grey = color.rgba2rgb(grey)
    if grey.ndim == 3 and grey.shape[2] == 3:
        grey = color.rgb2gray(grey)
    elif grey.ndim == 3 and grey.shape[2] in (1, 2):  # grey, perhaps with transparency
        grey = grey[:, :, 0]
    if grey.ndim != 2:
        raise PhotoError(f"holds an array of shape {pixels.shape}, not one grey or colour picture")
    low, high = float(grey.min()), float(grey.max())
    if not np.isfinite(high - low):
        raise PhotoError("has pixels that are infinite or not a number")
    if low < 0 or high > 1:  # scientific formats have no fixed white
        grey = (grey - low) / (high - low or 1)
    return np.ascontiguousarray(grey, dtype=np.float32)


def layer(photo: Picture) -> Iterator[Step]:
    """The four steps on ``photo``, one after the other, with the options in force."""
    from scipy import ndimage

    x, w = photo[None, None], EDGES[None, None]
    step = _step(
        "Filter", explain("conv2d", x.shape, w.shape, padding="same"),
        lambda: conv2d(x, w, padding="same")[0, 0],
        lambda: ndimage.correlate(photo, EDGES, mode="constant"),
    )
    yield step
    filtered = step.picture
    step = _step(
        "Detect", explain("relu", x.shape),
        lambda: relu(filtered),
        lambda: np.maximum(filtered, 0),
    )
    yield step
    detected = step.picture
    for size in (2, 3):
        yield _step(
            f"Condense {size}×{size}",
            explain("max_pool2d", x.shape, size, stride=2, padding="same"),
            lambda size=size: max_pool2d(  # type: ignore[misc]
                detected[None, None], size, stride=2, padding="same"
            )[0, 0],
            lambda size=size: _scipy_max_pool(detected, size),  # type: ignore[misc]
        )


def _scipy_max_pool(picture: Picture, size: int) -> Picture:
    """SAME max pooling at stride 2 in SciPy's words: every window, then each second one."""
    from scipy import ndimage

    spec = Pool2dSpec.of("max", (1, 1, *picture.shape), size, stride=2, padding="same")
    # This origin lets a window begin at its own pixel, less the padding before the picture.
    origin = (spec.PT - size // 2, spec.PL - size // 2)
    windows = ndimage.maximum_filter(
        picture, size, mode="constant", cval=-np.inf, origin=origin
    )
    every_second: Picture = windows[::2, ::2]
    return every_second


def _step(
    name: str, choice: Any, ours: Callable[[], Picture], theirs: Callable[[], Picture]
) -> Step:
    picture, expected = ours(), theirs()  # also the warm-up: compilation, fresh memory
    best = [np.inf, np.inf]
    stop = perf_counter() + _SECONDS
    for _ in range(_ROUNDS):
        # In turns, so that whatever else the machine does disturbs both.
        for i, call in enumerate((ours, theirs)):
            start = perf_counter()
            call()
            best[i] = min(best[i], perf_counter() - start)
        if perf_counter() > stop:
            break
    difference = float(np.max(np.abs(picture - expected)))
    return Step(name, choice.chosen, choice.threads, picture, best[0], best[1], difference)


def draw(photo: Picture, steps: Sequence[Step], path: Path) -> None:
    """The photograph and the four pictures side by side, as PNG."""
    from matplotlib.figure import Figure
    from PIL import Image

    filtered, detected, *_ = steps
    # A few extreme pixels must not decide how bright all the others are.
    white = float(np.quantile(detected.picture, 0.98)) or 1.0
    panels = [
        ("Input", photo, 0.0, 1.0, "a grey photograph"),
        (filtered.name, filtered.picture, -white, white, "3×3 edge kernel, 0 is grey"),
        (detected.name, detected.picture, 0.0, white, f"ReLU, {_active(detected)}"),
        *(
            (step.name, step.picture, 0.0, white, f"max pooling, {_active(step)}")
            for step in steps[2:]
        ),
    ]
    rows, columns = photo.shape
    width = 3.2
    height = width * min(max(rows / columns, 0.2), 2)  # a strip would make an endless figure
    figure = Figure(figsize=(width * len(panels), height + 0.8), layout="constrained", dpi=100)
    for axis, (title, picture, low, high, note) in zip(
        figure.subplots(1, len(panels)), panels, strict=True
    ):
        # The same frame for all: an odd size halved is not quite of the same shape.
        axis.imshow(picture, cmap="gray", vmin=low, vmax=high, extent=(0, columns, rows, 0))
        axis.set_title(title, loc="left", fontweight="bold")
        axis.set_title(f"{picture.shape[0]}×{picture.shape[1]}", loc="right", color="0.4")
        axis.set_xlabel(note, color="0.2")
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    # All of it is grey, and one channel makes half the file of four.
    Image.open(drawn).convert("L").save(path, format="png", optimize=True)


def _active(step: Step) -> str:
    return f"{step.active:.1%} active (> {ACTIVE})"
