"""The pool of touched pages: no block has two holders, it is bounded, it survives forks."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import queue
import threading
from typing import Any

import numpy as np
import pytest
from processes import python

import fastconv as fc
from fastconv.dispatch import available

if reason := available("cython"):
    pytest.skip(reason, allow_module_level=True)

from fastconv.backends.cython import memory

MB = 1 << 20
BESIDE = np.empty(4)


def pooled(nbytes: int) -> np.ndarray:
    return memory.pooled(np.empty, (nbytes, "u1"), BESIDE)


def place(a: np.ndarray) -> int:
    return int(a.__array_interface__["data"][0])


def test_a_freed_block_is_handed_out_again() -> None:
    first = pooled(5 * MB + 3)
    where = place(first)
    view = first[7:99].reshape(2, -1)
    held = memory.pool_held()
    del first
    assert memory.pool_held() == held, "a view still needs the block"
    del view
    assert memory.pool_held() > held
    again = pooled(5 * MB)  # a size of the same class
    assert place(again) == where
    assert memory.pool_held() == held
    assert again.flags.owndata
    assert again.base is None
    assert again.flags.writeable


def test_blocks_waste_little() -> None:
    """The class of any size is at most an eighth larger, plus room for the start's place."""
    for nbytes in (100_000, 1_000_001, 4 * MB, 5 * MB + 1, 63 * MB):
        a = pooled(nbytes)
        before = memory.pool_held()
        del a
        assert nbytes < memory.pool_held() - before <= (nbytes + 4096 + 128) * 9 / 8


def test_arrays_start_apart_from_what_is_read() -> None:
    """A load waits for an earlier store whose address has the same last 12 bits."""
    line = np.empty(8192 + 64, "u1")
    for offset in range(0, 4096, 64):
        beside = line[offset:]
        for nbytes in (MB, 5 * MB):
            a = memory.pooled(np.empty, (nbytes, "u1"), beside)
            assert place(a) % 64 == 0
            distance = (place(a) - place(beside)) % 4096
            assert 1024 <= distance <= 3072


def test_arrays_behave_like_any_other() -> None:
    a = pooled(2 * MB)
    a[:] = np.arange(a.size) % 251
    wanted = a.copy()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(a)), wanted)
    a.resize(6 * MB)
    np.testing.assert_array_equal(a[: 2 * MB], wanted)
    assert not a[2 * MB :].any()
    a.resize(100)
    np.testing.assert_array_equal(a, wanted[:100])
    zeros = memory.pooled(np.zeros, (MB, "u1"), BESIDE)
    assert not zeros.any()
    a.shape = 10, 10
    a.dtype = np.dtype("u2")
    del a
    assert np.empty(3 * MB, "u1").base is None  # NumPy's own allocator is back


def test_a_cycle_keeps_its_block_until_it_is_collected() -> None:
    gc.disable()
    try:
        cycle: list[Any] = [pooled(3 * MB)]
        cycle.append(cycle)
        where = place(cycle[0])
        del cycle
        others = [pooled(3 * MB) for _ in range(5)]
        assert where not in map(place, others)
        gc.collect()
        again = pooled(3 * MB)
        assert place(again) == where
    finally:
        gc.enable()


class Allocator(ctypes.Structure):
    """NumPy's ``PyDataMem_Handler``; ctypes calls its functions without the GIL."""

    _fields_ = [
        ("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("place", ctypes.c_void_p),
        ("malloc", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)),
        ("calloc", ctypes.c_void_p), ("realloc", ctypes.c_void_p),
        ("free", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)),
    ]


def allocator() -> Allocator:
    unpack = ctypes.pythonapi.PyCapsule_GetPointer
    unpack.restype, unpack.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return Allocator.from_address(unpack(memory.handlers[0], b"mem_handler"))


def test_no_block_has_two_holders() -> None:
    """Threads take blocks, sign them and let other threads free them, all at once."""
    rounds, makers = 2000, 4
    passed: queue.Queue[tuple[int, int] | None] = queue.Queue(maxsize=16)
    wrong: list[int] = []
    pages = allocator()
    others = [pages.malloc(None, 250_000) for _ in range(200)]
    for block in others:  # idle ones to look through, which takes a while
        pages.free(None, block, 0)

    def check(block: int, sign: int) -> None:
        if ctypes.c_int64.from_address(block).value != sign:
            wrong.append(sign)
        pages.free(None, block, 0)

    def make(me: int) -> None:
        mine: list[tuple[int, int]] = []
        for i in range(rounds):
            block, sign = pages.malloc(None, 65_536 + i % 5 * 30_000), me * rounds + i
            ctypes.c_int64.from_address(block).value = sign
            (mine.append if i % 3 else passed.put)((block, sign))
            if len(mine) > 6:
                check(*mine.pop(0))

    def free() -> None:
        while (item := passed.get()) is not None:
            check(*item)

    threads = [threading.Thread(target=make, args=(i,)) for i in range(makers)]
    freers = [threading.Thread(target=free) for _ in range(2)]
    for thread in (*threads, *freers):
        thread.start()
    for thread in threads:
        thread.join()
    for _ in freers:
        passed.put(None)
    for thread in freers:
        thread.join()
    assert not wrong


