"""Where layers are timed: the processor by the clock, an NVIDIA card by its events.

A device moves arrays to itself and back and says how many seconds some calls took on it. The
card goes through ``numba.cuda``, which its kernels need anyway; numba is imported when a card is
asked for.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from .layers import Array

SIMULATED = "CUDA simulator"
"""What numba's simulator is called, whose device has no name."""

Call = Callable[[], object]


class Device(Protocol):
    """What timing asks of a device."""

    kind: str
    """"cpu" or "gpu"."""
    name: str

    def put(self, array: Array) -> Any:
        """The array on the device."""

    def get(self, array: Any) -> Array:
        """The array in the host's memory."""

    def seconds(self, calls: Sequence[Call]) -> float:
        """Seconds per call on the device, the calls following each other."""


class Processor:
    """The host: arrays are where they are."""

    kind = "cpu"

    def __init__(self) -> None:
        self.name = processor_name()

    def put(self, array: Array) -> Array:
        """The array itself."""
        return array

    def get(self, array: Array) -> Array:
        """The array itself."""
        return array

    def seconds(self, calls: Sequence[Call]) -> float:
        """By the clock of a Python caller."""
        start = perf_counter()
        for call in calls:
            call()
        return (perf_counter() - start) / len(calls)


class Card:
    """The current CUDA device, on the default stream."""

    kind = "gpu"

    def __init__(self) -> None:
        from numba import cuda

        self._cuda: Any = cuda
        name = getattr(self._cuda.get_current_device(), "name", SIMULATED)
        self.name = name.decode() if isinstance(name, bytes) else str(name)

    def put(self, array: Array) -> Any:
        """A copy on the card."""
        return self._cuda.to_device(array)

    def get(self, array: Any) -> Array:
        """A copy from the card."""
        copied: Array = array.copy_to_host()  # numba's arrays give results of their own kind
        return copied

    def seconds(self, calls: Sequence[Call]) -> float:
        """Between two events on the stream; by the clock in the simulator, which has no events."""
        begin, end = self._cuda.event(), self._cuda.event()
        self._cuda.synchronize()
        start = perf_counter()
        begin.record()
        for call in calls:
            call()
        end.record()
        end.synchronize()
        elapsed = perf_counter() - start
        milliseconds = float(begin.elapsed_time(end))
        return (milliseconds / 1e3 if milliseconds > 0 else elapsed) / len(calls)

    def transfer_seconds(self, call: Call) -> float:
        """One copy between host and card by the clock, until it has arrived."""
        self._cuda.synchronize()
        start = perf_counter()
        call()
        self._cuda.synchronize()
        return perf_counter() - start


def processor_name() -> str:
    """As the system writes it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
