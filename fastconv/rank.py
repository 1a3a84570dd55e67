"""The rank of a convolution's weights: what only their values tell.

A kernel that is a sum of few products of a column and a row (a Gaussian, a box, a Gabor filter)
needs KH + KW products for each of them in place of KH · KW. Whether it is one is found by a
singular value decomposition (Perona, "Deformable kernels for early vision", 1995), which is
made where the answer may save much more than it costs, or where "separable" is asked for.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .arrays import Array
from .spec import HALF, Conv2dSpec

NOISE = 2.0
"""Singular values up to so many units of the last place of the largest are what rounding the
weights has made of zeros: leaving them out changes a result no more than that rounding did."""

_LEAST, _MOST = 5, 64
"""Sides of kernels that may profit. For larger ones the FFT leaves little to save, and the
decomposition takes longer than the convolution."""
_SVD_SECONDS = 15e-6, 4e-9
"""Of one decomposition: for the call, and for each of k³."""
_RATE = 200e9
"""Operations per second of a direct convolution: its time is what can be saved."""
_WORTH = 10
"""So many times the cost of finding out."""


def with_rank(spec: Conv2dSpec, w: Array, algorithm: str) -> Conv2dSpec:
    """``spec`` with the rank of ``w``, if it is asked for or may be worth knowing."""
    if algorithm != "separable" and not worth_knowing(spec):
        return spec
    return replace(spec, rank=rank(w))


def worth_knowing(spec: Conv2dSpec) -> bool:
    """Whether a low rank could save much more time than it takes to find it."""
    if min(spec.KH, spec.KW) < _LEAST or max(spec.KH, spec.KW) > _MOST:
        return False
    if spec.SH > 1 or spec.SW > 1:
        return False
    if spec.precision == "strict" or spec.dtype in HALF:  # rounded to half, few stay low
        return False
    call, each = _SVD_SECONDS
    cost = spec.OC * (spec.IC // spec.G) * (call + each * max(spec.KH, spec.KW) ** 3)
    return spec.flops / _RATE > _WORTH * cost


def rank(w: Array) -> int:
    """The largest number of singular values above rounding noise of any of the kernels; their
    full rank where a weight is not finite. At least 1."""
    wide = w.astype(np.float64)
    if not np.isfinite(wide).all():
        return int(min(w.shape[2:]))
    values = np.linalg.svd(wide, compute_uv=False)
    noise = NOISE * np.finfo(w.dtype if w.dtype.itemsize >= 4 else np.float32).eps
    return max(1, int((values > noise * values[..., :1]).sum(-1).max()))
