"""What a row's benchmark is about, in the fields that ``python -m fastconv report`` reads."""

from __future__ import annotations

from functools import cache
from typing import Any

import fastconv
from fastconv.bench.devices import Processor
from fastconv.bench.records import extra_info
from fastconv.dispatch import choose
from fastconv.registry import Kernel
from fastconv.spec import Spec

_processor = cache(Processor)


def about(spec: Spec, row: Kernel, layer: str, batch: int) -> dict[str, Any]:
    """For ``benchmark.extra_info``; weights, if there are any, are packed beforehand."""
    threads = fastconv.get_num_threads()
    auto = choose(row.op, spec, "auto", "auto", threads, packed=row.op == "conv2d").row.name
    device = _processor()
    return extra_info(
        spec, row, layer=layer, batch=batch, threads=threads, device=device.name,
        kind=device.kind, auto=auto,
    )
