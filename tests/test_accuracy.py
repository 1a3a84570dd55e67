"""The error that each convolution states holds for growing numbers of channels.

The cases of ``test_kernels`` are small, because their judge is slow; the judge here is a matrix
product in more digits, so that sums can be long.
"""

from __future__ import annotations

from typing import Any

import harness
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from fastconv.registry import NATIVE_FLOATS, Kernel, rows
from fastconv.spec import Conv2dSpec

CHANNELS = (1, 3, 32, 257, 1024)
GEOMETRIES: dict[str, tuple[int, int, dict[str, Any]]] = {
    "1x1": (1, 12, {}),
    "3x3": (3, 13, {}),
    "3x3_s2": (3, 13, {"stride": 2}),
    "3x3_d2": (3, 14, {"dilation": 2}),
    "5x5": (5, 14, {}),
    "7x7": (7, 14, {}),
}
OC = 5
JUDGES: dict[str, Any] = {"float32": np.float64, "float64": np.longdouble}


def _judge(x: Any, w: Any, step: int, apart: int, digits: Any) -> Any:
    """Every window times every kernel; ``apart`` cells between taps."""
    reach = (w.shape[2] - 1) * apart + 1
    windows = sliding_window_view(x.astype(digits), (reach, reach), (2, 3))
    windows = windows[:, :, ::step, ::step, ::apart, ::apart].transpose(0, 2, 3, 1, 4, 5)
    columns = windows.reshape(*windows.shape[:3], -1)
    return (columns @ w.astype(digits).reshape(len(w), -1).T).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("dtype", NATIVE_FLOATS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(
    "row", [row for row in rows("conv2d") if row.backend != "reference"], ids=lambda row: row.name
)
def test_stated_error_holds_as_channels_grow(row: Kernel, geometry: str, dtype: str) -> None:
    module = harness.kernel(row)
    k, size, options = GEOMETRIES[geometry]
    served = []
    for channels in CHANNELS:
        spec = Conv2dSpec.of(
            (1, channels, size, size + 1), (OC, channels, k, k), dtype=dtype, precision="fast",
            **options,
        )
        if row.why_not(spec.kernel_spec) is not None:
            continue
        rng = np.random.default_rng(channels)
        x = rng.standard_normal(spec.x_shape).astype(dtype)
        w = (rng.standard_normal(spec.w_shape) / channels**0.5).astype(dtype)
        out = np.full(spec.out_shape, np.nan, dtype)
        module.run(spec.kernel_spec, x, module.pack(spec.kernel_spec, w, 1), None, out, 1)

        right = _judge(x, w, spec.SH, spec.DH, JUDGES[dtype])
        rms = np.sqrt(np.mean((out - right) ** 2) / np.mean(right**2))
        bound = row.bound(channels * k * k, dtype)
        assert rms <= bound, f"{channels} channels: {rms:.2e} exceeds the stated {bound:.2e}"
        served.append(channels)
    if not served:
        pytest.skip(f"{row.name} serves no {geometry} of these sizes")