def test_the_pool_is_bounded() -> None:
    out = python("""
        import numpy as np
        from fastconv.backends.cython import memory
        beside, limit = np.empty(1), memory.pool_limit()
        assert limit == 10_000_000
        many = [memory.pooled(np.empty, (300_000 + 50_000 * i, "u1"), beside) for i in range(40)]
        while many:
            many.pop()
            assert memory.pool_held() <= limit
        assert memory.pool_held() > limit - 3_000_000
        small = [memory.pooled(np.empty, (70_000, "u1"), beside) for _ in range(400)]
        del small
        held = memory.pool_held()
        assert held <= limit, held
        large = memory.pooled(np.empty, (20_000_000, "u1"), beside)
        del large  # larger than the whole pool: freed at once, and nothing else for it
        assert memory.pool_held() == held
        print("ok")
    """, FASTCONV_POOL_BYTES="10000000").stdout
    assert out.strip() == "ok"


def test_zero_switches_the_pool_off() -> None:
    out = python("""
        import numpy as np
        from fastconv.backends.cython import memory
        for _ in range(3):
            a = memory.pooled(np.empty, (9_000_000, "u1"), np.empty(1))
            a[:] = 1
            del a
        print(memory.pool_held(), memory.pool_limit())
    """, FASTCONV_POOL_BYTES="0").stdout
    assert out.split() == ["0", "0"]


@pytest.mark.parametrize("value", ["-1", "many", "1e6", "64M", "1" * 30])
def test_a_bad_bound_is_an_error_that_says_so(value: str) -> None:
    out = python("""
        import numpy as np, fastconv as fc
        x = np.ones((1, 1, 8, 8), "f4")
        fc.backends()  # asks for no memory
        for call in (
            lambda: fc.conv2d(x, x[:, :, :3, :3], backend="cython"),
            lambda: fc.relu(np.ones(1 << 20, "f4"), backend="numpy"),
            fc.show_config,
        ):
            try:
                call()
            except ValueError as error:
                print(error)
    """, FASTCONV_POOL_BYTES=value).stdout.splitlines()
    assert len(out) == 3
    assert all("FASTCONV_POOL_BYTES must be" in line and repr(value) in line for line in out)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_parent_and_forked_child_go_on() -> None:
    """Forked while other threads are inside the pool; each side has its own copy of blocks."""
    out = python("""
        import os, signal, threading, warnings
        import numpy as np
        from fastconv.backends.cython import memory
        warnings.simplefilter("ignore", DeprecationWarning)
        beside, stop = np.empty(1), threading.Event()
        def take(i=0):
            return memory.pooled(np.empty, (70_000 + 9_000 * (i % 3), "u1"), beside)
        def busy():
            while not stop.is_set():
                take(), take(1), take(2)
        threads = [threading.Thread(target=busy) for _ in range(3)]
        for thread in threads:
            thread.start()
        kept = take()
        kept[:] = 5
        for _ in range(20):
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # a hang ends here
                some = [take(i) for i in range(20)]
                for a in some:
                    a[:] = 9
                os._exit(0 if (kept == 5).all() else 3)
            some = [take(i) for i in range(20)]
            for a in some:
                a[:] = 7
            assert os.waitpid(child, 0)[1] == 0
            assert (kept == 5).all() and all((a == 7).all() for a in some)
        stop.set()
        for thread in threads:
            thread.join()
        print("ok")
    """).stdout
    assert out.strip() == "ok"


def test_large_results_come_from_the_pool() -> None:
    x = np.random.default_rng(0).standard_normal((1, 4, 300, 300)).astype(np.float32)
    w = np.ones((4, 4, 3, 3), np.float32)
    wide, half = x.astype("f8"), x.astype("f2")
    calls: list[Any] = [
        lambda: fc.conv2d(x, w, padding=1), lambda: fc.relu(x),
        lambda: fc.max_pool2d(x, 2, stride=1, padding=1),
        lambda: fc.conv2d(wide, w.astype("f8"), backend="numpy"),
        lambda: fc.conv2d(half, w.astype("f2"), stride=2, padding=230),
        lambda: fc.filter2d(x.reshape(1200, 300), w[0, 0]),
        fc.plan_conv2d(w, padding=20, x_shape=x.shape),
        lambda: fc.max_pool2d(x, 1, return_indices=True)[1],
    ]
    for call in calls:
        arguments = [x] if isinstance(call, fc.Conv2dPlan) else []
        first = call(*arguments)
        assert first.nbytes >= MB
        assert first.flags.owndata
        where, wanted = place(first), first.copy()
        del first
        again = call(*arguments)
        assert place(again) == where
        np.testing.assert_array_equal(again, wanted)


def test_an_absent_wing_has_no_pool() -> None:
    out = python("""
        import sys
        sys.modules["fastconv.backends.cython.isa"] = None
        sys.modules["fastconv.backends.cython.memory"] = None
        import numpy as np, fastconv as fc
        print(fc.relu(np.ones(1 << 20, "f4")).all(), fc.show_config().items["idle pages"])
    """).stdout
    assert out.strip() == "True none: it belongs to the compiled backend"


def test_the_interpreter_ends_with_arrays_alive() -> None:
    out = python("""
        import sys, threading, atexit
        import numpy as np
        from fastconv.backends.cython import memory
        sys.modules["kept"] = memory.pooled(np.empty, (3_000_000, "u1"), np.empty(1))
        class Late:
            def __init__(self):
                self.a = memory.pooled(np.empty, (3_000_000, "u1"), np.empty(1))
                self.me = self
            def __del__(self):
                self.a[:] = 1
        late = Late()
        local = threading.local()
        local.a = memory.pooled(np.empty, (3_000_000, "u1"), np.empty(1))
        atexit.register(lambda: late.a.sum())
        def idle():
            mine = memory.pooled(np.empty, (3_000_000, "u1"), np.empty(1))
            threading.Event().wait()
        threading.Thread(target=idle, daemon=True).start()
        print("ok")
    """).stdout
    assert out.strip() == "ok"
