"""The definition of conv2d:

out[n, oc, oh, ow] = f(bias[oc] + Σ_ic Σ_kh Σ_kw
    x[n, ic, oh·SH − PT + kh·DH, ow·SW − PL + kw·DW] · w[oc, ic, kh, kw])

where ic runs over the channels of oc's group, and x is 0 outside the picture. Those zeros
are terms of the sum like all others: ∞ · 0 is NaN. Summed in float64, rounded once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...spec import LEAKY_SLOPE, Conv2dSpec
from ...spec.arguments import extent
from .activations import activate


def pack(spec: Conv2dSpec, w: NDArray[Any], threads: int) -> NDArray[Any]:
    """The weights as they are."""
    return w


def run(
    spec: Conv2dSpec, x: NDArray[Any], packed: NDArray[Any], bias: NDArray[Any] | None,
    out: NDArray[Any], threads: int,
) -> None:
    """One output cell after the other."""
    w = packed.astype(np.float64)
    padded = np.zeros(_padded_shape(spec))
    padded[:, :, spec.PT : spec.PT + spec.IH, spec.PL : spec.PL + spec.IW] = x
    icg, ocg = spec.IC // spec.G, spec.OC // spec.G
    with np.errstate(all="ignore"):
        for n, oc, oh, ow in np.ndindex(spec.out_shape):
            first = oc // ocg * icg
            top, left = oh * spec.SH, ow * spec.SW
            window = padded[
                n,
                first : first + icg,
                top : top + extent(spec.KH, spec.DH) : spec.DH,
                left : left + extent(spec.KW, spec.DW) : spec.DW,
            ]
            total: Any = np.sum(window * w[oc])
            if bias is not None:
                total += bias[oc]
            out[n, oc, oh, ow] = activate(spec.activation, LEAKY_SLOPE, total)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """The padded picture, the weights and the products of one window, in float64."""
    weights = int(np.prod(spec.w_shape))
    return 8 * (int(np.prod(_padded_shape(spec))) + weights + weights // spec.OC)


def _padded_shape(spec: Conv2dSpec) -> tuple[int, int, int, int]:
    return spec.N, spec.IC, spec.PT + spec.IH + spec.PB, spec.PL + spec.IW + spec.PR
