"""What a warp's tensor-core product takes, and where its numbers lie in shared memory.

A warp multiplies ``rows`` × ``columns`` of a block's sums by instructions of 16 × 8 sums over
``width`` terms. Both factors lie in shared memory as float32, a row for each term. PTX says which
lane holds which numbers of an instruction ("Parallel Thread Execution ISA", Matrix fragments for
mma.m16n8k8 and mma.m16n8k16): lane l has row l // 4 of the first factor, column l // 4 of the
second, the terms that l % 4 says, and two neighbouring columns of the sums.

In which order the terms of a sum are taken is ours to choose, alike in both factors: where a
register holds two, they are taken four apart, so that the lanes of a warp read all banks of shared
memory at once for both widths.
"""

from __future__ import annotations

from dataclasses import dataclass

ROWS, COLUMNS = 16, 8
"""Sums of an instruction."""


@dataclass(frozen=True)
class Format:
    """In which numbers a product is taken; see :data:`FORMATS`."""

    width: int
    """Terms of an instruction."""
    split: bool
    """Every number as a sum of two: what TF32 keeps of it, and the rest."""
    rounds_apart: bool
    """The sums of a stage are made anew and added to the others outside: tensor cores cut off what
    does not fit where they add, and a long sum would shrink (H. Ootomo and R. Yokota, "Recovering
    single precision accuracy from Tensor Cores while surpassing the FP32 theoretical peak
    performance", 2022)."""


FORMATS = {
    "tf32x3": Format(8, True, True),
    "tf32": Format(8, False, False),
    "bfloat16": Format(16, False, False),
    "float16": Format(16, False, False),
    "bfloat16 apart": Format(16, False, True),
    "float16 apart": Format(16, False, True),
}
"""TF32 has the range of float32 and 10 bits behind the point. "tf32x3" takes a·b as
a₁·b₁ + a₁·b₂ + a₂·b₁, with the rest a₂ = a − a₁ (the scheme of Ootomo and Yokota)."""


@dataclass(frozen=True)
class WarpTile:
    """Sizes of a warp's product over one stage."""

    format: str
    rows: int
    columns: int
    depth: int
    row_step: int
    """Numbers from a term of the first factor to the next."""
    column_step: int

    @property
    def instructions(self) -> tuple[int, int, int]:
        """Down, across, and along the terms."""
        width = FORMATS[self.format].width
        return self.rows // ROWS, self.columns // COLUMNS, self.depth // width

    @property
    def count(self) -> int:
        """Sums of a thread: by instructions across, by those down, by the upper and lower half of
        an instruction's rows, two columns."""
        return self.rows * self.columns // 32

    def left(self, i: int, k: int) -> list[list[int]]:
        """Offsets of what a lane's four registers hold of the first factor, in the i-th
        instruction down and the k-th along the terms, from its own row and first term."""
        width = FORMATS[self.format].width
        return [
            [
                (k * width + term) * self.row_step + i * ROWS + 8 * (register % 2)
                for term in _terms(width, register // 2)
            ]
            for register in range(4)
        ]

    def right(self, j: int, k: int) -> list[list[int]]:
        """The same of the second factor: two registers."""
        width = FORMATS[self.format].width
        return [
            [(k * width + term) * self.column_step + j * COLUMNS for term in _terms(width, half)]
            for half in range(2)
        ]


def _terms(width: int, half: int) -> list[int]:
    return [4 * half] if width == 8 else [8 * half, 8 * half + 4]
