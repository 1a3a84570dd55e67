"""Runs the blocks of a kernel in numba's simulator, without its waiting.

numba's own loop asks all threads of a block again and again whether they wait, which takes longer
than the kernels. Here a kernel without a barrier runs its threads one after the other, and one
with a barrier waits at Python's. What ``cuda`` means inside a kernel is numba's simulation.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.cuda.simulator.kernelapi import Dim3, FakeCUDAModule, swapped_cuda_module

PATIENCE = 120.0
"""Seconds until a thread that waits for others gives up."""
_one_kernel = threading.Lock()


class _Block:
    """What the threads of a block share."""

    def __init__(self, index: int, threads: int) -> None:
        self.index = Dim3(index, 0, 0)
        self.barrier = threading.Barrier(threads, timeout=PATIENCE)
        self.error: BaseException | None = None


class _Thread(threading.Thread):
    """One or, without barriers, one after the other of a block's threads."""

    def __init__(self, block: _Block, indices: range, call: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._manager, self._indices, self._call = block, indices, call
        self.blockIdx = block.index
        self.threadIdx = Dim3(0, 0, 0)

    def syncthreads(self) -> None:
        """Wait for all threads of the block."""
        self._manager.barrier.wait()

    def run(self) -> None:
        """Keep the first error for the caller."""
        try:
            with np.errstate(all="ignore"):  # as silent as the card
                for index in self._indices:
                    self.threadIdx = Dim3(index, 0, 0)
                    self._call()
        except threading.BrokenBarrierError as error:
            self._manager.error = self._manager.error or error
        except Exception as error:
            if self._manager.error is None:
                self._manager.error = error
            self._manager.barrier.abort()


def run(kernel: Callable[..., None], blocks: int, threads: int, arguments: tuple[Any, ...]) -> None:
    """All blocks, in turn; one kernel at a time."""
    waits = "syncthreads" in kernel.__code__.co_names
    teams = [range(i, i + 1) for i in range(threads)] if waits else [range(threads)]
    module = FakeCUDAModule((blocks, 1, 1), (threads, 1, 1), 0)
    with _one_kernel:
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1.0)  # threads change at barriers, not while they reckon
        try:
            with swapped_cuda_module(kernel, module):
                for index in range(blocks):
                    block = _Block(index, len(teams))
                    crew = [_Thread(block, team, lambda: kernel(*arguments)) for team in teams]
                    for thread in crew:
                        thread.start()
                    for thread in crew:
                        thread.join()
                    if block.error is not None:
                        raise block.error
        finally:
            sys.setswitchinterval(interval)
