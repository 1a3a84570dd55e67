"""Native code that the Numba wing keeps on disk, for other processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes import python

from fastconv.dispatch import available

PACK = """
    import sys
    from importlib import import_module
    import numpy as np
    from fastconv.spec import Conv2dSpec

    for dtype in sys.argv[1:]:
        w = np.arange(70 * 9 * 9).reshape(70, 9, 3, 3).astype(dtype)
        spec = Conv2dSpec.of((1, 9, 8, 8), w.shape, dtype=dtype)
        direct = import_module("fastconv.backends.numba.conv2d_direct")
        packed = direct.pack(spec, w, 1).panels(spec, 1)
        start = packed.address - packed.owner.ctypes.data
        # A panel holds the first weights of its output channels, then the second ones.
        print(*packed.owner[start : start + 3 * w.itemsize].view(dtype))
"""


@pytest.mark.skipif(available("numba") is not None, reason="numba is absent")
def test_code_of_two_processes_goes_together(tmp_path: Path) -> None:
    """What one process compiled for float32 and another for float64, in a third."""
    for dtypes in (["float32"], ["float64"], ["float32", "float64"]):
        out = python(PACK, *dtypes, timeout=300, NUMBA_CACHE_DIR=str(tmp_path)).stdout
        assert out.splitlines() == ["0.0 81.0 162.0"] * len(dtypes), dtypes
