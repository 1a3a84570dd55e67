"""Threads: the same bits for any number of them, safe to share, alive after a fork."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import harness
import numpy as np
import pytest
from cases import CASES, Case
from processes import python

import fastconv as fc
from fastconv.dispatch import available
from fastconv.registry import BACKENDS, NATIVE_FLOATS, ROWS, Kernel
from fastconv.spec import ActivationSpec, Conv2dSpec, Pool2dSpec, UnpoolSpec

COUNTS = (1, 2, 3, 5)
PRESENT = [name for name in BACKENDS if available(name) is None]

LARGE = (
    Case("conv2d", "3x3", Conv2dSpec.of((3, 9, 19, 37), (35, 9, 3, 3), padding=1, bias=True)),
    Case("conv2d", "1x1", Conv2dSpec.of((2, 33, 9, 14), (70, 33, 1, 1), bias=True)),
    Case("conv2d", "depthwise",
         Conv2dSpec.of((2, 21, 15, 30), (21, 1, 3, 3), padding=1, groups=21, bias=True)),
    Case("conv2d", "picture", Conv2dSpec.of((1, 1, 90, 130), (1, 1, 7, 7), bias=True)),
    Case("conv2d", "5x5_s2",
         Conv2dSpec.of((2, 5, 31, 33), (19, 5, 5, 5), stride=2, padding=2, bias=True)),
    Case("conv2d_input_grad", "4x4_s2", Conv2dSpec.of_transpose(
        (2, 9, 12, 17), (9, 21, 4, 4), stride=2, padding=1, bias=True)),
    *(
        Case("pool2d", mode, Pool2dSpec.of(mode, (3, 11, 33, 50), 3, stride=2, padding=1))
        for mode in ("max", "avg", "lp")
    ),
    Case("pool2d", "global", Pool2dSpec.of_adaptive("avg", (3, 11, 33, 50), 1)),
    Case("pool2d", "one_plane", Pool2dSpec.of_adaptive("sum", (1, 1, 333, 350), 1)),
    Case("max_unpool2d", "2x2", UnpoolSpec.of((3, 11, 16, 25), 2)),
    *(
        Case("activation", name, ActivationSpec(name, 3 * 70001), "wide", shape=(3, 70001))
        for name in ("relu", "tanh")
    ),
)
FAST_ROWS = [row for row in ROWS if row.backend != "reference"]  # the reference has no threads
every_row = pytest.mark.parametrize("row", FAST_ROWS, ids=lambda row: row.name)


@every_row
def test_same_bits_for_any_number_of_threads(row: Kernel) -> None:
    for case in (c for c in LARGE if harness.serves(row, c)):
        for dtype in NATIVE_FLOATS:
            for order in ("NCHW", "NHWC"):
                first, *others = (harness.run(row, case, dtype, order, n).out for n in COUNTS)
                for count, other in zip(COUNTS[1:], others, strict=True):
                    assert harness.same_bits(first, other), (case.name, dtype, order, count)


@every_row
def test_same_bits_from_run_to_run_on_small_work(row: Kernel) -> None:
    """More threads than there is work for: some get nothing."""
    small = [c for c in CASES if c.op == row.op and harness.serves(row, c)][::9]
    for case in small:
        first, *others = (harness.run(row, case, "float32", "NCHW", n) for n in (1, 1, 7))
        for other in others:
            assert harness.same_bits(first.out, other.out), case.name


@pytest.mark.parametrize("backend", PRESENT)
def test_concurrent_calls(backend: str) -> None:
    """Python threads inside the same kernels at once, each with its own data and threads."""
    rng = np.random.default_rng(3)
    inputs = [rng.standard_normal((2, 8, 12 + i, 21)).astype(np.float32) for i in range(6)]
    if backend == "reference":
        inputs = [x[:1, :3, :7, :7] for x in inputs]
    w = rng.standard_normal((17, inputs[0].shape[1], 3, 3)).astype(np.float32)
    plan = fc.plan_conv2d(w, padding=1, activation="relu", backend=backend)

    def work(i: int, threads: int) -> list[Any]:
        x = inputs[i]
        with fc.options(threads=threads):
            return [
                fc.conv2d(x, w, backend=backend), plan(x),
                fc.conv_transpose2d(x, w[:, :].swapaxes(0, 1), stride=2, backend=backend),
                *fc.max_pool2d(x, 2, return_indices=True, backend=backend),
                fc.avg_pool2d(x, 3, stride=1, padding=1, backend=backend),
                fc.tanh(x, backend=backend),
            ]

    alone = [work(i, 1) for i in range(len(inputs))]
    rounds = 2 if backend == "reference" else 12
    with ThreadPoolExecutor(4) as pool:
        jobs = [(i, pool.submit(work, i, 1 + j % 3)) for j in range(rounds)
                for i in range(len(inputs))]
        for i, job in jobs:
            for got, wanted in zip(job.result(timeout=120), alone[i], strict=True):
                assert harness.same_bits(got, wanted)


@pytest.mark.parametrize("backend", [b for b in PRESENT if b in ("cython", "numba")])
def test_the_gil_is_released(backend: str) -> None:
    """Another Python thread gets on while a long convolution runs."""
    x = np.random.default_rng(0).standard_normal((4, 64, 112, 112)).astype(np.float32)
    w = np.random.default_rng(1).standard_normal((64, 64, 3, 3)).astype(np.float32)
    plan = fc.plan_conv2d(w, padding=1, backend=backend)
    ticks: list[int] = []
    done = threading.Event()
    with fc.options(threads=1):
        plan(x[:, :, :8])  # compiled and warm

        def convolve() -> None:
            try:
                with fc.options(threads=1):
                    plan(x)
            finally:
                done.set()

        worker = threading.Thread(target=convolve)
        worker.start()
        while not done.wait(0.0005):
            ticks.append(1)
        worker.join()
    assert len(ticks) >= 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("backend", [b for b in PRESENT if b != "reference"])
def test_calls_after_a_fork(backend: str) -> None:
    """A child forked after parallel work computes too, and so does its parent afterwards."""
    out = python(f"""
        import os, signal, warnings
        import numpy as np, fastconv as fc
        warnings.simplefilter("ignore", DeprecationWarning)  # Python ≥ 3.12 warns of any fork
        rng = np.random.default_rng(0)
        x = rng.standard_normal((4, 32, 40, 40)).astype("f4")
        w = rng.standard_normal((32, 32, 3, 3)).astype("f4")
        def work():
            y = fc.conv2d(x, w, padding=1, backend="{backend}")
            return [y, fc.max_pool2d(y, 2, backend="{backend}"), fc.tanh(y, backend="{backend}")]
        fc.set_num_threads(3)
        before = work()
        def same():
            return all(np.array_equal(a, b) for a, b in zip(before, work()))
        for _ in range(2):
            child = os.fork()
            if child == 0:
                signal.alarm(60)  # a hang ends here
                os._exit(0 if same() else 3)
            _, status = os.waitpid(child, 0)
            assert status == 0, f"the child ended with {{status}}"
            assert same()
        print("ok")
    """).stdout
    assert out.strip() == "ok"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("backend", [b for b in PRESENT if b in ("cython", "numba")])
def test_worker_processes_forked_while_others_compute(backend: str) -> None:
    """Not for the NumPy wing: OpenBLAS itself cannot be forked in the middle of a product."""
    out = python(f"""
        import multiprocessing, threading, warnings
        import numpy as np, fastconv as fc
        warnings.simplefilter("ignore", DeprecationWarning)
        rng = np.random.default_rng(0)
        x = rng.standard_normal((4, 32, 40, 40)).astype("f4")
        w = rng.standard_normal((32, 32, 3, 3)).astype("f4")
        fc.set_num_threads(2)
        def work(i):
            return fc.conv2d(x[: 1 + i % 4], w, padding=1, backend="{backend}")
        wanted = [work(i) for i in range(4)]
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                work(3)
        thread = threading.Thread(target=busy)
        thread.start()
        with multiprocessing.get_context("fork").Pool(3) as pool:
            results = pool.map_async(work, range(8)).get(60)
        stop.set()
        thread.join()
        print(all(np.array_equal(y, wanted[i % 4]) for i, y in enumerate(results)))
    """).stdout
    assert out.strip() == "True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.skipif(
    not {"cython", "numba"} <= set(PRESENT), reason="needs both compiled wings"
)
@pytest.mark.parametrize(("parent", "child"), [("cython", "numba"), ("numba", "cython")])
def test_a_wing_first_used_in_a_forked_child(parent: str, child: str) -> None:
    """The wings share one OpenMP, whose threads stay behind in the parent."""
    out = python(f"""
        import os, signal, warnings
        import numpy as np, fastconv as fc
        warnings.simplefilter("ignore", DeprecationWarning)
        x = np.random.default_rng(0).standard_normal((4, 32, 40, 40)).astype("f4")
        w = np.ones((32, 32, 3, 3), "f4")
        fc.set_num_threads(3)
        wanted = fc.conv2d(x, w, backend="{parent}")
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)  # a hang ends here
            y = fc.conv2d(x, w, backend="{child}")
            os._exit(0 if np.allclose(y, wanted, rtol=1e-4, atol=1e-3) else 3)
        print(os.waitpid(pid, 0)[1])
    """, NUMBA_THREADING_LAYER="omp").stdout
    assert out.strip() == "0"


LAYERS = ("omp", "workqueue", "tbb")
"""Of Numba."""


@pytest.mark.skipif("numba" not in PRESENT, reason=str(available("numba")))
@pytest.mark.parametrize("layer", LAYERS)
def test_every_threading_layer(layer: str) -> None:
    """The same bits with any number of threads, from several Python threads at once and in a
    forked child, whichever layer Numba has."""
    out = python("""
        import os, signal, sys, warnings
        from concurrent.futures import ThreadPoolExecutor
        import numba, numpy as np, fastconv as fc
        warnings.simplefilter("ignore", DeprecationWarning)  # Python ≥ 3.12 warns of any fork
        try:
            numba.get_num_threads()
        except ValueError:
            sys.exit(print("absent"))
        rng = np.random.default_rng(0)
        x = rng.standard_normal((4, 32, 40, 40)).astype("f4")
        w = rng.standard_normal((32, 32, 3, 3)).astype("f4")
        called = dict(backend="numba")
        def work():
            y = fc.conv2d(x, w, padding=1, **called)
            return [y, fc.conv_transpose2d(x, w, stride=2, **called),
                    *fc.max_pool2d(y, 3, stride=2, padding=1, return_indices=True, **called),
                    fc.avg_pool2d(y, 3, stride=1, padding=1, **called),
                    fc.avg_pool2d(y, 2, layout="NHWC", **called), fc.tanh(y, **called)]
        fc.set_num_threads(1)
        wanted = work()
        def check(threads=None):
            with fc.options(threads=threads):
                return all(a.tobytes() == b.tobytes() for a, b in zip(wanted, work()))
        assert numba.config.NUMBA_NUM_THREADS == 3
        for threads in (2, 3, 7):  # more than Numba has
            fc.set_num_threads(threads)
            assert check(), threads
            assert numba.get_num_threads() == 3, "the setting of somebody else was changed"
        assert all(map(check, (1, 2, 3)))
        assert numba.threading_layer() == os.environ["NUMBA_THREADING_LAYER"]
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(check, (1, 2, 3) * 6, timeout=60))
        for _ in range(2 if hasattr(os, "fork") else 0):
            child = os.fork()
            if child == 0:
                signal.alarm(60)  # a hang ends here
                os._exit(0 if check(1) and check(3) else 3)
            _, status = os.waitpid(child, 0)
            assert status == 0, f"the child ended with {status}"
            assert check(3)
        print("same")
    """, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="3").stdout.strip()
    if out == "absent":
        pytest.skip(f"this Numba has no threading layer {layer!r}")
    assert out.splitlines()[-1] == "same"  # TBB's may say before that it could not join its threads


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads through /proc")
@pytest.mark.parametrize("backend", [b for b in PRESENT if b in ("cython", "numpy")])
def test_one_thread_starts_no_other(backend: str) -> None:
    out = python(f"""
        import os
        import numpy as np, scipy.fft, fastconv as fc
        fc.set_num_threads(1)
        x, w = np.ones((4, 32, 40, 40), "f4"), np.ones((32, 32, 3, 3), "f4")
        scipy.fft.rfft2(x[0, 0])  # SciPy 1.18 starts a pool of its own at the first transform
        before = len(os.listdir("/proc/self/task"))
        for algorithm in ("direct", "im2col", "fft"):
            try:
                y = fc.conv2d(x, w, padding=1, backend="{backend}", algorithm=algorithm)
            except ValueError:  # the backend has no such kernel
                continue
        fc.max_pool2d(y, 2, backend="{backend}")
        fc.relu(y, backend="{backend}")
        print(len(os.listdir("/proc/self/task")) - before)
    """, OPENBLAS_NUM_THREADS="1").stdout
    assert int(out) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads through /proc")
@pytest.mark.skipif("cython" not in PRESENT, reason=str(available("cython")))
def test_threads_are_kept_and_not_leaked() -> None:
    out = python("""
        import os, time
        import numpy as np, fastconv as fc
        from concurrent.futures import ThreadPoolExecutor
        x, w = np.ones((4, 32, 40, 40), "f4"), np.ones((32, 32, 3, 3), "f4")
        def work(_):
            with fc.options(threads=3):
                fc.conv2d(x, w, padding=1, backend="cython")
        def count():
            return len(os.listdir("/proc/self/task"))
        work(0)
        first = count()
        for i in range(20):
            work(i)
        assert count() == first, (first, count())
        for _ in range(10):  # callers that come and go take their threads with them
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(work, range(4)))
        for _ in range(100):  # they end on their own time
            if count() == first:
                break
            time.sleep(0.05)
        print(count() - first)
    """).stdout
    assert int(out) == 0
