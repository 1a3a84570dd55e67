"""Named geometries, and how exact a result must be. Data only; ``harness.py`` runs them.

A case is small, because its judge is slow, and stands for one thing that can go wrong. Sizes
go over every border that a kernel may have: vectors of 4, 8 and 16 values, register tiles of
6 to 14 pixels and 16 to 64 channels, blocks of some hundred products; one less, exact, one
more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from fastconv.registry import Kernel
from fastconv.spec import (
    ACTIVATIONS,
    ActivationSpec,
    Conv2dSpec,
    ConvPool2dSpec,
    Pool2dSpec,
    Spec,
    UnpoolSpec,
)


@dataclass(frozen=True)
class Case:
    """One geometry with the kind of data that it is filled with."""

    op: str
    name: str
    spec: Spec
    fill: str = "normal"
    """``normal`` numbers; ``positive`` ones, as in a photograph; ``ties`` (many equal ones);
    ``nan`` or ``inf`` here and there in x; ``inf_weights``; ``lowest`` (whole windows of −inf);
    ``wide`` (over several decades)."""
    same_along: tuple[int, ...] = ()
    """Axes along which x repeats itself: they get stride 0 in the "strided" memory order."""
    shape: tuple[int, ...] = ()
    """Shape of the array of an activation, which knows only its size."""

    def with_spec(self, **changes: Any) -> Case:
        """The same case with some fields of its spec changed."""
        if isinstance(self.spec, ConvPool2dSpec):
            shared = {k: v for k, v in changes.items() if k in ("dtype", "layout")}
            return replace(self, spec=ConvPool2dSpec(
                replace(self.spec.conv, **changes), replace(self.spec.pool, **shared)
            ))
        return replace(self, spec=replace(self.spec, **changes))

    @property
    def finite(self) -> bool:
        """Whether all data are finite."""
        return self.fill in ("normal", "positive", "ties", "wide")


# ---------------------------------------------------------------- exactness

MAX_TO_RMS = 8.0
"""The worst cell, against the largest value, may be this often the rms bound: among 10⁴
normally distributed errors the worst is at about 4 sigma."""


def tolerance(row: Kernel, dtype: str, case: Case) -> float:
    """The rms error that the row states, relative to the rms of the result.

    Pooling sums whole pictures, and must be as exact as a short sum all the same. The judge
    itself computes in float64, with an error of the same size as the judged, so float64 gets
    twice the bound.
    """
    return row.bound(products(case), dtype) * (2 if dtype == "float64" else 1)


# ---------------------------------------------------------------- conv2d


def _conv(
    name: str, n: int, ic: int, size: tuple[int, int], oc: int, kernel: tuple[int, int],
    fill: str = "normal", same_along: tuple[int, ...] = (), **kwargs: Any,
) -> Case:
    groups = kwargs.get("groups", 1)
    spec = Conv2dSpec.of(
        (n, ic, *size), (oc, ic // groups, *kernel), bias=True, precision="fast", **kwargs
    )
    return Case("conv2d", name, spec, fill, same_along)


CHANNEL_BORDERS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65)
PIXEL_BORDERS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 24, 31, 32, 33, 47, 48, 49)

CONV_BORDERS = (
    *(_conv(f"oc{c}", 1, 3, (3, 8), c, (3, 3), padding=1) for c in CHANNEL_BORDERS),
    *(_conv(f"ic{c}", 1, c, (2, 7), 9, (1, 1)) for c in CHANNEL_BORDERS),
    *(_conv(f"ow{p}", 1, 2, (2, p), 17, (3, 3), padding=1) for p in PIXEL_BORDERS),
    *(_conv(f"pixels{p}", 1, 5, (1, p), 8, (1, 1)) for p in PIXEL_BORDERS),
    *(_conv(f"depthwise{p}", 1, 3, (3, p), 3, (3, 3), groups=3, padding=1) for p in PIXEL_BORDERS),
    *(
        _conv(f"group_of{c}", 1, 2 * c, (3, 6), 2 * c, (3, 3), groups=2, padding=1)
        for c in (3, 4, 5, 8, 9, 17)
    ),
)

# Winograd's: tiles of 2, 4 and 6 cut by the edge, blocks of some dozen of them over one picture or
# several, chunks of 64 channels, weights that are kept transformed and others.
CONV_TILES = (
    *(_conv(f"tiles{n}", 1, 3, (n, n + 2), 5, (3, 3), padding=1) for n in (1, 3, 4, 5, 6, 7, 13)),
    *(
        _conv(f"tile_ends{h}x{w}", 2, 17, (4 + h, 4 + w), 18, (3, 3), padding=1)
        for h, w in product((1, 2, 3, 4), (1, 2, 3, 4))
    ),
    _conv("tile_blocks", 1, 17, (31, 30), 33, (3, 3), padding=1),
    _conv("tiles_sharing_vectors", 2, 3, (45, 21), 5, (3, 3), padding=1),
    _conv("tile_columns", 1, 2, (9, 150), 3, (3, 3), padding=1),
    _conv("tiles_of_pictures", 9, 20, (7, 7), 17, (3, 3), padding=1),
    _conv("tiles_two_chunks", 1, 70, (9, 9), 65, (3, 3), padding=1),
    _conv("tiles_untransformed", 1, 130, (9, 8), 130, (3, 3), padding=1),
    _conv("tiles_5x5", 2, 33, (11, 10), 65, (5, 5), padding=2),
    _conv("tiles_5x5_s2", 1, 20, (15, 22), 17, (5, 5), stride=2, padding=(2, 1)),
    _conv("tiles_7x7_s2", 1, 17, (22, 23), 17, (7, 7), stride=2, padding=3),
    _conv("tiles_3x3_s2", 1, 65, (20, 43), 70, (3, 3), stride=2, padding=1),
    _conv("tiles_24x24_s8", 1, 3, (33, 41), 17, (24, 24), stride=8, padding=4),
    _conv("tiles_32x32_s16", 2, 2, (50, 66), 3, (32, 32), stride=16, padding=8),
    _conv("tiles_dilated", 2, 17, (19, 40), 33, (3, 3), dilation=(2, 3), padding=(2, 3)),
    _conv("tiles_dilated_far", 1, 3, (60, 9), 4, (3, 3), dilation=(29, 4)),
)

# Depthwise layers of so many channels that vectors may run along these: whole vectors and masked
# ones, tiles within the picture and at its border, strips of rows that roll down.
CONV_CHANNELS = (
    *(
        _conv(f"channels{c}", 1, c, (11, 15), c, (3, 3), groups=c, padding=1)
        for c in (5, 8, 9, 16, 17, 33)
    ),
    _conv("channels_s2", 2, 20, (35, 23), 20, (3, 3), groups=20, padding=1, stride=2),
    _conv("channels_s3", 1, 19, (13, 29), 19, (3, 3), groups=19, padding=1, stride=3),
    _conv("channels_s2x1", 1, 17, (13, 14), 17, (3, 3), groups=17, stride=(2, 1)),
    _conv("channels_5x5", 1, 18, (9, 21), 18, (5, 5), groups=18, padding=2),
    _conv("channels_5x5_s2", 1, 33, (9, 31), 33, (5, 5), groups=33, padding=2, stride=2),
    _conv("channels_7x7", 1, 16, (12, 22), 16, (7, 7), groups=16, padding=3),
    _conv("channels_3x4", 1, 21, (6, 19), 21, (3, 4), groups=21, padding="same"),
    _conv("channels_dilated", 1, 17, (9, 30), 17, (3, 3), groups=17, dilation=(2, 3), padding=3),
    _conv("channels_far_padded", 1, 9, (3, 4), 9, (3, 3), groups=9, padding=((5, 1), (2, 14))),
    _conv("channels_one_column", 2, 18, (9, 1), 18, (3, 3), groups=18, padding=1),
)

# Short sums of more channels than half a vector has lanes, over rows of pixels that fill some: more
# rows and columns than a block has, and strides whose residues lie apart.
CONV_ROWS = (
    _conv("rows", 1, 3, (70, 130), 17, (3, 3), padding=1),
    _conv("rows_wide", 2, 2, (7, 530), 18, (3, 3), padding=1),
    _conv("rows_s2_dilated", 1, 3, (41, 90), 20, (3, 3), stride=2, dilation=3, padding=3),
    _conv("rows_s4", 1, 2, (9, 150), 19, (4, 4), stride=4, padding=1),
    _conv("rows_s4_two_of_four", 2, 3, (11, 70), 5, (3, 2), stride=4),
    _conv("rows_s8_three_of_eight", 1, 2, (18, 300), 5, (9, 3), stride=8, padding=2),
    _conv("rows_s16", 1, 3, (33, 290), 18, (16, 16), stride=16, padding=(0, 5)),
    _conv("rows_s3_5x5", 1, 2, (12, 97), 19, (5, 5), stride=3, padding=2),
    _conv("rows_of_groups", 1, 4, (9, 67), 36, (3, 3), groups=2, padding=1),
)

CONV_SHAPES = (
    _conv("one_cell", 1, 1, (1, 1), 1, (1, 1)),
    _conv("whole_picture", 2, 3, (4, 5), 6, (4, 5)),
    _conv("3x3", 2, 6, (9, 11), 8, (3, 3), padding=1),
    _conv("3x3_valid", 1, 16, (10, 10), 16, (3, 3)),
    _conv("1x1", 2, 20, (6, 5), 12, (1, 1)),
    _conv("1x1_s2", 2, 8, (9, 7), 12, (1, 1), stride=2),
    _conv("1x1_padded", 1, 4, (3, 3), 5, (1, 1), padding=1),
    _conv("5x5", 1, 3, (10, 9), 6, (5, 5), padding=2),
    _conv("7x7_s2", 1, 3, (22, 21), 10, (7, 7), stride=2, padding=3),
    _conv("3x3_s2", 2, 5, (11, 10), 8, (3, 3), stride=2, padding=1),
    _conv("3x3_s3", 1, 4, (13, 14), 5, (3, 3), stride=3, padding=1),
    _conv("3x3_s2x1", 1, 4, (9, 9), 5, (3, 3), stride=(2, 1), padding=1),
    _conv("stride_over_kernel", 1, 3, (13, 14), 4, (2, 2), stride=5),
    _conv("1x7", 1, 4, (5, 13), 4, (1, 7), padding=(0, 3)),
    _conv("7x1", 1, 4, (13, 5), 4, (7, 1), padding=(3, 0)),
    _conv("even_2x2", 1, 3, (7, 8), 4, (2, 2)),
    _conv("even_4x6_same", 1, 3, (7, 8), 4, (4, 6), padding="same"),
    _conv("same_s2", 1, 3, (8, 9), 4, (3, 3), padding="same", stride=2),
    _conv("same_lower_s2", 1, 3, (8, 9), 4, (3, 3), padding="same_lower", stride=2),
    _conv("full", 1, 2, (5, 6), 3, (3, 4), padding="full"),
    _conv("asymmetric_pads", 2, 3, (6, 7), 5, (3, 3), padding=((2, 0), (1, 3))),
    _conv("padding_over_kernel", 1, 2, (3, 3), 3, (2, 2), padding=4),
    _conv("dilation2", 1, 4, (11, 12), 6, (3, 3), dilation=2, padding=2),
    _conv("dilation3x2_s2", 1, 3, (14, 13), 5, (3, 3), dilation=(3, 2), stride=2, padding=3),
    _conv("groups2", 2, 6, (7, 8), 10, (3, 3), groups=2, padding=1),
    _conv("groups4_s2", 1, 16, (8, 9), 8, (3, 3), groups=4, stride=2, padding=1),
    _conv("groups_1x1", 1, 12, (5, 6), 18, (1, 1), groups=3),
    _conv("depthwise", 2, 17, (8, 9), 17, (3, 3), groups=17, padding=1),
    _conv("depthwise_s2", 1, 16, (9, 10), 16, (3, 3), groups=16, stride=2, padding=1),
    _conv("depthwise_5x5", 1, 5, (10, 11), 5, (5, 5), groups=5, padding=2),
    _conv("depthwise_dilated", 1, 4, (10, 11), 4, (3, 3), groups=4, dilation=2, padding=2),
    _conv("depthwise_multiplier", 1, 5, (6, 7), 15, (3, 3), groups=5, padding=1),
    _conv("picture", 1, 1, (37, 70), 1, (3, 3), padding=1),
    _conv("picture_to_many", 1, 1, (12, 19), 33, (5, 5), padding=2),
    _conv("picture_21x21", 1, 1, (26, 33), 2, (21, 21), padding=10),
    _conv("picture_11x11_valid", 1, 1, (40, 37), 1, (11, 11)),
    _conv("deep", 1, 260, (4, 5), 8, (3, 3), padding=1),
    _conv("deep_1x1", 1, 517, (2, 4), 6, (1, 1)),
    _conv("wide", 1, 3, (3, 4), 257, (3, 3), padding=1),
    _conv("many_pixels", 1, 2, (40, 67), 2, (3, 3), padding=1),
    _conv("wide_3x3", 1, 1, (5, 150), 1, (3, 3), padding=1),
    _conv("large_3x3", 1, 1, (131, 520), 1, (3, 3), padding=((0, 2), (1, 0))),
    _conv("wide_5x5", 1, 1, (23, 150), 3, (5, 5), padding=2),
    _conv("wide_7x7_of_3", 1, 3, (19, 133), 2, (7, 7), padding=3),
    _conv("wide_4x9", 1, 2, (11, 99), 1, (4, 9), padding="same"),
    _conv("wide_3x3_of_8", 1, 8, (7, 277), 3, (3, 3), padding=(2, 1)),
    _conv("wide_groups_of_4", 1, 8, (17, 90), 8, (3, 3), groups=2, padding=1),
    _conv("wide_dilated", 1, 2, (19, 141), 2, (3, 5), groups=2, dilation=(2, 3), padding=4),
    _conv("wide_5x5_s2", 1, 3, (21, 171), 6, (5, 5), groups=3, stride=2, padding=2),
    *(
        _conv(f"wide_{kh}x{kw}_s2", 1, 2, (19, 220 + kw), 2, (kh, kw), groups=2, stride=2,
              padding=1)
        for kh, kw in ((2, 2), (3, 4), (4, 4), (6, 3), (7, 7))
    ),
    *(
        _conv(f"wide_{kh}x{kw}", 1, 2, (19, 117), 2, (kh, kw), groups=2, padding="same")
        for kh, kw in ((2, 3), (3, 2), (6, 5))
    ),
    *(_conv(f"wide_3x3_of_{c}", 1, c, (7, 262), 3, (3, 3), padding=1) for c in (2, 3, 8)),
    _conv("wide_5x3_s3", 2, 1, (21, 171), 1, (5, 3), stride=3, dilation=(2, 1)),
    _conv("wide_depthwise_s2", 1, 3, (20, 151), 3, (3, 3), groups=3, stride=2, padding=1),
    _conv("tall_depthwise", 1, 2, (61, 33), 2, (5, 5), groups=2, padding=2),
    _conv("batch", 5, 3, (4, 5), 4, (3, 3), padding=1),
    _conv("repeated_batch", 3, 4, (6, 7), 5, (3, 3), padding=1, same_along=(0,)),
    _conv("repeated_channels_and_columns", 2, 4, (6, 7), 5, (3, 3), padding=1, same_along=(1, 3)),
)

# Kernels of several groups of four taps along one axis or both, the last of them ragged: tiles
# beyond the last whole vector and row, blocks of columns that see their neighbours' and both
# borders, padding beyond the kernel, several bands, several inputs and outputs.
CONV_LARGE = (
    *(
        _conv(f"large_{k}x{k}", 1, 1, (29, 41), 1, (k, k), padding=k // 2)
        for k in (6, 7, 8, 9, 12, 13, 15, 16, 17, 31)
    ),
    *(_conv(f"large_11x11_{p}", 1, 1, (p, p), 1, (11, 11), padding=5) for p in PIXEL_BORDERS),
    _conv("large_52x51", 1, 1, (54, 67), 1, (52, 51), padding=26),
    _conv("large_63x63", 1, 1, (64, 67), 1, (63, 63), padding=31),
    _conv("large_63x5", 1, 1, (70, 40), 2, (63, 5), padding=(31, 2)),
    _conv("large_3x63", 2, 1, (9, 90), 1, (3, 63), padding=(1, 31)),
    _conv("large_2x2", 1, 2, (21, 140), 2, (2, 2), padding="same"),
    _conv("large_1x1", 1, 1, (9, 70), 2, (1, 1)),
    _conv("large_blocks", 1, 1, (33, 1040), 1, (9, 10), padding="same"),
    _conv("large_bands", 1, 3, (230, 21), 2, (13, 9), padding=((6, 1), (0, 8))),
    _conv("large_valid", 2, 1, (50, 270), 1, (21, 17)),
    _conv("large_padded_beyond", 1, 1, (9, 14), 2, (7, 9), padding=((20, 11), (3, 70))),
    _conv("large_depthwise", 2, 5, (23, 30), 5, (13, 13), groups=5, padding=6, activation="relu"),
    _conv("large_multiplier", 1, 3, (20, 37), 6, (10, 11), groups=3, padding=4, activation="silu"),
    _conv("large_of_8_to_16", 1, 8, (18, 19), 16, (9, 9), padding=4, activation="relu6"),
    _conv("large_positive", 1, 2, (60, 70), 1, (25, 23), "positive", padding=(12, 11)),
    _conv("large_repeated", 2, 2, (30, 33), 2, (9, 9), padding=4, same_along=(0, 1, 3)),
)

CONV_NONFINITE = (
    _conv("nan_3x3", 1, 5, (9, 20), 18, (3, 3), "nan", padding=1),
    _conv("inf_3x3_s2", 1, 5, (9, 20), 18, (3, 3), "inf", padding=1, stride=2),
    _conv("nan_1x1", 1, 9, (3, 9), 17, (1, 1), "nan"),
    _conv("nan_depthwise", 1, 4, (7, 20), 4, (3, 3), "nan", padding=1, groups=4),
    _conv("inf_weights_over_padding", 1, 4, (7, 9), 17, (3, 3), "inf_weights", padding=1),
    _conv("inf_weights_5x5_s2", 1, 3, (7, 9), 5, (5, 5), "inf_weights", padding=2, stride=2),
    _conv("inf_weights_depthwise", 1, 4, (6, 20), 4, (3, 3), "inf_weights", padding=1, groups=4),
    _conv("nan_channels", 1, 18, (12, 13), 18, (3, 3), "nan", padding=1, groups=18),
    _conv("inf_weights_channels", 1, 18, (6, 9), 18, (3, 3), "inf_weights", padding=1, groups=18),
    _conv("inf_weights_channels_5x5", 1, 9, (6, 9), 9, (5, 5), "inf_weights", padding=2, groups=9),
)

CONV_LOW_RANK = (
    _conv("rank1_5x5", 2, 3, (13, 21), 4, (5, 5), padding=2, rank=1),
    _conv("rank2_7x7_relu", 1, 2, (35, 19), 2, (7, 7), padding=3, rank=2, activation="relu"),
    _conv("rank1_dilated", 1, 2, (37, 40), 3, (5, 7), padding=(9, 4), dilation=(5, 3), rank=1),
    _conv("rank1_dilated_beyond", 1, 1, (9, 30), 1, (3, 4), padding=(20, 3), dilation=11, rank=1),
    _conv("rank3_wide", 1, 1, (11, 1100), 1, (9, 9), padding=4, rank=3),
    _conv("rank1_11x21_valid", 1, 1, (80, 50), 2, (11, 21), rank=1),
    _conv("rank1_all_padding", 1, 2, (4, 3), 2, (5, 5), padding=((9, 12), (8, 30)), rank=1),
    _conv("rank2_depthwise", 2, 3, (10, 40), 6, (9, 5), padding=2, groups=3, rank=2),
    *(_conv(f"rank1_{p}", 1, 2, (p, p), 1, (5, 5), padding=2, rank=1) for p in PIXEL_BORDERS),
)

# So much of the work falls on padding that it is worth leaving out, region by region.
CONV_PADDED = (
    _conv("padded_3x3", 2, 48, (7, 7), 33, (3, 3), padding=1),
    _conv("padded_5x5", 1, 24, (9, 8), 40, (5, 5), padding=2),
    _conv("padded_asymmetric", 1, 40, (8, 9), 36, (4, 3), padding=((3, 0), (0, 2))),
    _conv("padded_s2", 1, 40, (9, 11), 33, (5, 4), padding=(3, 2), stride=2),
    _conv("padded_s3x2_dilated", 1, 48, (11, 9), 17, (3, 4), padding=5, stride=(3, 2),
          dilation=(2, 3)),
    _conv("padded_dilated_far", 1, 40, (7, 9), 33, (3, 3), padding=(5, 6), dilation=(5, 6)),
    _conv("padded_beyond", 1, 24, (4, 5), 33, (3, 3), padding=((5, 6), (4, 7))),
    _conv("padded_groups", 1, 64, (6, 7), 66, (3, 3), padding=1, groups=2),
    _conv("padded_cell", 1, 260, (1, 1), 129, (3, 3), padding=1),
    _conv("padded_row", 1, 96, (1, 20), 40, (3, 3), padding=1),
    _conv("padded_column", 1, 96, (20, 1), 40, (3, 3), padding=1),
    _conv("padded_blocks", 1, 130, (17, 16), 33, (3, 3), padding=1),
    _conv("padded_11x11", 1, 9, (12, 13), 20, (11, 11), padding=5),
    _conv("padded_31x31", 1, 2, (20, 21), 17, (31, 31), padding=15),
    _conv("padded_in_place", 2, 20, (21, 22), 32, (3, 3), padding=1),
    _conv("padded_in_place_dilated", 1, 36, (19, 24), 32, (3, 2), padding=((5, 0), (1, 7)),
          dilation=(2, 3)),
    _conv("padded_in_place_s2", 1, 24, (47, 45), 48, (3, 3), padding=1, stride=2),
    _conv("nan_padded", 1, 48, (7, 7), 33, (3, 3), "nan", padding=1),
    _conv("inf_weights_padded", 1, 48, (7, 7), 33, (3, 3), "inf_weights", padding=1),
    _conv("inf_weights_padded_far", 1, 40, (7, 9), 33, (3, 3), "inf_weights", padding=(5, 6),
          dilation=(5, 6)),
)

CONV = (
    CONV_PADDED + CONV_LOW_RANK + CONV_ROWS + CONV_SHAPES + CONV_CHANNELS + CONV_TILES
    + CONV_BORDERS + CONV_LARGE + CONV_NONFINITE
)

# ---------------------------------------------------------------- conv2d_input_grad


def _transposed(
    name: str, n: int, c: int, size: tuple[int, int], to: int, kernel: tuple[int, int],
    fill: str = "normal", same_along: tuple[int, ...] = (), **kwargs: Any,
) -> Case:
    groups = kwargs.get("groups", 1)
    spec = Conv2dSpec.of_transpose(
        (n, c, *size), (c, to // groups, *kernel), bias=True, precision="fast", **kwargs
    )
    return Case("conv2d_input_grad", name, spec, fill, same_along)


TRANSPOSED = (
    _transposed("one_cell", 1, 1, (1, 1), 1, (1, 1)),
    _transposed("3x3", 2, 5, (6, 7), 4, (3, 3), padding=1),
    _transposed("3x3_no_padding", 1, 4, (5, 6), 3, (3, 3)),
    _transposed("2x2_s2", 2, 8, (5, 6), 6, (2, 2), stride=2),
    _transposed("4x4_s2", 1, 6, (5, 7), 9, (4, 4), stride=2, padding=1),
    _transposed("3x3_s2_output_padding", 1, 4, (5, 6), 3, (3, 3), stride=2, padding=1,
                output_padding=1),
    _transposed("3x3_s2x1_output_padding1x0", 1, 4, (5, 6), 3, (3, 3), stride=(2, 1), padding=1,
                output_padding=(1, 0)),
    _transposed("output_padding_by_dilation", 1, 3, (5, 6), 3, (3, 3), dilation=3,
                output_padding=2),
    _transposed("stride_over_kernel", 1, 3, (4, 5), 4, (2, 2), stride=4, output_padding=3),
    _transposed("3x3_s3", 1, 4, (4, 5), 5, (3, 3), stride=3, padding=1),
    _transposed("5x4_s3x2", 1, 3, (4, 5), 4, (5, 4), stride=(3, 2), padding=(2, 1)),
    _transposed("same_s2", 1, 3, (5, 4), 4, (3, 3), stride=2, padding="same"),
    _transposed("same_lower_s2", 1, 3, (5, 4), 4, (3, 3), stride=2, padding="same_lower"),
    _transposed("asymmetric_pads", 1, 3, (6, 7), 4, (4, 4), stride=2, padding=((0, 1), (2, 0))),
    _transposed("dilation2_s2", 1, 3, (5, 6), 4, (3, 3), stride=2, dilation=2, padding=2),
    _transposed("dilation2x3", 1, 3, (5, 6), 4, (3, 3), dilation=(2, 3)),
    _transposed("1x1", 1, 9, (5, 6), 7, (1, 1)),
    _transposed("1x1_s2", 1, 3, (4, 5), 4, (1, 1), stride=2),
    _transposed("groups2_s2", 1, 6, (5, 6), 8, (3, 3), stride=2, padding=1, groups=2),
    _transposed("depthwise_s2", 2, 5, (5, 6), 5, (4, 4), stride=2, padding=1, groups=5),
    _transposed("depthwise_multiplier", 1, 4, (5, 6), 12, (3, 3), padding=1, groups=4),
    _transposed("deep", 1, 70, (3, 4), 17, (3, 3), stride=2, padding=1),
    _transposed("wide", 1, 3, (3, 4), 65, (2, 2), stride=2),
    _transposed("batch", 4, 3, (3, 4), 5, (3, 3), stride=2),
    _transposed("repeated_batch", 3, 4, (4, 5), 5, (3, 3), stride=2, same_along=(0,)),
    *(
        _transposed(f"ic{c}", 1, 4, (2, 5), c, (3, 3), stride=2, padding=1)
        for c in (7, 8, 9, 15, 16, 17, 31, 32, 33, 64)
    ),
    *(
        _transposed(f"width{p}", 1, 3, (2, p), 5, (4, 4), stride=2, padding=1)
        for p in (1, 2, 6, 7, 8, 12, 13, 15, 16, 17, 33)
    ),
    _transposed("nan_s2", 1, 3, (6, 7), 9, (3, 3), "nan", stride=2, padding=1),
    _transposed("inf_weights_unpadded", 1, 3, (4, 5), 9, (3, 3), "inf_weights"),
    _transposed("inf_weights_s2", 1, 3, (6, 7), 9, (3, 3), "inf_weights", stride=2, padding=1),
)

# ---------------------------------------------------------------- pool2d

_WINDOWS: tuple[tuple[str, tuple[int, int, int, int], Any, dict[str, Any]], ...] = (
    ("2x2", (2, 3, 8, 10), 2, {}),
    ("2x2_odd", (1, 4, 7, 9), 2, {}),
    ("3x3_s2", (2, 5, 11, 12), 3, {"stride": 2, "padding": 1}),
    ("3x3_s1", (1, 3, 6, 17), 3, {"stride": 1, "padding": 1}),
    ("3x2_s2x3", (1, 3, 9, 11), (3, 2), {"stride": (2, 3)}),
    ("same_s2", (1, 3, 8, 9), 3, {"stride": 2, "padding": "same"}),
    ("asymmetric_pads", (1, 2, 7, 8), 4, {"stride": 2, "padding": ((0, 2), (1, 0))}),
    ("stride_over_window", (1, 2, 11, 12), 2, {"stride": 4}),
    ("1x1_s2", (1, 2, 5, 6), 1, {"stride": 2}),
    ("1xk", (1, 3, 4, 33), (1, 5), {"stride": 1, "padding": (0, 2)}),
    ("kx1", (1, 3, 33, 4), (5, 1), {"stride": 1, "padding": (2, 0)}),
    ("whole", (2, 3, 5, 6), (5, 6), {}),
    ("large_window", (1, 1, 20, 19), 13, {"stride": 3, "padding": 6}),
    ("far_apart", (1, 2, 3, 76), (1, 20), {"stride": 18, "padding": (0, 9)}),
    ("whole_padded", (2, 3, 3, 2), 4, {"stride": 3, "padding": ((1, 1), (2, 0))}),
    ("mostly_padding", (1, 2, 2, 3), 151, {"stride": 40, "padding": 75}),
    ("ceil", (1, 3, 8, 10), 3, {"stride": 2, "ceil_mode": True}),
    ("ceil_padded", (1, 3, 6, 7), 3, {"stride": 2, "padding": 1, "ceil_mode": True}),
    ("ceil_dropped_window", (1, 3, 7, 6), 2, {"stride": 3, "padding": 1, "ceil_mode": True}),
    ("many_channels", (1, 67, 4, 6), 2, {}),
)


def _pool(mode: str, name: str, shape: Any, size: Any, fill: str, kwargs: dict[str, Any]) -> Case:
    spec = Pool2dSpec.of(mode, shape, size, **kwargs)
    return Case("pool2d", f"{mode}_{name}", spec, fill)


def _max(name: str, shape: Any, size: Any, fill: str = "normal", **kwargs: Any) -> Case:
    return _pool("max", name, shape, size, fill, kwargs)


def _avg(name: str, shape: Any, size: Any, **kwargs: Any) -> Case:
    return _pool("avg", name, shape, size, "normal", kwargs)


def _adaptive(mode: str, shape: Any, size: Any, **kwargs: Any) -> Case:
    spec = Pool2dSpec.of_adaptive(mode, shape, size, **kwargs)
    indices = "_indices" if kwargs.get("return_indices") else ""
    name = f"{mode}_adaptive_{spec.IH}x{spec.IW}_to_{spec.OH}x{spec.OW}{indices}"
    return Case("pool2d", name, spec)


_PADDED = (
    (name, shape, size, kwargs) for name, shape, size, kwargs in _WINDOWS
    if kwargs.get("padding") or kwargs.get("ceil_mode")
)

POOL = (
    *(_max(name, shape, size, **kwargs) for name, shape, size, kwargs in _WINDOWS),
    *(
        _max(f"{name}_indices", shape, size, "ties", return_indices=True, **kwargs)
        for name, shape, size, kwargs in _WINDOWS
    ),
    *(_avg(name, shape, size, **kwargs) for name, shape, size, kwargs in _WINDOWS),
    *(
        _avg(f"{name}_inside", shape, size, count_include_pad=False, **kwargs)
        for name, shape, size, kwargs in _PADDED
    ),
    _avg("divisor", (1, 3, 7, 8), 3, stride=2, padding=1, divisor_override=5),
    *(
        _pool(mode, name, shape, size, "normal", {**kwargs, **more})
        for mode, more in (("sum", {}), ("lp", {"norm": 2.0}), ("lp", {"norm": 1.0}),
                           ("lp", {"norm": 3.5}))
        for name, shape, size, kwargs in _WINDOWS[:6:2]
        for name in (f"{name}_{more['norm']}" if more else name,)
    ),
    *(
        _max(f"dilated{d}{'_indices' * i}", (1, 3, 11, 20), 3, "ties", dilation=d, stride=s,
             padding=1, return_indices=bool(i))
        for d, s, i in ((2, 1, 0), (2, 2, 1), (3, 1, 1))
    ),
    *(
        _max(f"width{p}_s{s}", (1, 2, 3, p), 3, stride=s, padding=1)
        for p, s in product(PIXEL_BORDERS, (1, 2))
    ),
    *(_avg(f"width{p}", (1, 2, 3, p), 3, stride=1, padding=1) for p in PIXEL_BORDERS),
    *(_max(f"channels{c}", (1, c, 5, 5), 3, stride=2) for c in CHANNEL_BORDERS),
    *(_avg(f"channels{c}", (1, c, 5, 5), 3, stride=2) for c in CHANNEL_BORDERS),
    *(
        _max(f"{fill}_{name}{'_indices' * i}", (2, 4, 9, 21), size, fill, return_indices=bool(i),
             **kwargs)
        for fill, i in product(("nan", "lowest"), (0, 1))
        for name, size, kwargs in (
            ("2x2", 2, {}), ("3x3_s1", 3, {"stride": 1, "padding": 1}),
            ("3x3_s2", 3, {"stride": 2, "padding": 1}),
        )
    ),
    _pool("avg", "nan_3x3", (1, 3, 7, 21), 3, "nan", {"stride": 1, "padding": 1}),
    _pool("sum", "inf_2x2", (1, 3, 6, 20), 2, "inf", {}),
    Case("pool2d", "max_repeated", Pool2dSpec.of("max", (2, 3, 6, 8), 3, stride=1, padding=1),
         "normal", (0, 2)),
    *(
        _adaptive(mode, shape, size, **kwargs)
        for mode, kwargs in (("max", {}), ("max", {"return_indices": True}), ("avg", {}))
        for shape, size in (
            ((2, 3, 7, 10), (3, 4)), ((1, 3, 5, 6), (5, 6)), ((1, 2, 3, 4), (7, 9)),
            ((1, 2, 13, 35), (1, 6)),
        )
    ),
    *(
        _adaptive(mode, (2, c, *size), 1)
        for mode in ("max", "avg", "sum")
        for c, size in ((3, (7, 7)), (17, (4, 5)), (2, (1, 1)), (1, (30, 67)))
    ),
    *(
        Case("pool2d", f"{mode}_photograph_{c}x{h}x{w}",
             Pool2dSpec.of_adaptive(mode, (1, c, h, w), size), "positive")
        for mode in ("avg", "sum")
        for c, h, w, size in ((3, 300, 301, 1), (1, 401, 37, 1), (17, 90, 91, (1, 2)))
    ),
    _pool("avg", "photograph_99x99", (1, 3, 120, 130), 99, "positive", {"stride": 10}),
    _pool("lp", "photograph_60x60", (1, 3, 120, 130), 60, "positive", {"stride": 30}),
)

# ---------------------------------------------------------------- conv2d_pool2d


def _fused(
    name: str, n: int, ic: int, size: tuple[int, int], oc: int, kernel: tuple[int, int],
    fill: str = "normal", **kwargs: Any,
) -> Case:
    spec = ConvPool2dSpec.of(
        (n, ic, *size), (oc, ic // kwargs.get("groups", 1), *kernel), bias=True,
        precision="fast", **kwargs,
    )
    return Case("conv2d_pool2d", name, spec, fill)


FUSED = (
    _fused("one_cell", 1, 1, (1, 1), 1, (1, 1), pool_size=1),
    _fused("3x3", 2, 5, (9, 20), 17, (3, 3), padding=1),
    _fused("wide_3x3", 1, 3, (18, 139), 4, (3, 3), padding=1),
    _fused("3x3_overlapping", 1, 4, (13, 19), 9, (3, 3), padding=1, pool_size=3, pool_stride=2,
           pool_padding=1),
    _fused("7x7_s2", 1, 3, (24, 25), 10, (7, 7), stride=2, padding=3, pool_size=3, pool_stride=2,
           pool_padding=1),
    _fused("5x5_avg", 1, 2, (11, 12), 3, (5, 5), pool="avg", activation="tanh"),
    _fused("same_sum", 1, 3, (8, 9), 4, (3, 3), padding="same", stride=2, pool="sum",
           pool_size=(2, 3), pool_stride=1, pool_padding=((0, 1), (1, 0))),
    _fused("avg_stride_over_window", 1, 3, (17, 9), 4, (3, 3), pool="avg", pool_size=2,
           pool_stride=3, activation=None),
    _fused("groups_dilated", 1, 6, (11, 12), 6, (3, 3), groups=3, dilation=2, padding=2),
    _fused("padding_over_kernel", 1, 2, (3, 3), 3, (2, 2), padding=4),
    _fused("nan", 1, 4, (9, 20), 5, (3, 3), "nan", padding=1),
    # Windows within Winograd's tiles: of whole and of ragged ones, pixels and channels in lanes.
    _fused("within_tiles_wide", 2, 3, (11, 271), 5, (3, 3), padding=1, activation=None),
    _fused("within_tiles_channels", 1, 6, (9, 23), 38, (3, 3), groups=2, activation="relu6"),
    _fused("within_tiles_nan", 1, 2, (13, 37), 21, (3, 3), "nan", padding=1, activation=None),
)

# ---------------------------------------------------------------- max_unpool2d


def _unpool(name: str, shape: Any, size: Any, **kwargs: Any) -> Case:
    return Case("max_unpool2d", name, UnpoolSpec.of(shape, size, **kwargs))


UNPOOL = (
    _unpool("2x2", (2, 3, 4, 5), 2),
    _unpool("2x2_output_size", (1, 3, 4, 5), 2, output_size=(9, 11)),
    _unpool("3x3_s2", (1, 3, 4, 5), 3, stride=2, padding=1),
    _unpool("one_cell", (1, 1, 1, 1), 2),
    _unpool("wide_row", (2, 2, 1, 33), (1, 3)),
    _unpool("many_channels", (1, 35, 3, 3), 2),
)

# ---------------------------------------------------------------- activation


def _activation(name: str, shape: tuple[int, ...], slope: float = 0.01, fill: str = "wide") -> Case:
    size = 1
    for n in shape:
        size *= n
    sizes = "x".join(map(str, shape)) or "0d"
    label = f"{name}_{sizes}" + ("" if slope == 0.01 else f"_slope{slope}")
    return Case("activation", label, ActivationSpec(name, size, slope=slope), fill, shape=shape)


ACTIVATION_SHAPES = (
    (), (1,), (7,), (8,), (9,), (15,), (16,), (17,), (33,), (63,), (64,), (65,), (1000,),
    (3, 5), (2, 3, 5, 7), (1, 2, 1, 3, 2),
)

ACTIVATION = (
    *(_activation(name, shape) for name in ACTIVATIONS for shape in ACTIVATION_SHAPES),
    _activation("leaky_relu", (3, 33), slope=0.3),
    _activation("leaky_relu", (3, 33), slope=-1.5),
    _activation("leaky_relu", (3, 33), slope=2.0),
)

# ---------------------------------------------------------------- all

CASES: tuple[Case, ...] = CONV + TRANSPOSED + FUSED + POOL + UNPOOL + ACTIVATION

EPILOGUES = (
    _conv("3x3", 1, 5, (5, 9), 17, (3, 3), padding=1),
    _conv("1x1", 1, 9, (4, 5), 9, (1, 1)),
    _conv("depthwise", 1, 5, (5, 9), 5, (3, 3), groups=5, padding=1),
    _conv("picture", 1, 1, (9, 20), 3, (5, 5), padding=2),
    _transposed("transposed", 1, 3, (4, 5), 9, (3, 3), stride=2, padding=1),
)
"""What the fused bias and activation are tried on."""

EXACT_INTEGERS = tuple(
    case for case in CASES
    if (isinstance(case.spec, Pool2dSpec) and case.spec.mode == "max" and case.finite)
    or isinstance(case.spec, UnpoolSpec)
    or (isinstance(case.spec, ActivationSpec) and case.spec.name in ("relu", "relu6"))
)
"""What integers go through unchanged."""


def cases(op: str) -> tuple[Case, ...]:
    """The cases of one operation."""
    return tuple(case for case in CASES if case.op == op)


def products(case: Case) -> int:
    """How many products are summed for one value of the result, at most."""
    spec = case.spec.conv if isinstance(case.spec, ConvPool2dSpec) else case.spec
    if not isinstance(spec, Conv2dSpec):
        return 1
    channels = (spec.OC if case.op == "conv2d_input_grad" else spec.IC) // spec.G
    return channels * spec.KH * spec.KW
