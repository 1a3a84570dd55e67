"""What a device can do at most, measured: the roof of the report's roofline plots.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures" (2009). On the processor the peak is that of ``np.matmul`` on float32 matrices, whose
library takes its number of threads when it is loaded: so it runs in a process of its own; the
bandwidth is that of ``np.copyto``, a thread for each part, reads and writes counted. On a card
the peak is that of chains of multiply-adds in registers, the bandwidth that of a copy within the
card's memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from time import perf_counter
from typing import Any

import numpy as np

from .devices import Card, Device

SIDE = 1536
"""Rows and columns of the matrices that are multiplied."""
COPIED = 64 << 20
"""Bytes of the array that is copied: past every cache."""
REPEATS = 7
PATIENCE = 120.0
"""Seconds after which the process that measures is given up."""
BLAS_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
STEPS, BLOCK = 2048, 256
"""Of the card's multiply-adds: turns of the loop, threads in a block."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The two limits of one device with a number of threads, and how they were found."""

    threads: int | None
    flops: float
    """Operations a second."""
    bandwidth: float
    """Bytes a second."""
    how: str


def of(device: Device, threads: int) -> Ceiling | None:
    """The limits of a device, or None if they cannot be measured here."""
    return of_card(device) if isinstance(device, Card) else of_processor(threads)


def of_processor(threads: int) -> Ceiling | None:
    """Measured in a new process, so that the matrix product gets this number of threads."""
    environment = {**os.environ, **dict.fromkeys(BLAS_THREADS, str(threads))}
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(threads)], env=environment, text=True,
            capture_output=True, timeout=PATIENCE, check=True,
        )
        return Ceiling(**json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return None


def measure_here(threads: int) -> Ceiling:
    """In this process, whose matrix product must have been told its threads before."""
    rng = np.random.default_rng(1)
    a = rng.standard_normal((SIDE, SIDE), np.float32)
    b, product = a.T.copy(), np.zeros_like(a)
    multiply = min(_seconds(partial(np.matmul, a, b, out=product)) for _ in range(REPEATS))
    source = np.ones(COPIED // 4, np.float32)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads),
                     strict=True))
    with ThreadPoolExecutor(threads) as pool:
        copy = min(
            _seconds(lambda: list(pool.map(lambda part: np.copyto(*part), parts)))
            for _ in range(REPEATS)
        )
    return Ceiling(
        threads, 2 * SIDE**3 / multiply, 2 * COPIED / copy,
        f"np.matmul of {SIDE}² float32 matrices; np.copyto of {COPIED >> 20} MiB, bytes read and "
        "written",
    )


def of_card(card: Card) -> Ceiling | None:
    """By a kernel of multiply-adds and a copy from the card to itself."""
    cuda: Any = import_module("numba.cuda")
    from .multiply_adds import CHAINS, chains

    blocks = 16 * int(getattr(cuda.get_current_device(), "MULTIPROCESSOR_COUNT", 1))
    out = card.put(np.zeros(blocks * BLOCK, np.float32))
    source = card.put(np.ones(16 * COPIED // 4, np.float32))
    target = cuda.device_array_like(source)

    def compute() -> None:
        chains[blocks, BLOCK](out, np.float32(0.999), np.float32(1e-3), STEPS)

    def copy() -> None:
        target.copy_to_device(source)

    compute()  # compiles
    copy()
    computing = min(card.seconds([compute]) for _ in range(REPEATS))
    copying = min(card.seconds([copy]) for _ in range(REPEATS))
    return Ceiling(
        None, 2 * CHAINS * STEPS * blocks * BLOCK / computing, 2 * 16 * COPIED / copying,
        "float32 multiply-adds in registers; a copy of 1 GiB within the card's memory, bytes read "
        "and written",
    )


def _seconds(call: Any) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


if __name__ == "__main__":
    print(json.dumps(asdict(measure_here(int(sys.argv[1])))))
