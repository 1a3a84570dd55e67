"""fastconv's own sides: one for each backend and mode."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import fastconv

from ..layers import Array
from ..timing import Call
from ..works import Work
from .side import FASTCONV, Case, Runner, Side

AUTO = "auto"
"""The backend that fastconv chooses itself: what a user gets."""

WORDS: dict[str, dict[str, Any]] = {
    "plan": {"packed": True},
    "functional": {"packed": False},
    "nhwc": {"layout": "NHWC"},
    "strict": {"precision": "strict"},
    "fast": {"precision": "fast"},
}
"""What a mode is made of; without them it is a plan, NCHW and precision "default"."""


@dataclass(frozen=True, slots=True)
class Mode:
    """How fastconv is called. ``packed``: the weights are packed beforehand, in a plan."""

    name: str
    packed: bool = True
    layout: str = "NCHW"
    precision: str = "default"

    @classmethod
    def of(cls, name: str) -> Mode:
        """From words joined by "+", as in ``functional+nhwc``."""
        options: dict[str, Any] = {}
        for word in name.split("+"):
            if word not in WORDS:
                raise ValueError(
                    f"unknown mode {word!r}; a mode is some of {', '.join(WORDS)}, joined by +"
                )
            options |= WORDS[word]
        return cls(name, **options)

    def why_not(self, work: Work) -> str | None:
        """Not every operation knows every difference."""
        if work.convolution:
            return None
        if self.packed and self.layout == "NCHW" and self.precision == "default":
            return "there are plans for convolutions only"
        if work.layer is None and self.precision != "default":
            return "one precision only"
        return None


def sides(backends: list[str], modes: list[Mode], algorithm: str) -> list[Side]:
    """The first mode of the first backend is the one that picture libraries are held against."""
    return [
        Side(
            f"{backend}/{mode.name}", f"{_title(backend)}\n{mode.name}", FASTCONV,
            partial(_absent, backend), mode.why_not, partial(_prepare, backend, mode, algorithm),
        )
        for backend in backends for mode in modes
    ]


def _title(backend: str) -> str:
    return "fastconv" if backend == AUTO else backend


def _absent(backend: str) -> str | None:
    return None if backend == AUTO else fastconv.backends()[backend]


def _prepare(backend: str, mode: Mode, algorithm: str, case: Case) -> Runner:
    fastconv.set_num_threads(case.threads)
    inputs = [_in_layout(x, mode.layout) for x in case.inputs]
    to_nchw = partial(_to_nchw, layout=mode.layout)
    work = case.work
    if work.layer is None or case.w is None:
        calls = [_without_weights(work, x, backend, mode) for x in inputs]
        return Runner(calls, to_nchw)
    options: dict[str, Any] = {
        **work.layer.geometry, "layout": mode.layout, "precision": mode.precision,
        "algorithm": algorithm, "backend": backend,
    }
    if work.pool:
        fuse = partial(_fused, work, case.w, options)
        return Runner([fuse(x) for x in inputs], to_nchw)
    if mode.packed:
        plan = fastconv.plan_conv2d(case.w, x_shape=inputs[0].shape, **options)
        kernel = f"{plan.algorithm}@{plan.backend}"
        return Runner([partial(plan, x) for x in inputs], to_nchw, kernel)
    chosen = fastconv.explain("conv2d", inputs[0].shape, case.w.shape, **options).chosen
    return Runner(
        [partial(fastconv.conv2d, x, case.w, **options) for x in inputs], to_nchw,
        chosen.removeprefix("conv2d."),
    )


def _without_weights(work: Work, x: Array, backend: str, mode: Mode) -> Call:
    if work.pool:
        return work.pool.on(x, backend, mode.layout)
    return partial(fastconv.relu, x, backend=backend)


def _fused(work: Work, w: Any, options: dict[str, Any], x: Array) -> Call:
    assert work.pool is not None
    assert work.pool.size is not None
    return partial(
        fastconv.conv2d_pool2d, x, w, **options, activation="relu" if work.relu else None,
        pool=work.pool.mode, pool_size=work.pool.size, pool_stride=work.pool.stride,
        pool_padding=work.pool.padding,
    )


def _in_layout(x: Array, layout: str) -> Array:
    return x if layout == "NCHW" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def _to_nchw(out: Array, *, layout: str) -> Array:
    return out if layout == "NCHW" else out.transpose(0, 3, 1, 2)
