"""Which rows are timed on which work: all that can serve it and end in a bearable time."""

from __future__ import annotations

import pytest

from fastconv.dispatch import absent
from fastconv.registry import Kernel
from fastconv.spec import ActivationSpec, Conv2dSpec, Pool2dSpec

MOST_FLOPS = {
    "conv2d.direct@reference": 3e6,
    "pool2d.direct@reference": 2e6,
    "activation.elementwise@reference": 5e5,
}
"""Operations (``spec.flops``) above which one call would take about a second."""


def skip_unless_timed(row: Kernel, spec: Conv2dSpec | Pool2dSpec | ActivationSpec) -> None:
    """Skip the test if ``row`` is absent here, cannot serve ``spec``, or is too slow for it."""
    reason = absent(row) or row.why_not(spec.kernel_spec)
    most = MOST_FLOPS.get(row.name)
    if reason is None and most is not None and spec.flops > most:
        reason = f"{spec.flops:.1e} operations; it is timed on up to {most:.0e}"
    if reason is not None:
        pytest.skip(f"{row.name}: {reason}")
