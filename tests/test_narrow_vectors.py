"""The Numba wing with narrower vectors than this processor has: its width follows the target."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from processes import python

from fastconv.dispatch import available

TARGETS = {
    256: {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"},
    128: {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+sse4.2"},
}
"""By bits of a vector: what Numba is to compile for. Without fused multiply-adds, too."""

CHECK = """
    import sys

    sys.path.insert(0, sys.argv[1])
    from cases import CASES
    from harness import check_row, serves
    from fastconv.backends.numba.simd import BITS
    from fastconv.registry import ROWS

    assert int(sys.argv[2]) == BITS, BITS
    for name, chosen in zip(sys.argv[3::2], sys.argv[4::2], strict=True):
        row = next(row for row in ROWS if row.name == f"{name}@numba")
        case = next(case for case in CASES if case.op == row.op and case.name == chosen)
        assert serves(row, case), case
        check_row(row, case, "float32", "NCHW")
"""
CHOSEN = {
    "activation.elementwise": "tanh_1000", "conv2d.direct": "ic63", "conv2d.planar": "ic4",
    "conv2d.winograd4": "oc32", "conv2d.winograd_planar": "wide_3x3_of_8",
    "pool2d.direct": "avg_2x2",
}
"""A case for each row that has shuffles, masks or tiles of its own; every one is compiled here."""


def _reason(bits: int) -> str | None:
    if reason := available("numba"):
        return reason
    simd = import_module("fastconv.backends.numba.simd")
    if not simd.ON_X86:
        return "the targets are of x86"
    return None if bits < simd.BITS else f"vectors have {simd.BITS} bits here"


@pytest.mark.parametrize("bits", TARGETS)
def test_narrow_vectors(bits: int) -> None:
    """Some cases, in a process that compiles for another processor."""
    if reason := _reason(bits):
        pytest.skip(reason)
    folder = str(Path(__file__).parent)
    chosen = [word for pair in CHOSEN.items() for word in pair]
    python(CHECK, folder, str(bits), *chosen, timeout=600, **TARGETS[bits])
