"""Tasks of the Numba wing: each is done once, by whoever is free."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.dispatch import available

if available("numba") is not None:
    pytest.skip(str(available("numba")), allow_module_level=True)

from fastconv.backends.numba import simd
from fastconv.backends.numba.buffers import address
from fastconv.backends.numba.jit import Kernel, Plan, carray, numba, take

THREADS = numba.config.NUMBA_NUM_THREADS
HELD_UP = 1 << 24
"""Looks at the others after which a worker no longer believes that anybody helps."""


@Kernel
def _mark(worker, tasks, memory, plan):  # type: ignore[no-untyped-def]
    """Count each task, note who did it; worker 0 waits in its first until the rest is done."""
    counts, workers, done = memory[0], memory[1], memory[2]
    q = carray(plan, 1)[0]
    task = take(tasks)
    while task < q.tasks:
        simd.store(counts + 8 * task, simd.load(counts + 8 * task, 0) + 1)
        simd.store(workers + 8 * task, worker)
        looks = 0
        while worker == 0 and q.waits and looks < HELD_UP:
            finished = 1
            for i in range(q.tasks):
                if simd.load(counts + 8 * i, 0) == 0:
                    finished = 0
            simd.store(done, finished)  # in memory, so that each look is one
            looks = HELD_UP if finished else looks + 1
        task = take(tasks)


def _marked(tasks: int, threads: int, waits: bool) -> tuple[list[int], list[int]]:
    counts, workers, done = np.zeros(tasks, np.int64), np.zeros(tasks, np.int64), np.zeros(1)
    plan = Plan(np.float32(0), tasks=tasks, waits=int(waits))
    _mark(threads, tasks, (address(counts), address(workers), address(done)), plan)
    return counts.tolist(), workers.tolist()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_each_task_is_done_once(threads: int) -> None:
    for tasks in (1, 2, 3, 5, 8, 64, 1000):
        for _ in range(20):
            counts, workers = _marked(tasks, threads, False)
            assert counts == [1] * tasks
            assert max(workers) < min(threads, tasks, THREADS)


@pytest.mark.skipif(THREADS < 2, reason="Numba has one thread here")
def test_others_help_a_worker_that_is_held_up() -> None:
    counts, workers = _marked(40, 2, True)
    assert counts == [1] * 40
    assert workers.count(0) <= 1, "nobody took over what the waiting worker could not begin"
