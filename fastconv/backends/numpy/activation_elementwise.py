"""Activations on chunks of a few thousand elements, so that the temporaries stay in cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...spec import ActivationSpec

_CHUNK = 8192
_TEMPORARIES = 8
"""No activation makes more arrays of a chunk's size; x and out may be buffered besides."""

Chunk: TypeAlias = NDArray[Any]


def _relu(v: Chunk) -> Chunk:
    return np.maximum(v, v.dtype.type(0))


def _relu6(v: Chunk) -> Chunk:
    return np.minimum(_relu(v), v.dtype.type(6))


def _sigmoid(v: Chunk) -> Chunk:
    # e^−|v| cannot overflow, and where v is very negative it keeps the subnormal results.
    e = np.exp(-np.abs(v))
    return np.where(v < 0, e, 1) / (1 + e)


def _silu(v: Chunk) -> Chunk:
    return v * _sigmoid(v)


def _hardswish(v: Chunk) -> Chunk:
    return v * (_relu6(v + 3) / 6)


_FUNCTIONS: dict[str, Callable[[Chunk], Chunk]] = {
    "relu": _relu, "relu6": _relu6, "sigmoid": _sigmoid, "tanh": np.tanh, "silu": _silu,
    "hardswish": _hardswish,
}


def run(spec: ActivationSpec, x: NDArray[Any], out: NDArray[Any], threads: int) -> None:
    """``out`` = activation of ``x``, element by element; ``out`` may be ``x``."""

    def leaky_relu(v: Chunk) -> Chunk:
        return np.where(v > 0, v, v * spec.slope)

    function = leaky_relu if spec.name == "leaky_relu" else _FUNCTIONS[spec.name]
    chunks = np.nditer(
        [x, out], flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=[["readonly"], ["writeonly"]], buffersize=_CHUNK,
    )
    with np.errstate(all="ignore"), chunks:
        for source, target in chunks:
            target[...] = function(source)


def workspace_bytes(spec: ActivationSpec, threads: int) -> int:
    """The temporaries and buffers of one chunk."""
    return (_TEMPORARIES + 2) * min(_CHUNK, spec.size) * np.dtype(spec.dtype).itemsize
