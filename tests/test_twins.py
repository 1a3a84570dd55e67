"""Rows of one name in both compiled wings give the same bits where they sum in the same order."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import harness
import numpy as np
import pytest
from cases import CASES, Case, tolerance

from fastconv.dispatch import available
from fastconv.registry import NATIVE_FLOATS, ROWS, Kernel
from fastconv.spec import itemsize

if reason := available("cython") or available("numba"):
    pytest.skip(reason, allow_module_level=True)

isa = import_module("fastconv.backends.cython.isa")
BITS: int = import_module("fastconv.backends.numba.simd").BITS
SAME_WIDTH = {"baseline": 128, "avx2": 256, "avx512": 512}.get(isa.active()) == BITS


def _no_sum(spec: Any, order: str) -> bool:
    return True


def _pooling(spec: Any, order: str) -> bool:
    """A window that is worth vectors by itself is summed differently, and so are powers; where
    channels lie side by side C joins a window's rows first, and Numba its cells, unless windows
    share many. A maximum has no order."""
    if spec.mode == "max":
        return True
    lanes = BITS // 8 // itemsize(spec.dtype)
    long = spec.adaptive or lanes <= spec.KW or (spec.OH == 1 and spec.OW == 1)
    return SAME_WIDTH and spec.mode in ("avg", "sum") and not long and order == "NCHW"


SAME_ORDER: dict[str, Callable[[Any, str], bool]] = {
    "activation.elementwise": _no_sum,
    "max_unpool2d.scatter": _no_sum,
    "pool2d.direct": _pooling,
}
"""By the rows' name before the @: for which specs they promise the same bits. Convolutions do
not: one wing starts a sum with the bias and the other ends it so, and the last few pixels of a
tile may be dot products."""

TWINS = [
    (row, twin) for row in ROWS if row.backend == "cython" for twin in ROWS
    if twin.backend == "numba" and (twin.op, twin.algorithm) == (row.op, row.algorithm)
]


@pytest.mark.parametrize(
    ("row", "twin"), TWINS, ids=[f"{row.op}.{row.algorithm}" for row, _ in TWINS]
)
def test_twins_agree(row: Kernel, twin: Kernel) -> None:
    promised = SAME_ORDER.get(f"{row.op}.{row.algorithm}", lambda spec, order: False)
    cases = [c for c in CASES if harness.serves(row, c) and harness.serves(twin, c)]
    assert cases
    for case in cases if f"{row.op}.{row.algorithm}" in SAME_ORDER else cases[::4]:
        for dtype in NATIVE_FLOATS:
            for order in ("NCHW", "NHWC"):
                same = promised(case.with_spec(dtype=dtype).spec, order)
                _compare(row, twin, case, dtype, order, same, f"{case.name} {dtype} {order}")


def _compare(
    row: Kernel, twin: Kernel, case: Case, dtype: str, order: str, same: bool, context: str
) -> None:
    a, b = (harness.run(one, case, dtype, order) for one in (row, twin))
    if a.indices is not None:
        np.testing.assert_array_equal(a.indices, b.indices, context)
    if same:
        assert harness.same_bits(a.out, b.out), context
    else:
        bound = tolerance(row, dtype, case) + tolerance(twin, dtype, case)
        harness.check(b.out, a.out, bound, context)


def test_every_promise_is_about_twins() -> None:
    assert set(SAME_ORDER) <= {f"{row.op}.{row.algorithm}" for row, _ in TWINS}
