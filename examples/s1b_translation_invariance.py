"""S1b: pooling forgets small shifts and remembers large ones.

Two dots are pooled again and again. Dots that were near fall into the same cell: from then on
the network cannot tell them from one dot, nor from a dot that has moved a little. Dots that
were far apart stay two.

    python examples/s1b_translation_invariance.py --output pictures
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import fastconv

Array = npt.NDArray[np.float32]

SIZE, POOLINGS = 64, 4
NEAR = ((32, 32), (32, 34))
FAR = ((12, 10), (51, 53))


class Figures(NamedTuple):
    """One entry for the picture itself and one after each pooling."""

    near: list[int]
    """Cells that the two near dots light."""
    far: list[int]
    """Cells that the two far dots light."""
    moved_is_same: list[bool]
    """Whether one dot gives the same map at either of the two near places."""


def dots(*places: tuple[int, int]) -> Array:
    """A black picture (1, 1, SIZE, SIZE) with a white cell at each (row, column)."""
    picture = np.zeros((1, 1, SIZE, SIZE), dtype=np.float32)
    for row, column in places:
        picture[0, 0, row, column] = 1
    return picture


def pool_repeatedly(picture: Array) -> list[Array]:
    """The picture and its poolings, each half the size of the one before."""
    maps = [picture]
    for _ in range(POOLINGS):
        maps.append(fastconv.max_pool2d(maps[-1], 2, stride=2, padding="same"))
    return maps


def draw(near: list[Array], far: list[Array], path: Path) -> None:
    """A row for each pair of dots, a column for each step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.4 * len(near), 5.4), layout="constrained")
    grid = figure.subplots(2, len(near))
    for row, label, maps in ((0, "near", near), (1, "far", far)):
        for axis, picture in zip(grid[row], maps, strict=True):
            axis.imshow(picture[0, 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            height, width = picture.shape[2:]
            axis.set_title(f"{label} {height}×{width}: {np.count_nonzero(picture)} lit")
            axis.set_xticks([])
            axis.set_yticks([])
    figure.savefig(path)


def main(output: Path | None = None) -> Figures:
    """Pool both pairs, print what is left of them, draw if ``output`` is a folder."""
    near, far = pool_repeatedly(dots(*NEAR)), pool_repeatedly(dots(*FAR))
    here, there = (pool_repeatedly(dots(place)) for place in NEAR)
    figures = Figures(
        near=[int(np.count_nonzero(m)) for m in near],
        far=[int(np.count_nonzero(m)) for m in far],
        moved_is_same=[bool(np.array_equal(a, b)) for a, b in zip(here, there, strict=True)],
    )
    print("size   near  far  a dot moved by 2 looks the same")
    for picture, a, b, same in zip(near, *figures, strict=True):
        size = "×".join(map(str, picture.shape[2:]))
        print(f"{size:<6} {a:>4} {b:>4}  {'yes' if same else 'no'}")
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        draw(near, far, output / "s1b_translation_invariance.png")
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="translation invariance by pooling")
    parser.add_argument("--output", type=Path, help="folder for the pictures")
    main(parser.parse_args().output)
