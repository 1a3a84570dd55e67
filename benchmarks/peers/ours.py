"""fastconv's own sides: one for each backend."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import fastconv

from ..layers import Array
from .side import FASTCONV, Case, Runner, Side, any_layer


def sides(
    backends: list[str], *, mode: str, layout: str, precision: str, algorithm: str
) -> list[Side]:
    """``mode="plan"`` packs the weights beforehand, ``"functional"`` within every call."""

    def prepare(backend: str, case: Case) -> Runner:
        layer = case.layer
        fastconv.set_num_threads(case.threads)
        options: dict[str, Any] = {
            **layer.geometry, "layout": layout, "precision": precision, "algorithm": algorithm,
            "backend": backend,
        }
        inputs = [_in_layout(x, layout) for x in case.inputs]
        plan = fastconv.plan_conv2d(case.w, x_shape=inputs[0].shape, **options)
        kernel = f"conv2d.{plan.algorithm}@{plan.backend}"
        if mode == "plan":
            calls = [partial(plan, x) for x in inputs]
        else:
            calls = [partial(fastconv.conv2d, x, case.w, **options) for x in inputs]
        return Runner(calls, partial(_to_nchw, layout=layout), kernel)

    return [
        Side(
            f"fastconv.{backend}", backend, FASTCONV, partial(_absent, backend), any_layer,
            partial(prepare, backend),
        )
        for backend in backends
    ]


def _absent(backend: str) -> str | None:
    return fastconv.backends()[backend]


def _in_layout(x: Array, layout: str) -> Array:
    return x if layout == "NCHW" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def _to_nchw(out: Array, *, layout: str) -> Array:
    return out if layout == "NCHW" else out.transpose(0, 3, 1, 2)
