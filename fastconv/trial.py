"""One row on random data of a spec, ready to be timed: what tune() and calibration measure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from . import arrays
from .arrays import Array
from .dispatch import Choice
from .ops import _run
from .registry import Kernel
from .spec import ActivationSpec, Conv2dSpec, Pool2dSpec, Spec, UnpoolSpec, dtype_of, in_layout


@dataclass(frozen=True, slots=True)
class Trial:
    """The two parts of a call; results land in memory that has been touched before."""

    run: Callable[[], object]
    pack: Callable[[], object] | None
    """None where there are no weights."""


def trial(op: str, spec: Spec, row: Kernel, threads: int) -> Trial:
    """A call of ``row`` on random numbers, its weights packed once."""
    choice = Choice(row, row.sees(spec), threads)
    rng = np.random.default_rng(1)
    if isinstance(spec, Conv2dSpec):
        return _convolution(op, spec, choice, rng)
    seen: Any = choice.spec
    if isinstance(spec, ActivationSpec):
        x = _random(rng, (spec.size,), seen.dtype)
        return Trial(partial(choice.module.run, seen, x, np.zeros_like(x), threads), None)
    assert isinstance(spec, (Pool2dSpec, UnpoolSpec))
    x = arrays.logical(_random(rng, in_layout(spec.x_shape, spec.layout), seen.dtype), spec.layout)
    out = arrays.logical(
        np.zeros(in_layout(spec.out_shape, spec.layout), x.dtype), spec.layout
    )
    if isinstance(spec, UnpoolSpec):
        indices = _places(rng, spec)
        return Trial(partial(choice.module.run, seen, x, indices, out, threads), None)
    where = np.zeros_like(out, np.int64) if spec.return_indices else None
    return Trial(partial(choice.module.run, seen, x, out, where, threads), None)


def _convolution(op: str, spec: Conv2dSpec, choice: Choice, rng: np.random.Generator) -> Trial:
    source, result = spec.x_shape, spec.out_shape
    if op == "conv2d_input_grad":
        source, result = result, source
    x = _random(rng, in_layout(source, spec.layout), spec.dtype)
    w = _random(rng, spec.w_shape, spec.dtype)
    w /= math.sqrt(w[0].size)  # results around 1, however many layers of such a call
    bias = _random(rng, (result[1],), spec.dtype) if spec.bias else None
    out = np.zeros(in_layout(result, spec.layout), dtype_of(spec.dtype))
    packed = _run.pack(choice, w)
    return Trial(
        partial(_run.convolve, choice, spec, x, packed, bias, out), partial(_run.pack, choice, w)
    )


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Normal numbers; small integers where the dtype has no others."""
    kind = dtype_of(dtype)
    if kind.kind in "iu":
        return rng.integers(0, 100, shape).astype(kind)
    return rng.standard_normal(shape, np.float32).astype(kind, copy=False)


def _places(rng: np.random.Generator, spec: UnpoolSpec) -> Array:
    """Indices as max pooling gives them: every one in its own window, near enough."""
    first = np.linspace(0, spec.OH * spec.OW - 1, spec.IH * spec.IW).astype(np.int64)
    shape = spec.N, spec.C, spec.IH, spec.IW
    places = np.broadcast_to(first.reshape(spec.IH, spec.IW), shape)
    if spec.layout == "NCHW":
        return np.ascontiguousarray(places)
    return np.ascontiguousarray(places.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
