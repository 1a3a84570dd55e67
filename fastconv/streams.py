"""CUDA streams: read from whatever stands for one, and made to wait for another.

A stream is an int here: its handle, where 1 is the legacy default stream and 2 the calling
thread's own; 0 is numba's default stream (the legacy one, unless numba is configured otherwise),
and None says that nobody has named one. This module imports no GPU library before a stream has to
wait.

Sources: "CUDA Array Interface (Version 3)", Numba documentation; "CUDA stream protocol",
cuda.core documentation; "Stream synchronization behavior", CUDA Driver API.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from typing import Any

from .errors import BackendUnavailableError

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")
"""Whether numba's simulator stands for the card: its memory is that of the host, and its streams
are none."""
DEFAULT, LEGACY, PER_THREAD = 0, 1, 2
MOST_STREAMS = 64
_ATTRIBUTES = ("cuda_stream", "ptr")
"""Where streams of PyTorch and CuPy have their handle that are older than the protocol."""


def handle_of(stream: Any) -> int:
    """The handle of a stream: an object with ``__cuda_stream__``, or the number itself.

    Raises
    ------
    TypeError, ValueError
        For what is no stream, and for the number 0, which could be either default stream.
    """
    if hasattr(stream, "__cuda_stream__"):
        told = stream.__cuda_stream__()
        if not (isinstance(told, tuple) and len(told) == 2 and isinstance(told[1], int)):
            raise TypeError(
                f"stream.__cuda_stream__() must return (version, handle); got {told!r}"
            )
        if told[0] != 0:
            raise TypeError(f"stream speaks version {told[0]} of its protocol, not 0")
        return named(told[1])
    if isinstance(stream, int) and not isinstance(stream, bool):
        if stream < 1:
            raise ValueError(
                f"stream={stream} names no stream; 1 is the legacy default stream, 2 the "
                "thread's, larger numbers are handles"
            )
        return stream
    for attribute in _ATTRIBUTES:
        if isinstance(found := getattr(stream, attribute, None), int):
            return named(found)
    raise TypeError(
        "stream must be an object with __cuda_stream__ or the number of a stream; got "
        f"{type(stream).__module__}.{type(stream).__qualname__}"
    )


def named(handle: int) -> int:
    """A handle of another library: its 0 is the legacy default stream."""
    return int(handle) or LEGACY


def numba_cuda() -> Any:
    """``numba.cuda``, or an error that says how to get it."""
    try:
        return import_module("numba.cuda")
    except ImportError as error:
        raise BackendUnavailableError(
            f"arrays on a GPU need numba-cuda ({error}); pip install \"fastconv[cuda]\""
        ) from None


@lru_cache(maxsize=MOST_STREAMS)
def numba_stream(device: int, handle: int | None) -> Any:
    """numba's object for a stream of ``device``, which is current."""
    if SIMULATED or not handle:
        return 0
    if handle == LEGACY:
        return numba_cuda().legacy_default_stream()
    if handle == PER_THREAD:
        return numba_cuda().per_thread_default_stream()
    return numba_cuda().external_stream(handle)


def follow(device: int, stream: int | None, others: Iterable[int | None]) -> None:
    """Let ``stream`` wait for what ``others`` are doing now; the host goes on."""
    for other in sorted({other for other in others if other is not None} - {stream or DEFAULT}):
        _wait(device, stream or DEFAULT, other)


def _wait(device: int, stream: int, other: int) -> None:
    if SIMULATED:
        return
    cuda = numba_cuda()
    with cuda.gpus[device]:
        event = cuda.event(timing=False)
        event.record(numba_stream(device, other))
        event.wait(numba_stream(device, stream))
