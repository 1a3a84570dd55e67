"""Kernels as calls, through the contract of ``fastconv/registry.py``: no dispatch, no plan."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

import fastconv
from fastconv import registry
from fastconv.registry import Kernel
from fastconv.spec import ActivationSpec, Pool2dSpec, Spec

from ..layers import Array, Layer
from ..timing import Call


def serving(op: str, spec: Spec) -> Iterator[Kernel]:
    """The rows that can do ``spec`` here. The reference is left out: its rate decides nothing."""
    for row in registry.rows(op):
        absent = row.backend == "reference" or fastconv.backends()[row.backend] is not None
        if not absent and row.why_not(spec.kernel_spec) is None:
            yield row


def convolution(row: Kernel, layer: Layer, threads: int) -> Call:
    """A conv2d kernel, weights packed, the result into memory that is there."""
    kernel: Any = import_module(row.module)
    spec = layer.spec().kernel_spec
    packed = kernel.pack(spec, layer.weights(), threads)
    out = np.zeros(spec.out_shape, np.float32)
    return partial(kernel.run, spec, layer.inputs(2)[0], packed, None, out, threads)


def pooling(row: Kernel, spec: Pool2dSpec, threads: int) -> Call:
    """A pool2d kernel."""
    kernel: Any = import_module(row.module)
    out = np.zeros(spec.out_shape, np.float32)
    return partial(kernel.run, spec, _normal(spec.x_shape), out, None, threads)


def activation(row: Kernel, spec: ActivationSpec, threads: int) -> Call:
    """An activation kernel."""
    kernel: Any = import_module(row.module)
    out = np.zeros(spec.size, np.float32)
    return partial(kernel.run, spec, _normal((spec.size,)), out, threads)


def _normal(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(3).standard_normal(shape, dtype=np.float32)
