"""All geometry: what an operation computes, in numbers, with every error about numbers.

A spec is frozen and hashable, so that the choice of a kernel can be cached on it. Output
sizes are computed here and nowhere else; kernels only read them.

Names are those of the field: N batch; IC, OC; IH, IW; OH, OW; KH, KW; SH, SW strides;
PT, PB, PL, PR padding; DH, DW dilation; G groups.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from .arguments import (
    ACTIVATIONS,
    HALF,
    LAYOUTS,
    LEAKY_SLOPE,
    PADDING_MODES,
    PADDING_NAMES,
    POOL_MODES,
    PRECISIONS,
    IntPair,
    PaddingLike,
    dtype_of,
    extent,
    in_layout,
    integer,
    itemsize,
    one_of,
    pair,
)
from .convolution import Conv2dSpec
from .elementwise import ActivationSpec
from .fused import ConvPool2dSpec
from .pictures import filter_spec, one_channel
from .pooling import Pool2dSpec, UnpoolSpec

Spec: TypeAlias = Conv2dSpec | ConvPool2dSpec | Pool2dSpec | UnpoolSpec | ActivationSpec


def with_dtype(spec: Spec, dtype: str) -> Spec:
    """The same work on numbers of another type."""
    if isinstance(spec, ConvPool2dSpec):
        return replace(
            spec, conv=replace(spec.conv, dtype=dtype), pool=replace(spec.pool, dtype=dtype)
        )
    return replace(spec, dtype=dtype)


__all__ = [
    "ACTIVATIONS",
    "HALF",
    "LAYOUTS",
    "LEAKY_SLOPE",
    "PADDING_MODES",
    "PADDING_NAMES",
    "POOL_MODES",
    "PRECISIONS",
    "ActivationSpec",
    "Conv2dSpec",
    "ConvPool2dSpec",
    "IntPair",
    "PaddingLike",
    "Pool2dSpec",
    "Spec",
    "UnpoolSpec",
    "dtype_of",
    "extent",
    "filter_spec",
    "in_layout",
    "integer",
    "itemsize",
    "one_channel",
    "one_of",
    "pair",
    "with_dtype",
]
