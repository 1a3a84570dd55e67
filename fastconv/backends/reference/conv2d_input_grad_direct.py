"""The definition of the transposed convolution, conv2d's gradient with respect to its input:

dx[n, ic, ih, iw] = f(bias[ic] + Σ dout[n, oc, oh, ow] · w[oc, ic, kh, kw])

over all oc of ic's group and all oh, kh, ow, kw with oh·SH − PT + kh·DH = ih and
ow·SW − PL + kw·DW = iw. Summed in float64, rounded once.
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
    spec: Conv2dSpec, dout: NDArray[Any], packed: NDArray[Any], bias: NDArray[Any] | None,
    dx: NDArray[Any], threads: int,
) -> None:
    """Each cell of dout is scattered, times w, over the window that it came from."""
    w = packed.astype(np.float64)
    padded = np.zeros(_padded_shape(spec))
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
            window += dout[n, oc, oh, ow] * w[oc]
        for n, ic, ih, iw in np.ndindex(spec.x_shape):
            total: Any = padded[n, ic, spec.PT + ih, spec.PL + iw]
            if bias is not None:
                total += bias[ic]
            dx[n, ic, ih, iw] = activate(spec.activation, LEAKY_SLOPE, total)


def workspace_bytes(spec: Conv2dSpec, threads: int) -> int:
    """The padded gradient, the weights and one window's products, in float64."""
    weights = int(np.prod(spec.w_shape))
    return 8 * (int(np.prod(_padded_shape(spec))) + weights + weights // spec.OC)


def _padded_shape(spec: Conv2dSpec) -> tuple[int, int, int, int]:
    # output_padding and leftovers of the stride let dx end after the last window, and
    # padding="same" before it.
    last_row = (spec.OH - 1) * spec.SH + extent(spec.KH, spec.DH)
    last_column = (spec.OW - 1) * spec.SW + extent(spec.KW, spec.DW)
    return (
        spec.N, spec.IC, max(spec.PT + spec.IH, last_row), max(spec.PL + spec.IW, last_column)
    )
