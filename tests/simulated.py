"""Tests of GPU kernels that need numba's simulator, and no card."""

from __future__ import annotations

import pytest

from fastconv import device
from fastconv.dispatch import available

simulated = pytest.mark.skipif(
    available("cuda") is not None or not device.SIMULATED, reason="NUMBA_ENABLE_CUDASIM is not set"
)
