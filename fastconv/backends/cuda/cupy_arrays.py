"""Arrays on a card as CuPy's, over the same memory and in the order of the same stream.

CuPy is imported by the first call that needs it.

Source: "Interoperability", CuPy documentation; "CUDA Array Interface (Version 3)", Numba
documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from ...device import DeviceArray
from ...streams import DEFAULT, LEGACY, PER_THREAD
from .launcher import OWN_DEFAULT


def cupy() -> Any:
    """The module, which takes a second to import."""
    return import_module("cupy")


class _Cells:
    """What CuPy reads an array from. It names no stream: CuPy would make the host wait for it."""

    def __init__(self, a: DeviceArray) -> None:
        self.array = a  # and its owner, which lives as long as CuPy's array does
        self.__cuda_array_interface__ = {
            "shape": a.shape, "typestr": a.dtype.str, "data": (a.pointer, not a.writeable),
            "strides": a.strides, "stream": None, "version": 3,
        }


def viewed(a: DeviceArray) -> Any:
    """The same cells as CuPy's array. CuPy has no bfloat16."""
    return cupy().asarray(_Cells(a))


def handle_of(a: DeviceArray) -> int:
    """That of the stream that the array's work is done on."""
    return a.stream or OWN_DEFAULT


@contextmanager
def working_for(a: DeviceArray) -> Iterator[None]:
    """What CuPy does in this block is done, and allocated, on the array's device and stream."""
    cuda, handle = cupy().cuda, handle_of(a)
    if handle in (DEFAULT, LEGACY):
        stream = cuda.Stream.null
    elif handle == PER_THREAD:
        stream = cuda.Stream.ptds
    else:
        stream = cuda.ExternalStream(handle, a.device)
    with cuda.Device(a.device), stream:
        yield
